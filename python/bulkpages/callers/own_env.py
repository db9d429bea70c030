"""What a caller that a user writes runs in: the calls that it can make, each accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from bulkpages._core import OwnRun, PageArray
from bulkpages.callers.own_semantics import Semantics
from bulkpages.callers.own_slips import Returned
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import need

__all__ = ["Env", "Slots"]

Step = tuple[str, int, int, int, int, int]
EAGAIN, ENOMEM = 11, 12


class Stopped(BaseException):
    """The waits or calls granted are used up; not an Exception, so that no caller catches it by mistake."""


class Slots:
    """The slots of an array. Every read counts as a slot test and every store as a slot write. Slices share the slots.

    Iterating reads each slot. Two objects are equal if they have the same slots.
    """

    __slots__ = ("_array", "_base", "_env", "_n")

    def __init__(self, env: Env, array: PageArray, base: int, n: int) -> None:
        self._env, self._array, self._base, self._n = env, array, base, n

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> Slots: ...
    def __getitem__(self, key: int | slice) -> int | Slots:
        """The page in a slot, 0 for NULL; of a slice the slots, shared."""
        if isinstance(key, slice):
            start, stop, step = key.indices(self._n)
            if step != 1:
                raise InvalidArgument(f"slots are passed on as a whole: a step of {step} is not possible")
            return Slots(self._env, self._array, self._base + start, max(0, stop - start))
        return self._env._read(self._array, self._at(key))

    def __setitem__(self, key: int, page: int) -> None:
        self._env._write(self._array, self._at(key), page)

    def __iter__(self) -> Iterator[int]:
        return (self[i] for i in range(self._n))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Slots):
            return NotImplemented
        return (self._array is other._array, self._base, self._n) == (True, other._base, other._n)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Slots {self._base} to {self._base + self._n} of {self._array!r}>"

    def _at(self, key: int) -> int:
        i = key + self._n if key < 0 else key
        if not 0 <= i < self._n:
            raise IndexError(f"slot {key} of {self._n}")
        return self._base + i


class Env:
    """The environment of a caller. Each method is a step that is counted, can fail, and can be recorded.

    Attributes:
        bulk_calls: (slots passed, value returned) of each bulk call so far.
        bases: Index in its array of the first slot that was passed, for each bulk call.
        waits: Number of times that the caller slept.
        freed: Pages that the caller freed.
    """

    def __init__(
        self,
        run: OwnRun,
        array: PageArray,
        *,
        max_waits: int,
        max_calls: int | None,
        slip: str | None = None,
        record: bool = False,
    ) -> None:
        self._run = run
        self._arrays = [array]
        self._max_waits, self._max_calls = max_waits, max_calls
        self._steps_left = None if max_calls is None else 64 * max_calls
        self._slip = slip
        self._slipped = False
        self._garbage: Sequence[int] = run.others(4) if slip == "forgets to clear" else ()
        #: What the caller knows of earlier calls on the same slots: value returned, by array and first slot.
        self._last: dict[tuple[int, int], int] = {}
        self._steps: list[Step] | None = [] if record else None
        self._registers: dict[int, int] = {}
        self._written = 0
        self._gfps: set[int] = set()
        self.bulk_calls: list[tuple[int, int]] = []
        self.bases: list[int] = []
        self.waits = 0
        self.wait_ns = 0
        self.freed = 0

    # What callers call.

    def alloc_pages_bulk(self, gfp: int, slots: Slots, *, api: str | Semantics = "v1") -> int:
        """`alloc_pages_bulk()` on these slots.

        Args:
            gfp: Flags of the request.
            slots: The slots; to pass the rest of an array, pass a slice.
            api: "v1", "v2", or a `Semantics` of your own.

        Returns:
            What the kernel's call would: v1 the index behind the last slot that it passed, v2 the number of new pages.
        """
        need("api", api, (str, Semantics))
        self._count_call(slots)
        self._gfps.add(gfp)
        position = api == "v1" if isinstance(api, str) else api.returns == "position"
        base, n = slots._base, len(slots)
        if self._slip == "wrong base":
            base, n = self._wrong_base(slots, position)
        elif self._slip == "off by one" and n:
            base, n, self._slipped = base + 1, n - 1, True
        elif self._slip == "other version's call" and isinstance(api, str):
            api, self._slipped = {"v1": "v2", "v2": "v1"}[api], True
        if isinstance(api, Semantics):
            ret = self._own_bulk(api, gfp, slots._array, base, n)
        else:
            ret = self._bulk(api, gfp, slots._array, base, n)
        self.bulk_calls.append((n, ret))
        self.bases.append(base)
        return self._seen(ret, slots, position)

    def alloc_pages_bulk_refill(self, gfp: int, slots: Slots) -> int:
        """`alloc_pages_bulk_refill()` of the proposal v3: 0, -EAGAIN (-11) or -ENOMEM (-12)."""
        self._count_call(slots)
        self._gfps.add(gfp)
        base, n = slots._base, len(slots)
        ret = self._run.refill(gfp, slots._array, base, n)
        self._note("refill", slots._array, base, n, gfp, ret)
        self.bulk_calls.append((n, ret))
        self.bases.append(base)
        if self._slip == "partial is failure" and ret == -EAGAIN:
            self._slipped, ret = True, -ENOMEM
        elif (self._slip == "ignores a short result" and ret == -EAGAIN) or (self._slip == "ignores a failure" and ret):
            self._slipped, ret = True, 0
        return ret

    def alloc_page(self, gfp: int) -> int:
        """`alloc_page()`: a page from the single-page path, or 0 for NULL."""
        self._tick()
        self._gfps.add(gfp)
        page = self._run.single(gfp)
        self._note("single", None, self._register(page), 0, gfp, int(page != 0))
        return page

    def free_page(self, page: int) -> None:
        """`__free_page()`.

        Raises:
            ApiMisuse: Nobody owns the page, or it is NULL.
        """
        self._tick()
        if self._slip == "forgets to free":
            self._slipped = True
            return
        self._run.free(page)
        if self._steps is not None:
            self._note("free", None, self._known(page), 0, 0, 0)
        self.freed += 1
        if self._slip == "frees twice":
            self._slipped = True
            self._run.free(page)

    def clear(self, slots: Slots) -> None:
        """`memset(slots, 0, ...)`."""
        need("what is cleared", slots, Slots)
        self._tick()
        if self._slip == "forgets to clear":
            self._slipped = True
            return
        self._run.clear(slots._array, slots._base, len(slots))
        self._note("clear", slots._array, slots._base, len(slots), 0, 0)

    def compact(self, slots: Slots) -> int:
        """The loop that the patch adds to sunrpc and btrfs: moves pages to the front and returns their number."""
        need("what is compacted", slots, Slots)
        self._tick()
        found = self._run.compact(slots._array, slots._base, len(slots))
        self._note("compact", slots._array, slots._base, len(slots), 0, found)
        return found

    def kcalloc(self, n: int) -> Slots | None:
        """An array of `n` NULL slots, or None if there is no memory for it."""
        self._tick()
        if self._run.fails("array"):
            return None
        array = PageArray(n)
        if self._slip == "forgets to clear" and self._garbage:
            self._slipped = True
            for i in range(n):
                array[i] = self._garbage[i % len(self._garbage)]
        self._arrays.append(array)
        return Slots(self, array, 0, n)

    def wait(self, ns: int = 20_000_000) -> None:
        """Sleeps for this many nanoseconds of virtual time. If no waits are left, the run ends here."""
        self._tick()
        if self.waits >= self._max_waits:
            raise Stopped
        self.waits += 1
        self.wait_ns += ns
        self._run.wait(ns)

    def fails(self, what: str) -> bool:
        """Whether a step outside the allocator ("append", "vmap" or "dma_map") fails. Call it at that step."""
        self._tick()
        return self._run.fails(what)

    def should_stop(self) -> bool:
        """`kthread_should_stop()`."""
        self._tick()
        return self._run.fails("stop")

    # How they are made.

    def _tick(self) -> None:
        if self._steps_left is not None:
            if not self._steps_left:
                raise Stopped
            self._steps_left -= 1

    def _count_call(self, slots: Slots) -> None:
        if not isinstance(slots, Slots):
            raise TypeError(f"a call in an environment is given Slots, not {type(slots).__name__}")
        self._tick()
        if self._max_calls is not None and len(self.bulk_calls) >= self._max_calls:
            raise Stopped

    def _bulk(self, api: str, gfp: int, array: PageArray, base: int, n: int) -> int:
        ret = self._run.bulk(api, gfp, array, base, n)
        self._note(f"bulk_{api}", array, base, n, gfp, ret)
        return ret

    def _own_bulk(self, api: Semantics, gfp: int, array: PageArray, base: int, n: int) -> int:
        def take(wanted: int) -> list[int]:
            pages = PageArray(wanted)
            self._arrays.append(pages)
            got = [self._read(pages, i) for i in range(self._bulk("v2", gfp, pages, 0, wanted))]
            # What was handed over stands in one place.
            self._run.clear(pages, 0, wanted)
            self._note("clear", pages, 0, wanted, 0, 0)
            return got

        return api.fill(n, lambda i: self._read(array, base + i), lambda i, p: self._store(array, base + i, p), take)

    def _wrong_base(self, slots: Slots, position: bool) -> tuple[int, int]:
        base, n = slots._base, len(slots)
        if position:
            skip = min(self._last.get((id(slots._array), base), 0), n)
            self._slipped |= skip > 0
            return base + skip, n - skip
        self._slipped |= base > 0
        return 0, n

    def _seen(self, ret: int, slots: Slots, position: bool) -> int:
        """What the caller takes the value for."""
        array, base, asked = id(slots._array), slots._base, len(slots)
        # A position is compared with the one before on these slots; a count with 0, or by mistake with the one before.
        key = (array, base if position else -1)
        last = self._last.get(key, 0)
        mark = last if position else 0
        seen: int = ret
        progress: bool | None = None
        right = ret != mark
        if self._slip == "mixes counts":
            self._slipped |= (last if position else base) > 0
            seen = ret + last if position else Returned(ret, mark=0, counts=True, drops_sum=True)
        elif self._slip in ("partial is failure", "other progress test"):
            strict = self._slip == "partial is failure"
            progress = ret >= asked if strict else ret != (0 if position else last)
            self._slipped |= progress != right
            seen = Returned(ret, mark=mark, counts=not position, progress=progress)
        elif (self._slip == "ignores a short result" and right) or self._slip == "ignores a failure":
            self._slipped |= ret != asked
            seen = asked
        self._last[key] = int(seen)
        return seen

    def _read(self, array: PageArray, index: int) -> int:
        self._tick()
        page = self._run.read(array, index)
        self._note("read", array, index, self._register(page), 0, int(page != 0))
        return page

    def _write(self, array: PageArray, index: int, page: int) -> None:
        self._tick()
        if not page and self._slip == "forgets to clear":
            self._slipped = True
            return
        self._store(array, index, page)

    def _store(self, array: PageArray, index: int, page: int) -> None:
        self._run.write(array, index, page)
        if self._steps is not None:
            if page:
                self._note("write", array, index, self._known(page), 0, 0)
            else:
                self._note("null", array, index, 0, 0, 0)

    def _register(self, page: int) -> int:
        """The register that holds a page from here on; a new one for each, so that none is overwritten."""
        if self._steps is None:
            return 0
        self._written += 1
        if page:
            self._registers[page] = self._written - 1
        return self._written - 1

    def _known(self, page: int) -> int:
        try:
            return self._registers[page]
        except KeyError:
            raise InvalidArgument(
                f"pfn {page} came neither from a slot nor from alloc_page(): a caller that keeps pages elsewhere "
                "cannot be recorded"
            ) from None

    def _note(self, name: str, array: PageArray | None, a: int, b: int, c: int, gave: int) -> None:
        if self._steps is not None:
            number = 0 if array is None else next(i for i, known in enumerate(self._arrays) if known is array)
            self._steps.append((name, number, a, b, c, gave))
