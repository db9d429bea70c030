"""Random operations: the same everywhere, and none that a kernel could not execute."""

import pytest

from bulkpages.kernel.check import _without_dangling
from bulkpages.kernel.streams import FAMILIES, Stream, random_stream


@pytest.mark.parametrize("seed", range(40))
def test_every_operation_is_possible(seed: int) -> None:
    stream = random_stream(seed)
    assert stream == random_stream(seed)
    assert stream.shape.megabytes % (16 * stream.shape.nodes) == 0
    slots: dict[int, int] = {}
    held: set[tuple[int, int, int]] = set()
    for op in stream.operations:
        assert 0 <= op.cpu < stream.shape.cpus
        assert op.slot + max(op.n, 1) <= 131072
        match op.kind:
            case "a":
                assert op.slot not in slots
                slots[op.slot] = op.n
            case "F":
                assert slots.pop(op.slot) == op.n, "a block is freed with the order that it was allocated with"
            case "d":
                assert not held, "a drain would wait for ever"
            case "h":
                assert op.cpu != op.nid, "who holds his own lock cannot free"
                held.add((op.gfp, op.nid, op.n))
            case "u":
                held.remove((op.gfp, op.nid, op.n))
    assert not held


def test_all_families_come() -> None:
    streams = [random_stream(seed) for seed in range(40)]
    assert {stream.family for stream in streams} == set(FAMILIES)
    assert {stream.shape.nodes for stream in streams} == {1, 2, 3}


def test_what_is_left_out_leaves_no_lock_held() -> None:
    stream: Stream = next(s for s in map(random_stream, range(100)) if any(op.kind == "h" for op in s.operations))
    first = next(i for i, op in enumerate(stream.operations) if op.kind == "h")
    for part in (stream.operations[: first + 1], stream.operations[first + 1 :]):
        kinds = [op.kind for op in _without_dangling(part)]
        assert kinds.count("h") == kinds.count("u")


def test_atomic_requests_have_a_flag_of_their_own_before_6_3() -> None:
    stream = next(s for s in map(random_stream, range(100)) if any(op.gfp & 0x820 == 0x820 for op in s.operations))
    old = stream.before_6_3()
    changed = [(a, b) for a, b in zip(stream.operations, old.operations, strict=True) if a != b]
    assert changed
    assert all(b.gfp == a.gfp | 0x200 and a.gfp & 0x20 and a.kind in "ab" for a, b in changed)
