"""Values that a shell completes: of each option and argument whose values have names."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

__all__ = [
    "callers",
    "cells",
    "claims",
    "eras",
    "faults",
    "flags",
    "gfp",
    "gfp_names",
    "handlers",
    "mixes",
    "rule_names",
    "rules",
    "scenarios",
    "settings",
    "trees",
    "workloads",
]

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _among(values: Callable[[], Iterable[str]]) -> Completer:
    """Completes to one of these values, which are computed when a shell needs them."""

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


def _flags() -> list[str]:
    from bulkpages.callers.ports import PORTS

    return sorted({flag for port in PORTS for flag, _ in port.flags})


def _cells() -> list[str]:
    from bulkpages.kernel.cells import measured_cells

    return list(dict.fromkeys(cell.name for cell in measured_cells(quick=False)))


def _eras() -> list[str]:
    from bulkpages.eras.rules import ERAS

    return list(ERAS)


def _trees() -> list[str]:
    return [f"{era}=" for era in _eras()]


def _rule_names() -> list[str]:
    from bulkpages.eras.rules import RULES

    return list(RULES)


def _gfp(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The last of several flags, after those that are there."""
    before, bar, last = incomplete.rpartition("|")
    return [f"{before}{bar}{name}" for name in gfp_names() if name.startswith(last)]


def gfp_names() -> list[str]:
    """The flags that requests can have, by name."""
    from bulkpages import gfp as names

    return [name for name in vars(names) if name.startswith(("GFP_", "__GFP_"))]


#: Kernel functions that have ports.
callers = _among(_callers)
#: What a kernel that was built is measured in.
cells = _among(_cells)
#: Claims of the patch.
claims = _among(_claims)
#: Kernel series.
eras = _among(_eras)
#: Steps that can fail.
faults = _among(_faults)
#: What callers can be told.
flags = _among(_flags)
#: Flags of a request, with bars between them.
gfp = _gfp
#: Calls that an interrupt handler makes.
handlers = _among(_tasks)
#: What the threads of a stress run do.
mixes = _among(_mixes)
#: Rules.
rule_names = _among(_rule_names)
#: Rules that are set otherwise.
rules = _among(_rules)
#: What is explored.
scenarios = _among(_scenarios)
#: Settings of `replay --what-if`.
settings = _among(_settings)
#: Eras, each with a tree to follow.
trees = _among(_trees)
#: Workloads of a comparison.
workloads = _among(_workloads)
