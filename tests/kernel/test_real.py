"""Everything that needs a kernel: `make test-kernel` builds one from the package of sources, or from KERNEL=TREE."""

import os
from pathlib import Path

import pytest

from bulkpages.errors import KernelError
from bulkpages.kernel import Kernel, build, open_kernel
from bulkpages.kernel.bench import bench, instructions
from bulkpages.kernel.build import default_work
from bulkpages.kernel.cells import absent_because, measured_cells
from bulkpages.kernel.check import check
from bulkpages.kernel.locks import folder_lock
from bulkpages.kernel.patches import read_patches
from bulkpages.kernel.reply import write_review
from bulkpages.kernel.review import REPEATS, Review, review
from bulkpages.kernel.tree import find_tree

pytestmark = pytest.mark.kernel
HERE = Path(__file__).parent / "patches"


@pytest.fixture(scope="session")
def tree() -> Path:
    return find_tree(os.environ.get("BULKPAGES_KERNEL_TREE") or None)


@pytest.fixture(scope="session")
def kernel(tree: Path) -> Kernel:
    return build(tree, output=default_work(tree) / "before")


def reviewed(mail: str, tree: Path, folder: Path, *, rounds: int = 4) -> Review:
    patches = read_patches((HERE / mail).read_bytes(), mail)
    found = review(patches, tree=tree, output=folder, rounds=rounds, machines=3)
    write_review(found, folder)
    return found


def test_the_second_build_is_the_first(kernel: Kernel, tree: Path) -> None:
    before = (kernel.folder / "native").stat().st_mtime_ns
    assert build(tree, output=kernel.folder) == kernel
    assert (kernel.folder / "native").stat().st_mtime_ns == before
    assert kernel.semantics == "null_only"


def test_every_cell_is_there_or_says_why(kernel: Kernel) -> None:
    found = bench([kernel], cells=measured_cells(), rounds=2)
    for row in found.rows:
        cell = next(cell for cell in measured_cells() if cell.name == row.name)
        if not absent_because(kernel, cell) and not row.absent[0]:
            assert (row.cycles[0] or 0) > 0, row.name
            assert (row.instructions[0] or 0) > 0, row.name


def test_instructions_are_the_same_every_time(kernel: Kernel) -> None:
    first = instructions(kernel)
    (kernel.folder / "instructions.json").unlink()
    again = instructions(kernel)
    assert again.keys() == first.keys()
    for name, counts in first.items():
        assert again[name] == pytest.approx(counts, rel=REPEATS), name


def test_the_emulator_is_exact(kernel: Kernel) -> None:
    if not kernel.records:
        pytest.skip(kernel.why_not)
    found = check(kernel, machines=6, seconds=1e9)
    assert found.exact, found.difference
    assert found.operations > 2000


def test_two_builds_in_one_folder(kernel: Kernel, tree: Path) -> None:
    with folder_lock(default_work(tree), "a test"), pytest.raises(KernelError, match=r"is in use: a test by process"):
        build(tree, output=kernel.folder)


def test_a_comment_changes_nothing(tree: Path, kernel: Kernel, tmp_path: Path) -> None:
    found = reviewed("comment.mbox", tree, tmp_path)
    assert found.changed_instructions == []
    assert (found.behaviour, found.status) == ("same", "pass")


def test_a_few_instructions_in_the_batch_loop_are_found(tree: Path, kernel: Kernel, tmp_path: Path) -> None:
    found = reviewed("slower.mbox", tree, tmp_path)
    changes = {row.name: after - before for row, before, after in found.changed_instructions}
    assert 1 < changes["null-64"] < 12, "per page"
    assert (found.behaviour, found.status) == ("same", "warn")


def test_another_page_is_found_with_its_witness(tree: Path, kernel: Kernel, tmp_path: Path) -> None:
    found = reviewed("coldest.mbox", tree, tmp_path, rounds=0)
    before, after = found.checks
    assert before is not None
    assert after is not None
    assert before.exact
    assert after.difference
    assert (tmp_path / "difference-after.jsonl.gz").exists()
    assert after.remaining <= 20
    assert (found.behaviour, found.status) == ("differs", "warn")


def test_the_change_to_the_bulk_function(tree: Path, kernel: Kernel, tmp_path: Path) -> None:
    found = reviewed("output-only.mbox", tree, tmp_path)
    assert [kernel.form for kernel in (found.before, found.after) if kernel] == ["v1", "v2"]
    assert found.witness
    assert all(one and one.exact for one in found.checks), "the emulator has both semantics"
    changes = {row.name: after - before for row, before, after in found.changed_instructions}
    assert changes["svc-small-rpc"] > 500, "the array is compacted before the fill"
    assert changes["page_pool03_slow"] < 0
    text = (tmp_path / "reply.txt").read_text()
    assert max(map(len, text.splitlines())) <= 75


def test_a_hunk_that_does_not_apply_changes_nothing(tree: Path, kernel: Kernel) -> None:
    text = (HERE / "slower.mbox").read_text().replace("page_array[nr_populated] = page;", "other[nr_populated] = page;")
    with pytest.raises(KernelError, match=r"does not apply to mm/page_alloc\.c: Hunk #1 FAILED"):
        build(tree, patches=read_patches(text.encode(), "mail"), output=kernel.folder.with_name("never"))
    assert open_kernel(kernel.folder) == kernel


def test_the_compilers_first_error(tree: Path, kernel: Kernel) -> None:
    text = (HERE / "slower.mbox").read_text().replace("READ_ONCE(pcp->batch)", "READ_ONCE(pcp->absent)")
    with pytest.raises(KernelError, match=r"(?s)the build failed:.*error: .*absent.*all of it: "):
        build(tree, patches=read_patches(text.encode(), "mail"), output=kernel.folder.with_name("never"))
    assert not kernel.folder.with_name("never").exists()
    assert open_kernel(kernel.folder) == kernel
