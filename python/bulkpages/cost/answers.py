"""What the model says: instructions with their interval, and a form against another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bulkpages.errors import InvalidArgument
from bulkpages.kinds import need

__all__ = ["Difference", "Instructions"]

Source = Literal["measured", "predicted"]
Unit = Literal["fill", "page", "op"]


@dataclass(frozen=True)
class Instructions:
    """Kernel instructions of one fill, page or operation.

    Attributes:
        estimate: The mean over many fills.
        low: Lower end of the interval, which contains the kernel's number in at least 95 of 100 cases.
        high: Upper end of the interval.
        source: "measured" in the kernel, or "predicted" by the model.
        unit: What is counted: a "fill" of an array, a "page", or an "op" of a page_pool.
        kernel: The kernel's version.
        extrapolated: Whether the array is larger than any in the fit, or the code was never measured.
        steps: Instructions by step of the model, with names as in `STEPS`. They add up to the model's estimate, even if
            `estimate` was measured.
        fewest: The smallest count of a measured fill if all fills do the same work, else None. The mean is above it
            because of timer ticks.
    """

    estimate: float
    low: float
    high: float
    source: Source
    unit: Unit
    kernel: str = "6.12"
    extrapolated: bool = False
    steps: Mapping[str, float] = field(default_factory=dict)
    fewest: float | None = None

    def to_dict(self) -> dict[str, float | str | bool]:
        """The number, its interval and its source, as JSON-able values."""
        found: dict[str, float | str | bool] = {
            "estimate": round(self.estimate, 2),
            "low": round(self.low, 2),
            "high": round(self.high, 2),
            "source": self.source,
        }
        return {**found, "extrapolated": True} if self.extrapolated else found


@dataclass(frozen=True)
class Difference:
    """The instructions of one form compared with another on the same work.

    Attributes:
        base: The form compared against.
        form: The form being compared.
        instructions: Estimate, low and high of `form` minus `base`. The interval is narrower than the two intervals
            suggest, because errors common to both forms, such as the state of the free lists, cancel.
        percent: The same, in percent of `base`.
        source: "measured" if both forms were.
    """

    base: Instructions
    form: Instructions
    instructions: tuple[float, float, float]
    percent: tuple[float, float, float]
    source: Source

    def verdict(self, effect: float = 0.01) -> Literal["faster", "slower", "same", "undecided"]:
        """The verdict that the interval supports.

        Args:
            effect: Fraction of `base` below which a difference does not count; 0.01 is 1 %.

        Returns:
            "faster" or "slower" if the whole interval is beyond the effect on that side, "same" if it is within the
            effect, and "undecided" otherwise.

        Raises:
            InvalidArgument: The effect is not a fraction.
        """
        need("effect", effect, (int, float))
        if not 0 <= effect <= 1:
            raise InvalidArgument(f"effect {effect} is outside 0..=1")
        _, low, high = self.percent
        limit = 100 * effect
        if high < -limit:
            return "faster"
        if low > limit:
            return "slower"
        if -limit <= low and high <= limit:
            return "same"
        return "undecided"

    def to_dict(self) -> dict[str, object]:
        """The difference as JSON-able values."""
        names = ("estimate", "low", "high")
        return {
            "instructions": dict(zip(names, (round(x, 2) for x in self.instructions), strict=True)),
            "percent": dict(zip(names, (round(x, 3) for x in self.percent), strict=True)),
            "source": self.source,
        }
