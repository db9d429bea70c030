"""Dead links: of Markdown as it lies in the repository, and of a built site."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["Dead", "dead_in_markdown", "dead_in_site", "external"]


@dataclass(frozen=True)
class Dead:
    """A link that leads nowhere."""

    page: Path
    link: str
    why: str

    def __str__(self) -> str:
        return f"{self.page}: {self.link}: {self.why}"


def _inline(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _inline(token.children or ())


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt().enable("table").parse(page.read_text())


@cache
def _headings(page: Path) -> set[str]:
    """The anchors that a heading gets, by the rule of GitHub, which the site follows."""
    tokens = _tokens(page)
    found: set[str] = set()
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            text = "".join(t.content for t in _inline(tokens[i + 1].children or ()) if not t.children)
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            number = 0
            while (anchor := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(anchor)
    return found


def _targets(page: Path) -> Iterator[str]:
    for token in _inline(_tokens(page)):
        target = token.attrs.get("href" if token.type == "link_open" else "src" if token.type == "image" else "")
        if isinstance(target, str):
            yield target


def external(page: Path) -> list[str]:
    """Links of a Markdown page to other sites."""
    return [target for target in _targets(page) if urlsplit(target).scheme in ("http", "https")]


def dead_in_markdown(page: Path) -> list[Dead]:
    """Links to files that do not exist, and to headings that a page does not have."""
    dead = []
    for target in _targets(page):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        other = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not other.exists():
            dead.append(Dead(page, target, "no such file"))
        elif parts.fragment and other.suffix == ".md" and parts.fragment not in _headings(other):
            dead.append(Dead(page, target, "no such heading"))
    return dead


@dataclass
class _Page(HTMLParser):
    """The anchors of an HTML page, and where it links to."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        self.links += [values[name] for name in ("href", "src") if name in values]


def dead_in_site(folder: Path) -> tuple[list[Dead], int]:
    """Every link of every page of a built site that leads nowhere inside it, and how many were followed."""
    pages: dict[Path, _Page] = {}
    for path in sorted(folder.rglob("*.html")):
        pages[path.resolve()] = page = _Page()
        page.feed(path.read_text())
    dead, followed = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            followed += 1
            other = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            shown = path.relative_to(folder.resolve())
            if not other.exists():
                dead.append(Dead(shown, link, "no such file"))
            elif parts.fragment and other in pages and unquote(parts.fragment) not in pages[other].anchors:
                dead.append(Dead(shown, link, "no such anchor"))
    return dead, followed
