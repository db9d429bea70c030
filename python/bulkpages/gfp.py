"""GFP flags of Linux 6.12, as plain integers under their kernel names.

Source: bit numbers and combinations of `include/linux/gfp_types.h` (v6.12).
"""

#: Serve from ZONE_DMA only.
__GFP_DMA = 0x1
#: With `__GFP_MOVABLE`: zones up to ZONE_MOVABLE; there is no high memory on x86-64.
__GFP_HIGHMEM = 0x2
#: Serve from ZONE_DMA32 or below.
__GFP_DMA32 = 0x4
#: The page can be moved: movable lists.
__GFP_MOVABLE = 0x8
#: The page belongs to a cache that can be shrunk: reclaimable lists.
__GFP_RECLAIMABLE = 0x10
#: High priority: may go down to half of the min mark.
__GFP_HIGH = 0x20
#: Reclaim may start I/O.
__GFP_IO = 0x40
#: Reclaim may call into file systems, and the OOM killer may act.
__GFP_FS = 0x80
#: Zero the page. Page contents are not emulated.
__GFP_ZERO = 0x100
#: The caller may reclaim and wait.
__GFP_DIRECT_RECLAIM = 0x400
#: Wake kswapd when a zone is low.
__GFP_KSWAPD_RECLAIM = 0x800
#: Both kinds of reclaim.
__GFP_RECLAIM = __GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM
#: The page will be dirtied. Spreading dirty pages is not emulated.
__GFP_WRITE = 0x1000
#: No report when the request fails.
__GFP_NOWARN = 0x2000
#: Try hard, but fail rather than kill.
__GFP_RETRY_MAYFAIL = 0x4000
#: Never fail. Where a kernel would try for ever, the emulator ends with None.
__GFP_NOFAIL = 0x8000
#: One round of reclaim, then fail.
__GFP_NORETRY = 0x10000
#: Ignore watermarks.
__GFP_MEMALLOC = 0x20000
#: A compound page; no matter for order 0.
__GFP_COMP = 0x40000
#: Never use reserves.
__GFP_NOMEMALLOC = 0x80000
#: Stay in the task's cpuset. Cpusets are not emulated.
__GFP_HARDWALL = 0x100000
#: This node only.
__GFP_THISNODE = 0x200000
#: Charge the page to a memory cgroup, if the machine has `memcg`: no batches then.
__GFP_ACCOUNT = 0x400000

#: Cannot wait; may use reserves.
GFP_ATOMIC = __GFP_HIGH | __GFP_KSWAPD_RECLAIM
#: The kernel's own memory, in a context that may wait. Unmovable.
GFP_KERNEL = __GFP_RECLAIM | __GFP_IO | __GFP_FS
#: The same, charged to a memory cgroup.
GFP_KERNEL_ACCOUNT = GFP_KERNEL | __GFP_ACCOUNT
#: Cannot wait, and has no reserves.
GFP_NOWAIT = __GFP_KSWAPD_RECLAIM | __GFP_NOWARN
#: May wait, without starting I/O.
GFP_NOIO = __GFP_RECLAIM
#: May wait, without calling into file systems.
GFP_NOFS = __GFP_RECLAIM | __GFP_IO
#: For user space, reached by the kernel too.
GFP_USER = GFP_KERNEL | __GFP_HARDWALL
#: From ZONE_DMA.
GFP_DMA = __GFP_DMA
#: From ZONE_DMA32 or below.
GFP_DMA32 = __GFP_DMA32
#: For user space, never moved.
GFP_HIGHUSER = GFP_USER | __GFP_HIGHMEM
#: For user space, movable: may use ZONE_MOVABLE.
GFP_HIGHUSER_MOVABLE = GFP_HIGHUSER | __GFP_MOVABLE

__all__ = [
    "GFP_ATOMIC",
    "GFP_DMA",
    "GFP_DMA32",
    "GFP_HIGHUSER",
    "GFP_HIGHUSER_MOVABLE",
    "GFP_KERNEL",
    "GFP_KERNEL_ACCOUNT",
    "GFP_NOFS",
    "GFP_NOIO",
    "GFP_NOWAIT",
    "GFP_USER",
    "__GFP_ACCOUNT",
    "__GFP_COMP",
    "__GFP_DIRECT_RECLAIM",
    "__GFP_DMA",
    "__GFP_DMA32",
    "__GFP_FS",
    "__GFP_HARDWALL",
    "__GFP_HIGH",
    "__GFP_HIGHMEM",
    "__GFP_IO",
    "__GFP_KSWAPD_RECLAIM",
    "__GFP_MEMALLOC",
    "__GFP_MOVABLE",
    "__GFP_NOFAIL",
    "__GFP_NOMEMALLOC",
    "__GFP_NORETRY",
    "__GFP_NOWARN",
    "__GFP_RECLAIM",
    "__GFP_RECLAIMABLE",
    "__GFP_RETRY_MAYFAIL",
    "__GFP_THISNODE",
    "__GFP_WRITE",
    "__GFP_ZERO",
]
