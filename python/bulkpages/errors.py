"""The errors that bulkpages raises. Every message names the offending value and the limit."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = [
    "ApiMisuse",
    "AuditError",
    "BulkpagesError",
    "InvalidArgument",
    "KernelError",
    "MissingFile",
    "SnapshotError",
]


class BulkpagesError(Exception):
    """Base class of all errors of bulkpages."""


class InvalidArgument(BulkpagesError, ValueError):
    """An argument that the kernel interface has no meaning for. Nothing was changed."""


class ApiMisuse(BulkpagesError, RuntimeError):
    """A call that the kernel's rules forbid, such as a double free. Nothing was changed."""


class SnapshotError(BulkpagesError, ValueError):
    """A snapshot or recording that cannot be read or contradicts itself."""


class MissingFile(InvalidArgument, SnapshotError, FileNotFoundError):
    """A file that does not exist.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(f"{path}: {os.strerror(errno.ENOENT)}")
        self.errno, self.filename, self.strerror = errno.ENOENT, str(path), os.strerror(errno.ENOENT)

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"

    def __reduce__(self) -> tuple[type[MissingFile], tuple[str]]:
        return type(self), (self.filename,)


class AuditError(BulkpagesError):
    """An invariant of the allocator is broken."""


class KernelError(BulkpagesError):
    """A real kernel that cannot be built, started or measured, or a patch that does not apply to its tree."""
