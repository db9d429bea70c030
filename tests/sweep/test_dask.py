"""A cluster: a real scheduler, two worker processes, and the death of one of them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sweeps import SLOW, same

from bulkpages import BulkpagesError, sweep
from bulkpages.cli import main
from bulkpages.sweep import engine

distributed = pytest.importorskip("distributed")


class Cluster:
    """Processes on this machine; `workers` are those that live."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        common = ["--scheduler-file", str(self.file), "--no-dashboard"]
        self.log = (folder / "log").open("w")
        local = ["--host", "127.0.0.1", "--port", "0"]
        self.processes = [self._start("dask_scheduler", *common, *local)]
        while not self.file.exists():
            assert self.processes[0].poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        worker = ["--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--local-directory", str(folder), *common]
        self.workers = {name: self._start("dask_worker", "--name", name, *worker) for name in ("one", "two")}
        self.address = json.loads(self.file.read_text())["address"]

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
        return subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def stop(self) -> None:
        for process in [*self.workers.values(), *self.processes]:
            process.kill()
            process.wait()
        self.log.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    started = Cluster(tmp_path)
    yield started
    started.stop()


def test_a_worker_dies_in_the_middle(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "UNIT_SECONDS", 0.1)
    monkeypatch.setattr(engine, "LEAST_SECONDS", 0.05)
    spec = sweep.spec_from({**SLOW, "seeds": 150})
    client: Any = distributed.Client(cluster.address, set_as_default=False)
    client.wait_for_workers(2, timeout=30)
    names = {info["id"]: address for address, info in client.scheduler_info()["workers"].items()}
    lost: list[str] = []

    def kill(what: str, done: float, total: float) -> None:
        if lost or done < total / 4:
            return
        # Only when it has a unit in hand: what it was doing is lost with it.
        working = client.processing().get(names["one"], ())
        if working:
            cluster.workers["one"].send_signal(signal.SIGKILL)
            cluster.workers["one"].wait()
            lost.extend(map(str, working))

    with sweep.dask_executor(cluster.address) as (executor, threads):
        assert threads == 2
        result = sweep.run(spec, executor=executor, workers=threads, output=tmp_path / "out", progress=kill)
    assert lost
    assert cluster.workers["one"].returncode == -signal.SIGKILL
    assert list(client.scheduler_info()["workers"]) == [names["two"]]
    client.close()
    assert same(result)
    assert same(sweep.load(tmp_path / "out"))
    # The command, on what is left of the cluster.
    spec_file = tmp_path / "s.toml"
    spec_file.write_text('title="t"\n[[cells]]\nwhat="bulk"\napi=["v1","v2"]\nnr_pages=8\nholes="every 2"\n')
    arguments = ["sweep", str(spec_file), "--dask", cluster.address, "--output", str(tmp_path / "cli"), "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr
    assert [row[2] for row in json.loads(done.stdout)["rows"]] == [8, 4]


def test_a_missing_scheduler_is_reported() -> None:
    with (
        pytest.raises(BulkpagesError, match="no Dask scheduler at 'tcp://127"),
        sweep.dask_executor("tcp://127.0.0.1:1", seconds=1),
    ):
        pass
