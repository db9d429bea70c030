"""States of a machine that an experiment starts from: near a mark, used, aged, with lists that are warm or cold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bulkpages._core import PageArray
from bulkpages.eras.rules import DEFAULT
from bulkpages.formats.recording import load_snapshot
from bulkpages.gfp import GFP_HIGHUSER_MOVABLE, GFP_KERNEL

if TYPE_CHECKING:
    import numpy as np

    from bulkpages.machine import Machine

__all__ = [
    "LISTS",
    "SHIPPED_STATE",
    "age",
    "kernel_of_state",
    "set_lists",
    "shipped_name",
    "shipped_state",
    "stream",
    "take_down",
    "use",
]

#: The state of a real kernel that comes with the package.
SHIPPED_STATE = "uma-256m.json.gz"
#: What `set_lists` can do.
LISTS = ("left", "cold", "warm")

# A block above the per-CPU lists' orders: taking one changes the free counter and nothing else.
BUDDY_ORDER = 4
# Pages of one bulk call while memory is being used up.
CHUNK = 512
# Orders of the blocks that ageing takes, from 0, and how often of 100.
ORDERS = (80, 10, 6, 4)


def shipped_name(kernel: str = DEFAULT) -> str:
    """The name of the state of a real kernel of this series that comes with the package: of the same machine each."""
    return SHIPPED_STATE if kernel == DEFAULT else SHIPPED_STATE.replace(".", f"-{kernel}.", 1)


def kernel_of_state(path: str | Path) -> str:
    """The kernel series that a state says it is of. Whether it is a state at all shows when a machine loads it.

    Raises:
        SnapshotError: It cannot be read.
    """
    facts = load_snapshot(path).get("facts")
    found = facts.get("kernel", DEFAULT) if isinstance(facts, Mapping) else DEFAULT
    return str(found)


@contextlib.contextmanager
def shipped_state(kernel: str = DEFAULT) -> Iterator[Path]:
    """The path of the state of a real kernel of this series that comes with the package."""
    from importlib.resources import as_file, files

    with as_file(files("bulkpages").joinpath("data", shipped_name(kernel))) as path:
        yield path


def stream(seed: int) -> np.random.PCG64:
    """The random stream of a seed: NumPy's PCG64, of which only raw 64-bit words are used, whose stream is stable."""
    import numpy as np

    return np.random.PCG64(seed)


def _uniform(random: np.random.PCG64, n: int) -> list[float]:
    """Numbers from 0 to 1, from the high 53 bits of a word each."""
    return cast("list[float]", ((random.random_raw(n) >> 11) * 2.0**-53).tolist())


def _shuffled(random: np.random.PCG64, n: int) -> list[int]:
    """The numbers below `n` in random order: that of a word each."""
    return cast("list[int]", random.random_raw(n).argsort(kind="stable").tolist())


def take_down(machine: Machine, above_low: int) -> None:
    """Takes blocks of 16 pages until the highest zone has about `above_low` pages above its LOW mark."""
    zone = machine.zones[-1]
    wanted = zone.watermark["low"] + zone.boost + above_low
    while zone.nr_free >= wanted + (1 << BUDDY_ORDER):
        if machine.alloc_pages(GFP_KERNEL, BUDDY_ORDER) is None:
            break


def use(machine: Machine, share: float, random: np.random.PCG64) -> None:
    """Takes single pages until `share` of the managed pages is allocated, with the free ones scattered among them.

    Half of what shall stay free is taken too, and given back page by page in random order. Bulk calls of 512 pages,
    each unmovable or movable by the toss of a coin. Memory that cannot be had ends it early.
    """
    managed = sum(zone.managed for zone in machine.zones)
    wanted = int(managed * share)
    if not wanted:
        return
    held: list[int] = []
    most = (managed + wanted) // 2
    array = PageArray(CHUNK)
    while len(held) < most:
        gfp = GFP_HIGHUSER_MOVABLE if _uniform(random, 1)[0] < 0.5 else GFP_KERNEL
        got = machine.alloc_pages_bulk(gfp, array, min(CHUNK, most - len(held)), api="v2")
        if not got:
            break
        held += array[:got]
    for i in _shuffled(random, len(held))[wanted:]:
        machine.free_pages(held[i])


def age(machine: Machine, steps: int, random: np.random.PCG64) -> None:
    """Takes and frees blocks at random: `steps` of them, three in five to take one, on a random CPU.

    Of the blocks, 80 in 100 have order 0, and 10, 6 and 4 the orders 1 to 3; half are movable. A free gives back any of
    the blocks taken before. What is still held at the end stays.
    """
    draws = iter(_uniform(random, 4 * steps))
    bounds = [sum(ORDERS[: i + 1]) / 100 for i in range(len(ORDERS))]
    cpus = machine.cpus
    held: list[tuple[int, int]] = []
    for what, size, kind, which in zip(draws, draws, draws, draws, strict=True):
        cpu = int(which * cpus)
        if what < 0.6 or not held:
            order = next((i for i, bound in enumerate(bounds) if size < bound), len(bounds) - 1)
            pfn = machine.alloc_pages(GFP_HIGHUSER_MOVABLE if kind < 0.5 else GFP_KERNEL, order, cpu=cpu)
            if pfn is not None:
                held.append((pfn, order))
        else:
            i = int(size * len(held))
            held[i], held[-1] = held[-1], held[i]
            pfn, order = held.pop()
            machine.free_pages(pfn, order, cpu=cpu)


def set_lists(machine: Machine, state: str, cpu: int = 0) -> None:
    """Brings the per-CPU lists of one CPU into a state.

    Args:
        machine: The machine.
        state: "left": as they are; "cold": given back to the buddy lists; "warm": 512 pages were taken and freed.
        cpu: Whose lists.
    """
    if state == "cold":
        machine.drain_local_pages(cpu)
    elif state == "warm":
        array = PageArray(CHUNK)
        machine.alloc_pages_bulk(GFP_KERNEL, array, api="v2", cpu=cpu)
        machine.free_bulk(array, cpu=cpu)
