"""The pictures of the report, as SVG text."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["null_plot", "ratio_plot", "size_plot"]

# Colours that can be told apart in light, in dark and by colour-blind readers.
V1, V2, KERNEL = "#d55e00", "#0072b2", "#7f7f7f"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bulkpages",
    "text.color": "#777777",
    "axes.labelcolor": "#777777",
    "axes.edgecolor": "#777777",
    "xtick.color": "#777777",
    "ytick.color": "#777777",
    "font.size": 10,
}


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width, height))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def ratio_plot(results: dict[str, Any]) -> str:
    """The difference of each workload with its interval, and the kernel's beside it."""
    rows = results["rows"][::-1]
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 0.38 * len(rows) + 1)
        for y, row in enumerate(rows):
            low, high = ((end - 1) * 100 for end in row["interval"])
            axes.plot([low, high], [y, y], color=V2, linewidth=2, label="emulator, with interval" if y == 0 else None)
            axes.plot((row["ratio"] - 1) * 100, y, "o", color=V2)
            if row["kernel"]["ratio"] is not None:
                axes.plot(
                    (row["kernel"]["ratio"] - 1) * 100,
                    y,
                    "D",
                    color=KERNEL,
                    markerfacecolor="none",
                    label="real kernel's own cycles" if y == 0 else None,
                )
        effect = results["method"]["effect"] * 100
        axes.axvspan(-effect, effect, color="#999999", alpha=0.25, linewidth=0)
        axes.axvline(0, color="#777777", linewidth=1)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_xlabel("v2 against v1, % (left of 0: v2 is faster; grey band: effect of interest)")
        axes.legend(frameon=False, labelcolor="#777777", loc="best")
        return _svg(figure)


def size_plot(results: dict[str, Any]) -> str | None:
    """Cost per page against the size of an all-NULL array."""
    rows = [row for row in results["rows"] if row["nr_pages"] and not row["hole_period"]]
    if len(rows) < 2:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 3.6)
        sizes = [row["nr_pages"] for row in rows]
        for form, colour in (("v1", V1), ("v2", V2)):
            axes.plot(sizes, [row[form]["counts"] for row in rows], "o-", color=colour, label=f"emulator {form}")
            known = [(row["nr_pages"], row["kernel"][form]["cycles"]) for row in rows if row["kernel"][form]]
            axes.plot(*zip(*known, strict=True), "D:", color=colour, markerfacecolor="none", label=f"kernel {form}")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlabel("slots of the array, all NULL")
        axes.set_ylabel("cycles per page, allocation alone")
        axes.legend(frameon=False, labelcolor="#777777", ncols=2)
        return _svg(figure)


def null_plot(results: dict[str, Any]) -> str:
    """Each form against itself."""
    rows = sorted(results["null"]["rows"], key=lambda row: float(row["ratio"]))
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 2.8)
        for x, row in enumerate(rows):
            alarm = row["verdict"] in ("faster", "slower")
            low, high = ((end - 1) * 100 for end in row["interval"])
            colour = V1 if alarm else V2
            axes.plot([x, x], [low, high], color=colour, linewidth=2)
            axes.plot(x, (row["ratio"] - 1) * 100, "o", color=colour, markersize=4)
        axes.axhline(0, color="#777777", linewidth=1)
        axes.set_xticks([])
        axes.set_xlabel(f"{len(rows)} comparisons of a form with itself, in order")
        axes.set_ylabel("difference, %")
        return _svg(figure)
