"""The state of a running machine's page allocator, as a snapshot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from drgn import FaultError, Object, Program
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.list import list_empty
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.percpu import per_cpu, per_cpu_ptr

from bulkpages.eras.rules import DEFAULT, ERAS
from bulkpages.errors import SnapshotError
from bulkpages.running.blocks import Blocks, movable_pages
from bulkpages.running.page_lists import ListChanged, free_list, pcp_list, pcp_order

__all__ = ["MOVABLE_LIMIT", "RunningState", "read_state"]

Say = Callable[[str, float], None]

#: Used frames of a machine whose movable pages are counted when nobody says otherwise: 16 GiB.
MOVABLE_LIMIT = 4 << 20
#: How often a zone is read whose lists change.
ATTEMPTS = 10
#: The zones of a 64-bit PC, which a snapshot does not name.
_PC = ["DMA", "DMA32", "Normal", "Movable"]
_ZONE_NAMES = ("DMA", "DMA32", "NORMAL", "HIGHMEM", "MOVABLE", "DEVICE")
_MEMORY_TIERING = 2


@dataclass
class RunningState:
    """The state that was read.

    Attributes:
        snapshot: The state, in the recorder's schema.
        release: The kernel's release, such as "6.12.117".
        notes: What was left out or is inconsistent.
        blocks: Number of free blocks on lists.
        pages: Number of pages on per-CPU lists.
        moved: Pages that were allocated or freed during the reading; 0 if the state is of one moment.
    """

    snapshot: dict[str, Any]
    release: str
    notes: list[str] = field(default_factory=list)
    blocks: int = 0
    pages: int = 0
    moved: int = 0


def read_state(prog: Program, *, movable: bool | None = None, say: Say = lambda _what, _share: None) -> RunningState:
    """Reads the state of the page allocator.

    Args:
        prog: A drgn program with the kernel's debugging information: a core, a guest of qemu, or this machine.
        movable: Whether to count the movable pages of each pageblock, which reads the descriptors of all used frames.
            If None, they are counted if at most 16 GiB are used.
        say: Called with what is being read and the fraction done.

    Raises:
        SnapshotError: There is no debugging information, the kernel is not modelled, memory is missing from the core,
            or the lists change faster than they can be read.
    """
    if not isinstance(prog, Program):
        raise TypeError(f"prog is a drgn.Program, not {type(prog).__name__}")
    try:
        reader = _Reader(prog)
        moved = reader.events()
        state = reader.state(movable, say)
        state.moved = reader.events() - moved
    except FaultError as error:
        raise SnapshotError(
            f"memory at {error.address:#x} cannot be read: the core is truncated, or pages were filtered out of it"
        ) from error
    except ListChanged as error:
        why = "it changes faster than it can be read: stop the machine, or use a core"
        if not reader.lives():
            why = "the core was written while the kernel was running, or its memory is corrupt"
        raise SnapshotError(f"{error}; {why}") from error
    except (LookupError, AttributeError) as error:
        raise SnapshotError(f"the kernel's debugging information lacks what is needed: {_words(error)}") from error
    if state.moved:
        state.notes.append(
            f"{state.moved} pages were allocated or freed while the state was read: each zone is consistent, but "
            "zones are not of one moment"
        )
    return state


def _words(error: BaseException) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _era(release: str) -> str:
    """The era of a release.

    Raises:
        SnapshotError: None is modelled that is of its series.
    """
    found = re.match(r"(\d+)\.(\d+)", release)
    series = f"{found[1]}.{found[2]}" if found else release
    if series not in ERAS:
        raise SnapshotError(f"Linux {release} is not modelled; the series {', '.join(ERAS)} are")
    return series


class _Reader:
    """A program, and what its debugging information says of the layouts."""

    def __init__(self, prog: Program) -> None:
        self.prog = prog
        try:
            self.release = prog["UTS_RELEASE"].string_().decode()
            zone = prog.type("struct zone")
        except LookupError as error:
            raise SnapshotError(
                "there is no debugging information for the kernel: name the vmlinux of exactly this build with "
                "--vmlinux"
            ) from error
        self.era = _era(self.release)
        self.zone = zone
        self.pcp = prog.type("struct per_cpu_pages")
        self.cpus = list(for_each_online_cpu(prog))
        self.types = int(prog["MIGRATE_TYPES"])
        self.free_pages = int(prog["NR_FREE_PAGES"])
        self.counted_blocks = self.constant("NR_FREE_PAGES_BLOCKS")
        # Without CMA the kernel has the counter all the same.
        has_cma = self.constant("MIGRATE_CMA") is not None
        self.free_cma = self.constant("NR_FREE_CMA_PAGES") if has_cma else None
        self.isolated = self.constant("MIGRATE_ISOLATE")
        self.blocks = Blocks(prog, self.pageblock_order())
        self.carries = not ERAS[self.era].rules["list_type_is_block_type"]

    def constant(self, name: str) -> int | None:
        """An enumerator or a variable, where the kernel has it."""
        try:
            return int(self.prog[name])
        except KeyError:
            return None

    def pageblock_order(self) -> int:
        """`pageblock_order`: that of huge pages, where the kernel has them."""
        found = self.constant("pageblock_order")
        if found is not None:
            return found
        orders = int(self.zone.member("free_area").type.length) - 1
        has = {name: self.has(name) for name in ("hugetlb_max_hstate", "transparent_hugepage_flags")}
        huge = has["hugetlb_max_hstate"] or (has["transparent_hugepage_flags"] and self.era != "6.1")
        return min(9, orders) if huge else orders

    def has(self, name: str) -> bool:
        """Whether the kernel has a variable."""
        try:
            self.prog[name]
        except KeyError:
            return False
        return True

    def events(self) -> int:
        """Pages allocated and freed since the start, on all CPUs."""
        names = [n for n, _ in self.prog.type("enum vm_event_item").enumerators]
        wanted = [i for i, n in enumerate(names) if n.startswith("PGALLOC_") or n == "PGFREE"]
        total = 0
        for cpu in self.cpus:
            counts = per_cpu(self.prog["vm_event_states"], cpu).event.read_()
            total += sum(int(counts[i]) for i in wanted)
        return total

    def state(self, movable: bool | None, say: Say) -> RunningState:
        """All of it."""
        nodes = list(for_each_online_pgdat(self.prog))
        zones = [zone for node in nodes for zone in node.node_zones if int(zone.present_pages)]
        used = sum(int(zone.present_pages) - int(zone.vm_stat[self.free_pages].counter) for zone in zones)
        state = RunningState({"zones": [], "zonelists": {}, "cpu_node": {}, "facts": self.facts()}, self.release)
        if movable is None:
            movable = used <= MOVABLE_LIMIT
            if not movable:
                state.notes.append(
                    f"movable pages were not counted in {used * 4096 / 2**30:.0f} GiB of used memory (--movable counts "
                    "them): decisions to claim a whole pageblock of another type may differ"
                )
        for zone in zones:
            state.snapshot["zones"].append(self.whole_zone(zone, state, movable, say))
        for node in nodes:
            state.snapshot["zonelists"][str(int(node.node_id))] = list(self.zonelist(node))
        state.snapshot["cpu_node"] = {str(cpu): self.node_of(cpu) for cpu in self.cpus}
        if self.has_kswapd():
            state.snapshot["nodes"] = [self.kswapd(node) for node in nodes]
        return state

    def has_kswapd(self) -> bool:
        """Whether this kernel's requests look at kswapd."""
        return ERAS[self.era].rules["first_pass_skips_awake_kswapd"]

    def facts(self) -> dict[str, Any]:
        """What holds for the whole machine."""
        facts: dict[str, Any] = {"kernel": self.era} if self.era != DEFAULT else {}
        names = self.zone_names()
        facts |= {
            "zone_count": len(names),
            "pageblock_order": self.blocks.order,
            "nr_pcp_lists": int(self.pcp.member("lists").type.length),
            "mobility_disabled": int(self.prog["page_group_by_mobility_disabled"]),
            "gfp_allowed": int(self.prog["gfp_allowed_mask"]),
            "zonelists_nodes": self.constant("nr_online_nodes") or 1,
            "watermark_boost_factor": int(self.prog["watermark_boost_factor"]),
        }
        if names != _PC:
            facts["zones"] = names
        if self.has("defrag_mode"):
            tiering = self.constant("sysctl_numa_balancing_mode") or 0
            facts |= {
                "defrag_mode": bool(self.prog["defrag_mode"]),
                "node_reclaim": self.constant("node_reclaim_mode") or 0,
                "memory_tiering": int(bool(tiering & _MEMORY_TIERING)),
            }
        rules = self.rules()
        if rules:
            facts["rules"] = rules
        return facts

    def rules(self) -> dict[str, bool]:
        """What the layouts say otherwise than the series: fixes that were carried back, and the configuration."""
        seen = {
            "pcp_high_tuned": self.pcp.has_member("high_min"),
            "highatomic_free_counted": self.zone.has_member("nr_free_highatomic"),
            "free_blocks_counted": self.counted_blocks is not None,
            "smp": self.prog.type("struct per_cpu_zonestat").has_member("vm_stat_diff"),
        }
        usual = ERAS[self.era].rules
        return {name: holds for name, holds in seen.items() if usual[name] != holds}

    def zone_names(self) -> list[str]:
        """The zones of the build, by index."""
        found: dict[int, str] = {}
        for name in _ZONE_NAMES:
            index = self.constant(f"ZONE_{name}")
            if index is not None:
                found[index] = name if name.startswith("DMA") else name.capitalize().replace("mem", "Mem")
        return [found.get(index, "") for index in range(int(self.prog["__MAX_NR_ZONES"]))]

    def whole_zone(self, zone: Object, state: RunningState, movable: bool, say: Say) -> dict[str, Any]:
        """A zone whose lists did not change while they were read."""
        for attempt in range(ATTEMPTS):
            say(f"zone {self.name(zone)}", 0.0)
            try:
                found = self.one_zone(zone, say)
            except (ListChanged, FaultError) as error:
                # A node that is being moved leads anywhere.
                if attempt + 1 == ATTEMPTS or (isinstance(error, FaultError) and not self.lives()):
                    raise
                continue
            wrong = self.inconsistent(zone, found)
            if not wrong:
                break
            if attempt + 1 == ATTEMPTS:
                raise ListChanged(f"zone {self.name(zone)}: {wrong}")
        # After the lists, which take the shorter time: none of them can change through it.
        found["movable"] = self.movable(zone, found, say) if movable else []
        state.blocks += sum(len(frames) for lists in found["free"].values() for frames in lists.values())
        state.pages += sum(pcp["count"] for pcp in found["pcp"].values())
        return found

    def lives(self) -> bool:
        """Whether the memory may change while it is read."""
        from drgn import ProgramFlags

        flags = self.prog.flags
        return bool(flags & ProgramFlags.IS_LIVE)

    def name(self, zone: Object) -> str:
        """As messages name it."""
        return f"{zone.name.string_().decode()} of node {int(zone.zone_pgdat.node_id)}"

    def inconsistent(self, zone: Object, found: dict[str, Any]) -> str:
        """What of a zone does not fit together; empty when all does."""
        listed = 0
        for order in range(int(self.zone.member("free_area").type.length)):
            blocks = sum(len(frames) for frames in found["free"].get(str(order), {}).values())
            said = int(zone.free_area[order].nr_free)
            if blocks != said:
                return f"{blocks} free blocks of order {order} are on lists, and nr_free says {said}"
            listed += blocks << order
        counted = found["nr_free"] + sum(pcp["diff_free"] for pcp in found["pcp"].values())
        if counted != listed:
            return f"{listed} pages are on free lists, and the counters say {counted}"
        for cpu, pcp in found["pcp"].items():
            on_lists = sum(len(pages) << pcp_order(int(i)) for i, pages in pcp["lists"].items())
            if on_lists != pcp["count"]:
                return f"{on_lists} pages are on the lists of CPU {cpu}, and count says {pcp['count']}"
        return ""

    def one_zone(self, zone: Object, say: Say) -> dict[str, Any]:
        """A zone, read once."""
        here = zone.read_()
        start, spanned = int(here.zone_start_pfn), int(here.spanned_pages)
        marks = [int(mark) for mark in here._watermark]
        found: dict[str, Any] = {
            "nid": int(zone.zone_pgdat.node_id),
            "idx": (zone.address_ - zone.zone_pgdat.node_zones.address_of_().value_()) // zone.type_.size,
            "name": zone.name.string_().decode(),
            "start": start,
            "spanned": spanned,
            "present": int(here.present_pages),
            "managed": int(here.managed_pages.counter),
            "min": marks[0],
            "low": marks[1],
            "high": marks[2],
            "promo": marks[3] if len(marks) > 3 else marks[2],
            "boost": int(here.watermark_boost),
            "nr_free": int(here.vm_stat[self.free_pages].counter),
            "reserved_highatomic": int(here.nr_reserved_highatomic),
            "free_highatomic": int(here.nr_free_highatomic) if self.zone.has_member("nr_free_highatomic") else 0,
            "thresh": 0,
            "drift_mark": int(here.percpu_drift_mark),
            "flags": int(here.flags),
        }
        if self.counted_blocks is not None:
            found["nr_free_blocks"] = int(here.vm_stat[self.counted_blocks].counter)
            waiting = self.zone.has_member("trylock_free_pages") and bool(here.trylock_free_pages.first)
            found["trylock_free"] = int(waiting)
        if self.free_cma is not None:
            found["nr_free_cma"] = int(here.vm_stat[self.free_cma].counter)
        found["free"] = self.free(zone, say)
        found["pcp"] = {str(cpu): self.lists(zone, cpu) for cpu in self.cpus}
        found["thresh"] = found["pcp"][str(self.cpus[0])]["thresh"]
        found["lowmem_reserve"] = [int(pages) for pages in here.lowmem_reserve]
        found["pageblocks"] = _runs(self.blocks.types(start, start + spanned))
        for mt, _ in found["pageblocks"]:
            if mt == self.isolated:
                raise SnapshotError(f"zone {self.name(zone)} has isolated pageblocks, which are not modelled")
        return found

    def movable(self, zone: Object, found: dict[str, Any], say: Say) -> list[list[int]]:
        """The pageblocks with movable pages."""
        what = f"movable pages of zone {self.name(zone)}"
        free = ((f, int(o)) for o, lists in found["free"].items() for frames in lists.values() for f in frames)
        return movable_pages(zone, self.blocks, free, lambda share: say(what, share))

    def free(self, zone: Object, say: Say) -> dict[str, dict[str, list[int]]]:
        """The free blocks by order and type."""
        areas = zone.free_area
        numbers = [int(area.nr_free) for area in areas]
        total, done = max(1, sum(numbers)), 0
        what = f"free lists of zone {self.name(zone)}"
        found: dict[str, dict[str, list[int]]] = {}
        for order, area in enumerate(areas):
            lists: dict[str, list[int]] = {}
            for mt in range(self.types):
                frames = []
                for pfn in free_list(area, order, mt):
                    frames.append(pfn)
                    done += 1
                    if not done % 4096:
                        say(what, min(1.0, done / total))
                if frames:
                    lists[str(mt)] = frames
            if lists:
                found[str(order)] = lists
        return found

    def lists(self, zone: Object, cpu: int) -> dict[str, Any]:
        """The lists of one CPU."""
        pcp = per_cpu_ptr(zone.per_cpu_pageset, cpu)[0]
        stat = per_cpu_ptr(zone.per_cpu_zonestats, cpu)[0]
        here = pcp.read_()
        names = ("count", "high", "high_min", "high_max", "batch", "flags", "alloc_factor", "free_factor", "free_count")
        found = {name: int(here.member_(name)) for name in names if self.pcp.has_member(name)}
        found["expire"] = int(here.expire) if self.pcp.has_member("expire") else 0
        counted = stat.type_.has_member("vm_stat_diff")
        found["diff_free"] = int(stat.vm_stat_diff[self.free_pages]) if counted else 0
        found["thresh"] = int(stat.stat_threshold) if counted else 0
        if self.counted_blocks is not None:
            found["diff_free_blocks"] = int(stat.vm_stat_diff[self.counted_blocks]) if counted else 0
        if self.free_cma is not None:
            found["diff_free_cma"] = int(stat.vm_stat_diff[self.free_cma]) if counted else 0
        lists: dict[str, list[list[int]]] = {}
        for index in range(self.pcp.member("lists").type.length):
            pages = [
                [pfn, mt, carried] if self.carries else [pfn, mt]
                for pfn, carried in pcp_list(pcp, index)
                for mt in self.blocks.types(pfn, pfn + 1)
            ]
            if pages:
                lists[str(index)] = pages
        return found | {"lists": lists}

    def zonelist(self, node: Object) -> Iterable[list[int]]:
        """The fallback list of a node."""
        for ref in node.node_zonelists[0]._zonerefs:
            if not ref.zone:
                return
            yield [int(ref.zone.zone_pgdat.node_id), int(ref.zone_idx)]

    def node_of(self, cpu: int) -> int:
        """The node of a CPU."""
        for name in ("numa_node", "x86_cpu_to_node_map"):
            if self.has(name):
                return max(0, int(per_cpu(self.prog[name], cpu)))
        return 0

    def kswapd(self, node: Object) -> dict[str, int]:
        """What requests see of a node's kswapd."""
        failures = node.kswapd_failures
        return {
            "nid": int(node.node_id),
            "kswapd_waiting": int(not list_empty(node.kswapd_wait.head.address_of_())),
            "kswapd_failures": int(failures.counter if failures.type_.type_name() == "atomic_t" else failures),
            "kswapd_order": int(node.kswapd_order),
            "kswapd_highest_zoneidx": int(node.kswapd_highest_zoneidx),
        }


def _runs(types: Iterable[int]) -> list[list[int]]:
    """Equal types in a row, as type and number."""
    runs: list[list[int]] = []
    for mt in types:
        if runs and runs[-1][0] == mt:
            runs[-1][1] += 1
        else:
            runs.append([mt, 1])
    return runs
