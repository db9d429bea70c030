"""Checking a kernel, with the emulator in its place: exact, and with one that does one thing otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bulkpages import Machine
from bulkpages.conform import conform
from bulkpages.errors import KernelError
from bulkpages.kernel import Kernel
from bulkpages.kernel import check as checking
from bulkpages.kernel.check import check
from bulkpages.kernel.record import _KINDS
from bulkpages.kernel.streams import Operation, Stream
from bulkpages.kernel.text import check_text

KERNEL = Kernel(Path("k"), "6.12.117", "/sources", (), "null_only", {}, True, "", "1", "gcc 12")


def plain(op: Operation) -> dict[str, Any]:
    """An operation of the recorder as recordings write it."""
    what: dict[str, Any] = {"op": _KINDS.get(op.kind, "bulk_v1"), "cpu": op.cpu}
    match op.kind:
        case "b":
            return what | {"gfp": op.gfp, "nid": op.nid, "nr_pages": op.n, "slot": op.slot}
        case "a":
            return what | {"gfp": op.gfp, "nid": op.nid, "order": op.n, "slot": op.slot}
        case "F":
            return what | {"order": op.n, "slot": op.slot}
        case "f" | "r":
            return what | {"slot": op.slot, "nr": op.n}
        case "s":
            return what | {"slot": op.slot, "nr": op.n, "first": op.nid, "step": op.gfp}
        case "h" | "u":
            return what | {"node": op.gfp, "zone": op.n, "pcp_cpu": op.nid}
    return what


def recorded(_kernel: Kernel, stream: Stream, operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """What a kernel that the emulator is exact for would record."""
    machine = Machine(f"{stream.shape.megabytes}MiB", cpus=stream.shape.cpus, nodes=stream.shape.nodes)
    before = machine.snapshot()
    asked = [plain(op) for op in operations]
    results = machine.replay(asked)
    lines = [op | result for op, result in zip(asked, results, strict=True)]
    return [{"case": "stand-in"}, {"before": before}, *lines, {"after": machine.snapshot()}, {"proc": {}}]


def otherwise(kernel: Kernel, stream: Stream, operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """The same from a kernel that hands out another block of order 3 when at least five operations went before."""
    lines = recorded(kernel, stream, operations)
    for number, line in enumerate(lines):
        if line.get("op") == "alloc" and line["order"] == 3 and line.get("pages") and number >= 7:
            line["pages"] = [[slot, pfn + 8] for slot, pfn in line["pages"]]
    return lines


def test_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "record", recorded)
    found = check(KERNEL, machines=1)
    assert found.exact
    assert found.machines == 1
    assert found.operations >= 800
    assert f"exact; {found.operations:,} operations" in check_text(found)


def test_a_difference_is_made_small_drawn_and_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checking, "record", otherwise)
    found = check(KERNEL, machines=9, output=tmp_path / "d.jsonl.gz")
    assert found.difference is not None
    assert found.difference.operation == 5, "five operations and the one that shows it"
    assert found.remaining - 6 <= 1, "a lock that was taken is let go of"
    assert "order=3" in "\n".join(found.difference.picture)
    assert f"{found.remaining} operations are left of it" in check_text(found)
    verdict = conform(tmp_path / "d.jsonl.gz")
    assert not verdict.ok
    assert verdict.operations == (found.remaining - 1, found.remaining)


def test_a_difference_that_does_not_come_again_is_still_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = iter([otherwise])
    monkeypatch.setattr(checking, "record", lambda *asked: next(first, recorded)(*asked))
    found = check(KERNEL, machines=1, output=tmp_path / "d.jsonl.gz")
    assert not found.exact
    assert not conform(tmp_path / "d.jsonl.gz").ok


def test_a_kernel_with_other_lists_is_refused() -> None:
    other = Kernel(Path("k"), "6.1.1", "", (), "null_only", {}, False, "other rules", "1", "gcc")
    with pytest.raises(KernelError, match=r"k cannot be checked: other rules"):
        check(other)
