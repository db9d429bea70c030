"""Values that a shell completes: of each option and argument whose values have names."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

__all__ = ["callers", "claims", "faults", "handlers", "mixes", "rules", "scenarios", "settings", "workloads"]

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _among(values: Callable[[], Iterable[str]]) -> Completer:
    """Completes to one of these values, which are asked for when a shell wants them."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        return [value for value in values() if value.startswith(incomplete)]

    return complete


def _callers() -> list[str]:
    from bulkpages import _core

    return [entry["name"] for entry in _core.callers()]


def _faults() -> list[str]:
    from bulkpages.callers.words import STEPS

    return list(STEPS)


def _tasks() -> list[str]:
    from bulkpages import _core

    return list(_core.explore_tasks())


def _rules() -> list[str]:
    from bulkpages.eras.rules import RULES

    return [f"{name}={word}" for name in RULES for word in ("yes", "no")]


def _scenarios() -> list[str]:
    return [f"{locking}:{task}" for locking in ("up-before-fix", "up", "smp", "rt") for task in _tasks()]


def _settings() -> list[str]:
    return ["refill=", "high_fraction=", "watermarks=", "pcp=off", "api=v1", "api=v2"]


def _mixes() -> list[str]:
    return ["default", "bulk", "drain", "remote-free"]


def _workloads() -> list[str]:
    from bulkpages.suite.trunk.workloads import full_cells, quick_cells

    return list(dict.fromkeys(cell.name for cell in (*quick_cells(), *full_cells())))


def _claims() -> list[str]:
    from bulkpages.suite.experiments.claims import CLAIMS

    return [claim.name for claim in CLAIMS]


#: Kernel functions that have ports.
callers = _among(_callers)
#: Claims of the patch.
claims = _among(_claims)
#: Steps that can fail.
faults = _among(_faults)
#: Calls that an interrupt handler makes.
handlers = _among(_tasks)
#: What the threads of a stress run do.
mixes = _among(_mixes)
#: Rules that are set otherwise.
rules = _among(_rules)
#: What is explored.
scenarios = _among(_scenarios)
#: Settings of `replay --what-if`.
settings = _among(_settings)
#: Workloads of a comparison.
workloads = _among(_workloads)
