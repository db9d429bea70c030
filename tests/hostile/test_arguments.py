"""Every public function with hostile arguments: an error that is documented, or success; nothing else."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hostile_rows import EXEMPT, EXEMPT_PREFIX, REFUSED, ROWS
from hostile_surface import surface

WORKER = Path(__file__).parent.parent / "lib" / "hostile_worker.py"
#: Seconds until all rows of one process are done; they take about a tenth of it, and longer on a busy machine.
LIMIT = 900


def lines_of(rows: list[str]) -> list[dict[str, Any]]:
    """What the worker said of these rows, and how it ended."""
    command = [sys.executable, "-X", "faulthandler", str(WORKER), *rows]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=os.environ, check=False)
        code, out, err = str(done.returncode), done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, out, err = "late", (late.stdout or b"").decode(), (late.stderr or b"").decode()
    lines = [json.loads(line) for line in out.splitlines()]
    if code != "0":
        lines.append(
            {"row": lines[-1]["row"] if lines else rows[0], "wrong": f"the process ended ({code}): {err[-3000:]}"}
        )
    return lines


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    # In a process each, for a hang or a crash to be a finding instead of the end of the tests.
    names = list(ROWS)
    with ThreadPoolExecutor(2) as pool:
        return [line for lines in pool.map(lines_of, (names[::2], names[1::2])) for line in lines]


def test_every_public_callable_has_a_row() -> None:
    public = {name for name in surface() if not name.startswith(EXEMPT_PREFIX)}
    assert len(public) > 90
    assert public - set(ROWS) == set(EXEMPT)
    methods = {name for name in ROWS if "__" in name} | {"bulkpages.what_if.Setting"}
    assert set(ROWS) - public == methods, "a row for something that is not there"


@pytest.mark.parametrize("row", ROWS)
def test_hostile_arguments(said: list[dict[str, Any]], row: str) -> None:
    of_row = [line for line in said if line["row"] == row]
    assert [line for line in of_row if "wrong" in line] == []
    assert [line["tried"] > 20 for line in of_row if "tried" in line] == [True], "the row was tried to its end"


@pytest.mark.parametrize("row", ROWS)
def test_the_call_itself_is_valid(said: list[dict[str, Any]], row: str) -> None:
    """A row whose call fails with all its arguments in place tries nothing."""
    of_row = [line for line in said if line["row"] == row and "valid" in line]
    assert len(of_row) == 1
    refusal = of_row[0]["valid"]
    assert refusal is None or (row in REFUSED and REFUSED[row] in refusal)
