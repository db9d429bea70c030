"""The failure sweep and the misuse score over all six diffs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main


@pytest.fixture(scope="module")
def sweep() -> bp.callers.Sweep:
    return bp.callers.failure_sweep(largest=70, pairs_up_to=4)


def test_right_code_never_leaks_or_corrupts(sweep: bp.callers.Sweep) -> None:
    for row in sweep.rows:
        assert not any(row["leaked"]), row
        assert not any(row["corrupt"]), row
        assert "crash" not in row["ret"], row


def test_every_branch_of_every_caller_is_reached(sweep: bp.callers.Sweep) -> None:
    reached: dict[str, set[str]] = {}
    for row in sweep.rows:
        for branch, _ in row["stops"]:
            reached.setdefault(row["caller"], set()).add(branch)
    everywhere = {"watermark", "trylock", "dry list", "single path", "preparation"}
    assert reached == {
        "virtiovf_add_migration_pages": everywhere | {"pointer array", "table append", "charge"},
        "btrfs_alloc_page_array": everywhere,
        "z_erofs_gbuf_growsize": everywhere | {"pointer array", "vmap"},
        "xfs_buf_alloc_pages": everywhere | {"pointer array"},
        "__page_pool_alloc_pages_slow": everywhere | {"DMA mapping"},
        "svc_alloc_arg": everywhere | {"stop request"},
    }


def test_only_btrfs_and_sunrpc_behave_differently_under_failures(sweep: bp.callers.Sweep) -> None:
    differing = {d["caller"] for d in sweep.differences() if d["differ"] and d["column"] in {"ret", "freed_populated"}}
    assert differing == {"btrfs_alloc_page_array", "svc_alloc_arg"}


def test_the_result_does_not_depend_on_threads() -> None:
    one, two = (bp.callers.failure_sweep(["btrfs"], largest=8, pairs_up_to=4, threads=n) for n in (1, 2))
    assert one.rows == two.rows


def test_wrong_lines_have_the_consequences_that_are_known() -> None:
    score = bp.callers.misuse_score(largest=130)
    worst = {(s["caller"], s["form"], s["slip"]): s["verdict"] for s in score.scores}
    swap = "other version's call"
    # The new caller with the old call works where the slices are all NULL, and hands out stale pointers where the
    # clearing went; the old caller with the new call leaks or overwrites, except where it owns an empty array.
    for caller in ("svc_alloc_arg", "btrfs_alloc_page_array", "z_erofs_gbuf_growsize", "xfs_buf_alloc_pages"):
        assert worst[caller, "after", swap] == "harmless"
        assert worst[caller, "before", swap] == "leak"
    for caller in ("virtiovf_add_migration_pages", "__page_pool_alloc_pages_slow"):
        assert worst[caller, "before", swap] == "harmless"
    assert worst["__page_pool_alloc_pages_slow", "after", swap] == "corruption"
    assert worst["btrfs_alloc_page_array", "after", "mixes counts"] == "leak"
    assert worst["btrfs_alloc_page_array", "after", "wrong base"] == "corruption"
    assert worst["svc_alloc_arg", "before", "forgets to clear"] == "corruption"
    assert ("svc_alloc_arg", "v3", "wrong base") not in worst


def test_a_crash_of_the_right_line_too_is_no_consequence_of_the_wrong_one() -> None:
    score = bp.callers.misuse_score(["mlx5"], today=True, largest=16)
    worst = {(s["form"], s["slip"]): s["verdict"] for s in score.scores}
    assert worst["before", "other version's call"] == "harmless"
    assert worst["after", "forgets to clear"] == "harmless"
    assert worst["after", "mixes counts"] == "leak"


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
def test_the_sweep_names_who_leaves_memory_wrong(kernel: str) -> None:
    found = bp.callers.failure_sweep(["mlx5", "fw_iso"], today=True, largest=16, pairs_up_to=0, kernel=kernel)
    assert {(w["caller"], w["form"], w["what"]) for w in found.wrongs()} == {
        ("mlx5vf_add_pages", "before", "crashes"),
        ("mlx5vf_add_pages", "after", "crashes"),
    }
    assert found.to_dict()["wrongs"] == found.wrongs()
    told = CliRunner().invoke(main, ["callers", "failures", "--today", "--only", "mlx5", "--largest", "16"])
    assert told.exit_code == 1
    assert "Callers that leave memory wrong" in told.stdout
    assert "Callers that leave memory wrong" not in bp.callers.failure_sweep(["erofs"], largest=4, pairs_up_to=0).text()


@pytest.mark.parametrize("kernel", ["6.1", "7.3"])
def test_callers_keep_to_their_forms_in_every_kernel(kernel: str) -> None:
    """What a form does when something fails is the form's: the kernels differ in pages, not in outcomes."""
    usual = bp.callers.failure_sweep(["btrfs", "svc"], largest=16, pairs_up_to=0)
    other = bp.callers.failure_sweep(["btrfs", "svc"], largest=16, pairs_up_to=0, kernel=kernel)
    assert (usual.kernel, other.kernel, other.to_dict()["kernel"]) == ("6.12", kernel, kernel)
    assert [row["ret"] for row in other.rows if not row["stops"]] == [
        row["ret"] for row in usual.rows if not row["stops"]
    ]
    assert other.runs > 1000
    for row in other.rows:
        assert not any(row["leaked"]), row
        assert not any(row["corrupt"]), row


def test_today_is_the_newest_kernel() -> None:
    assert bp.callers.failure_sweep(["dir_deleg"], today=True, largest=4, pairs_up_to=0).kernel == "7.3"
    assert bp.callers.misuse_score(["dir_deleg"], today=True, largest=4, kernel="6.1").kernel == "6.1"
    told = bp.callers.misuse_score(["dir_deleg"], today=True, largest=4, rules={"smp": False})
    assert (told.kernel, told.rules) == ("7.3", {"smp": False})
    assert "7.3 without smp" in told.text()
    with pytest.raises(bp.InvalidArgument, match=r"5\.4"):
        bp.callers.failure_sweep(["btrfs"], kernel="5.4")
    with pytest.raises(bp.InvalidArgument, match="luck"):
        bp.callers.failure_sweep(["btrfs"], rules={"luck": True})


def test_commands(tmp_path: Path) -> None:
    run = CliRunner().invoke
    listed = run(main, ["callers", "list", "--json"])
    assert [row["name"] for row in json.loads(listed.stdout)] == [name for name, _, _ in bp.callers.CALLERS]
    told = run(main, ["callers", "run", "svc", "--form", "after", "--shape", "x.x.", "--explain"])
    assert told.exit_code == 0
    assert "x>oo" in told.stdout
    swept = run(main, ["callers", "failures", "--only", "btrfs", "--largest", "4", "--output", str(tmp_path / "new")])
    assert swept.exit_code == 0, swept.output
    assert "freed_populated" in swept.stdout
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"sweep.json", "sweep.txt", "sweep.svg", "sweep.png"}
    assert run(main, ["callers", "failures", "--only", "nfs"]).exit_code == 2
    assert run(main, ["callers", "run", "svc", "--form", "before", "--shape", "x?"]).exit_code == 2
    assert run(main, ["callers", "run", "svc", "--form", "before", "--fault", "pages=x"]).exit_code == 2
    assert run(main, ["callers", "misuse", "--only", "erofs", "--largest", "4", "--json"]).exit_code == 0
