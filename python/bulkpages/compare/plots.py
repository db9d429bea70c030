"""The pictures of the report, as SVG text."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bulkpages.compare.results import hole_rows

__all__ = ["hole_plot", "null_plot", "ratio_plot", "size_plot"]

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


def _with_interval(axes: Axes, x: list[Any], rows: list[dict[str, Any]], form: str, colour: str) -> None:
    y = [row[form]["counts"] for row in rows]
    below = [max(0.0, v - row[form]["interval_counts"][0]) for v, row in zip(y, rows, strict=True)]
    above = [max(0.0, row[form]["interval_counts"][1] - v) for v, row in zip(y, rows, strict=True)]
    axes.errorbar(x, y, yerr=[below, above], fmt="o-", color=colour, capsize=3, label=f"emulator {form}")


def hole_plot(results: dict[str, Any]) -> str | None:
    """Cost per page against the share of holes in an array of 256 slots, with the lines of break-even."""
    pairs = hole_rows(results)
    if len(pairs) < 2:
        return None
    rows = [row for _, row in pairs]
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 3.6)
        shares = [share * 100 for share, _ in pairs]
        for form, colour in (("v1", V1), ("v2", V2)):
            _with_interval(axes, shares, rows, form, colour)
            known = [(s * 100, row["kernel"][form]["cycles"]) for s, row in pairs if row["kernel"][form]]
            if known:
                axes.plot(*zip(*known, strict=True), "D:", color=colour, markerfacecolor="none", label=f"kernel {form}")
        for who, style in (("emulator", "-"), ("kernel", ":")):
            if even := results["break_even"][who]:
                axes.axvline(even * 100, color="#777777", linestyle=style, linewidth=1, label=f"break-even, {who}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(shares, [f"{share:.3g}" for share in shares])
        axes.minorticks_off()
        axes.set_xlabel("slots that are holes, % of 256 (v2 compacts first; at 100 v1 clears first)")
        axes.set_ylabel("cycles per page, allocation alone")
        axes.legend(frameon=False, labelcolor="#777777", ncols=2)
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
            _with_interval(axes, sizes, rows, form, colour)
            known = [(row["nr_pages"], row["kernel"][form]["cycles"]) for row in rows if row["kernel"][form]]
            if known:
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
            low, high = ((end - 1) * 100 for end in row["interval"])
            alarm = high < 0 or low > 0
            colour = V1 if alarm else V2
            axes.plot([x, x], [low, high], color=colour, linewidth=2)
            axes.plot(x, (row["ratio"] - 1) * 100, "o", color=colour, markersize=4)
        axes.axhline(0, color="#777777", linewidth=1)
        axes.set_xticks([])
        axes.set_xlabel(f"{len(rows)} comparisons of a form with itself, in order")
        axes.set_ylabel("difference, %")
        return _svg(figure)
