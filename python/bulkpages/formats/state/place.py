"""Where the free blocks of a zone go when a text says how many there are, but not where.

Free blocks are put on the lowest frames that they fit, largest orders first, each beside a buddy that is not free. A
pageblock serves one type.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from heapq import heappop, heappush

__all__ = ["BLOCK", "ORDERS", "TYPES", "Layout"]

#: Types of pageblocks, by number.
TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA")
#: Orders of free blocks: 0 to 10.
ORDERS = 11
#: Pages of a pageblock, and its order.
BLOCK = 512
BLOCK_ORDER = 9


class Layout:
    """Where the free blocks of one zone go."""

    def __init__(self, start: int, end: int, managed: int) -> None:
        self.first_block, self.end = start // BLOCK, end
        #: Types of the pageblocks that are in use, by number.
        self.types: dict[int, int] = {}
        # Aligned areas that nothing uses yet, by order: the buddy of such an area is out of reach.
        self._fresh: dict[int, deque[int]] = {order: deque() for order in range(ORDERS)}
        # What was left of areas in use, by type and order: beside each is something of its order that is used. Whole
        # pageblocks have no type yet.
        self._left: dict[tuple[int | None, int], list[int]] = {}
        at = end - managed
        while at < end:
            order = min(ORDERS - 1, (at & -at).bit_length() - 1 if at else ORDERS - 1)
            while at + (1 << order) > end:
                order -= 1
            self._fresh[order].append(at)
            at += 1 << order

    def _blocks(self, at: int, order: int) -> range:
        return range(at // BLOCK, (at + (1 << order) - 1) // BLOCK + 1)

    def _take_fresh(self, size: int, order: int, migratetype: int) -> int | None:
        for at in self._fresh[size]:
            if all(self.types.get(block, migratetype) == migratetype for block in self._blocks(at, order)):
                self._fresh[size].remove(at)
                return at
        return None

    def place(self, order: int, migratetype: int, *, alone: bool = True) -> int | None:
        """The frame of one block; `alone`: its buddy must not be free as a block of the same order."""
        for size in range(order, ORDERS):
            at: int | None = None
            for kind in (migratetype, None):
                left = self._left.get((kind, size))
                if at is None and left and (size > order or not alone):
                    at = heappop(left)
            if at is None:
                at = self._take_fresh(size, order, migratetype)
            if at is not None:
                self.types.update(dict.fromkeys(self._blocks(at, order), migratetype))
                for half in range(size - 1, order - 1, -1):
                    kind = None if half >= BLOCK_ORDER else migratetype
                    heappush(self._left.setdefault((kind, half), []), at + (1 << half))
                return at
        return None

    def place_anyhow(self, order: int, migratetype: int) -> tuple[int, int] | None:
        """Type and frame of one block: of its own type if there is room, else of another, else beside a free buddy."""
        at = self.place(order, migratetype)
        if at is not None:
            return migratetype, at
        for kind in (migratetype, 1, 0, 2):
            for alone in (True, False):
                at = self.place(order, kind, alone=alone)
                if at is not None:
                    return kind, at
        return None

    def used(self, migratetype: int) -> int:
        """Pageblocks of a type that are in use."""
        return sum(1 for kind in self.types.values() if kind == migratetype)

    def pageblocks(self, wanted: Mapping[int, int]) -> list[list[int]]:
        """Runs of (type, count): blocks in use have their type, the others make up what is wanted."""
        last = (self.end - 1) // BLOCK
        left = {t: wanted.get(t, 0) - self.used(t) for t in range(len(TYPES))}
        runs: list[list[int]] = []

        def add(migratetype: int, count: int) -> None:
            if runs and runs[-1][0] == migratetype:
                runs[-1][1] += count
            elif count > 0:
                runs.append([migratetype, count])

        at = self.first_block
        for block in [*sorted(self.types), last + 1]:
            for migratetype in (0, 2, 3, 4):
                count = max(min(left[migratetype], block - at), 0)
                left[migratetype] -= count
                at += count
                add(migratetype, count)
            add(1, block - at)
            if block <= last:
                add(self.types[block], 1)
            at = block + 1
        return runs
