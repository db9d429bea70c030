"""What the two versions return when the pages run out in the middle."""

from __future__ import annotations

from dataclasses import dataclass, field

from matplotlib.figure import Figure

import bulkpages as bp
from pictures.theme import Theme

SHAPE = bp.callers.hole_shape("periodic", 16, 2)


@dataclass
class Returned:
    """By pages that could be had: what came back, and what is true of the array."""

    available: list[int] = field(default_factory=list)
    v1: list[int] = field(default_factory=list)
    v2: list[int] = field(default_factory=list)
    """What the call on the rest of the array returns, after compaction."""
    new: list[int] = field(default_factory=list)


def run() -> Returned:
    """One bulk call for each number of pages that can be had, on an array with every second slot a hole."""
    got = Returned()
    m = bp.Machine("128MiB", cpus=1)
    kept = SHAPE.count("x")
    for pages in range(SHAPE.count(".") + 1):
        array = bp.callers.fill_shape(m, SHAPE)
        before = set(array)
        with m.faults(pages=pages):
            got.v1.append(m.alloc_pages_bulk(bp.GFP_KERNEL, array, api="v1"))
        got.new.append(len(set(array) - before))
        m.free_bulk(array)
        rest = bp.PageArray(len(SHAPE) - kept)
        with m.faults(pages=pages):
            got.v2.append(m.alloc_pages_bulk(bp.GFP_KERNEL, rest, api="v2"))
        m.free_bulk(rest)
        got.available.append(pages)
    m.audit()
    return got


def draw(theme: Theme) -> Figure:
    """Three lines over the pages that could be had."""
    got = run()
    figure = Figure(figsize=(8, 3.2))
    axes = figure.subplots()
    axes.plot(got.available, got.v1, "o-", color=theme.moved, label="v1 returns", linewidth=1.5)
    axes.plot(
        got.available, got.v2, "s-", color=theme.new, label="v2 returns, called on the rest of the array", linewidth=1.5
    )
    axes.plot(got.available, got.new, "x:", color=theme.text, label="new pages in the array, by v1", linewidth=1)
    axes.set_xlabel("pages that can still be had")
    axes.set_ylabel("returned")
    axes.set_title(f"{SHAPE}: {SHAPE.count('.')} holes in {len(SHAPE)} slots")
    axes.grid(axis="y")
    axes.legend(fontsize=8)
    return figure
