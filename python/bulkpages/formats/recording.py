"""Recordings of a real kernel: one JSON object per line, in a `.jsonl` or `.jsonl.gz` file.

A recording is a header, `{"before": snapshot}`, operations with their results, `{"after": snapshot}` and
`{"proc": ...}`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from bulkpages.errors import MissingFile, SnapshotError

__all__ = ["Recording", "load_snapshot", "read_recording"]

Snapshot: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """A recording in memory; `operations` include their results."""

    path: Path
    header: dict[str, Any]
    before: Snapshot
    operations: list[dict[str, Any]]
    after: Snapshot


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFile(path) from error
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror or error}") from error
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise SnapshotError(f"{path}: broken gzip data: {error}") from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SnapshotError(f"{path}: not text: byte {error.start} is not UTF-8") from error


def _line(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SnapshotError(f"{path}: line {number}: {error}") from error
    if not isinstance(value, dict):
        raise SnapshotError(f"{path}: line {number}: an object is needed, not {type(value).__name__}")
    return cast("dict[str, Any]", value)


def read_recording(path: str | Path) -> Recording:
    """Reads a recording.

    Args:
        path: A `.jsonl` or `.jsonl.gz` file.

    Raises:
        SnapshotError: The file cannot be read, is truncated or is not a recording; names the line.
    """
    path = Path(path)
    text = _read_text(path)
    lines = [_line(path, i + 1, line) for i, line in enumerate(text.splitlines()) if line.strip()]
    if len(lines) < 3 or "before" not in lines[1]:
        raise SnapshotError(f'{path}: not a recording: line 2 has no "before" ({len(lines)} lines)')
    after = next((i for i in range(len(lines) - 1, 1, -1) if "after" in lines[i]), None)
    if after is None:
        raise SnapshotError(f'{path}: truncated: no line has "after" ({len(lines)} lines)')
    operations = lines[2:after]
    for i, operation in enumerate(operations):
        if "op" not in operation:
            raise SnapshotError(f'{path}: line {i + 3}: not an operation: no "op"')
    return Recording(path, lines[0], lines[1]["before"], operations, lines[after]["after"])


def load_snapshot(path: str | Path, which: str = "before") -> Snapshot:
    """Reads the snapshot `which` from a recording, or from a `.json` file that is a snapshot or contains several.

    Raises:
        SnapshotError: The file cannot be read or contains no such snapshot.
    """
    path = Path(path)
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        recording = read_recording(path)
        found = {"before": recording.before, "after": recording.after}.get(which)
    else:
        document = _line(path, 1, _read_text(path))
        found = document if "zones" in document else document.get(which)
    if not isinstance(found, dict):
        raise SnapshotError(f"{path}: holds no snapshot {which!r}")
    return found
