"""The free lists of a machine, at boot and after some use."""

from __future__ import annotations

import random
from collections import Counter

from matplotlib.figure import Figure

import bulkpages as bp
from bulkpages.walk import walk
from pictures.theme import Theme

ORDERS = range(11)
BLOCKS = 1200
TYPES = ("unmovable", "movable", "reclaimable")
FLAGS = (bp.GFP_KERNEL, bp.GFP_HIGHUSER_MOVABLE, bp.GFP_KERNEL | bp.gfp.__GFP_RECLAIMABLE)

Counts = dict[tuple[int, int], int]
"""Pages on the free lists, by order and type."""


def _counts(m: bp.Machine) -> Counts:
    counts: Counter[tuple[int, int]] = Counter()
    for block in walk(m).for_each_free_block():
        counts[block.order, block.migratetype] += 1 << block.order
    return dict(counts)


def run() -> tuple[Counts, Counts]:
    """At boot; and when blocks of three types were taken and half of them given back, in another order."""
    m = bp.Machine("32MiB", cpus=1)
    booted = _counts(m)
    rng = random.Random(1)
    held = []
    for _ in range(BLOCKS):
        order = rng.choice((0, 0, 0, 1, 2, 3, 4))
        pfn = m.alloc_pages(rng.choice(FLAGS), order)
        assert pfn is not None
        held.append((pfn, order))
    rng.shuffle(held)
    for pfn, order in held[: len(held) // 2]:
        m.free_pages(pfn, order)
    m.drain_local_pages()
    m.audit()
    return booted, _counts(m)


def draw(theme: Theme) -> Figure:
    """Two panels of bars: pages by order, stacked by type."""
    figure = Figure(figsize=(8, 3.1))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, counts, title in zip(panels, run(), ("At boot", "After some use"), strict=True):
        below = [0] * len(ORDERS)
        for kind, name in enumerate(TYPES):
            pages = [counts.get((order, kind), 0) for order in ORDERS]
            axes.bar(ORDERS, pages, bottom=below, color=theme.kinds[kind], width=0.75, label=name)
            below = [a + b for a, b in zip(below, pages, strict=True)]
        for order, height in zip(ORDERS, below, strict=True):
            if height:
                axes.annotate(
                    f"{height >> order}", (order, height), (0, 2), textcoords="offset points", ha="center", fontsize=7
                )
        axes.set_title(title)
        axes.set_xticks(ORDERS)
        axes.set_xlabel("order: blocks of 2^order pages")
    panels[0].set_ylabel("free pages")
    panels[1].legend(loc="upper left", title="type of the list", title_fontsize=8, fontsize=8)
    return figure
