"""The parts of file systems and sunrpc that are compiled: the measured function's file, and what it needs to run.

A kernel that nobody mounts anything in does not miss the rest. Calls that lead out of the part lead nowhere: no job
makes them, and one that did would stop the kernel at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["part_changes"]

Read = Callable[[str], str | None]

# By folder: the option, what is compiled of it, and where its headers are.
_PARTS: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "net/sunrpc": ("CONFIG_SUNRPC", ("svc_xprt",), ()),
    "fs/btrfs": ("CONFIG_BTRFS_FS", ("extent_io",), ()),
    "fs/xfs": ("CONFIG_XFS_FS", ("xfs_buf", "xfs_stats"), ("fs/xfs", "fs/xfs/libxfs")),
    "fs/erofs": ("CONFIG_EROFS_FS_ZIP", ("zutil",), ()),
}
# What the linkers of both kernels are told.
_LINKERS = {
    "arch/x86/Makefile": "LDFLAGS_vmlinux += --unresolved-symbols=ignore-all",
    "arch/um/Makefile": "CFLAGS_vmlinux += -Wl,--unresolved-symbols=ignore-all",
}
# Options that only another option can choose are made ones that a configuration can.
_CHOSEN = {"net/Kconfig": ("PAGE_POOL", "bool"), "net/sunrpc/Kconfig": ("SUNRPC", "tristate")}
# Options whose choices are code for what is left out.
_CHOOSING = {"fs/btrfs/Kconfig": "BTRFS_FS", "fs/xfs/Kconfig": "XFS_FS", "fs/erofs/Kconfig": "EROFS_FS"}
# Nothing below them is configured, and make would walk through 200 folders.
_EMPTY = ("drivers/gpu", "drivers/media", "drivers/net/ethernet", "drivers/net/wireless", "drivers/staging")


def part_changes(measured: Mapping[str, str], read: Read) -> dict[str, bytes]:
    """Makefiles and Kconfigs of the copy, other than the tree has them.

    Args:
        measured: Files behind which the harness goes; a folder without one is not compiled at all.
        read: A file as it will be built; None where there is none.
    """
    changed = {}
    for folder, (option, names, headers) in _PARTS.items():
        if read(f"{folder}/Makefile") is None:
            continue
        there = any(file.startswith(f"{folder}/") for file in measured)
        objects = [f"{name}.o" for name in names if there and read(f"{folder}/{name}.c") is not None]
        lines = [f"ccflags-y += -I$(srctree)/{place}" for place in headers]
        changed[f"{folder}/Makefile"] = "\n".join([*lines, f"obj-$({option}) += {' '.join(objects)}", ""])
    changed |= {f"{folder}/Makefile": "" for folder in _EMPTY if read(f"{folder}/Makefile") is not None}
    for path, line in _LINKERS.items():
        if (text := read(path)) is not None:
            changed[path] = f"{text}\n{line}\n"
    for path, (option, kind) in _CHOSEN.items():
        if (text := read(path)) is not None:
            changed[path] = re.sub(rf"(?m)^(config {option}\n)\t{kind}$", rf"\1\tdef_{kind} y", text)
    for path, option in _CHOOSING.items():
        if (text := read(path)) is not None:
            changed[path] = re.sub(
                rf"(?ms)^config {option}\n.*?(?=^config |\Z)",
                lambda part: re.sub(r"(?m)^\tselect .*\n", "", part[0]),
                text,
            )
    return {path: text.encode() for path, text in changed.items()}
