"""The copy that is built: the user's tree is only read, and only what changed is written."""

import os
import tarfile
from pathlib import Path

import pytest

from bulkpages.errors import KernelError
from bulkpages.kernel.locks import folder_lock
from bulkpages.kernel.source import SourceCopy, left_out
from bulkpages.kernel.tree import find_tree, read_facts, tree_version

FILES = {
    "Makefile": "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 3\nEXTRAVERSION =\n",
    "Kbuild": "",
    "mm/page_alloc.c": "int a;\n",
    "mm/slab.c": "int b;\n",
    "arch/x86/Kconfig": "",
    "arch/arm/mach.c": "int c;\n",
    "arch/arm/crypto/Kconfig": "",
    "Documentation/mm/index.rst": "text\n",
}


def quiet(_what: str, _share: float) -> None:
    return None


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for path, text in FILES.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    return top


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> SourceCopy:
    made = SourceCopy(tmp_path / "work", tree)
    made.update(quiet)
    return made


def times(copy: SourceCopy) -> dict[str, int]:
    return {str(p.relative_to(copy.top)): p.stat().st_mtime_ns for p in copy.top.rglob("*") if p.is_file()}


def test_what_is_built_is_copied(copy: SourceCopy) -> None:
    assert set(times(copy)) == set(FILES) - {"arch/arm/mach.c", "Documentation/mm/index.rst"}
    assert left_out("arch/arm/mach.c")
    assert not left_out("arch/arm/crypto/Kconfig")


def test_a_change_comes_and_goes_and_nothing_else_is_touched(copy: SourceCopy, tree: Path) -> None:
    before = times(copy)
    assert set(copy.change({"mm/page_alloc.c": b"int z;\n", "new.h": b"x\n"})) == {"mm/page_alloc.c", "new.h"}
    assert copy.read("mm/page_alloc.c") == b"int a;\n"
    assert copy.read("new.h") is None
    assert copy.change({"mm/page_alloc.c": b"int z;\n", "new.h": b"x\n"}) == []
    assert {path for path, time in times(copy).items() if before.get(path) != time} == {"mm/page_alloc.c", "new.h"}
    copy.change({})
    assert (copy.top / "mm/page_alloc.c").read_text() == "int a;\n"
    assert not (copy.top / "new.h").exists()
    assert {path: (tree / path).read_text() for path in FILES} == FILES


def test_what_the_user_changes_follows_even_below_a_patch(copy: SourceCopy, tree: Path) -> None:
    copy.change({"mm/page_alloc.c": b"patched\n"})
    for path in ("mm/page_alloc.c", "mm/slab.c"):
        (tree / path).write_text("int new_one;\n")
    (tree / "Kbuild").unlink()
    copy.update(quiet)
    assert (copy.top / "mm/page_alloc.c").read_text() == "patched\n"
    assert copy.read("mm/page_alloc.c") == b"int new_one;\n"
    assert (copy.top / "mm/slab.c").read_text() == "int new_one;\n"
    assert not (copy.top / "Kbuild").exists()
    copy.change({})
    assert (copy.top / "mm/page_alloc.c").read_text() == "int new_one;\n"


def test_the_digest_names_what_is_built(copy: SourceCopy, tree: Path) -> None:
    first = copy.digest([("a", b"1")])
    assert first == copy.digest([("a", b"1")])
    assert first != copy.digest([("a", b"2")])
    (tree / "mm/slab.c").write_text("int other;\n")
    copy.update(quiet)
    assert first != copy.digest([("a", b"1")])


