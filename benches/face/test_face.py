"""What a call from Python costs: pytest-benchmark, no assertions on time."""

from pathlib import Path
from typing import Any

import pytest

import bulkpages as bp
from bulkpages.formats.recording import read_recording

RECORDINGS = Path(__file__).parents[2] / "tests" / "conformance" / "recordings"


@pytest.fixture
def m() -> bp.Machine:
    return bp.Machine("256MiB", cpus=1)


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_bulk_of_64_slots(benchmark: Any, m: bp.Machine, api: str) -> None:
    a = bp.PageArray(64)

    def clear() -> tuple[tuple[()], dict[str, Any]]:
        m.free_bulk(a)
        return (), {}

    benchmark.pedantic(lambda: m.alloc_pages_bulk(bp.GFP_KERNEL, a, api=api), setup=clear, rounds=20_000)


def test_single_page_and_back(benchmark: Any, m: bp.Machine) -> None:
    def turn() -> None:
        pfn = m.alloc_pages(bp.GFP_KERNEL)
        assert pfn is not None
        m.free_pages(pfn)

    benchmark(turn)


def test_replay_of_a_recording(benchmark: Any) -> None:
    recording = read_recording(RECORDINGS / "uma-256m-order0.jsonl.gz")

    def fresh() -> tuple[tuple[bp.Machine], dict[str, Any]]:
        return (bp.Machine.from_snapshot(recording.before),), {}

    benchmark.pedantic(lambda machine: machine.replay(recording.operations), setup=fresh, rounds=20)


def test_boot_of_a_terabyte(benchmark: Any) -> None:
    benchmark.pedantic(lambda: bp.Machine("1TiB", cpus=8, nodes=8), rounds=5)
