"""Real threads on one machine: nothing is lost, nothing is handed out twice, and errors reach the caller."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main


@pytest.mark.parametrize("mix", ["default", "bulk", "drain", "remote-free", "bulk=4,single=2,drain=1"])
def test_every_mix_passes_the_audit(mix: str) -> None:
    run = bp.stress("128MiB", threads=4, mix=mix, ops=2000)
    assert run.ok, run.data["violations"]
    assert run.pages > 0
    data = run.to_dict()
    assert data["pages_allocated"] == data["pages_freed"] + data["pages_owned_at_end"]
    assert data["locks"]["pcp"]["hold"]["count"] > 0
    json.dumps(data)


def test_failures_by_cause_add_up_to_failures() -> None:
    data = bp.stress("128MiB", threads=4, mix="drain", ops=4000).data
    for side, failed in data["trylock_failures"].items():
        assert sum(data["trylock_failures_by_holder"][side].values()) == failed


def test_the_same_seed_does_the_same_things_on_one_cpu() -> None:
    first, second = (bp.stress("64MiB", threads=1, ops=500, seed=7).data for _ in range(2))
    for name in ("ops", "pages_allocated", "pages_freed", "trylock_failures"):
        assert first[name] == second[name]


def test_a_machine_of_your_own() -> None:
    m = bp.Machine("128MiB", cpus=4, threads=True)
    before = m.audit().allocated
    run = m.run(4, "default", ops=1000, timeline=50)
    assert run.ok
    assert m.audit().allocated == before
    assert {s.cpu for s in run.timeline} == {0, 1, 2, 3}
    assert all(s.start <= s.end for s in run.timeline)


def test_a_callable() -> None:
    m = bp.Machine("128MiB", cpus=2, threads=True)

    def work(machine: bp.Machine, cpu: int, call: int) -> None:
        pages = bp.PageArray(16)
        machine.alloc_pages_bulk(bp.GFP_KERNEL, pages, api="v2", cpu=cpu)
        machine.free_bulk(pages, cpu=cpu)

    run = m.run(2, work, ops=50)
    assert run.ok
    assert run.data["calls"] == 100
    assert run.data["pages_allocated"] == run.data["pages_freed"] == 1600


def test_an_error_in_a_worker_stops_the_run_and_reaches_the_caller() -> None:
    m = bp.Machine("128MiB", cpus=2, threads=True)

    def work(machine: bp.Machine, cpu: int, call: int) -> None:
        if cpu == 1 and call == 3:
            raise ZeroDivisionError("of the callable")

    with pytest.raises(ZeroDivisionError, match="of the callable"):
        m.run(2, work, seconds=60)
    m.audit()


def test_bad_input() -> None:
    m = bp.Machine("128MiB", cpus=2, threads=True)
    for threads, workload in ((3, "default"), (0, "default"), (3, print), (1, "fast"), (1, "free=1")):
        with pytest.raises(bp.InvalidArgument):
            m.run(threads, workload, ops=1)
    with pytest.raises(bp.InvalidArgument, match="a time or a number"):
        m.run(1)
    with pytest.raises(bp.InvalidArgument, match=r"threads 4 .* 2 cpus"):
        bp.stress(threads=4, cpus=2, ops=1)
    with pytest.raises(bp.ApiMisuse, match="threads=True"):
        bp.Machine("128MiB").run(1, ops=1)


def test_the_command(tmp_path: Path) -> None:
    trace, picture = tmp_path / "trace.json", tmp_path / "run.svg"
    options = ["--threads", "2", "--seconds", "0.2", "--memory", "128MiB", "--perfetto", str(trace)]
    result = CliRunner().invoke(main, ["stress", *options, "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    last = result.stdout.strip().splitlines()[-1]
    assert "pages moved" in last
    assert "trylock failures" in last
    assert last.endswith("audit passed")
    events = json.loads(trace.read_text())["traceEvents"]
    assert {e["tid"] for e in events} == {0, 1}
    assert {e["cat"] for e in events if e["ph"] == "X"} == {"call", "lock"}
    assert picture.stat().st_size > 1000
    assert CliRunner().invoke(main, ["stress", "--mix", "fast"]).exit_code == 2
