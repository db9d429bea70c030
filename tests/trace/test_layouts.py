"""Traces as every tool and kernel prints them: each event is read, and what is written again is what was there."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.formats.llfree import LlfreeEvent, in_order_of_time, read_llfree, write_llfree
from bulkpages.formats.trace import NoEvents, Tally, TraceError, TraceEvent, follow, read_events, rewrite

DATA = Path(bp.__file__).parent / "data"
TRACE, STATES = DATA / "kmem-trace.txt.gz", DATA / "kmem-states.json.gz"

ALLOC = "page=0000000012345678 pfn=0x7cee order=0 migratetype=0 gfp_flags=GFP_KERNEL"
FREE = "page=0000000012345678 pfn=0x7cee order=0"


def run(*args: str) -> Any:
    return CliRunner().invoke(main, list(args))


def read(tmp_path: Path, text: str) -> tuple[list[TraceEvent], Tally]:
    path, tally = tmp_path / "t.txt", Tally()
    path.write_text(text)
    return list(read_events(path, tally)), tally


def again(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "t.txt"
    path.write_text(text)
    return "".join(rewrite(path)).splitlines()


# A line, and what is known of its event: task, pid, tgid, cpu, flags, nanoseconds, ticks.
HEADS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "ftrace": ("  bash-1234    [001] d..1.    12.345678: {}", ("bash", 1234, None, 1, "d..1.", 12_345_678_000, None)),
    "nanoseconds": ("  bash-1234    [001] 12.345678912: {}", ("bash", 1234, None, 1, "", 12_345_678_912, None)),
    "tgid": ("  bash-1234  ( 1230) [001] ..... 12.345678: {}", ("bash", 1234, 1230, 1, ".....", 12_345_678_000, None)),
    "tgid unknown": ("  <...>-7  (-----) [001] ..... 12.0: {}", ("<...>", 7, None, 1, ".....", 12_000_000_000, None)),
    "counter": ("  bash-1234    [001] ..... 987654321: {}", ("bash", 1234, None, 1, ".....", None, 987654321)),
    "latency": ("    bash-1234    1d..2.   17us : {}", ("bash", 1234, None, 1, "d..2.", 17_000, None)),
    "latency, late": ("    bash-1234    1d..2. 1700us!: {}", ("bash", 1234, None, 1, "d..2.", 1_700_000, None)),
    "log": ("[   12.5] bash-1       1d..2.   12us : {}", ("bash", 1, None, 1, "d..2.", 12_000, None)),
    "log, caller": ("<6>[   12.5][    C1] bash-1    1d..2.   12us : {}", ("bash", 1, None, 1, "d..2.", 12_000, None)),
    "journal": ("Nov 26 10:00:00 host kernel: bash-1    1d..2. 12us : {}", ("bash", 1, None, 1, "d..2.", 12_000, None)),
    "journal, ISO": (
        "2026-11-26T10:00:00.1+00:00 host kernel: [   12.5] a b-1  1d..2. 12us : {}",
        ("a b", 1, None, 1, "d..2.", 12_000, None),
    ),
    "perf": ("bash  1234 [001] 12.345678: kmem:{}", ("bash", 1234, None, 1, "", 12_345_678_000, None)),
    "perf, group": ("bash 1230/1234 [001] 12.345678: kmem:{}", ("bash", 1234, 1230, 1, "", 12_345_678_000, None)),
    "perf, no CPU": ("bash  1234 12.345678: kmem:{}", ("bash", 1234, None, None, "", 12_345_678_000, None)),
    "perf, period": ("bash 1234 [001] 12.3:       1 kmem:{}", ("bash", 1234, None, 1, "", 12_300_000_000, None)),
    "name with spaces": ("a b c-1234 [001] ..... 1.0: {}", ("a b c", 1234, None, 1, ".....", 1_000_000_000, None)),
    "graph": (" 1)   bash-1234   |               |  /* {} */", ("bash", 1234, None, 1, "", None, None)),
    "graph, time": (" 12.345678 |   1)               |  /* {} */", ("", None, None, 1, "", 12_345_678_000, None)),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str, tmp_path: Path) -> None:
    line, (task, pid, tgid, cpu, flags, time_ns, ticks) = HEADS[name]
    text = line.format(f"mm_page_alloc: {ALLOC}") + "\n"
    (event,), tally = read(tmp_path, text)
    fields = {"page": "0000000012345678", "pfn": 0x7CEE, "order": 0, "migratetype": 0, "gfp_flags": "GFP_KERNEL"}
    assert event == TraceEvent(task, pid, cpu, time_ns, "mm_page_alloc", fields, tgid, flags, ticks)
    assert tally.damaged == 0
    # Written as ftrace text and read again: the same event; written again: the same text.
    once = again(tmp_path, text)
    (same,), _ = read(tmp_path, "\n".join(once) + "\n")
    assert same == event
    assert again(tmp_path, "\n".join(once) + "\n") == once


def test_a_column_without_a_thread_group_stays(tmp_path: Path) -> None:
    line = f"  <...>-7  (-----) [001] ..... 12.0: mm_page_alloc: {ALLOC}"
    (written,) = again(tmp_path, line + "\n")
    assert written.split()[:3] == ["<...>-7", "(-------)", "[001]"]


EXTFRAG = (
    "mm_page_alloc_extfrag: page=00000000aa pfn=0x400 alloc_order=0 fallback_order=4 pageblock_order=5 "
    "alloc_migratetype=0 fallback_migratetype=1 fragmenting=0 change_ownership=1"
)
EVENTS = [
    EXTFRAG,
    f"mm_page_free_direct: {FREE}",
    f"mm_pagevec_free: {FREE} cold=1",
    f"mm_page_free_batched: {FREE} cold=0",
    "mm_page_alloc: page=          (null) pfn=0 order=13 migratetype=2 gfp_flags=GFP_KERNEL|__GFP_COMP",
    "mm_page_free: page=00000000aa pfn=0x2000 order=13",
    "mm_page_free: page=00000000aa pfn=0x123456789ab order=0",
    f"{'mm_page_alloc: ' + ALLOC}|__GFP_ATOMIC|__GFP_SKIP_ZERO",
    "mm_page_alloc: page=00 pfn=1 order=0 migratetype=0 gfp_flags=GFP_NOWARN|GFP_WAIT|__GFP_REPEAT|__GFP_NO_OBJ_EXT",
]


@pytest.mark.parametrize("event", EVENTS, ids=[f"{i} {event.partition(chr(58))[0]}" for i, event in enumerate(EVENTS)])
def test_no_event_is_changed(event: str, tmp_path: Path) -> None:
    line = f"{'bash':>16}-{1234:<7} (   1230) [001] dNh1. {12:5}.345678912: {event}"
    assert again(tmp_path, line + "\n") == [line]


def test_unknown_flags_are_noted(tmp_path: Path) -> None:
    line = f"bash-1 [000] ..... 1.0: mm_page_alloc: {ALLOC}|__GFP_ATOMIC|__GFP_SKIP_KASAN\n"
    events, tally = read(tmp_path, line * 3)
    assert len(events) == 3
    assert tally.unknown_flags == {"__GFP_ATOMIC": 3, "__GFP_SKIP_KASAN": 3}
    result = run("trace", str(tmp_path / "t.txt"))
    assert result.exit_code == 0
    assert "__GFP_ATOMIC (3)" in result.stderr


STACKS = """\
            bash-1234    [001] .....    12.345678: mm_page_free: page=00 pfn=0x10 order=0
            bash-1234    [001] .....    12.345678: <stack trace>
 => free_unref_page
 => 0xffffffffc0000000
            bash-1234    [001] .....    12.345679: kernel_stack:         <stack trace >
