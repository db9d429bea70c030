"""Patches out of mails, mailboxes and diffs, and what applying them says."""

import mailbox
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from bulkpages.errors import KernelError
from bulkpages.kernel.patches import apply, read_patches
from bulkpages.kernel.review import reached_cells, touched_files

HERE = Path(__file__).parent / "patches"
BEFORE = "one\ntwo\nthree\nfour\nfive\n"
DIFF = """--- a/mm/page_alloc.c
+++ b/mm/page_alloc.c
@@ -1,5 +1,5 @@
 one
 two
-three
+3
 four
 five
"""


def tree(**files: str) -> Callable[[str], bytes | None]:
    texts = {"mm/page_alloc.c": BEFORE} | files
    return lambda path: texts[path].encode() if path in texts else None


def test_lines_of_the_change_to_the_bulk_function() -> None:
    (patch,) = read_patches((HERE / "output-only.mbox").read_bytes(), "mail")
    counts = {diff.path: (diff.added, diff.removed) for diff in patch.files}
    assert counts == {
        "fs/btrfs/extent_io.c": (18, 5),
        "fs/erofs/zutil.c": (6, 6),
        "fs/xfs/xfs_buf.c": (5, 4),
        "mm/page_alloc.c": (5, 27),
        "net/core/page_pool.c": (0, 3),
        "net/sunrpc/svc_xprt.c": (18, 5),
    }
    assert patch.author == "Yunsheng Lin <linyunsheng@example.org>"


@pytest.mark.parametrize("mail", sorted(path.name for path in HERE.glob("*.mbox")))
def test_every_stored_mail_holds_one_patch(mail: str) -> None:
    assert len(read_patches((HERE / mail).read_bytes(), mail)) == 1


def test_a_bare_diff() -> None:
    (patch,) = read_patches(DIFF.encode(), "my.patch")
    assert (patch.name, patch.files[0].path, patch.files[0].added) == ("my.patch", "mm/page_alloc.c", 1)
    assert apply([patch], tree()) == {"mm/page_alloc.c": BEFORE.replace("three", "3").encode()}


def test_a_series_in_a_mailbox_with_a_cover_letter(tmp_path: Path) -> None:
    box = mailbox.mbox(str(tmp_path / "series"))
    second = (
        DIFF.replace("-three\n+3", "-four\n+4")
        .replace(" three", " 3")
        .replace(" two\n", " two\n 3\n")
        .replace(" four\n", "")
    )
    for subject, body in [
        ("[PATCH 0/2] both", "Two numbers."),
        ("[PATCH 1/2] three", DIFF),
        ("[PATCH 2/2] four", second),
    ]:
        mail = EmailMessage()
        mail["Subject"], mail["From"] = subject, "a@example.org"
        mail.set_content(body)
        box.add(mail)
    box.flush()
    patches = read_patches((tmp_path / "series").read_bytes(), "series")
    assert [patch.subject for patch in patches] == ["[PATCH 1/2] three", "[PATCH 2/2] four"]
    assert apply(patches, tree())["mm/page_alloc.c"] == b"one\ntwo\n3\n4\nfive\n"


def test_a_line_of_a_hunk_that_looks_like_a_header() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1,2 +1,1 @@\n--- a comment\n two\n"
    (patch,) = read_patches(diff.encode(), "x")
    assert [(d.path, d.removed) for d in patch.files] == [("x", 1)]
    assert apply([patch], tree(x="-- a comment\ntwo\n")) == {"x": b"two\n"}


def test_a_new_file_and_a_removed_one() -> None:
    new = "diff --git a/new.c b/new.c\nnew file mode 100644\n--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+int x;\n"
    gone = "diff --git a/old.c b/old.c\ndeleted file mode 100644\n--- a/old.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-int y;\n"
    patches = read_patches((new + gone).encode(), "both")
    assert apply(patches, tree(**{"old.c": "int y;\n"})) == {"new.c": b"int x;\n", "old.c": None}


def test_the_hunk_that_does_not_apply_is_shown() -> None:
    (patch,) = read_patches(DIFF.encode(), "my.patch")
    with pytest.raises(KernelError, match=r"(?s)my\.patch does not apply to mm/page_alloc\.c: Hunk #1 FAILED.*\+3"):
        apply([patch], tree(**{"mm/page_alloc.c": "something\nelse\n"}))


def test_a_hunk_may_have_moved_but_nothing_around_it_may_differ() -> None:
    (patch,) = read_patches(DIFF.encode(), "my.patch")
    assert apply([patch], tree(**{"mm/page_alloc.c": "above\n" + BEFORE}))
    with pytest.raises(KernelError, match=r"Hunk #1 FAILED"):
        apply([patch], tree(**{"mm/page_alloc.c": BEFORE.replace("one", "another")}))


def test_a_file_that_the_tree_does_not_have() -> None:
    (patch,) = read_patches(DIFF.replace("page_alloc", "absent").encode(), "my.patch")
    with pytest.raises(KernelError, match=r"the tree has no mm/absent\.c"):
        apply([patch], tree())


@pytest.mark.parametrize("path", ["../out.c", "/etc/out.c"])
def test_a_path_out_of_the_tree(path: str) -> None:
    diff = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-a\n+b\n"
    with pytest.raises(KernelError, match=r"leads out of the tree"):
        read_patches(diff.encode(), "bad.patch")


def test_no_patch_at_all() -> None:
    with pytest.raises(KernelError, match=r"letter holds no patch"):
        read_patches(b"From: a@example.org\nSubject: hello\n\nNothing here.\n", "letter")


def test_which_cells_a_patch_reaches() -> None:
    def reached(mail: str) -> set[str]:
        return {cell.name for cell in reached_cells(touched_files(read_patches((HERE / mail).read_bytes(), mail)))}

    assert reached("elsewhere.mbox") == set()
    assert {"null-64", "page_pool03_slow", "xfs-4"} <= reached("output-only.mbox")
    assert {cell.caller for cell in reached_cells(["fs/xfs/xfs_buf.c"])} == {"xfs_buf_alloc_pages"}
    assert {cell.bench is not None for cell in reached_cells(["net/core/page_pool.c"])} == {True}
