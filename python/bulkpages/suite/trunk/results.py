"""A result as plain data: what every output is made from, and what results.json holds.

The schema, `bulkpages.compare/3`, is documented in docs/results-schema.md. What was timed stands under `timing` alone;
`seed`, `started`, `seconds`, `command` and `provenance` tell of the run; the rest is the same on every machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bulkpages import BulkpagesError
from bulkpages.files import read_results
from bulkpages.suite.trunk.timing import MAIN_FORMS

__all__ = ["OF_THE_RUN", "SCHEMA", "exact_part", "load", "main_rows", "timed_rows"]

SCHEMA = "bulkpages.compare/3"
EARLIER = ("bulkpages.compare/1", "bulkpages.compare/2")
#: Keys that differ from run to run.
OF_THE_RUN = ("seed", "started", "seconds", "command", "provenance", "timing", "complete", "snapshot_path", "asked")


def load(path: Path, *others: str) -> dict[str, Any]:
    """Reads a results.json.

    Args:
        path: The file, or the folder it is in.
        others: Schemas that will do too.

    Raises:
        BulkpagesError: It cannot be read, is not JSON, or is of another schema.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        return read_results(path, SCHEMA, *others)
    except BulkpagesError as error:
        if any(repr(schema) in str(error) for schema in EARLIER):
            raise BulkpagesError(
                f"{error}: its verdicts rest on the emulator's time, those of this version on kernel instructions; run "
                "its command again"
            ) from error
        raise


def main_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the patch itself, patched against mainline."""
    return [row for row in results["rows"] if row["form"] in MAIN_FORMS]


def timed_rows(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was timed, by the name of the row; empty where nothing was."""
    return {row["name"]: row for row in results["timing"]["rows"]} if results["timing"] else {}


def exact_part(results: dict[str, Any]) -> dict[str, Any]:
    """A result without what differs from machine to machine."""
    return {key: value for key, value in results.items() if key not in OF_THE_RUN}
