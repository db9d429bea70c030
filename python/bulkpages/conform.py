"""Replays recordings of a real kernel, reports what matches, and draws the first difference."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkpages.errors import BulkpagesError
from bulkpages.formats.recording import Recording, read_recording
from bulkpages.machine import Machine

__all__ = ["Difference", "Verdict", "conform"]

RESULT_FIELDS = ("ret", "events", "zones", "pages", "kswapd")
ZONE_FIELDS = ("pcp count", "pcp high", "pcp flags", "alloc_factor", "free_count", "free pages", "zone flags")
MIGRATETYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA")
CHUNK = 4096
#: What a CPU's lists have beside count, high and batch; which of it, differs between kernels.
_LIMITS = ("high_min", "high_max", "alloc_factor", "free_count", "free_factor", "flags")


@dataclass(frozen=True)
class Difference:
    """The first difference in a recording: the operation, what the kernel returned, and what the emulator did."""

    operation: int | None
    what: str
    picture: list[str]


@dataclass
class Verdict:
    """The result for one recording; `pages` and `operations` are (matching, recorded)."""

    path: Path
    operations: tuple[int, int]
    pages: tuple[int, int]
    seconds: float
    difference: Difference | None = None
    error: str | None = None
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything matched."""
        return self.difference is None and self.error is None


def conform(path: str | Path) -> Verdict:
    """Replays one recording. Errors in the file are part of the verdict and never raised."""
    start = time.perf_counter()
    path = Path(path)
    try:
        recording = read_recording(path)
        verdict = _replay(recording)
    except BulkpagesError as error:
        verdict = Verdict(path, (0, 0), (0, 0), 0.0, error=str(error))
    verdict.seconds = time.perf_counter() - start
    return verdict


def _expected(operation: dict[str, Any]) -> dict[str, Any]:
    return {name: operation[name] for name in RESULT_FIELDS if name in operation}


def _pages(result: dict[str, Any]) -> int:
    return len(result.get("pages", ()))


def _replay(recording: Recording) -> Verdict:
    machine = Machine.from_snapshot(recording.before)
    operations = recording.operations
    total_pages = sum(_pages(operation) for operation in operations)
    matched = pages = 0
    difference: Difference | None = None
    for first in range(0, len(operations), CHUNK):
        chunk = operations[first : first + CHUNK]
        for i, (operation, got) in enumerate(zip(chunk, machine.replay(chunk), strict=True), first):
            expected = _expected(operation)
            if got == expected:
                matched += 1
                pages += _pages(expected)
                continue
            want = {tuple(page) for page in expected.get("pages", ())}
            pages += sum(tuple(page) in want for page in got.get("pages", ()))
            if difference is None:
                difference = _picture(recording, i, expected, got)
    if difference is None:
        difference = _compare_end(recording, machine.snapshot())
    return Verdict(
        recording.path,
        (matched, len(operations)),
        (pages, total_pages),
        0.0,
        difference,
        header=recording.header,
    )


