"""What drgn reads of a real kernel is what the kernel itself writes down at the same stopped moment, in every field."""

from __future__ import annotations

import gc
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from bulkpages.conform import conform, first_difference
from bulkpages.kernel import Kernel, build
from bulkpages.kernel.build import default_work
from bulkpages.kernel.record import record, write_recording
from bulkpages.kernel.run import Shape
from bulkpages.kernel.streams import Stream, random_stream
from bulkpages.kernel.tree import find_tree
from bulkpages.running import open_core, open_guest, read_state

pytestmark = pytest.mark.kernel

# Streams of one, two and three nodes, with settings, until memory is short or has run out.
SEEDS = [1, 7, 13]


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    tree = find_tree(os.environ.get("BULKPAGES_KERNEL_TREE") or None)
    work = default_work(tree)
    made = build(tree, output=work / "with-debug-info", debug_info=True)
    if not made.records:
        pytest.skip(made.why_not)
    return made


def dump(monitor: Path, core: Path) -> None:
    """Lets qemu write a core of its guest."""
    order = {"execute": "dump-guest-memory", "arguments": {"paging": False, "protocol": f"file:{core}"}}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(monitor))
        with connection.makefile("r") as answers:
            answers.readline()
            for command in ({"execute": "qmp_capabilities"}, order):
                connection.sendall(json.dumps(command).encode() + b"\n")
                while "return" not in (answer := json.loads(answers.readline())):
                    assert "error" not in answer, answer


def read_both(kernel: Kernel, monitor: Path, folder: Path) -> dict[str, Any]:
    """The state by the monitor's socket, and from a core; nothing moves meanwhile."""
    vmlinux, core = kernel.folder / "vmlinux", folder / "core"
    states = {}
    found = read_state(open_guest(str(monitor), vmlinux), movable=True)
    assert found.moved == 0
    states["socket"] = found.snapshot
    # The monitor serves one at a time, and drgn's program is gone when it is collected.
    gc.collect()
    dump(monitor, core)
    states["core"] = read_state(open_core(core, vmlinux), movable=True).snapshot
    core.unlink()
    return {name: json.loads(json.dumps(state)) for name, state in states.items()}


def look(kernel: Kernel, stream: Stream, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A recording, and what drgn read at its beginning."""
    states: dict[str, Any] = {}
    lines = record(kernel, stream, at_stop=lambda monitor: states.update(read_both(kernel, monitor, folder)))
    return lines, states


def told(state: dict[str, Any]) -> dict[str, Any]:
    """Takes out of a state what is none: which task asks, and the rules that the tree has."""
    facts = state["facts"]
    return {name: facts.pop(name) for name in ("realtime_task", "rules") if name in facts}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_field_and_every_frame(kernel: Kernel, seed: int, tmp_path: Path) -> None:
    lines, states = look(kernel, random_stream(seed, operations=300), tmp_path)
    before = lines[1]["before"]
    others = told(before)
    assert set(states) == {"socket", "core"}
    for way, state in states.items():
        told(state)
        assert first_difference(before, state) is None, way
        state["facts"] |= others
        path = tmp_path / f"{way}.jsonl.gz"
        write_recording(path, [lines[0], {"before": state}, *lines[2:]])
        verdict = conform(path)
        assert verdict.ok, (way, verdict)
        assert verdict.operations[0] == verdict.operations[1] >= 300


def test_memory_above_a_hole(kernel: Kernel, tmp_path: Path) -> None:
    lines, states = look(kernel, Stream(0, "plain", Shape(4096, 2), {}, ()), tmp_path)
    told(before := lines[1]["before"])
    assert [zone["name"] for zone in before["zones"]] == ["DMA", "DMA32", "Normal"]
    for way, state in states.items():
        told(state)
        assert first_difference(before, state) is None, way
