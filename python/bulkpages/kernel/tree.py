"""A tree of kernel sources: where it is, its version, and what its functions look like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bulkpages.errors import KernelError

__all__ = ["CALLERS", "Facts", "find_tree", "read_facts", "tree_version", "version_in"]

# Where distributions put the sources of their package.
PACKAGED = Path("/usr/src")
BULK = "mm/page_alloc.c"
# What is included behind which file, and the function that must be in it.
CALLERS = {
    "net/sunrpc/svc_xprt.c": ("callers_svc.c", "svc_alloc_arg", r"\bsvc_alloc_arg\(struct svc_rqst \*"),
    "fs/btrfs/extent_io.c": ("callers_btrfs.c", "btrfs_alloc_page_array", r"\bbtrfs_alloc_page_array\("),
    "fs/xfs/xfs_buf.c": ("callers_xfs.c", "xfs_buf_alloc_pages", r"^xfs_buf_alloc_pages\("),
    "fs/erofs/zutil.c": ("callers_erofs.c", "z_erofs_gbuf_growsize", r"\bz_erofs_gbuf_growsize\("),
    "net/core/page_pool.c": ("callers_pool.c", "page_pool_alloc_pages", r"\bpage_pool_alloc_pages\("),
}


@dataclass(frozen=True)
class Facts:
    """What a tree says about itself.

    Attributes:
        version: As in "6.12.117".
        defines: The harness's tree.h: name and value.
        callers: Files behind which the harness goes, and its file.
        absent: Functions that this tree does not have, and why a cell of theirs cannot be measured.
        records: Whether operations can be recorded: the per-CPU lists are of a kind that the emulator knows.
        why_not: Why they cannot.
        forms: Callers that have neither of the two forms of the patch, and the emulator's name of the form they have.
    """

    version: str
    defines: dict[str, str]
    callers: dict[str, str]
    absent: dict[str, str]
    records: bool
    why_not: str = ""
    forms: Mapping[str, str] = field(default_factory=dict)

    @property
    def header(self) -> str:
        """The text of tree.h."""
        lines = [f"#define {name} {value}".rstrip() for name, value in self.defines.items()]
        return "/* Written by `bulkpages kernel build`. */\n" + "\n".join(lines) + "\n"


def find_tree(tree: str | Path | None) -> Path:
    """The sources: a directory, a tarball, or, when not named, the newest package of the distribution.

    Raises:
        KernelError: There is none, or it is no kernel tree.
    """
    if tree is None:
        found = sorted(PACKAGED.glob("linux-source-*.tar.*"), key=_numbers)
        if not found:
            raise KernelError(
                f"no tree named, and no package of one in {PACKAGED}; on Debian and Ubuntu: apt install linux-source"
            )
        return found[-1]
    path = Path(tree).expanduser()
    if path.is_dir():
        if not (path / BULK).is_file() or not (path / "Kbuild").is_file():
            raise KernelError(f"{path} is not a kernel source tree: it has no {BULK}")
    elif not path.is_file():
        raise KernelError(f"{path}: no such directory or tarball")
    elif ".tar" not in path.name and path.suffix not in (".tgz", ".txz"):
        raise KernelError(f"{path} is neither a directory nor a tarball")
    return path.resolve()


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]


def tree_version(top: Path) -> str:
    """The version that the tree's Makefile names.

    Raises:
        KernelError: It names none.
    """
    return version_in((top / "Makefile").read_text(encoding="utf-8"), top / "Makefile")


def version_in(text: str, path: Path) -> str:
    """The version that the text of a Makefile names.

    Args:
        text: The text.
        path: Where it is from.

    Raises:
        KernelError: It names none.
    """
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) = *(\S*)$", text, re.M))
    if not found.get("VERSION") or not found.get("PATCHLEVEL"):
        raise KernelError(f"{path} names no version")
    return f"{found['VERSION']}.{found['PATCHLEVEL']}.{found.get('SUBLEVEL') or 0}{found.get('EXTRAVERSION', '')}"


def read_facts(top: Path, read: Callable[[str], str | None]) -> Facts:
    """Looks the functions up that the harness calls.

    Args:
        top: The tree.
        read: The text of one of its files as it will be built; None where there is no such file.

    Raises:
        KernelError: The tree has no bulk function.
    """
    version = tree_version(top)
    gfp, mmzone = read("include/linux/gfp.h") or "", read("include/linux/mmzone.h") or ""
    bulk = re.search(r"unsigned long (alloc_pages_bulk_noprof|__alloc_pages_bulk)\(gfp_t[^;]*?;", gfp, re.S)
    if not bulk:
        raise KernelError(
            f"the tree of Linux {version} has no bulk function of the page allocator (5.13 and later have)"
        )
    takes_list = "struct list_head" in bulk[0]
    single = re.search(r"\b(__alloc_pages_noprof)\(gfp_t[^;]*;", gfp + (read("mm/page_alloc.h") or ""))
    flags = ", ALLOC_DEFAULT" if single and "alloc_flags" in single[0] else ""
    defines = {
        "BULKPAGES_BULK(gfp, nid, n, array)": f"{bulk[1]}(gfp, nid, NULL, n, {'NULL, ' if takes_list else ''}array)",
        "BULKPAGES_ALLOC(gfp, order, nid)": f"{single[1] if single else '__alloc_pages'}(gfp, order, nid, NULL{flags})",
    }
    page_flags = read("include/linux/page-flags.h") or ""
    movable = "__PageMovable(page)" if re.search(r"\b__PageMovable\(", page_flags) else "page_has_movable_ops(page)"
    defines["BULKPAGES_MOVABLE(page)"] = movable
    recorded = _recorded(mmzone, read("mm/page_alloc.c") or "")
    why_not = ""
    if recorded:
        defines |= recorded
    else:
        why_not = f"Linux {version} locks its per-CPU lists in another way than the kernels that the emulator knows"
    callers: dict[str, str] = {}
    absent: dict[str, str] = {}
    for file, (ours, function, pattern) in CALLERS.items():
        text = read(file)
        if text is None:
            absent[function] = f"this tree has no {file}"
        elif not re.search(pattern, text, re.M):
            absent[function] = f"{file} of this tree has no {function}()"
        else:
            callers[file] = ours
    argument = re.search(r"\bbtrfs_alloc_page_array\(([^)]*)\)", read("fs/btrfs/extent_io.c") or "")
    if argument:
        parameters = argument[1].split(",")
        defines["BULKPAGES_BTRFS_ARGUMENT"] = (
            "" if len(parameters) == 2 else ", GFP_NOFS" if "gfp_t" in parameters[2] else ", false"
        )
    forms = {}
    if "rq_pages_nfree" in (read("include/linux/sunrpc/svc.h") or ""):
        defines["BULKPAGES_SVC_COUNTS_HOLES"] = ""
        forms["svc_alloc_arg"] = "tracked"
    return Facts(version, defines, callers, absent, bool(recorded), why_not, forms)


def _recorded(mmzone: str, allocator: str) -> dict[str, str]:
    """What the recorder must know about the allocator's structures; nothing where it cannot record."""
    lists = re.search(r"^struct per_cpu_pages \{.*?^\}", mmzone, re.S | re.M)
    if not lists or "spinlock_t lock" not in lists[0]:
        return {}
    defines = {"BULKPAGES_RECORDS": ""}
    if all(name in lists[0] for name in ("high_min", "alloc_factor", "free_count")):
        defines["BULKPAGES_LIMITS_MOVE"] = ""
    elif "free_factor" not in lists[0]:
        return {}
    counted = "nr_free_highatomic" in mmzone
    defines["BULKPAGES_FREE_HIGHATOMIC(zone)"] = "(zone)->nr_free_highatomic" if counted else "0UL"
    atomic = re.search(r"\batomic_t\s+kswapd_failures", mmzone)
    failures = "(node)->kswapd_failures"
    defines["BULKPAGES_FAILURES(node)"] = f"atomic_read(&{failures})" if atomic else failures
    for name, there in (
        ("BULKPAGES_TYPE_IN_PAGE", "get_pcppage_migratetype(" in allocator),
        ("BULKPAGES_BLOCKS_COUNTED", "NR_FREE_PAGES_BLOCKS" in mmzone),
        ("BULKPAGES_DEFRAG_MODE", re.search(r"^int defrag_mode;", allocator, re.M)),
    ):
        if there:
            defines[name] = ""
    return defines
