"""Functions and macros in C source text: found by name, and cut into statements that comments and layout don't change.

This is no parser of C. It knows comments, strings, directives and brackets, which is what it takes to find where a
function begins and ends in kernel sources, attributes and macros in front of it included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Definition", "Statement", "definitions"]

_TOKEN = re.compile(
    r"""
    (?P<comment>/\*.*?(?:\*/|\Z)|//(?:\\\n|[^\n])*)
  | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<space>(?:\s|\\\n)+)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||\#\#|[-+*/%&|^]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
# To the end of the line, over lines that a backslash joins and comments that span lines.
_DIRECTIVE = re.compile(r"#(?:/\*.*?\*/|\\\n|[^\n])*", re.DOTALL)
_OPEN, _CLOSE = "([", ")]"
_WORD = re.compile(r"[A-Za-z_]\w*\Z")


@dataclass(frozen=True)
class Statement:
    """A piece of a definition that ends with `;`, `{`, `}` or a label's `:`, or one directive.

    Attributes:
        text: Its tokens with one space between them.
        first: Line where it begins, from 1.
        last: Line where it ends.
    """

    text: str
    first: int
    last: int


@dataclass(frozen=True)
class Definition:
    """A function or a macro.

    Attributes:
        name: Its name.
        where: The `#if` that it stands under, and which branch of it; empty where there is none.
        statements: Its text, the head first.
    """

    name: str
    where: str
    statements: tuple[Statement, ...]

    @property
    def text(self) -> str:
        """All of it, with one space between tokens."""
        return " ".join(statement.text for statement in self.statements)


@dataclass(frozen=True)
class _Token:
    text: str
    first: int
    last: int
    directive: bool = False


def _scan(source: str) -> Iterator[tuple[str, int]]:
    """Tokens and where they begin. Comments and space are left out; a directive is one token that begins with `#`."""
    at, end, fresh = 0, len(source), True
    while at < end:
        if fresh and source[at] == "#":
            found = _DIRECTIVE.match(source, at)
            assert found
            yield found[0], at
            at = found.end()
            continue
        found = _TOKEN.match(source, at)
        assert found, "every character is a sign if it is nothing else"
        if found.lastgroup == "space":
            fresh = fresh or "\n" in found[0]
        elif found.lastgroup != "comment":
            yield found[0], at
            fresh = False
        at = found.end()


def _inside(directive: str) -> str:
    """A directive's tokens with one space between them."""
    return "#" + " ".join(text for text, _ in _scan(directive[1:]))


def _tokens(source: str) -> list[_Token]:
    tokens, line, seen = [], 1, 0
    for text, at in _scan(source):
        line += source.count("\n", seen, at)
        seen = at
        last = line + text.count("\n")
        if text.startswith("#") and text not in ("#", "##"):
            tokens.append(_Token(_inside(text), line, last, directive=True))
        else:
            tokens.append(_Token(text, line, last))
    return tokens


def _statement(tokens: list[_Token]) -> Statement:
    return Statement(" ".join(token.text for token in tokens), tokens[0].first, tokens[-1].last)


def _cut(tokens: list[_Token]) -> tuple[Statement, ...]:
    """Cuts a function into statements."""
    statements: list[Statement] = []
    held: list[_Token] = []
    depth = 0

    def end() -> None:
        if held:
            statements.append(_statement(held))
            held.clear()

    for token in tokens:
        if token.directive:
            end()
            statements.append(_statement([token]))
            continue
        if token.text == "}":
            end()
        held.append(token)
        if token.text in _OPEN:
            depth += 1
        elif token.text in _CLOSE:
            depth -= 1
        elif token.text in "{}" or (
            depth <= 0
            and (token.text == ";" or (token.text == ":" and (held[0].text in ("case", "default") or len(held) == 2)))
        ):
            end()
    end()
    return tuple(statements)


class _Conditions:
    """Which directives enclose the text, and how deep in braces each of them began."""

    def __init__(self) -> None:
        self._open: list[tuple[str, int]] = []

    def see(self, directive: str, depth: int) -> int:
        """Follows a directive.

        Returns:
            The depth after it: every branch begins where the `#if` began.
        """
        word = directive[1:].split(" ", 1)[0]
        if word in ("if", "ifdef", "ifndef"):
            self._open.append((directive, depth))
        elif word in ("else", "elif") and self._open:
            directives, depth = self._open[-1]
            self._open[-1] = f"{directives} {directive}", depth
        elif word == "endif" and self._open:
            self._open.pop()
        return depth

    def __str__(self) -> str:
        return self._open[-1][0] if self._open else ""


def _macro(token: _Token) -> Definition | None:
    words = token.text[1:].split(" ")
    if len(words) < 2 or words[0] != "define":
        return None
    return Definition(words[1], "", (_statement([token]),))


def _names(head: list[_Token]) -> list[str]:
    """Names in front of a bracket that is not inside another: the function's, and those of attributes."""
    names, depth = [], 0
    for before, token in zip([None, *head], head, strict=False):
        if token.text == "(":
            if depth == 0 and before is not None and _WORD.match(before.text):
                names.append(before.text)
            depth += 1
        elif token.text == ")":
            depth -= 1
    return names


def _bare_parameters(head: list[_Token]) -> list[str]:
    """What the last bracket holds if it is names only, whose types stand behind it: a function as before ANSI C."""
    if not head or head[-1].text != ")":
        return []
    words: list[str] = []
    for token in reversed(head[:-1]):
        if token.text == "(":
            break
        words.append(token.text)
    names, commas = words[::2], words[1::2]
    if names == ["void"] or len(names) != len(commas) + 1:
        return []
    return names if all(map(_WORD.match, names)) and all(comma == "," for comma in commas) else []


def definitions(source: str, wanted: frozenset[str]) -> list[Definition]:
    """Finds functions and macros.

    Args:
        source: The text of a C file.
        wanted: Their names.

    Returns:
        In the order of the text; a name that is defined under several conditions is there as often.
    """
    found: list[Definition] = []
    conditions = _Conditions()
    head: list[_Token] = []  # since the end of what came before
    body: list[_Token] = []
    depth = brackets = 0
    assigned = False
    bare: list[str] = []
    for token in _tokens(source):
        if token.directive:
            depth = conditions.see(token.text, depth)
            if body:
                body.append(token)
                continue
            macro = _macro(token)
            if macro and macro.name in wanted:
                found.append(Definition(macro.name, str(conditions), macro.statements))
            continue
        if body:
            body.append(token)
            depth += (token.text == "{") - (token.text == "}")
            if depth > 0:
                continue
            name = next((name for name in _names(head) if name in wanted), None)
            if name and not assigned:
                found.append(Definition(name, str(conditions), _cut(head + body)))
            # What stands behind a structure or its values is not the head of the next function.
            head, body, brackets, assigned, bare, depth = [], [], 0, False, [], 0
            continue
        if token.text == "{" and brackets == 0:
            body, depth = [token], 1
            continue
        if token.text == ";" and brackets == 0 and (assigned or not {t.text for t in head[-3:]} & set(bare)):
            head, assigned, bare = [], False, []
            continue
        if brackets == 0 and token.text == "=":
            assigned = True
        if brackets == 0 and _WORD.match(token.text) and not assigned:
            bare = bare or _bare_parameters(head)
        head.append(token)
        brackets += (token.text in _OPEN) - (token.text in _CLOSE)
    return found
