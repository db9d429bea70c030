"""The pictures of the report, as SVG text that takes its colours from the page and can be read at a phone's width."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bulkpages.suite.output.words import FORMS, in_order
from bulkpages.suite.trunk.answer import hole_rows
from bulkpages.suite.trunk.results import main_rows, timed_rows

__all__ = [
    "contention_plot",
    "difference_figure",
    "difference_plot",
    "forest_plot",
    "growth_plot",
    "hole_plot",
    "null_plot",
    "size_plot",
    "time_plot",
    "window_plot",
]

# Inches at which text of this size can still be read on a phone.
WIDTH, TEXT = 4.2, 9
# Of a picture with names of workloads beside it.
NAMED_WIDTH = 3.0
# What stands in the SVG, and the page's own colour that replaces it.
INK, MAINLINE, PATCHED, TRACKED, OTHER = "#010203", "#b84a01", "#0067a6", "#007350", "#9a4f84"
PAGE = {
    INK: "currentColor",
    MAINLINE: "var(--mainline, #b84a00)",
    PATCHED: "var(--patched, #0067a5)",
    TRACKED: "var(--tracked, #00734f)",
    OTHER: "var(--other, #9a4f83)",
}
COLOURS = {
    "v1": MAINLINE, "before": MAINLINE, "v2": PATCHED, "after": PATCHED, "tracked": TRACKED, "v3": OTHER,
}  # fmt: skip
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bulkpages",
    "font.family": "sans-serif",
    "font.size": TEXT,
    "legend.fontsize": TEXT,
    "axes.titlesize": TEXT,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for colour, name in PAGE.items():
        text = text.replace(colour, name)
    return text


def _axes(height: float, panels: int = 1, width: float = WIDTH) -> tuple[Figure, list[Axes]]:
    figure, grid = plt.subplots(panels, 1, figsize=(width, height * panels), squeeze=False)
    for axes in grid[:, 0]:
        axes.spines[["top", "right"]].set_visible(False)
    figure.subplots_adjust(hspace=0.45)
    return figure, list(grid[:, 0])


def _legend(axes: Axes, columns: int = 2) -> None:
    """Below the picture, where it covers nothing."""
    below = -0.45 / (axes.get_window_extent().height / axes.figure.dpi)
    axes.legend(frameon=False, labelcolor=INK, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, below))


def _counts(axis: Axis) -> None:
    """A logarithmic axis with plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def _intervals(rows: Sequence[tuple[str, float, float, float]], effect: float, label: str) -> Figure | None:
    """Differences in % with their intervals, one line each; no difference is a line, those of no interest a band."""
    if not rows:
        return None
    with mpl.rc_context(STYLE):
        figure, (axes,) = _axes(0.21 * len(rows) + 0.8, width=NAMED_WIDTH)
        axes.margins(y=0.01)
        for y, (_, middle, low, high) in enumerate(rows[::-1]):
            axes.plot([low, high], [y, y], color=PATCHED, linewidth=2)
            axes.plot(middle, y, "o", color=PATCHED, markersize=4)
        axes.axvspan(-effect * 100, effect * 100, color="#888888", alpha=0.3, linewidth=0)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows[::-1]])
        axes.set_xlabel(label)
        return figure


def difference_figure(results: dict[str, Any]) -> Figure | None:
    """The difference of each workload in kernel instructions; None without any."""
    rows = [
        (row["name"], *(row["instructions"]["percent"][end] for end in ("estimate", "low", "high")))
        for row in in_order(main_rows(results))
        if row["instructions"]
    ]
    return _intervals(rows, results["effect"], "patched against mainline, %")


def difference_plot(results: dict[str, Any]) -> str | None:
    """The same as SVG."""
    figure = difference_figure(results)
    return _svg(figure) if figure else None


