"""Is the emulator exact for this kernel? Random operations, recorded there and replayed here."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkpages.conform import Difference, Verdict, conform
from bulkpages.errors import KernelError
from bulkpages.kernel.build import Kernel
from bulkpages.kernel.record import record, write_recording
from bulkpages.kernel.streams import Operation, Stream, random_stream

__all__ = ["Check", "check", "shrink"]

Say = Callable[[str, float], None]


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        kernel: The kernel.
        machines: Machines that were recorded whole.
        operations: Operations compared.
        pages: Pages compared.
        seconds: It took.
        difference: The first difference, shrunk; None when there was none.
        seed: Of the stream that differed.
        recording: Where the shrunk recording is.
        remaining: Operations of the shrunk recording.
    """

    kernel: Kernel
    machines: int
    operations: int
    pages: int
    seconds: float
    difference: Difference | None = None
    seed: int | None = None
    recording: Path | None = None
    remaining: int = 0

    @property
    def exact(self) -> bool:
        """Whether everything was equal."""
        return self.difference is None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": "bulkpages-kernel-check-1",
            "kernel": {"folder": str(self.kernel.folder), "version": self.kernel.version,
                       "patches": list(self.kernel.patches)},
            "exact": self.exact,
            "machines": self.machines,
            "operations": self.operations,
            "pages": self.pages,
            "seconds": round(self.seconds, 1),
            "difference": self.difference
            and {"what": self.difference.what, "picture": self.difference.picture, "seed": self.seed,
                 "operations": self.remaining, "recording": str(self.recording)},
        }  # fmt: skip


def check(
    kernel: Kernel,
    *,
    seconds: float = 120.0,
    machines: int | None = None,
    seed: int = 1,
    shrink_seconds: float = 180.0,
    output: str | Path | None = None,
    say: Say = lambda _what, _share: None,
) -> Check:
    """Records random machines in a kernel and replays them, until the first difference or the time is over.

    Args:
        kernel: With the lists that the emulator knows.
        seconds: Start no machine after this time.
        machines: At most so many.
        seed: Of the first machine; the next ones follow.
        shrink_seconds: For making a difference smaller.
        output: Where the recording of a difference is left; `difference-SEED.jsonl.gz` in the working directory when
            None.
        say: Told what is being done, and the share that is done.

    Raises:
        KernelError: The kernel cannot be recorded.
    """
    if not kernel.records:
        raise KernelError(f"{kernel.folder} cannot be checked: {kernel.why_not}")
    start = time.perf_counter()
    operations = pages = done = 0
    for number in itertools.count(seed):
        spent = time.perf_counter() - start
        if (machines is not None and done >= machines) or (done and spent >= seconds):
            break
        stream = random_stream(number)
        if not kernel.holds("gfp_high_sees_through_boost"):
            stream = stream.before_6_3()
        share = done / machines if machines else min(1.0, spent / seconds)
        shape = stream.shape
        say(f"seed {number}: {stream.family}, {shape.megabytes} MiB, {shape.cpus} CPUs; {operations} equal", share)
        verdict, lines = _recorded(kernel, stream, stream.operations)
        operations += verdict.operations[0]
        pages += verdict.pages[0]
        if not verdict.ok:
            place = Path(output) if output else Path(f"difference-{number}.jsonl.gz")
            write_recording(place, lines)
            verdict = shrink(kernel, stream, verdict, place, shrink_seconds, say)
            taken = time.perf_counter() - start
            left = verdict.operations[1]
            return Check(kernel, done, operations, pages, taken, verdict.difference, number, place, left)
        done += 1
    return Check(kernel, done, operations, pages, time.perf_counter() - start)


def _recorded(kernel: Kernel, stream: Stream, operations: Sequence[Operation]) -> tuple[Verdict, list[dict[str, Any]]]:
    """Records and replays: what was equal, and the lines of the recording."""
    lines = record(kernel, stream, operations)
    with tempfile.TemporaryDirectory(prefix="bulkpages-") as place:
        path = Path(place) / "recording.jsonl.gz"
        write_recording(path, lines)
        verdict = conform(path)
    if verdict.error:
        raise KernelError(f"the recording of seed {stream.seed} cannot be replayed: {verdict.error}")
    return verdict, lines


def shrink(kernel: Kernel, stream: Stream, verdict: Verdict, place: Path, seconds: float, say: Say) -> Verdict:
    """The fewest operations that still differ, by running the kernel again and again without some of them.

    A difference mostly shows in what the last operations do to the state that the kernel has when it starts: the last
    one alone is tried first, then twice as many each time. Then parts of what is left are left out.

    Args:
        kernel: The kernel.
        stream: What differed.
        verdict: How.
        place: The recording; replaced by each smaller one that still differs.
        seconds: The kernel is not started again after this time.
        say: Told what is being done.

    Returns:
        What the smallest recording shows; `verdict` when the difference did not come again.
    """
    end = time.perf_counter() + seconds
    at = verdict.difference.operation if verdict.difference else None
    kept = list(stream.operations if at is None else stream.operations[: at + 1])
    tried = 0

    def differs(candidate: list[Operation]) -> bool:
        nonlocal tried, verdict
        tried += 1
        say(f"shrinking: {len(candidate)} of {len(kept)} operations, try {tried}", -1.0)
        found, lines = _recorded(kernel, stream, _without_dangling(candidate))
        if not found.ok:
            verdict = found
            write_recording(place, lines)
        return not found.ok

    last = 1
    while last < len(kept) and time.perf_counter() < end:
        if differs(kept[-last:]):
            kept = kept[-last:]
            break
        last *= 2
    else:
        if not differs(kept):
            return verdict
    parts = 2
    while len(kept) > 1 and time.perf_counter() < end:
        size = -(-len(kept) // parts)
        for first in range(0, len(kept), size):
            candidate = kept[:first] + kept[first + size :]
            if candidate and time.perf_counter() < end and differs(candidate):
                kept, parts = candidate, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    return verdict


def _without_dangling(operations: Sequence[Operation]) -> list[Operation]:
    """The same without locks that are taken and not let go of, or the other way round, and frees of nothing."""
    held: list[Operation] = []
    kept: list[Operation] = []
    for operation in operations:
        lock = (operation.cpu, operation.gfp, operation.nid, operation.n)
        if operation.kind == "h":
            held.append(operation)
        elif operation.kind == "u":
            match = next((one for one in held if (one.cpu, one.gfp, one.nid, one.n) == lock), None)
            if match is None:
                continue
            held.remove(match)
        kept.append(operation)
    return kept + [Operation("u", one.cpu, one.gfp, one.nid, one.n, 0) for one in held]
