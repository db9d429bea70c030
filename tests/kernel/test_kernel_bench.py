"""Measuring kernels, on what a real one answered: rows, turns, and each kernel against itself."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bulkpages.errors import KernelError
from bulkpages.kernel import Kernel, rows
from bulkpages.kernel import bench as benching
from bulkpages.kernel.bench import bench, instructions
from bulkpages.kernel.cells import REPEATS, measured_cells
from bulkpages.kernel.text import bench_text
from bulkpages.suite.trunk.cells import Cell

OUTPUT = (Path(__file__).parent / "outputs" / "native-6.12.txt").read_text()
NAMES = ("null-64", "svc-small-rpc", "page_pool03_slow")


def kernel(folder: Path) -> Kernel:
    folder.mkdir()
    for name in ("native", "emulated", "init"):
        (folder / name).touch()
    made = Kernel(folder, "6.12.117", "/sources", (), "null_only", {}, True, "", folder.name, "gcc 12")
    about = {name: getattr(made, name) for name in made.__dataclass_fields__ if name != "folder"}
    (folder / "kernel.json").write_text(json.dumps({"schema": "bulkpages-kernel-1", **about}))
    return made


def answer(rng: np.random.Generator, factor: float) -> str:
    """What a kernel says: the stored lines of some cells, with the spread of a machine, dearer by a factor."""
    lines = re.findall(rf"^cell (?:frame|{'|'.join(NAMES)}) .*$", OUTPUT, re.M)[: len(NAMES) + 1]

    def dearer(found: re.Match[str]) -> str:
        return f"{found[1]}={int(int(found[2]) * factor * rng.normal(1, 0.004))}"

    said = []
    for _ in range(REPEATS):
        said += [line if " frame " in line else re.sub(r"(sum|median)=(\d+)", dearer, line) for line in lines]
    return "\n".join(said) + "\n"


def cells() -> list[Cell]:
    return [cell for cell in measured_cells() if cell.name in NAMES]


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Kernel]:
    """Two kernels, the second of which takes a twentieth more in every cell."""
    rng = np.random.Generator(np.random.PCG64(7))
    monkeypatch.setattr(
        benching, "run_native", lambda folder, _job: answer(rng, 1.05 if folder.name == "second" else 1.0)
    )
    return [kernel(tmp_path / "first"), kernel(tmp_path / "second")]


def test_a_twentieth_is_found_and_a_kernel_against_itself_is_silent(pair: list[Kernel]) -> None:
    found = bench(pair, cells=cells(), rounds=8, count=False)
    assert [row.name for row in found.rows] == [cell.name for cell in cells()]
    for row in found.rows:
        assert row.comparison is not None
        assert row.comparison.verdict == "slower"
        assert row.comparison.low < 1.05 < row.comparison.high
    assert found.nulls.silent
    assert found.nulls.comparisons == 2 * len(NAMES)
    assert "slower (+" in bench_text(found)
    assert json.loads(json.dumps(found.to_json()))["schema"] == "bulkpages-kernel-bench-1"


def test_one_kernel_has_no_verdict(pair: list[Kernel]) -> None:
    found = bench(pair[:1], cells=cells(), rounds=2, count=False)
    assert all(row.comparison is None for row in found.rows)


def test_a_function_missing_from_a_tree_is_named(pair: list[Kernel]) -> None:
    lacking = replace(pair[0], absent={"svc_alloc_arg": "this tree has no svc_alloc_arg()"})
    found = bench([lacking, pair[1]], cells=cells(), rounds=2, count=False)
    row = next(row for row in found.rows if row.name == "svc-small-rpc")
    assert row.absent == ("this tree has no svc_alloc_arg()", "")
    assert row.cycles[0] is None
    assert "this tree has no svc_alloc_arg()" in bench_text(found)


def test_a_slot_that_stays_empty_is_not_a_figure(pair: list[Kernel], monkeypatch: pytest.MonkeyPatch) -> None:
    text = answer(np.random.Generator(np.random.PCG64(1)), 1.0).replace("filled=64 ", "filled=63 ")
    monkeypatch.setattr(benching, "run_native", lambda _folder, _job: text)
    with pytest.raises(KernelError, match=r"null-64 in Linux 6\.12\.117: 63 of 64 slots are full after the fill"):
        bench(pair, cells=cells(), rounds=2, count=False)


def test_instructions_are_counted_once(pair: list[Kernel], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(_folder: Path, job: str, _shape: object, *, counted: bool) -> str:
        assert counted
        asked.append(job)
        return OUTPUT

    monkeypatch.setattr(benching, "run_emulated", run)
    first = instructions(pair[0])
    assert instructions(pair[0]) == first
    assert len(asked) == 1
    row = next(row for row in rows(pair[0].folder) if row["name"] == "holes-256-every-8")
    assert (row["filler"], row["form"], row["unit"], row["condition"]) == ("core", "v1", "page", "warm")
    assert row["instructions"] == first["holes-256-every-8"]["mean"]
    assert row["pattern"] == ".xxxxxxx" * 32


def test_one_round_is_none(pair: list[Kernel]) -> None:
    with pytest.raises(KernelError, match=r"rounds are 0 \(no cycles\) or at least 2, not 1"):
        bench(pair, rounds=1)
