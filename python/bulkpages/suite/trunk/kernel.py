"""Cycles that the real kernel's own functions took, on the processors on which they were measured.

Cycles hold for their processor alone. `same_processor` says whether the program runs on that one; figures of another
are named, and never set against anything measured here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from bulkpages.eras.rules import DEFAULT
from bulkpages.suite.trunk.cells import Cell

__all__ = ["EPYC", "XEON", "Cycles", "kernel_cycles", "loop_cycles", "loops_of", "same_processor", "timings"]

XEON, EPYC = "Intel Xeon @ 2.6 GHz", "AMD EPYC"
CONDITIONS = {"as recorded": "warm", "cold lists": "cold"}


@dataclass(frozen=True)
class Cycles:
    """What two forms took in the kernel, per unit of their cell.

    Attributes:
        processor: On which processor.
        base: Median cycles of the first form.
        form: Median cycles of the other.
    """

    processor: str
    base: float
    form: float

    @property
    def percent(self) -> float:
        """The difference, in % of the first form."""
        return (self.form / self.base - 1) * 100

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"percent": self.percent}


@cache
def _data(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(files("bulkpages").joinpath(f"data/{name}.json").read_text()))


def timings() -> dict[str, Any]:
    """The kernel's own loops on the first processor, with exact instructions; `meta` says how they were measured."""
    return _data("timings")


def _median(value: Any) -> float:
    return float(value["median"] if isinstance(value, dict) else value)


def loop_cycles(
    api: str, nr_pages: int = 0, hole_period: int = 0, *, bench: str | None = None, data: dict[str, Any] | None = None
) -> float | None:
    """Median cycles of one of the kernel's loops, per page or operation; None where it was not run.

    Args:
        api: single, v1 or v2.
        nr_pages: Slots of the array.
        hole_period: 0: all NULL; k: every k-th slot a hole.
        bench: The loop of the page_pool benchmark, in place of an array.
        data: Measurements of another processor than those of `timings`.
    """
    data = timings() if data is None else data
    for row in data["page_pool" if bench else "bulk"]:
        if bench and (row["api"], row["bench"]) == (api, bench):
            return _median(row["cycles_per_op"])
        if not bench and (row["api"], row["nr_pages"], row["hole_period"]) == (api, nr_pages, hole_period):
            return _median(row["alloc_cycles_per_page"])
    return None


def loops_of(cpu: str) -> dict[str, Any] | None:
    """The loops as they were measured on this model of processor; None where they were not.

    Args:
        cpu: The name of the processor, as /proc/cpuinfo has it.
    """
    return next((data for name, data in _loops().items() if same_processor(name, cpu)), None)


def _loops() -> dict[str, dict[str, Any]]:
    return {XEON: timings(), EPYC: _data("timings-amd")}


@cache
def _fills() -> dict[tuple[str, str, str, str], float]:
    keys = ("caller", "form", "condition", "pattern")
    return {
        cast("tuple[str, str, str, str]", tuple(row[key] for key in keys)): _median(row["cycles_per_fill"])
        for row in _data("fills-amd")["rows"]
    }


def _found(cell: Cell, form: str) -> Iterator[tuple[str, float | None]]:
    """The processor and what the form took on it, where it was measured."""
    if cell.caller is None:
        for processor, data in _loops().items():
            yield processor, loop_cycles(form, cell.slots, cell.period, bench=cell.bench, data=data)
    elif condition := CONDITIONS.get(str(cell.conditions)):
        yield EPYC, _fills().get((cell.caller, form, condition, cell.shape))


def _model(name: str) -> tuple[str, str | None]:
    """The words of a processor's name that say which it is, and its nominal frequency where the name has one."""
    frequency = re.search(r"@?\s*(\d+(?:\.\d+)?)\s*GHz", name, re.IGNORECASE)
    words = re.sub(r"\((?:R|TM)\)|@.*|\b(?:CPU|Processor)\b", " ", name, flags=re.IGNORECASE).lower().split()
    return " ".join(words), f"{float(frequency[1]):g}" if frequency else None


def same_processor(recorded: str, here: str) -> bool:
    """Whether two names, as /proc/cpuinfo has them, are one model's."""
    return _model(recorded) == _model(here)


def kernel_cycles(cell: Cell, base: str, form: str, kernel: str = DEFAULT) -> list[Cycles]:
    """The kernel's cycles of two forms on every processor where both were measured.

    Args:
        cell: The workload.
        base: The first form.
        form: The other.
        kernel: The kernel series; cycles were measured in 6.12 alone.
    """
    if kernel != DEFAULT:
        return []
    bases = dict(_found(cell, base))
    return [
        Cycles(processor, cycles, other)
        for processor, other in _found(cell, form)
        if other is not None and (cycles := bases[processor]) is not None
    ]
