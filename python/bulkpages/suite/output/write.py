"""Writes results.json, report.html and reply.txt: each file whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bulkpages.files import whole_file, write_whole
from bulkpages.suite.output.mail import reply
from bulkpages.suite.output.page import page

__all__ = ["write", "write_parquet"]


def write_parquet(results: dict[str, Any], folder: Path) -> Path | None:
    """The trials, if any, as a Parquet file, where pyarrow (extra `parquet`) is there: a row for each trial."""
    timing = results["timing"]
    if not timing or not timing["rows"]:
        return None
    try:
        import pyarrow as pa  # type: ignore[import-not-found,import-untyped,unused-ignore]
        import pyarrow.parquet as pq  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return None
    forms: dict[str, list[str]] = dict(timing["state"]["cells"])
    columns: dict[str, list[Any]] = {name: [] for name in ("cell", "form", "process", "twin", "block", "counts")}
    for cell, processes in timing["samples"].items():
        for process, costs in enumerate(processes):
            for form, twins in zip(forms.get(cell, []), costs, strict=False):
                for twin, blocks in enumerate(twins):
                    for block, counts in enumerate(blocks):
                        for name, value in zip(columns, (cell, form, process, twin, block, counts), strict=True):
                            columns[name].append(value)
    table = pa.table(columns).replace_schema_metadata(
        {"schema": results["schema"], "provenance": json.dumps(results["provenance"]), "seed": str(results["seed"])}
    )
    path = folder / "trials.parquet"
    with whole_file(path) as place:
        pq.write_table(table, place)
    return path


def write(results: dict[str, Any], folder: Path) -> list[Path]:
    """Writes the files of a result into `folder` and returns their paths; results.json last.

    Raises:
        OSError: A file cannot be written.
    """
    files = {
        "report.html": page(results),
        "reply.txt": reply(results),
        "results.json": json.dumps(results, indent=1) + "\n",
    }
    paths = []
    for name, text in files.items():
        write_whole(folder / name, text)
        paths.append(folder / name)
    if parquet := write_parquet(results, folder):
        paths.append(parquet)
    return paths
