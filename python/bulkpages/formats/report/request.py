"""Kernel: `warn_alloc()` (`mm/page_alloc.c`), `dump_header()` (`mm/oom_kill.c`): the request that a report is about.

The bits of gfp flags moved between kernels, their names hardly; so names are read where a report has them, as kernels
do from 4.6 on, and bits by the table of the kernels that print no names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulkpages import _core
from bulkpages.errors import InvalidArgument

__all__ = ["Request", "gfp_of_names", "request_of"]


@dataclass(frozen=True)
class Request:
    """The request that a report is about.

    Attributes:
        gfp: The flags, with the emulator's values.
        text: The flags as the report prints them.
        order: Order of the block.
        line: Line number in the report.
        kind: "failure" (page allocation failure), "stall" or "oom" (the OOM killer was invoked).
    """

    gfp: int
    text: str
    order: int
    line: int
    kind: str


_FAILURE = re.compile(
    r"page allocation (?P<kind>failure|stall)\w*[.:]?.*?\border:(?P<order>\d+),\s*mode:(?P<hex>0x[0-9a-fA-F]+)"
    r"(?:/[^\s(,]*)?(?:\((?P<names>[^)]*)\))?"
)
_OOM = re.compile(
    r"(?P<kind>invoked oom-killer):?.*?gfp_mask=(?P<hex>0x[0-9a-fA-F]+)(?:\((?P<names>[^)]*)\))?"
    r".*?\border=(?P<order>-?\d+)"
)

# Names that later kernels gave up, and what they said.
_FORMER = {
    "__GFP_WAIT": "__GFP_DIRECT_RECLAIM|__GFP_KSWAPD_RECLAIM",
    "__GFP_REPEAT": "__GFP_RETRY_MAYFAIL",
    "GFP_TEMPORARY": "GFP_KERNEL|__GFP_RECLAIMABLE",
}
# Names that change nothing in what the emulator models.
_WITHOUT_EFFECT = {"__GFP_COLD", "__GFP_NOTRACK", "__GFP_OTHER_NODE", "__GFP_NO_OBJ_EXT", "__GFP_NOLOCKDEP"}
_WITHOUT_EFFECT |= {"__GFP_SKIP_ZERO", "__GFP_SKIP_KASAN", "__GFP_SKIP_KASAN_POISON", "__GFP_SKIP_KASAN_UNPOISON"}
_WITHOUT_EFFECT |= {"__GFP_ZEROTAGS", "__GFP_CMA", "__GFP_ATOMIC"}

# Bits of include/linux/gfp.h, from the lowest on; None: means nothing here.
_LOW = ("__GFP_DMA", "__GFP_HIGHMEM", "__GFP_DMA32", "__GFP_MOVABLE")
_BITS_3: tuple[str | None, ...] = (
    *_LOW, "__GFP_WAIT", "__GFP_HIGH", "__GFP_IO", "__GFP_FS", None, "__GFP_NOWARN", "__GFP_REPEAT", "__GFP_NOFAIL",
    "__GFP_NORETRY", "__GFP_MEMALLOC", "__GFP_COMP", "__GFP_ZERO", "__GFP_NOMEMALLOC", "__GFP_HARDWALL",
    "__GFP_THISNODE", "__GFP_RECLAIMABLE", None, None, None, None, "__GFP_WRITE",
)  # fmt: skip
_BITS_44: tuple[str | None, ...] = (
    *_LOW, "__GFP_RECLAIMABLE", "__GFP_HIGH", "__GFP_IO", "__GFP_FS", None, "__GFP_NOWARN", "__GFP_REPEAT",
    "__GFP_NOFAIL", "__GFP_NORETRY", "__GFP_MEMALLOC", "__GFP_COMP", "__GFP_ZERO", "__GFP_NOMEMALLOC",
    "__GFP_HARDWALL", "__GFP_THISNODE", None, "__GFP_ACCOUNT", None, "__GFP_DIRECT_RECLAIM", None, "__GFP_WRITE",
    "__GFP_KSWAPD_RECLAIM",
)  # fmt: skip


def gfp_of_names(text: str, notes: list[str]) -> int:
    """Flags of names with "|" between them; what is not known is noted and left out."""
    gfp = 0
    for word in filter(None, (word.strip() for word in text.split("|"))):
        name = _FORMER.get(word, word)
        try:
            gfp |= _core.gfp_value(name)
        except InvalidArgument:
            if word not in _WITHOUT_EFFECT:
                notes.append(f"the flag {word} is not modelled and is ignored")
    return gfp


def _gfp_of_bits(bits: int, notes: list[str]) -> int:
    if bits & (1 << 25):
        table, which = _BITS_44, "4.4 and 4.5"
    elif bits & 0xC00:
        notes.append(f"gfp {bits:#x} without names: read with the bits of Linux 6.12")
        return bits & 0x7FFFFF
    else:
        table, which = _BITS_3, "before 4.4"
    notes.append(f"gfp {bits:#x} without names: read with the bits of kernels {which}")
    names = [name for i, name in enumerate(table) if name is not None and bits >> i & 1]
    gfp = gfp_of_names("|".join(names), notes)
    if table is _BITS_3:
        # Every request woke kswapd then.
        gfp |= _core.gfp_value("__GFP_KSWAPD_RECLAIM")
    return gfp


def request_of(number: int, line: str, notes: list[str]) -> Request | None:
    """The request that a line of a report names, if it does."""
    match = _FAILURE.search(line) or _OOM.search(line)
    if match is None:
        return None
    kind = {"failure": "failure", "stall": "stall"}.get(match["kind"], "oom")
    names, bits = match["names"], int(match["hex"], 16)
    if names is not None and not names.startswith("0x"):
        gfp, text = gfp_of_names(names, notes), names
    else:
        gfp, text = _gfp_of_bits(bits, notes), match["hex"]
    # sysrq-f asks for order -1.
    return Request(gfp, text, max(int(match["order"]), 0), number, kind)
