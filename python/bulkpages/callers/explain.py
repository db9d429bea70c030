"""A run of a caller, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bulkpages import _core
from bulkpages.callers.result import CallerResult
from bulkpages.kinds import need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkpages.machine import Machine

__all__ = ["brief", "explain"]

#: Bulk calls that a brief answer shows.
SHOWN_CALLS = 16

REASONS = {
    "memcg": "the request is charged to a memory cgroup",
    "one page": "one page is wanted",
    "page owner": "page owner tracking is on",
    "watermark": "no zone is above its low mark plus the request",
    "remote node": "the next zone is on another node",
    "trylock": "the per-CPU lock is taken",
    "first take": "the lists have no page",
}
WIDTH = 64


class _Picture:
    """An array as it changes: `x` a page that was there, `o` a new one, `>` one that moved here, `.` a hole."""

    def __init__(self, pages: Sequence[int]) -> None:
        self.pages = list(pages)
        self.start = list(pages)
        self.known = {page: i for i, page in enumerate(pages) if page}

    def store(self, index: int, page: int) -> None:
        if index >= len(self.pages):
            self.pages += [0] * (index + 1 - len(self.pages))
        self.pages[index] = page

    def mark(self, index: int) -> str:
        page = self.pages[index]
        if not page:
            return "."
        if page not in self.known:
            return "o"
        return "x" if self.known[page] == index else ">"

    def __str__(self) -> str:
        marks = "".join(self.mark(i) for i in range(len(self.pages)))
        if len(marks) <= WIDTH:
            return marks or "(no slots)"
        return f"{marks[: WIDTH // 2]} ... {marks[-WIDTH // 2 :]}  ({len(marks)} slots)"


def _zone(machine: Machine, index: int) -> str:
    return machine.zones[index].name


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


class _Walk:
    """Walks the events and tells what they mean."""

    def why(self, reason: str) -> str:
        """Why a call went to the single-page path."""
        rules = self.machine.rules
        if reason == "trylock" and rules["up_without_lists"] and not rules["smp"]:
            return "a kernel without SMP has no per-CPU lists"
        return REASONS[reason]

    def __init__(self, machine: Machine, picture: _Picture) -> None:
        self.machine = machine
        self.picture = picture
        self.base = 0
        self.tests = self.kept = self.writes = self.taken = 0
        self.call = 0
        self.asked = 0
        self.reason = ""
        self.wakes = self.reclaims = self.reclaimed = 0

    def _slow_path(self) -> Iterator[str]:
        parts = []
        if self.wakes:
            parts.append(f"kswapd woken {_count(self.wakes, 'time')}")
        if self.reclaims:
            parts.append(f"direct reclaim {_count(self.reclaims, 'time')}, {_count(self.reclaimed, 'page')}")
        if parts:
            yield f"  {'':<10}slow path: {'; '.join(parts)}"
        self.wakes = self.reclaims = self.reclaimed = 0

    def _own_work(self, what: str) -> Iterator[str]:
        if self.tests or self.writes:
            parts = []
            if self.tests:
                parts.append(f"{_count(self.tests, 'slot')} tested, {_count(self.kept, 'page')} found")
            if self.writes:
                parts.append(f"{_count(self.writes, 'store')}")
            yield f"  {what:<10}{', '.join(parts)}"
            if self.writes:
                yield f"  {'':<10}{self.picture}"
        self.tests = self.kept = self.writes = 0

    def event(self, e: Mapping[str, Any]) -> Iterator[str]:
        match e["event"]:
            case "bulk_call":
                yield from self._own_work("caller")
                self.call += 1
                self.base, self.asked = e["base"], e["nr_pages"]
                at = f"array + {self.base}" if self.base else "array"
                yield f"  call {self.call:<5}alloc_pages_bulk({self.asked}, {at})"
                self.taken = 0
                self.reason = ""
            case "slice":
                yield from self._own_work("")
                self.base += e["base"]
            case "slot_test":
                self.tests += 1
                self.kept += e["populated"]
            case "slot_write":
                self.writes += 1
                self.picture.store(self.base + e["index"], e["page"])
            case "bulk_zone":
                yield f"  {'':<10}zone {_zone(self.machine, e['zone'])} is above its low mark"
            case "bulk_single":
                self.reason = e["reason"]
                yield f"  {'':<10}single-page path: {self.why(e['reason'])}"
            case "refill":
                zone = _zone(self.machine, e["zone"])
                got = "" if e["got"] == e["want"] else f" of {e['want']}"
                yield f"  {'':<10}list of {zone} refilled: {_count(e['got'], 'page')}{got} under the zone lock"
            case "list_take":
                self.taken += 1
            case "wake_kswapd":
                self.wakes += 1
            case "kswapd_run":
                yield f"  {'':<10}kswapd of node {e['nid']} runs: {_count(e['reclaimed'], 'page')} reclaimed"
            case "direct_reclaim":
                self.reclaims += 1
                self.reclaimed += e["progress"]
            case "oom_kill":
                yield f"  {'':<10}a task is killed: {_count(e['pages'], 'page')}"
            case "dead_end":
                yield from self._slow_path()
                yield f"  {'':<10}a kernel {e['why']}"
            case "mm_page_alloc":
                yield from self._slow_path()
                if not e["page"]:
                    yield f"  {'':<10}no page available"
            case "bulk_return":
                yield from self._returned(e["ret"])
            case _:
                pass

    def _returned(self, ret: int) -> Iterator[str]:
        done = []
        if self.tests:
            done.append(f"{_count(self.tests, 'slot')} tested")
        if self.taken:
            done.append(f"{_count(self.taken, 'page')} taken from the per-CPU list")
        if self.writes:
            done.append(f"{_count(self.writes, 'slot')} filled")
        if done:
            yield f"  {'':<10}{', '.join(done)}"
        why = ""
        if not self.reason and 0 < ret < self.asked:
            why = ": the list had no more"
        yield f"  {'':<10}returns {ret}{why}"
        if self.writes:
            yield f"  {'':<10}{self.picture}"
        self.tests = self.kept = self.writes = self.taken = 0
        self.base = 0


def _meaning(ret: int | bool | None) -> str:
    if ret is None:
        return "nothing: it would keep waiting"
    if isinstance(ret, bool):
        return "true: every slot holds a page" if ret else "false: the thread was told to stop"
    return {0: "0: it got every page", -12: "-ENOMEM"}.get(ret, str(ret))


def explain(machine: Machine, name: str, form: str, before: Sequence[int], result: CallerResult) -> str:
    """What a run did, step by step, as text.

    Args:
        machine: The machine it ran on.
        name: The caller.
        form: The form.
        before: The frame numbers in the array before the run.
        result: The result, with `events`.
    """
    need("machine", machine, _core.Machine)
    need("result", result, CallerResult)
    slots = max(len(before), len(result.array))
    picture = _Picture(list(before) + [0] * (slots - len(before)))
    walk = _Walk(machine, picture)
    lines = [f"{name}, {form}: {slots} slots", f"  {'array':<10}{picture}"]
    for e in result.events:
        lines += walk.event(e)
    lines += walk._own_work("caller")
    lines += _end(result)
    return "\n".join(lines)


def brief(name: str, form: str, before: Sequence[int], result: CallerResult) -> str:
    """What a run did, as text: its calls, the array before and after, and the return value.

    Args:
        name: The caller.
        form: The form.
        before: The frame numbers in the array before the run.
        result: The result.
    """
    need("result", result, CallerResult)
    after = list(result.array)
    slots = max(len(before), len(after))
    picture = _Picture([*before, *[0] * (slots - len(before))])
    lines = [f"{name}, {form}: {_count(slots, 'slot')}", f"  {'array':<10}{picture}"]
    picture.pages = [*after, *[0] * (slots - len(after))]
    if slots:
        lines.append(f"  {'becomes':<10}{picture}")
    calls = list(zip(result.bulk_calls, result.bases, strict=True))
    for i, ((asked, ret), base) in enumerate(calls[:SHOWN_CALLS], 1):
        at = f"array + {base}" if base else "array"
        lines.append(f"  call {i:<5}alloc_pages_bulk({asked}, {at}) returns {ret}")
    if len(calls) > SHOWN_CALLS:
        lines.append(f"  {'':<10}and {_count(len(calls) - SHOWN_CALLS, 'call')} more")
    return "\n".join([*lines, *_end(result)])


def _end(result: CallerResult) -> Iterator[str]:
    """How a run ended, and what it cost."""
    if result.waits:
        yield f"  waits     {result.waits}, {result.wait_ns / 1e6:g} ms of virtual time"
    if result.freed:
        yield f"  frees     {_count(result.freed, 'page')}"
    yield f"  returns   {_meaning(result.ret)}"
    for line, times in Counter(result.trace).items():
        yield f"  trace     {line}" + (f"  ({times} times)" if times > 1 else "")
    yield (
        f"  cost      {_count(len(result.bulk_calls), 'bulk call')}, {_count(result.slot_tests, 'slot test')}, "
        f"{_count(result.slot_writes, 'slot write')}, {_count(result.slot_clears, 'slot')} cleared"
    )
    yield "  legend    x page that was there, > page that moved here, o new page, . hole"
