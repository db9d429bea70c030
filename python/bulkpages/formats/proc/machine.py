"""A machine from the files that another machine has under /proc."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkpages.eras.rules import of_kernel, series_of
from bulkpages.errors import MissingFile, SnapshotError
from bulkpages.formats.proc.read import Key, PageTypes, read_buddyinfo, read_pagetypeinfo, read_zoneinfo
from bulkpages.formats.proc.texts import FILES, Lines, sort_lines
from bulkpages.formats.state.place import BLOCK, ORDERS
from bulkpages.formats.state.told import Told, largest_as_cma, state_of
from bulkpages.formats.state.zones import NAMES, columns
from bulkpages.kinds import need

__all__ = ["ProcState", "read_proc"]

_CAP = "the kernel stops counting at 100,000"


@dataclass
class ProcState:
    """A machine read from files.

    Attributes:
        snapshot: What `Machine.from_snapshot` takes.
        notes: What was unknown, missing or contradictory, or could not be placed.
    """

    snapshot: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SnapshotError(f"{path}: not text: byte {error.start}") from error


def _texts(source: Path, notes: list[str]) -> dict[str, str]:
    """The texts of a directory, by file name; of a file, as one text without a name."""
    if source.is_file():
        return {"": _read(source)}
    texts = {}
    for name in FILES:
        try:
            texts[name] = _read(source / name)
        except OSError as error:
            if name == "zoneinfo" and isinstance(error, FileNotFoundError):
                raise MissingFile(source / name) from error
            if name == "zoneinfo":
                raise SnapshotError(f"{source / name}: {error.strerror or error}") from error
            if name != "vmstat":
                notes.append(f"{name}: {error.strerror or error}; ignored")
    return texts


def _sorted(texts: Mapping[str, str]) -> dict[str, Lines]:
    """The lines of each file, from texts by name; those without a name may hold several files."""
    found: dict[str, Lines] = {}
    for name, text in texts.items():
        need(f"the text {name!r}", text, str)
        if name and name not in FILES:
            continue
        for file, lines in sort_lines(text, name or None).items():
            found.setdefault(file, []).extend(lines)
    return found


class _Counts:
    """Free blocks of each zone, from buddyinfo and pagetypeinfo, and what they leave open."""

    def __init__(self, buddy: dict[Key, list[int]], types: PageTypes, notes: list[str]) -> None:
        self.buddy, self.types, self.notes = buddy, types, notes
        #: Contradictions of the texts, with their figures.
        self.odd: list[str] = []

    def of(self, key: Key, zone: Mapping[str, Any]) -> tuple[list[int], dict[str, list[int]]]:
        """Free blocks by order, and those of each type that is not Movable."""
        title = f"node {key[0]} zone {key[1]}"
        free = zone.get("free", 0)
        typed = self.types.free.get(key, {})
        sums = [sum(counts[order] for counts in typed.values()) for order in range(ORDERS)] if typed else []
        counts = self.buddy.get(key)
        if counts is None and not typed:
            self.notes.append(
                f"{title} has no line in buddyinfo or pagetypeinfo: its {free} free pages (zoneinfo) have no known "
                "orders and are taken as in use"
            )
            return [0] * ORDERS, {}
        if counts is None:
            self.notes.append(f"{title} has no line in buddyinfo: its free blocks are taken from pagetypeinfo")
            counts = sums
            for name, order in sorted(self.types.capped.get(key, ())):
                self.notes.append(f"{title}: more than {typed[name][order]} {name} blocks of order {order}: {_CAP}")
        elif typed:
            typed = self._uncapped(key, title, counts, typed)
        pages = sum(count << order for order, count in enumerate(counts))
        bound = max((cpu.get("thresh", 0) for cpu in zone["cpus"].values()), default=0) * len(zone["cpus"])
        if "free" in zone and abs(pages - free) > bound:
            self.odd.append(f"{title}: zoneinfo has {free} free pages, the free blocks of the other texts {pages}")
        if typed and counts is not sums:
            by_type = sum(count << order for of_type in typed.values() for order, count in enumerate(of_type))
            if by_type != pages:
                self.odd.append(f"{title}: buddyinfo has {pages} free pages, pagetypeinfo {by_type}")
        if not typed and (cma := zone.get("nr_free_cma", 0)):
            self.notes.append(
                f"{title}: {cma} of its free pages are CMA; the text does not say which; the largest blocks are assumed"
            )
            typed = {"CMA": largest_as_cma(counts, cma)}
        return counts, {name: of_type for name, of_type in typed.items() if name != "Movable"}

    def _uncapped(self, key: Key, title: str, counts: list[int], typed: dict[str, list[int]]) -> dict[str, list[int]]:
        """The counts by type, where pagetypeinfo stopped counting and buddyinfo knows the sum."""
        typed = {name: list(of_type) for name, of_type in typed.items()}
        for order in range(ORDERS):
            capped = sorted(name for name, at in self.types.capped.get(key, ()) if at == order)
            missing = counts[order] - sum(of_type[order] for of_type in typed.values())
            if not capped or missing <= 0:
                continue
            if len(capped) > 1:
                self.notes.append(
                    f"{title} order {order}: {' and '.join(capped)} have more than 100,000 free blocks each ({_CAP}); "
                    f"the {missing} more that buddyinfo has are split evenly"
                )
            for i, name in enumerate(capped):
                typed[name][order] += missing * (i + 1) // len(capped) - missing * i // len(capped)
        return typed


def _told(key: Key, zone: dict[str, Any], build: tuple[str, ...], counts: _Counts) -> Told:
    """What the texts tell of a zone."""
    by_order, typed = counts.of(key, zone)
    blocks = dict(counts.types.blocks.get(key, {}))
    if not blocks and zone.get("reserved_highatomic"):
        blocks["HighAtomic"] = zone["reserved_highatomic"] // BLOCK
    return Told(
        nid=key[0],
        name=key[1],
        where=f"zoneinfo line {zone['line']}",
        sizes={name: value for name, value in zone.items() if isinstance(value, int)},
        start=zone.get("start_pfn"),
        reserve=dict(zip(build, zone.get("protection", ()), strict=False)),
        counts=by_order,
        typed=typed,
        blocks=blocks,
        cpus=zone["cpus"],
    )


def _build(zones: Mapping[Key, Mapping[str, Any]], notes: list[str]) -> tuple[str, ...]:
    """The zones of the kernel that printed the text, in order."""
    nodes: dict[int, list[str]] = {}
    for nid, name in zones:
        nodes.setdefault(nid, []).append(name)
    widths = {len(zone["protection"]): zone["line"] for zone in zones.values() if "protection" in zone}
    if len(widths) > 1:
        told = ", ".join(f"{width} in the zone of line {line}" for width, line in sorted(widths.items()))
        raise SnapshotError(f"zoneinfo: protection has {told}: the texts of two kernels are mixed; remove one")
    if not widths:
        notes.append("zoneinfo has no protection lines: no zone holds back pages from requests for higher zones")
        seen = {name for _, name in zones} | {"Normal", "Movable"}
        return tuple(name for name in NAMES if name in seen)
    rows = [(name, zone["protection"]) for (_, name), zone in zones.items() if "protection" in zone]
    return columns(rows, nodes.values(), f"zoneinfo line {next(iter(widths.values()))}", notes)


def _managed(zones: Mapping[Key, dict[str, Any]], notes: list[str]) -> None:
    """Kernels before 3.9 do not say how much a zone manages."""
    missing = [key for key, zone in zones.items() if "managed" not in zone and zone.get("present")]
    for key in missing:
        zones[key]["managed"] = zones[key]["present"]
    if missing:
        named = ", ".join(f"node {nid} zone {name}" for nid, name in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        notes.append(f"zoneinfo has no 'managed' line for {named}{more} (kernels before 3.9): 'present' is used")


def _series(directory: Path) -> str | None:
    """The kernel series that the file `version` beside the others names, if machines can work like it."""
    try:
        words = (directory / "version").read_text(errors="replace").split()
    except OSError:
        return None
    return series_of(words[2]) if words[:2] == ["Linux", "version"] and len(words) > 2 else None


def read_proc(source: str | Path | Mapping[str, str]) -> ProcState:
    """Reads the state of a machine from `zoneinfo`, `buddyinfo` and, if readable, `pagetypeinfo`.

    Args:
        source: A directory such as "/proc", a file that contains several texts, or a mapping of file names to texts.

    Raises:
        SnapshotError: A file is missing or cannot be read; names the file and the line.
    """
    notes: list[str] = []
    lines = _sorted(dict(source) if isinstance(source, Mapping) else _texts(Path(source), notes))
    if "zoneinfo" not in lines:
        raise SnapshotError("zoneinfo is needed: no zone ('Node N, zone NAME') was found")
    if "buddyinfo" not in lines and "pagetypeinfo" not in lines:
        raise SnapshotError("buddyinfo or pagetypeinfo is needed: neither was found")
    zones = read_zoneinfo(lines["zoneinfo"], notes)
    counts = _Counts(
        read_buddyinfo(lines.get("buddyinfo", [])), read_pagetypeinfo(lines.get("pagetypeinfo", [])), notes
    )
    if not counts.types.free:
        notes.append("the types of free blocks are unknown: Movable is assumed")
    build = _build(zones, notes)
    _managed(zones, notes)
    told = []
    for key, zone in zones.items():
        if not zone.get("managed"):
            continue
        if key[1] not in NAMES[:-1]:
            notes.append(f"node {key[0]} zone {key[1]}: not modelled, ignored ({zone['managed']} pages)")
            continue
        told.append(_told(key, zone, build, counts))
    for key in sorted((counts.buddy.keys() | counts.types.free.keys()) - zones.keys()):
        pages = sum(count << order for order, count in enumerate(counts.buddy.get(key, ())))
        notes.append(f"node {key[0]} zone {key[1]} is not in zoneinfo: its {pages} free pages (buddyinfo) are ignored")
    if counts.odd:
        more = f"; and {len(counts.odd) - 4} more" if len(counts.odd) > 4 else ""
        notes.append(
            f"the texts contradict each other, so they come from different moments or machines: "
            f"{'; '.join(counts.odd[:4])}{more}. Free blocks are taken from "
            f"{'buddyinfo' if counts.buddy else 'pagetypeinfo'}"
        )
    state = state_of(told, build, "zoneinfo", notes)
    return ProcState(of_kernel(state, None if isinstance(source, Mapping) else _series(Path(source))), notes)
