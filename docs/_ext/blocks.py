"""The code blocks of a page: found, run and held to what the page says of them.

The rules that a page follows:

* All `python` and `pycon` blocks of a page run in order, in one namespace, in an empty directory; `>>>` lines are
  a doctest, in which a blank line belongs to what is printed.
* `expression  # value` states the value: the comment, up to a colon, is compared when it is a Python literal.
* A `text` block right behind a `python` or `console` block is what that one prints.
* A `console` block holds commands behind `$`. Those of `bulkpages` run if what they print is stated.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import math
import os
import shlex
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

__all__ = ["Block", "BlockError", "Command", "commands", "fences", "run_page"]


class BlockError(AssertionError):
    """A block that does not do what its page says."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its first word, its text, its first line in the page, and what it prints by the page."""

    kind: str
    text: str
    line: int
    printed: str | None = None


@dataclass(frozen=True)
class Command:
    """A command behind `$`, and the lines that the page shows behind it."""

    words: tuple[str, ...]
    line: int
    printed: str


def fences(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    tokens = [t for t in MarkdownIt().parse(page) if t.nesting >= 0 and t.type != "inline"]
    found: list[Block] = []
    for i, token in enumerate(tokens):
        if token.type != "fence" or token.map is None:
            continue
        kind = token.info.split()[0] if token.info.split() else ""
        behind = tokens[i + 1] if i + 1 < len(tokens) else None
        prints = behind is not None and behind.type == "fence" and behind.info.strip() == "text"
        found.append(Block(kind, token.content, token.map[0] + 2, behind.content if behind and prints else None))
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block."""
    words: tuple[str, ...] = ()
    line, printed = 0, ""
    for number, text in enumerate(block.text.splitlines(), block.line):
        if text.startswith("$ "):
            if words:
                yield Command(words, line, printed)
            words, line, printed = tuple(shlex.split(text[2:], comments=True)), number, ""
        else:
            printed += text + "\n"
    if words:
        yield Command(words, line, printed)


def _stated(text: str) -> dict[int, Any]:
    """By line, the values that comments state."""
    values: dict[int, Any] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        comment = token.string.lstrip("# ")
        # The longest part in front of a colon that is a literal: dicts have colons too.
        parts = comment.split(":")
        for end in range(len(parts), 0, -1):
            try:
                values[token.start[0]] = ast.literal_eval(":".join(parts[:end]).strip())
            except (ValueError, SyntaxError):
                continue
            break
    return values


class _Check(ast.NodeTransformer):
    """Sends the value of each expression statement whose line states one through `__check__`."""

    def __init__(self, stated: dict[int, Any]) -> None:
        self.stated = stated
        self.checked: set[int] = set()

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        line = node.end_lineno or node.lineno
        if line in self.stated:
            self.checked.add(line)
            name = ast.Name("__check__", ast.Load())
            node.value = ast.Call(name, [ast.Constant(line), node.value], [])
        return node


def _equal(got: Any, want: Any) -> bool:
    if isinstance(want, float) and isinstance(got, (int, float)):
        digits = len(repr(want).partition(".")[2])
        return math.isclose(got, want, abs_tol=0.5 * 10**-digits)
    if type(want) is tuple and type(got) is tuple:
        return len(got) == len(want) and all(map(_equal, got, want))
    return bool(got == want) and isinstance(got, bool) == isinstance(want, bool)


def _run(block: Block, names: dict[str, Any], where: str) -> int:
    stated = _stated(block.text)

    def check(line: int, value: Any) -> Any:
        if not _equal(value, stated[line]):
            place = f"{where}:{block.line + line - 1}"
            raise BlockError(f"{place}: the page says {stated[line]!r}, the block gives {value!r}")
        return value

    tree = _Check(stated)
    module = ast.fix_missing_locations(tree.visit(ast.parse(block.text)))
    ast.increment_lineno(module, block.line - 1)
    names["__check__"] = check
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(module, where, "exec"), names)
    if block.printed is not None and out.getvalue() != block.printed:
        raise BlockError(f"{where}:{block.line}: the page says\n{block.printed}\nthe block prints\n{out.getvalue()}")
    return len(tree.checked) + (block.printed is not None)


def _doctest(block: Block, names: dict[str, Any], where: str) -> int:
    text = "\n".join(line or "<BLANKLINE>" for line in block.text.splitlines())
    test = doctest.DocTestParser().get_doctest(text + "\n", {}, where, where, block.line - 1)
    test.globs = names
    out: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(test, out=out.append, clear_globs=False)
    if results.failed:
        raise BlockError("".join(out))
    return sum(bool(example.want) for example in test.examples)


def run_page(page: Path, folder: Path) -> int:
    """Runs the Python blocks of a page inside a folder; returns how many statements of the page were compared."""
    names: dict[str, Any] = {"__name__": "__page__"}
    compared = 0
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in fences(page.read_text()):
            if block.kind in ("python", "pycon"):
                run = _doctest if block.text.lstrip().startswith(">>>") else _run
                compared += run(block, names, page.name)
    finally:
        os.chdir(before)
    return compared
