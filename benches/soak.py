#!/usr/bin/env python3
"""Does the memory of a long session grow?

    benches/soak.py [--seconds 3600] [--bound-mib 8]

One process does what sessions do, round after round: machines, bulk calls, callers under failures, pickles, states,
traces out and in, a real trace under other settings, threads, interrupts, errors. After each round it notes its
resident memory. Exit 1 when the last quarter of the rounds needs more than the second quarter by more than the bound
(medians; the first quarter is warm-up).
"""

from __future__ import annotations

import argparse
import gc
import json
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bulkpages as bp
from bulkpages import callers, what_if
from bulkpages.formats import trace

ROOT = Path(__file__).resolve().parents[1]
TRACE = ROOT / "tests" / "trace" / "kmem-trace.txt.gz"
STATES = ROOT / "tests" / "trace" / "kmem-states.json.gz"


def allocations(round_: int) -> None:
    m = bp.Machine("256MiB", cpus=4)
    array = bp.PageArray(256)
    for i in range(200):
        for api in ("v1", "v2"):
            m.alloc_pages_bulk(bp.GFP_KERNEL, array, 1 + (i * 7 + round_) % 256, api=api, cpu=i % 4)
            m.free_bulk(array, cpu=(i + 1) % 4)
    for order, page in [(order, m.alloc_pages(bp.GFP_KERNEL, order)) for order in range(11)]:
        if page is not None:
            m.free_pages(page, order)
    m.audit()
    assert bp.Machine.from_snapshot(m.snapshot()).snapshot() == m.snapshot()
    again = pickle.loads(pickle.dumps(m))
    assert again == m


def every_caller(_: int) -> None:
    assert callers.failure_sweep(largest=20, pairs_up_to=4).runs > 0
    assert callers.misuse_score(["svc"], largest=20).scores


def threads(round_: int) -> None:
    m = bp.Machine("256MiB", cpus=4, threads=True)
    assert m.run(4, "default", ops=3000, seed=round_).ok
    m.audit()


def interrupts(_: int) -> None:
    assert bp.explore("up:drain").ok
    assert not bp.explore("up-before-fix:drain").ok


def traces(_: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        m = bp.Machine("128MiB")
        with m.trace() as kept:
            array = bp.PageArray(64)
            m.alloc_pages_bulk(bp.GFP_KERNEL, array, api="v2")
            m.free_bulk(array)
        path = Path(folder) / "trace.txt"
        path.write_text(kept[0].ftrace(), encoding="ascii")
        assert list(trace.read_events(path)) == list(kept[0].events())


def real_trace(_: int) -> None:
    what_if.what_if(TRACE, STATES, [what_if.Setting()])


def refusals(_: int) -> None:
    m = bp.Machine("64MiB")
    for call in (
        lambda: m.alloc_pages(bp.GFP_KERNEL, 99),
        lambda: m.free_pages(1),
        lambda: bp.Machine.from_snapshot({"zones": []}),
        lambda: m.alloc_pages_bulk(-1, bp.PageArray(4), api="v1"),
    ):
        try:
            call()
        except (bp.BulkpagesError, TypeError):
            continue
        raise AssertionError("was not refused")


WORK: list[Callable[[int], None]] = [allocations, every_caller, threads, interrupts, traces, real_trace, refusals]


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--bound-mib", type=float, default=8)
    parser.add_argument("--json", type=Path, help="write all samples here")
    options = parser.parse_args()
    began, samples = time.monotonic(), []
    while time.monotonic() - began < options.seconds or len(samples) < 8:
        for work in WORK:
            work(len(samples))
        gc.collect()
        samples.append((round(time.monotonic() - began, 1), resident_kib()))
        if len(samples) & (len(samples) - 1) == 0:
            print(f"{samples[-1][0]:8.0f} s  round {len(samples):6}  {samples[-1][1] / 1024:8.1f} MiB", flush=True)
    if options.json:
        options.json.write_text(json.dumps(samples))
    quarter = len(samples) // 4
    mib = [kib / 1024 for _, kib in samples]
    second, last = statistics.median(mib[quarter : 2 * quarter]), statistics.median(mib[-quarter:])
    grown = last - second
    print(
        f"{len(samples)} rounds in {samples[-1][0]:.0f} s: {second:.1f} MiB in the second quarter, "
        f"{last:.1f} MiB in the last: {grown:+.1f} MiB, bound {options.bound_mib:g} MiB"
    )
    return int(grown > options.bound_mib)


if __name__ == "__main__":
    sys.exit(main())
