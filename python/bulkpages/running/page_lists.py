"""Walks the page allocator's lists with drgn: free areas and per-CPU lists. Needs drgn and nothing else.

Each node is read as a whole, once, and checked against its neighbours. The walk therefore notices lists that change
under it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from drgn import Object, Program, Type, offsetof, sizeof
from drgn.helpers.linux.mm import pfn_to_page

__all__ = [
    "ListChanged",
    "PageFormat",
    "for_each_free_page",
    "for_each_pcp_page",
    "free_list",
    "page_format",
    "pcp_list",
    "pcp_order",
]

MIGRATE_PCPTYPES = 3


class ListChanged(Exception):
    """A list is inconsistent: it changed while it was read, or memory is corrupt."""


class PageFormat:
    """The layout of `struct page` in this kernel.

    Attributes:
        size: Size of a `struct page`, in bytes.
        first: Address of the `struct page` of frame 0.
        node: Offset of the list node.
        private: Offset of the order of a free block.
        carried: Offset of the type that a page on a per-CPU list carries, in kernels where pages carry one.
        page_type: Offset of the field that marks free blocks.
        buddy: The value of that field in a free block.
    """

    def __init__(self, prog: Program) -> None:
        page = prog.type("struct page")
        self.size: int = sizeof(page)
        self.first: int = pfn_to_page(prog, 0).value_()
        self.node = _offset(page, "buddy_list", "lru")
        self.private = _offset(page, "private")
        self.carried = _offset(page, "index", "__folio_index")
        self.page_type = _offset(page, "page_type")
        self.buddy = buddy_mark(prog)

    def pfn(self, address: int) -> int:
        """The frame whose `struct page` is at this address."""
        pfn, rest = divmod(address - self.first, self.size)
        if rest or pfn < 0:
            raise ListChanged(f"{address:#x} is not the address of a struct page")
        return pfn


def page_format(prog: Program) -> PageFormat:
    """The layout of `struct page`, looked up once per program."""
    found: PageFormat | None = prog.cache.get("page_lists.format")
    if found is None:
        found = prog.cache["page_lists.format"] = PageFormat(prog)
    return found


def _offset(page: Type, *names: str) -> int:
    """The offset of the first of these members that there is."""
    for name in names:
        if page.has_member(name):
            offset: int = offsetof(page, name)
            return offset
    raise LookupError(f"struct page has none of the members {', '.join(names)}")


def buddy_mark(prog: Program) -> int:
    """What `page_type` of a free block holds: the vmcoreinfo says it, for tools like this one."""
    text: str = prog["VMCOREINFO"].string_().decode()
    found = re.search(r"^NUMBER\(PAGE_BUDDY_MAPCOUNT_VALUE\)=(-?\d+)$", text, re.M)
    if found is None:
        raise LookupError("the vmcoreinfo has no PAGE_BUDDY_MAPCOUNT_VALUE")
    return int(found[1]) & 0xFFFFFFFF


def _walk(prog: Program, head: int, limit: int) -> Iterator[tuple[int, bytes]]:
    """Frame and bytes of each page of the list at `head`, in order.

    Raises:
        ListChanged: A node does not point back to the one before it, or there are more than `limit`.
    """
    pages = page_format(prog)
    read, node_at, size = prog.read, pages.node, pages.size
    node_of = struct.Struct("<QQ").unpack_from
    at, last = node_of(read(head, 16))
    before, seen = head, 0
    while at != head:
        address = at - node_at
        pfn = pages.pfn(address)
        data = read(address, size)
        following, back = node_of(data, node_at)
        if back != before:
            raise ListChanged(f"the page of frame {pfn} does not point back to the node before it")
        seen += 1
        if seen > limit:
            raise ListChanged(f"more than {limit} nodes are on the list at {head:#x}")
        yield pfn, data
        before, at = at, following
    if last != before:
        raise ListChanged(f"the head of the list at {head:#x} does not point back to its last node")


def free_list(area: Object, order: int, migratetype: int) -> Iterator[int]:
    """The first frames of the free blocks on a list of a `struct free_area`, in order.

    Args:
        area: The `struct free_area`.
        order: The order of its blocks.
        migratetype: Which of its lists to walk.

    Raises:
        ListChanged: The list contains something other than free blocks of this order.
    """
    pages = page_format(area.prog_)
    head = area.free_list[migratetype].address_of_().value_()
    limit = int(area.nr_free)
    for pfn, data in _walk(area.prog_, head, limit):
        (mark,) = struct.unpack_from("<I", data, pages.page_type)
        (found,) = struct.unpack_from("<Q", data, pages.private)
        if mark != pages.buddy or found != order:
            raise ListChanged(f"frame {pfn} is on a free list of order {order}, but is no free block of this order")
        yield pfn


def pcp_list(pcp: Object, index: int) -> Iterator[tuple[int, int]]:
    """The first frames of the blocks on a list of a `struct per_cpu_pages`, each with the type it carries.

    The type is meaningful only in kernels whose pages carry one (before Linux 6.10).

    Args:
        pcp: The `struct per_cpu_pages`.
        index: Which of its lists to walk.

    Raises:
        ListChanged: The list is inconsistent, or has more than `count` pages.
    """
    pages = page_format(pcp.prog_)
    for pfn, data in _walk(pcp.prog_, pcp.lists[index].address_of_().value_(), max(0, int(pcp.count))):
        yield pfn, struct.unpack_from("<Q", data, pages.carried)[0]


def pcp_order(index: int, huge: int = 9) -> int:
    """The order of the blocks on a per-CPU list.

    Args:
        index: The index of the list.
        huge: The order of a huge page.
    """
    order = index // MIGRATE_PCPTYPES
    return order if order <= 3 else huge


def for_each_free_page(area: Object, order: int, migratetype: int) -> Iterator[Object]:
    """The `struct page *` of each free block on a list of a `struct free_area`, in order."""
    pages = page_format(area.prog_)
    for pfn in free_list(area, order, migratetype):
        yield Object(area.prog_, "struct page *", pages.first + pfn * pages.size)


def for_each_pcp_page(pcp: Object, index: int) -> Iterator[Object]:
    """The `struct page *` of each block on a list of a `struct per_cpu_pages`, in order."""
    pages = page_format(pcp.prog_)
    for pfn, _ in pcp_list(pcp, index):
        yield Object(pcp.prog_, "struct page *", pages.first + pfn * pages.size)
