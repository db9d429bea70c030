"""An array before, during and after a fill: every test and every store of a slot, by v1 and by v2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import bulkpages as bp
from pictures.theme import Theme

SHAPE = "x.x..x.xx.x....x"


@dataclass
class Fill:
    """One run of a caller on `SHAPE`.

    Tests and stores are (step, slot, whether a page was found or stored); `inside` are the steps inside the bulk call.
    """

    before: list[int]
    after: list[int]
    calls: Sequence[tuple[int, int]]
    base: int
    tests: list[tuple[int, int, bool]] = field(default_factory=list)
    stores: list[tuple[int, int, bool]] = field(default_factory=list)
    inside: tuple[int, int] = (0, 0)


def run(form: str) -> Fill:
    """`svc_alloc_arg()` in one of its forms: "before" hands the array to v1, "after" compacts and calls v2."""
    m = bp.Machine("128MiB", cpus=1)
    array = bp.callers.fill_shape(m, SHAPE)
    before = list(array)
    result = bp.callers.svc_alloc_arg(m, array, len(SHAPE), form=form, explain=True)
    assert result.ret is True
    fill = Fill(before, list(array), result.bulk_calls, result.bases[0])
    step = base = 0
    begin = end = 0
    for event in result.events:
        kind = event["event"]
        if kind == "bulk_call":
            base, begin = event["base"], step
        elif kind == "bulk_return":
            base, end = 0, step
        elif kind in ("slot_test", "slot_write"):
            _note(fill, event, step, base)
            step += 1
    fill.inside = (begin, end)
    assert len(fill.tests) == result.slot_tests
    assert len(fill.stores) == result.slot_writes
    m.free_bulk(array)
    m.audit()
    return fill


def _note(fill: Fill, event: Mapping[str, Any], step: int, base: int) -> None:
    slot = base + event["index"]
    if event["event"] == "slot_test":
        fill.tests.append((step, slot, event["populated"]))
    else:
        fill.stores.append((step, slot, bool(event["page"])))


def _cells(axes: Axes, theme: Theme, y: float, pages: list[int], origin: list[int]) -> None:
    """A row of slots; each page has the number of the slot that it began in."""
    known = {page: i for i, page in enumerate(origin) if page}
    for x, page in enumerate(pages):
        moved = page in known and known[page] != x
        colour = "none" if not page else theme.new if page not in known else theme.moved if moved else theme.page
        axes.add_patch(
            Rectangle(
                (x - 0.45, y - 0.5),
                0.9,
                1.0,
                facecolor=colour,
                edgecolor=theme.text if page else theme.faint,
                linewidth=0.8,
            )
        )
        if page:
            text = str(known[page]) if page in known else "new"
            axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color="white")


def _draw(theme: Theme, form: str, title: str) -> Figure:
    fill = run(form)
    steps = len(fill.tests) + len(fill.stores)
    figure = Figure(figsize=(8, 1.9 + 0.098 * steps))
    axes = figure.subplots()
    top, scale = 1.6, 0.3
    bottom = top + scale * steps + 0.9
    axes.axhspan(
        top + scale * (fill.inside[0] - 0.5),
        top + scale * (fill.inside[1] - 0.5),
        color=theme.faint,
        alpha=0.3,
        linewidth=0,
    )
    for slot in range(len(SHAPE)):
        axes.plot([slot, slot], [0.5, bottom - 0.5], color=theme.faint, linewidth=0.5, zorder=0)
    for step, slot, found in fill.tests:
        axes.plot(slot, top + scale * step, "o", markersize=4, markeredgecolor=theme.text, markeredgewidth=0.8,
                  markerfacecolor=theme.text if found else "none")  # fmt: skip
    for step, slot, page in fill.stores:
        axes.plot(slot, top + scale * step, "s", markersize=5, color=theme.new if page else theme.moved)
    _cells(axes, theme, 0, fill.before, fill.before)
    _cells(axes, theme, bottom, fill.after, fill.before)
    middle = top + scale * sum(fill.inside) / 2
    asked, got = fill.calls[0]
    where = f"array + {fill.base}" if fill.base else "array"
    axes.text(
        len(SHAPE) - 0.3, middle, f"alloc_pages_bulk(\n  {asked}, {where})\nreturns {got}", va="center", fontsize=8
    )
    if fill.inside[0]:
        axes.text(len(SHAPE) - 0.3, top + scale * fill.inside[0] / 2, "the caller\ncompacts", va="center", fontsize=8)
    axes.text(-0.75, 0, "before", ha="right", va="center")
    axes.text(-0.75, bottom, "after", ha="right", va="center")
    handles = [
        axes.plot([], [], "o", markersize=4, color=theme.text, label="tested: a page")[0],
        axes.plot([], [], "o", markersize=4, markeredgecolor=theme.text, markerfacecolor="none", label="tested: NULL")[
            0
        ],
        axes.plot([], [], "s", markersize=5, color=theme.new, label="stored: a page")[0],
    ]
    if not all(page for _, _, page in fill.stores):
        handles.append(axes.plot([], [], "s", markersize=5, color=theme.moved, label="stored: NULL")[0])
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=4, fontsize=8)
    axes.set_xlim(-2.3, len(SHAPE) + 3.4)
    axes.set_ylim(bottom + 0.7, -0.7)
    axes.set_title(f"{title}: {len(fill.tests)} slot tests, {len(fill.stores)} slot stores", pad=24)
    axes.axis("off")
    return figure


def draw_v1(theme: Theme) -> Figure:
    """The fill by v1."""
    return _draw(theme, "before", "v1")


def draw_v2(theme: Theme) -> Figure:
    """The fill by v2, with the compaction in front of it."""
    return _draw(theme, "after", "v2 after compaction")
