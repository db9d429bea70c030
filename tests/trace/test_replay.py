"""A real trace on a real state."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.formats.llfree import LlfreeEvent, read_llfree, write_llfree
from bulkpages.formats.trace import TraceError, TraceText, follow, perfetto, read_events, rewrite
from bulkpages.what_if import Setting, parse_setting, what_if

HERE = Path(__file__).parent
TRACE = HERE / "kmem-trace.txt.gz"
STATES = HERE / "kmem-states.json.gz"


def run(*args: str) -> Any:
    return CliRunner().invoke(main, list(args))


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return follow(TRACE, STATES).report


def test_frames_are_predicted(report: dict[str, Any]) -> None:
    assert report["allocations"] == 7833
    assert report["predicted"] / report["allocations"] > 0.99
    assert report["matched"] == report["allocations"]
    assert report["refilled_predicted"] == report["refilled"] == 4617
    assert report["drained_predicted"] == report["drained"] == 4705
    assert report["unsound"] is None


def test_without_habits_too() -> None:
    plain = follow(TRACE, STATES, learn=False).report
    assert plain["predicted"] / plain["allocations"] > 0.99
    # Each inferred bulk call costs the line that shows it, and nothing else is missed.
    assert plain["allocations"] - plain["predicted"] == plain["hidden_takes"] == len(plain["misses"])


def test_the_end_is_the_kernels(report: dict[str, Any]) -> None:
    after = report["after"]
    assert after["blocks_in_place"] == after["blocks"] > 4000
    assert after["lists_equal"] == after["lists"]


def test_no_line_is_used_before_its_turn() -> None:
    """The predictions for the first half are the same without the second half."""
    text = gzip.decompress(TRACE.read_bytes())
    lines = text.splitlines(keepends=True)
    before = json.loads(gzip.decompress(STATES.read_bytes()))["before"]
    whole = follow(TRACE, STATES).report
    half = HERE.parent / "trace" / "half.tmp"
    try:
        half.write_bytes(b"".join(lines[:16000]))
        part = follow(half, before).report
    finally:
        half.unlink(missing_ok=True)
    assert part["misses"] == [miss for miss in whole["misses"] if miss["line"] <= 16000]


def test_command() -> None:
    result = run("replay", str(TRACE), "--snapshot", str(STATES), "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["allocations"] == 7833
    assert found["predicted"] > 7800 >= found["predicted_without_learning"] > 7755
    text = run("replay", str(TRACE), "--snapshot", str(STATES))
    assert "first diverged from the kernel at line 181" in text.stdout


def damage(tmp_path: Path, change: Any) -> dict[str, Any]:
    lines = gzip.decompress(TRACE.read_bytes()).decode().splitlines()
    change(lines)
    path = tmp_path / "trace.txt"
    path.write_text("\n".join(lines) + "\n")
    return follow(path, STATES).report


def test_damaged_lost_and_foreign_lines_are_counted(tmp_path: Path) -> None:
    def change(lines: list[str]) -> None:
        lines[299] = lines[299][:60]
        lines[399] = "CPU:1 [LOST 17 EVENTS]"
        lines[499] = "   x-1  [000] .....     1.7: mm_page_free: page=1 pfn=0xfffffff order=0"
        lines[599] = "   x-1  [007] .....     1.7: mm_page_free: page=1 pfn=0x2000 order=0"

    found = damage(tmp_path, change)
    assert [line for line, _ in found["damaged_lines"]] == [300]
    assert found["lost_lines"] == [[400, 17]]
    assert found["lost_events"] == 17
    assert [line for line, _ in found["outside_lines"]] == [500, 600]
    assert "no zone" in found["outside_lines"][0][1]
    assert "cpu 7" in found["outside_lines"][1][1]
    assert found["unsound"] is None


def test_another_order_of_lines_stays_sound(tmp_path: Path) -> None:
    def change(lines: list[str]) -> None:
        lines[2000:9000] = reversed(lines[2000:9000])
        del lines[12000:13000]

    assert damage(tmp_path, change)["unsound"] is None


@pytest.mark.parametrize("bad", [b"\0\1\2\3" * 100, b"\x1f\x8b broken", b"no trace at all\n"])
def test_a_file_that_is_not_a_trace_is_refused(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "bad"
    path.write_bytes(bad)
    with pytest.raises(TraceError, match="bad"):
        follow(path, STATES)
    # A file that can be read and holds no event is a failure; one that cannot be read is wrong usage.
    assert run("replay", str(path), "--snapshot", str(STATES)).exit_code == (2 if b"broken" in bad else 1)


def test_missing_files() -> None:
    assert run("replay", "nowhere", "--snapshot", str(STATES)).exit_code == 2
    assert run("replay", str(TRACE), "--snapshot", "nowhere").exit_code == 2


def as_other_tool(line: str, tool: str) -> str:
    head, _, rest = line.partition(" [")
    cpu, _, rest = rest.partition("] ")
    _flags, _, rest = rest.strip().partition(" ")
    task, _, pid = head.strip().rpartition("-")
    when, _, what = rest.strip().partition(": ")
    if tool == "perf":
        return f"{task:>16} {pid:>5} [{cpu}] {when:>12}: kmem:{what}"
    return f"{head} [{cpu}] {when:>12}: {what.replace(': ', ':        ', 1)}"


@pytest.mark.parametrize("tool", ["perf", "trace-cmd"])
def test_other_tools_text(tmp_path: Path, tool: str, report: dict[str, Any]) -> None:
    lines = gzip.decompress(TRACE.read_bytes()).decode().splitlines()
    first = next(i for i, line in enumerate(lines) if line.endswith(": snapshot"))
    last = next(i for i in range(len(lines) - 1, 0, -1) if lines[i].endswith(": snapshot"))
    path = tmp_path / "trace.txt"
    path.write_text("".join(as_other_tool(line, tool) + "\n" for line in lines[first + 1 : last]))
    assert follow(path, STATES).report["predicted"] == report["predicted"]


def workload(m: bp.Machine) -> None:
    a = bp.PageArray(200)
    for cpu in (0, 1):
        m.alloc_pages_bulk(bp.GFP_KERNEL, a, cpu=cpu)
        held = [m.alloc_pages(bp.GFP_KERNEL, order, cpu=cpu) for order in (0, 1, 3, 4, 0)]
        m.free_bulk(a, cpu=cpu)
        for order, pfn in zip((0, 1, 3, 4, 0), held, strict=True):
            assert pfn is not None
            m.free_pages(pfn, order, cpu=cpu)
    m.drain_local_pages(0)


def test_out_in_out(tmp_path: Path, m: bp.Machine) -> None:
    before = m.snapshot()
    with m.trace() as traces:
        workload(m)
    text = traces[0]
    path = tmp_path / "out.txt"
    path.write_text(text.ftrace())
    assert text.lines.count("mm_page_alloc:") == 10
    assert "mm_page_pcpu_drain" in text.lines
    assert "".join(rewrite(path)) == text.lines
    found = follow(path, before)
    assert found.report["damaged"] == 0
    # Bulk calls leave no line of their own here either; each page of theirs comes back by a free.
    assert found.report["frees"] == 410
    assert found.state["zones"][0]["free"] == m.snapshot()["zones"][0]["free"]


def test_callers_write_their_lines_where_they_happen(tmp_path: Path, m: bp.Machine) -> None:
    array = bp.PageArray(8)
    with m.trace() as traces:
        with m.faults(pages=2):
            svc = bp.callers.svc_alloc_arg(m, array, pages=8, form="before", max_waits=2)
        pool = bp.callers.PagePool(m, form="after")
        page, other = pool.alloc(), m.alloc_pages(bp.GFP_KERNEL)
        assert page
        assert other
        m.free_pages(other)
        pool.recycle_direct(page)
        pool.destroy()
    text = traces[0]
    names = [event.name for event in text.events()]
    assert [line.split(": ", 1)[1] for line in text.lines.splitlines() if "svc_alloc_arg_err" in line] == svc.trace
    assert len(svc.trace) == 2
    # A pool holds all pages of its refill before it hands out the first, and each page is its own again at the end.
    holds = [i for i, name in enumerate(names) if name == "page_pool_state_hold"]
    releases = [i for i, name in enumerate(names) if name == "page_pool_state_release"]
    assert len(holds) == len(releases) == 64
    assert max(holds) < names.index("mm_page_free") < min(releases)
    path = tmp_path / "callers.txt"
    path.write_text(text.ftrace())
    assert "".join(rewrite(path)) == text.lines
    hold = next(event for event in text.events() if event.name == "page_pool_state_hold")
    assert hold.fields["is_net_iov"] == 0
    assert hold.fields["hold"] == 1


def test_only_one_trace_at_a_time(m: bp.Machine) -> None:
    with m.trace(), pytest.raises(bp.ApiMisuse, match="already"), m.trace():
        pass
    with m.trace() as again:
        m.alloc_pages(bp.GFP_KERNEL)
    assert again[0].lines.count("\n") > 1


def test_real_trace_written_again(tmp_path: Path) -> None:
    once = "".join(rewrite(TRACE))
    assert once.count("\n") == 32886
    marks = [line for line in once.splitlines() if line.endswith(": snapshot")]
    assert len(marks) == 2
    path = tmp_path / "again.txt"
    path.write_text(TraceText(once, 2).ftrace())
    assert "".join(rewrite(path)) == once
    # Every line is the kernel's, to the last character.
    kernel = gzip.decompress(TRACE.read_bytes()).decode().splitlines()
    assert once.splitlines() == [line for line in kernel if ": mm_" in line or line.endswith(": snapshot")]


def test_perfetto(m: bp.Machine) -> None:
    with m.trace() as traces:
        workload(m)
    loaded = json.loads(json.dumps(traces[0].perfetto()))["traceEvents"]
    instants = [event for event in loaded if event["ph"] == "i"]
    assert len(instants) == traces[0].lines.count("\n")
    assert {event["tid"] for event in instants} == {0, 1}
    assert all(a["ts"] < b["ts"] for a, b in pairwise(instants))
    assert [event["name"] for event in perfetto(traces[0].events())["traceEvents"][:2]]


def test_llfree_round_trip(tmp_path: Path) -> None:
    out = tmp_path / "a" / "trace.bin"
    assert run("trace", str(TRACE), "--to", "llfree", "--output", str(out)).exit_code == 0
    events = list(read_llfree(out))
    kmem = [e for e in read_events(TRACE) if e.name in ("mm_page_alloc", "mm_page_free")]
    assert len(events) == len(kmem)
    for cpu in (0, 1):
        ours = [(e.time_us, e.pfn, bool(e.alloc), e.order, e.pid) for e in events if e.cpu == cpu]
        theirs = [
            (e.time, e.fields["pfn"], e.name == "mm_page_alloc", e.fields["order"], e.pid) for e in kmem if e.cpu == cpu
        ]
        assert ours == theirs
    assert write_llfree(tmp_path / "b.bin", events) == len(events)
    assert (tmp_path / "b.bin").read_bytes() == out.read_bytes()


def test_llfree_bits(tmp_path: Path) -> None:
    path = tmp_path / "one.bin"
    write_llfree(path, [LlfreeEvent(1, 5, 0x123, 1, 3, 0xCC0, 77)])
    data = path.read_bytes()
    assert len(data) == 2 * 4096
    word = int.from_bytes(data[4096 + 16 : 4096 + 32], "little")
    assert word == 5 | 0x123 << 38 | 1 << 62 | 3 << 63 | 0xCC0 << 67 | 77 << 96
    with pytest.raises(bp.InvalidArgument, match="24 bits"):
        write_llfree(path, [LlfreeEvent(0, 0, 1 << 24, 1, 0, 0, 0)])
    path.write_bytes(data[:5000])
    with pytest.raises(TraceError, match="cut off"):
        list(read_llfree(path))


def test_what_if() -> None:
    own, v2, refill, off = what_if(TRACE, STATES, [Setting(), *map(parse_setting, ("api=v2", "refill=63", "pcp=off"))])
    assert own.costs["bulk_pages"] == v2.costs["bulk_pages"] == 164
    assert own.costs["slot_tests"] > v2.costs["slot_tests"]
    assert refill.costs["refills"] < own.costs["refills"] < off.costs["refills"]
    assert refill.costs["zone_lock_holds"] < own.costs["zone_lock_holds"] < off.costs["zone_lock_holds"]
    assert own.costs["skipped_frees"] == own.costs["failures"] == 0


def test_what_if_command(tmp_path: Path) -> None:
    picture = tmp_path / "sub" / "plot.svg"
    args = ("replay", str(TRACE), "--snapshot", str(STATES), "--what-if", "refill=63,api=v2")
    result = run(*args, "--plot", str(picture), "--json")
    assert [row["setting"] for row in json.loads(result.stdout)] == ["api=v1", "refill=63,api=v2"]
    assert picture.stat().st_size > 1000
    bad = run("replay", str(TRACE), "--snapshot", str(STATES), "--what-if", "refill=0")
    assert bad.exit_code == 2
    assert "1 to 1024" in bad.output
