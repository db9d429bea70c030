"""Random streams of operations that take memory through its states: half full, short, run out, and back."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from bulkpages.kernel.run import Shape

__all__ = ["FAMILIES", "Operation", "Stream", "random_stream"]

# gfp masks by what they are for, as x86-64 kernels from 6.10 on write them.
KERNEL, NOFS, ATOMIC, NOWAIT, USER, MOVABLE = 0xCC0, 0xC40, 0x820, 0x2800, 0x100CCA, 0x10280A | 0x2000
QUIET, RECLAIMABLE, DMA, DMA32, THIS_NODE, HIGH = 0x2000, 0x10, 0x1, 0x4, 0x200000, 0x20
NO_RESERVE, DIRECT_RECLAIM, COMPOUND = 0x20000, 0x400, 0x42000
# __GFP_ATOMIC of kernels before 6.3.
ATOMIC_FLAG = 0x200
FAMILIES = ("plain", "pressure", "exhaust")
RANGE = 512
_SIZES = (1, 2, 3, 8, 16, 32, 64, 64, 64, 128, 256, 259, 512)


@dataclass(frozen=True)
class Operation:
    """One line of the recorder: what the numbers mean depends on the kind, see recorder.c."""

    kind: str
    cpu: int
    gfp: int
    nid: int
    n: int
    slot: int

    @property
    def line(self) -> str:
        """For the harness."""
        return f"op {self.kind} {self.cpu} {self.gfp:x} {self.nid} {self.n} {self.slot}"


@dataclass(frozen=True)
class Stream:
    """Operations on one machine.

    Attributes:
        seed: Names it.
        family: What it does to memory.
        shape: The machine.
        settings: Files below /proc/sys/vm and what is written there first.
        operations: In order.
    """

    seed: int
    family: str
    shape: Shape
    settings: dict[str, int]
    operations: tuple[Operation, ...]

    def before_6_3(self) -> Stream:
        """The same with GFP_ATOMIC as kernels before 6.3 have it: with a flag of its own."""
        changed = (
            replace(op, gfp=op.gfp | ATOMIC_FLAG) if op.kind in "ab" and op.gfp & ATOMIC == ATOMIC else op
            for op in self.operations
        )
        return replace(self, operations=tuple(changed))


class _Generator:
    """Keeps what is allocated, so that frees find something and slots are not lost."""

    def __init__(self, rng: random.Random, shape: Shape, family: str, ranges: int) -> None:
        self.rng, self.shape, self.family = rng, shape, family
        self.empty = [True] * ranges
        self.first_block = ranges * RANGE
        self.blocks: dict[int, int] = {}
        self.held: set[tuple[int, int, int, int]] = set()
        self.operations: list[Operation] = []

    def cpu(self) -> int:
        return self.rng.randrange(self.shape.cpus)

    def nid(self, cpu: int) -> int:
        if self.rng.random() < 0.4:
            return self.rng.randrange(self.shape.nodes)
        return cpu * self.shape.nodes // self.shape.cpus

    def gfp(self) -> int:
        # Interrupts are off: direct reclaim cannot run, so nothing asks for it where memory can be short.
        if self.family == "plain":
            choices = [
                KERNEL,
                KERNEL,
                KERNEL,
                NOFS,
                ATOMIC | QUIET,
                NOWAIT,
                KERNEL | RECLAIMABLE,
                USER,
                USER,
                KERNEL | DMA32,
                NOWAIT | DMA,
            ]
        else:
            choices = [
                NOWAIT,
                NOWAIT,
                ATOMIC | QUIET,
                ATOMIC | QUIET,
                NOWAIT | RECLAIMABLE,
                MOVABLE,
                MOVABLE,
                NOWAIT | DMA32,
                NOWAIT | DMA,
            ]
            if self.family == "exhaust":
                choices += [MOVABLE | HIGH, NOWAIT | NO_RESERVE]
        mask = self.rng.choice(choices)
        return mask | THIS_NODE if self.shape.nodes > 1 and self.rng.random() < 0.12 else mask

    def add(self, kind: str, cpu: int, gfp: int = 0, nid: int = 0, n: int = 0, slot: int = 0) -> None:
        self.operations.append(Operation(kind, cpu, gfp, nid, n, slot))

    def bulk(self, *, fresh: bool, sizes: tuple[int, ...] = _SIZES) -> None:
        """Into a range that is empty, or (what only NULL slots are filled is for) anywhere."""
        cpu, n = self.cpu(), self.rng.choice(sizes)
        where = [i for i, empty in enumerate(self.empty) if empty] if fresh else range(len(self.empty))
        if not where:
            return
        at = self.rng.choice(list(where))
        offset = 0 if fresh else self.rng.randrange(RANGE - n + 1)
        self.add("b", cpu, self.gfp(), self.nid(cpu), n, at * RANGE + offset)
        self.empty[at] = False

    def block(self, orders: tuple[int, ...]) -> None:
        cpu, order, gfp = self.cpu(), self.rng.choice(orders), self.gfp()
        slot = next(s for s in range(self.first_block, self.first_block + 3000) if s not in self.blocks)
        if order:
            gfp = (gfp & ~DIRECT_RECLAIM) | COMPOUND
        self.add("a", cpu, gfp, self.nid(cpu), order, slot)
        self.blocks[slot] = order

    def free_block(self, many: int = 1) -> None:
        for slot in self.rng.sample(sorted(self.blocks), min(many, len(self.blocks))):
            self.add("F", self.cpu(), n=self.blocks.pop(slot), slot=slot)

    def free_range(self) -> None:
        at = self.rng.randrange(len(self.empty))
        self.add(self.rng.choice("frr"), self.cpu(), n=RANGE, slot=at * RANGE)
        self.empty[at] = True

    def free_stride(self) -> None:
        at, step = self.rng.randrange(len(self.empty)), self.rng.choice((1, 2, 2, 3, 5, 7, 16, 64))
        self.add("s", self.cpu(), step, self.rng.randrange(step), RANGE, at * RANGE)

    def drain(self) -> None:
        if not self.held:
            self.add("d", self.cpu())

    def lock(self) -> None:
        """Another CPU takes the lock of a CPU's lists, or lets go of it."""
        if self.held:
            self.release(self.rng.choice(sorted(self.held)))
        elif self.shape.cpus > 1:
            victim, node = self.cpu(), self.rng.randrange(self.shape.nodes)
            zone = self.rng.choice((0, 1) if node == 0 else (1,))
            lock = (node, victim, zone, (victim + 1) % self.shape.cpus)
            self.held.add(lock)
            self.add("h", lock[3], node, victim, zone)

    def release(self, lock: tuple[int, int, int, int]) -> None:
        self.held.discard(lock)
        self.add("u", lock[3], lock[0], lock[1], lock[2])


