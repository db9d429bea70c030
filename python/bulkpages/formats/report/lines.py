"""The kernel log as people have it: prefixes of dmesg, syslog and journald are cut off, torn lines are joined.

Kernels around 4.9 print the pieces of a line as lines of their own.
"""

from __future__ import annotations

import re

__all__ = ["Line", "log_lines"]

#: Number and text of a line.
Line = tuple[int, str]

# What stands before a message: quotes; date, host and "kernel:"; level; time and caller.
_BEFORE = re.compile(
    r"^\s*(?:[>|]\s?)*"
    r"(?:.{0,120}?\bkernel(?:\[\d+\])?:\s*)?"
    r"(?:kern\s*:\s*\w+\s*:\s*)?"
    r"(?:<\d+>\s*)?"
    r"(?:\[[^\]\[]*\]:?\s*)*"
    r"(?:<\d+>\s*)?"
)
_BLOCKS_OPEN = re.compile(r"(?:Node \d+ )?[A-Z]\w*:(?:\s|$)")
_PIECE = re.compile(r"(?:\d+|\d+\*\d+[kK]B.*|\([A-Z]+\).*|=.*)\s*")


def log_lines(text: str) -> list[Line]:
    """The messages with the number of the line where each begins."""
    lines: list[Line] = []
    for number, raw in enumerate(text.replace("\ufeff", "").replace("\xa0", " ").splitlines(), 1):
        line = _BEFORE.sub("", raw, count=1).strip()
        if lines and _PIECE.fullmatch(line) and _continues(lines[-1][1]):
            start, before = lines[-1]
            lines[-1] = (start, f"{before} {line}")
        elif line:
            lines.append((number, line))
    return lines


def _continues(line: str) -> bool:
    """Whether the pieces of a message may follow: a reserve, or free blocks without their sum."""
    if line.startswith("lowmem_reserve[]:"):
        return True
    return _BLOCKS_OPEN.match(line) is not None and "= " not in line and (line.endswith(":") or "*" in line)