def first_difference(want: Any, got: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first place in which two JSON values differ: (path, wanted, got)."""
    if isinstance(want, dict) and isinstance(got, dict):
        for key in sorted(want.keys() | got.keys(), key=str):
            if key not in want or key not in got:
                return f"{path}.{key}", want.get(key, "absent"), got.get(key, "absent")
            if found := first_difference(want[key], got[key], f"{path}.{key}"):
                return found
        return None
    if isinstance(want, list) and isinstance(got, list):
        for i, (a, b) in enumerate(zip(want, got, strict=False)):
            if found := first_difference(a, b, f"{path}[{i}]"):
                return found
        if len(want) != len(got):
            return f"{path}: length", len(want), len(got)
        return None
    return None if want == got else (path, want, got)


def _compare_end(recording: Recording, got: dict[str, Any]) -> Difference | None:
    want = recording.after
    for mine, theirs in zip(got.get("zones", []), want.get("zones", []), strict=False):
        # Which allocated pages could be moved is the page cache's business, not the allocator's.
        mine["movable"] = theirs.get("movable")
    found = first_difference(want, got)
    if found is None:
        return None
    where, wanted, was = found
    return Difference(
        None,
        f"the end state differs at {where.lstrip('.')}",
        [f"  expected {str(wanted)[:200]}", f"  got      {str(was)[:200]}"],
    )


def _describe(operation: dict[str, Any]) -> str:
    words = []
    for name, value in operation.items():
        if name in RESULT_FIELDS or name == "op":
            continue
        words.append(f"{name}={value:#x}" if name == "gfp" else f"{name}={value}")
    return f"{operation['op']}({', '.join(words)})"


def _picture(recording: Recording, index: int, expected: dict[str, Any], got: dict[str, Any]) -> Difference:
    operation = recording.operations[index]
    machine = Machine.from_snapshot(recording.before)
    machine.replay(recording.operations[:index])
    before = machine.snapshot()
    lines = [f"  operation {index}: {_describe(operation)}", ""]
    touched: set[str] = set()
    if expected.get("ret") != got["ret"]:
        lines.append(f"  {'return value':28} expected {expected.get('ret')!s:>10}   got {got['ret']!s:>10}")
    events = expected.get("events", {})
    for name in sorted(events.keys() | got["events"].keys()):
        a, b = events.get(name, 0), got["events"].get(name, 0)
        if a != b:
            lines.append(f"  event {name:22} expected {a:>+10}   got {b:>+10}")
    for zone in sorted(expected.get("zones", {}).keys() | got["zones"].keys()):
        a, b = expected.get("zones", {}).get(zone, [0] * 7), got["zones"].get(zone, [0] * 7)
        for name, x, y in zip(ZONE_FIELDS, a, b, strict=False):
            if x != y:
                touched.add(zone)
                lines.append(f"  zone {zone} {name:19} expected {x:>10}   got {y:>10}")
    lines += _page_lines(expected.get("pages", []), got.get("pages", []))
    taken = [page[1] for page in (*expected.get("pages", []), *got.get("pages", []))]
    for zone in before["zones"]:
        name = f"{zone['nid']}.{zone['idx']}"
        if name in touched or any(zone["start"] <= pfn < zone["start"] + zone["spanned"] for pfn in taken):
            lines += _zone_lines(zone, operation.get("cpu", 0))
    return Difference(index, f"operation {index}, {operation['op']}, differs", lines)


def _page_lines(want: list[list[int]], got: list[list[int]]) -> list[str]:
    a: dict[int, int] = {page[0]: page[1] for page in want}
    b: dict[int, int] = {page[0]: page[1] for page in got}
    if a == b:
        return []
    slots = sorted(a.keys() | b.keys())
    first = next(i for i, slot in enumerate(slots) if a.get(slot) != b.get(slot))
    shown = slots[max(0, first - 3) : first + 9]
    wrong = sum(a.get(slot) != b.get(slot) for slot in slots)
    cell = max(8, *(len(str(slot)) + 1 for slot in shown))

    def row(values: list[str]) -> str:
        return " ".join(f"{value:>{cell}}" for value in values)

    def page(pages: dict[int, int], slot: int) -> str:
        return str(pages.get(slot, "NULL"))

    return [
        "",
        f"  pages: {wrong} of {len(slots)} slots differ, the first at slot {slots[first]}",
        f"    slot      {row([str(slot) for slot in shown])}",
        f"    expected  {row([page(a, slot) for slot in shown])}",
        f"    got       {row([page(b, slot) for slot in shown])}",
        f"              {row(['' if a.get(slot) == b.get(slot) else '^' * 6 for slot in shown])}",
    ]


def _zone_lines(zone: dict[str, Any], cpu: int) -> list[str]:
    pcp = zone["pcp"][str(cpu)]
    lines = [
        "",
        f"  zone {zone['nid']}.{zone['idx']} {zone['name']} before the operation: free {zone['nr_free']}"
        f"{pcp['diff_free']:+d} of cpu {cpu}, min {zone['min']} low {zone['low']} high {zone['high']} "
        f"boost {zone['boost']}",
        f"    cpu {cpu}: count {pcp['count']} high {pcp['high']} batch {pcp['batch']} "
        + " ".join(f"{name} {pcp[name]}" for name in _LIMITS if name in pcp),
    ]
    for index, entries in pcp["lists"].items():
        order = 9 if int(index) >= 12 else int(index) // 3
        frames = [str(entry[0]) for entry in entries]
        shown = " ".join(frames[:6]) + (f" ... {frames[-1]}" if len(frames) > 7 else " ".join(["", *frames[6:]]))
        lines.append(f"      list {index:>2} (order {order}): {shown}   [{len(frames)}]")
    for order, lists in zone["free"].items():
        for mt, heads in lists.items():
            shown = " ".join(map(str, heads[:8])) + (" ..." if len(heads) > 8 else "")
            lines.append(f"    free order {order:>2} {MIGRATETYPES[int(mt)]:11} {shown}   [{len(heads)}]")
    return lines
