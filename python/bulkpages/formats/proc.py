"""`/proc/zoneinfo`, `buddyinfo`, `vmstat` and `pagetypeinfo`: out of a machine as Linux 6.12 prints them, and in.

Out: names, order and columns are the kernel's; what the emulator does not model (LRU, slab, writeback) prints as 0.

In: lines are read by name; a name that is not known is skipped and said. The files do not say where anything is, so a
machine is built by a rule:

* The managed frames of a zone are its last ones; what is in front is the kernel's.
* Free blocks are put on the lowest frames that they fit, largest orders first, each beside a buddy that is not free. A
  1024-frame area serves one type. Types are those of pagetypeinfo, where it can be read; otherwise every block is
  Movable, but for a cut-off first one, which is Unmovable.
* Pages on per-CPU lists are order-0 Movable ones. A CPU's limits are those of the file, or follow from the marks.
* CPUs are spread over the nodes in order. Nodes come nearest first: itself, the ones above, the ones below.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from bulkpages.errors import SnapshotError
from bulkpages.kinds import need

__all__ = [
    "ProcState",
    "buddyinfo",
    "pagetypeinfo",
    "parse_buddyinfo",
    "parse_pagetypeinfo",
    "parse_vmstat",
    "parse_zoneinfo",
    "read_proc",
    "vmstat",
    "zoneinfo",
]

ZONES = ("DMA", "DMA32", "Normal", "Movable")
TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic")
ORDERS = 11
BLOCK = 512
#: Most frames that a machine numbers.
MAX_FRAMES = 1 << 32


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ZONE_ITEMS = _names(
    "nr_free_pages nr_zone_inactive_anon nr_zone_active_anon nr_zone_inactive_file nr_zone_active_file "
    "nr_zone_unevictable nr_zone_write_pending nr_mlock nr_bounce nr_free_cma"
)
NUMA_ITEMS = _names("numa_hit numa_miss numa_foreign numa_interleave numa_local numa_other")
NODE_ITEMS = _names(
    "nr_inactive_anon nr_active_anon nr_inactive_file nr_active_file nr_unevictable nr_slab_reclaimable "
    "nr_slab_unreclaimable nr_isolated_anon nr_isolated_file workingset_nodes workingset_refault_anon "
    "workingset_refault_file workingset_activate_anon workingset_activate_file workingset_restore_anon "
    "workingset_restore_file workingset_nodereclaim nr_anon_pages nr_mapped nr_file_pages nr_dirty nr_writeback "
    "nr_writeback_temp nr_shmem nr_shmem_hugepages nr_shmem_pmdmapped nr_file_hugepages nr_file_pmdmapped "
    "nr_anon_transparent_hugepages nr_vmscan_write nr_vmscan_immediate_reclaim nr_dirtied nr_written "
    "nr_throttled_written nr_kernel_misc_reclaimable nr_foll_pin_acquired nr_foll_pin_released nr_kernel_stack "
    "nr_page_table_pages nr_sec_page_table_pages nr_swapcached pgdemote_kswapd pgdemote_direct pgdemote_khugepaged"
)
EVENT_ITEMS = _names(
    "nr_dirty_threshold nr_dirty_background_threshold nr_memmap_pages nr_memmap_boot_pages pgpgin pgpgout pswpin "
    "pswpout pgalloc_dma pgalloc_dma32 pgalloc_normal pgalloc_movable allocstall_dma allocstall_dma32 "
    "allocstall_normal allocstall_movable pgskip_dma pgskip_dma32 pgskip_normal pgskip_movable pgfree pgactivate "
    "pgdeactivate pglazyfree pgfault pgmajfault pglazyfreed pgrefill pgreuse pgsteal_kswapd pgsteal_direct "
    "pgsteal_khugepaged pgscan_kswapd pgscan_direct pgscan_khugepaged pgscan_direct_throttle pgscan_anon "
    "pgscan_file pgsteal_anon pgsteal_file zone_reclaim_success zone_reclaim_failed pginodesteal slabs_scanned "
    "kswapd_inodesteal kswapd_low_wmark_hit_quickly kswapd_high_wmark_hit_quickly pageoutrun pgrotated "
    "drop_pagecache drop_slab oom_kill pgmigrate_success pgmigrate_fail thp_migration_success thp_migration_fail "
    "thp_migration_split compact_migrate_scanned compact_free_scanned compact_isolated compact_stall compact_fail "
    "compact_success compact_daemon_wake compact_daemon_migrate_scanned compact_daemon_free_scanned "
    "htlb_buddy_alloc_success htlb_buddy_alloc_fail unevictable_pgs_culled unevictable_pgs_scanned "
    "unevictable_pgs_rescued unevictable_pgs_mlocked unevictable_pgs_munlocked unevictable_pgs_cleared "
    "unevictable_pgs_stranded thp_fault_alloc thp_fault_fallback thp_fault_fallback_charge thp_collapse_alloc "
    "thp_collapse_alloc_failed thp_file_alloc thp_file_fallback thp_file_fallback_charge thp_file_mapped "
    "thp_split_page thp_split_page_failed thp_deferred_split_page thp_underused_split_page thp_split_pmd "
    "thp_scan_exceed_none_pte thp_scan_exceed_swap_pte thp_scan_exceed_share_pte thp_split_pud thp_zero_page_alloc "
    "thp_zero_page_alloc_failed thp_swpout thp_swpout_fallback swap_ra swap_ra_hit swpin_zero swpout_zero "
    "direct_map_level2_splits direct_map_level3_splits nr_unstable"
)


# Out


def _counts(zone: Mapping[str, Any], order: int) -> int:
    return sum(len(frames) for frames in zone["free"].get(str(order), {}).values())


def _nodes(state: Mapping[str, Any]) -> list[int]:
    nodes = {zone["nid"] for zone in state["zones"]} | set(map(int, state["zonelists"]))
    return sorted(nodes | set(state["cpu_node"].values()))


def _need_zones(state: Mapping[str, Any]) -> None:
    need("a snapshot", state, Mapping)
    if "zones" not in state:
        raise SnapshotError('a snapshot without "zones"')


def zoneinfo(state: Mapping[str, Any], numa: Iterable[Mapping[str, int]] = ()) -> str:
    """`/proc/zoneinfo` of a snapshot; `numa` gives each zone's NUMA counters, in snapshot order (0 when left out)."""
    _need_zones(state)
    counters = list(numa) or [{} for _ in state["zones"]]
    zones = {(z["nid"], z["idx"]): (z, n) for z, n in zip(state["zones"], counters, strict=True)}
    out = []
    for nid in _nodes(state):
        first = True
        for idx, name in enumerate(ZONES):
            out.append(f"Node {nid}, zone {name:>8}")
            if (nid, idx) not in zones:
                mark = 32 if name == "Movable" else 0
                out.append("  pages free     0\n        boost    0")
                out += [f"        {n:8} {mark}" for n in ("min", "low")] + [f"        high     {mark}"]
                out.append(f"        promo    {mark}")
                out += [f"        {n:8} 0" for n in ("spanned", "present", "managed", "cma")]
                out.append(f"        protection: ({', '.join(['0'] * len(ZONES))})")
                continue
            zone, numa_of = zones[nid, idx]
            if first:
                out.append("  per-node stats")
                out += [f"      {item:<12} 0" for item in NODE_ITEMS]
                first = False
            free = max(zone["nr_free"], 0)
            out.append(f"  pages free     {free}")
            out.append(f"        boost    {zone['boost']}")
            out += [f"        {n:8} {zone[n] + zone['boost']}" for n in ("min", "low", "high", "promo")]
            out += [f"        {n:8} {zone[n]}" for n in ("spanned", "present", "managed")]
            out.append("        cma      0")
            out.append(f"        protection: ({', '.join(map(str, zone['lowmem_reserve']))})")
            values = {"nr_free_pages": free, **numa_of}
            out += [f"      {item:<12} {values.get(item, 0)}" for item in (*ZONE_ITEMS, *NUMA_ITEMS)]
            out.append("  pagesets")
            for cpu, pcp in sorted(zone["pcp"].items(), key=lambda p: int(p[0])):
                out.append(f"    cpu: {cpu}")
                out.append(f"              count: {pcp['count']}\n              high:  {pcp['high']}")
                out.append(f"              batch: {pcp['batch']}\n  vm stats threshold: {pcp['thresh']}")
            out.append(f"  node_unreclaimable:  0\n  start_pfn:           {zone['start']}")
    return "\n".join(out) + "\n"


