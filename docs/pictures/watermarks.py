"""Free pages of two zones while requests of three kinds take all that they may have."""

from __future__ import annotations

from dataclasses import dataclass, field

from matplotlib.figure import Figure

import bulkpages as bp
from pictures.theme import Theme

BATCH = 64


@dataclass
class Emptied:
    """The free counters after each request, and where each kind of request ended."""

    marks: list[dict[str, int]]
    reserve: list[int]
    """Pages of each zone that a GFP_KERNEL request must leave besides the mark."""
    held: list[int] = field(default_factory=list)
    free: list[tuple[int, ...]] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    """Pages held when the request of this name stopped working."""


def run() -> Emptied:
    """Bulk calls until one brings a single page, then single requests, then atomic ones, until there is none."""
    m = bp.Machine("64MiB", cpus=1)
    zones = m.zones
    # GFP_KERNEL may go up to ZONE_NORMAL, index 2; this machine's highest zone with memory is DMA32.
    got = Emptied([z.watermark for z in zones], [z.lowmem_reserve[2] for z in zones])
    held = 0

    def note(pages: int) -> None:
        nonlocal held
        held += pages
        got.held.append(held)
        got.free.append(tuple(z.nr_free for z in zones))

    note(0)
    array = bp.PageArray(BATCH)
    while (n := m.alloc_pages_bulk(bp.GFP_KERNEL, array, api="v2")) > 1:
        note(n)
    got.ends["bulk"] = held
    note(n)
    for name, gfp in (("GFP_KERNEL", bp.GFP_KERNEL), ("GFP_ATOMIC", bp.GFP_ATOMIC)):
        while m.alloc_pages(gfp) is not None:
            note(1)
        got.ends[name] = held
    m.audit()
    return got


def draw(theme: Theme) -> Figure:
    """Two lines that fall, the marks of the larger zone, and where each kind of request ends."""
    got = run()
    figure = Figure(figsize=(8, 4.2))
    axes, close = figure.subplots(1, 2, width_ratios=(1, 1.25))
    for panel in (axes, close):
        for zone, name in ((1, "DMA32"), (0, "DMA")):
            panel.step(
                got.held,
                [free[zone] for free in got.free],
                where="post",
                color=theme.new if zone else theme.moved,
                linewidth=1.6,
                label=f"free in {name}",
            )
        for mark, line in (("high", ":"), ("low", "--"), ("min", "-")):
            panel.axhline(got.marks[1][mark], color=theme.page, linewidth=0.9, linestyle=line, label=f"{mark} of DMA32")
        panel.set_xlabel("pages held")
    axes.set_title("All of it")
    axes.set_ylabel("free pages: the counter that watermark tests read")
    axes.legend(fontsize=8, loc="upper right")
    names = {"bulk": "bulk calls bring one page each", "GFP_KERNEL": "GFP_KERNEL ends", "GFP_ATOMIC": "GFP_ATOMIC ends"}
    top = 1.6 * got.marks[1]["high"]
    for row, (name, at) in enumerate(got.ends.items()):
        close.axvline(at, color=theme.text, linewidth=0.8, zorder=0)
        close.annotate(
            names[name], (at, top), (-4, -3 - 13 * row), textcoords="offset points", va="top", ha="right", fontsize=8
        )
    close.set_xlim(got.ends["bulk"] - 420, got.held[-1] + 30)
    close.set_ylim(-10, top)
    close.set_title("Its end")
    return figure
