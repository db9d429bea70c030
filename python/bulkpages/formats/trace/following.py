"""A trace followed on the state that the kernel was in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkpages import _core
from bulkpages.errors import SnapshotError
from bulkpages.formats.recording import load_snapshot
from bulkpages.formats.trace.events import Tally, TraceError, chunks, fill, need_events

__all__ = ["Followed", "compare_states", "follow", "places", "start"]


@dataclass(frozen=True)
class Followed:
    """The result of replaying a trace.

    Attributes:
        report: Counts and misses, under the names of `bulkpages replay --json`.
        state: The machine's state at the end, as `Machine.snapshot` returns it.
    """

    report: dict[str, Any]
    state: dict[str, Any]


def places(state: Mapping[str, Any]) -> dict[int, tuple[Any, ...]]:
    """Where each free block of a snapshot is: by first frame, its zone, order and list."""
    found: dict[int, tuple[Any, ...]] = {}
    for zone in state["zones"]:
        name = (zone["nid"], zone["idx"])
        for order, lists in zone["free"].items():
            for migratetype, frames in lists.items():
                found.update(dict.fromkeys(frames, (*name, "buddy", int(order), int(migratetype))))
        for cpu, pcp in zone["pcp"].items():
            for index, entries in pcp["lists"].items():
                found.update({frame: (*name, "pcp", int(cpu), int(index)) for frame, _ in entries})
    return found


def compare_states(ours: Mapping[str, Any], kernel: Mapping[str, Any]) -> dict[str, Any]:
    """How many free blocks of the kernel's state are in the same place in ours, and which lists are equal in order."""
    mine, theirs = places(ours), places(kernel)
    lists, equal = 0, 0
    for a, b in zip(ours["zones"], kernel["zones"], strict=True):
        for order, types in b["free"].items():
            for migratetype, frames in types.items():
                lists += 1
                equal += a["free"].get(str(order), {}).get(str(migratetype), []) == frames
        for cpu, pcp in b["pcp"].items():
            for index, entries in pcp["lists"].items():
                lists += 1
                equal += a["pcp"][cpu]["lists"].get(str(index), []) == entries
    return {
        "blocks": len(theirs),
        "blocks_in_place": sum(mine.get(frame) == place for frame, place in theirs.items()),
        "lists": lists,
        "lists_equal": equal,
    }


def _survey(trace: str | Path) -> Tally:
    """What the lines of the whole trace are.

    Raises:
        NoEvents: None is an event.
    """
    reader, tally = _core.TraceReader(), Tally()
    for chunk in chunks(trace):
        reader.rewrite(chunk)
    reader.rewrite(b"", last=True)
    fill(tally, json.loads(reader.tally()))
    need_events(tally, trace)
    return tally


def start(
    trace: str | Path, states: Mapping[str, Any] | str | Path, *, learn: bool, marked: bool | None
) -> tuple[_core.TraceFollower, Mapping[str, Any], Any]:
    """A follower that waits for the trace, the state that it begins with, and that at the end or None."""
    after: Any = None
    if isinstance(states, Mapping):
        before: Any = states if "zones" in states else states.get("before")
        after = states.get("after")
    else:
        before = load_snapshot(states, "before")
        try:
            after = load_snapshot(states, "after")
        except SnapshotError:
            after = None
        after = None if after == before else after
    if not isinstance(before, Mapping):
        raise SnapshotError('holds no snapshot "before"')
    tally = _survey(trace)
    if marked is None:
        marked = tally.snapshot_lines > 0
    elif marked and tally.snapshot_lines == 0:
        raise TraceError(f"{trace}: no snapshot line says where the state was recorded")
    follower = _core.TraceFollower(json.dumps(before), marked=marked, learn=learn)
    return follower, before, after


def follow(
    trace: str | Path,
    states: Mapping[str, Any] | str | Path,
    *,
    learn: bool = True,
    marked: bool | None = None,
) -> Followed:
    """Replays a trace on the kernel's state and predicts the frame of each `mm_page_alloc` line.

    Only the state and the preceding lines are used for a prediction.

    Args:
        trace: The kmem events as text, from any tool that `bulkpages.formats.trace` lists; may be gzipped.
        states: A snapshot, or a mapping or file with one under "before" (and the state at the end under "after").
        learn: Whether to expect pages to leave the lists without a line where the same task did so before.
        marked: Whether the state belongs to the trace's first snapshot line, and the trace ends at the second. If
            False, the state belongs to the beginning of the trace. If None, this depends on whether the trace has such
            lines.

    Raises:
        MissingFile: There is no such file.
        NoEvents: No line of the trace is an event of the page allocator.
        TraceError: The trace cannot be read.
        SnapshotError: The state cannot be read or contradicts itself.
    """
    follower, _, after = start(trace, states, learn=learn, marked=marked)
    for chunk in chunks(trace):
        follower.feed(chunk)
    report_text, state_text = follower.finish()
    report, state = json.loads(report_text), json.loads(state_text)
    if isinstance(after, Mapping):
        report["after"] = compare_states(state, after)
    return Followed(report, state)