def buddyinfo(state: Mapping[str, Any]) -> str:
    """`/proc/buddyinfo` of a snapshot."""
    _need_zones(state)
    return "".join(
        f"Node {z['nid']}, zone {z['name']:>8} " + "".join(f"{_counts(z, o):6} " for o in range(ORDERS)) + "\n"
        for z in state["zones"]
    )


def vmstat(counters: Mapping[str, int]) -> str:
    """`/proc/vmstat` with these counters; every other one is 0."""
    need("counters", counters, Mapping)
    names = (*ZONE_ITEMS, *NUMA_ITEMS, *NODE_ITEMS, *EVENT_ITEMS)
    return "".join(f"{name} {counters.get(name, 0)}\n" for name in names)


def _block_counts(zone: Mapping[str, Any]) -> list[int]:
    counts = [0] * len(TYPES)
    for migratetype, count in zone["pageblocks"]:
        if migratetype < len(TYPES):
            counts[migratetype] += count
    return counts


def pagetypeinfo(state: Mapping[str, Any]) -> str:
    """`/proc/pagetypeinfo` of a snapshot."""
    _need_zones(state)
    out = []
    for nid in sorted({zone["nid"] for zone in state["zones"]}):
        zones = [zone for zone in state["zones"] if zone["nid"] == nid]
        out.append(f"Page block order: 9\nPages per block:  {BLOCK}\n\n")
        out.append(f"{'Free pages count per migrate type at order':<43} ")
        out.append("".join(f"{order:6} " for order in range(ORDERS)) + "\n")
        for zone in zones:
            for migratetype, name in enumerate(TYPES):
                out.append(f"Node {nid:4}, zone {zone['name']:>8}, type {name:>12} ")
                for order in range(ORDERS):
                    frames = zone["free"].get(str(order), {}).get(str(migratetype), ())
                    out.append(f"{len(frames):6} " if len(frames) < 100_000 else f">{99_999:6} ")
                out.append("\n")
        out.append(f"\n{'Number of blocks type':<23}" + "".join(f"{name:>12} " for name in TYPES) + "\n")
        for zone in zones:
            out.append(f"Node {nid}, zone {zone['name']:>8} ")
            out.append("".join(f"{count:12} " for count in _block_counts(zone)) + "\n")
    return "".join(out)


