"""Writes results.json, report.html and reply.txt: each file whole or not at all."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bulkpages.compare.kernel import timings
from bulkpages.compare.results import differing_counts, headline, main_rows
from bulkpages.compare.text import reply
from bulkpages.files import whole_file, write_whole

__all__ = ["write"]

SWEEP_SLOTS, SWEEP_PAIRS = 64, 4


def _html(results: dict[str, Any]) -> str:
    # Pictures take a second to import, and nobody but the report needs them.
    from bulkpages.compare import plots

    names = list(results["rows"][0]["counts"]["base"])
    never = [
        name
        for name in names
        if not any(row["counts"][which][name] for row in results["rows"] for which in ("base", "form"))
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bulkpages.compare"), autoescape=True, undefined=jinja2.StrictUndefined
    )

    def picture(svg: str | None) -> Markup | None:
        # Our own SVG, not text from outside.
        return Markup(svg) if svg else None

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
        main=main_rows(results),
        growth=results["growth"],
        windows=results["windows"],
        contention=results.get("contention", []),
        published=results["published"],
        claims=results["claims"],
        instructions=results.get("instructions"),
        baseline=results.get("baseline"),
        ratio_plot=picture(plots.ratio_plot(results)),
        size_plot=picture(plots.size_plot(results)),
        hole_plot=picture(plots.hole_plot(results)),
        window_plot=picture(plots.window_plot(results)),
        contention_plot=picture(plots.contention_plot(results)),
        growth_plot=picture(plots.growth_plot(results)),
        null_plot=picture(plots.null_plot(results)),
        sweep_plot=picture(_sweep_plot() if results["windows"] else None),
        counted=[name for name in names if name not in never],
        never=never,
        differing=differing_counts(results),
    )


def _sweep_plot() -> str | None:
    """The failure sweep of the callers, where this installation has it; arrays small enough for a few seconds."""
    try:
        sweep = importlib.import_module("bulkpages.callers.sweep")
        pictures = importlib.import_module("bulkpages.callers.pictures")
    except ModuleNotFoundError:
        return None
    from bulkpages.compare.plots import styled

    return styled(lambda: pictures.sweep_figure(sweep.failure_sweep(largest=SWEEP_SLOTS, pairs_up_to=SWEEP_PAIRS)))


def write_parquet(results: dict[str, Any], folder: Path) -> Path | None:
    """The trials, if any, as a Parquet file, where pyarrow (extra `parquet`) is there: a row for each trial."""
    if not results["rows"]:
        return None
    try:
        import pyarrow as pa  # type: ignore[import-not-found,import-untyped,unused-ignore]
        import pyarrow.parquet as pq  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return None
    forms: dict[str, list[str]] = {}
    for row in results["rows"]:
        forms.setdefault(row["cell"], [row["base"]]).append(row["form"])
    columns: dict[str, list[Any]] = {name: [] for name in ("cell", "form", "process", "twin", "block", "counts")}
    for cell, processes in results["samples"].items():
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
    """Writes the three files into `folder` and returns their paths."""
    files = {"results.json": json.dumps(results, indent=1) + "\n"}
    if results["rows"]:
        files |= {"report.html": _html(results), "reply.txt": reply(results)}
    paths = []
    for name, text in files.items():
        write_whole(folder / name, text)
        paths.append(folder / name)
    if parquet := write_parquet(results, folder):
        paths.append(parquet)
    return paths
