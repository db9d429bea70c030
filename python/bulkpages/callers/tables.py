"""What v1 and v2 do on small arrays, what each caller asks of the allocator, and where forms differ: from runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bulkpages import callers as ports
from bulkpages._core import PageArray
from bulkpages.eras.rules import DEFAULT
from bulkpages.machine import Machine

__all__ = ["Difference", "differences", "marks", "micro_examples"]

MEMORY = "64MiB"

#: (array, what fails) of the small examples.
MICRO: tuple[tuple[str, dict[str, Any]], ...] = (
    ("........", {}),
    ("xxxxxxxx", {}),
    ("xxxxxxx.", {}),
    (".xxxxxxx", {}),
    ("x.x.x.x.", {}),
    ("x.x.x.x.", {"trylock": True}),
    ("x.x.x.x.", {"pages": 2}),
    ("x.x.x.x.", {"pages": 0}),
    ("x.x.x.x.", {"prepare": True}),
    (".x", {}),
    ("x.", {}),
)


def _picture(array: PageArray, old: list[int]) -> str:
    """`x` a page that was there before, `o` a new one, `.` a hole."""
    return "".join("." if not page else "x" if page in old else "o" for page in array)


def micro_examples() -> list[dict[str, Any]]:
    """The first call of the sunrpc caller on small arrays, before and after.

    Returns:
        One dict per example: `array`, `faults`, and for each form the slots passed, the index they start at, what came
        back, and the array after the call. `calls` is empty where nothing is called.
    """
    rows = []
    for shape, faults in MICRO:
        row: dict[str, Any] = {"array": shape, "faults": dict(faults)}
        for form in ("before", "after"):
            m = Machine(MEMORY)
            a = ports.fill_shape(m, shape)
            old = list(a)
            with m.faults(**faults):
                r = ports.svc_alloc_arg(m, a, len(a), form=form, max_waits=0, explain=True)
            first = _first_call(r.events, old)
            row[form] = {"calls": [(base, n, ret) for base, (n, ret) in zip(r.bases, r.bulk_calls, strict=True)]}
            row[form]["first_call_array"] = first or _picture(a, old)
            row[form]["path"] = _path(r.events)
        rows.append(row)
    return rows


def _first_call(events: Any, old: list[int]) -> str | None:
    """The array after the first bulk call."""
    pages, base = list(old), 0
    for e in events:
        if e["event"] == "bulk_call":
            base = e["base"]
        elif e["event"] == "slot_write":
            pages[base + e["index"]] = e["page"]
        elif e["event"] == "bulk_return":
            return "".join("." if not p else "x" if p in old else "o" for p in pages)
    return None


def _path(events: Any) -> str:
    """How the first call got its pages: "batch", "single" with the reason, or "none"."""
    for e in events:
        if e["event"] == "bulk_single":
            return f"single: {e['reason']}"
        if e["event"] == "list_take":
            return "batch"
        if e["event"] == "bulk_return":
            break
    return "none"


def _warm(kernel: str) -> dict[str, Any]:
    """The state of a machine whose per-CPU lists hold enough pages that no caller's input has to refill them."""
    m = Machine(MEMORY, cpus=1, kernel=kernel)
    m.free_bulk(ports.fill_shape(m, "x" * 300))
    return m.snapshot()


def marks(kernel: str = DEFAULT) -> list[dict[str, Any]]:
    """What each caller's first call asks for, and the watermark that it has to pass, found by trying.

    Args:
        kernel: The kernel series of the machines.

    Returns:
        One dict per caller and form: `slots`, what the call is given; `mark`, what the zone's free pages must
        exceed, in pages above its low mark (None: the call never goes by the batch).
    """
    inputs: list[tuple[str, str, Callable[[Machine, str], Any]]] = [
        (
            "virtiovf_add_migration_pages",
            "64 pages",
            lambda m, f: ports.virtiovf_add_migration_pages(m, 64, form=f, explain=True),
        ),
        (
            "btrfs_alloc_page_array",
            "16 slots, prefix 4",
            lambda m, f: ports.btrfs_alloc_page_array(m, ports.fill_shape(m, "xxxx............"), form=f, explain=True),
        ),
        (
            "z_erofs_gbuf_growsize",
            "16 to 64 pages",
            lambda m, f: ports.z_erofs_gbuf_growsize(m, have=16, nrpages=64, form=f, explain=True),
        ),
        ("xfs_buf_alloc_pages", "16 pages", lambda m, f: ports.xfs_buf_alloc_pages(m, 16, form=f, explain=True)),
        (
            "svc_alloc_arg",
            "64 slots, 8 holes from 1",
            lambda m, f: ports.svc_alloc_arg(
                m, ports.fill_shape(m, "x" + "." * 8 + "x" * 55), 64, form=f, max_waits=0, explain=True
            ),
        ),
    ]
    rows = []
    state = _warm(kernel)
    for caller, what, run in inputs:
        for form in ("before", "after"):
            r = run(Machine(MEMORY, cpus=1, kernel=kernel), form)
            rows.append(
                {
                    "caller": caller,
                    "input": what,
                    "form": form,
                    "slots": r.bulk_calls[0][0] if r.bulk_calls else 0,
                    "mark": _mark(lambda m, run=run, form=form: run(m, form), state),  # type: ignore[misc]
                }
            )
    return rows


