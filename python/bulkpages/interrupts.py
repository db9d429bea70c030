"""Interrupts at every point of an allocator call, in every order up to a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bulkpages import _core
from bulkpages.errors import InvalidArgument

__all__ = ["LOCKINGS", "Exploration", "explore"]

LOCKINGS = ("up-before-fix", "up", "smp", "rt")


@dataclass(frozen=True)
class Exploration:
    """What an exploration found.

    Attributes:
        scenario: Its name, as given.
        bound: Handlers in one execution, at most.
        data: Everything, as plain values: `executions`, `points`, `handlers`, `complete`, `failure`.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"scenario": self.scenario, "bound": self.bound, **self.data}

    def __str__(self) -> str:
        """The interleaving that failed, one step a line, or what was covered."""
        covered = f"{self.data['executions']} executions, up to {self.bound} handlers each"
        failure = self.data["failure"]
        if failure is None:
            every = "all" if self.complete else "a part"
            return f"{self.scenario}: nothing wrong in {covered} ({every} of them within the bound)"
        kind = "deadlock" if failure["deadlock"] else "broken"
        lines = [f"{self.scenario}: {kind} after {covered}", f"  {failure['error']}", "", *failure["steps"], ""]
        choices = ",".join(map(str, failure["choices"]))
        return "\n".join([*lines, f"choices at the points, in order: {choices}"])


def explore(
    scenario: str = "up-before-fix:drain",
    bound: int = 2,
    *,
    model: str | None = None,
    handlers: Sequence[str] | None = None,
    limit: int = 1_000_000,
) -> Exploration:
    """Lets handlers in at every point of a call and checks lists, counts, owners and results.

    Args:
        scenario: "LOCKING:CALL". LOCKING is up-before-fix, up, smp or rt; CALL is what gets interrupted: of the model
            "lists" drain, bulk, alloc, free; of the model "core" v1, v2, v3, alloc, free, drain.
        bound: Handlers in one execution, at most, 0 to 8.
        model: "lists", the per-CPU lists step by step, or "core", the emulator itself; None: core where it can.
        handlers: Calls that handlers make; None: those that allocate or free.
        limit: Executions at most; `complete` says whether that was enough.

    Raises:
        InvalidArgument: A name that is none, or a bound out of range.

    Example:
        >>> import bulkpages as bp
        >>> bp.explore("up:drain").ok, bp.explore("up-before-fix:drain").ok
        (True, False)
    """
    locking, colon, call = scenario.partition(":")
    if not colon:
        raise InvalidArgument(f'scenario {scenario!r} is not of the form "LOCKING:CALL"')
    if model is None:
        model = "lists" if locking == "up-before-fix" or call == "bulk" else "core"
    if handlers is None:
        handlers = ("alloc", "free", "bulk") if model == "lists" else ("alloc", "free", "v1", "v2")
    data = _core.explore_interrupts(model, locking, call, list(handlers), bound, limit)
    return Exploration(scenario, bound, data)
