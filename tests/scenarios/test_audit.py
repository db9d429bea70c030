"""The caller audit: who retries, who works with less, and who fails although memory is free."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main

CAUSES = ("accounting", "page owner", "trylock", "watermark", "no SMP")


@pytest.fixture(scope="module")
def audit() -> bp.callers.Audit:
    return bp.callers.audit(pages=16)


def test_what_each_caller_does_when_a_call_returns_one_page(audit: bp.callers.Audit) -> None:
    found: dict[str, list[str]] = {}
    for row in audit.rows:
        found.setdefault(row["caller"], []).append(row["outcome"])
    uncharged = {
        "retries": ["unharmed"] + 4 * ["retries"],
        "short": ["unharmed"] + 4 * ["short"],
        "fails": ["unharmed"] + 4 * ["fails"],
    }
    assert found == {
        "virtiovf_add_migration_pages": 5 * ["retries"],
        "btrfs_alloc_page_array": uncharged["retries"],
        "z_erofs_gbuf_growsize": uncharged["retries"],
        "__page_pool_alloc_pages_slow": uncharged["retries"],
        "svc_fill_pages": uncharged["retries"],
        "mlx5vf_add_pages": 5 * ["retries"],
        "io_region_allocate_pages": 5 * ["fails"],
        "fw_iso_buffer_alloc": uncharged["fails"],
        "ar_context_init": uncharged["fails"],
        "alloc_init_dir_deleg": 5 * ["unharmed"],
        "blk_crypto_alloc_enc_bio": uncharged["retries"],
        "fuse_readdir_alloc_buf": uncharged["short"],
        "copy_splice_read": uncharged["short"],
        "vm_area_alloc_pages": uncharged["retries"],
        "kasan_populate_vmalloc": uncharged["retries"],
        "vm_module_tags_populate": uncharged["retries"],
        "alloc_private_pages": uncharged["retries"],
    }


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_without_smp_older_kernels_keep_their_lists(kernel: str, audit: bp.callers.Audit) -> None:
    older = bp.callers.audit(pages=16, kernel=kernel)
    assert older.to_dict()["kernel"] == kernel
    for row, today in zip(older.rows, audit.rows, strict=True):
        expected = "unharmed" if row["cause"] == "no SMP" else today["outcome"]
        assert row["outcome"] == expected, row
    assert {(w["caller"], w["form"], w["what"]) for w in older.ways_out} == {
        ("mlx5vf_add_pages", form, "crashes") for form in ("before", "after")
    }


def test_without_smp_loops_of_mainline_walk_what_is_there_again_and_again() -> None:
    def tests(form: str, **options: Any) -> int:
        m = bp.Machine("64MiB", cpus=1, **options)
        array = bp.callers.fill_shape(m, "." * 64)
        result = bp.callers.run(m, "btrfs_alloc_page_array", array, form=form)
        assert result.ret == 0
        return result.slot_tests

    up = {"kernel": "7.3", "rules": {"smp": False}}
    assert tests("before", **up) == 64 * 65 // 2
    assert tests("after", **up) == 64
    assert tests("before", kernel="7.3") == tests("before", kernel="6.12", rules={"smp": False}) == 65


def test_an_explanation_says_that_there_are_no_lists() -> None:
    told = ["callers", "run", "fw_iso", "--form", "before", "--pages", "4", "--explain", "--kernel", "7.3"]
    ran = CliRunner().invoke(main, [*told, "--cpus", "1", "--rule", "smp=no"])
    assert "a kernel without SMP has no per-CPU lists" in ran.stdout
    assert "-ENOMEM" in ran.stdout
    for wrong in ("smp", "smp=perhaps", "luck=yes"):
        assert CliRunner().invoke(main, [*told, "--rule", wrong]).exit_code == 2
    assert CliRunner().invoke(main, [*told, "--rule", "smp=no", "--rule", "smp=yes"]).exit_code == 2


def test_failing_callers_had_free_memory_and_got_one_page(audit: bp.callers.Audit) -> None:
    for row in audit.rows:
        if row["outcome"] == "fails":
            assert row["first"] == 1, row
            assert row["free"] > 1000, row


def test_each_command_of_the_table_shows_its_line(audit: bp.callers.Audit) -> None:
    for row in audit.rows:
        if row["caller"] == "__page_pool_alloc_pages_slow":
            continue
        words = shlex.split(row["command"])
        assert words[0] == "bulkpages"
        ran = CliRunner().invoke(main, [*words[1:], "--json"])
        assert ran.exit_code == 0, ran.output
        result = json.loads(ran.stdout)
        assert (result["ret"], len(result["bulk_calls"])) == (row["ret"], row["calls"]), row["command"]


def test_one_way_out_leaves_memory_wrong(audit: bp.callers.Audit) -> None:
    wrong = {(w["caller"], w["form"], w["what"]) for w in audit.ways_out}
    assert wrong == {("mlx5vf_add_pages", form, "crashes") for form in ("before", "after")}
    assert not any("repaired" in w["input"] for w in audit.ways_out)


def test_stale_pointers_of_module_tags_would_be_pages_for_v1_only() -> None:
    m = bp.Machine("64MiB")
    with m.faults(vmap=True), pytest.raises(bp.ApiMisuse):
        # The second call takes four pages for populated that were freed, and frees them again.
        bp.callers.run(m, "vm_module_tags_populate", pages=4, flags=["again"], form="before")
    m = bp.Machine("64MiB")
    with m.faults(vmap=True):
        told = bp.callers.run(m, "vm_module_tags_populate", pages=4, flags=["again"], form="after")
    assert (told.ret, told.freed, m.audit().allocated) == (-12, 8, 0)


def test_the_way_out_of_mlx5_needs_two_pages() -> None:
    m = bp.Machine("64MiB")
    with m.faults(pages=1):
        assert bp.callers.run(m, "mlx5vf_add_pages", pages=4, form="before").ret == -12
    with m.faults(pages=2), pytest.raises(bp.ApiMisuse, match=r"page_list\[1\]"):
        bp.callers.run(m, "mlx5vf_add_pages", pages=4, form="before")
    m = bp.Machine("64MiB")
    with m.faults(pages=2):
        told = bp.callers.run(m, "mlx5vf_add_pages", pages=4, flags=["repaired"], form="before")
    assert (told.ret, told.freed, m.audit().allocated) == (-12, 2, 0)


def test_an_unknown_caller_flag_or_array_is_refused() -> None:
    m = bp.Machine("64MiB")
    for name, options, match in (
        ("nobody", {}, "nobody"),
        ("io_region_allocate_pages", {"flags": ["nofail"]}, "has none"),
        ("btrfs_alloc_page_array", {}, "needs an array"),
        ("ar_context_init", {"pages": 9}, "allocates 8 pages, not 9"),
        ("io_region_allocate_pages", {"have": 1}, "begins without pages"),
    ):
        with pytest.raises(bp.InvalidArgument, match=match):
            bp.callers.run(m, name, form="before", **options)
    with pytest.raises(bp.InvalidArgument, match="behind a page"):
        bp.callers.run(m, "svc_fill_pages", bp.callers.fill_shape(m, "x.xx"), form="before")


def test_command(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["callers", "audit", "--pages", "2", "--output", str(tmp_path / "new")])
    assert ran.exit_code == 0, ran.output
    assert "io_region_allocate_pages" in ran.stdout
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"audit.json", "audit.txt", "audit.svg", "audit.png"}
    assert CliRunner().invoke(main, ["callers", "audit", "--pages", "1"]).exit_code == 2
