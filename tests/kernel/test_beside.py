"""Kernels of one's own beside the answer: whose figure stands in which column, on stored answers of a real one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bulkpages.errors import KernelError
from bulkpages.kernel import Kernel
from bulkpages.kernel.beside import measure_kernels
from bulkpages.provenance import provenance
from bulkpages.suite.output.mail import reply
from bulkpages.suite.output.page import page
from bulkpages.suite.output.screen import print_own_kernels
from bulkpages.suite.run import Request, choose, exact, state_file
from bulkpages.suite.trunk.results import OF_THE_RUN, model_errors

NAMES = ("null-64", "svc-small-rpc", "page_pool03_slow")


def kernel(folder: Path, semantics: str) -> Kernel:
    """A kernel that was counted: what it says is kept beside it, so that it is never started."""
    from bulkpages.kernel.bench import COUNTS
    from bulkpages.kernel.cells import measured_cells

    folder.mkdir()
    factor = 1.0 if semantics == "null_only" else 2.0
    names = [cell.name for cell in measured_cells()]
    cells = {name: {"mean": factor * (100 + i), "least": 90.0} for i, name in enumerate(names)}
    (folder / COUNTS).write_text(json.dumps({"key": folder.name, "asked": names, "cells": cells}))
    return Kernel(folder, "6.12.117", "/sources", (), semantics, {}, True, "", folder.name, "gcc 12")


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    request = Request(choose(True, NAMES), chosen=True)
    with state_file(None) as state:
        return exact(request, state) | {
            "provenance": provenance(),
            "command": "bulkpages compare",
            "seed": None,
            "seconds": 1.0,
            "complete": True,
        }


def test_each_kernel_stands_beside_its_own_form(results: dict[str, Any], tmp_path: Path) -> None:
    kernels = [kernel(tmp_path / "before", "null_only"), kernel(tmp_path / "after", "output_only")]
    own = measure_kernels(kernels, choose(True, NAMES), results, rounds=0)
    known = {row["cell"]: row["instructions"] for row in results["rows"] if row["form"] in ("v2", "after")}
    assert [row["cell"] for row in own["rows"]] == [cell.name for cell in choose(True, NAMES)]
    for row in own["rows"]:
        assert row["model"] == [known[row["cell"]]["base"]["estimate"], known[row["cell"]]["form"]["estimate"]]
        assert row["instructions"][1] == 2 * row["instructions"][0]
        assert row["cycles"] == [None, None]
    assert [one["form"] for one in own["kernels"]] == ["v1", "v2"]
    assert json.loads(json.dumps(own, allow_nan=False)) == own


def test_a_caller_with_a_form_of_its_own_stands_beside_that(results: dict[str, Any], tmp_path: Path) -> None:
    one = replace(kernel(tmp_path / "before", "null_only"), forms={"svc_alloc_arg": "tracked"})
    assert [one.form_of(name) for name in ("core", "svc_alloc_arg", "xfs_buf_alloc_pages")] == [
        "v1",
        "tracked",
        "before",
    ]
    own = measure_kernels([one], choose(True, NAMES), results, rounds=0)
    model = {row["cell"]: row["model"] for row in own["rows"]}
    known = {(row["cell"], row["form"]): row["instructions"] for row in results["rows"]}
    assert model["svc-small-rpc"] == [known["svc-small-rpc", "tracked"]["form"]["estimate"]]
    assert model["null-64"] == [known["null-64", "v2"]["base"]["estimate"]]


def test_how_far_the_model_is_off() -> None:
    def row(name: str, model: float | None, counted: float | None) -> dict[str, Any]:
        return {"cell": name, "model": [model], "instructions": [counted]}

    own = {"rows": [row("a", 99.0, 100.0), row("b", 110.0, 100.0), row("c", 100.0, 100.0), row("d", None, 1.0)]}
    found = model_errors(own, 0)
    assert found is not None
    assert (found["rows"], found["cell"]) == (3, "b")
    assert (round(found["median"], 6), round(found["largest"], 6)) == (1.0, 10.0)
    assert model_errors({"rows": [row("d", None, 1.0), row("e", 1.0, None)]}, 0) is None


def test_all_outputs_show_them(results: dict[str, Any], tmp_path: Path) -> None:
    kernels = [kernel(tmp_path / "before", "null_only"), kernel(tmp_path / "after", "output_only")]
    own = measure_kernels(kernels, choose(True, NAMES), results, rounds=0)
    whole = results | {"own_kernels": own}
    console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_own_kernels(whole, console)
    for text in (reply(whole), page(whole), console.export_text()):
        assert "before: Linux 6.12.117, gcc 12; its bulk call is mainline." in text
        assert "svc-small-rpc" in text
    assert max(map(len, reply(whole).splitlines())) <= 75
    assert "Kernels built here" not in page(results)
    assert "own_kernels" in OF_THE_RUN


def test_a_wrong_kernel_or_too_many(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from bulkpages.cli import main

    found = CliRunner().invoke(main, ["compare", "--quick", "--no-timing", "--kernel", str(tmp_path)])
    assert found.exit_code == 2
    assert "holds no kernel of `bulkpages kernel build`" in found.output
    found = CliRunner().invoke(main, ["compare", *["--kernel", str(tmp_path)] * 3])
    assert "one or two kernels, not 3" in found.output
    assert not (tmp_path / "results").exists()


def test_missing_qemu_is_reported_before_anything_runs(
    results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kernel(tmp_path / "before", "null_only")
    (one.folder / "instructions.json").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelError, match=r"not installed: qemu-system-x86_64"):
        measure_kernels([one], choose(True, NAMES), results, rounds=2)
