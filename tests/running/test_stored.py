"""The state of a real kernel, from what drgn found in a core of it: Debian's 6.1.192 for clouds, 512 MiB, two CPUs.

Beside it is what that kernel printed itself, in /proc/buddyinfo and /proc/zoneinfo, when the core was written.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from stored_program import load

import bulkpages as bp
from bulkpages.running import read_state

CORE = Path(__file__).parent / "cores" / "debian-6.1.json.gz"
PRINTED = CORE.with_name("debian-6.1.txt").read_text()
DESCRIPTOR = 64


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    found = read_state(load(CORE))
    assert found.notes == []
    state: dict[str, Any] = json.loads(json.dumps(found.snapshot))
    return state


def zoneinfo(name: str) -> str:
    """The part of a zone."""
    found = re.search(
        rf"^Node 0, zone +{name}\n(?:  per-node stats\n.*?\n  pages|  pages)(.*?)(?=^Node|\Z)", PRINTED, re.S | re.M
    )
    assert found
    return found[1]


def numbers(name: str, key: str) -> list[int]:
    return [int(number) for number in re.findall(rf"^ *{key}:? +(\d+)$", zoneinfo(name), re.M)]


def test_the_machine_is_in_this_state(state: dict[str, Any]) -> None:
    machine = bp.Machine.from_drgn(load(CORE))
    assert machine.snapshot() == state
    assert machine.audit()


def test_free_blocks_are_what_the_kernel_counted(state: dict[str, Any]) -> None:
    printed = re.findall(r"^Node 0, zone +\w+ +((?:\d+ +){11})$", PRINTED, re.M)
    assert len(printed) == len(state["zones"])
    for zone, line in zip(state["zones"], printed, strict=True):
        listed = [sum(map(len, zone["free"].get(str(order), {}).values())) for order in range(11)]
        assert listed == [int(word) for word in line.split()], zone["name"]


@pytest.mark.parametrize("key", ["boost", "min", "low", "high", "spanned", "present", "managed"])
def test_zones_are_what_the_kernel_printed(state: dict[str, Any], key: str) -> None:
    for zone in state["zones"]:
        assert [zone[key]] == numbers(zone["name"], key)[:1], zone["name"]


@pytest.mark.parametrize("key", ["count", "high", "batch"])
def test_lists_are_what_the_kernel_printed(state: dict[str, Any], key: str) -> None:
    zone = state["zones"][-1]
    assert [pcp[key] for pcp in zone["pcp"].values()] == numbers(zone["name"], key)[-2:]


def test_movable_pages_are_those_that_reclaim_knows(state: dict[str, Any]) -> None:
    lru = sum(numbers("DMA32", f"nr_zone_{kind}_anon")[0] for kind in ("active", "inactive"))
    counted = sum(pages for _, pages in state["zones"][-1]["movable"])
    # What the file prints is without the differences that CPUs still hold: two counters on two CPUs, up to 12 each.
    assert abs(counted - lru) <= 2 * 2 * 12


def reading(movable: bool) -> int:
    """Bytes that are read of descriptors and lists."""
    seen = 0

    def count(address: int, data: bytes) -> bytes:
        nonlocal seen
        seen += len(data)
        return data

    read_state(load(CORE, count), movable=movable)
    return seen


def test_only_listed_pages_are_read_without_movable_ones(state: dict[str, Any]) -> None:
    listed = sum(len(frames) for zone in state["zones"] for lists in zone["free"].values() for frames in lists.values())
    listed += sum(pcp["count"] for zone in state["zones"] for pcp in zone["pcp"].values())
    frames = sum(zone["present"] for zone in state["zones"])
    assert reading(movable=False) < frames * DESCRIPTOR // 10
    assert reading(movable=True) > listed * DESCRIPTOR


def test_large_machines_say_that_movable_pages_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkpages.running.state.MOVABLE_LIMIT", 1000)
    found = read_state(load(CORE))
    assert all(zone["movable"] == [] for zone in found.snapshot["zones"])
    assert "movable pages were not counted" in found.notes[0]
    assert read_state(load(CORE), movable=True).notes == []


class Disturbance:
    """Another number in one word of memory, for so many reads of it."""

    def __init__(self, address: int, times: int) -> None:
        self.address, self.times = address, times

    def __call__(self, address: int, data: bytes) -> bytes:
        at = self.address - address
        if not 0 <= at <= len(data) - 8 or not self.times:
            return data
        self.times -= 1
        return data[:at] + bytes(8) + data[at + 8 :]


def back_pointer(state: dict[str, Any]) -> int:
    """Where the descriptor of the first free block of order 0 points back."""
    from bulkpages.running.page_lists import page_format

    pages = page_format(load(CORE))
    lists = state["zones"][-1]["free"]["0"]
    pfn: int = next(iter(lists.values()))[0]
    return pages.first + pfn * pages.size + pages.node + 8


def test_a_list_that_changed_is_read_again(state: dict[str, Any]) -> None:
    disturbed = Disturbance(back_pointer(state), 3)
    found = read_state(load(CORE, disturbed), movable=False)
    assert disturbed.times == 0
    assert found.snapshot["zones"][-1]["free"] == state["zones"][-1]["free"]


def test_a_list_that_never_stands_still_is_named(state: dict[str, Any]) -> None:
    with pytest.raises(
        bp.SnapshotError, match=r"the page of frame \d+ does not point back .*while the kernel was running"
    ):
        read_state(load(CORE, Disturbance(back_pointer(state), -1)), movable=False)


def test_a_truncated_core_is_named() -> None:
    from drgn import FaultError

    def end(address: int, data: bytes) -> bytes:
        if len(data) == DESCRIPTOR:
            raise FaultError("no memory", address)
        return data

    with pytest.raises(bp.SnapshotError, match="cannot be read: the core is truncated"):
        bp.Machine.from_drgn(load(CORE, end))


@pytest.mark.parametrize("release", ["5.10.0-28-amd64", "6.6.30", "2.6.32"])
def test_a_kernel_that_is_not_modelled_is_named(release: str) -> None:
    with pytest.raises(bp.SnapshotError, match=rf"Linux {release} is not modelled; the series 6\.1, 6\.12"):
        read_state(load(CORE, texts={"UTS_RELEASE": release}))


@pytest.mark.parametrize(
    "name", ["gfp_allowed_mask", "watermark_boost_factor", "VMCOREINFO", "per_cpu_pages", "MIGRATE_TYPES"]
)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(bp.SnapshotError, match=f"debugging information lacks what is needed: .*{name}"):
        read_state(load(CORE, without=(name,)))


def test_an_empty_program_has_no_debugging_information() -> None:
    with pytest.raises(bp.SnapshotError, match="there is no debugging information for the kernel"):
        read_state(load(CORE, without=("zone",)))


def test_why_answers_on_it(state: dict[str, Any]) -> None:
    machine = bp.Machine.from_snapshot(state)
    assert machine.explain("GFP_KERNEL", 3).works
