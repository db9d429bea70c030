"""Kernel: `zoneinfo_show_print()`, `frag_show_print()`, `vmstat_show()` and others of `mm/vmstat.c` (6.1, 6.12, 7.3).

A machine as these files print it: names, order and columns are the kernel's; what the emulator does not model (LRU,
slab, writeback) prints as 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from bulkpages.eras import ERAS
from bulkpages.errors import InvalidArgument, SnapshotError
from bulkpages.formats.state.place import BLOCK, ORDERS, TYPES
from bulkpages.formats.state.zones import zones_of
from bulkpages.kinds import each, need

__all__ = ["buddyinfo", "pagetypeinfo", "vmstat", "zoneinfo"]

#: Where pagetypeinfo stops counting the blocks of a list.
MOST_COUNTED = 100_000


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


@dataclass(frozen=True)
class Items:
    """The counters that a kernel prints: of a zone, of NUMA, of a node, and events, each in its order."""

    zone: tuple[str, ...]
    numa: tuple[str, ...]
    node: tuple[str, ...]
    event: tuple[str, ...]


@cache
def items_of(kernel: str) -> Items:
    """What this kernel series prints."""
    if kernel == "6.12":
        return Items(ZONE_ITEMS, NUMA_ITEMS, NODE_ITEMS, EVENT_ITEMS)
    if kernel not in ERAS:
        raise InvalidArgument(f"kernel {kernel!r} is not one of {', '.join(ERAS)}")
    text = files("bulkpages").joinpath("data", "proc-items.json").read_text(encoding="utf-8")
    stored: dict[str, dict[str, str]] = json.loads(text)
    return Items(**{kind: _names(names) for kind, names in stored[kernel].items()})


def _kernel(state: Mapping[str, Any]) -> str:
    return str(state.get("facts", {}).get("kernel", "6.12"))


def _pageset(pcp: Mapping[str, Any], kernel: str) -> list[str]:
    """The lines of one CPU's lists."""
    if kernel == "7.3":
        names = ("count", "high", "batch", "high_min", "high_max")
        lines = [f"              {name + ':':<9} {pcp[name]}" for name in names]
    else:
        lines = [f"              count: {pcp['count']}", f"              high:  {pcp['high']}"]
        lines.append(f"              batch: {pcp['batch']}")
    return [*lines, f"  vm stats threshold: {pcp['thresh']}"]


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
    """`/proc/zoneinfo` of a snapshot. `numa` has each zone's NUMA counters, in snapshot order; 0 by default."""
    _need_zones(state)
    counters = list(numa) or [{} for _ in state["zones"]]
    zones = {(z["nid"], z["idx"]): (z, n) for z, n in zip(state["zones"], counters, strict=True)}
    names = zones_of(state)
    kernel = _kernel(state)
    items = items_of(kernel)
    # 6.1 prints no promo, and has no mark of its own for a Movable zone.
    marks = ("min", "low", "high") if kernel == "6.1" else ("min", "low", "high", "promo")
    out = []
    for nid in _nodes(state):
        first = True
        for idx, name in enumerate(names):
            if not name:
                continue
            out.append(f"Node {nid}, zone {name:>8}")
            if (nid, idx) not in zones:
                mark = 32 if name == "Movable" and kernel != "6.1" else 0
                out.append("  pages free     0\n        boost    0")
                out += [f"        {n:8} {mark}" for n in marks]
                out += [f"        {n:8} 0" for n in ("spanned", "present", "managed", "cma")]
                out.append(f"        protection: ({', '.join('0' for name in names if name)})")
                continue
            zone, numa_of = zones[nid, idx]
            if first:
                out.append("  per-node stats")
                out += [f"      {item:<12} 0" for item in items.node]
                first = False
            free = max(zone["nr_free"], 0)
            out.append(f"  pages free     {free}")
            out.append(f"        boost    {zone['boost']}")
            out += [f"        {n:8} {zone[n] + zone['boost']}" for n in marks]
            out += [f"        {n:8} {zone[n]}" for n in ("spanned", "present", "managed")]
            out.append(f"        cma      {_block_counts(zone)[4] * BLOCK}")
            reserve = [str(pages) for name, pages in zip(names, zone["lowmem_reserve"], strict=True) if name]
            out.append(f"        protection: ({', '.join(reserve)})")
            values = {
                "nr_free_pages": free,
                "nr_free_pages_blocks": zone.get("nr_free_blocks", 0),
                "nr_free_cma": max(zone.get("nr_free_cma", 0), 0),
                **numa_of,
            }
            out += [f"      {item:<12} {values.get(item, 0)}" for item in (*items.zone, *items.numa)]
            out.append("  pagesets")
            for cpu, pcp in sorted(zone["pcp"].items(), key=lambda p: int(p[0])):
                out.append(f"    cpu: {cpu}")
                out += _pageset(pcp, kernel)
            out.append(f"  node_unreclaimable:  0\n  start_pfn:           {zone['start']}")
            if kernel == "7.3":
                out.append(f"  reserved_highatomic: {zone['reserved_highatomic']}")
                out.append(f"  free_highatomic:     {zone['free_highatomic']}")
    return "\n".join(out) + "\n"


