"""What is compiled of file systems and sunrpc: the measured function's file, not the rest."""

from bulkpages.kernel.parts import part_changes

KCONFIG = """config XFS_FS
\ttristate "XFS"
\tdepends on BLOCK
\tselect EXPORTFS
\tselect FS_IOMAP
\thelp
\t  Text.

config XFS_QUOTA
\tbool "Quota"
\tselect QUOTACTL
"""
TREE = {
    "fs/xfs/Makefile": "obj-$(CONFIG_XFS_FS) += xfs.o\n",
    "fs/xfs/Kconfig": KCONFIG,
    "fs/xfs/xfs_buf.c": "",
    "fs/xfs/xfs_stats.c": "",
    "fs/xfs/xfs_super.c": "",
    "fs/btrfs/Makefile": "obj-$(CONFIG_BTRFS_FS) := btrfs.o\n",
    "fs/btrfs/extent_io.c": "",
    "net/Kconfig": "config PAGE_POOL\n\tbool\n\nconfig OTHER\n\tbool\n",
    "arch/x86/Makefile": "LDFLAGS_vmlinux :=\n",
}


def test_the_measured_file_and_what_it_needs() -> None:
    changes = part_changes({"fs/xfs/xfs_buf.c": "callers_xfs.c"}, TREE.get)
    lines = changes["fs/xfs/Makefile"].decode().splitlines()
    assert lines[-1] == "obj-$(CONFIG_XFS_FS) += xfs_buf.o xfs_stats.o"
    assert "ccflags-y += -I$(srctree)/fs/xfs/libxfs" in lines


def test_a_folder_without_a_measured_function_is_empty() -> None:
    changes = part_changes({"fs/xfs/xfs_buf.c": "callers_xfs.c"}, TREE.get)
    assert changes["fs/btrfs/Makefile"] == b"obj-$(CONFIG_BTRFS_FS) += \n"
    assert "fs/erofs/Makefile" not in changes, "this tree has none"


def test_what_an_option_chooses_for_the_rest_is_not_chosen() -> None:
    text = part_changes({}, TREE.get)["fs/xfs/Kconfig"].decode()
    assert "EXPORTFS" not in text
    assert "FS_IOMAP" not in text
    assert "\tselect QUOTACTL" in text, "another option's"
    assert "depends on BLOCK" in text


def test_an_option_that_only_others_choose_can_be_set() -> None:
    text = part_changes({}, TREE.get)["net/Kconfig"].decode()
    assert text == "config PAGE_POOL\n\tdef_bool y\n\nconfig OTHER\n\tbool\n"


def test_the_linker_has_its_options() -> None:
    text = part_changes({}, TREE.get)["arch/x86/Makefile"].decode()
    assert text.splitlines()[-1] == "LDFLAGS_vmlinux += --unresolved-symbols=ignore-all"
