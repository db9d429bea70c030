"""What is kept while a sweep runs: a line for each part that is done, so that an interrupted sweep can go on.

The first line says which sweep it is. A line that was cut short by a crash is dropped, and its part run again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bulkpages.errors import BulkpagesError
from bulkpages.files import write_whole
from bulkpages.sweep.spec import Spec
from bulkpages.sweep.unit import COLUMNS, Part, Row

__all__ = ["Done", "Journal"]

SCHEMA = "bulkpages.sweep-journal/1"
NAME = "journal.jsonl"


class Done:
    """The rows found so far: each run of each cell at most once.

    Args:
        spec: The sweep.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.rows: dict[int, dict[int, Row]] = {}
        self.runs = 0

    def add(self, index: int, start: int, rows: list[Row]) -> None:
        """Adds the rows of a part.

        Raises:
            BulkpagesError: The sweep has no such runs, or a run is there already.
        """
        total = self.spec.seeds_of(index) if 0 <= index < len(self.spec.cells) else 0
        if start < 0 or start + len(rows) > total:
            raise BulkpagesError(f"the sweep has no runs {start} to {start + len(rows)} of cell {index + 1}")
        cell = self.rows.setdefault(index, {})
        for at in range(start, start + len(rows)):
            if at in cell:
                raise BulkpagesError(f"run {at} of cell {index + 1} is there twice")
        cell.update(enumerate(rows, start))
        self.runs += len(rows)

    def missing(self) -> list[tuple[int, int, int]]:
        """What is left: (cell, first index of a seed, index behind the last), in order."""
        left = []
        for index in range(len(self.spec.cells)):
            have, total = self.rows.get(index, {}), self.spec.seeds_of(index)
            start = None
            for at in range(total + 1):
                gone = at == total or at in have
                if start is None and not gone:
                    start = at
                elif start is not None and gone:
                    left.append((index, start, at))
                    start = None
        return left

    def in_order(self) -> list[tuple[int, int, Row]]:
        """(cell, seed, row) of every run, by cell and seed, whatever the order in which they came."""
        seeds = self.spec.seeds
        return [
            (index, seeds[at], row) for index, cell in sorted(self.rows.items()) for at, row in sorted(cell.items())
        ]


class Journal:
    """The journal of a run in its folder, open for one process at a time.

    Args:
        folder: The run's folder.

    Raises:
        BulkpagesError: It cannot be written, or another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._file: Any = None

    def _lock(self) -> None:
        try:
            self._file = self.path.open("ab")
        except OSError as error:
            raise BulkpagesError(f"{self.path}: {error.strerror or error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise BulkpagesError(f"{self.path} is in use by another process") from error

    def begin(self, spec: Spec, header: Mapping[str, Any]) -> None:
        """Starts a journal."""
        head = {"schema": SCHEMA, "hash": spec.hash, "columns": COLUMNS, "spec": spec.to_json(), **header}
        try:
            write_whole(self.path, json.dumps(head) + "\n")
        except OSError as error:
            raise BulkpagesError(f"{self.path}: {error.strerror or error}") from error
        self._lock()

    def resume(self) -> tuple[dict[str, Any], Done]:
        """Goes on with a journal: its first line, and what is done.

        Raises:
            BulkpagesError: It cannot be read, or is of something else.
        """
        if not self.path.is_file():
            raise BulkpagesError(f"{self.path}: there is no interrupted sweep here")
        self._lock()
        try:
            head, done, good = self._read()
            # What a crash cut short must not be glued to what comes next.
            os.truncate(self.path, good)
        except BaseException:
            self.close()
            raise
        return head, done

    def _read(self) -> tuple[dict[str, Any], Done, int]:
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise BulkpagesError(f"{self.path}: {error.strerror or error}") from error
        lines = data.split(b"\n")
        try:
            head = json.loads(lines[0])
            if head["schema"] != SCHEMA or tuple(head["columns"]) != COLUMNS:
                raise ValueError(head["schema"])
            spec = Spec.from_json(head["spec"])
        except (ValueError, KeyError, TypeError) as error:
            raise BulkpagesError(f"{self.path} is not a sweep journal of this version: {error}") from error
        if spec.hash != head["hash"]:
            raise BulkpagesError(f"{self.path}: its sweep was changed, so it cannot be continued")
        done = Done(spec)
        good = len(lines[0]) + 1
        # The last element is what stands behind the last newline: nothing, or a line cut short.
        for number, line in enumerate(lines[1:-1], 2):
            try:
                found = json.loads(line)
                rows = [dict(zip(COLUMNS, values, strict=True)) for values in found["rows"]]
                done.add(found["cell"], found["start"], rows)
            except (ValueError, KeyError, TypeError) as error:
                raise BulkpagesError(f"{self.path}: line {number} is damaged: {error}") from error
            good += len(line) + 1
        return head, done, good

    def add(self, part: Part, rows: list[Row]) -> None:
        """Keeps the rows of a part: one write, so that a line is there whole or, after a crash, cut short."""
        values = [[row[name] for name in COLUMNS] for row in rows]
        line = json.dumps({"cell": part.index, "start": part.start, "rows": values}, separators=(",", ":")) + "\n"
        self._file.write(line.encode())
        self._file.flush()

    def close(self) -> None:
        """Lets go of it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """When all is done and written elsewhere."""
        self.path.unlink(missing_ok=True)
        self.close()