def buddyinfo(state: Mapping[str, Any]) -> str:
    """`/proc/buddyinfo` of a snapshot."""
    _need_zones(state)
    return "".join(
        f"Node {z['nid']}, zone {z['name']:>8} " + "".join(f"{_counts(z, o):6} " for o in range(ORDERS)) + "\n"
        for z in state["zones"]
    )


def _by_zone(events: Iterable[str], counters: Iterable[str]) -> Iterator[str]:
    """The events of a kernel with the zones that the counters are of; a 64-bit PC's unless they name some."""
    zones = [
        name.removeprefix("pgalloc_") for name in each("a counter's name", counters, str) if name.startswith("pgalloc_")
    ]
    for name in events:
        family, _, zone = name.rpartition("_")
        if not zones or family not in ("pgalloc", "allocstall", "pgskip"):
            yield name
        elif zone == "dma":
            yield from (f"{family}_{of}" for of in zones)


def vmstat(counters: Mapping[str, int], kernel: str = "6.12") -> str:
    """`/proc/vmstat` of this kernel series with these counters; all others are 0."""
    need("counters", counters, Mapping)
    items = items_of(kernel)
    names = (*items.zone, *items.numa, *items.node, *_by_zone(items.event, counters))
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
    # A kernel without CMA has no such type.
    types = TYPES if any("nr_free_cma" in zone for zone in state["zones"]) else TYPES[:4]
    out = []
    for nid in sorted({zone["nid"] for zone in state["zones"]}):
        zones = [zone for zone in state["zones"] if zone["nid"] == nid]
        out.append(f"Page block order: 9\nPages per block:  {BLOCK}\n\n")
        out.append(f"{'Free pages count per migrate type at order':<43} ")
        out.append("".join(f"{order:6} " for order in range(ORDERS)) + "\n")
        for zone in zones:
            for migratetype, name in enumerate(types):
                out.append(f"Node {nid:4}, zone {zone['name']:>8}, type {name:>12} ")
                for order in range(ORDERS):
                    frames = zone["free"].get(str(order), {}).get(str(migratetype), ())
                    out.append(f"{len(frames):6} " if len(frames) < MOST_COUNTED else f">{MOST_COUNTED:6} ")
                out.append("\n")
        out.append(f"\n{'Number of blocks type':<23}" + "".join(f"{name:>12} " for name in types) + "\n")
        for zone in zones:
            out.append(f"Node {nid}, zone {zone['name']:>8} ")
            out.append("".join(f"{count:12} " for count in _block_counts(zone)[: len(types)]) + "\n")
    return "".join(out)
