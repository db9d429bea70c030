"""/proc out and in, against the texts that recordings carry."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.formats import proc
from bulkpages.walk import walk

RECORDINGS = Path(__file__).parents[1] / "conformance" / "recordings"


def texts(path: Path) -> dict[str, str]:
    last = gzip.decompress(path.read_bytes()).splitlines()[-1]
    found: dict[str, str] = json.loads(last)["proc"].get("before", {})
    return found


WITH_TEXTS = [path for path in sorted(RECORDINGS.glob("*.jsonl.gz")) if texts(path)]


def shape(text: str) -> list[str]:
    """A text with each number, and the blanks that fill its column, as one sign."""
    return [re.sub(r" *-?\b\d+", "#", line) for line in text.splitlines()]


def test_eleven_recordings_have_texts() -> None:
    assert len(WITH_TEXTS) == 11


@pytest.mark.parametrize("path", WITH_TEXTS, ids=lambda p: p.name.split(".")[0])
def test_layout_is_the_kernels(path: Path) -> None:
    m = bp.Machine.from_snapshot(path)
    kernel = texts(path)
    assert shape(m.zoneinfo()) == shape(kernel["zoneinfo"])
    assert shape(m.vmstat_text()) == shape(kernel["vmstat"])
    for ours, theirs in ((m.buddyinfo(), kernel["buddyinfo"]), (m.pagetypeinfo(), kernel["pagetypeinfo"])):
        assert shape(ours) == shape(theirs)
        # Columns have a width: lines are as long.
        assert [len(line) for line in ours.splitlines()] == [len(line) for line in theirs.splitlines()]
    # What does not move between the two readings is equal.
    mine, theirs_ = proc.parse_zoneinfo(m.zoneinfo()), proc.parse_zoneinfo(kernel["zoneinfo"])
    for name, zone in theirs_.items():
        for key in ("min", "low", "high", "promo", "boost", "spanned", "present", "managed", "protection", "start_pfn"):
            assert mine[name].get(key) == zone.get(key), (name, key)


@pytest.mark.parametrize("path", WITH_TEXTS, ids=lambda p: p.name.split(".")[0])
def test_machine_from_texts(path: Path, tmp_path: Path) -> None:
    kernel = texts(path)
    for name, text in kernel.items():
        (tmp_path / name).write_text(text)
    notes: list[str] = []
    m = bp.Machine.from_proc(tmp_path, notes=notes)
    # A kernel goes on between the reading of one file and the next.
    assert [note for note in notes if "different moments" not in note] == []
    m.audit()
    assert m.buddyinfo() == kernel["buddyinfo"]
    ours, theirs = proc.parse_zoneinfo(m.zoneinfo()), proc.parse_zoneinfo(kernel["zoneinfo"])
    for where, zone in theirs.items():
        for key in ("min", "low", "high", "boost", "managed", "protection", "start_pfn"):
            assert ours[where].get(key) == zone.get(key), (where, key)
        assert {c: p["count"] for c, p in ours[where]["cpus"].items()} == {
            c: p["count"] for c, p in zone["cpus"].items()
        }
    # Out, in, out.
    for name in kernel:
        (tmp_path / name).write_text({"zoneinfo": m.zoneinfo(), "buddyinfo": m.buddyinfo()}.get(name, kernel[name]))
    again = bp.Machine.from_proc(tmp_path, notes=notes)
    assert (again.zoneinfo(), again.buddyinfo()) == (m.zoneinfo(), m.buddyinfo())
    assert again.alloc_pages(bp.GFP_KERNEL) == m.alloc_pages(bp.GFP_KERNEL) is not None


@pytest.mark.skipif(not Path("/proc/zoneinfo").exists(), reason="no /proc here")
def test_this_machine() -> None:
    notes: list[str] = []
    m = bp.Machine.from_proc("/proc", notes=notes)
    zones = proc.parse_zoneinfo(Path("/proc/zoneinfo").read_text())
    assert {(z.nid, z.name): z.managed for z in m.zones} == {
        name: zone["managed"] for name, zone in zones.items() if zone["managed"] and name[1] != "Device"
    }
    m.audit()


def test_unknown_lines_are_skipped_and_noted(tmp_path: Path) -> None:
    kernel = texts(WITH_TEXTS[0])
    (tmp_path / "zoneinfo").write_text(kernel["zoneinfo"].replace("        spanned", "  wobble 7\n        spanned"))
    (tmp_path / "buddyinfo").write_text(kernel["buddyinfo"])
    with pytest.warns(UserWarning, match="wobble"):
        bp.Machine.from_proc(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("zoneinfo", "nonsense\n", "line 1"),
        ("zoneinfo", "", "no zone"),
        ("zoneinfo", "Node 0, zone DMA\n  managed 5\n", "no 'spanned'"),
        ("buddyinfo", "Node 0, zone DMA x y\n", "buddyinfo line 1"),
    ],
)
def test_bad_texts(tmp_path: Path, name: str, text: str, message: str) -> None:
    for file, good in texts(WITH_TEXTS[0]).items():
        (tmp_path / file).write_text(text if file == name else good)
    with pytest.raises(bp.SnapshotError, match=message):
        bp.Machine.from_proc(tmp_path)


def test_binary_and_missing(tmp_path: Path) -> None:
    with pytest.raises(bp.SnapshotError, match="zoneinfo"):
        bp.Machine.from_proc(tmp_path)
    (tmp_path / "zoneinfo").write_bytes(b"\xff\xfe\0\1")
    with pytest.raises(bp.SnapshotError, match="not text"):
        bp.Machine.from_proc(tmp_path)


@pytest.mark.parametrize("what", ["zoneinfo", "buddyinfo", "vmstat", "pagetypeinfo"])
def test_show(what: str, first: Path) -> None:
    m = bp.Machine.from_snapshot(first)
    want: dict[str, Any] = {
        "zoneinfo": m.zoneinfo(),
        "buddyinfo": m.buddyinfo(),
        "vmstat": m.vmstat_text(),
        "pagetypeinfo": m.pagetypeinfo(),
    }
    result = CliRunner().invoke(main, ["show", what, "--snapshot", str(first)])
    assert (result.exit_code, result.stdout) == (0, want[what])
    as_json = CliRunner().invoke(main, ["show", what, "--snapshot", str(first), "--json"])
    assert json.loads(as_json.stdout) == {what: want[what]}


def test_walk(first: Path) -> None:
    m = bp.Machine.from_snapshot(first)
    state = walk(m)
    assert list(state.for_each_online_node()) == [0]
    assert sum(1 << block.order for block in state.for_each_free_block()) == sum(z.free_pages for z in m.zones)
    for zone in m.zones:
        for cpu in range(m.cpus):
            mine = [e for e in state.for_each_pcp_entry(cpu) if e.zone == zone.name]
            assert sum(1 << e.order for e in mine) == zone.pcp(cpu).count
    block = next(state.for_each_free_block(order=10))
    assert state.page(block.pfn + 1000).block == block
    pfn = m.alloc_pages(bp.GFP_KERNEL)
    assert pfn is not None
    assert walk(m).page(pfn).where == "in use"
    with pytest.raises(bp.InvalidArgument, match="no zone"):
        state.page(1 << 29)


def test_cma_has_a_type_a_counter_and_blocks(tmp_path: Path) -> None:
    state = bp.Machine("64MiB").snapshot()
    zone = state["zones"][1]
    zone["free"]["10"]["4"] = [zone["free"]["10"]["1"].pop()]
    (movable,) = zone["pageblocks"]
    zone["pageblocks"] = [[1, movable[1] - 2], [4, 2]]
    m = bp.Machine.from_snapshot(state)
    assert m.zones[1].free_cma == 1024
    texts = {"zoneinfo": proc.zoneinfo(m.snapshot()), "pagetypeinfo": proc.pagetypeinfo(m.snapshot())}
    assert "        cma      1024\n" in texts["zoneinfo"]
    assert "      nr_free_cma  1024\n" in texts["zoneinfo"]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "buddyinfo").write_text(proc.buddyinfo(m.snapshot()))
    notes: list[str] = []
    again = bp.Machine.from_proc(tmp_path, notes=notes)
    assert [zone.free_cma for zone in again.zones] == [0, 1024]
    assert not any("CMA" in note for note in notes)
    assert "CMA" not in proc.pagetypeinfo(bp.Machine("64MiB").snapshot())


def test_threads_keep_to_cma() -> None:
    state = bp.Machine("64MiB", cpus=2).snapshot()
    zone = state["zones"][1]
    zone["free"]["10"]["4"] = [zone["free"]["10"]["1"].pop()]
    zone["pageblocks"] = [[1, zone["pageblocks"][0][1] - 2], [4, 2]]
    m = bp.Machine.from_snapshot(state, threads=True)
    pages = []
    while (page := m.alloc_pages(bp.GFP_KERNEL)) is not None:
        pages.append(page)
    assert m.zones[1].free_cma == 1024
    assert not any(zone["start"] + zone["spanned"] - 1024 <= page for page in pages)
