"""Prints every figure that has a bound, measured now, beside its bound.

    python benches/native/figures.py [--large] [--kernel COMMAND] [--json]

COMMAND prints rows of the real kernel's functions on this machine, in the shape of timings.json; it runs before and
after ours, and the medians are compared. Without it the kernel's rows are the stored ones, from another machine of that
kind. Run it with the environment that `make` sets up, from the root of the project. Exit 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bulkpages as bp
from bulkpages.formats.recording import read_recording

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = sorted((ROOT / "tests/conformance/recordings").glob("*.jsonl.gz"))
STORED = ROOT / "python/bulkpages/data/timings.json"


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["api"], row.get("nr_pages"), row.get("hole_period"), row.get("bench"))


def cycles(table: dict[str, Any]) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Cycles of allocation alone, and with frees, by row."""
    found = {}
    for row in table["bulk"]:
        alloc, both = row["alloc_cycles_per_page"], row["alloc_and_free_cycles_per_page"]
        found[key(row)] = (alloc["median"], both["median"])
    for row in table["page_pool"]:
        found[key(row)] = (row["cycles_per_op"]["median"],) * 2
    return found


def run_json(command: list[str]) -> Any:
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def native(large: bool) -> dict[str, float]:
    """The figures of the Rust side."""
    with tempfile.TemporaryDirectory() as folder:
        texts = []
        for recording in RECORDINGS:
            path = Path(folder) / recording.stem
            path.write_bytes(gzip.decompress(recording.read_bytes()))
            texts.append(str(path))
        command = [
            "cargo",
            "run",
            "--release",
            "--quiet",
            "--locked",
            "-p",
            "bulkpages-measure",
            "--example",
            "figures",
        ]
        found: dict[str, float] = run_json([*command, "--", *(["--large"] if large else []), *texts])
        return found


def per_call(call: Any, n: int, rounds: int = 15) -> float:
    """Median nanoseconds of a call, over rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        for _ in range(n):
            call()
        times.append((time.perf_counter_ns() - start) / n)
    return statistics.median(times)


def python_bulk_ns() -> float:
    """One call of `alloc_pages_bulk` with 64 slots from Python; the frees are not counted."""
    m = bp.Machine("512MiB", cpus=1)
    arrays = [bp.PageArray(64) for _ in range(500)]
    times = []
    for _ in range(30):
        start = time.perf_counter_ns()
        for a in arrays:
            m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v2")
        times.append((time.perf_counter_ns() - start) / len(arrays))
        for a in arrays:
            m.free_bulk(a)
    return statistics.median(times)


def python_replay_ops() -> float:
    """Recorded operations a second through `Machine.replay`, results included."""
    ops, took = 0, 0.0
    for path in RECORDINGS:
        recording = read_recording(path)
        machine = bp.Machine.from_snapshot(recording.before)
        start = time.perf_counter()
        machine.replay(recording.operations)
        took += time.perf_counter() - start
        ops += len(recording.operations)
    return ops / took


def main() -> int:
    parser = argparse.ArgumentParser(description="Prints every figure that has a bound, measured now.")
    parser.add_argument("--large", action="store_true", help="with a machine of 64 GiB, page by page")
    parser.add_argument("--kernel", help="command that prints the kernel's rows on this machine")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    bench = [sys.executable, "-m", "bulkpages", "bench", "core", "--json", "--runs", "7"]
    kernel_runs = []
    if args.kernel:
        kernel_runs.append(cycles(run_json(shlex.split(args.kernel))))
    ours = cycles(run_json(bench))
    if args.kernel:
        kernel_runs.append(cycles(run_json(shlex.split(args.kernel))))
    atomic = cycles(run_json([*bench, "--locks", "atomic"]))
    kernel_runs = kernel_runs or [cycles(json.loads(STORED.read_text()))]
    kernel = {k: tuple(statistics.median(run[k][i] for run in kernel_runs) for i in (0, 1)) for k in kernel_runs[0]}

    figures: list[tuple[str, float, str, float | None, bool]] = []

    def add(name: str, value: float, sign: str, bound: float | None) -> None:
        ok = bound is None or (value <= bound if sign == "<=" else value >= bound)
        figures.append((name, value, sign, bound, ok))

    for row, (alloc, both) in ours.items():
        if row not in kernel or row[1] == 1:
            continue
        name = row[3] or f"{row[1]} slots" + (f", every {row[2]} a hole" if row[2] else "")
        add(f"{row[0]} {name}: cycles against the kernel's", alloc / kernel[row][0], "<=", 1.0)
        if row[3] is None:
            add(f"{row[0]} {name}: with frees", both / kernel[row][1], "<=", 1.0)
    rust = native(args.large)
    exchange = rust["control_atomic_exchange_cycles"]
    add("control: an empty loop, cycles", rust["control_empty_loop_cycles"], "<=", None)
    add("control: an array store, cycles", rust["control_array_store_cycles"], "<=", None)
    add("control: an uncontended atomic exchange, cycles", exchange, "<=", None)
    add("real atomics: cycles that each lock adds", rust["atomic_cycles_per_lock"], "<=", exchange)
    add("counting every event, against plain", rust["counting_ratio"], "<=", 2.0)
    add("recording every event in a ring, against plain", rust["recording_ratio"], "<=", 2.0)
    add("1 TiB and 8 nodes: boot, ms", rust["terabyte_boot_ms"], "<=", 100)
    add("1 TiB and 8 nodes: resident, MiB", rust["terabyte_peak_mib"], "<=", 64)
    if "all_of_64_gib_ratio" in rust:
        add("64 GiB page by page, against 1 GiB", rust["all_of_64_gib_ratio"], "<=", 1.5)
    add("replay in Rust, million page operations a second", rust["replay_million_pages_per_s"], ">=", 10)
    add("Machine.replay, thousand recorded operations a second", python_replay_ops() / 1e3, ">=", 100)
    add("Machine.alloc_pages_bulk of 64 slots, microseconds", python_bulk_ns() / 1e3, "<=", 1.0)
    for n in (64, 256):
        for api in ("v1", "v2", "single"):
            row = (api, n, 0, None)
            add(f"{api} {n} slots with real atomics: cycles a page", atomic[row][0], "<=", None)

    if args.json:
        names = ("figure", "value", "sign", "bound", "holds")
        print(json.dumps([dict(zip(names, figure, strict=True)) for figure in figures], indent=1))
    else:
        for name, value, sign, bound, ok in figures:
            limit = "" if bound is None else f"{sign} {bound:g}"
            print(f"{name:<62}{value:>10.3g}  {limit:<10}{'' if ok else 'MISSED'}")
    return 0 if all(figure[4] for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
