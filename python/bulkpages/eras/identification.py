"""Which eras a kernel tree is like: its functions by their fingerprints, its rules by its functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from typing import Any

from bulkpages.eras.fingerprints import Form, Table, read_table, shipped_table, statement_hashes
from bulkpages.eras.functions import FUNCTIONS, Found, Function, Sources, read_sources
from bulkpages.eras.markers import MARKERS, PATCHED_CALL, SETTINGS
from bulkpages.eras.rules import ERAS, RULES, Rule
from bulkpages.errors import InvalidArgument, MissingFile
from bulkpages.kinds import counted, need
from bulkpages.plain import table

__all__ = ["FunctionFound", "Identification", "Piece", "RuleFound", "identify"]


@dataclass(frozen=True)
class Piece:
    """A place where a function differs from the nearest known form.

    Attributes:
        line: First line of the tree's text, or the line after which statements are missing.
        lines: Lines of the tree that the form does not have.
        missing: Number of statements of the form that the tree does not have here.
    """

    line: int
    lines: tuple[str, ...]
    missing: int


@dataclass(frozen=True)
class FunctionFound:
    """A modelled function, as found in a tree.

    Attributes:
        name: Its name in the tree, or in the newest kernel if the tree does not have it.
        file: Its file; empty if the tree does not have it.
        line: Its first line; 0 if the tree does not have it.
        caller: Whether it is a caller of the bulk call.
        eras: The eras in which it has the same text. If the tree does not have it, the eras without it.
        nearest: The era with the most similar text; empty if the text is known, or if no era has the function.
        alike: Fraction of statements that are the same in `nearest`, 0 to 1.
        pieces: Where it differs from `nearest`.
    """

    name: str
    file: str
    line: int
    caller: bool
    eras: tuple[str, ...]
    nearest: str = ""
    alike: float = 1.0
    pieces: tuple[Piece, ...] = ()

    @property
    def known(self) -> bool:
        """Whether an era has the same text."""
        return bool(self.eras)


@dataclass(frozen=True)
class RuleFound:
    """A rule, as found in a tree.

    Attributes:
        name: Its name.
        holds: Whether it holds; None if unknown.
        by: What shows it: "fingerprint" (all functions of the rule are those of an era), "marker" (an expression in the
            text), "setting" (it does not depend on the source) or "nothing".
        why: The reason in words.
    """

    name: str
    holds: bool | None
    by: str
    why: str


@dataclass(frozen=True, repr=False)
class Identification:
    """Which kernel a tree resembles, and in what it differs.

    Attributes:
        path: The tree.
        version: The version in its Makefile.
        functions: The modelled functions, those of the allocator first.
        rules: The rules.
        kernel: The most similar era.
        patched: Whether the bulk call treats its array as output only; None if unknown.
        eras: The eras it was compared with, and the release of each.
    """

    path: Path
    version: str
    functions: Sequence[FunctionFound]
    rules: Sequence[RuleFound]
    kernel: str
    patched: bool | None
    eras: Mapping[str, str]

    @cached_property
    def unknown(self) -> tuple[FunctionFound, ...]:
        """The functions whose text no era has."""
        return tuple(one for one in self.functions if not one.known)

    @cached_property
    def differences(self) -> dict[str, bool]:
        """The rules in which it differs from `kernel`, for `Machine(rules=...)`."""
        usual = ERAS[self.kernel].rules
        return {rule.name: rule.holds for rule in self.rules if rule.holds not in (None, usual[rule.name])}

    def machine(self) -> str:
        """The equivalent machine, as a Python expression."""
        rules = f", rules={self.differences}" if self.differences else ""
        return f'Machine(memory, kernel="{self.kernel}"{rules})'

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "schema": "bulkpages.identification/1",
            "tree": str(self.path),
            "version": self.version,
            "eras": dict(self.eras),
            "kernel": self.kernel,
            "rules": self.differences,
            "patched_call": self.patched,
            "found": {rule.name: {"holds": rule.holds, "by": rule.by, "why": rule.why} for rule in self.rules},
            "functions": [
                {
                    "name": one.name,
                    "file": one.file or None,
                    "line": one.line or None,
                    "caller": one.caller,
                    "eras": list(one.eras),
                    "nearest": one.nearest or None,
                    "alike": round(one.alike, 3),
                    "pieces": [
                        {"line": piece.line, "lines": list(piece.lines), "missing": piece.missing}
                        for piece in one.pieces
                    ],
                }
                for one in self.functions
            ],
        }

    def __repr__(self) -> str:
        return (
            f"<Identification of Linux {self.version}: like {self.kernel}, "
            f"{len(self.differences)} rules differ, {len(self.unknown)} functions unknown>"
        )

    def text(self, *, everything: bool = False) -> str:
        """The identification as text.

        Args:
            everything: Whether to list known functions too.
        """
        lines = [f"Linux {self.version}, {self.path}", ""]
        lines += self._counts()
        if self.patched is not None:
            form = (
                "output only, as the patch of 28 February 2025 makes it" if self.patched else "filled where it is NULL"
            )
            lines.append(f"array of the bulk call: {form}")
        lines += [f"equivalent machine: {self.machine()}", "", self._rules(), ""]
        if everything:
            lines += [self._known(), ""]
        for one in self.unknown:
            if one.file:
                lines += [*_told(one), ""]
        if gone := [f"{one.name}()" for one in self.unknown if not one.file]:
            lines.append(f"missing: {', '.join(gone)}")
        return "\n".join(lines).rstrip()

    def _counts(self) -> Iterator[str]:
        for what, some in (
            ("the allocator", [one for one in self.functions if not one.caller]),
            ("its callers", [one for one in self.functions if one.caller]),
        ):
            there = [one for one in some if one.file]
            as_in = ", ".join(f"{sum(era in one.eras for one in there)} as in {era}" for era in self.eras)
            unknown, missing = sum(not one.known for one in there), sum(not one.known for one in some if not one.file)
            gone = f", {missing} missing" if missing else ""
            yield f"functions of {what}: {len(there)}, {as_in}, {unknown} unknown{gone}"

    def _rules(self) -> str:
        word = {True: "yes", False: "-", None: "?"}
        rows = []
        for rule in self.rules:
            usual = [word[ERAS[era].rules[rule.name]] for era in self.eras if era in ERAS]
            rows.append(
                [rule.name, word[rule.holds], *usual, rule.by if rule.by == "fingerprint" else f"{rule.by}: {rule.why}"]
            )
        return table(["rule", "here", *(era for era in self.eras if era in ERAS), "shown by"], rows)

    def _known(self) -> str:
        rows = [
            [one.name, f"{one.file}:{one.line}", ", ".join(one.eras)]
            for one in self.functions
            if one.known and one.file
        ]
        return table(["function", "where", "as in"], rows)


def _told(one: FunctionFound) -> Iterator[str]:
    """An unknown function in lines of text."""
    near = f"; nearest is {one.nearest}, with {one.alike:.0%} of the statements the same" if one.nearest else ""
    yield f"unknown: {one.name}(), {one.file}:{one.line}{near}"
    for piece in one.pieces:
        yield from (f"  {piece.line + i:>6} + {text}" for i, text in enumerate(piece.lines))
        if piece.missing:
            line = f"{piece.line:>6}" if not piece.lines else " " * 6
            yield f"  {line} - {counted(piece.missing, 'statement')} of {one.nearest} missing here"


def _pieces(found: Found, form: Form, text: str) -> tuple[float, tuple[Piece, ...]]:
    """Where a function differs from a form: the text of the tree, and how much of the form it lacks."""
    statements = [statement for definition in found.definitions for statement in definition.statements]
    matcher = SequenceMatcher(None, form.statements, statement_hashes(found), autojunk=False)
    source = text.split("\n")
    pieces = []
    for kind, old, old_end, new, new_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        if new == new_end:
            at = statements[max(new - 1, 0)].last
            pieces.append(Piece(at, (), old_end - old))
        else:
            first, last = statements[new].first, statements[new_end - 1].last
            pieces.append(Piece(first, tuple(line.rstrip() for line in source[first - 1 : last]), old_end - old))
    return matcher.ratio(), tuple(pieces)


def _function(function: Function, tree: Sources, known: Table) -> FunctionFound:
    """Compares one function."""
    forms = known.forms.get(function.name, ())
    found = tree.functions.get(function.name)
    if found is None:
        without = tuple(era for era in known.releases if known.form(function.name, era) is None)
        return FunctionFound(function.name, "", 0, function.caller, without)
    fresh = Form.of(found)
    same = known.same(function.name, fresh)
    if same is not None:
        return FunctionFound(found.name, found.file, found.line, function.caller, same.eras)
    compared = [(form, *_pieces(found, form, tree.files[found.file])) for form in forms]
    if not compared:
        return FunctionFound(found.name, found.file, found.line, function.caller, (), alike=0.0)
    form, alike, pieces = max(compared, key=lambda one: one[1])
    return FunctionFound(found.name, found.file, found.line, function.caller, (), form.eras[-1], alike, pieces)


def _functions_of(rule: Rule) -> list[Function]:
    """The functions of the table that a rule names, with or without the kernel's prefixes and suffixes."""
    named = {name: function for function in FUNCTIONS for name in function.names}
    found = (named.get(name) or named.get(f"{name}_noprof") for name in rule.functions)
    return list(dict.fromkeys(function for function in found if function is not None))


