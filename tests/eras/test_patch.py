"""What the patch does in each kernel: the callers' work is the same in all, the mark of the gate is not."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.eras import ERAS, PatchByKernel, patch


@pytest.fixture(scope="module")
def found() -> PatchByKernel:
    return patch()


def test_work_does_not_depend_on_the_kernel(found: PatchByKernel) -> None:
    seen: dict[tuple[str, ...], dict[str, tuple[object, ...]]] = {}
    for row in found.rows:
        what = tuple(row[k] for k in ("calls", "slot_work", "new_pages", "locked_slot_tests", "locked_pages"))
        seen.setdefault((row["caller"], row["input"], row["form"]), {})[row["kernel"]] = what
    assert len(seen) > 20
    for by_kernel in seen.values():
        assert set(by_kernel) == set(ERAS)
        assert len(set(by_kernel.values())) == 1, by_kernel


def test_the_patched_call_tests_no_slot_under_the_lock(found: PatchByKernel) -> None:
    counted = [row for row in found.rows if row["locked_slot_tests"] is not None]
    assert {row["locked_slot_tests"] for row in counted if row["form"] == "after"} == {0}
    assert all(row["locked_slot_tests"] > 0 for row in counted if row["form"] == "before")
    for row in counted:
        assert row["locked_pages"] == row["new_pages"]


def test_two_ranges_took_the_question_from_sunrpc(found: PatchByKernel) -> None:
    work = {(r["caller"], r["input"], r["form"]): r["slot_work"] for r in found.rows if r["kernel"] == "7.3"}
    one, two = ("svc_alloc_arg", "259 slots, 2 holes"), ("svc_fill_pages", "2 ranges, 1 hole each")
    assert work[*one, "after"] > 2 * work[*one, "before"]
    assert work[*two, "after"] < work[*two, "before"] < 5


def test_the_mark_changed_with_the_rule(found: PatchByKernel) -> None:
    marks = {(r["caller"], r["form"], r["kernel"]): r["mark"] for r in found.marks}
    erofs, btrfs, svc = "z_erofs_gbuf_growsize", "btrfs_alloc_page_array", "svc_alloc_arg"
    for kernel in ("6.1", "6.12"):
        assert [marks[caller, "before", kernel] for caller in (erofs, btrfs, svc)] == [64, 16, 64]
    assert [marks[caller, "before", "7.3"] for caller in (erofs, btrfs, svc)] == [48, 12, 63]
    for kernel in ERAS:
        assert [marks[caller, "after", kernel] for caller in (erofs, btrfs, svc)] == [48, 12, 8]


def test_command() -> None:
    told = CliRunner().invoke(main, ["eras", "patch", "--kernel", "6.1", "--kernel", "7.3"])
    assert told.exit_code == 0
    assert "  all " in told.stdout
    assert "  6.1 " in told.stdout
    one = CliRunner().invoke(main, ["eras", "patch", "--kernel", "7.3", "--json"])
    assert {row["kernel"] for row in json.loads(one.stdout)["rows"]} == {"7.3"}
    assert CliRunner().invoke(main, ["eras", "patch", "--kernel", "5.4"]).exit_code == 2
    with pytest.raises(bp.InvalidArgument, match=r"'5\.4' is not one of"):
        patch("5.4")
