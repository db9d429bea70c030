"""Reports of the kernel log, of many kernels and through many logs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from kernels import Zone
from reports import LogShape, report

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.formats.report import read_report

DMA = Zone("DMA", 1, 3840, (64, 80, 96), (0, 2990, 15880, 15880), [0] * 8 + [1, 1, 2])
TYPES = {"Unmovable": [10, 5, 1, *[0] * 8], "Movable": [20, 15, 9, *[0] * 8]}
NORMAL = Zone("Normal", 4096, 100_000, (700, 800, 900), (0, 0, 0, 0), [30, 20, 10, *[0] * 8], types=TYPES)
FAILURE = "kworker/1:2: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null),cpuset=/"
OOM = "stress invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0"
OLD_FIELDS = ("active_anon:0kB", "isolated(anon):0kB", "unevictable:0kB")

SHAPES = {
    "3.2 Debian 7": LogShape(
        "swapper/0: page allocation failure: order:4, mode:0x4020", fields=OLD_FIELDS, managed=False, letters=False,
        cma=False, pcp="lists",
    ),
    "3.10 CentOS 7": LogShape(
        "java invoked oom-killer: gfp_mask=0x201da, order=0, oom_score_adj=0", fields=OLD_FIELDS, pcp="lists",
        prefix=lambda n: f"Mar  5 12:00:{n:02} web1 kernel: ",
    ),
    "4.4 Ubuntu 16.04": LogShape(
        "nginx: page allocation failure: order:4, mode:0x24040c0",
        prefix=lambda n: f"Mar  5 12:00:{n:02} web1 kernel: [ 1234.{n:06}] ",
    ),
    "4.9 Debian 9": LogShape(
        "cp: page allocation failure: order:4, mode:0x24040c0(GFP_KERNEL|__GFP_COMP)", torn=True
    ),
    "4.19 Android": LogShape(
        "binder:1_2: page allocation failure: order:4, mode:0x6040c0(GFP_KERNEL|__GFP_COMP), nodemask=(null)",
        numa=False, prefix=lambda n: f"<4>[  {n}.000001]",
    ),
    "5.4 Ubuntu 20.04": LogShape(FAILURE, fields=("reserved_highatomic:0KB", *OLD_FIELDS)),
    "5.10 Raspberry Pi": LogShape(FAILURE, numa=False, prefix=lambda n: ""),
    "5.15 dmesg -T": LogShape(FAILURE, prefix=lambda n: "[Tue Mar  5 12:00:00 2024] "),
    "6.1 Debian 12": LogShape(OOM, boost=True, prefix=lambda n: f"2024-03-05T12:00:00.{n:06}+01:00 h kernel: [ 1.1] "),
    "6.6 with callers": LogShape(OOM, boost=True, prefix=lambda n: f"[  100.{n:06}][ T1234] "),
    "6.12 dmesg -x": LogShape(OOM, boost=True, prefix=lambda n: f"kern  :warn  : [  100.{n:06}] "),
    "7.3 quoted": LogShape(
        FAILURE, boost=True, fields=("reserved_highatomic:0KB", "free_highatomic:0KB", "zspages:0kB"),
        prefix=lambda n: f"> [  100.{n:06}] ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kernel", SHAPES)
def test_zones_marks_and_blocks(kernel: str) -> None:
    shape = SHAPES[kernel]
    found = read_report(report([DMA, NORMAL], shape))
    m = bp.Machine.from_snapshot(found.snapshot)
    m.audit()
    dma, normal = m.zones
    assert (dma.name, normal.name) == ("DMA", "Normal")
    assert (dma.managed, normal.managed) == (3840, 100_000)
    assert [normal.watermark[mark] for mark in ("min", "low", "high")] == [700, 800, 900]
    assert dma.lowmem_reserve == [0, 2990, 15880, 15880]
    counts = [[int(word) for word in line.split()[4:]] for line in m.buddyinfo().splitlines()]
    assert counts == [list(DMA.counts), list(NORMAL.counts)]
    request = found.request
    assert request is not None
    assert request.order == (0 if "oom" in shape.request else 4)
    assert found.snapshot["zones"][1]["pcp"]["0"]["count"] == (3 if shape.pcp == "lists" else 1)


@pytest.mark.parametrize(
    ("request_line", "gfp"),
    [
        (FAILURE, bp.GFP_KERNEL | bp.__GFP_COMP),
        (OOM, bp.GFP_HIGHUSER_MOVABLE | bp.__GFP_COMP),
        ("x: page allocation failure: order:0, mode:0x2280020(GFP_ATOMIC|__GFP_NOTRACK)", bp.GFP_ATOMIC),
        ("x: page allocation failure. order:4, mode:0xd0", bp.GFP_KERNEL),
        ("x: page allocation failure: order:4, mode:0x24000c0", bp.GFP_KERNEL),
        ("x: page allocation failure: order:4, mode:0xcc0", bp.GFP_KERNEL),
        ("x invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=0", bp.GFP_HIGHUSER_MOVABLE),
        ("x: page allocation stalls for 10004ms, order:0, mode:0x14200c0(GFP_USER)", bp.GFP_USER),
        ("x: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL|__GFP_WOBBLE)", bp.GFP_KERNEL),
    ],
)  # fmt: skip
def test_the_request(request_line: str, gfp: int) -> None:
    found = read_report(report([DMA, NORMAL], LogShape(request_line)))
    assert found.request is not None
    assert found.request.gfp == gfp
    # What had to be assumed is said.
    without_names = "(" not in request_line
    assert [note for note in found.notes if "without names" in note or "WOBBLE" in note] != [] or not (
        without_names or "WOBBLE" in request_line
    )


@pytest.mark.parametrize(
    ("release", "kernel"),
    [("6.1.0-28-amd64 #1 Debian", "6.1"), ("7.3.4-arch1-1 #1", "7.3"), ("6.6.9 #1", "6.12"), ("", "6.12")],
)
def test_the_machine_works_like_the_kernel_that_reports(release: str, kernel: str) -> None:
    text = report([DMA, NORMAL], replace(SHAPES["6.1 Debian 12"], release=release))
    notes: list[str] = []
    assert bp.Machine.from_report(text, notes=notes).kernel == kernel
    assert bp.Machine.from_report(text, notes=notes, kernel="6.1").kernel == "6.1"


def test_free_cma_and_high_atomic_decide_the_split() -> None:
    types = {"Movable": [4, *[0] * 10], "CMA": [6, *[0] * 10], "HighAtomic": [0, 0, 0, 2, *[0] * 7]}
    zone = Zone("Normal", 1, 8192, (10, 12, 15), (0, 0), [10, 0, 0, 2, *[0] * 7], types=types)
    shape = LogShape(FAILURE, fields=("reserved_highatomic:2048KB", "free_highatomic:64KB"))
    text = report([zone], shape, {"free_cma": 6})
    notes: list[str] = []
    (normal,) = bp.Machine.from_report(text, notes=notes).zones
    assert (normal.free_pages, normal.reserved_highatomic, normal.free_highatomic) == (26, 512, 16)
    assert normal.free_cma == 6
    assert not any("split evenly" in note for note in notes)


def test_free_cma_without_its_letter_is_in_the_largest_blocks() -> None:
    zone = Zone("Normal", 1, 8192, (10, 12, 15), (0, 0), [5, 0, 3, 2, *[0] * 7])
    found = read_report(report([zone], LogShape(FAILURE), {"free_cma": 21}))
    free = found.snapshot["zones"][0]["free"]
    assert {order: len(of["4"]) for order, of in free.items() if "4" in of} == {"3": 2, "2": 1, "0": 1}
    assert any("the largest are assumed" in note for note in found.notes)


def test_several_nodes() -> None:
    zones = [DMA, NORMAL, replace(NORMAL, nid=1, start=200_000)]
    m = bp.Machine.from_snapshot(read_report(report(zones, LogShape(FAILURE))).snapshot)
    assert [(z.nid, z.name) for z in m.zones] == [(0, "DMA"), (0, "Normal"), (1, "Normal")]
    assert m.nodes == 2


def test_a_log_with_several_reports() -> None:
    first = report([DMA, NORMAL], LogShape(FAILURE))
    second = report([replace(DMA, pages=3584), NORMAL], LogShape(OOM))
    text = "[ 1.0] Linux version 6.12\n" + first + "[ 99.0] eth0: link up\n" + second
    one, two = read_report(text), read_report(text, 2)
    assert (one.request and one.request.kind, two.request and two.request.kind) == ("failure", "oom")
    assert [r.snapshot["zones"][0]["managed"] for r in (one, two)] == [3840, 3584]
    assert any("2 reports" in note for note in one.notes)
    with pytest.raises(bp.InvalidArgument, match=r"nth 3 is outside 1 to 2"):
        read_report(text, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("= 11264kB", ""), None),
        (("= 11264kB", "= 11268kB"), r"report line 13: the blocks are 11264 kB, but the line says 11268 kB"),
        (("2*4096kB (M) = 11264kB", ""), r"report line 13: the line ends after 10 orders"),
        (("0*8kB 0*16kB", "0*16kB"), r"report line 13: blocks of .* are out of order"),
        (("DMA: 0*4kB 0*8kB", "DMA: 0*64kB 0*128kB"), r"report line 13: the smallest block is 64 KiB"),
        (("2*4096kB (M) = 11264kB", "2*4096kB (M) 0*8192kB = 11264kB"), r"report line 13: 12 columns"),
        (("lowmem_reserve[]: 0 2990 15880 15880", "lowmem_reserve[]: 0 2990"), r"differs in length between zones"),
    ],
)
def test_refused_with_the_line(change: tuple[str, str], message: str | None) -> None:
    text = report([DMA, NORMAL], LogShape(FAILURE))
    assert change[0] in text
    text = text.replace(*change)
    if message is None:
        read_report(text)
        return
    with pytest.raises(bp.SnapshotError, match=message):
        read_report(text)


def test_no_report() -> None:
    with pytest.raises(bp.SnapshotError, match="no report"):
        read_report("[ 1.0] eth0: link up\n")
    with pytest.raises(bp.SnapshotError, match="memory cgroup"):
        read_report("x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0\nMemory cgroup out of memory: Killed\n")
    with pytest.raises(bp.SnapshotError, match=r"/nowhere\.txt: No such file"):
        read_report("/nowhere.txt")


def test_show(tmp_path: Path) -> None:
    path = tmp_path / "dmesg.txt"
    path.write_text(report([DMA, NORMAL], LogShape(FAILURE)))
    result = CliRunner().invoke(main, ["show", "--report", str(path)])
    assert result.exit_code == 0, result.output
    assert "Node 0, zone   Normal" in result.stdout
    assert "CPU 0 is the one that reported" in result.stderr
    as_json = CliRunner().invoke(main, ["show", "--report", str(path), "--json"])
    assert json.loads(as_json.stdout)["zones"][1]["managed"] == 100_000
    assert CliRunner().invoke(main, ["show", "--report", str(tmp_path / "none")]).exit_code == 2
