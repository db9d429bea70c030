"""Meanings of the page array that a user makes up: which slots want a page, and what the call returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from bulkpages import _core
from bulkpages._core import PageArray
from bulkpages.errors import InvalidArgument
from bulkpages.gfp import GFP_KERNEL
from bulkpages.kinds import need, need_within

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Semantics"]


class Semantics(ABC):
    """A bulk call of your own, built on the emulator's: one output-only call for as many pages as slots want one.

    Subclasses decide which slots want a page and what is returned. Call an instance like `machine.alloc_pages_bulk`,
    with the machine as the first argument; your own callers pass it as `api=`.

    Attributes:
        reads: Whether slots are read at all. If not, every slot wants a page and `wants` is not called.
        returns: "count" (the number of new pages) or "position" (the index of the first wanted slot that got no page).
            Callers and the misuse score rely on it. For another rule, override `result`.

    Example:
        >>> import bulkpages as bp
        >>> class FillAndCount(bp.callers.Semantics):
        ...     def wants(self, page):
        ...         return page == 0
        >>> m = bp.Machine("64MiB")
        >>> a = bp.callers.fill_shape(m, "x.x.")
        >>> FillAndCount()(m, a)
        2
    """

    reads: ClassVar[bool] = True
    returns: ClassVar[Literal["count", "position"]] = "count"

    def __init_subclass__(cls, **extra: object) -> None:
        super().__init_subclass__(**extra)
        if cls.returns not in ("count", "position"):
            raise InvalidArgument(f"{cls.__name__}: returns = {cls.returns!r} is not one of 'count' and 'position'")

    @abstractmethod
    def wants(self, page: int) -> bool:
        """Whether a slot with this content, a frame number or 0, gets a page."""

    def result(self, wanted: Sequence[int], got: int, nr_pages: int) -> int:
        """The return value of the call.

        Args:
            wanted: Indices of the slots that want a page.
            got: How many of them got a page, from the front.
            nr_pages: Slots passed.
        """
        if self.returns == "count":
            return got
        return wanted[got] if got < len(wanted) else nr_pages

    @property
    def name(self) -> str:
        """Name in reports: that of the class."""
        return type(self).__name__

    def fill(
        self,
        nr_pages: int,
        read: Callable[[int], int],
        write: Callable[[int, int], None],
        take: Callable[[int], Sequence[int]],
    ) -> int:
        """The call on any kind of array. `read` and `write` access its slots; `take` allocates up to n pages."""
        wanted = [i for i in range(nr_pages) if not self.reads or self.wants(read(i))]
        pages = take(len(wanted)) if wanted else ()
        for i, page in zip(wanted, pages, strict=False):
            write(i, page)
        return self.result(wanted, len(pages), nr_pages)

    def __call__(
        self, machine: Machine, array: PageArray, nr_pages: int | None = None, *, gfp: int = GFP_KERNEL, cpu: int = 0
    ) -> int:
        """The call on a machine.

        Args:
            machine: The machine.
            array: The array.
            nr_pages: Slots, from the first on; all when None.
            gfp: Flags of the request.
            cpu: CPU that executes.

        Raises:
            InvalidArgument: `nr_pages` is not a number of slots of the array.
        """
        need("machine", machine, _core.Machine)
        need("array", array, PageArray)
        n = len(array) if nr_pages is None else nr_pages
        need_within("nr_pages", n, 0, len(array))

        def take(wanted: int) -> list[int]:
            pages = PageArray(wanted)
            return pages[: machine.alloc_pages_bulk(gfp, pages, api="v2", cpu=cpu)]

        return self.fill(n, array.__getitem__, array.__setitem__, take)