=> free_unref_page (ffffffff81234567)
            bash-1234    [001] .....    12.345680: sched_switch: bash:1 [120] S ==> x:2 [120]
            bash-1234    [001] .....    12.345681: mm_page_free: page=00 pfn=0x11 order=0

bash  1234 [001]    12.345682: kmem:mm_page_free: page=00 pfn=0x12 order=0
\tffffffff81234567 free_unref_page+0x17 ([kernel.kallsyms])
\t    7f0123456789 __munmap+0x7 (/usr/lib/libc.so.6)
\t               0 [unknown] ([unknown])

            bash-1234    [001] .....    12.345683: mm_page_free: page=00 pfn=zebra order=0
"""


def test_stacks_are_not_damage(tmp_path: Path) -> None:
    events, tally = read(tmp_path, STACKS)
    assert [event.fields["pfn"] for event in events] == [16, 17, 18]
    assert tally.stack_lines == 8
    assert tally.other_events == 1
    assert tally.damaged_lines == [(15, 'mm_page_free: pfn "zebra" is no number')]
    result = run("trace", str(tmp_path / "t.txt"))
    assert result.exit_code == 1
    assert "8 of stacks" in result.stderr
    assert "1 damaged line, the first is line 15" in result.stderr


OOM = """\
[  100.000001] kthreadd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[  100.000002] Mem-Info:
[  100.000003] Node 0 Normal free:12kB boost:0kB min:3kB low:4kB high:5kB
"""


@pytest.mark.parametrize("text", [OOM, "", "no trace\n", "# tracer: nop\n", "  x-1 [000] ..... 1.0: sched_switch: a\n"])
def test_no_event_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "none.txt"
    path.write_text(text)
    for target in ("ftrace", "perfetto", "llfree"):
        result = run("trace", str(path), "--to", target, "--output", str(tmp_path / target))
        assert result.exit_code == 1, target
        assert "no line is a kmem event" in result.stderr
        assert not (tmp_path / target).exists()
    assert run("trace", str(path)).exit_code == 1
    assert run("replay", str(path), "--snapshot", str(STATES)).exit_code == 1
    with pytest.raises(NoEvents, match=r"none\.txt"):
        follow(path, STATES)


def test_events_in_a_log_are_found(tmp_path: Path) -> None:
    dump = (
        "[  100.1] Dumping ftrace buffer:\n[  100.1] ---------------------------------\n"
        f"[  100.1] CPU:1 [LOST 12 EVENTS]\n[  100.1]     bash-1       1d..2.   12us : mm_page_free: {FREE}\n"
        "[  100.1]  => free_unref_page\n[  100.1] ---------------------------------\n"
    )
    events, tally = read(tmp_path, OOM + dump)
    assert len(events) == 1
    assert (tally.log_lines, tally.lost_events, tally.stack_lines, tally.damaged) == (3, 12, 1, 0)
    assert again(tmp_path, OOM + dump)[0] == "CPU:1 [LOST 12 EVENTS]"


def test_overwritten_events_are_noted(tmp_path: Path) -> None:
    head = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 10/250   #P:2\n"
    _, tally = read(tmp_path, head + f"x-1 [000] ..... 1.0: mm_page_free: {FREE}\n")
    assert tally.overwritten == 240
    assert "240 events were overwritten" in " ".join(tally.notes())


def as_tgid(line: str) -> str:
    return line.replace(" [", " (    777) [", 1)


def as_latency(line: str) -> str:
    head, _, rest = line.partition(" [")
    cpu, _, rest = rest.partition("] ")
    flags, _, rest = rest.strip().partition(" ")
    _, _, what = rest.strip().partition(": ")
    return f"{head.strip():>16} {int(cpu)}{flags} 12us+: {what}"


def as_counter(line: str) -> str:
    head, _, rest = line.partition("] ")
    flags, _, rest = rest.strip().partition(" ")
    when, _, what = rest.strip().partition(": ")
    return f"{head}] {flags} {when.replace('.', '')}: {what}"


@pytest.mark.parametrize("change", [as_tgid, as_latency, as_counter])
def test_the_prediction_stands_in_every_layout(change: Any, tmp_path: Path) -> None:
    lines = gzip.decompress(TRACE.read_bytes()).decode().splitlines()[:9000]
    path, plain = tmp_path / "changed.txt", tmp_path / "plain.txt"
    plain.write_text("\n".join(lines) + "\n")
    path.write_text("".join(f"{line if line[:1] in '#' else change(line)}\n" for line in lines))
    expected, found = (follow(one, STATES, marked=True).report for one in (plain, path))
    for key in ("allocations", "predicted", "refilled_predicted", "drained_predicted", "damaged", "lines"):
        assert found[key] == expected[key], key


def test_a_line_without_a_cpu_is_followed_where_there_is_one(tmp_path: Path) -> None:
    m = bp.Machine("64MiB", cpus=1)
    state = m.snapshot()
    with m.trace() as traces:
        for _ in range(20):
            m.free_pages(m.alloc_pages(bp.GFP_KERNEL) or 0)
    lines = [
        line.partition(" [")[0].replace("-", " ") + line.partition("]")[2][6:] for line in traces[0].lines.splitlines()
    ]
    path = tmp_path / "perf.txt"
    path.write_text("".join(line.replace(": mm", ": kmem:mm", 1) + "\n" for line in lines))
    report = follow(path, state).report
    assert report["predicted"] == report["allocations"] == 20
    assert report["without_cpu"] == len(lines)


def test_orders_above_the_models_are_counted_outside(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("x-1 [000] ..... 1.0: mm_page_free: page=00 pfn=0x2000 order=13\n")
    report = follow(path, STATES).report
    assert (report["damaged"], report["outside"]) == (0, 1)
    assert "order 13 is not modelled" in report["outside_lines"][0][1]


def test_llfree_headers(tmp_path: Path) -> None:
    path = tmp_path / "t.bin"
    events = [LlfreeEvent(cpu, 10 * i + cpu, i + 1, 1, 0, 0xCC0, 7) for i in range(600) for cpu in (0, 1)]
    write_llfree(path, events)
    data = bytearray(path.read_bytes())
    pages = int.from_bytes(data[:4], "little")
    assert pages == 6
    assert list(in_order_of_time(path)) == events
    # 0: the recorder was stopped before it wrote the number; one more: it counts the header.
    for count in (0, pages + 1):
        data[:4] = count.to_bytes(4, "little")
        path.write_bytes(data)
        assert list(in_order_of_time(path)) == events
    for count, why in ((pages + 2, "cut off"), (pages - 1, "more than")):
        data[:4] = count.to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(TraceError, match=why):
            list(read_llfree(path))
    # A page ends at the first frame 0, whatever stands behind.
    data[:4] = pages.to_bytes(4, "little")
    data[4096 + 16 + 5 * 16 : 4096 + 16 + 6 * 16] = bytes(16)
    path.write_bytes(data)
    assert len(list(read_llfree(path))) == len(events) - 250
    with pytest.raises(bp.InvalidArgument, match="pfn 0 ends a page"):
        write_llfree(path, [LlfreeEvent(0, 0, 0, 1, 0, 0, 0)])


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for reads in (
        lambda: list(read_events(nowhere)),
        lambda: list(rewrite(nowhere)),
        lambda: follow(nowhere, STATES),
        lambda: follow(TRACE, nowhere),
        lambda: list(read_llfree(nowhere)),
        lambda: bp.Machine.from_snapshot(nowhere),
        lambda: bp.replay(nowhere, STATES),
    ):
        with pytest.raises(FileNotFoundError, match="nowhere: No such file") as caught:
            reads()
        assert isinstance(caught.value, bp.MissingFile)
        assert caught.value.filename == str(nowhere)


MEASURED = r"""
import re, sys
from pathlib import Path
from bulkpages.formats.trace import Tally, read_events, rewrite
tally = Tally()
for text in rewrite(sys.argv[1], tally):
    pass
