"""Timelines of CPUs, locks and interrupts: drawn, and as traces that Perfetto opens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulkpages.files import save_figure, write_whole

__all__ = ["Bar", "draw", "write_perfetto"]

# Colour, height and name in the legend of each kind of bar, from the back to the front.
_KINDS = {
    "call": ("#c6dbef", 0.8, "call"),
    "interrupt": ("#fdae6b", 0.8, "interrupt"),
    "pcp": ("#2171b5", 0.5, "pcp->lock"),
    "zone": ("#cb181d", 0.3, "zone->lock"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that lasts.

    Attributes:
        row: The track: a CPU, or a depth of nesting.
        start: When it begins, in microseconds or steps.
        end: When it ends.
        kind: "call", "interrupt", "pcp" or "zone".
        name: What it is.
    """

    row: int
    start: float
    end: float
    kind: str
    name: str


def write_perfetto(path: str | Path, rows: Mapping[int, str], bars: Sequence[Bar]) -> None:
    """Writes a trace (JSON of the trace event format) with a track per row; a unit is shown as a microsecond."""
    events: list[dict[str, object]] = [
        {"ph": "M", "pid": 1, "tid": row, "name": "thread_name", "args": {"name": name}} for row, name in rows.items()
    ]
    events += [
        {
            "ph": "X",
            "pid": 1,
            "tid": bar.row,
            "ts": bar.start,
            "dur": bar.end - bar.start,
            "name": f"{bar.kind}->lock" if bar.kind in ("pcp", "zone") else bar.name,
            "cat": "lock" if bar.kind in ("pcp", "zone") else bar.kind,
            "args": {"what": bar.name},
        }
        for bar in bars
    ]
    write_whole(path, json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))


def draw(
    path: str | Path,
    rows: Mapping[int, str],
    bars: Sequence[Bar],
    *,
    unit: str,
    span: tuple[float, float],
    title: str | None = None,
) -> None:
    """Draws the bars within `span`: a row each, calls pale, locks dark."""
    import matplotlib.pyplot as plt

    start, end = span
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.5 * len(rows)), layout="constrained")
    for kind, (colour, height, name) in _KINDS.items():
        label: str | None = name
        for place, row in enumerate(rows):
            shown = [
                (bar.start, bar.end - bar.start)
                for bar in bars
                if bar.row == row and bar.kind == kind and start <= bar.end and bar.start <= end
            ]
            if shown:
                axes.broken_barh(shown, (place - height / 2, height), color=colour, label=label)
                label = None
    axes.set(yticks=range(len(rows)), yticklabels=list(rows.values()), xlabel=unit)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(start, end)
    if title:
        axes.set_title(title, loc="left", fontsize="medium", wrap=True)
    figure.legend(loc="outside lower right", ncols=len(_KINDS), frameon=False)
    try:
        save_figure(figure, path)
    finally:
        plt.close(figure)
