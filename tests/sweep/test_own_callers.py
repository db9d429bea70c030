"""Callers of one's own in sweeps, and what a result can do."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bulkpages as bp
from bulkpages import sweep
from bulkpages.errors import InvalidArgument, MissingFile

RING = Path(__file__).parents[2] / "examples" / "callers" / "ring_refill.py"
CELL = {"what": "own", "own": "ring_refill.py:ring_refill", "form": ["v1", "v2"], "holes": ["x.x.", "...."]}


def spec(folder: Path = RING.parent, /, **cell: Any) -> sweep.Spec:
    return sweep.spec_from({"title": "t", "cells": [{**CELL, **cell}]}, folder)


def test_rows_are_those_of_the_caller_itself() -> None:
    result = sweep.run(spec(), workers=1)
    for row in result.rows:
        m = bp.Machine("256MiB", cpus=2)
        space: dict[str, object] = {}
        exec(RING.read_text(), space)
        ring = space["ring"]
        assert isinstance(ring, bp.callers.Own)
        one = ring.run(m, bp.callers.fill_shape(m, row["holes"]), form=row["form"])
        assert (row["ret"], row["slot_tests"], row["slot_writes"]) == (one.ret, one.slot_tests, one.slot_writes)


def test_the_file_is_needed_once(tmp_path: Path) -> None:
    (tmp_path / "ring_refill.py").write_bytes(RING.read_bytes())
    read = spec(tmp_path)
    (tmp_path / "ring_refill.py").unlink()
    assert not sweep.run(pickle.loads(pickle.dumps(read)), workers=1).errors
    (tmp_path / "ring_refill.py").write_text(RING.read_text() + "\n# changed\n")
    assert spec(tmp_path).hash != read.hash


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        ({"own": "ring_refill.py"}, "FILE.py:NAME"),
        ({"own": "nowhere.py:ring"}, "No such file"),
        ({"own": "ring_refill.py:other"}, "no caller 'other'; it has ring"),
        ({"form": "v9"}, "has the forms v1, v2"),
        ({"api": "v1"}, "key 'api' is unknown"),
    ],
    ids=str,
)
def test_errors_are_reported_before_anything_runs(cell: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        spec(**cell)


def test_what_a_caller_raises_is_an_error_of_its_row(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import bulkpages as bp\nc = bp.callers.own('c')\n@c.form\ndef only(env, a):\n    return 1 // 0\n"
    )
    result = sweep.run(spec(tmp_path, own="bad.py:c", form="only"), workers=1)
    assert [why for _, _, why in result.errors] == ["ZeroDivisionError: integer division or modulo by zero"] * 2


def test_a_result_shows_draws_and_becomes_tables(tmp_path: Path) -> None:
    result = sweep.run(spec(nr_pages=[4, 8, 16], holes=["x.", "."]), workers=1)
    assert repr(result) == "<Result 't': 12 cells, 12 runs>"
    assert len(repr(result.spec)) < 200
    assert str(result) == result.text()
    table = result.to_table()
    assert len(table) == 12
    assert {"form", "nr_pages", "slot_writes"} <= set(table.column_names)
    assert "<table" in result._repr_html_()
    picture = tmp_path / "p.svg"
    figure = result.plot(picture, y="slot_tests")
    assert picture.stat().st_size > 1000
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("nr_pages", "slot_tests")
    assert len(axis.get_legend().get_texts()) == 4
    with pytest.raises(InvalidArgument, match="'cost' is not one of"):
        result.plot(y="cost")
    with pytest.raises(InvalidArgument, match="'memory' is not an axis"):
        result.plot(x="memory")


def test_progress_is_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    sweep.run(spec(), workers=1, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """New processes do not run the script that started them."""
    script = tmp_path / "script.py"
    script.write_text(
        "from bulkpages import sweep\n"
        "print('begins')\n"
        "r = sweep.run({'title': 't', 'seeds': 400, 'machine': {'used': 0.3, 'memory': '64MiB'},\n"
        "    'cells': [{'what': 'bulk', 'api': 'v1', 'nr_pages': 8}]}, workers=2)\n"
        "print(len(r.rows), len(r.errors))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begins\n400 0\n"


def test_a_missing_file() -> None:
    with pytest.raises(MissingFile):
        sweep.read_spec("nowhere.toml")
