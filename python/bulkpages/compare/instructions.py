"""Exact instructions of a fill, counted by valgrind's callgrind, which sees no noise and no caches either."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bulkpages.compare.cells import Cell, Conditions

__all__ = ["count_instructions"]

# The difference of two runs is free of what happens once: the first refills, and growing tables.
FEW, MANY = 192, 448
# Of a pool loop: whole refills of 64.
POOL_FEW, POOL_MANY = 6400, 12800
INSIDE = ("*fill*Trial*timed*", "*trial*pool_loop*")
TIMEOUT = 300
CORE_FORMS = {"v1": "before", "v2": "after"}


def _collected(valgrind: str, arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no"]
        command += [f"--toggle-collect={name}" for name in INSIDE]
        command += [sys.executable, "-m", "bulkpages.compare.one", *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
        match = re.search(r"^(?:summary|totals): (\d+)", out.read_text(errors="replace"), re.MULTILINE)
    if match is None or match[1] == "0":
        raise ValueError("valgrind counted nothing: the extension has no symbols")
    return int(match[1])


def _arguments(cell: Cell, form: str) -> list[str]:
    if cell.bench:
        return ["page_pool", form, cell.bench]
    if cell.filler:
        return [cell.filler, form, cell.shape]
    period = cell.hole_period
    shape = "".join("." if not period or i % period == 0 else "x" for i in range(cell.nr_pages))
    return ["core", CORE_FORMS[form], shape]


def _units(cell: Cell) -> int:
    """Units in one iteration: cost of the core call is per page."""
    return 1 if cell.bench or cell.filler else cell.holes


def count_instructions(cells: list[Cell]) -> list[dict[str, Any]] | str:
    """Instructions per unit of every form, machine as recorded; a text says why there are none.

    Each row: cell, form, unit, instructions.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return "valgrind is not installed"
    tasks = [(cell, form) for cell in cells if cell.conditions == Conditions() for form in cell.forms]

    def count(task: tuple[Cell, str]) -> dict[str, Any]:
        cell, form = task
        few, many = (POOL_FEW, POOL_MANY) if cell.bench else (FEW, MANY)
        arguments = _arguments(cell, form)
        low, high = (_collected(valgrind, [*arguments, str(n)]) for n in (few, many))
        return {
            "cell": cell.name,
            "form": form,
            "unit": cell.unit,
            "instructions": (high - low) / (many - few) / _units(cell),
        }

    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(count, tasks))
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return str(error)