def _by_fingerprint(rule: Rule, tree: Sources, known: Table) -> tuple[bool | None, str]:
    """What the fingerprints of its functions say of a rule, and in words."""
    values: dict[bool, list[str]] = {}
    for function in _functions_of(rule):
        found = tree.functions.get(function.name)
        if found is None:
            continue
        same = known.same(function.name, Form.of(found))
        eras = same.eras if same else ()
        if not eras:
            return None, f"{found.name}() is unknown"
        here = {ERAS[era].rules[rule.name] for era in eras if era in ERAS}
        if len(here) == 1:
            values.setdefault(here.pop(), []).append(f"{found.name}() as in {' and '.join(eras)}")
    if len(values) == 1:
        value, why = next(iter(values.items()))
        return value, ", ".join(why)
    return None, "functions of different eras" if values else "none of its functions changed"


def _rule(rule: Rule, tree: Sources, known: Table) -> RuleFound:
    if rule.name in SETTINGS:
        return RuleFound(rule.name, None, "setting", SETTINGS[rule.name])
    value, why = _by_fingerprint(rule, tree, known)
    marker = MARKERS.get(rule.name)
    shown = marker.holds(tree.functions) if marker else None
    if value is not None and (shown is None or shown == value):
        return RuleFound(rule.name, value, "fingerprint", why)
    if shown is not None and value is None:
        assert marker is not None, "something showed it"
        return RuleFound(rule.name, shown, "marker", why)
    return RuleFound(rule.name, None, "nothing", why)