def _plain(g: _Generator, count: int) -> None:
    """Below and around the marks, which order 0 seldom reaches."""
    while len(g.operations) < count:
        x, fill = g.rng.random(), g.family == "pressure" and len(g.operations) // 300 % 2 == 0
        if x < 0.30:
            g.bulk(fresh=False)
        elif x < 0.48:
            g.bulk(fresh=True)
        elif x < 0.58:
            g.block((0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 9, 10))
        elif x < 0.66:
            g.free_block()
        elif x < 0.80:
            if not fill or g.rng.random() < 0.25:
                g.free_stride()
        elif x < 0.83:
            g.drain()
        elif x < 0.86:
            g.lock()
        elif not fill or g.rng.random() < 0.25:
            g.free_range()


def _exhaust(g: _Generator, count: int) -> None:
    """Out of memory and back, again and again, leaving holes: stealing, boosts, reserves, remote zones, failures."""
    filling, left = True, g.rng.randrange(150, 350)
    while len(g.operations) < count:
        left -= 1
        if left <= 0:
            filling = not filling
            left = g.rng.randrange(150, 350) if filling else g.rng.randrange(30, 120)
        x = g.rng.random()
        if filling:
            if x < 0.45:
                g.bulk(fresh=False, sizes=(3, 32, 64, 128, 256, 259, 512, 512, 512))
            elif x < 0.58:
                g.bulk(fresh=True, sizes=(1, 2, 16, 64, 128, 256, 512))
            elif x < 0.80:
                g.block((0, 0, 1, 1, 2, 3, 4, 5, 6, 8, 9, 10))
            elif x < 0.92:
                g.free_stride()
            elif x < 0.94:
                g.drain()
            elif x < 0.97:
                g.free_block()
            else:
                g.lock()
        elif x < 0.45:
            g.free_range()
        elif x < 0.60:
            g.free_stride()
        elif x < 0.90:
            g.free_block(many=4)
        else:
            g.block((1, 2, 3))


_FILL: dict[str, Callable[[_Generator, int], None]] = {"plain": _plain, "pressure": _plain, "exhaust": _exhaust}


def random_stream(seed: int, *, operations: int | None = None, family: str | None = None) -> Stream:
    """A machine and what is done on it; the same for the same seed, everywhere.

    Args:
        seed: Names it.
        operations: How many, about; by the seed when None.
        family: One of `FAMILIES`; by the seed when None.
    """
    rng = random.Random(f"machine {seed}")
    drawn = rng.choice(FAMILIES)
    family = family or drawn
    nodes = rng.choice((1, 1, 1, 2, 2, 3))
    cpus = max(nodes, rng.choice((1, 2, 2, 3, 4)))
    # What a stream holds at most is a matter of its family: memory must be little enough to be short of.
    sizes = {"plain": (128, 208, 256, 384, 512, 768), "pressure": (112, 128, 144, 160), "exhaust": (112, 160, 256, 320)}
    megabytes = rng.choice(sizes[family]) * (1 if nodes == 1 else 2)
    megabytes -= megabytes % (16 * nodes)
    settings: dict[str, int] = {}
    if rng.random() < 0.3:
        settings["watermark_boost_factor"] = rng.choice((0, 5000, 30000))
    if rng.random() < 0.3:
        settings["min_free_kbytes"] = rng.choice((512, 1024, 4096, 8192))
    if rng.random() < 0.15:
        settings["percpu_pagelist_high_fraction"] = rng.choice((8, 50, 1000))
    count = rng.choice((800, 1500, 2500, 4000))
    shape = Shape(megabytes, cpus, nodes)
    generator = _Generator(rng, shape, family, 160 if family == "exhaust" else 48)
    _FILL[family](generator, operations or count)
    for lock in sorted(generator.held):
        generator.release(lock)
    return Stream(seed, family, shape, settings, tuple(generator.operations))
