"""Two kernels whose bulk functions mean different things: the smallest array that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bulkpages.kernel.build import Kernel
from bulkpages.kernel.record import record
from bulkpages.kernel.run import Shape
from bulkpages.kernel.streams import KERNEL, Operation, Stream

__all__ = ["Witness", "semantics_witness"]


@dataclass(frozen=True)
class Witness:
    """A call that two kernels answer differently.

    Attributes:
        call: What is done.
        before: What the kernel without the patch does.
        after: What the kernel with it does.
    """

    call: str
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"call": self.call, "before": self.before, "after": self.after}


def semantics_witness(before: Kernel, after: Kernel) -> Witness | None:
    """Calls the bulk function of both on an array whose first slot holds a page; None when neither can be recorded."""
    if not (before.records and after.records):
        return None
    operations = (Operation("a", 0, KERNEL, 0, 0, 0), Operation("b", 0, KERNEL, 0, 2, 0))
    stream = Stream(0, "witness", Shape(128), {}, operations)
    said = []
    for kernel in (before, after):
        bulk = record(kernel, stream, counted=True)[3]
        slots = [f"slot {slot} now holds page {pfn}" for slot, pfn in bulk.get("pages", [])]
        kept = "" if any(slot == 0 for slot, _ in bulk.get("pages", [])) else ", slot 0 keeps its page"
        lost = ", the page of slot 0 is lost" if not kept else ""
        said.append(f"returns {bulk['ret']}: {', '.join(slots) or 'no slot changes'}{kept or lost}")
    if said[0] == said[1]:
        return None
    return Witness("two slots, the first holds a page: alloc_pages_bulk(2)", said[0], said[1])
