"""The cells of `compare` as lines of a job, and what a real kernel answered (stored)."""

from pathlib import Path

import pytest

from bulkpages.errors import KernelError
from bulkpages.kernel.cells import REPEATS, answers, job, measured_cells, slots
from bulkpages.kernel.run import _result, initramfs

OUTPUTS = Path(__file__).parent / "outputs"
OUTPUT = (OUTPUTS / "native-6.12.txt").read_text()


def test_lines_of_a_job() -> None:
    cells = {cell.name: cell for cell in measured_cells()}
    lines = job([cells["null-8"], cells["btrfs-full-64"], cells["page_pool03_slow"]], times=10).splitlines()
    assert lines == [
        "room 1",
        "cell frame empty warm 10 .",
        "cell null-8 core warm 10 ........",
        f"cell btrfs-full-64 btrfs_alloc_page_array warm 10 {'x' * 64}",
        "pool page_pool03_slow 3 640",
    ]
    assert len(job([cells["null-8"]], repeats=REPEATS).splitlines()) == 1 + 2 * REPEATS


def test_every_cell_has_the_holes_that_compare_gives_it() -> None:
    for cell in measured_cells():
        if not cell.bench:
            assert slots(cell).count(".") == cell.holes, cell.name


def test_what_a_real_kernel_answered() -> None:
    found, reasons = answers(OUTPUT)
    assert len(found) == 42
    for cell in measured_cells():
        # Some cells are younger than this run.
        if cell.name not in found:
            continue
        assert len(found[cell.name]) == 2, "the job went through its list twice"
        for one in found[cell.name]:
            assert one.mean > 0
            assert cell.bench or one.filled == cell.slots, cell.name
    # The kernel from which this is had been built without its erofs.
    assert set(reasons) == {cell.name for cell in measured_cells() if cell.caller == "z_erofs_gbuf_growsize"}
    assert set(reasons.values()) == {"z_erofs_gbuf_growsize() is not in this kernel"}


def test_instructions_that_a_real_kernel_counted() -> None:
    found, reasons = answers((OUTPUTS / "emulated-6.12.txt").read_text())
    assert reasons == {}
    for cell in measured_cells():
        first, second = found[cell.name]
        assert cell.bench or second.filled == cell.slots
        # No tick falls into a fill: where fills do not differ by where their pages come from, all take the same.
        if cell.caller == "btrfs_alloc_page_array" or cell.bench:
            assert first == second, cell.name
        if cell.caller == "btrfs_alloc_page_array":
            assert second.mean == second.least, cell.name


def test_what_the_change_of_the_bulk_function_did_to_a_real_kernel() -> None:
    before, _ = answers((OUTPUTS / "emulated-6.12.txt").read_text())
    after, _ = answers((OUTPUTS / "emulated-6.12-output-only.txt").read_text())
    for cell in measured_cells():
        change = after[cell.name][-1].mean - before[cell.name][-1].mean
        # Empty arrays are filled for less, arrays that hold pages are compacted first; sunrpc compacts always.
        dearer = (cell.caller or "").startswith("svc") or (not cell.bench and "x" in slots(cell))
        if cell.caller != "z_erofs_gbuf_growsize":
            assert (change > 0) == dearer, cell.name


def test_the_frame_is_subtracted() -> None:
    text = "cell frame times=4 filled=1 sum=44 least=10 block=2 median=22\n"
    text += "cell a times=4 filled=8 sum=440 least=100 block=2 median=202\n"
    found, _ = answers(text)
    assert [(one.mean, one.median, one.least) for one in found["a"]] == [(100, 91, 90)]


def test_a_kernel_that_stops_says_its_last_words() -> None:
    with pytest.raises(KernelError, match=r"(?s)the kernel did not finish its job; its last words:\nKernel panic"):
        _result("bulkpages begins\n", "Kernel panic - not syncing\n", "the kernel")
    with pytest.raises(KernelError, match=r"unknown line: dance"):
        _result("bulkpages begins\nerror unknown line: dance\n\nbulkpages ends\n", "", "the kernel")


def test_the_archive_that_a_kernel_starts_from() -> None:
    archive = initramfs(b"program", "a job\n")
    assert archive.startswith(b"070701")
    assert len(archive) % 4 == 0
    for name, content in ((b"init\0", b"program"), (b"job\0", b"a job\n")):
        at = archive.index(name)
        assert content in archive[at : at + 32]
