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
        estimate: Their number, the mean of many fills.
        low: Lower end of the interval that holds the kernel's number in at least 95 of 100 cases.
        high: Its upper end.
        source: "measured" in the kernel, or "predicted" by the model.
        unit: What it is the cost of: a "fill" of an array, a "page", an "op" of a page_pool.
        kernel: Version of the kernel.
        extrapolated: Whether the array is larger than any that the model was fitted to, or the code was never measured.
        steps: Instructions by step of the model, names as in `STEPS`. They sum up to the model's own estimate, for what
            was measured too.
        fewest: The smallest count of a measured fill, where all fills do the same; None where that is not known. What
            the mean has above it are timer ticks.
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
        """The number, its interval and where it is from, as JSON-able values."""
        found: dict[str, float | str | bool] = {
            "estimate": round(self.estimate, 2),
            "low": round(self.low, 2),
            "high": round(self.high, 2),
            "source": self.source,
        }
        return {**found, "extrapolated": True} if self.extrapolated else found


@dataclass(frozen=True)
class Difference:
    """One form's instructions against another's on the same work.

    Attributes:
        base: The form that is compared with.
        form: The form that is compared.
        instructions: Estimate, low and high of `form` less `base`. Narrower than the two intervals: what the model gets
            wrong in both forms alike, such as the state of the free lists, is not in it.
        percent: The same in percent of `base`.
        source: "measured" where both are.
    """

    base: Instructions
    form: Instructions
    instructions: tuple[float, float, float]
    percent: tuple[float, float, float]
    source: Source

    def verdict(self, effect: float = 0.01) -> Literal["faster", "slower", "same", "undecided"]:
        """What the interval allows to say.

        Args:
            effect: Share of the base below which a difference does not count; 0.01 is 1 %.

        Returns:
            "faster" or "slower" when the whole interval is beyond the effect on that side, "same" when it is within the
            effect, "undecided" otherwise.

        Raises:
            InvalidArgument: An effect that is no share.
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
