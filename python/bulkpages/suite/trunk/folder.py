"""The folder of a run: one run at a time, never over a finished one, and tried before anything is measured."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from bulkpages.errors import BulkpagesError
from bulkpages.files import write_whole
from bulkpages.results import load

__all__ = ["Folder"]

RESULTS, LOCK = "results.json", ".lock"


class Folder:
    """An output folder, held while a run goes on.

    Args:
        path: The folder; it is made.
        resume: Whether an interrupted run in it goes on; else there must be none.

    Raises:
        BulkpagesError: It cannot be written, another run is at it, or it holds a run.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path = path
        if resume and not (path / RESULTS).is_file():
            raise BulkpagesError(f"{path} has no run to continue: there is no {RESULTS} in it")
        self._lock = self._take()
        try:
            self.earlier = self._check(resume)
        except BaseException:
            self.close()
            raise

    def _take(self) -> int:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError as error:
            raise BulkpagesError(f"output {self.path}: {error.strerror or error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise BulkpagesError(f"output {self.path}: another run is writing to it") from error
        return lock

    def _check(self, resume: bool) -> dict[str, Any] | None:
        path = self.path / RESULTS
        if not path.exists():
            self.keep({"schema": None})
            path.unlink()
            return None
        found = load(path) if resume else None
        if resume:
            assert found is not None
            if found["complete"]:
                raise BulkpagesError(f"{path} is complete: there is nothing to continue")
            return found
        try:
            complete = bool(json.loads(path.read_text(encoding="utf-8"))["complete"])
        except (OSError, ValueError, KeyError, TypeError):
            complete = True
        if complete:
            raise BulkpagesError(
                f"output {self.path} holds a finished run, which is not overwritten: name another folder"
            )
        raise BulkpagesError(
            f"output {self.path} has an interrupted run: continue with --resume {self.path}, or name another folder"
        )

    def keep(self, results: dict[str, Any]) -> None:
        """Writes the result as it stands, whole or not at all.

        Raises:
            BulkpagesError: It cannot be written.
        """
        try:
            write_whole(self.path / RESULTS, json.dumps(results, indent=1) + "\n")
        except OSError as error:
            raise BulkpagesError(f"output {self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Lets another run use the folder."""
        (self.path / LOCK).unlink(missing_ok=True)
        os.close(self._lock)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