def _mark(run: Callable[[Machine], Any], state: dict[str, Any]) -> int | None:
    """The mark of a first call: raises the zone's low mark until the gate shuts."""
    zone = state["zones"][-1]
    free = Machine.from_snapshot(state).zones[-1].nr_free
    low: int = zone["low"]

    def passes(mark: int) -> bool:
        zone["low"] = mark
        events = run(Machine.from_snapshot(state)).events
        chosen = [e["zone"] for e in events if e["event"] in {"bulk_zone", "bulk_single"} and "zone" in e]
        return bool(chosen) and chosen[0] == len(state["zones"]) - 1

    try:
        opens, shuts = low, free
        if not passes(opens):
            return None
        while shuts - opens > 1:
            middle = (opens + shuts) // 2
            if passes(middle):
                opens = middle
            else:
                shuts = middle
    finally:
        zone["low"] = low
    # The gate wants more free pages than the mark: at the highest low mark that passes, one more.
    return free - opens - 1


@dataclass(frozen=True)
class Difference:
    """A difference between the forms of a caller, as a run shows it.

    Attributes:
        key: The word that names it.
        what: What differs, in words.
        before: What the form before does.
        after: What the form after does.
        command: What reproduces it.
    """

    key: str
    what: str
    before: str
    after: str
    command: str


def _svc(shape: str, form: str, **faults: Any) -> tuple[Any, list[int], Machine]:
    m = Machine(MEMORY)
    a = ports.fill_shape(m, shape)
    old = list(a)
    with m.faults(**faults):
        r = ports.svc_alloc_arg(m, a, len(a), form=form, max_waits=1, explain=True)
    return r, old, m


def _btrfs(shape: str, form: str, **faults: Any) -> tuple[Any, list[int], Machine]:
    m = Machine(MEMORY)
    a = ports.fill_shape(m, shape)
    old = list(a)
    with m.faults(**faults):
        r = ports.btrfs_alloc_page_array(m, a, form=form)
    return r, old, m


def _both(tell: Callable[[str], str]) -> tuple[str, str]:
    return tell("before"), tell("after")


def differences() -> list[Difference]:
    """What callers do differently before and after the patch, each from a run."""
    rpc = ports.hole_shape("small RPC", 259)
    found = []

    def moved(form: str) -> str:
        r, old, _ = _svc(rpc, form)
        n = sum(page != 0 and r.array[i] != page for i, page in enumerate(old))
        return f"{n} pages moved, new page in slot {next(i for i, p in enumerate(r.array) if p not in old)}"

    found.append(
        Difference("order", "small RPC, 259 slots: where pages are", *_both(moved), "callers run svc --shape ...")
    )

    def stores(form: str) -> str:
        r, _, _ = _svc("x" * 259, form)
        return f"{r.slot_tests} slot tests, {r.slot_writes} stores"

    found.append(
        Difference("stores", "full array of 259 slots: cost", *_both(stores), f"callers run svc --shape {'x' * 8}")
    )

    def reuse(form: str) -> str:
        m = Machine(MEMORY)
        a = ports.fill_shape(m, "x" * 64)
        hot = a[1]
        m.free_pages(hot)
        a[1] = 0
        ports.svc_alloc_arg(m, a, 64, form=form)
        return f"the page freed last, from slot 1, is in slot {list(a).index(hot)}"

    found.append(
        Difference("hot page", "a hole at 1 of 64 slots: where the hot page goes", *_both(reuse), "callers run svc")
    )

    def attempts(form: str) -> str:
        r, _, _ = _btrfs("xx......", form, pages=0)
        return f"{len(r.bulk_calls)} calls, ret {r.ret}"

    found.append(
        Difference(
            "attempts",
            "btrfs, prefix 2 of 8, no memory: attempts",
            *_both(attempts),
            "callers run btrfs --shape xx...... --fault pages=0",
        )
    )

    def cleanup(form: str) -> str:
        r, old, _ = _btrfs("xx..x.xx", form, pages=0)
        left = sum(page in old for page in r.array if page)
        return f"{r.freed} pages freed, {left} left in the array"

    found.append(
        Difference(
            "cleanup",
            "btrfs, xx..x.xx, no memory: cleanup",
            *_both(cleanup),
            "callers run btrfs --shape xx..x.xx --fault pages=0",
        )
    )

    def trace(form: str) -> str:
        r, _, _ = _svc("xx.xx...", form, pages=0)
        return str(r.trace[0])

    found.append(
        Difference(
            "trace line",
            "sunrpc, xx.xx..., no memory: trace line",
            *_both(trace),
            "callers run svc --shape xx.xx... --fault pages=0 --explain",
        )
    )

    def extra(form: str) -> str:
        r, _, _ = _svc("x.xx", form, trylock=True)
        return f"calls {r.bulk_calls}"

    found.append(
        Difference(
            "extra call",
            "sunrpc, x.xx, trylock fails: calls",
            *_both(extra),
            "callers run svc --shape x.xx --fault trylock",
        )
    )

    def last_page(form: str) -> str:
        r, _, _ = _svc("." * 8, form, trylock=True)
        singles = [e["reason"] for e in r.events if e["event"] == "bulk_single"]
        return f"{len(r.bulk_calls)} calls, the last: {singles[-1]}"

    found.append(
        Difference(
            "last page",
            "sunrpc, 8 holes, trylock fails: one-page rule",
            *_both(last_page),
            "callers run svc --shape ........ --fault trylock --explain",
        )
    )
    return found
