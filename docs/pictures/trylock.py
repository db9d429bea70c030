"""The same request twice: with the per-CPU lock free, and with another CPU holding it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from matplotlib.figure import Figure

import bulkpages as bp
from pictures.theme import Theme

SLOTS = 8
LANES = ("bulk call", "per-CPU trylock", "list take", "zone lock", "single page", "slot stored", "return")


def run() -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """The events while a caller fills eight empty slots, by v2; in the second run a trylock never succeeds."""
    m = bp.Machine("128MiB", cpus=2)
    zone = m.zones[1]
    # The lists have pages: nothing but the lock differs.
    m.free_bulk(bp.callers.fill_shape(m, "x" * SLOTS))
    events = []
    for held in (False, True):
        array = bp.PageArray(SLOTS)
        with m.hold_pcp_lock(zone.nid, zone.idx, 0) if held else nullcontext():
            result = bp.callers.btrfs_alloc_page_array(m, array, form="after", explain=True)
        assert result.ret == 0
        m.free_bulk(array)
        events.append(result.events)
    m.audit()
    return events[0], events[1]


def _lane(event: Mapping[str, Any]) -> str | None:
    match event["event"]:
        case "bulk_call":
            return "bulk call"
        case "pcp_trylock":
            return "per-CPU trylock"
        case "list_take":
            return "list take"
        case "zone_lock":
            return "zone lock"
        case "mm_page_alloc":
            return "single page"
        case "slot_write":
            return "slot stored"
        case "bulk_return":
            return "return"
    return None


def draw(theme: Theme) -> Figure:
    """Two rolls: a row for each kind of step, from left to right in the order in which they happened."""
    figure = Figure(figsize=(8, 4.6))
    runs = run()
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, events, title in zip(panels, runs, ("Lock free", "Lock held by another CPU"), strict=True):
        steps = [(lane, e) for e in events if (lane := _lane(e)) is not None]
        for x, (lane, event) in enumerate(steps):
            colour = theme.new
            if lane == "per-CPU trylock":
                colour = theme.kinds[2] if event["locked"] else theme.bad
            elif lane in ("zone lock", "single page"):
                colour = theme.moved
            elif lane in ("bulk call", "return"):
                colour = theme.text
            axes.plot(x, LANES.index(lane), "s", color=colour, markersize=5.5, linestyle="none")
            if lane == "bulk call":
                axes.axvline(x - 0.5, color=theme.faint, linewidth=0.6, zorder=0)
            if lane in ("bulk call", "return"):
                text = event["nr_pages"] if lane == "bulk call" else event["ret"]
                axes.annotate(
                    str(text), (x, LANES.index(lane)), (0, 5), textcoords="offset points", ha="center", fontsize=7
                )
        calls = sum(e["event"] == "bulk_call" for e in events)
        locks = sum(e["event"] == "zone_lock" for e in events)
        axes.set_title(f"{title}: {calls} bulk call{'s' * (calls > 1)}, {locks} zone lock hold{'s' * (locks != 1)}")
        axes.set_yticks(range(len(LANES)), LANES)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0].set_ylim(len(LANES) - 0.4, -0.9)
    panels[1].set_xlabel("steps, in order (not time)")
    return figure
