"""Writes results.json, report.html and reply.txt: each file whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bulkpages.compare.cells import FORMS
from bulkpages.compare.kernel import timings
from bulkpages.compare.results import differing_counts, headline
from bulkpages.compare.text import reply

__all__ = ["write"]


def _write_whole(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _html(results: dict[str, Any]) -> str:
    # Pictures take a second to import, and nobody but the report needs them.
    from bulkpages.compare import plots

    names = list(results["rows"][0]["counts"]["v1"])
    never = [name for name in names if not any(row["counts"][form][name] for row in results["rows"] for form in FORMS)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bulkpages.compare"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    size_plot, hole_plot = plots.size_plot(results), plots.hole_plot(results)
    return environment.get_template("report.html.j2").render(
        headline=headline(results),
        rows=results["rows"],
        null=results["null"],
        method=results["method"],
        skipped=results["skipped"],
        snapshot=results["snapshot"],
        unit="cycles" if results["provenance"]["counts_cycles"] else "counts",
        kernel_meta=timings()["meta"],
        command=results["command"],
        provenance=json.dumps(results["provenance"], indent=1),
        # Our own SVG, not text from outside.
        ratio_plot=Markup(plots.ratio_plot(results)),
        size_plot=Markup(size_plot) if size_plot else None,
        hole_plot=Markup(hole_plot) if hole_plot else None,
        break_even=results["break_even"],
        counted=[name for name in names if name not in never],
        never=never,
        differing=differing_counts(results),
        null_plot=Markup(plots.null_plot(results)),
    )


def write(results: dict[str, Any], folder: Path) -> list[Path]:
    """Writes the three files into `folder` and returns their paths."""
    files = {
        "results.json": json.dumps(results, indent=1) + "\n",
        "report.html": _html(results),
        "reply.txt": reply(results),
    }
    paths = []
    for name, text in files.items():
        _write_whole(folder / name, text)
        paths.append(folder / name)
    return paths