def _nearest(functions: Sequence[FunctionFound], rules: Sequence[RuleFound], known: Table) -> str:
    """The era from which the fewest rules differ; of several, the one with the most functions in common."""

    def distance(era: str) -> tuple[int, int, int]:
        usual = ERAS[era].rules
        differing = sum(rule.holds is not None and rule.holds != usual[rule.name] for rule in rules)
        return differing, -sum(era in one.eras for one in functions), -sum(one.nearest == era for one in functions)

    return min((era for era in known.releases if era in ERAS), key=distance)


def identify(tree: str | Path, *, known: str | Path | None = None) -> Identification:
    """Compares the modelled functions of a kernel tree with the known eras, and finds which rules hold.

    Comments and layout make no difference. A function that no era has is compared with the nearest: the result has its
    lines that differ, and the number of statements that it lacks. Markers (expressions in its text) then decide whether
    its rules hold.

    Args:
        tree: A directory or a tarball, which is only read.
        known: File of fingerprints to compare with, as `bulkpages eras fingerprint` writes it; by default the modelled
            eras.

    Raises:
        MissingFile: There is no such file.
        InvalidArgument: It is not a kernel tree, or not a table of fingerprints.

    Example:
        ```python
        found = bp.eras.identify("/usr/src/linux-source-6.12.tar.xz")
        print(found.text())
        machine = bp.Machine("1GiB", kernel=found.kernel, rules=found.differences)
        ```
    """
    need("tree", tree, (str, Path))
    need("known", known, (str, Path, type(None)))
    if not Path(tree).exists():
        raise MissingFile(tree)
    eras = shipped_table() if known is None else read_table(known)
    if not any(era in ERAS for era in eras.releases):
        raise InvalidArgument(f"{known} has {', '.join(eras.releases) or 'no era'}, none of {', '.join(ERAS)}")
    sources = read_sources(tree)
    functions = [_function(function, sources, eras) for function in FUNCTIONS]
    rules = [_rule(rule, sources, eras) for rule in RULES.values()]
    kernel = _nearest(functions, rules, eras)
    return Identification(
        sources.path,
        sources.version,
        functions,
        rules,
        kernel,
        PATCHED_CALL.holds(sources.functions),
        eras.releases,
    )
