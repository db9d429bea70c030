"""Why a request fails: the figures are the emulator's, each remedy holds, the command reads requests from reports."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from kernels import Shape, Zone, blocks_of, buddyinfo, pagetypeinfo, zoneinfo
from reports import LogShape, report

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.eras import ERAS
from bulkpages.eras.rules import of_kernel
from bulkpages.formats.proc import read_proc

REPORTS = Path(__file__).parents[2] / "examples" / "reports"
TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic")
GFPS = {
    "GFP_KERNEL": bp.GFP_KERNEL,
    "GFP_ATOMIC": bp.GFP_ATOMIC,
    "GFP_NOWAIT": bp.GFP_NOWAIT,
    "GFP_HIGHUSER_MOVABLE": bp.GFP_HIGHUSER_MOVABLE,
    "GFP_DMA32": bp.GFP_KERNEL | bp.__GFP_DMA32,
    "memalloc": bp.GFP_KERNEL | bp.__GFP_MEMALLOC,
}


def machine(zones: Sequence[Zone], types: Sequence[str] = TYPES, kernel: str = "6.12") -> bp.Machine:
    texts = {"zoneinfo": zoneinfo(zones, Shape()), "buddyinfo": buddyinfo(zones)}
    texts["pagetypeinfo"] = pagetypeinfo(zones, types)
    return bp.Machine.from_snapshot(of_kernel(read_proc(texts).snapshot, kernel))


def zone(name: str, at: int, counts: Sequence[int], reserve: Sequence[int] = (0, 0, 0, 0), **more: object) -> Zone:
    values = {"marks": (100, 125, 150), "types": {"Movable": counts}} | more
    return Zone(name, at, 8192, values.pop("marks"), reserve, counts, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("kernel", ERAS)
@pytest.mark.parametrize("seed", range(4))
def test_the_figures_agree_with_the_emulator(seed: int, kernel: str) -> None:
    """Where no test passes nothing is served; what is served is of a zone that passes."""
    rng = random.Random(seed)
    zones = []
    for i, name in enumerate(("DMA32", "Normal")):
        types = {kind: [rng.randrange(60) >> order for order in range(11)] for kind in TYPES[:3]}
        counts = [sum(column) for column in zip(*types.values(), strict=True)]
        most = rng.randrange(50, 700)
        marks = (most // 2, most * 3 // 4, most)
        reserve = [0, 0, rng.randrange(400), rng.randrange(800)] if i == 0 else [0] * 4
        zones.append(zone(name, 4096 + 8192 * i, counts, reserve, types=types, marks=marks))
    m = machine(zones, kernel=kernel)
    before = m.snapshot()
    for gfp in GFPS.values():
        for order in (0, 1, 3, 4, 9):
            found = m.explain(gfp, order)
            passing = [t.zone for _, tests in found.tests for t in tests if t.passes]
            assert found.works == bool(passing), str(found)
            if found.works:
                assert found.got in [f"a block from {name}" for name in passing], str(found)
                assert found.got.removeprefix("a block from ") in found.reason
    assert m.snapshot() == before


def test_fragmentation_names_the_order() -> None:
    m = machine([zone("Normal", 4096, [900, 300, 50, *[0] * 8])])
    found = m.explain("GFP_KERNEL", 4)
    assert (found.works, "no free block of order 4" in found.reason) == (False, True)
    (test,) = found.tests[0][1]
    assert (test.short, test.largest, test.has_block) == (0, {"Movable": 2}, False)
    worked = {remedy.kind for remedy in found.remedies if remedy.works}
    assert {"block", "pages", "order"} <= worked
    assert not any(remedy.works for remedy in found.remedies if remedy.kind in ("sysctl", "flag"))


def test_the_reserve_decides_and_so_does_its_sysctl() -> None:
    m = machine([zone("DMA32", 4096, blocks_of(4000), (0, 0, 6000, 6000)), zone("Normal", 12288, [0] * 11)])
    found = m.explain("GFP_KERNEL")
    assert not found.works
    low = next(t for t in found.tests[1][1] if t.zone == "0.DMA32")
    # 4000 must be more than 100 + 6000.
    assert (low.free, low.mark, low.reserve, low.short) == (4000, 100, 6000, 2101)
    what = [remedy.what for remedy in found.remedies if remedy.works]
    assert "vm.lowmem_reserve_ratio 2 times as high" in what
    # 101 is the first number above the mark; other zones need more.
    assert "101 more free pages in 0.Normal" in what


def test_one_page_less_does_not_do() -> None:
    """The number of pages is the least one, on the emulator."""
    for free in (20, 90, 99):
        m = machine([zone("Normal", 4096, [free, *[0] * 10])])
        (remedy,) = [r for r in m.explain(bp.GFP_KERNEL).remedies if r.kind == "pages"]
        assert remedy.what == f"{101 - free} more free page{'s' * (101 - free != 1)} in 0.Normal"


def test_high_atomic_pages_do_not_count() -> None:
    high = [0] * 8 + [1, 0, 0]
    counts = [60, *[0] * 7, 1, 0, 0]
    types = {"Movable": [60, *[0] * 10], "HighAtomic": high}
    m = machine([zone("Normal", 4096, counts, types=types, blocks={"HighAtomic": 1})])
    (test,) = m.explain("GFP_KERNEL").tests[1][1]
    assert (test.free, test.highatomic, test.short) == (316, 256, 41)
    assert m.explain("GFP_ATOMIC").works


@pytest.mark.parametrize(("pages", "works"), [(266, True), (267, False)])
def test_the_gate_of_a_bulk_call(pages: int, works: bool) -> None:
    """LOW is 125, 392 are free: 392 > 125 + 266 holds, one page more does not."""
    m = machine([zone("Normal", 4096, blocks_of(392), types={"Unmovable": blocks_of(392)})])
    found = m.explain("GFP_KERNEL", bulk=pages)
    (of_zone,) = found.gates
    assert (of_zone.short, found.works) == (0 if works else 1, works)
    if not works:
        assert "takes one page by the single-page path" in found.reason
        assert found.got == "1 of 267 pages"
        what = [remedy.what for remedy in found.remedies if remedy.works]
        assert "1 more free page in 0.Normal" in what
        assert "266 pages in one call" in what


def test_a_held_lock_of_the_lists() -> None:
    m = bp.Machine("64MiB", cpus=2)
    assert m.explain("GFP_KERNEL", bulk=64).works
    with m.hold_pcp_lock(0, 1, 0):
        found = m.explain("GFP_KERNEL", bulk=64)
        assert (found.works, found.got, "trylock" in found.reason) == (False, "1 of 64 pages", True)
        assert m.explain("GFP_KERNEL", bulk=64, cpu=1).works


def test_memory_cgroups_and_owned_pages_travel_along() -> None:
    m = bp.Machine("64MiB", cpus=1, memcg=True)
    held = m.alloc_pages(bp.GFP_KERNEL, 3)
    assert held is not None
    assert not m.explain(bp.GFP_KERNEL_ACCOUNT, bulk=64).works
    m.free_pages(held, 3)
    m.audit()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gfp": "GFP_WOBBLE"}, "GFP_WOBBLE"),
        ({"gfp": 1 << 40}, "gfp"),
        ({"gfp": "GFP_KERNEL", "order": 11}, r"order 11 is outside 0 to 10"),
        ({"gfp": "GFP_KERNEL", "cpu": 2}, r"cpu 2 is outside 0 to 1"),
        ({"gfp": "GFP_KERNEL", "nid": 1}, r"nid 1 is outside 0 to 0"),
        ({"gfp": "GFP_KERNEL", "bulk": 0}, r"bulk 0 is outside 1 to"),
    ],
)
def test_bad_arguments(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(bp.InvalidArgument, match=message):
        bp.Machine("64MiB", cpus=2).explain(**arguments)


def why(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["why", *words])
    return result.exit_code, result.stdout or result.stderr


@pytest.mark.parametrize(
    ("name", "gfp", "order", "reason"),
    [
        ("order-4", bp.GFP_KERNEL | bp.__GFP_COMP | bp.__GFP_ZERO, 4, "Fragmentation"),
        ("atomic", bp.GFP_ATOMIC, 0, "Not enough free pages"),
        ("cma", bp.GFP_KERNEL, 0, "Not enough free pages"),
    ],
)
def test_reports_say_what_was_asked(name: str, gfp: int, order: int, reason: str) -> None:
    code, text = why(str(REPORTS / f"{name}.txt"), "--json")
    found = json.loads(text)
    assert (code, found["gfp"], found["order"]) == (1, gfp, order)
    assert found["reason"].startswith(reason)
    assert any(remedy["works"] for remedy in found["remedies"])


def test_cma_counts_for_movable_requests() -> None:
    path = str(REPORTS / "cma.txt")
    assert why(path)[0] == 1
    assert why(path, "--gfp", "GFP_HIGHUSER_MOVABLE")[0] == 0


@pytest.mark.parametrize(("cma", "first"), [(600, False), (1400, True)])
def test_cma_is_out_of_reach_for_pages_that_stay(cma: int, first: bool) -> None:
    typed = {"CMA": blocks_of(cma), "Movable": blocks_of(2048 - cma)}
    counts = [sum(of_type[order] for of_type in typed.values()) for order in range(len(blocks_of(0)))]
    zones = [zone("Normal", 4096, counts, types=typed)]
    m = machine(zones, (*TYPES, "CMA"))
    stays, moves = (m.explain(gfp).tests[0][1][0] for gfp in (bp.GFP_KERNEL, bp.GFP_HIGHUSER_MOVABLE))
    assert (stays.free, stays.cma, stays.may_use_cma) == (2048, cma, False)
    assert (moves.free, moves.cma, moves.may_use_cma, moves.cma_first) == (2048, cma, True, first)
    assert stays.largest["CMA"] == max(o for o, n in enumerate(blocks_of(cma)) if n)
    failing = m.explain(bp.GFP_KERNEL, bulk=2048 - cma)
    assert failing.gates[0].usable == 2048 - cma
    assert "CMA" in str(m.explain(bp.GFP_KERNEL))
    # What the machine itself has is not changed.
    assert m.zones[0].free_pages == 2048


def test_a_movable_page_may_be_the_way_out() -> None:
    remedies = bp.Machine.from_report(REPORTS / "cma.txt").explain(bp.GFP_KERNEL).remedies
    (remedy,) = (r for r in remedies if "movable" in r.what)
    assert remedy.works


def test_options(tmp_path: Path) -> None:
    zones = [zone("Normal", 4096, blocks_of(4096))]
    (tmp_path / "zoneinfo").write_text(zoneinfo(zones, Shape()))
    (tmp_path / "buddyinfo").write_text(buddyinfo(zones))
    code, text = why("--proc", str(tmp_path), "--gfp", "GFP_KERNEL|__GFP_COMP", "--order", "3")
    assert code == 0
    assert "GFP_KERNEL|__GFP_COMP, order 3" in text
    assert why("--proc", str(tmp_path), "--gfp", "0xcc0", "--bulk", "5000")[0] == 1
    (tmp_path / "state.json").write_text(json.dumps(machine(zones).snapshot()))
    assert why("--snapshot", str(tmp_path / "state.json"), "--gfp", "GFP_KERNEL")[0] == 0
    for words in ([], ["--proc", str(tmp_path)], ["--proc", str(tmp_path), "--gfp", "GFP_WOBBLE"], ["nowhere.txt"]):
        assert why(*words)[0] == 2, words


def test_a_report_without_a_request(tmp_path: Path) -> None:
    path = tmp_path / "sysrq.txt"
    path.write_text(report([zone("Normal", 4096, blocks_of(4096))], LogShape("sysrq: Show Memory")))
    code, text = why(str(path))
    assert (code, "--gfp is needed: the report names no request" in text) == (2, True)
    assert why(str(path), "--gfp", "GFP_KERNEL")[0] == 0
