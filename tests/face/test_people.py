"""Python as people write it: flags in words, lists where an array is meant, numbers of NumPy, names to be found."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bulkpages as bp
from bulkpages.fragmentation import extfrag_index, unusable_index


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("GFP_KERNEL", bp.GFP_KERNEL),
        ("GFP_KERNEL|__GFP_ZERO", bp.GFP_KERNEL | 0x100),
        ("GFP_KERNEL | __GFP_ZERO", bp.GFP_KERNEL | 0x100),
        ("GFP_HIGHUSER_MOVABLE|__GFP_NOWARN", 0x100CCA | 0x2000),
        ("GFP_ATOMIC", bp.GFP_ATOMIC),
    ],
)
def test_flags_in_words(words: str, flags: int) -> None:
    one, two = bp.Machine("64MiB", cpus=1), bp.Machine("64MiB", cpus=1)
    arrays = bp.PageArray(8), bp.PageArray(8)
    for m, array, gfp in ((one, arrays[0], words), (two, arrays[1], flags)):
        assert m.alloc_pages_bulk(gfp, array) == 8
        assert m.alloc_pages(gfp)
        assert m.alloc_pages_bulk_refill(gfp, array) == 0
    assert list(arrays[0]) == list(arrays[1])
    assert one.snapshot() == two.snapshot()


def test_flags_in_words_that_are_none(m: bp.Machine) -> None:
    with pytest.raises(bp.InvalidArgument, match=r"__GFP_MAGIC.* is not known"):
        m.alloc_pages("GFP_KERNEL|__GFP_MAGIC")
    with pytest.raises(TypeError, match="without quotes"):
        m.alloc_pages("3264")
    with pytest.raises(bp.InvalidArgument, match="is not known"):
        m.alloc_pages("")


@pytest.mark.parametrize("array", [[0] * 8, (0,), np.zeros(8, np.uint64)], ids=["list", "tuple", "ndarray"])
def test_the_error_for_a_wrong_array_says_how_to_make_one(m: bp.Machine, array: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: m.alloc_pages_bulk(bp.GFP_KERNEL, array),
        lambda: m.alloc_pages_bulk_refill(bp.GFP_KERNEL, array),
        lambda: m.free_bulk(array),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"a PageArray is needed, not .*PageArray\(pages\) makes one"):
            call()
    assert m.alloc_pages_bulk(bp.GFP_KERNEL, bp.PageArray(array)) == len(array)


def test_numbers_of_numpy_are_numbers() -> None:
    assert bp.Machine(np.int64(64 << 20), cpus=1).zones[-1].managed == bp.Machine("64MiB", cpus=1).zones[-1].managed
    wrong: list[Any] = [64.0, True, None, []]
    for value in wrong:
        with pytest.raises(TypeError, match="must be a text like '1GiB'"):
            bp.Machine(value)


def test_everything_can_be_found() -> None:
    code = (
        "import sys, bulkpages as bp\n"
        "assert 'numpy' not in sys.modules\n"
        "found = dir(bp)\n"
        "assert {'sweep', 'draw', 'walk', 'tables', 'replay', 'callers', 'MissingFile'} <= set(found), found\n"
        "for name in found: getattr(bp, name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        bp.swep  # noqa: B018


def test_a_missing_file_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(bp.MissingFile("nowhere")))
    assert isinstance(error, FileNotFoundError)
    assert isinstance(error, bp.BulkpagesError)
    assert (str(error), error.filename, error.errno) == ("nowhere: No such file or directory", "nowhere", 2)


@pytest.mark.parametrize(
    "read",
    [
        bp.Machine.from_proc,
        bp.Machine.from_report,
        bp.Machine.from_snapshot,
        bp.eras.identify,
        bp.sweep.run,
        lambda path: bp.replay(path, path),
    ],
    ids=lambda read: getattr(read, "__qualname__", ""),
)
def test_a_missing_file_is_one_error(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.*No such file or directory") as error:
        read(tmp_path / "nowhere")
    assert isinstance(error.value, bp.BulkpagesError)


def test_a_caller_is_named_as_on_the_command_line(m: bp.Machine) -> None:
    assert bp.callers.run(m, "xfs", pages=4, form="after") == bp.callers.run(
        bp.Machine("64MiB"), "xfs_buf_alloc_pages", pages=4, form="after"
    )
    with pytest.raises(bp.InvalidArgument, match=r"'xsf_buf_alloc' is part of none of .*, like xfs_buf_alloc_pages"):
        bp.callers.run(m, "xsf_buf_alloc", pages=4, form="after")
    with pytest.raises(bp.InvalidArgument, match="'alloc' is part of several names: btrfs_alloc_page_array, "):
        bp.callers.run(m, "alloc", pages=4, form="after")


def test_a_kernel_is_a_text_and_memory_has_an_end() -> None:
    with pytest.raises(TypeError, match=r"kernel is a text like '6\.12', not float"):
        bp.Machine("64MiB", kernel=6.12)  # type: ignore[arg-type]
    with pytest.raises(bp.InvalidArgument, match="memory of 109951162777600000 bytes is above 4 PiB"):
        bp.Machine("100000TiB")
    with pytest.raises(bp.InvalidArgument, match=r"for 1 node$"):
        bp.Machine("1KiB")


def test_fragmentation_by_hand() -> None:
    """The kernel's formulas, worked out on paper."""
    single = [1024] + [0] * 10
    # 1000 - (1000 + 1024000 / 2) / 1024 = 499.0 with whole numbers: 1000 - 500.
    assert extfrag_index(single, 1) == 0.5
    assert extfrag_index(single, 9) == 0.998
    assert extfrag_index(single, 0) == -1
    assert extfrag_index([0] * 11, 3) == 0
    assert [unusable_index(single, order) for order in (0, 1, 10)] == [0, 1, 1]
    half = [512, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    assert [unusable_index(half, order) for order in (0, 1, 9, 10)] == [0, 0.5, 0.5, 1]
    assert unusable_index([0] * 11, 0) == 1
    with pytest.raises(bp.InvalidArgument, match="order 11 is outside 0 to 10"):
        extfrag_index(single, 11)


def test_fragmentation_of_a_machine(tmp_path: Path) -> None:
    m = bp.Machine("64MiB", cpus=1)
    whole = m.fragmentation()
    pages: list[int] = []
    while (pfn := m.alloc_pages("GFP_HIGHUSER_MOVABLE|__GFP_NORETRY")) is not None:
        pages.append(pfn)
    for pfn in pages[::2]:
        m.free_pages(pfn)
    m.drain_local_pages()
    torn = m.fragmentation()
    assert whole.zones.keys() == torn.zones.keys()
    for name, blocks in torn.zones.items():
        assert extfrag_index(blocks, 9) > 0.9
        assert unusable_index(blocks, 1) > 0.8 > unusable_index(whole.zones[name], 1)
    rows = torn.to_table().rows()
    assert len(rows) == 11 * len(torn.zones)
    assert sum(row["free_blocks"] << row["order"] for row in rows) == sum(zone.free_pages for zone in m.zones)
    assert "extfrag index" in str(torn)
    torn.plot(tmp_path / "f.svg")
    assert (tmp_path / "f.svg").stat().st_size > 1000


def test_replay_as_a_function(tmp_path: Path) -> None:
    found = bp.replay()
    assert repr(found) == "<Replay 7811 of 7833, 99.72 % of allocations predicted>"
    assert "7811 of 7833, 99.72 %" in str(found)
    assert found.to_table().rows()[0] == {"what": "frames of allocations", "predicted": 7811, "lines": 7833}
    found.plot(tmp_path / "r.svg")
    again = bp.replay(what_if="pcp=off")
    assert [row["setting"] for row in again.to_table().rows()] == ["api=v1", "pcp=off,api=v1"]
    assert "zone-lock holds" in str(again)
    again.plot(tmp_path / "w.svg")
    with pytest.raises(bp.InvalidArgument, match="give both"):
        bp.replay("trace.txt")
