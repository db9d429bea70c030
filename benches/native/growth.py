"""How the emulator's cost grows with array size, holes, memory, nodes, CPUs and zones: a table and a picture.

    python benches/native/growth.py [--output DIR] [--rounds N] [--json]

Cycles of the emulator on this machine, never of a kernel. Cells of one axis are measured in turn, round after round;
shown is the median over rounds, and in the picture the range of the middle half.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from bulkpages.callers.text import table

import bulkpages as bp
from bulkpages import _core

APIS = ("single", "v1", "v2")
PAGES = 40_000


def measure(cells: list[tuple[Any, bp.Machine, int, int]], rounds: int) -> list[dict[str, Any]]:
    """Cycles per page, allocation alone, of (x, machine, slots, hole period) for each API, cells in turn."""
    found: dict[tuple[Any, str], list[float]] = {}
    for _ in range(rounds):
        for x, machine, slots, period in cells:
            fresh = -(-slots // period) if period else slots
            for api in APIS:
                pages, alloc, _ = _core.trial_bulk(machine, api, slots, period, max(1, PAGES // fresh))
                found.setdefault((x, api), []).append(alloc / pages)
    rows = []
    for (x, api), values in found.items():
        low, middle, high = statistics.quantiles(values, n=4)
        rows.append({"x": x, "api": api, "cycles": middle, "low": low, "high": high})
    return rows


def axes() -> dict[str, list[tuple[Any, bp.Machine, int, int]]]:
    """The cells of each axis."""
    plain = bp.Machine("1GiB", cpus=1)
    return {
        "slots of an empty array": [(n, plain, n, 0) for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)],
        "256 slots, every k-th a hole": [(k, plain, 256, k) for k in (1, 2, 4, 8, 16, 32, 64, 128)],
        "memory, GiB (64 slots)": [(g, bp.Machine(f"{g}GiB", cpus=1), 64, 0) for g in (1, 4, 16, 64, 256, 1024)],
        "nodes of 64 GiB (64 slots)": [(n, bp.Machine("64GiB", cpus=8, nodes=n), 64, 0) for n in (1, 2, 4, 8)],
        "CPUs of 64 GiB (64 slots)": [(c, bp.Machine("64GiB", cpus=c), 64, 0) for c in (1, 2, 8, 32, 64)],
        "zones (64 slots)": [
            (2, bp.Machine("1GiB", cpus=1), 64, 0),
            (3, bp.Machine("8GiB", cpus=1), 64, 0),
            (4, bp.Machine("8GiB", cpus=1, movablecore="2GiB"), 64, 0),
        ],
    }


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """One panel per axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    for panel, (axis, rows) in zip(figure.subplots(2, 3).flat, results.items(), strict=True):
        for api, colour in zip(APIS, ("#8d99ae", "#e76f51", "#2a9d8f"), strict=True):
            mine = [r for r in rows if r["api"] == api]
            x = [r["x"] for r in mine]
            panel.plot(x, [r["cycles"] for r in mine], "o-", ms=3, color=colour, label=api)
            panel.fill_between(x, [r["low"] for r in mine], [r["high"] for r in mine], color=colour, alpha=0.2)
        panel.set_xscale("log", base=2)
        panel.set_ylim(bottom=0)
        panel.set_xlabel(axis)
        panel.set_ylabel("cycles a page")
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.suptitle("Allocation alone, cycles of the emulator")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description="How the emulator's cost grows.")
    parser.add_argument("--output", type=Path, help="folder for growth.svg, growth.png, growth.json")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results = {axis: measure(cells, args.rounds) for axis, cells in axes().items()}
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "growth.json").write_text(json.dumps(results, indent=1))
        for ending in ("svg", "png"):
            draw(results, args.output / f"growth.{ending}")
    if args.json:
        print(json.dumps(results, indent=1))
        return
    for axis, rows in results.items():
        by_x: dict[Any, list[Any]] = {}
        for row in rows:
            by_x.setdefault(row["x"], [row["x"]]).append(round(row["cycles"], 1))
        print(table([axis, *APIS], list(by_x.values())), end="\n\n")


if __name__ == "__main__":
    main()
