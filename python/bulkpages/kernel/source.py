"""The copy of a tree that is built: the user's tree is only read.

The copy keeps the times of files that did not change, so `make` builds again only what did: another patch costs the
files that it touches.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bulkpages.errors import KernelError
from bulkpages.files import write_whole
from bulkpages.kernel.tree import tree_version

__all__ = ["SourceCopy", "left_out"]

# Never built here: other processors, and drivers of hardware. Their Kconfig files are needed.
_OTHER_PROCESSORS = re.compile(r"arch/(?!um/|x86/)[^/]+/(?!.*\bKconfig[^/]*$)")
_NOT_COPIED = (
    "Documentation/*/*",
    "drivers/gpu/*.[ch]",
    "drivers/media/*.[ch]",
    "drivers/net/wireless/*.[ch]",
    "drivers/net/ethernet/*.[ch]",
    "drivers/staging/*.[ch]",
    "sound/*.[ch]",
    "tools/testing/*",
    # What an earlier build of the user left there.
    "*.o",
    "*.o.cmd",
    "*.ko",
    "*.a",
    ".config*",
    "include/config/*",
    "include/generated/*",
    "arch/*/include/generated/*",
    "vmlinux*",
    "debian/*",
    ".git/*",
)


def left_out(path: str) -> bool:
    """Whether a file of the tree is not in the copy, and so not built."""
    if _OTHER_PROCESSORS.match(path):
        return True
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in _NOT_COPIED)


class SourceCopy:
    """A copy of a tree and what was changed in it.

    Args:
        folder: Where the copy is or will be.
        tree: A directory or a tarball.
    """

    def __init__(self, folder: Path, tree: Path) -> None:
        self.folder = folder
        self.tree = tree
        self.top = folder / "source"
        self._originals = folder / "original"
        self._files = folder / "files.json"
        self._changed = folder / "changed.json"

    def read(self, path: str) -> bytes | None:
        """A file as the user's tree has it; None where it has none."""
        place = (self._originals if path in self._changes() else self.top) / path
        if place.is_file():
            return place.read_bytes()
        if self.tree.is_dir() and (self.tree / path).is_file():
            return (self.tree / path).read_bytes()
        return None

    def read_text(self, path: str) -> str | None:
        """The same as text."""
        found = self.read(path)
        return None if found is None else found.decode(errors="replace")

    def _changes(self) -> list[str]:
        try:
            return list(json.loads(self._changed.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return []

    def update(self, say: Callable[[str, float], None]) -> None:
        """Makes the copy, or brings what changed in the user's tree into it.

        Args:
            say: Told what is being done, and the share that is done.

        Raises:
            KernelError: The tree cannot be read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.tree.is_dir():
            self._take(self.tree, None, say)
        else:
            self._from_tarball(say)

    def _known(self) -> dict[str, Any]:
        """What the copy was made from: the tarball, if it was one, and its files by size and time."""
        try:
            found = json.loads(self._files.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"tarball": None, "files": {}}
        return found if isinstance(found, dict) and "files" in found else {"tarball": None, "files": {}}

    def _from_tarball(self, say: Callable[[str, float], None]) -> None:
        stat = self.tree.stat()
        sign = [str(self.tree), stat.st_size, stat.st_mtime_ns]
        if self._known()["tarball"] == sign and self.top.is_dir():
            return
        say("unpacking", 0.0)
        fresh = self.folder / "unpacking"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        options = [f"--exclude=*/{pattern}" for pattern in ("Documentation/*/*", "tools/testing/*")]
        done = subprocess.run(
            ["tar", "-x", "-f", str(self.tree), "-C", str(fresh), *options], capture_output=True, check=False
        )
        if done.returncode:
            raise KernelError(f"{self.tree} cannot be unpacked: {done.stderr.decode(errors='replace').strip()[:300]}")
        tops = [path for path in fresh.iterdir() if (path / "mm/page_alloc.c").is_file()]
        if not tops:
            raise KernelError(f"{self.tree} holds no tree of kernel sources: no mm/page_alloc.c in it")
        self._take(tops[0], sign, say)
        shutil.rmtree(fresh)

    def _take(self, root: Path, tarball: list[Any] | None, say: Callable[[str, float], None]) -> None:
        """Makes the copy what a directory is.

        A file with the content that it had keeps its time, whatever the directory says: nothing is compiled again for a
        branch that was left and taken up again. One with another content gets the present time, whatever the directory
        says: a tarball's files are older than what was compiled from those of an earlier one.

        Args:
            root: The directory; its files are moved when it was unpacked from a tarball.
            tarball: What names that.
            say: Told what is being done.
        """
        known = self._known()["files"]
        say("reading the tree", 0.0)
        found: dict[str, list[int]] = {}
        links: list[str] = []
        for folder, folders, files in os.walk(root):
            inside = os.path.relpath(folder, root)
            prefix = "" if inside == "." else inside + "/"
            folders[:] = [name for name in folders if not left_out(f"{prefix}{name}/Kconfig")]
            for name in files:
                path = prefix + name
                if left_out(path):
                    continue
                stat = os.lstat(os.path.join(folder, name))
                found[path] = [stat.st_size, stat.st_mtime_ns]
            links += [prefix + name for name in folders if os.path.islink(os.path.join(folder, name))]
        changes = set(self._changes())
        stale = [path for path, sign in found.items() if known.get(path) != sign or tarball]
        for i, path in enumerate(stale):
            if i % 2000 == 0:
                say("copying the tree", i / len(stale))
            # Where a patch or the harness changed a file, the copy of the original is the one that follows the tree.
            _copy(root / path, (self._originals if path in changes else self.top) / path, move=tarball is not None)
        for path in links:
            _copy(root / path, self.top / path, move=False)
        for path in known.keys() - found.keys():
            (self.top / path).unlink(missing_ok=True)
            (self._originals / path).unlink(missing_ok=True)
        write_whole(self._files, json.dumps({"tarball": tarball, "files": found}))

    def change(self, files: Mapping[str, bytes | None]) -> list[str]:
        """Makes these files what they say (None: not there), and all others what the user's tree has.

        Returns:
            Files whose content is now another than before.
        """
        before = self._changes()
        touched = []
        for path in files:
            original, place = self._originals / path, self.top / path
            if path not in before:
                original.unlink(missing_ok=True)
                if place.is_file():
                    original.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(place, original)
        # Said before it is done: a change that is interrupted is known the next time.
        write_whole(self._changed, json.dumps(sorted({*before, *files})))
        for path in before:
            if path not in files:
                touched += self._write(path, self.read(path))
                (self._originals / path).unlink(missing_ok=True)
        for path, content in files.items():
            touched += self._write(path, content)
        write_whole(self._changed, json.dumps(sorted(files)))
        return touched

    def _write(self, path: str, content: bytes | None) -> list[str]:
        place = self.top / path
        there = place.read_bytes() if place.is_file() else None
        if there == content:
            return []
        if content is None:
            place.unlink()
            return [path]
        mode = place.stat().st_mode & 0o777 if there is not None else 0o644
        write_whole(place, content)
        place.chmod(mode)
        return [path]

    def version(self) -> str:
        """Of the kernel."""
        return tree_version(self.top)

    def digest(self, changed: Iterable[tuple[str, bytes | None]]) -> str:
        """Names what will be built: the tree's files by size and time, the changed ones by content."""
        digest = hashlib.sha256(self._files.read_bytes())
        for path, content in sorted(changed):
            digest.update(f"\0{path}\0".encode() + (content if content is not None else b"\1"))
        return digest.hexdigest()


def _same(source: Path, place: Path) -> bool:
    if source.is_symlink() or place.is_symlink():
        return source.is_symlink() and place.is_symlink() and os.readlink(source) == os.readlink(place)
    if not place.is_file() or source.stat().st_size != place.stat().st_size:
        return False
    return source.stat().st_mode == place.stat().st_mode and source.read_bytes() == place.read_bytes()


def _copy(source: Path, place: Path, *, move: bool) -> None:
    """Makes a file of the copy what the tree's is; its time is kept when its content is."""
    if _same(source, place):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    if source.is_symlink():
        place.symlink_to(os.readlink(source))
    elif move:
        source.rename(place)
        os.utime(place)
    else:
        shutil.copyfile(source, place)
        shutil.copymode(source, place)
