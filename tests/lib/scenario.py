"""What the scenarios share: arrays as pictures, runs on a machine of their own, and the account of pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bulkpages as bp
from bulkpages.draw import picture

__all__ = ["Run", "count", "on_array", "picture", "reasons"]

Run = Callable[..., tuple[bp.callers.CallerResult, list[int], bp.Machine]]


def count(events: Any, name: str) -> int:
    return sum(e["event"] == name for e in events)


def reasons(result: bp.callers.CallerResult) -> list[str]:
    return [e["reason"] for e in result.events if e["event"] == "bulk_single"]


def on_array(caller: Callable[..., bp.callers.CallerResult], **fixed: Any) -> Run:
    """Runs `caller` on an array of a shape on a machine of its own; nothing may be lost."""

    def run(
        shape: str,
        form: str,
        *,
        faults: dict[str, Any] | None = None,
        machine: dict[str, Any] | None = None,
        **more: Any,
    ) -> tuple[bp.callers.CallerResult, list[int], bp.Machine]:
        m = bp.Machine("64MiB", **(machine or {}))
        array = bp.callers.fill_shape(m, shape)
        old = list(array)
        with m.faults(**(faults or {})):
            result = caller(m, array, form=form, explain=True, **fixed, **more)
        held = sum(page != 0 for page in array)
        assert m.audit().allocated == held, "every page that is allocated is in the array"
        assert m.free_bulk(array) == held
        assert result.array is array
        return result, old, m

    return run