def time_plot(results: dict[str, Any]) -> str | None:
    """The difference of each workload in the emulator's time."""
    timed = timed_rows(results)
    rows = []
    for row in in_order(main_rows(results)):
        if found := timed.get(row["name"]):
            low, high = ((end - 1) * 100 for end in found["interval"])
            rows.append((row["name"], found["effect"]["percent"], low, high))
    figure = _intervals(rows, results["effect"], "patched against mainline, % of time")
    return _svg(figure) if figure else None


def _both(axes: Axes, x: Sequence[float], rows: Sequence[dict[str, Any]]) -> None:
    for which, form in (("base", "v1"), ("form", "v2")):
        y = [row["instructions"][which]["estimate"] for row in rows]
        axes.plot(x, y, "o-", color=COLOURS[form], markersize=4, label=FORMS[form])
    axes.set_yscale("log")
    _counts(axes.yaxis)
    axes.set_ylabel("instructions per page")


def hole_plot(results: dict[str, Any]) -> str | None:
    """Instructions per page against the share of holes, with the line of break-even."""
    pairs = [(share * 100, row) for share, row in hole_rows(results["rows"]) if row["instructions"]]
    if len(pairs) < 2:
        return None
    with mpl.rc_context(STYLE):
        figure, (axes,) = _axes(2.8)
        shares = [share for share, _ in pairs]
        _both(axes, shares, [row for _, row in pairs])
        if even := results["break_even"]["instructions"]:
            axes.axvline(even * 100, color=INK, linestyle=":", linewidth=1, label="break-even")
        axes.set_xscale("log")
        axes.set_xticks(shares, [f"{share:.3g}" for share in shares])
        axes.minorticks_off()
        axes.set_xlabel("slots that are holes, %")
        _legend(axes, 3)
        return _svg(figure)


def size_plot(results: dict[str, Any]) -> str | None:
    """Instructions per page against the size of an array that is all NULL."""
    rows = [
        row
        for row in main_rows(results)
        if row["filler"] is None and row["nr_pages"] and not row["hole_period"] and row["instructions"]
    ]
    if len(rows) < 2:
        return None
    with mpl.rc_context(STYLE):
        figure, (axes,) = _axes(2.8)
        sizes = [row["nr_pages"] for row in rows]
        _both(axes, sizes, rows)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("slots of the array, all NULL")
        _legend(axes)
        return _svg(figure)


def null_plot(results: dict[str, Any]) -> str | None:
    """Each form against itself."""
    timing = results["timing"]
    if not timing or not timing["null"]["rows"]:
        return None
    rows = sorted(timing["null"]["rows"], key=lambda row: float(row["ratio"]))
    with mpl.rc_context(STYLE):
        figure, (axes,) = _axes(2.2)
        for x, row in enumerate(rows):
            low, high = ((end - 1) * 100 for end in row["interval"])
            colour = MAINLINE if high < 0 or low > 0 else PATCHED
            axes.plot([x, x], [low, high], color=colour, linewidth=1.5)
            axes.plot(x, (row["ratio"] - 1) * 100, "o", color=colour, markersize=3)
        axes.axhline(0, color=INK, linewidth=1)
        axes.set_xticks([])
        axes.set_xlabel(f"{len(rows)} comparisons of a form with itself")
        axes.set_ylabel("difference, %")
        return _svg(figure)


def window_plot(results: dict[str, Any]) -> str | None:
    """Kernel instructions in one locking of svc_alloc_arg(), by the number of holes."""
    rows = results["windows"]
    if not rows:
        return None
    panels = (
        ("per-CPU lock, lists warm (interrupts off on UP)", False, "pcp"),
        ("zone lock, lists cold (interrupts off on SMP)", True, "zone"),
    )
    with mpl.rc_context(STYLE):
        figure, grid = _axes(2.3, len(panels))
        for axes, (title, cold, lock) in zip(grid, panels, strict=True):
            for form, dash in (("before", "o-"), ("after", "s--"), ("tracked", "^:")):
                chosen = [row for row in rows if row["form"] == form and row["cold"] == cold]
                x, y = [row["holes"] for row in chosen], [row[lock]["per_locking"] for row in chosen]
                axes.plot(x, y, dash, color=COLOURS[form], markersize=4, label=FORMS[form])
            axes.set_title(title, color=INK)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            _counts(axes.yaxis)
            axes.set_xticks(x, [str(n) for n in x])
            axes.minorticks_off()
            axes.set_ylabel("instructions")
        grid[-1].set_xlabel("holes of 259 slots")
        _legend(grid[-1], 3)
        return _svg(figure)


