"""Standard output whose reader may go: a command ends with the exit code that it would have ended with."""

from __future__ import annotations

import errno
import io
import os
import sys

__all__ = ["keep_exit_codes", "reader_is_gone"]

_gone = False


class _Pipe(io.RawIOBase):
    """A file descriptor to write to. Once nobody reads it, what is written is thrown away."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def write(self, data: object) -> int:
        global _gone
        view = memoryview(data)  # type: ignore[arg-type]
        if not _gone:
            try:
                return os.write(self.descriptor, view)
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                _gone = True
        return view.nbytes


def keep_exit_codes() -> None:
    """From here on, a reader of stdout that goes away (`| head`) is no error. Does nothing when stdout is no file."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return
    old = sys.stdout
    old.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Pipe(descriptor)),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=getattr(old, "line_buffering", False),
    )


def reader_is_gone() -> bool:
    """Whether nobody reads what is printed: a command that prints on and on may stop."""
    return _gone
