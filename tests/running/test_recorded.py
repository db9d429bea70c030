"""A kernel of 6.12 wrote its state down with every CPU stopped, drgn read it, then the kernel executed operations.

Two nodes, four CPUs. Beside what drgn found is the recording, by the kernel itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stored_program import load

from bulkpages.conform import conform, first_difference
from bulkpages.formats.recording import read_recording
from bulkpages.running import read_state

CORE = Path(__file__).parent / "cores" / "recorded-6.12.json.gz"
RECORDING = CORE.with_suffix("").with_suffix(".jsonl.gz")


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(read_state(load(CORE)).snapshot))
    # Which task asks is no state of a machine.
    found["facts"]["realtime_task"] = read_recording(RECORDING).before["facts"]["realtime_task"]
    return found


def test_every_field_is_what_the_kernel_wrote_down(state: dict[str, Any]) -> None:
    assert first_difference(read_recording(RECORDING).before, state) is None


def test_every_frame_is_predicted_from_it(state: dict[str, Any], tmp_path: Path) -> None:
    found = read_recording(RECORDING)
    lines = [found.header, {"before": state}, *found.operations, {"after": found.after}, {"proc": {}}]
    path = tmp_path / "predicted.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    verdict = conform(path)
    assert verdict.ok, verdict
    assert verdict.operations[0] == verdict.operations[1] >= 250
    assert verdict.pages[1] > 1000
