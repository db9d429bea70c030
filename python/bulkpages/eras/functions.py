"""The kernel functions that are modelled, where a tree has them, and what each is called in which kernel."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulkpages.callers.ports import PORTS
from bulkpages.eras.text import Definition, definitions
from bulkpages.errors import InvalidArgument, KernelError
from bulkpages.kernel.tree import find_tree, version_in

__all__ = ["ALLOCATOR", "CALLERS", "FUNCTIONS", "Found", "Function", "Sources", "read_sources"]


@dataclass(frozen=True)
class Function:
    """A kernel function that is modelled.

    Attributes:
        name: What it is called in the newest kernel known.
        names: What it is called in any kernel known.
        files: Files in which it may be, the likeliest first.
        caller: Whether it is a caller of the bulk call, not a part of the allocator.
    """

    name: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    caller: bool = False


_FILES = (
    "mm/page_alloc.c",
    "mm/page_alloc.h",
    "mm/internal.h",
    "include/linux/gfp.h",
    "include/linux/mmzone.h",
    "mm/mmzone.c",
    "mm/vmscan.c",
    "mm/vmstat.c",
    "mm/mm_init.c",
    "mm/khugepaged.c",
)
# One line a group: the order in which a request meets them. After a slash: what older kernels call it.
_NAMES = """
alloc_pages_bulk_noprof/__alloc_pages_bulk prepare_alloc_pages
__alloc_frozen_pages_noprof/__alloc_pages_noprof/__alloc_pages
alloc_flags_nofragment alloc_flags_nonblocking alloc_flags_cma/gfp_to_alloc_flags_cma
get_page_from_freelist rmqueue rmqueue_pcplist __rmqueue_pcplist rmqueue_buddy zone_statistics
__zone_watermark_ok __zone_watermark_unusable_free zone_watermark_fast zone_watermark_ok
__alloc_pages_slowpath alloc_flags_slowpath/gfp_to_alloc_flags __gfp_pfmemalloc_flags should_reclaim_retry
wake_all_kswapds wakeup_kswapd pgdat_balanced pgdat_watermark_boosted kswapd_test_hopeless
pcp_spin_trylock pcp_trylock_prepare
__free_frozen_pages/free_unref_page free_frozen_page_commit/free_unref_page_commit
free_unref_folios/free_unref_page_list
__free_pages_ok free_one_page free_pcppages_bulk
nr_pcp_alloc nr_pcp_high nr_pcp_free rmqueue_bulk decay_pcp_high drain_pages_zone
pcp_allowed_order order_to_pindex pindex_to_order
zone_batchsize zone_highsize __zone_set_pageset_high_and_batch zone_set_pageset_high_and_batch
__rmqueue __rmqueue_smallest __rmqueue_claim __rmqueue_steal __rmqueue_fallback
try_to_claim_block/try_to_steal_block/steal_suitable_fallback should_try_claim_block/can_steal_fallback
find_suitable_fallback boost_watermark
__move_freepages_block/move_freepages move_freepages_block prep_move_freepages_block
reserve_highatomic_pageblock unreserve_highatomic_pageblock
__free_one_page split_large_buddy expand page_del_and_expand page_is_buddy buddy_merge_likely __find_buddy_pfn
account_freepages __add_to_free_list/add_to_free_list add_to_free_list_tail move_to_free_list
__del_page_from_free_list/del_page_from_free_list
get_pcppage_migratetype __mod_zone_page_state
__setup_per_zone_wmarks setup_per_zone_lowmem_reserve calculate_min_free_kbytes init_per_zone_wmark_min
set_recommended_min_free_kbytes calculate_normal_threshold refresh_zone_stat_thresholds
build_zonelists build_zonelists_in_node_order find_next_best_node find_zone_movable_pfns_for_nodes
gfp_zone gfp_migratetype
"""


def _allocator() -> Iterator[Function]:
    for names in (word.split("/") for word in _NAMES.split()):
        yield Function(names[0], tuple(names), _FILES)


#: The parts of the allocator.
ALLOCATOR: tuple[Function, ...] = tuple(_allocator())
# What kernels call a caller beside the name in the register: the part of it that makes the bulk call.
_PARTS = {
    "__page_pool_alloc_pages_slow": "__page_pool_alloc_netmems_slow",
    "kasan_populate_vmalloc": "___alloc_pages_bulk",
}


def _callers() -> Iterator[Function]:
    for port in PORTS:
        part = _PARTS.get(port.name)
        yield Function(part or port.name, (part, port.name) if part else (port.name,), (port.file,), caller=True)


#: The callers of the bulk call, from the register of ports.
CALLERS: tuple[Function, ...] = tuple(_callers())
#: All of them.
FUNCTIONS: tuple[Function, ...] = ALLOCATOR + CALLERS


@dataclass(frozen=True)
class Found:
    """A modelled function as a tree has it.

    Attributes:
        function: Which.
        name: What the tree calls it.
        file: Where it is.
        definitions: Its texts: several where it is defined under several conditions.
    """

    function: Function
    name: str
    file: str
    definitions: tuple[Definition, ...]

    @property
    def line(self) -> int:
        """Where it begins, from 1."""
        return self.definitions[0].statements[0].first

    @property
    def text(self) -> str:
        """Its tokens with one space between them. Conditions are part of it where they tell two texts apart."""
        several = len(self.definitions) > 1
        return "\n".join(f"{one.where} {one.text}" if several else one.text for one in self.definitions)


@dataclass(frozen=True)
class Sources:
    """What was read of a tree.

    Attributes:
        path: The directory or tarball.
        version: As in "6.12.117".
        files: Text of each file that was looked at.
        functions: The functions that were found, by `Function.name`.
    """

    path: Path
    version: str
    files: Mapping[str, str]
    functions: Mapping[str, Found]


def _from_tarball(path: Path, wanted: Sequence[str]) -> dict[str, bytes]:
    """Reads some files of a tarball, whose paths there begin with one folder."""
    left, found = set(wanted), {}
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                inside = member.name.partition("/")[2]
                if inside in left and member.isfile():
                    file = tar.extractfile(member)
                    assert file is not None, "a regular file has content"
                    found[inside] = file.read()
                    left.remove(inside)
                if not left:
                    break
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidArgument(f"{path} cannot be read as a tarball: {error}") from error
    return found


def _read(path: Path, wanted: Sequence[str]) -> dict[str, str]:
    if path.is_dir():
        raw = {name: (path / name).read_bytes() for name in wanted if (path / name).is_file()}
    else:
        raw = _from_tarball(path, wanted)
    return {name: content.decode(errors="replace") for name, content in raw.items()}


def _look_up(function: Function, known: Mapping[tuple[str, str], list[Definition]]) -> Found | None:
    """The newest name that the tree has, in the likeliest file."""
    for name in function.names:
        for file in function.files:
            # An older function's name may be that of a wrapper now: `#define f(...) alloc_hooks(f_noprof(...))`.
            real = [one for one in known.get((file, name), ()) if not one.text.startswith(f"#define {name} ( ... )")]
            if real:
                return Found(function, name, file, tuple(real))
    return None


def read_sources(tree: str | Path, functions: Sequence[Function] = FUNCTIONS) -> Sources:
    """Reads the modelled functions of a kernel tree.

    Args:
        tree: A directory or a tarball, which is only read.
        functions: What to look for.

    Raises:
        InvalidArgument: There is no such file, or it is no kernel tree.
    """
    try:
        path = find_tree(tree)
        wanted = list(dict.fromkeys(["Makefile", *(file for function in functions for file in function.files)]))
        files = _read(path, wanted)
        if "mm/page_alloc.c" not in files or "Makefile" not in files:
            raise InvalidArgument(f"{path} is not a kernel source tree: it has no mm/page_alloc.c and no Makefile")
        version = version_in(files["Makefile"], path / "Makefile")
    except KernelError as error:
        raise InvalidArgument(str(error)) from error
    names = frozenset(name for function in functions for name in function.names)
    known: dict[tuple[str, str], list[Definition]] = {}
    for file, text in files.items():
        for one in definitions(text, names) if file != "Makefile" else ():
            known.setdefault((file, one.name), []).append(one)
    looked_up = ((function.name, _look_up(function, known)) for function in functions)
    return Sources(path, version, files, {name: found for name, found in looked_up if found})
