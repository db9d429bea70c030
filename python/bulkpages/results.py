"""Files that a comparison leaves: the names of their schemas, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bulkpages.eras.rules import DEFAULT
from bulkpages.errors import BulkpagesError
from bulkpages.files import read_results

__all__ = ["COMPARE", "TIMING", "load"]

COMPARE = "bulkpages.compare/3"
EARLIER = ("bulkpages.compare/1", "bulkpages.compare/2")
#: What was timed alone: callers of your own, sweeps.
TIMING = "bulkpages.timing/1"


def load(path: Path, *others: str) -> dict[str, Any]:
    """Reads a results.json.

    Args:
        path: The file, or the folder it is in.
        others: Schemas that will do too.

    Raises:
        BulkpagesError: It cannot be read, is not JSON, or has another schema.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        # Before kernels could be named all were of one.
        return {"kernel": DEFAULT} | read_results(path, COMPARE, *others)
    except BulkpagesError as error:
        if any(repr(schema) in str(error) for schema in EARLIER):
            raise BulkpagesError(
                f"{error}: its verdicts rest on the emulator's time, those of this version on kernel instructions; run "
                "its command again"
            ) from error
        raise