for event in read_events(sys.argv[1]):
    pass
print(tally.lines, tally.stack_lines, re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_stacks(tmp_path: Path) -> None:
    """Forty megabytes, most of them stacks, take no more than four do."""
    path = tmp_path / "long.txt"
    piece = STACKS.encode() * 1200
    peaks = []
    for times in (4, 40):
        path.write_bytes(piece * times)
        done = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True)
        lines, stacks, peak = map(int, done.stdout.split())
        assert (lines, stacks) == (15 * 1200 * times, 8 * 1200 * times)
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 4 * 1024, peaks


def test_perfetto_of_no_events_is_an_error_alone(tmp_path: Path) -> None:
    path = tmp_path / "none.txt"
    path.write_text("# tracer: nop\n")
    result = run("trace", str(path), "--to", "perfetto")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no line is a kmem event" in result.stderr


def test_perfetto_of_any_layout(tmp_path: Path) -> None:
    path, out = tmp_path / "t.txt", tmp_path / "t.json"
    path.write_text("".join(line.format(f"mm_page_free: {FREE}") + "\n" for line, _ in HEADS.values()))
    assert run("trace", str(path), "--to", "perfetto", "--output", str(out)).exit_code == 0
    loaded = json.loads(out.read_text())["traceEvents"]
    instants = [event for event in loaded if event["ph"] == "i"]
    assert len(instants) == len(HEADS)
    assert 12_345_678.912 in [event["ts"] for event in instants]
