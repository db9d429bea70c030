"""The pictures of the report, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bulkpages.compare.results import hole_rows, main_rows

__all__ = ["forest_plot", "growth_plot", "hole_plot", "null_plot", "ratio_plot", "size_plot", "styled", "window_plot"]

# Colours that can be told apart in light, in dark and by colour-blind readers.
V1, V2, KERNEL = "#d55e00", "#0072b2", "#7f7f7f"
NAMES = {"base": "v1", "form": "v2"}
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


def styled(draw: Callable[[], Figure]) -> str:
    """A figure that somebody else draws, readable in light and in dark."""
    with mpl.rc_context(STYLE):
        return _svg(draw())


def ratio_plot(results: dict[str, Any]) -> str:
    """The difference of each workload with its interval, and the kernel's beside it."""
    rows = main_rows(results)[::-1]
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 0.3 * len(rows) + 1)
        axes.margins(y=0.01)
        kernel_label: str | None = "real kernel's own cycles"
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
                    label=kernel_label,
                )
                kernel_label = None
        effect = results["method"]["effect"] * 100
        axes.axvspan(-effect, effect, color="#999999", alpha=0.25, linewidth=0)
        axes.axvline(0, color="#777777", linewidth=1)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_xlabel("v2 against v1, % (left of 0: v2 is faster; grey band: effect of interest)")
        axes.legend(frameon=False, labelcolor="#777777", loc="upper left", bbox_to_anchor=(1, 1))
        return _svg(figure)


def _with_interval(axes: Axes, x: list[Any], rows: list[dict[str, Any]], form: str, colour: str) -> None:
    costs = [row["cost"][form] for row in rows]
    y = [cost["counts"] for cost in costs]
    below = [max(0.0, cost["counts"] - cost["interval_counts"][0]) for cost in costs]
    above = [max(0.0, cost["interval_counts"][1] - cost["counts"]) for cost in costs]
    axes.errorbar(x, y, yerr=[below, above], fmt="o-", color=colour, capsize=3, label=f"emulator {NAMES[form]}")


def hole_plot(results: dict[str, Any]) -> str | None:
    """Cost per page against the share of holes in an array of 256 slots, with the lines of break-even."""
    pairs = hole_rows(results)
    if len(pairs) < 2:
        return None
    rows = [row for _, row in pairs]
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 3.6)
        shares = [share * 100 for share, _ in pairs]
        for form, colour in (("base", V1), ("form", V2)):
            _with_interval(axes, shares, rows, form, colour)
            known = [(s * 100, row["kernel"][form]["cycles"]) for s, row in pairs if row["kernel"][form]]
            if known:
                axes.plot(
                    *zip(*known, strict=True), "D:", color=colour, markerfacecolor="none", label=f"kernel {NAMES[form]}"
                )
        for who, style in (("emulator", "-"), ("kernel", ":")):
            if even := results["break_even"][who]:
                axes.axvline(even * 100, color="#777777", linestyle=style, linewidth=1, label=f"break-even, {who}")
        # Where callers work: the share of their slots that is NULL.
        points = {
            row["cell"]: 100 * row["holes"] / row["nr_pages"]
            for row in main_rows(results)
            if row["filler"] not in (None, "core") and row["conditions"] == "as recorded" and row["holes"]
        }
        # Shares along the axis, heights as parts of the picture.
        place = axes.get_xaxis_transform()
        groups: list[list[str]] = []
        for name in sorted(points, key=points.__getitem__):
            # Neighbours that a picture cannot tell apart share a label.
            if groups and points[name] < 1.2 * points[groups[-1][0]]:
                groups[-1].append(name)
            else:
                groups.append([name])
        for callers in groups:
            share = points[callers[-1]]
            label = ", ".join(callers) if len(callers) < 3 else f"{callers[0]} and {len(callers) - 1} more"
            axes.plot(share, 0.02, "^", color="#009e73", transform=place, clip_on=False)
            axes.text(
                share, 0.07, label, transform=place, rotation=90, fontsize=7, ha="center", va="bottom", color="#009e73"
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(shares, [f"{share:.3g}" for share in shares])
        axes.minorticks_off()
        axes.set_xlabel(
            "slots that are holes, % (lines: 256 slots, v2 compacts first, at 100 v1 clears first; triangles: callers)"
        )
        axes.set_ylabel("cycles per page, allocation alone")
        axes.legend(frameon=False, labelcolor="#777777", loc="upper left", bbox_to_anchor=(1.02, 1))
        return _svg(figure)


def size_plot(results: dict[str, Any]) -> str | None:
    """Cost per page against the size of an all-NULL array."""
    rows = [row for row in main_rows(results) if row["filler"] is None and row["nr_pages"] and not row["hole_period"]]
    if len(rows) < 2:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 3.6)
        sizes = [row["nr_pages"] for row in rows]
        for form, colour in (("base", V1), ("form", V2)):
            _with_interval(axes, sizes, rows, form, colour)
            known = [(row["nr_pages"], row["kernel"][form]["cycles"]) for row in rows if row["kernel"][form]]
            if known:
                axes.plot(
                    *zip(*known, strict=True), "D:", color=colour, markerfacecolor="none", label=f"kernel {NAMES[form]}"
                )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlabel("slots of the array, all NULL")
        axes.set_ylabel("cycles per page, allocation alone")
        axes.legend(frameon=False, labelcolor="#777777", loc="upper left", bbox_to_anchor=(1.02, 1))
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


