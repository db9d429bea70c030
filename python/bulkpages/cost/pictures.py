"""How far the model is off, as a picture."""

from __future__ import annotations

from pathlib import Path

from bulkpages.cost.emulate import CONDITIONS
from bulkpages.cost.fit import Fitted
from bulkpages.files import save_figure

__all__ = ["draw_errors"]

# Colours that are told apart by people who see few of them, light and dark.
COLOURS = dict(zip(CONDITIONS, ("#0072b2", "#009e73", "#d55e00"), strict=True))
MARKS = dict(zip(CONDITIONS, "os^", strict=True))


def draw_errors(found: Fitted, path: str | Path) -> None:
    """Draws each measured fill: its instructions, and the error of a prediction that never saw its array.

    Args:
        found: A fit.
        path: Where to; the ending says the format.
    """
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "bulkpages", "font.size": 9}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for condition in CONDITIONS:
            mine = [i for i, o in enumerate(found.observations) if o.row["condition"] == condition]
            axes.plot(
                [found.observations[i].instructions for i in mine],
                [100 * found.errors[i][1] for i in mine],
                MARKS[condition],
                color=COLOURS[condition],
                markersize=3.5,
                alpha=0.6,
                label=condition,
            )
        axes.axhline(0, color="gray", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=1)
        ticks = [-50, -10, -5, -1, 0, 1, 5, 10, 50]
        axes.set_yticks(ticks, [str(t) for t in ticks])
        axes.set_xlabel("instructions of a fill in the kernel")
        axes.set_ylabel("error of the prediction, %")
        axes.legend(frameon=False)
        save_figure(figure, path, dpi=150)
