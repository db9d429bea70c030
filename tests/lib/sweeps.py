"""What tests of sweeps share."""

from typing import Any

from bulkpages.sweep import Result, Spec
from bulkpages.sweep.unit import run_cell

#: A run of this takes some milliseconds, nearly all of them to bring the machine into its state.
SLOW: dict[str, Any] = {
    "title": "slow",
    "seeds": 60,
    "machine": {"memory": "64MiB", "used": 0.5, "aged": 500},
    "cells": [
        {"what": "bulk", "api": ["v1", "v2"], "nr_pages": 64, "holes": "random 8", "faults": ["none", "pages=3"]},
    ],
}


def serial(spec: Spec) -> list[tuple[int, int, dict[str, Any]]]:
    """Every run, one after the other, by nothing but the function that makes one."""
    return [
        (i, seed, run_cell(cell, seed, spec.states))
        for i, cell in enumerate(spec.cells)
        for seed in spec.seeds[: spec.seeds_of(i)]
    ]


def same(result: Result) -> bool:
    """Whether the rows of a result are those of a serial run: none lost, none twice, none different."""
    return list(result.found) == serial(result.spec)