def window_plot(results: dict[str, Any]) -> str | None:
    """Clock counts under the per-CPU lock and with interrupts off, of svc_alloc_arg() by share of holes."""
    rows = results["windows"]
    if not rows:
        return None
    with mpl.rc_context(STYLE):
        figure, grid = plt.subplots(1, 3, figsize=(10, 3.4), sharex=True, sharey=True)
        panels: tuple[tuple[str, bool, Callable[[dict[str, Any]], dict[str, float]]], ...] = (
            ("per-CPU lock, lists warm", False, lambda row: row["pcp"]),
            ("irqs off, UP, lists warm", False, lambda row: row["irq_off"]["UP"]),
            ("irqs off, SMP, lists cold", True, lambda row: row["irq_off"]["SMP"]),
        )
        for axes, (title, cold, pick) in zip(grid, panels, strict=True):
            axes.spines[["top", "right"]].set_visible(False)
            for form, colour in (("before", V1), ("after", V2), ("tracked", "#009e73")):
                chosen = [row for row in rows if row["form"] == form and row["cold"] == cold]
                x = [row["share"] * 100 for row in chosen]
                middle = [pick(row)["p50"] for row in chosen]
                axes.plot(x, middle, "o-", color=colour, markersize=4, label=form)
                low, high = ([pick(row)[end] for row in chosen] for end in ("p5", "p95"))
                axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.set_title(title, fontsize=10, color="#777777")
            axes.set_xscale("log")
            axes.set_yscale("symlog", linthresh=100)
            axes.set_xlabel("holes, % of 259")
        grid[0].set_ylabel("clock counts in a fill")
        grid[0].legend(frameon=False, labelcolor="#777777")
        return _svg(figure)


def contention_plot(results: dict[str, Any]) -> str | None:
    """Share of trylocks that v1 and v2 lose to drains from another CPU, and calls of a fill, by drains a second."""
    rows = results.get("contention")
    if not rows:
        return None
    arrays = sorted({(row["slots"], row["hole_period"]) for row in rows})
    with mpl.rc_context(STYLE):
        figure, grid = plt.subplots(1, 2, figsize=(10, 3.2))
        for axes, what, label in zip(
            grid, ("lost", "calls_per_fill"), ("trylocks lost, %", "bulk calls for a fill"), strict=True
        ):
            axes.spines[["top", "right"]].set_visible(False)
            for (slots, period), style in zip(arrays, ("o-", "s--"), strict=False):
                chosen = [r for r in rows if (r["slots"], r["hole_period"]) == (slots, period)]
                holes = f", every {period}th NULL" if period else " NULL"
                for arm, colour in (("v1", V1), ("v2", V2)):
                    x = [max(row["drains"], 1) for row in chosen]
                    y = [row["arms"][arm][what] * (100 if what == "lost" else 1) for row in chosen]
                    axes.plot(x, y, style, color=colour, markersize=4, label=f"{arm}, {slots} slots{holes}")
                    if what == "lost":
                        low, high = ([100 * row["arms"][arm]["lost_range"][i] for row in chosen] for i in (0, 1))
                        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.set_xscale("symlog", linthresh=100)
            axes.set_xlabel("drains of the CPU's lists a second")
            axes.set_ylabel(label)
        grid[0].legend(frameon=False, labelcolor="#777777", fontsize=8)
        return _svg(figure)


def growth_plot(results: dict[str, Any]) -> str | None:
    """Slot accesses of filling an empty array against its size; exact."""
    rows = [row for row in results["growth"] if row["filler"] == "svc_alloc_arg"]
    if not rows:
        return None
    colours = {"before": V1, "after": V2, "tracked": "#009e73", "v3": "#cc79a7"}
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 3.2)
        for row in rows:
            axes.plot(
                row["sizes"],
                row["slot_work"],
                "o--" if row["page_owner"] else "o-",
                color=colours[row["form"]],
                markersize=4,
                label=f"{row['form']}{', page owner' if row['page_owner'] else ''}: slope {row['slope']:.2f}",
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(row["sizes"], [str(size) for size in row["sizes"]])
        axes.set_xlabel("slots, all NULL (svc_alloc_arg)")
        axes.set_ylabel("slot tests, writes, clearings")
        axes.legend(frameon=False, labelcolor="#777777", ncols=2, fontsize=8)
        return _svg(figure)


def forest_plot(merged: dict[str, Any]) -> str:
    """Each workload's ratio on every machine, and the summary."""
    rows = merged["rows"][::-1]
    with mpl.rc_context(STYLE):
        figure, axes = _axes(8, 0.55 * len(rows) + 1.2)
        for y, row in enumerate(rows):
            for i, study in enumerate(row["studies"]):
                at = y + 0.15 + 0.5 * i / len(row["studies"])
                axes.plot([(end - 1) * 100 for end in study["interval"]], [at, at], color=KERNEL, linewidth=1)
                axes.plot((study["ratio"] - 1) * 100, at, "o", color=KERNEL, markersize=4)
            axes.plot([(end - 1) * 100 for end in row["interval"]], [y, y], color=V2, linewidth=2)
            axes.plot((row["ratio"] - 1) * 100, y, "D", color=V2, markersize=6)
        axes.axvline(0, color="#777777", linewidth=1)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_xlabel("difference from the first form, %")
        return _svg(figure)
