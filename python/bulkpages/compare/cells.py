"""What is compared: one cell is one workload under one condition, which every form of it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from bulkpages import Machine, _core
from bulkpages.callers.shapes import REQUESTS, hole_shape
from bulkpages.states import take_down

__all__ = ["Cell", "Conditions", "full_cells", "make_machine", "quick_cells", "select"]

CORE_FORMS = ("v1", "v2")
RPC_SLOTS = 259


@dataclass(frozen=True)
class Conditions:
    """The state of the machine.

    Attributes:
        cold: Per-CPU lists are drained before each fill.
        trylock_loss: Share of per-CPU trylocks that fail during fills.
        page_owner: CONFIG_PAGE_OWNER.
        nodes: A booted machine of so many nodes instead of the snapshot; 0 for the snapshot.
        above_low: Free pages of the highest zone are brought to about this much above its LOW mark; None to leave them.
    """

    cold: bool = False
    trylock_loss: float = 0.0
    page_owner: bool = False
    nodes: int = 0
    above_low: int | None = None

    def __str__(self) -> str:
        words = []
        if self.cold:
            words.append("cold lists")
        if self.trylock_loss:
            words.append(f"{self.trylock_loss:.0%} of trylocks lost")
        if self.page_owner:
            words.append("page owner")
        if self.nodes:
            words.append(f"{self.nodes} nodes")
        if self.above_low is not None:
            words.append(f"{self.above_low} pages above LOW")
        return ", ".join(words) or "as recorded"


@dataclass(frozen=True)
class Cell:
    """A workload.

    Attributes:
        name: Short, unique.
        nr_pages: Slots of the array; 0 for a page_pool loop.
        hole_period: Of the loops of `timings.json`: 0: all slots are NULL; k: every k-th slot is a hole.
        bench: Loop of the page_pool benchmark, where it is one.
        filler: Caller that fills, or "core"; None for the loops of `timings.json`.
        shape: Picture of the array that the caller is given: `x` a page, `.` a hole.
        forms: What is compared; the first is what the others are compared with.
        conditions: State of the machine.
        streams: Recorded steps by form, where a user wrote the caller.
    """

    name: str
    nr_pages: int = 0
    hole_period: int = 0
    bench: str | None = None
    filler: str | None = None
    shape: str = ""
    forms: tuple[str, ...] = CORE_FORMS
    conditions: Conditions = field(default_factory=Conditions)
    streams: Mapping[str, _core.Stream] = field(default_factory=dict, hash=False)

    @property
    def unit(self) -> str:
        """What cost is divided by."""
        return "op" if self.bench else "fill" if self.filler else "page"

    @property
    def reproduce(self) -> str:
        """The command that measures this cell."""
        if self.streams:
            return f"compare() of the caller {self.filler} on {self.shape}"
        return f"bulkpages compare --quick --only {self.name}"

    @property
    def holes(self) -> int:
        """Slots that are NULL."""
        if self.filler:
            return self.shape.count(".")
        return -(-self.nr_pages // self.hole_period) if self.hole_period else self.nr_pages


def make_machine(snapshot: str, conditions: Conditions) -> Machine:
    """A machine in this state; `snapshot` is the path of a kernel state.

    Raises:
        SnapshotError: The state cannot be loaded.
    """
    if conditions.nodes:
        machine = Machine("1GiB", cpus=2, nodes=conditions.nodes, page_owner=conditions.page_owner)
    else:
        machine = Machine.from_snapshot(snapshot, page_owner=conditions.page_owner)
    if conditions.above_low is not None:
        take_down(machine, conditions.above_low)
    return machine


def _null(sizes: tuple[int, ...]) -> list[Cell]:
    return [Cell(f"null-{n}", n) for n in sizes]


def _holes(slots: int, periods: tuple[int, ...]) -> list[Cell]:
    return [Cell(f"holes-{slots}-every-{k}", slots, k) for k in periods]


POOL = [
    Cell("page_pool03_slow", bench="page_pool03_slow"),
    Cell("page_pool02_ptr_ring", bench="page_pool02_ptr_ring"),
    Cell("page_pool01_fast_path", bench="page_pool01_fast_path"),
]


def _fill(name: str, filler: str, shape: str, forms: tuple[str, ...] = (), **conditions: object) -> Cell:
    known = dict(_core.fillers())[filler]
    return Cell(
        name,
        len(shape),
        filler=filler,
        shape=shape,
        forms=forms or tuple(known),
        conditions=Conditions(**conditions),  # type: ignore[arg-type]
    )


def _rpc() -> dict[str, str]:
    """Shapes that requests leave, by the short name of the request."""
    return {name.lower().replace(" ", "-"): hole_shape(name, RPC_SLOTS) for name in REQUESTS}


def _callers(forms: tuple[str, ...] = ()) -> list[Cell]:
    """Each caller in the shapes that it is given (spec 8)."""
    btrfs, erofs = "btrfs_alloc_page_array", "z_erofs_gbuf_growsize"
    cells = [_fill(f"svc-{name}", "svc_alloc_arg", shape, forms) for name, shape in _rpc().items()]
    cells += [
        _fill("btrfs-null-4", btrfs, "." * 4, forms),
        _fill("btrfs-null-16", btrfs, "." * 16, forms),
        _fill("btrfs-full-64", btrfs, "x" * 64, forms),
        _fill("btrfs-prefix-48-of-64", btrfs, "x" * 48 + "." * 16, forms),
        _fill("erofs-0-to-16", erofs, "." * 16, forms),
        _fill("erofs-16-to-256", erofs, "x" * 16 + "." * 240, forms),
    ]
    cells += [_fill(f"xfs-{n}", "xfs_buf_alloc_pages", "." * n, forms) for n in (1, 4, 16)]
    cells += [_fill(f"vfio-{n}", "virtiovf_add_migration_pages", "." * n, forms) for n in (256, 1000)]
    return cells


def _conditions() -> list[Cell]:
    """The core call and sunrpc under conditions that the other cells do not have."""
    rpc = _rpc()
    cells = [
        _fill("core-64", "core", "." * 64),
        _fill("core-64-cold", "core", "." * 64, cold=True),
        _fill("core-64-trylock-loss-10", "core", "." * 64, trylock_loss=0.1),
        _fill("core-64-two-nodes", "core", "." * 64, nodes=2),
        _fill("core-64-page-owner", "core", "." * 64, page_owner=True),
        _fill("core-256-near-low", "core", "." * 256, above_low=64),
        _fill("svc-small-rpc-cold", "svc_alloc_arg", rpc["small-rpc"], cold=True),
        _fill("svc-small-rpc-near-low", "svc_alloc_arg", rpc["small-rpc"], above_low=64),
        _fill("svc-fill-page-owner", "svc_alloc_arg", "." * RPC_SLOTS, page_owner=True),
    ]
    for runs in (1, 4, 16):
        cells.append(_fill(f"core-256-holes-32-runs-{runs}", "core", hole_shape("clustered", 256, 32, runs, seed=1)))
    return cells


def quick_cells() -> list[Cell]:
    """All-NULL arrays, hole patterns, the page_pool loops, and each other caller in its usual shape.

    Loops 01 and 02 never reach the page allocator: they are controls, in which the versions cannot differ.
    """
    usual = {"svc-read-by-splice", "btrfs-null-16", "btrfs-full-64", "erofs-16-to-256", "xfs-4", "vfio-256"}
    callers = [cell for cell in _callers(("before", "after")) if cell.name in usual]
    small = [cell for cell in _callers() if cell.name == "svc-small-rpc"]
    return [*_null((1, 8, 64, 256)), *_holes(256, (2, 8, 32, 64)), *POOL, *small, *callers]


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


def select(patterns: tuple[str, ...], cells: list[Cell]) -> tuple[list[Cell], list[str]]:
    """The cells whose names match any of the patterns (as file names do), and the patterns that match none."""
    unknown = [pattern for pattern in patterns if not any(fnmatchcase(cell.name, pattern) for cell in cells)]
    return [cell for cell in cells if any(fnmatchcase(cell.name, pattern) for pattern in patterns)], unknown
