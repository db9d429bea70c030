"""Exact instructions that the emulator itself takes for a fill, counted by valgrind's callgrind; not the kernel's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bulkpages.suite.trunk.cells import BulkLoop, Cell, Fill, PoolLoop
from bulkpages.suite.trunk.states import AS_RECORDED

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
        command += [sys.executable, "-m", "bulkpages.suite.experiments.one", *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
        match = re.search(r"^(?:summary|totals): (\d+)", out.read_text(errors="replace"), re.MULTILINE)
    if match is None or match[1] == "0":
        raise ValueError("valgrind counted nothing: the extension has no symbols")
    return int(match[1])


def _arguments(cell: Cell, form: str) -> list[str]:
    match cell:
        case PoolLoop():
            return ["page_pool", form, cell.loop]
        case Fill():
            return [cell.filler, form, cell.pattern]
        case BulkLoop(nr_pages=slots, hole_period=period):
            shape = "".join("." if not period or i % period == 0 else "x" for i in range(slots))
            return ["core", CORE_FORMS[form], shape]
    raise TypeError(f"no instruction counts of {cell!r}")


def _units(cell: Cell) -> int:
    """Units in one iteration: cost of the core call is per page."""
    return cell.holes if isinstance(cell, BulkLoop) else 1


def count_instructions(cells: Sequence[Cell]) -> list[dict[str, Any]] | str:
    """Instructions per unit of every form, machine as recorded; a text says why there are none.

    Each row: cell, form, unit, instructions.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return "valgrind is not installed"
    tasks = [(cell, form) for cell in cells if cell.conditions == AS_RECORDED for form in cell.forms]

    def counted(task: tuple[Cell, str]) -> dict[str, Any]:
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
            return list(pool.map(counted, tasks))
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return str(error)