# In


@dataclass
class ProcState:
    """A machine read from files.

    Attributes:
        snapshot: What `Machine.from_snapshot` takes.
        notes: What was not known, not there, or could not be placed.
    """

    snapshot: dict[str, Any]
    notes: list[str] = field(default_factory=list)


_HEAD = re.compile(r"Node\s+([0-9]{1,9}), zone\s+(\S+)")
_WORD = re.compile(r"\s*(?:pages )?([A-Za-z_][\w ]*?)(?::)?\s+(-?[0-9]{1,20})\s*")
_NUMBER = re.compile(r"[0-9]{1,20}")
_KNOWN = {"free", "boost", "min", "low", "high", "promo", "spanned", "present", "managed", "cma", "start_pfn"}
_KNOWN |= {"node_unreclaimable", "cpu", "count", "batch", "high_min", "high_max", "vm stats threshold"}
_PCP = {"count", "high", "batch", "high_min", "high_max"}


def _numbers(words: Iterable[str], where: str) -> list[int]:
    words = list(words)
    for word in words:
        if not _NUMBER.fullmatch(word):
            raise SnapshotError(f"{where}: {word[:30]!r} is no number of 20 digits at most")
    return [int(word) for word in words]


def parse_zoneinfo(text: str, notes: list[str] | None = None) -> dict[tuple[int, str], dict[str, Any]]:
    """Zones by (node, name): numbers by name, "protection", and "cpus" with each CPU's numbers.

    Lines that are not known are skipped and added to `notes`, each name once.

    Raises:
        SnapshotError: The text is no zoneinfo; names the line.
    """
    need("text", text, str)
    notes = [] if notes is None else notes
    zones: dict[tuple[int, str], dict[str, Any]] = {}
    zone: dict[str, Any] | None = None
    cpu: dict[str, int] | None = None
    skipped: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if head := _HEAD.match(line):
            zone = zones.setdefault((int(head[1]), head[2]), {"cpus": {}})
            cpu = None
        elif zone is None:
            if line.strip():
                raise SnapshotError(f'zoneinfo line {number}: "Node N, zone NAME" is needed, not {line[:60]!r}')
        elif "protection:" in line:
            words = line.split(":", 1)[1].strip(" ()").replace(",", " ").split()
            zone["protection"] = _numbers(words, f"zoneinfo line {number}")
        elif match := _WORD.fullmatch(line):
            name, value = match[1], int(match[2])
            if name == "cpu":
                cpu = zone["cpus"].setdefault(value, {})
            elif cpu is not None and name in _PCP:
                cpu[name] = value
            elif cpu is not None and name == "vm stats threshold":
                cpu["thresh"] = value
            else:
                zone.setdefault(name, value)
                if name not in _KNOWN and not name.startswith(("nr_", "numa_", "workingset_", "pg")):
                    skipped.setdefault(name, number)
        elif line.strip() not in ("", "per-node stats", "pagesets"):
            skipped.setdefault(line.strip(), number)
    if not zones:
        raise SnapshotError("zoneinfo names no zone")
    notes += [f"zoneinfo line {number}: {name!r} is not known, skipped" for name, number in skipped.items()]
    return zones


