"""Texts of /proc as people have them: files, pastes, several files in one.

Lines are sorted by the file that they are of; quoting, indentation, shell prompts and the headings of `head` and `tail`
are cut off. What is left of each file are its lines with their numbers, for messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bulkpages.errors import SnapshotError

__all__ = ["FILES", "Lines", "lines_of", "sort_lines"]

#: The files that are told apart.
FILES = ("zoneinfo", "buddyinfo", "pagetypeinfo", "vmstat")

#: Numbered lines.
Lines = list[tuple[int, str]]

# Quotes; the file that grep names; the numbers of cat -n.
_QUOTE = re.compile(
    r"^\s*(?:[>|]\s?)+|^\s*(?:/?\S*/)?(?:zoneinfo|buddyinfo|pagetypeinfo|vmstat):(?=\s*\S)|^\s*[0-9]+\t"
)
_NODE = re.compile(r"Node\s+[0-9]+, zone\s+[^\s,]+(?P<typed>,\s+type\b)?\s*(?P<rest>.*)")
_TYPES = re.compile(
    r"(?:Page block order|Pages per block|Free pages count per migrate type|Number of (?:\S+ )?blocks)\b"
)
_COUNTS = re.compile(r"(?:[0-9]+\s*)+")
_COUNTER = re.compile(r"[a-z][A-Za-z0-9_]*\s+-?[0-9]+")
# A prompt with a command, a prompt alone, a heading of head or tail, a fence, a path with a colon.
_AROUND = re.compile(
    r"(?:(?:.*[$#%>]\s*)?(?:sudo\s+)?(?:cat|head|tail|more|less|grep|adb|ssh|for)\s.*"
    r"|\S*[@:~]\S*\s*[$#%]|\[[^\]]*\]\s*[$#%]|==>.*<==|-{2,}.*|={2,}.*|`{3}.*|\$|/?\S*(?:zoneinfo|buddyinfo|pagetypeinfo|vmstat):?)"
)


@dataclass
class _Sorter:
    """Where the lines of a text go."""

    expected: str | None
    found: dict[str, Lines] = field(default_factory=dict)
    inside: str | None = None
    types: int | None = None
    ended: bool = False

    def put(self, name: str, number: int, line: str) -> None:
        self.inside = name
        self.found.setdefault(name, []).append((number, line))

    def node(self, number: int, line: str, match: re.Match[str]) -> None:
        """A line "Node N, zone NAME ...", which every file but vmstat has."""
        rest = match["rest"]
        if match["typed"]:
            self.put("pagetypeinfo", number, line)
        elif not rest:
            self.ended = False
            self.put("zoneinfo", number, line)
        elif self.inside == "pagetypeinfo" and self.types == len(rest.split()):
            self.put("pagetypeinfo", number, line)
        else:
            self.put("buddyinfo", number, line)

    def take(self, number: int, line: str) -> None:
        """One line, without quotes and blanks around it."""
        if match := _NODE.fullmatch(line):
            self.node(number, line, match)
        elif _TYPES.match(line):
            if line.startswith("Number of"):
                self.types = len(line.split()[4:])
            self.put("pagetypeinfo", number, line)
        elif _AROUND.fullmatch(line):
            self.inside = None
        elif self.inside == "buddyinfo" and _COUNTS.fullmatch(line):
            # Folded by whoever sent it.
            before, start = self.found["buddyinfo"].pop()
            self.found["buddyinfo"].append((before, f"{start} {line}"))
        elif self.inside == "zoneinfo" and not (self.ended and _COUNTER.fullmatch(line)):
            self.ended |= line.startswith("start_pfn")
            self.put("zoneinfo", number, line)
        elif _COUNTER.fullmatch(line):
            self.put("vmstat", number, line)
        elif self.expected is not None:
            self.put(self.expected, number, line)
        else:
            raise SnapshotError(
                f'line {number}: {line[:60]!r} belongs to no /proc file ("Node N, zone NAME" begins a zone): remove it'
            )


def lines_of(text: str) -> Lines:
    """The lines that are not empty, without quoting and indentation, numbered from 1."""
    lines = []
    for number, line in enumerate(text.replace("\ufeff", "").replace("\xa0", " ").splitlines(), 1):
        plain = _QUOTE.sub("", line).strip()
        if plain:
            lines.append((number, plain))
    return lines


def sort_lines(text: str, expected: str | None = None) -> dict[str, Lines]:
    """The lines of each file that a text holds.

    Args:
        text: What was read or pasted.
        expected: The file that it should be; lines that are of no file count as its own.

    Raises:
        SnapshotError: A line is of no file, and none is expected.
    """
    sorter = _Sorter(expected)
    for number, line in lines_of(text):
        sorter.take(number, line)
    return sorter.found
