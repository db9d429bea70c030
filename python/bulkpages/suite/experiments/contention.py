"""How often a bulk call loses the trylock of its lists to drains from another CPU, and what both forms do then.

Real threads on real locks: one fills an array on CPU 0, another drains CPU 0's lists from CPU 1. A call that loses gets
one page instead of a batch, and its caller calls again. Times are the emulator's, and its drains are shorter than the
kernel's; the rate at which calls lose depends on both. Each round has a machine of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bulkpages import _core
from bulkpages.eras.rules import DEFAULT
from bulkpages.errors import InvalidArgument
from bulkpages.machine import Machine
from bulkpages.processes import processors
from bulkpages.suite.trunk.stats import compare

__all__ = ["RATES", "contention"]

# Drains a second of one CPU's lists; None: one after the other.
RATES: tuple[int | None, ...] = (0, 1_000, 10_000, 100_000, None)
# Slots and hole period (0: all NULL), and fills of a run of some 20 ms.
ARRAYS = ((64, 0, 8000), (256, 32, 6000))
ARMS = ("v1", "v2", "v1 again")
ROUNDS = 6
BLOCKS = 8
# Below this share of fills left over there is no verdict.
ENOUGH = 0.5


def _one(api: str, slots: int, period: int, rate: int | None, fills: int, kernel: str) -> dict[str, Any]:
    machine = Machine("1GiB", cpus=2, threads=True, kernel=kernel)
    found: dict[str, Any] = _core.contend(machine, api, slots, period, rate, fills)
    return found


def _arm(runs: list[dict[str, Any]]) -> dict[str, Any]:
    lost = [run["lost"] / max(1, run["trylocks"]) for run in runs]
    return {
        "lost": float(np.median(lost)),
        "lost_range": [min(lost), max(lost)],
        "calls_per_fill": float(np.median([run["calls"] / max(1, run["fills"]) for run in runs])),
        "cycles_per_page": float(np.median([np.median(run["cost"] or [np.nan]) / run["pages"] for run in runs])),
    }


def contention(seed: int, share: float = 1, kernel: str = DEFAULT) -> list[dict[str, Any]]:
    """v1 and v2 under drains at each rate, and v1 against itself; the order within a round is drawn.

    Each row: slots, hole_period, drains_per_second (None: without a pause), drains (seen, a second),
    drain_cycles (median), kept (share of fills into which no stalled drain fell), arms (medians over rounds: lost, the
    share of trylocks that failed, and its range; calls_per_fill; cycles_per_page), ratio and interval (v2 over v1, cost
    of a fill), null (the interval of v1 over itself), silent (whether that holds 1). Without enough fills kept the last
    four are None and False.

    Args:
        seed: Of the order and the bootstrap.
        share: Part of the usual number of fills, for short runs.
        kernel: The kernel series of the machines.

    Raises:
        InvalidArgument: There is only one processor to run on.
    """
    if (cpus := len(processors())) < 2:
        raise InvalidArgument(f"contention needs 2 processors, there is {cpus}")
    rng = np.random.Generator(np.random.PCG64(seed))
    alpha = 0.05 / (2 * len(ARRAYS) * len(RATES))
    ns = _core.ns_per_count()
    rows = []
    for slots, period, usual in ARRAYS:
        fills = max(BLOCKS, int(usual * share))
        for rate in RATES:
            runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
            for _ in range(ROUNDS):
                for arm in rng.permutation(ARMS):
                    runs[str(arm)].append(_one(str(arm)[:2], slots, period, rate, fills, kernel))
            every = [run for found in runs.values() for run in found]
            # As many fills of each run as all of them have, in blocks.
            size = min(run["fills"] for run in every) // BLOCKS
            kept = min(run["fills"] for run in every) / fills
            row: dict[str, Any] = {
                "slots": slots,
                "hole_period": period,
                "drains_per_second": rate,
                "drains": float(np.median([run["drains"] / (run["elapsed"] * ns / 1e9) for run in every])),
                "drain_cycles": float(np.median([run["drain_cost"] for run in every])),
                "kept": kept,
                "arms": {arm: _arm(found) for arm, found in runs.items()},
                "ratio": None,
                "interval": None,
                "null": None,
                "silent": False,
            }
            if kept >= ENOUGH:
                cost = {
                    arm: np.median([np.reshape(run["cost"][: size * BLOCKS], (BLOCKS, -1)) for run in found], axis=2)
                    for arm, found in runs.items()
                }
                result, null = (
                    compare(
                        cost["v1"],
                        cost[arm],
                        alpha=alpha,
                        effect=0.01,
                        seed=seed,
                    )
                    for arm in ("v2", "v1 again")
                )
                row |= {"ratio": result.ratio, "interval": [result.low, result.high], "null": [null.low, null.high]}
                row["silent"] = not null.claims_difference
            rows.append(row)
    return rows