def parse_buddyinfo(text: str) -> dict[tuple[int, str], list[int]]:
    """Free blocks by order, of each (node, zone name).

    Raises:
        SnapshotError: A line that is no buddyinfo.
    """
    need("text", text, str)
    zones = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        head = _HEAD.match(line)
        counts = line[head.end() :].split() if head else []
        if head is None or not counts:
            raise SnapshotError(f"buddyinfo line {number}: not a zone with counts: {line[:60]!r}")
        zones[int(head[1]), head[2]] = _numbers(counts, f"buddyinfo line {number}")
    return zones


def parse_vmstat(text: str) -> dict[str, int]:
    """Counters by name.

    Raises:
        SnapshotError: A line that is no name and number.
    """
    need("text", text, str)
    counters = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, _, value = line.partition(" ")
        if not re.fullmatch(r"-?[0-9]{1,20}", value.strip()) or not name:
            raise SnapshotError(f"vmstat line {number}: not a name and a number: {line[:60]!r}")
        counters[name] = int(value)
    return counters


_TYPED = re.compile(r"Node\s+([0-9]{1,9}), zone\s+(\S+), type\s+(\S+)\s+(.*)")


def parse_pagetypeinfo(text: str) -> tuple[dict[tuple[int, str], dict[str, list[int]]], dict[Any, dict[str, int]]]:
    """Free blocks by type and order, and pageblocks by type, of each (node, zone name).

    Raises:
        SnapshotError: A count that is no number; names the line.
    """
    need("text", text, str)
    free: dict[tuple[int, str], dict[str, list[int]]] = {}
    blocks: dict[Any, dict[str, int]] = {}
    names: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"pagetypeinfo line {number}"
        if typed := _TYPED.match(line):
            # The kernel stops counting at 100,000 and writes ">100000".
            counts = _numbers(typed[4].replace(">", " ").split(), where)
            free.setdefault((int(typed[1]), typed[2]), {})[typed[3]] = counts
        elif line.startswith("Number of blocks type"):
            names = line.split()[4:]
        elif names and (head := _HEAD.match(line)):
            counts = _numbers(line[head.end() :].split(), where)
            blocks[int(head[1]), head[2]] = dict(zip(names, counts, strict=False))
    return free, blocks


