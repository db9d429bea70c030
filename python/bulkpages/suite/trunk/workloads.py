"""The workloads of the suite: a quick selection, and all of them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from bulkpages import _core
from bulkpages.callers.shapes import REQUESTS, hole_shape
from bulkpages.suite.trunk.cells import BulkLoop, Cell, Fill, PoolLoop
from bulkpages.suite.trunk.states import Conditions

__all__ = ["RPC_SLOTS", "all_cells", "full_cells", "quick_cells", "select"]

#: Slots that sunrpc's array has for a megabyte of payload.
RPC_SLOTS = 259
BTRFS, EROFS = "btrfs_alloc_page_array", "z_erofs_gbuf_growsize"

# Loops 01 and 02 never reach the page allocator: they are controls, in which the versions cannot differ.
POOL = [
    PoolLoop(name=loop, loop=loop) for loop in ("page_pool03_slow", "page_pool02_ptr_ring", "page_pool01_fast_path")
]


def _null(sizes: tuple[int, ...]) -> list[Cell]:
    return [BulkLoop(name=f"null-{n}", nr_pages=n) for n in sizes]


def _holes(slots: int, periods: tuple[int, ...]) -> list[Cell]:
    return [BulkLoop(name=f"holes-{slots}-every-{k}", nr_pages=slots, hole_period=k) for k in periods]


def _fill(
    name: str,
    filler: str,
    shape: str,
    forms: tuple[str, ...] = (),
    conditions: Conditions = Conditions(),  # noqa: B008
) -> Cell:
    known = dict(_core.fillers())[filler]
    return Fill(name=name, filler=filler, pattern=shape, forms=forms or tuple(known), conditions=conditions)


def _rpc() -> dict[str, str]:
    """Shapes that requests leave, by the short name of the request."""
    return {name.lower().replace(" ", "-"): hole_shape(name, RPC_SLOTS) for name in REQUESTS}


def _callers(forms: tuple[str, ...] = ()) -> list[Cell]:
    """Each caller in the shapes that it is given."""
    cells = [
        _fill("svc-null-259", "svc_alloc_arg", "." * RPC_SLOTS, forms),
        # What a reply of two pages leaves.
        _fill("svc-2-holes", "svc_alloc_arg", "x.." + "x" * (RPC_SLOTS - 3), forms),
        *(_fill(f"svc-{name}", "svc_alloc_arg", shape, forms) for name, shape in _rpc().items()),
        _fill("btrfs-null-4", BTRFS, "." * 4, forms),
        _fill("btrfs-null-16", BTRFS, "." * 16, forms),
        _fill("btrfs-full-64", BTRFS, "x" * 64, forms),
        _fill("btrfs-prefix-48-of-64", BTRFS, "x" * 48 + "." * 16, forms),
        _fill("erofs-0-to-16", EROFS, "." * 16, forms),
        _fill("erofs-16-to-256", EROFS, "x" * 16 + "." * 240, forms),
    ]
    cells += [_fill(f"xfs-{n}", "xfs_buf_alloc_pages", "." * n, forms) for n in (1, 4, 16)]
    cells += [_fill(f"virtio-{n}", "virtiovf_add_migration_pages", "." * n, forms) for n in (256, 1000)]
    return cells


def _conditions() -> list[Cell]:
    """The core call and sunrpc under conditions that the other cells do not have."""
    rpc = _rpc()
    cold, near_low, owner = Conditions(cold=True), Conditions(above_low=64), Conditions(page_owner=True)
    cells = [
        _fill("core-64", "core", "." * 64),
        _fill("core-64-cold", "core", "." * 64, conditions=cold),
        _fill("core-64-trylock-loss-10", "core", "." * 64, conditions=Conditions(trylock_loss=0.1)),
        _fill("core-64-two-nodes", "core", "." * 64, conditions=Conditions(nodes=2)),
        _fill("core-64-page-owner", "core", "." * 64, conditions=owner),
        _fill("core-256-near-low", "core", "." * 256, conditions=near_low),
        _fill("svc-small-rpc-cold", "svc_alloc_arg", rpc["small-rpc"], conditions=cold),
        _fill("svc-small-rpc-near-low", "svc_alloc_arg", rpc["small-rpc"], conditions=near_low),
        _fill("svc-fill-page-owner", "svc_alloc_arg", "." * RPC_SLOTS, conditions=owner),
    ]
    for runs in (1, 4, 16):
        cells.append(_fill(f"core-256-holes-32-runs-{runs}", "core", hole_shape("clustered", 256, 32, runs, seed=1)))
    return cells


def quick_cells() -> list[Cell]:
    """All-NULL arrays, hole patterns, the page_pool loops, and each other caller in its usual shapes."""
    usual = {"svc-read-by-splice", "btrfs-null-16", "btrfs-full-64", "erofs-16-to-256", "xfs-4", "virtio-256"}
    callers = [cell for cell in _callers(("before", "after")) if cell.name in usual]
    remembers = [cell for cell in _callers() if cell.name in ("svc-null-259", "svc-2-holes", "svc-small-rpc")]
    return [*_null((1, 8, 64, 256)), *_holes(256, (2, 8, 32, 64)), *POOL, *remembers, *callers]


def full_cells() -> list[Cell]:
    """More sizes and patterns, every caller in every form, and conditions."""
    return [
        *_null((1, 2, 4, 8, 16, 32, 64, 128, 256, 512)),
        *_holes(64, (2, 8, 32)),
        *_holes(256, (2, 4, 8, 16, 32, 64, 128)),
        *POOL,
        *_callers(),
        *_conditions(),
    ]


def all_cells() -> dict[str, Cell]:
    """Every workload there is, by name; the full one where quick has fewer forms of it."""
    return {cell.name: cell for cell in quick_cells() + full_cells()}


def select(patterns: tuple[str, ...], cells: Sequence[Cell]) -> tuple[list[Cell], list[str]]:
    """The cells whose names match any of the patterns (as file names do), and the patterns that match none."""
    unknown = [pattern for pattern in patterns if not any(fnmatchcase(cell.name, pattern) for cell in cells)]
    return [cell for cell in cells if any(fnmatchcase(cell.name, pattern) for pattern in patterns)], unknown
