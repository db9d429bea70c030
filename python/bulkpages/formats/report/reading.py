"""A machine from a report of the kernel log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkpages.eras.rules import of_kernel, series_of
from bulkpages.errors import InvalidArgument, MissingFile, SnapshotError
from bulkpages.formats.report.lines import Line, log_lines
from bulkpages.formats.report.meminfo import ZoneReport, parse_meminfo
from bulkpages.formats.report.request import Request, request_of
from bulkpages.formats.state.place import BLOCK, ORDERS
from bulkpages.formats.state.told import Told, largest_as_cma, state_of
from bulkpages.formats.state.zones import NAMES, columns
from bulkpages.kinds import need, need_within

__all__ = ["Report", "read_report"]

#: The types of the letters (`show_migration_types()`); before 4.4 "R" is the reserve, which is gone.
LETTERS = {"U": "Unmovable", "M": "Movable", "E": "Reclaimable", "H": "HighAtomic", "C": "CMA", "I": "Isolate"}
LETTERS["R"] = "Reserve"

_MEM_INFO = re.compile(r"Mem-[Ii]nfo:")
_RELEASE = re.compile(r"Comm: .*?(?:Not tainted|Tainted: .*?) (\d+\.\d+\S*)")
_ANY_ZONE = re.compile(r"(?:Node \d+ )?(?:DMA|DMA32|Normal|HighMem|Movable) free:\d")


@dataclass
class Report:
    """The contents of a report.

    Attributes:
        snapshot: What `Machine.from_snapshot` takes.
        request: The request; None if the report does not name one, as with sysrq-m.
        notes: What the report does not say, and what was assumed instead.
    """

    snapshot: dict[str, Any]
    request: Request | None
    notes: list[str] = field(default_factory=list)


def _split(lines: Sequence[Line]) -> list[list[Line]]:
    """The reports of a log: each with the lines before its zones, back to the report before."""
    starts = [i for i, (_, line) in enumerate(lines) if _MEM_INFO.search(line)]
    if not starts:
        return [list(lines)] if any(_ANY_ZONE.match(line) for _, line in lines) else []
    ends = [*starts[1:], len(lines)]
    reports = []
    before = 0
    for start, end in zip(starts, ends, strict=True):
        # The lines of the next report's request stand before its "Mem-Info:".
        zones = [i for i in range(start, end) if _ANY_ZONE.match(lines[i][1]) or "*4kB" in lines[i][1]]
        if zones:
            reports.append(list(lines[before : zones[-1] + 1]))
            before = zones[-1] + 1
    return reports


def _text(source: str | Path) -> str:
    if isinstance(source, str) and ("\n" in source or _ANY_ZONE.search(source)):
        return source
    try:
        return Path(source).read_bytes().decode("utf-8", "replace")
    except FileNotFoundError as error:
        raise MissingFile(str(source)[:200]) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SnapshotError(f"{str(source)[:200]}: {why}") from error


def _shares(total: int, of: int) -> list[int]:
    """A number in equal parts, larger ones last."""
    return [total * (i + 1) // of - total * i // of for i in range(of)]


def _typed(zone: ZoneReport, notes: set[str]) -> dict[str, list[int]]:
    """Free blocks by order of each type: what letters and counters say, the rest split evenly."""
    typed: dict[str, list[int]] = {}
    known = {"CMA": zone.values.get("free_cma", 0), "HighAtomic": zone.values.get("free_highatomic")}
    for order in reversed(range(ORDERS)):
        count, letters = zone.counts[order], zone.letters[order]
        if not count:
            continue
        if letters is None:
            notes.add("no letters give the types of free blocks: Movable is assumed")
            continue
        names = [LETTERS.get(letter, "Movable") for letter in letters][:count]
        shares = dict.fromkeys(names, 1)
        left = count - len(names)
        for name in list(names):
            pages = known.get(name)
            if pages is not None:
                # The kernel counts these pages, so their blocks are known, up to what other orders hold.
                share = min(max((pages >> order) - 1, 0), left) if len(names) > 1 else left
                shares[name] += share
                left -= share
                known[name] = pages - (shares[name] << order)
                names.remove(name)
        if left and len(names) > 1:
            notes.add(
                "where blocks of one order have several types, each type gets one block and the rest is split evenly"
            )
        for name, share in zip(names, _shares(left, len(names)), strict=True) if names else ():
            shares[name] += share
        if left and not names:
            first = next(iter(shares))
            shares[first] += left
        for name, number in shares.items():
            typed.setdefault(name, [0] * ORDERS)[order] = number
    free_cma = zone.values.get("free_cma", 0)
    if free_cma and "CMA" not in typed:
        notes.add("free_cma without a letter C: the report does not say which blocks are CMA; the largest are assumed")
        typed["CMA"] = largest_as_cma(zone.counts, free_cma)
    return {name: counts for name, counts in typed.items() if name != "Movable"}


def _batch(managed: int) -> int:
    """`zone_batchsize()`."""
    batch = max(min(managed >> 10, 256) // 4, 1)
    return max((1 << (batch + batch // 2).bit_length() - 1) - 1, 1)


def _cpus(zone: ZoneReport, notes: set[str]) -> dict[int, dict[str, int]]:
    """Per-CPU lists: each CPU's where they are printed, else the reporting CPU's, and all others' as one."""
    if zone.cpus:
        return zone.cpus
    batch = _batch(zone.values["managed"])
    everywhere = zone.values.get("free_pcp")
    if everywhere is None:
        notes.add("the report has no per-CPU lists: one CPU with empty lists is assumed")
        return {0: {"count": 0, "batch": batch}}
    here = min(zone.values.get("local_pcp", 0), everywhere)
    notes.add(
        "the report does not give the number of CPUs: CPU 0 is the one that reported, CPU 1 has the other CPUs' lists"
    )
    return {
        0: {"count": here, "high": here, "batch": batch},
        1: {"count": everywhere - here, "high": everywhere - here, "batch": batch},
    }


