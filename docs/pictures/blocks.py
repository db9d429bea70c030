"""How one request splits a block, and how the free puts it together again."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import bulkpages as bp
from bulkpages.walk import walk
from pictures.theme import Theme

FIRST, PAGES = 4096, 1024


@dataclass(frozen=True)
class Stage:
    """What the 1024 frames from 4096 on are, at one moment."""

    title: str
    free: list[tuple[int, int, int]]
    """First frame, order and type of each free block."""
    used: list[tuple[int, int]]
    """First frame and order of each block that is in use."""


def _free(m: bp.Machine) -> list[tuple[int, int, int]]:
    found = [(b.pfn, b.order, b.migratetype) for b in walk(m).for_each_free_block()]
    return sorted(b for b in found if FIRST <= b[0] < FIRST + PAGES)


def run() -> list[Stage]:
    """A block of 16 pages is taken, a second one, and both are given back."""
    m = bp.Machine("128MiB", cpus=1)
    stages = [Stage("at boot: one free block of order 10", _free(m), [])]
    used = []
    for title in ("alloc_pages(GFP_KERNEL, 4): split down to order 4", "and once more: the other half of order 4"):
        pfn = m.alloc_pages(bp.GFP_KERNEL, 4)
        assert pfn is not None
        used.append((pfn, 4))
        stages.append(Stage(title, _free(m), list(used)))
    for pfn, order in used:
        m.free_pages(pfn, order)
    stages.append(Stage("both freed: merged again, now of the other type", _free(m), []))
    return stages


def draw(theme: Theme) -> Figure:
    """One line of memory for each stage."""
    stages = run()
    figure = Figure(figsize=(8, 3.4))
    axes = figure.subplots()
    for y, stage in enumerate(stages):
        for pfn, order, kind in stage.free:
            axes.add_patch(
                Rectangle((pfn, y), 1 << order, 0.5, facecolor=theme.kinds[kind], edgecolor=theme.text, linewidth=0.6)
            )
            if order >= 6:
                axes.text(
                    pfn + (1 << order) / 2, y + 0.25, str(order), ha="center", va="center", color="white", fontsize=8
                )
        for pfn, order in stage.used:
            axes.add_patch(
                Rectangle((pfn, y), 1 << order, 0.5, facecolor=theme.moved, edgecolor=theme.text, linewidth=0.6)
            )
        axes.text(FIRST, y - 0.08, stage.title, fontsize=8.5)
    axes.set_xlim(FIRST - 4, FIRST + PAGES + 4)
    axes.set_ylim(len(stages) - 0.35, -0.4)
    axes.set_xticks(range(FIRST, FIRST + PAGES + 1, 128))
    axes.set_xlabel("frame number")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    swatches = [(theme.kinds[1], "free, movable"), (theme.kinds[0], "free, unmovable"), (theme.moved, "in use")]
    axes.legend(
        handles=[Rectangle((0, 0), 1, 1, color=colour, label=label) for colour, label in swatches],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3,
        fontsize=8,
    )
    return figure
