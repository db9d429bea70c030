"""What has been decided at which look, and what is still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.stats import Comparison, Costs, alpha_for, compare, detectable, spend

__all__ = ["Looked", "Sequential"]


@dataclass
class Looked:
    """A comparison as it stands.

    Attributes:
        result: Of the last look that was taken at it.
        look: Which look that was, from 1.
        alarm: For a form against itself: whether any look claimed a difference.
    """

    result: Comparison
    look: int
    alarm: bool = False


@dataclass
class Sequential:
    """What has been decided so far, and at which look."""

    alpha: float = 0.0
    looks: int = 1
    effect: float = 0.01
    looks_done: int = 0
    pairs: dict[str, Looked] = field(default_factory=dict)
    nulls: dict[str, Looked] = field(default_factory=dict)

    def prepare(self, cells: Sequence[Cell], looks: int, effect: float) -> None:
        """States, before the first look, how many comparisons and looks there will be."""
        self.alpha = alpha_for(sum(len(cell.forms) - 1 for cell in cells))
        self.looks, self.effect = looks, effect

    def open(self, cell: Cell) -> bool:
        """Whether a comparison of the cell is undecided."""
        rows = [self.pairs.get(f"{cell.name} {form}") for form in cell.forms[1:]]
        return any(row is None or row.result.verdict == "undecided" for row in rows)

    def look(self, look: int, cells: Sequence[Cell], cost: dict[str, list[Costs]], seed: int) -> None:
        """Takes look number `look`, from 0, at these cells."""
        alpha = spend(self.alpha, self.looks)[look]
        pairs, nulls = dict(self.pairs), dict(self.nulls)
        for cell in cells:
            for name, result in self.compare_pairs(cell, cost[cell.name], alpha, seed + 1000 * (look + 1)):
                # What was decided stays as it was decided.
                if name not in pairs or pairs[name].result.verdict == "undecided":
                    pairs[name] = Looked(result, look + 1)
            arms = np.stack(cost[cell.name])
            for i, form in enumerate(cell.forms):
                name = f"{cell.name} {form}"
                twins = compare(arms[:, i, 0], arms[:, i, 1], alpha=alpha, effect=self.effect, seed=seed + look)
                before = nulls.get(name)
                alarm = twins.claims_difference or (before is not None and before.alarm)
                nulls[name] = Looked(twins, look + 1, alarm)
        # All or nothing: whoever is interrupted here has not looked.
        self.pairs, self.nulls, self.looks_done = pairs, nulls, look + 1

    def compare_pairs(self, cell: Cell, costs: list[Costs], alpha: float, seed: int) -> list[tuple[str, Comparison]]:
        """Every form of a cell against its first. Both twins of a form are samples of it."""
        arms = np.stack(costs).swapaxes(2, 3)
        return [
            (f"{cell.name} {form}", compare(arms[:, 0], arms[:, i], alpha=alpha, effect=self.effect, seed=seed + i))
            for i, form in enumerate(cell.forms[1:], 1)
        ]

    def detectable(self, cells: Sequence[Cell], cost: dict[str, list[Costs]], processes: int) -> list[float]:
        """For each comparison, the difference that so many processes would tell from none, by the spread so far."""
        found = []
        for cell in cells:
            logs = np.log(np.median(np.stack(cost[cell.name]), axis=(2, 3)))
            for i in range(1, len(cell.forms)):
                error = float(np.std(logs[:, i] - logs[:, 0], ddof=1)) / processes**0.5
                found.append(detectable(error, processes, self.alpha))
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data, for going on later."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Sequential:
        """A sweep from the result of `to_json`."""
        found = cls(data["alpha"], data["looks"], data["effect"], data["looks_done"])
        for what in ("pairs", "nulls"):
            for name, row in data[what].items():
                getattr(found, what)[name] = Looked(Comparison(**row["result"]), row["look"], row["alarm"])
        return found
