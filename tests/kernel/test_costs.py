"""The cost model fitted to a kernel, on what a real one answered: steps told apart, and how far the fit is off."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bulkpages.cli import main
from bulkpages.cost import data
from bulkpages.cost.steps import KINDS
from bulkpages.errors import KernelError
from bulkpages.kernel import Kernel, costs
from bulkpages.kernel.costs import BESIDE, KernelFit, fit_kernel, kernel_fit_text, questions

ANSWER = gzip.decompress((Path(__file__).parent / "outputs" / "costs-6.12.txt.gz").read_bytes()).decode()


def kernel(records: bool = True) -> Kernel:
    return Kernel(Path("/nowhere"), "6.12.117", "/sources", (), "null_only", {}, records, "", "key", "gcc 12")


@pytest.fixture(scope="module")
def found() -> KernelFit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costs, "run_emulated", lambda *_args, **_more: ANSWER)
        return fit_kernel(kernel())


def test_the_fit_is_closer_than_the_stored_costs(found: KernelFit) -> None:
    mine, stored = found.errors["fitted to this kernel"]["all"], found.errors["stored costs"]["all"]
    assert mine["rows"] == stored["rows"] > 40
    assert mine["median"] < 0.5
    assert stored["median"] > 3, "this kernel's function fills lists too, that of the stored rows only arrays"


def test_what_the_list_form_costs(found: KernelFit) -> None:
    """Mainline 6.12 asks for each page whether there is an array, and for each slot that holds one."""
    assert 4 < found.steps["page + slot test"][0] - found.stored["page + slot test"] < 6
    assert 1.5 < found.steps["loop slot"][0] - found.stored["loop slot"] < 2.5
    assert abs(found.steps["prefix slot"][0] - found.stored["prefix slot"]) < 0.1


def test_steps_that_no_row_tells_apart_are_one(found: KernelFit) -> None:
    assert {"page", "slot test", "compact page"}.isdisjoint(found.steps)
    names = {part for name in found.steps for part in name.split(" + ")}
    assert names == set(KINDS) - {"compact page", "compact move", "compact hole", "narrow index"}
    known = data.costs()["steps"]
    assert found.stored["page + slot test"] == pytest.approx(known["page"][0] + known["slot test"][0])


def test_the_same_column_is_found_and_no_other() -> None:
    steps = np.zeros((3, len(KINDS)))
    steps[:, 0], steps[:, 2], steps[:, 3] = (1, 2, 3), (1, 2, 3), (1, 2, 4)
    names, parts = costs._joined(steps)
    kinds = list(KINDS)
    assert names == [f"{kinds[0]} + {kinds[2]}", kinds[3]]
    assert parts.sum(axis=1).tolist() == [2, 1]


def test_rows_are_asked_once_and_none_that_cannot_be_made_again() -> None:
    asked = questions()
    assert len({(q.caller, q.condition, q.pattern) for q in asked}) == len(asked)
    assert {q.caller for q in asked} >= {"core", "svc_alloc_arg", "btrfs_alloc_page_array", *BESIDE}
    assert all(q.condition == "warm" for q in asked if q.caller in ("xfs_buf_alloc_pages", "z_erofs_gbuf_growsize"))
    assert {q.fitted for q in asked} == {True, False}


def test_text_and_json(found: KernelFit) -> None:
    text = kernel_fit_text(found)
    assert "page + slot test" in text
    assert "Not taken by this kernel's fills: compact page, compact move, compact hole, narrow index." in text
    assert "this kernel's state cannot be read" not in text
    plain = found.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_a_kernel_without_recorder_and_one_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = ANSWER.partition("endstate\n")[2]
    monkeypatch.setattr(costs, "run_emulated", lambda *_args, **_more: cells)
    found = fit_kernel(kernel(records=False))
    assert not found.own_state
    assert "this kernel's state cannot be read" in kernel_fit_text(found)
    with pytest.raises(KernelError, match=r"did not say its state"):
        fit_kernel(kernel())


def test_the_command_names_what_does_not_go_together(tmp_path: Path) -> None:
    for words, what in ((["--check"], "--check and --picture are for the stored fit"), ([], "holds no kernel of")):
        found = CliRunner().invoke(main, ["cost", "fit", str(tmp_path), *words])
        assert found.exit_code != 0
        assert what in found.output