def contention_plot(results: dict[str, Any]) -> str | None:
    """Share of trylocks that are lost to drains from another CPU, and calls of a fill, by drains a second."""
    rows = results["timing"]["contention"] if results["timing"] else []
    if not rows:
        return None
    arrays = sorted({(row["slots"], row["hole_period"]) for row in rows})
    with mpl.rc_context(STYLE):
        figure, grid = _axes(2.3, 2)
        for axes, what, label in zip(
            grid, ("lost", "calls_per_fill"), ("trylocks lost, %", "calls for a fill"), strict=True
        ):
            for (slots, period), dash in zip(arrays, ("o-", "s--"), strict=False):
                chosen = [r for r in rows if (r["slots"], r["hole_period"]) == (slots, period)]
                array = f"{slots}, every {period}th NULL" if period else f"{slots} NULL"
                for arm in ("v1", "v2"):
                    x = [max(row["drains"], 1) for row in chosen]
                    y = [row["arms"][arm][what] * (100 if what == "lost" else 1) for row in chosen]
                    axes.plot(x, y, dash, color=COLOURS[arm], markersize=4, label=f"{FORMS[arm]}, {array}")
            axes.set_xscale("symlog", linthresh=100)
            axes.set_ylabel(label)
        grid[-1].set_xlabel("drains of the CPU's lists a second")
        _legend(grid[-1])
        return _svg(figure)


def growth_plot(results: dict[str, Any]) -> str | None:
    """Slot work of filling an empty array against its size; exact."""
    rows = [row for row in results["growth"] if row["filler"] == "svc_alloc_arg"]
    if not rows:
        return None
    with mpl.rc_context(STYLE):
        figure, (axes,) = _axes(2.8)
        for row in rows:
            owner = ", page owner" if row["page_owner"] else ""
            axes.plot(
                row["sizes"],
                row["slot_work"],
                "o--" if row["page_owner"] else "o-",
                color=COLOURS[row["form"]],
                markersize=4,
                label=f"{FORMS[row['form']]}{owner}: {row['slope']:.2f}",
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        _counts(axes.yaxis)
        axes.set_xticks(row["sizes"], [str(size) for size in row["sizes"]])
        axes.minorticks_off()
        axes.set_xlabel("slots, all NULL; in the legend the slope")
        axes.set_ylabel("slot work")
        _legend(axes)
        return _svg(figure)


def forest_plot(merged: dict[str, Any]) -> str:
    """Each workload's ratio of emulator time on every machine, and the summary."""
    rows = merged["rows"][::-1]
    with mpl.rc_context(STYLE):
        figure, (axes,) = _axes(0.4 * len(rows) + 1, width=NAMED_WIDTH)
        for y, row in enumerate(rows):
            for i, study in enumerate(row["studies"]):
                at = y + 0.15 + 0.5 * i / len(row["studies"])
                axes.plot([(end - 1) * 100 for end in study["interval"]], [at, at], color=INK, linewidth=1)
                axes.plot((study["ratio"] - 1) * 100, at, "o", color=INK, markersize=3)
            axes.plot([(end - 1) * 100 for end in row["interval"]], [y, y], color=PATCHED, linewidth=2)
            axes.plot((row["ratio"] - 1) * 100, y, "D", color=PATCHED, markersize=5)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_xlabel("difference from mainline, % of emulator time")
        return _svg(figure)
