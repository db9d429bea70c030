"""The count of a CPU's lists while pages are taken and given back."""

from __future__ import annotations

from dataclasses import dataclass, field

from matplotlib.figure import Figure

import bulkpages as bp
from pictures.theme import Theme

PHASES = (("allocate", 2200), ("free", 2200), ("allocate", 2200))


@dataclass
class Counted:
    """After each call: pages on the lists, the limit; and where a refill or a drain happened, with its size."""

    batch: int
    count: list[int] = field(default_factory=list)
    high: list[int] = field(default_factory=list)
    refills: list[tuple[int, int]] = field(default_factory=list)
    drains: list[tuple[int, int]] = field(default_factory=list)


def run() -> Counted:
    """Takes pages one at a time, gives them back in the same order, and takes as many again."""
    m = bp.Machine("128MiB", cpus=2)
    zone = m.zones[1]
    got = Counted(zone.pcp(0).batch)
    count = zone.pcp(0).count

    def note(change: int) -> None:
        nonlocal count
        pcp = zone.pcp(0)
        at = len(got.count)
        if pcp.count > count + change:
            got.refills.append((at, pcp.count - count - change))
        elif pcp.count < count + change:
            got.drains.append((at, count + change - pcp.count))
        count = pcp.count
        got.count.append(count)
        got.high.append(pcp.high)

    pages: list[int] = []
    for what, calls in PHASES:
        for _ in range(calls):
            if what == "free":
                m.free_pages(pages.pop(0))
                note(1)
            else:
                pfn = m.alloc_pages(bp.GFP_KERNEL)
                assert pfn is not None
                pages.append(pfn)
                note(-1)
    m.audit()
    return got


def draw(theme: Theme) -> Figure:
    """One line, and a mark for each refill and drain."""
    got = run()
    figure = Figure(figsize=(8, 3.6))
    axes = figure.subplots()
    left = 0
    for i, (what, calls) in enumerate(PHASES):
        axes.axvspan(left, left + calls, color=theme.faint, alpha=0.25 if i % 2 else 0.08, linewidth=0)
        axes.annotate(
            f"{what} {calls}",
            (left + calls / 2, 1.0),
            (0, -3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
        )
        left += calls
    axes.plot(got.count, color=theme.new, linewidth=1.4, label="pages on the lists of CPU 0 in DMA32")
    axes.plot(got.high, color=theme.page, linewidth=1, linestyle="--", label="high")
    for marks, symbol, colour, name in (
        (got.refills, "^", theme.kinds[2], "refill"),
        (got.drains, "v", theme.bad, "drain"),
    ):
        where = [at for at, _ in marks]
        heights = [got.count[at] for at in where]
        axes.plot(
            where, heights, symbol, color=colour, markersize=6, linestyle="none", label=f"{name} (pages, from 100 on)"
        )
        for at, pages in marks:
            if pages < 100:
                continue
            axes.annotate(
                str(pages),
                (at, got.count[at]),
                (0, 5 if name == "refill" else -12),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color=colour,
            )
    axes.set_xlim(0, len(got.count))
    axes.set_ylim(0, 1.18 * max(got.count + got.high[-1:]))
    axes.set_xlabel("calls")
    axes.set_ylabel("pages")
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure
