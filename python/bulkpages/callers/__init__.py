"""The kernel's callers of `alloc_pages_bulk()`, in every form from their history.

They are the callers that the patch changes and those of 7.3. `PORTS` lists all of them, and `run()` runs any of them by
name. Each caller of the patch also has a function of its own. A run executes a port of the whole kernel function,
observed and under the machine's faults, and returns a `CallerResult`. `form` chooses the version of the function:
"before" (v6.14 or 7.3, on v1), "after" (the patch of 28 February 2025, on v2), "tracked" (sunrpc as of 7.1) or "v3"
(the proposal of 14 April 2025). Nothing sleeps: a wait advances the machine's virtual time.

Example:
    >>> import bulkpages as bp
    >>> m = bp.Machine("256MiB")
    >>> r = bp.callers.xfs_buf_alloc_pages(m, 16, form="before")
    >>> r.ret, r.bulk_calls
    (0, [(16, 16)])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkpages.callers.audit import Audit, audit
from bulkpages.callers.own_caller import Own, own
from bulkpages.callers.own_env import Env, Slots
from bulkpages.callers.own_semantics import Semantics
from bulkpages.callers.page_pool import (
    PagePool,
    TimeBench,
    time_bench_page_pool01_fast_path,
    time_bench_page_pool02_ptr_ring,
    time_bench_page_pool03_slow,
)
from bulkpages.callers.ports import CALLERS, PORTS, Port, port, run
from bulkpages.callers.result import CallerResult
from bulkpages.callers.shapes import fill_shape, hole_shape
from bulkpages.callers.sweep import Misuse, Sweep, failure_sweep, misuse_score

if TYPE_CHECKING:
    from bulkpages._core import PageArray
    from bulkpages.machine import Machine

__all__ = [
    "CALLERS",
    "PORTS",
    "Audit",
    "CallerResult",
    "Env",
    "Misuse",
    "Own",
    "PagePool",
    "Port",
    "Semantics",
    "Slots",
    "Sweep",
    "TimeBench",
    "audit",
    "btrfs_alloc_page_array",
    "failure_sweep",
    "fill_shape",
    "hole_shape",
    "misuse_score",
    "own",
    "port",
    "run",
    "svc_alloc_arg",
    "time_bench_page_pool01_fast_path",
    "time_bench_page_pool02_ptr_ring",
    "time_bench_page_pool03_slow",
    "virtiovf_add_migration_pages",
    "xfs_buf_alloc_pages",
    "z_erofs_gbuf_growsize",
]


def svc_alloc_arg(
    machine: Machine,
    array: PageArray,
    pages: int = 259,
    *,
    form: str,
    cpu: int = 0,
    max_waits: int = 100,
    explain: bool = False,
) -> CallerResult:
    """`net/sunrpc/svc_xprt.c`: refills the first `pages` slots of a server thread's array.

    Waits when no page is available, and gives up only if `faults(stop=...)` stops the thread.

    Args:
        machine: The machine.
        array: `rq_pages`. Slot `pages`, if there is one, is the sentinel and becomes NULL.
        pages: Slots to fill; the kernel caps it at 259.
        form: "before", "after", "tracked" or "v3".
        cpu: CPU that executes.
        max_waits: Waits allowed. After the last one, the run ends with `ret` None.
        explain: Whether to record `events` in the result.

    Returns:
        `ret` is True, or False if the thread was stopped.

    Raises:
        ApiMisuse: A slot holds something other than an order-0 page of the caller.
    """
    return run(machine, "svc_alloc_arg", array, pages=pages, form=form, cpu=cpu, max_waits=max_waits, explain=explain)


def btrfs_alloc_page_array(
    machine: Machine,
    array: PageArray,
    *,
    nofail: bool = False,
    form: str,
    cpu: int = 0,
    max_waits: int = 100,
    explain: bool = False,
) -> CallerResult:
    """`fs/btrfs/extent_io.c`: fills all slots of the array, or frees pages and fails.

    Args:
        machine: The machine.
        array: The array. Slots that hold a page keep one (in "after" and "v3", possibly a different one).
        nofail: Adds `__GFP_NOFAIL`.
        form: "before", "after" or "v3".
        cpu: CPU that executes.
        max_waits: Unused: this caller does not wait.
        explain: Whether to record `events` in the result.

    Returns:
        `ret` is 0 or -12 (`-ENOMEM`). `freed` counts the pages freed in the error path.

    Raises:
        ApiMisuse: A slot holds something other than an order-0 page of the caller.
    """
    return run(
        machine,
        "btrfs_alloc_page_array",
        array,
        flags=["nofail"] if nofail else [],
        form=form,
        cpu=cpu,
        max_waits=max_waits,
        explain=explain,
    )


def z_erofs_gbuf_growsize(
    machine: Machine,
    *,
    have: int = 0,
    nrpages: int,
    form: str,
    cpu: int = 0,
    max_waits: int = 100,
    explain: bool = False,
) -> CallerResult:
    """`fs/erofs/zutil.c`: grows one global buffer from `have` to `nrpages` pages.

    Args:
        machine: The machine.
        have: Pages that the buffer already has. They are taken from the machine first, without counting and without
            failures.
        nrpages: Pages that it grows to.
        form: "before", "after" or "v3".
        cpu: CPU that executes.
        max_waits: Unused: this caller does not wait.
        explain: Whether to record `events` in the result.

    Returns:
        `ret` is 0 or -12 (`-ENOMEM`). `array` is the buffer afterwards; the caller must free its pages.
    """
    return run(
        machine,
        "z_erofs_gbuf_growsize",
        pages=nrpages,
        have=have,
        form=form,
        cpu=cpu,
        max_waits=max_waits,
        explain=explain,
    )


def xfs_buf_alloc_pages(
    machine: Machine,
    page_count: int,
    *,
    read: bool = True,
    read_ahead: bool = False,
    form: str,
    cpu: int = 0,
    max_waits: int = 100,
    explain: bool = False,
) -> CallerResult:
    """`fs/xfs/xfs_buf.c`: the pages of a buffer; only read-ahead may fail.

    Args:
        machine: The machine.
        page_count: Pages of the buffer.
        read: `XBF_READ`: the buffer is about to be read, so its pages are not zeroed.
        read_ahead: `XBF_READ_AHEAD`: gives up instead of waiting.
        form: "before" or "after".
        cpu: CPU that executes.
        max_waits: Waits allowed. After the last one, the run ends with `ret` None.
        explain: Whether to record `events` in the result.

    Returns:
        `ret` is 0 or -12 (`-ENOMEM`). `array` is the buffer's, all NULL after a failure. `stats` has the kernel's
        `xb_page_found` and `xb_page_retries`, and `reclaimed_pages`, which the task is credited with.
    """
    return run(
        machine,
        "xfs_buf_alloc_pages",
        pages=page_count,
        flags=[name for name, on in (("read_ahead", read_ahead), ("zeroed", not read)) if on],
        form=form,
        cpu=cpu,
        max_waits=max_waits,
        explain=explain,
    )


def virtiovf_add_migration_pages(
    machine: Machine,
    npages: int,
    *,
    form: str,
    cpu: int = 0,
    max_waits: int = 100,
    explain: bool = False,
) -> CallerResult:
    """`drivers/vfio/pci/virtio/migrate.c`: adds `npages` pages to an empty buffer, 512 per round.

    Args:
        machine: The machine. With `memcg=True` every call returns one page.
        npages: Pages to add.
        form: "before", "after" or "v3".
        cpu: CPU that executes.
        max_waits: Unused: this caller does not wait.
        explain: Whether to record `events` in the result.

    Returns:
        `ret` is 0 or -12 (`-ENOMEM`). `array` is the buffer's table. After a failure it holds the pages of the
        successful rounds, which the caller must free. `stats` has `allocated_length`, in bytes.
    """
    return run(
        machine,
        "virtiovf_add_migration_pages",
        pages=npages,
        form=form,
        cpu=cpu,
        max_waits=max_waits,
        explain=explain,
    )