def test_a_tarball(tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "linux-6.12.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tree, "linux-6.12")
    copy = SourceCopy(tmp_path / "other", find_tree(path))
    copy.update(quiet)
    assert copy.version() == "6.12.3"
    copy.change({"mm/page_alloc.c": b"patched\n"})
    copy.update(quiet)
    assert copy.read("mm/page_alloc.c") == b"int a;\n"


def test_a_file_that_only_got_another_time_keeps_what_was_compiled_from_it(copy: SourceCopy, tree: Path) -> None:
    before = times(copy)
    os.utime(tree / "mm/slab.c")
    copy.update(quiet)
    assert times(copy) == before


def test_the_old_files_of_another_tarball_are_new_where_they_differ(tree: Path, tmp_path: Path) -> None:
    def pack(name: str, text: str) -> SourceCopy:
        (tree / "mm/slab.c").write_text(text)
        os.utime(tree / "mm/slab.c", (1000, 1000))
        with tarfile.open(tmp_path / name, "w") as tar:
            tar.add(tree, "linux")
        made = SourceCopy(tmp_path / "other", tmp_path / name)
        made.update(quiet)
        return made

    first = times(pack("a.tar", "int a;\n"))
    copy = pack("b.tar", "int b;\n")
    assert {path for path, time in times(copy).items() if first[path] != time} == {"mm/slab.c"}
    assert times(copy)["mm/slab.c"] > first["mm/slab.c"]
    assert (copy.top / "mm/slab.c").read_text() == "int b;\n"


def test_a_tarball_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(__file__, "other/file")
    with pytest.raises(KernelError, match=r"holds no tree of kernel sources"):
        SourceCopy(tmp_path / "work", path).update(quiet)


def test_a_wrong_tree(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"is not a kernel source tree: it has no mm/page_alloc\.c"):
        find_tree(tmp_path)
    with pytest.raises(KernelError, match=r"no such directory or tarball"):
        find_tree(tmp_path / "absent")


def test_two_in_one_folder(tmp_path: Path) -> None:
    with (
        folder_lock(tmp_path, "a kernel is being built there"),
        pytest.raises(KernelError, match=rf"is in use: a kernel is being built there by process {os.getpid()}"),
        folder_lock(tmp_path, "another"),
    ):
        pass
    with folder_lock(tmp_path, "again"):
        pass


SINGLE = "struct page *__alloc_pages_noprof(gfp_t gfp"
GFP = {
    "6.1": "unsigned long __alloc_pages_bulk(gfp_t gfp, int nid,\n\tstruct list_head *page_list);\n",
    "6.12": f"unsigned long alloc_pages_bulk_noprof(gfp_t gfp,\n\tstruct list_head *l);\n{SINGLE});\n",
    "7.3": f"unsigned long alloc_pages_bulk_noprof(gfp_t gfp,\n\tstruct page **a);\n{SINGLE}, int alloc_flags);\n",
}


@pytest.mark.parametrize(
    ("version", "bulk", "single"),
    [
        ("6.1", "__alloc_pages_bulk(gfp, nid, NULL, n, NULL, array)", "__alloc_pages(gfp, order, nid, NULL)"),
        (
            "6.12",
            "alloc_pages_bulk_noprof(gfp, nid, NULL, n, NULL, array)",
            "__alloc_pages_noprof(gfp, order, nid, NULL)",
        ),
        (
            "7.3",
            "alloc_pages_bulk_noprof(gfp, nid, NULL, n, array)",
            "__alloc_pages_noprof(gfp, order, nid, NULL, ALLOC_DEFAULT)",
        ),
    ],
)
def test_how_the_functions_are_called(tree: Path, version: str, bulk: str, single: str) -> None:
    facts = read_facts(tree, {"include/linux/gfp.h": GFP[version]}.get)
    assert facts.defines["BULKPAGES_BULK(gfp, nid, n, array)"] == bulk
    assert facts.defines["BULKPAGES_ALLOC(gfp, order, nid)"] == single
    assert not facts.records
    assert "in another way" in facts.why_not
    assert facts.absent["svc_alloc_arg"] == "this tree has no net/sunrpc/svc_xprt.c"


LISTS = "struct per_cpu_pages {\n\tspinlock_t lock;\n\tint high;\n%s};\n"


@pytest.mark.parametrize(
    ("fields", "others", "expected"),
    [
        ("\tshort free_factor;\n", "", {"BULKPAGES_FREE_HIGHATOMIC(zone)": "0UL"}),
        (
            "\tint high_min;\n\tu8 alloc_factor;\n\tshort free_count;\n",
            "unsigned long nr_free_highatomic;\natomic_t kswapd_failures;\nNR_FREE_PAGES_BLOCKS,\n",
            {
                "BULKPAGES_LIMITS_MOVE": "",
                "BULKPAGES_BLOCKS_COUNTED": "",
                "BULKPAGES_FREE_HIGHATOMIC(zone)": "(zone)->nr_free_highatomic",
                "BULKPAGES_FAILURES(node)": "atomic_read(&(node)->kswapd_failures)",
            },
        ),
    ],
)
def test_the_structures_that_the_recorder_is_built_for(
    tree: Path, fields: str, others: str, expected: dict[str, str]
) -> None:
    texts = {"include/linux/gfp.h": GFP["6.12"], "include/linux/mmzone.h": LISTS % fields + others}
    facts = read_facts(tree, texts.get)
    assert facts.records
    assert expected.items() <= facts.defines.items()
    assert ("BULKPAGES_LIMITS_MOVE" in facts.defines) == ("high_min" in fields)


def test_lists_of_another_kind_are_not_recorded(tree: Path) -> None:
    texts = {"include/linux/gfp.h": GFP["6.12"], "include/linux/mmzone.h": LISTS % "\tint other;\n"}
    assert not read_facts(tree, texts.get).records


def test_sunrpc_that_remembers_its_holes(tree: Path) -> None:
    texts = {"include/linux/gfp.h": GFP["6.12"]}
    assert read_facts(tree, texts.get).forms == {}
    texts["include/linux/sunrpc/svc.h"] = "\tunsigned long rq_pages_nfree;\n"
    assert read_facts(tree, texts.get).forms == {"svc_alloc_arg": "tracked"}


def test_a_tree_without_the_function(tree: Path) -> None:
    with pytest.raises(KernelError, match=r"Linux 6\.12\.3 has no bulk function"):
        read_facts(tree, lambda _path: None)


def test_no_version(tree: Path) -> None:
    (tree / "Makefile").write_text("all:\n")
    with pytest.raises(KernelError, match=r"names no version"):
        tree_version(tree)
