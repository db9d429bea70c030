"""Arrays that another thread writes to while a call works on them: odd results or an error, and a sound machine."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bulkpages as bp
from bulkpages import callers

SLOTS = 1500  # Enough for calls to give up the interpreter lock also where they take turns.
SECONDS = 0.2
K = bp.GFP_KERNEL

Call = Callable[[bp.Machine, bp.PageArray], Any]

CALLS: dict[str, Call] = {
    "v1": lambda m, a: m.alloc_pages_bulk(K, a, api="v1"),
    "v2": lambda m, a: m.alloc_pages_bulk(K, a, api="v2"),
    "v3": lambda m, a: m.alloc_pages_bulk_refill(K, a),
    "free_bulk": lambda m, a: m.free_bulk(a),
    "btrfs before": lambda m, a: callers.btrfs_alloc_page_array(m, a, form="before"),
    "btrfs after": lambda m, a: callers.btrfs_alloc_page_array(m, a, form="after"),
    "btrfs v3": lambda m, a: callers.btrfs_alloc_page_array(m, a, form="v3"),
    "svc before": lambda m, a: callers.svc_alloc_arg(m, a, form="before", max_waits=2),
    "svc after": lambda m, a: callers.svc_alloc_arg(m, a, form="after", max_waits=2),
    "svc tracked": lambda m, a: callers.svc_alloc_arg(m, a, form="tracked", max_waits=2),
}


def scribble(a: bp.PageArray, values: np.ndarray, stop: threading.Event) -> int:
    """Writes to random slots until it is told to stop."""
    slots, random, times = np.asarray(a), np.random.default_rng(1), 0
    while not stop.is_set():
        slots[random.integers(0, len(slots), 64)] = random.choice(values, 64)
        times += 1
    return times


@pytest.mark.parametrize("threads", [False, True], ids=["turns", "parallel"])
@pytest.mark.parametrize("name", CALLS)
def test_scribbled_array(name: str, threads: bool) -> None:
    m = bp.Machine("64MiB", cpus=2, threads=threads)
    mine, others = bp.PageArray(SLOTS), bp.PageArray(64)
    m.alloc_pages_bulk(K, others, api="v2")
    kept = list(others)
    # NULL, what nobody has, what is free, what a 64-bit word holds, and pages that the array held a moment ago.
    m.alloc_pages_bulk(K, mine, api="v2")
    free = next(page for page in range(5000, 0, -1) if page not in kept)
    values = np.array([0, 0, 0, 1, free, 1 << 31, (1 << 32) - 1, (1 << 64) - 1, *list(mine)[:64]], dtype=np.uint64)
    stop = threading.Event()
    counts: list[int] = []
    writer = threading.Thread(target=lambda: counts.append(scribble(mine, values, stop)))
    writer.start()
    until, outcomes = time.monotonic() + SECONDS, {"done": 0, "refused": 0}
    try:
        while time.monotonic() < until:
            try:
                CALLS[name](m, mine)
                outcomes["done"] += 1
            except bp.BulkpagesError:
                outcomes["refused"] += 1
                # Without what the array holds by now, calls that look at it first would never begin.
                np.asarray(mine)[:] = 0
    finally:
        stop.set()
        writer.join(30)
    assert not writer.is_alive()
    assert counts[0] > 0
    assert sum(outcomes.values()) > 0
    m.audit()
    # The pages that no array named are who they were, and the machine still works.
    assert m.free_bulk(others) == len(kept)
    m.audit()


@pytest.mark.parametrize("threads", [False, True], ids=["turns", "parallel"])
def test_two_threads_free_one_array(threads: bool) -> None:
    """Each page is freed by one of them; the other is refused or finds NULL."""
    m = bp.Machine("64MiB", cpus=2, threads=threads)
    a = bp.PageArray(SLOTS)
    before = m.audit().allocated
    for _ in range(40):
        m.alloc_pages_bulk(K, a, api="v2")
        taken = m.audit().allocated - before
        freed: list[int] = []

        def free(cpu: int, freed: list[int] = freed) -> None:
            try:
                freed.append(m.free_bulk(a, cpu=cpu))
            except bp.ApiMisuse:
                freed.append(0)

        workers = [threading.Thread(target=free, args=(cpu,)) for cpu in (0, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
        assert m.audit().allocated == before + taken - sum(freed)
        m.free_bulk(a)
        assert m.audit().allocated == before


def test_free_bulk_looks_once_while_there_are_pools() -> None:
    """A page of a pool that turns up in the array during the call stays the pool's."""
    m = bp.Machine("64MiB", cpus=1)
    pool = callers.PagePool(m, form="before")
    pooled = pool.alloc()
    assert pooled is not None
    a = bp.PageArray(SLOTS)
    values = np.array([0, pooled], dtype=np.uint64)
    stop = threading.Event()
    m.alloc_pages_bulk(K, a, api="v2")
    writer = threading.Thread(target=scribble, args=(a, values, stop))
    writer.start()
    until = time.monotonic() + SECONDS
    try:
        while time.monotonic() < until:
            try:
                m.free_bulk(a)
            except bp.ApiMisuse:
                np.asarray(a)[:] = 0
    finally:
        stop.set()
        writer.join(30)
    pool.put(pooled)  # refused if somebody had freed it
    m.audit()
