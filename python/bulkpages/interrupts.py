"""Interrupts at every point of an allocator call or a caller, in every order up to a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bulkpages import _core
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import need
from bulkpages.timeline import Bar, draw, write_perfetto

__all__ = ["LOCKINGS", "Exploration", "Step", "explore"]

LOCKINGS = ("up-before-fix", "up", "smp", "rt")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an execution.

    Attributes:
        depth: 0 for what was interrupted, 1 for a handler on top of it, and so on.
        kind: "do", "lock", "unlock", "interrupt", "return" or "wrong".
        lock: "pcp->lock" or "zone->lock" if the step takes or releases one.
        text: A description for kernel developers.
    """

    depth: int
    kind: str
    lock: str | None
    text: str

    def __str__(self) -> str:
        """Indented by the depth of nesting."""
        return f"{' ' * 8 * self.depth}{'handler' if self.depth else 'task   '} {self.text}"


@dataclass(frozen=True)
class Exploration:
    """What an exploration found.

    Attributes:
        scenario: Its name, as given.
        bound: Most handlers in one execution.
        data: All results as plain values: `executions`, `points`, `handlers`, `complete`, `failure`, `steps`.
    """

    scenario: str
    bound: int
    data: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether no execution failed."""
        return self.data["failure"] is None

    @property
    def complete(self) -> bool:
        """Whether every execution within the bound was run."""
        return bool(self.data["complete"])

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the execution that failed, or else of the last one, in order."""
        return tuple(Step(**step) for step in self.data["steps"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"scenario": self.scenario, "bound": self.bound, **self.data}

    def perfetto(self, path: str | Path) -> None:
        """Writes the steps as a JSON trace for Perfetto: one track per depth, one microsecond per step."""
        write_perfetto(path, self._rows(), self._bars())

    def picture(self, path: str | Path) -> None:
        """Draws the steps as a timeline: a row for the task and for each depth of handlers."""
        failure = self.data["failure"]
        title = self.scenario + (f": {failure['error']}" if failure else "")
        draw(path, self._rows(), self._bars(), unit="step", span=(0, len(self.steps)), title=title)

    def _rows(self) -> dict[int, str]:
        deepest = max((step.depth for step in self.steps), default=0)
        return {depth: f"handler {depth}" if depth else "task" for depth in range(deepest + 1)}

    def _bars(self) -> list[Bar]:
        end = len(self.steps)
        bars = [Bar(0, 0, end, "call", self.scenario.partition(":")[2])]
        begun: list[tuple[int, str]] = []
        held: dict[str, list[tuple[int, int]]] = {"pcp->lock": [], "zone->lock": []}
        for at, step in enumerate(self.steps):
            if step.kind == "interrupt":
                begun.append((at, step.text.strip("- ")))
            elif step.kind == "return" and begun:
                since, name = begun.pop()
                bars.append(Bar(step.depth, since, at + 1, "interrupt", name))
            elif step.kind == "lock" and step.lock:
                held[step.lock].append((at, step.depth))
            elif step.kind == "unlock" and step.lock and held[step.lock]:
                since, depth = held[step.lock].pop()
                bars.append(Bar(depth, since, at + 1, step.lock.partition("->")[0], step.lock))
        # What a failure left open lasts to the end.
        bars += [Bar(depth + 1, since, end, "interrupt", name) for depth, (since, name) in enumerate(begun)]
        for lock, open_ in held.items():
            bars += [Bar(depth, since, end, lock.partition("->")[0], lock) for since, depth in open_]
        return bars

    def __str__(self) -> str:
        """The interleaving that failed, one step a line, or what was covered."""
        covered = f"{self.data['executions']} executions, up to {self.bound} handlers each"
        failure = self.data["failure"]
        if failure is None:
            every = "all" if self.complete else "a part"
            return f"{self.scenario}: nothing wrong in {covered} ({every} of them within the bound)"
        kind = "deadlock" if failure["deadlock"] else "broken"
        lines = [f"{self.scenario}: {kind} after {covered}", f"  {failure['error']}", "", *map(str, self.steps), ""]
        choices = ",".join(map(str, failure["choices"]))
        return "\n".join([*lines, f"choices at the points, in order: {choices}"])


def explore(
    scenario: str = "up-before-fix:drain",
    bound: int = 2,
    *,
    model: str | None = None,
    handlers: Sequence[str] | None = None,
    limit: int = 1_000_000,
    choices: Sequence[int] | None = None,
) -> Exploration:
    """Runs interrupt handlers at every point of a call, and checks lists, counts, owners and results.

    Args:
        scenario: "LOCKING:CALL". LOCKING is up-before-fix, up, smp or rt. The first two are kernels before 7.1; since
            then, a build without SMP has no per-CPU lists and nothing to explore. CALL is the call that is interrupted.
            With model "lists" it is drain, bulk, alloc or free. With model "core" it is v1, v2, v3, alloc, free, drain,
            or a caller and its form, such as svc_alloc_arg/before.
        bound: Most handlers in one execution, 0 to 8.
        model: "lists" (the per-CPU lists, step by step) or "core" (the emulator itself). If None, "core" where
            possible.
        handlers: Calls that handlers make. If None, those that allocate or free.
        limit: Most executions to run; `complete` says whether that was enough.
        choices: The choices of one execution, as a failure prints them: at each point, 0 to continue or k to run the
            k-th handler. Missing choices are 0. Only this execution is run.

    Raises:
        InvalidArgument: An unknown name, a bound out of range, or choices that fit no execution.

    Example:
        >>> import bulkpages as bp
        >>> bp.explore("up:drain").ok, bp.explore("up-before-fix:drain").ok
        (True, False)
    """
    need("scenario", scenario, str)
    locking, colon, call = scenario.partition(":")
    if not colon:
        raise InvalidArgument(f'scenario {scenario!r} is not of the form "LOCKING:CALL"')
    if model is None:
        model = "lists" if locking == "up-before-fix" or call == "bulk" else "core"
    if handlers is None:
        handlers = ("alloc", "free", "bulk") if model == "lists" else ("alloc", "free", "v1", "v2")
    given = None if choices is None else list(choices)
    if given is not None and any(isinstance(c, bool) or not isinstance(c, int) or not 0 <= c < 1 << 32 for c in given):
        raise InvalidArgument(f"choices {given} are not whole numbers from 0 to 2^32 - 1")
    data = _core.explore_interrupts(model, locking, call, list(handlers), bound, limit, given)
    return Exploration(scenario, bound, data)
