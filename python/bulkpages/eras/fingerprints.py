"""Fingerprints of the modelled functions in the kernels known: hashes only, no source text.

A form of a function has a fingerprint, which says whether a tree has the same, and a short hash of each statement,
which says where it differs. `bulkpages eras fingerprint` makes the table from trees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any

from bulkpages.eras.functions import Found, read_sources
from bulkpages.eras.rules import ERAS
from bulkpages.errors import InvalidArgument, MissingFile
from bulkpages.kinds import need

__all__ = ["Form", "Table", "fingerprint", "make_table", "read_table", "shipped_table", "statement_hashes"]

SCHEMA = "bulkpages.fingerprints/1"
# Digits of a statement's hash: within one function they tell statements apart.
_SHORT = 6


def _hash(text: str, digits: int) -> str:
    return blake2b(text.encode(), digest_size=digits // 2).hexdigest()


def statement_hashes(found: Found) -> tuple[str, ...]:
    """One for each statement of a function, in order."""
    return tuple(_hash(one.text, _SHORT) for definition in found.definitions for one in definition.statements)


@dataclass(frozen=True)
class Form:
    """One text of a function.

    Attributes:
        eras: The eras that have it.
        name: What the function is called there.
        fingerprint: Hash of all of it.
        statements: Hash of each statement.
    """

    eras: tuple[str, ...]
    name: str
    fingerprint: str
    statements: tuple[str, ...]

    @classmethod
    def of(cls, found: Found, *eras: str) -> Form:
        """The form that a tree has."""
        return cls(eras, found.name, _hash(found.text, 16), statement_hashes(found))


@dataclass(frozen=True)
class Table:
    """The functions of the kernels known.

    Attributes:
        releases: The release of each era from whose tree its fingerprints are.
        forms: Forms of each function by its name.
    """

    releases: Mapping[str, str]
    forms: Mapping[str, tuple[Form, ...]]

    def form(self, function: str, era: str) -> Form | None:
        """The form that an era has; None where it has no such function."""
        return next((form for form in self.forms.get(function, ()) if era in form.eras), None)

    def same(self, function: str, form: Form) -> Form | None:
        """The form of a function that has the same fingerprint; None where none has."""
        return next((one for one in self.forms.get(function, ()) if one.fingerprint == form.fingerprint), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "schema": SCHEMA,
            "releases": dict(self.releases),
            "functions": {
                name: [
                    {
                        "eras": list(form.eras),
                        "name": form.name,
                        "fingerprint": form.fingerprint,
                        "statements": "".join(form.statements),
                    }
                    for form in forms
                ]
                for name, forms in self.forms.items()
            },
        }


def fingerprint(trees: Mapping[str, str | Path]) -> dict[str, Any]:
    """Fingerprints of the modelled functions of kernel trees, as JSON that `identify(known=...)` reads from a file.

    Args:
        trees: A directory or a tarball for each era.

    Raises:
        InvalidArgument: There is no such file, it is not a kernel tree, or there is no such era.
    """
    need("trees", trees, Mapping)
    for era, tree in trees.items():
        need("tree", tree, (str, Path))
        if era not in ERAS:
            raise InvalidArgument(f"era {era!r} is not one of {', '.join(ERAS)}")
    return make_table(trees).to_dict()


def make_table(trees: Mapping[str, str | Path]) -> Table:
    """Fingerprints of the modelled functions of kernel trees.

    Args:
        trees: A directory or a tarball for each era.

    Raises:
        InvalidArgument: There is no such file, or it is no kernel tree.
    """
    releases: dict[str, str] = {}
    forms: dict[str, list[Form]] = {}
    for era, tree in trees.items():
        sources = read_sources(tree)
        releases[era] = sources.version
        for name, found in sources.functions.items():
            fresh, some = Form.of(found, era), forms.setdefault(name, [])
            at = next((i for i, form in enumerate(some) if form.fingerprint == fresh.fingerprint), None)
            if at is None:
                some.append(fresh)
            else:
                some[at] = replace(some[at], eras=(*some[at].eras, era))
    return Table(releases, {name: tuple(some) for name, some in forms.items()})


def _statements(digits: str) -> tuple[str, ...]:
    return tuple(digits[at : at + _SHORT] for at in range(0, len(digits), _SHORT))


def _table(data: Any, where: str) -> Table:
    try:
        if data["schema"] != SCHEMA:
            raise InvalidArgument(f"{where} has schema {data['schema']!r}, not {SCHEMA!r}")
        forms: dict[str, tuple[Form, ...]] = {
            name: tuple(
                Form(tuple(one["eras"]), str(one["name"]), str(one["fingerprint"]), _statements(one["statements"]))
                for one in some
            )
            for name, some in data["functions"].items()
        }
        return Table({str(era): str(release) for era, release in data["releases"].items()}, forms)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"{where} is not a table of fingerprints: {error!r}") from error


def read_table(path: str | Path) -> Table:
    """A table that `bulkpages eras fingerprint` wrote.

    Raises:
        MissingFile: There is none.
        InvalidArgument: It is none.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFile(path) from None
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{path} cannot be read as a table of fingerprints: {error}") from error
    return _table(data, str(path))


@cache
def shipped_table() -> Table:
    """The table of the eras that are modelled."""
    file = resources.files("bulkpages") / "data" / "fingerprints.json"
    return _table(json.loads(file.read_text(encoding="utf-8")), "fingerprints.json")
