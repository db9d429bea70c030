"""Real trials whose truth is known: one arm does so much more work than the other, or none at all.

    python benches/campaign.py --extra 0.02             a slowdown of 2 %: it should be found
    python benches/campaign.py --extra 0 --cells 70     the same code against itself: at most 3 % may alarm

The arm with more work runs so many more fills in the same trial and is charged for the ordinary number of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.resources import as_file, files

import numpy as np

from bulkpages import _core
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.runner import TWINS, calibrate
from bulkpages.suite.trunk.sequential import Sequential
from bulkpages.suite.trunk.states import make_machine
from bulkpages.suite.trunk.workloads import full_cells

# Long enough that two per cent of its fills are many.
TRIAL_SECONDS = 0.002
BLOCKS = 8


def worker(state: str, cells: list[Cell], seed: int, extra: float) -> dict[str, np.ndarray]:
    """One process, as the suite runs it."""
    rng = np.random.Generator(np.random.PCG64([seed, 77]))
    machine = make_machine(state, cells[0].conditions)
    ns = _core.ns_per_count()
    iterations = [max(100, calibrate(machine, cell, TRIAL_SECONDS, ns)) for cell in cells]
    cost = {cell.name: np.empty((2, TWINS, BLOCKS)) for cell in cells}
    for block in range(-1, BLOCKS):
        for i in rng.permutation(len(cells)):
            for arm in rng.permutation(2 * TWINS):
                form, twin = divmod(int(arm), TWINS)
                done = round(iterations[i] * (1 + extra * form))
                _, counts, _ = cells[i].trial(machine, cells[i].forms[0], done)
                cost[cells[i].name][form, twin, block] = counts / iterations[i]
    return cost


def main() -> None:
    """Prints how many comparisons were decided how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", type=float, default=0.02)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--processes", type=int, default=24)
    parser.add_argument("--looks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    plain = [cell for cell in full_cells() if str(cell.conditions) == "as recorded" and cell.nr_pages]
    # More comparisons than workloads: the same workload again, under another name.
    cells = [
        replace(c, name=f"{i} {c.name}", forms=(c.forms[0], "more"))
        for i, c in ((i, plain[i % len(plain)]) for i in range(options.cells))
    ]
    sequential = Sequential()
    sequential.prepare(cells, options.looks, 0.01)
    cost: dict[str, list[np.ndarray]] = {cell.name: [] for cell in cells}
    context = multiprocessing.get_context("spawn")
    with as_file(files("bulkpages").joinpath("data", "uma-256m.json.gz")) as state:
        for look in range(options.looks):
            active = [cell for cell in cells if sequential.open(cell)]
            if not active:
                break
            with ProcessPoolExecutor(os.cpu_count(), mp_context=context, max_tasks_per_child=1) as pool:
                seeds = range(look * options.processes, (look + 1) * options.processes)
                jobs = [
                    pool.submit(worker, str(state), active, options.seed * 10**6 + seed, options.extra)
                    for seed in seeds
                ]
                for job in jobs:
                    for name, found in job.result().items():
                        cost[name].append(found)
            sequential.look(look, active, cost, options.seed)
    verdicts = [row.result.verdict for row in sequential.pairs.values()]
    claimed = sum(row.result.claims_difference for row in sequential.pairs.values())
    alarms = sum(row.alarm for row in sequential.nulls.values())
    print({verdict: verdicts.count(verdict) for verdict in ("slower", "faster", "same", "undecided")})
    print(
        f"{claimed} of {len(verdicts)} pairs claim a difference; {alarms} alarms in {len(sequential.nulls)} A/A twins"
    )
    ratios = [row.result.ratio for row in sequential.pairs.values()]
    print(f"ratios {min(ratios):.4f} to {max(ratios):.4f}, median {np.median(ratios):.4f}")


if __name__ == "__main__":
    main()
