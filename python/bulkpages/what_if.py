"""Repeats the requests of a trace on machines with other settings."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkpages._core import TraceRerun
from bulkpages.errors import InvalidArgument
from bulkpages.files import save_figure
from bulkpages.formats.trace.events import chunks
from bulkpages.formats.trace.following import start
from bulkpages.kinds import each, need

__all__ = ["Setting", "Settled", "parse_setting", "plot", "what_if"]

ROWS = (
    ("requests", "single requests"),
    ("failures", "of these, failed"),
    ("bulk_calls", "bulk calls (inferred)"),
    ("bulk_pages", "pages they asked for"),
    ("bulk_short", "not had at the first call"),
    ("bulk_single", "times by the single path"),
    ("slot_tests", "slot tests"),
    ("slot_writes", "slot writes"),
    ("refills", "refills"),
    ("refilled_pages", "entries refilled"),
    ("drained_pages", "pages drained"),
    ("zone_lock_holds", "zone-lock holds"),
    ("fallbacks", "fallbacks to another type"),
    ("kswapd_wakes", "kswapd woken"),
    ("direct_reclaims", "direct reclaims"),
    ("free", "free pages at the end"),
    ("free_order_10", "of these, in blocks of order 10"),
    ("skipped_frees", "frees left out"),
)


@dataclass(frozen=True)
class Setting:
    """What to change; None keeps the trace's own setting.

    Attributes:
        refill: Smallest refill of a per-CPU list, in pages (the kernel's `batch`), 1 to 1024.
        high_fraction: `percpu_pagelist_high_fraction`, 8 or more. It fixes the limits of the lists.
        watermarks: Factor for MIN, LOW and HIGH of every zone, above 0.
        pcp: Whether per-CPU lists are used. Without them, every page goes directly to and from the buddy lists.
        api: "v1" or "v2".
    """

    refill: int | None = None
    high_fraction: int | None = None
    watermarks: float | None = None
    pcp: bool = True
    api: str = "v1"

    def __str__(self) -> str:
        words = [
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name in ("refill", "high_fraction", "watermarks")
            if (value := getattr(self, name)) is not None
        ]
        return ",".join([*words, *([] if self.pcp else ["pcp=off"]), f"api={self.api}"])


def parse_setting(text: str) -> Setting:
    """Parses a setting such as "refill=63,high_fraction=8,api=v2".

    Raises:
        InvalidArgument: An unknown name, or a value outside its limits.
    """
    need("a setting", text, str)
    values: dict[str, Any] = {}
    for word in filter(None, text.split(",")):
        name, _, value = word.partition("=")
        name = name.strip()
        try:
            if name in ("refill", "high_fraction"):
                values[name] = int(value)
                low, high = (1, 1024) if name == "refill" else (8, 1 << 20)
                if not low <= values[name] <= high:
                    raise InvalidArgument(f"{name} {value} is outside {low} to {high}")
            elif name == "watermarks":
                values[name] = float(value)
                if not (math.isfinite(values[name]) and 0 < values[name] <= 1000):
                    raise InvalidArgument(f"watermarks {value} is outside 0 to 1000 (a factor)")
            elif name == "pcp" and value in ("on", "off"):
                values[name] = value == "on"
            elif name == "api" and value in ("v1", "v2"):
                values[name] = value
            else:
                known = "refill=N, high_fraction=N, watermarks=FACTOR, pcp=on|off, api=v1|v2"
                raise InvalidArgument(f"{word!r} is not a setting: {known}")
        except ValueError as error:
            if isinstance(error, InvalidArgument):
                raise
            raise InvalidArgument(f"{name} {value!r} is not a number") from error
    return Setting(**values)


def apply(setting: Setting, state: Mapping[str, Any]) -> dict[str, Any]:
    """The snapshot with the setting in force."""
    changed = copy.deepcopy(dict(state))
    if any("free_factor" in pcp for zone in changed["zones"] for pcp in zone["pcp"].values()):
        raise InvalidArgument("what-if settings are for kernels whose per-CPU limits are tuned: 6.12 and 7.3, not 6.1")
    nodes = list(changed["cpu_node"].values())
    for zone in changed["zones"]:
        if setting.watermarks is not None:
            for mark in ("min", "low", "high", "promo"):
                zone[mark] = int(zone[mark] * setting.watermarks)
        cpus = nodes.count(zone["nid"]) or len(nodes)
        for pcp in zone["pcp"].values():
            if setting.refill is not None:
                pcp["batch"] = setting.refill
            least = 4 * pcp["batch"]
            if not setting.pcp:
                pcp["batch"], pcp["high"], pcp["high_min"], pcp["high_max"] = 1, 0, 0, 0
            elif setting.high_fraction is not None:
                limit = max(zone["managed"] // setting.high_fraction // cpus, least)
                pcp["high_min"] = pcp["high_max"] = limit
            elif setting.refill is not None or setting.watermarks is not None:
                pcp["high_min"] = max((zone["low"] + zone["boost"]) // cpus, least)
                pcp["high_max"] = max(zone["managed"] // 8 // cpus, least)
    return changed


@dataclass(frozen=True)
class Settled:
    """What the trace's requests cost with one setting; `costs` has the names of `ROWS`."""

    setting: Setting
    costs: dict[str, int]


def what_if(
    trace: str | Path,
    states: Mapping[str, Any] | str | Path,
    settings: Sequence[Setting],
    *,
    marked: bool | None = None,
) -> list[Settled]:
    """Repeats the requests of a trace, including inferred bulk calls, once for each setting.

    The machine chooses the frames, so they are not the trace's. Reclaim leaves no line in a trace and is not repeated.

    Args:
        trace: As `bulkpages.formats.trace.follow` takes it.
        states: Likewise.
        settings: The settings; `Setting()` is the trace's own.
        marked: As in `follow`.
    """
    settings = list(each("a setting", settings, Setting))
    follower, before, _ = start(trace, states, learn=True, marked=marked)
    follower.keep_requests()
    reruns = [TraceRerun(json.dumps(apply(setting, before)), setting.api) for setting in settings]
    for chunk in chunks(trace):
        follower.feed(chunk)
        requests = follower.requests()
        for rerun in reruns:
            rerun.run(requests)
    follower.finish()
    return [Settled(s, json.loads(rerun.costs())) for s, rerun in zip(settings, reruns, strict=True)]


def plot(settled: Sequence[Settled], path: str | Path) -> None:
    """Plots what differs between settings as bars; the extension of `path` sets the format."""
    settled = list(each("what is drawn", settled, Settled))
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [(key, name) for key, name in ROWS if len({s.costs[key] for s in settled}) > 1] or [ROWS[8], ROWS[11]]
    figure, axes = pyplot.subplots(
        len(rows), 1, figsize=(8, 1 + len(rows) * (0.5 + 0.22 * len(settled))), squeeze=False
    )
    for axis, (key, name) in zip(axes[:, 0], rows, strict=True):
        axis.barh([str(s.setting) for s in settled], [s.costs[key] for s in settled], color="tab:blue")
        axis.set_title(name, fontsize=9, loc="left")
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
    figure.tight_layout()
    try:
        save_figure(figure, path)
    finally:
        pyplot.close(figure)