def _told(key: tuple[int, str], zone: ZoneReport, build: Sequence[str], notes: set[str], odd: list[str]) -> Told:
    nid, name = key
    where = f"report line {zone.line}"
    values = zone.values
    title = f"node {nid} zone {name}"
    if "present" not in values:
        raise SnapshotError(f"{where}: {title} has no 'present': the line is cut")
    if "managed" not in values:
        notes.add("zones have no 'managed' (kernels before 3.9): 'present' is used")
        values["managed"] = values["present"]
    counts = zone.counts or [0] * ORDERS
    if not zone.counts:
        notes.add(f"{title}: no line with its free blocks; its {values['free']} free pages are taken as in use")
    free = sum(count << order for order, count in enumerate(counts))
    if zone.counts and free != values["free"]:
        odd.append(f"{title} free:{4 * values['free']}kB, blocks {4 * free}kB")
    return Told(
        nid=nid,
        name=name,
        where=where,
        sizes=values | {"spanned": values["present"]},
        reserve=dict(zip(build, zone.reserve, strict=False)),
        counts=counts,
        typed=_typed(zone, notes) if zone.counts else {},
        blocks={"HighAtomic": values.get("reserved_highatomic", 0) // BLOCK},
        cpus=_cpus(zone, notes),
    )


def _build(zones: dict[tuple[int, str], ZoneReport], notes: list[str]) -> tuple[str, ...]:
    nodes: dict[int, list[str]] = {}
    for nid, name in zones:
        nodes.setdefault(nid, []).append(name)
    rows = [(name, zone.reserve) for (_, name), zone in zones.items() if zone.reserve]
    if not rows:
        notes.append("no lowmem_reserve[] lines: no zone holds back pages from requests for higher zones")
        seen = {name for _, name in zones} | {"Normal", "Movable"}
        return tuple(name for name in NAMES if name in seen)
    first = next(zone.line for zone in zones.values() if zone.reserve)
    if len({len(row) for _, row in rows}) > 1:
        raise SnapshotError(f"report line {first}: lowmem_reserve[] differs in length between zones: a line is cut off")
    return columns(rows, nodes.values(), f"report line {first}", notes)


def _request(lines: Sequence[Line], notes: list[str]) -> Request | None:
    """The last request that is named before the zones: those before it were not reported in full."""
    found: Request | None = None
    said: list[str] = []
    for number, line in lines:
        if _ANY_ZONE.match(line):
            break
        of_line: list[str] = []
        if request := request_of(number, line, of_line):
            found, said = request, of_line
    notes += said
    return found


def _series(lines: Sequence[Line]) -> str | None:
    """The kernel series that a report names in its line about the task, if machines can work like it."""
    for _, line in lines:
        if match := _RELEASE.search(line):
            return series_of(match[1])
    return None


def read_report(source: str | Path, nth: int = 1) -> Report:
    """Reads a report from the kernel log: the state of the machine, and the request that the report is about.

    It reads reports of the OOM killer, failed allocations and sysrq-m from kernels from 3.x to 7.x, with any prefixes
    of dmesg, syslog or journald. Reports do not say where frames are, so zones are placed one after the other.

    Args:
        source: The text, or the path of a file with it.
        nth: Which report to read if the log has several, from 1.

    Raises:
        SnapshotError: There is no report, or it cannot be read; names the line.
        InvalidArgument: There are fewer reports.
    """
    need("a report", source, (str, Path))
    need_within("nth", nth, 1, 1 << 31)
    text = _text(source)
    reports = _split(log_lines(text))
    if not reports and ("CONSTRAINT_MEMCG" in text or "Memory cgroup out of memory" in text):
        raise SnapshotError("a memory cgroup reached its limit: such a report says nothing about zones")
    if not reports:
        raise SnapshotError('no report: no line like "Node 0 Normal free:4096kB min:..." was found')
    if nth > len(reports):
        raise InvalidArgument(f"nth {nth} is outside 1 to {len(reports)}, the number of reports in the log")
    lines = reports[nth - 1]
    notes: list[str] = []
    if len(reports) > 1:
        notes.append(f"the log has {len(reports)} reports; this is number {nth}, from line {lines[0][0]} on")
    request = _request(lines, notes)
    zones = {key: zone for key, zone in parse_meminfo(lines).items() if key[1] != "Device"}
    build = _build(zones, notes)
    guessed: set[str] = set()
    odd: list[str] = []
    told = [_told(key, zone, build, guessed, odd) for key, zone in zones.items()]
    notes += sorted(guessed)
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        notes.append(
            f"free counters and free blocks are from different moments: {'; '.join(odd[:3])}{more}. The blocks are used"
        )
    state = state_of(told, build, "report", notes)
    return Report(of_kernel(state, _series(lines)), request, notes)
