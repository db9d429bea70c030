"""What recording costs: the steps of a caller, repeated from a recording, beside the same caller compiled.

    python benches/own.py

btrfs_alloc_page_array() is written once in Python (tests/own/test_ports.py) and once in Rust. Prints clock counts of a
fill, median of 200 trials each, interleaved; and what a single step costs.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import bulkpages as bp
from bulkpages import _core

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "own"))
from test_ports import btrfs

TRIALS, FILLS = 200, 300


def main() -> None:
    unit = "cycles" if _core.COUNTS_CYCLES else "ns"
    print(f"{'array':>16} {'form':>7} {'steps':>6} {'recorded':>9} {'compiled':>9}  {unit} a fill")
    for name, shape in [("16 NULL", "." * 16), ("64 full", "x" * 64), ("256, 128 holes", "x." * 128)]:
        for form in ("before", "after"):
            m = bp.Machine("64MiB", cpus=1)
            stream = btrfs.record(shape, form=form, machine=m)
            recorded, compiled = [], []
            for _ in range(TRIALS):
                recorded.append(stream.trial(m, FILLS)[1] / FILLS)
                compiled.append(_core.trial_fill(m, "btrfs_alloc_page_array", form, shape, FILLS)[1] / FILLS)
            a, b = statistics.median(recorded), statistics.median(compiled)
            print(f"{name:>16} {form:>7} {len(stream):6} {a:9.1f} {b:9.1f}")
    m = bp.Machine("64MiB", cpus=1)
    cost = {}
    for n in (0, 256):
        stream = _core.Stream("." * 256, [], [("null", 0, i, 0, 0, 0) for i in range(n)])
        cost[n] = statistics.median(stream.trial(m, FILLS)[1] / FILLS for _ in range(TRIALS))
    print(f"a store of one slot as a step of its own: {(cost[256] - cost[0]) / 256:.1f} {unit}")
    start = time.perf_counter()
    runs = btrfs.sweep(largest=6).runs
    print(f"sweep: {runs} runs, {(time.perf_counter() - start) / runs * 1e6:.0f} us a run")


if __name__ == "__main__":
    main()
