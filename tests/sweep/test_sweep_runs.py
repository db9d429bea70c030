"""Rows are right, and the same whoever makes them, whatever happens meanwhile."""

import json
import multiprocessing
import os
import signal
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sweeps import SLOW, same, serial

from bulkpages import BulkpagesError, sweep
from bulkpages.suite.trunk import runner
from bulkpages.sweep import cycles, engine
from bulkpages.sweep.journal import Done, Journal
from bulkpages.sweep.unit import COLUMNS, Part


@pytest.fixture
def short_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "UNIT_SECONDS", 0.05)
    monkeypatch.setattr(engine, "LEAST_SECONDS", 0.02)


def test_rows_say_what_the_call_did() -> None:
    cells = [{"what": "bulk", "api": ["v1", "v2", "v3", "single"], "holes": "x..xx..x", "faults": ["none", "pages=2"]}]
    rows = sweep.run({"title": "t", "cells": cells}, executor=ThreadPoolExecutor(1)).rows
    found = {(row["api"], row["faults"]): row for row in rows}
    rets = {key: (row["ret"], row["filled"]) for key, row in found.items()}
    assert rets == {
        ("v1", "none"): (8, 8),
        # The index behind the last slot that was passed: two pages and the three it passed.
        ("v1", "pages=2"): (5, 6),
        ("v2", "none"): (4, 8),
        ("v2", "pages=2"): (2, 6),
        ("v3", "none"): (0, 8),
        ("v3", "pages=2"): (-11, 6),
        ("single", "none"): (4, 8),
        ("single", "pages=2"): (2, 6),
    }
    assert found["v2", "none"]["returns"] == [4]
    # A slot write for each new page; v2's compaction writes the rest.
    assert found["v1", "none"]["slot_writes"] == 4
    assert found["v2", "none"]["slot_tests"] == 8
    assert found["v1", "none"]["vm"]["pgalloc_dma32"] == 4
    assert found["single", "none"]["single_calls"] == 4


def test_rows_of_callers_are_those_of_the_ports() -> None:
    import bulkpages as bp

    cells = [
        {"what": "caller", "caller": "btrfs", "form": ["before", "after"], "holes": "xx..x.xx", "faults": "pages=0"}
    ]
    for row in sweep.run({"title": "t", "cells": cells}).rows:
        m = bp.Machine("256MiB")
        a = bp.callers.fill_shape(m, "xx..x.xx")
        with m.faults(pages=0):
            r = bp.callers.btrfs_alloc_page_array(m, a, form=row["form"], max_waits=3)
        assert (row["ret"], row["freed"], row["slot_writes"]) == (r.ret, r.freed, r.slot_writes)
        assert row["returns"] == [ret for _, ret in r.bulk_calls]
        assert row["filled"] == sum(1 for pfn in a if pfn)


def test_the_seed_decides_the_machine() -> None:
    machine = {"memory": "64MiB", "used": 0.6, "aged": 300, "lists": "cold"}
    spec = sweep.spec_from({"title": "t", "seeds": 3, "machine": machine, "cells": SLOW["cells"]})
    from bulkpages.sweep.unit import prepare

    states = [json.dumps(prepare(spec.cells[0], seed, {}).snapshot()) for seed in (1, 2, 1)]
    assert states[0] == states[2] != states[1]
    m = prepare(spec.cells[0], 1, {})
    managed, free, pcp, allocated, _ = m.audit()
    # Ageing holds some more; what is free is scattered, so few blocks are large.
    assert 0.6 <= allocated / managed < 0.7
    small = sum(len(heads) for zone in m.snapshot()["zones"] for heads in zone["free"].get("0", {}).values())
    assert small > (free + pcp) / 10


def test_what_cannot_be_run_is_an_error_in_its_row() -> None:
    cells = [{"what": "bulk", "api": "v1", "nr_pages": [8, 60_000], "holes": "none", "memory": "64MiB"}]
    result = sweep.run({"title": "t", "cells": cells})
    assert [row["ret"] for row in result.rows] == [8, None]
    ((cell, seed, why),) = result.errors
    assert (cell, seed) == (1, 1)
    assert "60000" in why
    assert "1 runs could not be made" in result.text()


