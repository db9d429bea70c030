"""The failure sweep and the caller audit as pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkpages.files import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bulkpages.callers.audit import Audit
    from bulkpages.callers.sweep import Sweep

__all__ = ["audit_figure", "sweep_figure", "write_audit_picture", "write_sweep_picture"]

OUTCOMES = {"filled": "#2a9d8f", "failed": "#e9c46a", "stopped": "#8ab17d", "endless": "#e76f51"}


def _outcome(ret: str) -> str:
    if ret in {"0", "true"}:
        return "filled"
    return {"endless": "endless", "false": "stopped"}.get(ret, "failed")


def sweep_figure(sweep: Sweep) -> Figure:
    """Two panels: outcomes of every caller and form by branch, and what differs between before and after."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = [row for row in sweep.rows if len(row["stops"]) == 1]
    lines = list(dict.fromkeys((row["caller"], row["form"]) for row in rows))
    columns = list(dict.fromkeys((row["stops"][0][0], row["stops"][0][1]) for row in rows))
    counts: dict[tuple[Any, Any], Counter[str]] = {}
    for row in rows:
        cell = ((row["caller"], row["form"]), (row["stops"][0][0], row["stops"][0][1]))
        counts.setdefault(cell, Counter()).update(_outcome(ret) for ret in row["ret"])

    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(11, 0.32 * len(lines) + 5.2), layout="constrained")
        top, bottom = figure.subplots(2, 1, height_ratios=[0.32 * len(lines) + 1.2, 3])
        for y, line in enumerate(lines):
            for x, column in enumerate(columns):
                tally = counts.get((line, column))
                if not tally:
                    continue
                left, total = x - 0.46, sum(tally.values())
                for name, colour in OUTCOMES.items():
                    width = 0.92 * tally[name] / total
                    top.barh(y, width, left=left, height=0.8, color=colour)
                    left += width
        top.set_yticks(range(len(lines)), [f"{caller}  {form}" for caller, form in lines])
        top.set_xticks(range(len(columns)), [f"{b}\n{lasting}" for b, lasting in columns], rotation=60, ha="right")
        top.set_xlim(-0.6, len(columns) - 0.4)
        top.invert_yaxis()
        top.set_title("Outcome of every run in which one step fails, over all inputs and indices")
        top.legend(
            handles=[mpl.patches.Patch(color=c, label=n) for n, c in OUTCOMES.items()],
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
        )
        for spine in top.spines.values():
            spine.set_visible(False)

        differing = [d for d in sweep.differences() if d["differ"]]
        names = [f"{d['caller']}: {d['column'].replace('_', ' ')}" for d in differing]
        bottom.barh(range(len(names)), [100 * d["differ"] / d["runs"] for d in differing], color="#577590", height=0.7)
        bottom.set_yticks(range(len(names)), names)
        bottom.invert_yaxis()
        bottom.set_xlabel("% of runs that differ from before to after, under the same failure")
        for side in ("top", "right"):
            bottom.spines[side].set_visible(False)
    return figure


def write_sweep_picture(sweep: Sweep, path: str | Path) -> None:
    """Writes the picture; the ending of the path says in which format (.svg, .png, .pdf)."""
    save_figure(sweep_figure(sweep), path, dpi=120)


#: What a caller makes of a bulk call that is short for no shortage.
AUDIT = {"unharmed": "#e9ecef", "retries": "#2a9d8f", "short": "#e9c46a", "waits": "#f4a261", "fails": "#e76f51"}


def audit_figure(audit: Audit) -> Figure:
    """A square for each caller and cause."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    callers = audit.callers()
    causes = list(dict.fromkeys(row["cause"] for row in audit.rows))
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(7.5, 0.27 * len(callers) + 1.4), layout="constrained")
        axes = figure.subplots()
        for row in audit.rows:
            x, y = causes.index(row["cause"]), callers.index(row["caller"])
            axes.barh(y, 0.94, left=x - 0.47, height=0.88, color=AUDIT[row["outcome"]])
            axes.text(x, y, f"{row['outcome']}\u2002{row['filled']}/{row['wanted']}", ha="center", va="center")
        axes.set_xticks(range(len(causes)), causes)
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(callers)), callers)
        axes.invert_yaxis()
        axes.set_xlim(-0.5, len(causes) - 0.5)
        axes.tick_params(length=0)
        for side in ("top", "right", "left", "bottom"):
            axes.spines[side].set_visible(False)
        figure.legend(
            handles=[Patch(color=colour, label=name) for name, colour in AUDIT.items()],
            loc="outside lower center",
            ncols=len(AUDIT),
            frameon=False,
        )
    return figure


def write_audit_picture(audit: Audit, path: str | Path) -> None:
    """Writes the picture; the ending of the path says in which format (.svg, .png, .pdf)."""
    save_figure(audit_figure(audit), path, dpi=120)