class _Layout:
    """Where the free blocks of one zone go."""

    def __init__(self, start: int, end: int, managed: int) -> None:
        self.first_block, self.end = start // BLOCK, end
        self.types: dict[int, int] = {}
        # Aligned areas that nothing uses yet, by order: the buddy of such an area is out of reach.
        self.fresh: dict[int, deque[int]] = {order: deque() for order in range(ORDERS)}
        # What was left of areas in use, by type and order: beside each is something of its order that is used.
        self.left: dict[tuple[int, int], list[int]] = {}
        at = end - managed
        while at < end:
            order = min(ORDERS - 1, (at & -at).bit_length() - 1 if at else ORDERS - 1)
            while at + (1 << order) > end:
                order -= 1
            self.fresh[order].append(at)
            at += 1 << order

    def _blocks(self, at: int, order: int) -> range:
        return range(at // BLOCK, (at + (1 << order) - 1) // BLOCK + 1)

    def _take_fresh(self, order: int, migratetype: int) -> int | None:
        for at in self.fresh[order]:
            if all(self.types.get(block, migratetype) == migratetype for block in self._blocks(at, order)):
                self.fresh[order].remove(at)
                self.types.update(dict.fromkeys(self._blocks(at, order), migratetype))
                return at
        return None

    def place(self, order: int, migratetype: int, *, alone: bool = True) -> int | None:
        """The frame of one block; `alone`: its buddy must not be free as a block of the same order."""
        for size in range(order, ORDERS):
            left = self.left.get((migratetype, size))
            if left and (size > order or not alone):
                at: int | None = heappop(left)
            else:
                at = self._take_fresh(size, migratetype)
            if at is not None:
                for half in range(size - 1, order - 1, -1):
                    heappush(self.left.setdefault((migratetype, half), []), at + (1 << half))
                return at
        return None

    def pageblocks(self, wanted: Mapping[int, int]) -> list[list[int]]:
        """Runs of (type, count): blocks in use have their type, the others make up what is wanted."""
        last = (self.end - 1) // BLOCK
        left = {t: wanted.get(t, 0) - sum(1 for x in self.types.values() if x == t) for t in range(len(TYPES))}
        runs: list[list[int]] = []

        def add(migratetype: int, count: int) -> None:
            if runs and runs[-1][0] == migratetype:
                runs[-1][1] += count
            elif count > 0:
                runs.append([migratetype, count])

        at = self.first_block
        for block in [*sorted(self.types), last + 1]:
            for migratetype in (0, 2, 3):
                count = max(min(left[migratetype], block - at), 0)
                left[migratetype] -= count
                at += count
                add(migratetype, count)
            add(1, block - at)
            if block <= last:
                add(self.types[block], 1)
            at = block + 1
        return runs


def _texts(directory: Path, notes: list[str]) -> dict[str, str]:
    texts = {}
    for name in ("zoneinfo", "buddyinfo", "vmstat", "pagetypeinfo"):
        try:
            texts[name] = (directory / name).read_text(encoding="ascii")
        except UnicodeDecodeError as error:
            raise SnapshotError(f"{directory / name}: not text: byte {error.start}") from error
        except OSError as error:
            if name == "zoneinfo" or name == "buddyinfo":
                raise SnapshotError(f"{directory / name}: {error.strerror or error}") from error
            notes.append(f"{name}: {error.strerror or error}; done without")
    return texts


def _pcp_limits(zone: Mapping[str, Any], cpu: Mapping[str, int], cpus: int) -> tuple[int, int]:
    batch = max(cpu.get("batch", 1), 1)
    low = max(zone["low"] // cpus, 4 * batch)
    high = max(zone["managed"] // 8 // cpus, 4 * batch)
    return cpu.get("high_min", low), cpu.get("high_max", high)


def read_proc(source: str | Path | Mapping[str, str]) -> ProcState:
    """The machine that a directory's `zoneinfo`, `buddyinfo` and, if they can be read, `pagetypeinfo` tell of.

    Args:
        source: A directory ("/proc"), or the texts by file name.

    Raises:
        SnapshotError: A file is missing or cannot be read; names it and the line.
    """
    notes: list[str] = []
    texts = dict(source) if isinstance(source, Mapping) else _texts(Path(source), notes)
    for name in ("zoneinfo", "buddyinfo"):
        if name not in texts:
            raise SnapshotError(f"{name} is needed")
    zones = parse_zoneinfo(texts["zoneinfo"], notes)
    buddy = parse_buddyinfo(texts["buddyinfo"])
    typed, blocks = parse_pagetypeinfo(texts.get("pagetypeinfo", ""))
    if "pagetypeinfo" not in texts:
        notes.append("types of free blocks are not known: all are taken as Movable")
    cpus = sorted({cpu for zone in zones.values() for cpu in zone["cpus"]}) or [0]
    nodes = sorted({nid for nid, _ in zones})
    per_node = -(-len(cpus) // len(nodes))
    cpu_node = {str(i): nodes[min(i // per_node, len(nodes) - 1)] for i in range(len(cpus))}
    out: list[dict[str, Any]] = []
    for (nid, name), zone in zones.items():
        if not zone.get("managed"):
            continue
        if name not in ZONES:
            notes.append(f"node {nid} zone {name}: not modelled, left out")
            continue
        of_node = sum(1 for node in cpu_node.values() if node == nid) or len(cpus)
        key = (nid, name)
        out.append(_zone(key, zone, buddy.get(key, []), typed.get(key), blocks.get(key, {}), cpus, of_node, notes))
    out.sort(key=lambda z: (z["nid"], z["idx"]))
    have = {(z["nid"], z["idx"]) for z in out}
    with_memory = sorted({nid for nid, _ in have})
    zonelists = {}
    for nid in nodes:
        order = [n for n in [nid, *[n for n in nodes if n > nid], *[n for n in nodes if n < nid]] if n in with_memory]
        zonelists[str(nid)] = [[n, idx] for n in order for idx in (3, 2, 1, 0) if (n, idx) in have]
    facts = {
        "zone_count": 4,
        "pageblock_order": 9,
        "nr_pcp_lists": 14,
        "mobility_disabled": 0,
        "gfp_allowed": 0xFFFFFF,
    }
    return ProcState({"zones": out, "zonelists": zonelists, "cpu_node": cpu_node, "facts": facts}, notes)


def _wanted(
    key: tuple[int, str], counts: list[int], typed: Mapping[str, list[int]] | None, notes: list[str]
) -> Iterator[tuple[int, int, int]]:
    """(order, type, number) of the free blocks, largest first; buddyinfo decides how many."""
    if len(counts) > ORDERS:
        notes.append(f"node {key[0]} zone {key[1]}: orders above {ORDERS - 1} are not modelled, left out")
    for name in typed or {}:
        if name not in TYPES:
            notes.append(f"node {key[0]} zone {key[1]}: type {name} is not modelled, taken as Movable")
    for order in reversed(range(min(len(counts), ORDERS))):
        left = counts[order]
        for migratetype in (0, 2, 3):
            of_type = (typed or {}).get(TYPES[migratetype], [])
            number = min(of_type[order] if order < len(of_type) else 0, left)
            left -= number
            yield order, migratetype, number
        yield order, 1, left


def _zone(
    key: tuple[int, str],
    zone: Mapping[str, Any],
    counts: list[int],
    typed: Mapping[str, list[int]] | None,
    blocks: Mapping[str, int],
    cpus: list[int],
    of_node: int,
    notes: list[str],
) -> dict[str, Any]:
    nid, name = key
    for what in ("spanned", "present", "min", "low", "high", "start_pfn"):
        if what not in zone:
            raise SnapshotError(f"zoneinfo: node {nid} zone {name} has no {what!r}")
    start, spanned, managed = zone["start_pfn"], zone["spanned"], zone["managed"]
    if not 0 < managed <= zone["present"] <= spanned:
        raise SnapshotError(
            f"zoneinfo: node {nid} zone {name}: managed {managed} <= present {zone['present']} <= spanned {spanned} "
            "does not hold"
        )
    if not 0 <= start <= MAX_FRAMES - spanned:
        raise SnapshotError(
            f"zoneinfo: node {nid} zone {name}: start_pfn {start} + spanned {spanned} is more than {MAX_FRAMES} frames"
        )
    layout = _Layout(start, start + spanned, managed)
    if start % BLOCK:
        layout.types[start // BLOCK] = 0
    free: dict[str, dict[str, list[int]]] = {}
    lost = 0
    for order, migratetype, number in _wanted(key, counts, typed, notes):
        for done in range(number):
            at = layout.place(order, migratetype)
            kind = migratetype
            if at is None:
                # The rule leaves no room for its type: any type's areas, then beside a free buddy.
                for kind in (migratetype, 1, 0, 2):
                    at = layout.place(order, kind)
                    if at is None:
                        at = layout.place(order, kind, alone=False)
                    if at is not None:
                        break
            if at is None:
                # Nor is there for the next one.
                lost += number - done << order
                break
            free.setdefault(str(order), {}).setdefault(str(kind), []).append(at)
    for lists in free.values():
        for frames in lists.values():
            frames.sort()
    boost = zone.get("boost", 0)
    low_min = zone["low"] - zone["min"]
    pcp: dict[str, Any] = {}
    short = 0
    for i, cpu in enumerate(cpus):
        of_cpu = zone["cpus"].get(cpu, {})
        high_min, high_max = _pcp_limits(zone, of_cpu, of_node)
        pages = []
        count = of_cpu.get("count", 0)
        for done in range(count):
            kind, at = next(
                ((t, at) for t in (1, 0, 2) if (at := layout.place(0, t, alone=False)) is not None), (1, None)
            )
            if at is None:
                short += count - done
                break
            pages.append((at, kind))
        on_lists: dict[str, list[list[int]]] = {}
        for at, kind in pages:
            on_lists.setdefault(str(kind), []).append([at, kind])
        pcp[str(i)] = {
            "count": len(pages),
            "high": of_cpu.get("high", 0),
            "high_min": high_min,
            "high_max": high_max,
            "batch": max(of_cpu.get("batch", 1), 1),
            "flags": 0,
            "alloc_factor": 0,
            "expire": 0,
            "free_count": 0,
            "diff_free": 0,
            "thresh": min(of_cpu.get("thresh", 0), 125),
            "lists": on_lists,
        }
    if lost or short:
        notes.append(f"node {nid} zone {name}: no room for {lost} free pages and {short} on per-CPU lists")
    total = sum(len(frames) << int(order) for order, lists in free.items() for frames in lists.values())
    thresh = max((p["thresh"] for p in pcp.values()), default=0)
    drift = thresh * len(cpus)
    reserve = (zone.get("protection", []) + [0] * len(ZONES))[: len(ZONES)]
    wanted = {t: blocks.get(TYPES[t], 0) for t in range(len(TYPES))}
    pageblocks = layout.pageblocks(wanted)
    # Blocks got their types only now: what is listed must say the same.
    return {
        "nid": nid,
        "idx": ZONES.index(name),
        "name": name,
        "start": max(start, 1),
        "spanned": spanned - (1 if start == 0 else 0),
        "present": min(zone["present"], spanned - (1 if start == 0 else 0)),
        "managed": managed,
        "min": zone["min"] - boost,
        "low": zone["low"] - boost,
        "high": zone["high"] - boost,
        "promo": zone.get("promo", 2 * zone["high"] - zone["low"]) - boost,
        "boost": boost,
        "nr_free": total,
        "reserved_highatomic": BLOCK * sum(n for t, n in pageblocks if t == 3),
        "free_highatomic": sum(len(v.get("3", [])) << int(o) for o, v in free.items()),
        "thresh": thresh,
        "drift_mark": zone["high"] - boost + drift if drift > low_min else 0,
        "flags": 0,
        "free": free,
        "pcp": pcp,
        "lowmem_reserve": reserve,
        "pageblocks": pageblocks,
        "movable": [],
    }