@pytest.mark.usefixtures("short_units")
def test_a_dead_process_takes_nothing_with_it() -> None:
    killed: list[tuple[float, float]] = []

    def kill(what: str, done: float, total: float) -> None:
        children = multiprocessing.active_children()
        if children and 0 < done < total and not killed:
            os.kill(children[0].pid or 0, signal.SIGKILL)
            killed.append((done, total))

    result = sweep.run(SLOW, workers=2, progress=kill)
    assert killed
    assert same(result)


class Bad(Executor):
    """Loses the first units, and runs the others at once, in threads."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.inner = ThreadPoolExecutor(2)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.losses:
            self.losses -= 1
            lost: Future[Any] = Future()
            lost.set_exception(ConnectionError("the worker is gone"))
            return lost
        return self.inner.submit(fn, *args, **kwargs)


@pytest.mark.usefixtures("short_units")
def test_a_lost_unit_is_handed_out_again() -> None:
    assert same(sweep.run({**SLOW, "seeds": 40}, executor=Bad(3), workers=2))
    with pytest.raises(BulkpagesError, match="failed 4 times: ConnectionError: the worker is gone"):
        sweep.run({**SLOW, "seeds": 40}, executor=Bad(10**9), workers=2)


@pytest.mark.usefixtures("short_units")
def test_an_interrupted_sweep_continues(tmp_path: Path) -> None:
    spec = sweep.spec_from({**SLOW, "seeds": 60})
    folder = tmp_path / "out"
    seen: list[float] = []

    def interrupt(what: str, done: float, total: float) -> None:
        seen.append(done)
        if done > total / 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.run(spec, output=folder, workers=1, progress=interrupt)
    assert not (folder / "results.json").exists()
    with pytest.raises(BulkpagesError, match="--resume"):
        sweep.run(spec, output=folder)
    journal = folder / "journal.jsonl"
    whole = journal.read_bytes()
    # A crash in the middle of a line.
    journal.write_bytes(whole + b'{"cell":0,"start":999,"ro')
    seen.clear()
    result = sweep.resume(folder, workers=1, progress=lambda what, done, total: seen.append(done))
    assert seen[0] > spec.runs / 3
    assert same(result)
    assert same(sweep.load(folder))
    assert not journal.exists()
    with pytest.raises(BulkpagesError, match="no interrupted sweep"):
        sweep.resume(folder)
    with pytest.raises(BulkpagesError, match="holds results"):
        sweep.run(spec, output=folder)


def _journal(folder: Path, **change: Any) -> Path:
    """A journal of 3 of 6 runs."""
    spec = sweep.spec_from({**SLOW, "seeds": 3, "cells": [{**SLOW["cells"][0], "faults": "none"}]})
    journal = Journal(folder)
    from bulkpages.provenance import provenance

    journal.begin(spec, {"provenance": {**provenance(), **change}, "started": "now"})
    rows = [row for i, _, row in serial(spec) if i == 0]
    journal.add(Part(0, spec.cells[0], 0, 3, (1, 2, 3)), rows)
    journal.close()
    return journal.path


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = _journal(tmp_path)
    head, done = Journal(tmp_path).resume()
    assert head["started"] == "now"
    assert done.missing() == [(1, 0, 3)]
    assert done.in_order() == serial(done.spec)[:3]
    path.write_bytes(path.read_bytes() + path.read_bytes().split(b"\n")[1] + b"\n")
    with pytest.raises(BulkpagesError, match="run 0 of cell 1 is there twice"):
        Journal(tmp_path).resume()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace('"seconds": 30.0', '"seconds": 31.0'), "was changed"),
        (lambda text: "{}\n", "not a sweep journal"),
        (lambda text: text.replace("[[", "[", 1), "damaged|not a sweep journal"),
        (lambda text: "", "not a sweep journal"),
    ],
    ids=["changed", "other", "cut", "empty"],
)
def test_a_journal_of_something_else(tmp_path: Path, damage: Any, words: str) -> None:
    path = _journal(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(BulkpagesError, match=words):
        Journal(tmp_path).resume()


def test_a_journal_of_another_version(tmp_path: Path) -> None:
    _journal(tmp_path, bulkpages="0.0.1")
    with pytest.raises(BulkpagesError, match=r"0\.0\.1"):
        sweep.resume(tmp_path)


def test_two_processes_do_not_share_a_journal(tmp_path: Path) -> None:
    _journal(tmp_path)
    first = Journal(tmp_path)
    first.resume()
    with pytest.raises(BulkpagesError, match="in use"):
        Journal(tmp_path).resume()
    first.close()
    Journal(tmp_path).resume()


def test_no_run_is_counted_twice() -> None:
    spec = sweep.spec_from({**SLOW, "seeds": 4})
    done = Done(spec)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    done.add(0, 0, [row, row])
    for index, start, count, words in (
        (0, 1, 1, "twice"),
        (0, 3, 2, "no runs"),
        (9, 0, 1, "no runs"),
        (0, -1, 1, "no"),
    ):
        with pytest.raises(BulkpagesError, match=words):
            done.add(index, start, [row] * count)
    assert done.missing()[0] == (0, 2, 4)
    assert done.runs == 2


@pytest.mark.parametrize("each", [0.0003, 0.01, 0.26, 3.0])
def test_units_last_half_a_second(each: float) -> None:
    """Whatever a run takes, units are long enough while there is as much left, and together they are everything."""
    spec = sweep.spec_from({**SLOW, "seeds": 700})
    queue = engine._Queue(spec, Done(spec))
    queue.seconds = {engine._kind(cell): each for cell in spec.cells}
    done = Done(spec)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    lengths = []
    while queue:
        unit, _ = queue.take()
        lengths.append(unit.runs * each)
        for part in unit.parts:
            assert part.seeds == spec.seeds[part.start : part.stop]
            done.add(part.index, part.start, [row] * len(part.seeds))
    assert done.missing() == []
    assert all(length >= 0.5 for length in lengths[:-1])
    assert max(lengths) <= max(1.0, each) * 1.001


def test_a_unit_that_was_held_up_does_not_make_the_next_ones_short() -> None:
    spec = sweep.spec_from({**SLOW, "seeds": 700})
    queue = engine._Queue(spec, Done(spec))
    queue.seconds = {engine._kind(cell): 0.01 for cell in spec.cells}
    unit, _ = queue.take()
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    queue.learn(unit, [([row] * len(part.seeds), 10.0) for part in unit.parts])
    assert queue.take()[0].runs * 0.01 >= 0.5
    # What turns out to be faster is believed at once.
    queue.learn(unit, [([row] * len(part.seeds), 0.001 * len(part.seeds)) for part in unit.parts])
    assert queue.take()[0].runs * 0.001 >= 0.5


def test_results_are_written_and_read(tmp_path: Path) -> None:
    result = sweep.run({**SLOW, "seeds": 2}, output=tmp_path)
    again = sweep.load(tmp_path)
    assert again.found == result.found
    assert again.text() == result.text()
    assert again.spec.hash == result.spec.hash
    result.to_csv(tmp_path / "runs.csv")
    import csv

    with (tmp_path / "runs.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 8
    assert [int(line["ret"]) for line in lines] == [row["ret"] for row in result.rows]
    assert json.loads(lines[0]["vm"]) == result.rows[0]["vm"]
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq  # type: ignore[import-not-found,import-untyped,unused-ignore]

    result.to_parquet(tmp_path / "runs.parquet")
    assert pq.read_table(tmp_path / "runs.parquet").column("ret").to_pylist() == [row["ret"] for row in result.rows]


def test_cycles_come_with_an_interval_and_a_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles, "LOOKS", 1)
    monkeypatch.setattr(runner, "BLOCKS", 4)
    cells = [
        {"what": "bulk", "api": ["v1", "v2"], "nr_pages": 256, "holes": ["every 64", "random 8"]},
        {
            "what": "caller",
            "caller": "svc",
            "form": ["before", "tracked"],
            "nr_pages": 259,
            "faults": ["none", "single"],
        },
    ]
    result = sweep.run({"title": "t", "measure": "cycles", "cycles": {"seconds": 1}, "cells": cells}, output=tmp_path)
    assert result.found == []
    assert result.cycles is not None
    rows = {(row["cell"].split(", ")[2], row["form"]): row for row in result.cycles["rows"]}
    # Of v2 the compaction of 252 pages: nobody's noise hides that.
    row = rows["holes every 64", "v2"]
    assert row["base"] == "v1"
    assert row["ratio"] > 1.1
    assert row["interval"][0] < row["ratio"] < row["interval"][1]
    assert row["verdict"] in ("slower", "undecided", None)
    assert ("holes random 8", "v2") in rows
    assert result.cycles["null"]["comparisons"] == 6
    assert "not timed" in "".join(result.cycles["skipped"].values())
    assert "not of a kernel" in result.text()
    assert not (tmp_path / "cycles.json").exists()
