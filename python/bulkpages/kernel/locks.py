"""One at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from bulkpages.errors import KernelError

__all__ = ["folder_lock", "one_at_a_time"]


@contextlib.contextmanager
def folder_lock(folder: Path, what: str) -> Iterator[None]:
    """Holds the folder until the block ends; the operating system lets go of it for a process that died.

    Args:
        folder: Made when it does not exist.
        what: What is done there, for the message to others.

    Raises:
        KernelError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise KernelError(f"{folder} is in use: {holder}") from None
        file.seek(0)
        file.truncate()
        file.write(f"{what} by process {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Waits until nobody else is in such a block with this folder, and leaves nothing in it.

    Args:
        folder: An existing one.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
