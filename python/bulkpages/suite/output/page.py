"""report.html: one file, no network, in light and in dark, from a phone's width on."""

from __future__ import annotations

import json
from typing import Any

import jinja2
from markupsafe import Markup

from bulkpages.suite.output import columns
from bulkpages.suite.output.glossary import GLOSSARY
from bulkpages.suite.output.words import (
    CALLERS,
    FORMS,
    GROUPS,
    WHICH,
    cycles_here,
    disagreements,
    group_of,
    in_order,
    kernel_sentences,
    own_kernel_lines,
    timing_lines,
)
from bulkpages.suite.trunk.kernel import same_processor, timings
from bulkpages.suite.trunk.results import main_rows, timed_rows

__all__ = ["page"]

# Of a fill's counts: those that slot work is made of stand in the first table.
ELSEWHERE = ("slot_tests", "slot_writes", "slot_clears")


def _counted(results: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names of the counts that occur, and of those that never do."""
    names = list(results["rows"][0]["counts"]["base"]) if results["rows"] else []

    def occurs(name: str) -> bool:
        return any(row["counts"][which][name] for row in results["rows"] for which in ("base", "form"))

    return [name for name in names if occurs(name)], [name for name in names if not occurs(name)]


def _processors(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Kernel cycles of each processor by itself, that of this machine first."""
    rows = in_order(results["rows"])
    names = dict.fromkeys(found["processor"] for row in rows for found in row["kernel_cycles"])
    tables = [
        {
            "name": name,
            "here": same_processor(name, results["provenance"]["cpu"]),
            "rows": [(row, found) for row in rows for found in row["kernel_cycles"] if found["processor"] == name],
        }
        for name in names
    ]
    return sorted(tables, key=lambda table: not table["here"])


def _groups(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(group_of(row), []).append(row)
    return [(GROUPS[group], found[group]) for group in sorted(found)]


def page(results: dict[str, Any]) -> str:
    """The report of a result."""
    # Pictures take a second to import, and nobody but the report needs them.
    from bulkpages.suite.output import plots

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bulkpages.suite.output"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def picture(svg: str | None) -> Markup | None:
        # Our own SVG, not text from outside.
        return Markup(svg) if svg else None

    counted, never = _counted(results)
    timing = results["timing"]
    return environment.get_template("report.html.j2").render(
        results=results,
        which=WHICH,
        sentences=kernel_sentences(results),
        groups=_groups(in_order(main_rows(results))),
        others=in_order([row for row in results["rows"] if row["form"] in ("tracked", "v3")]),
        forms=FORMS,
        callers=CALLERS,
        show=columns,
        processors=_processors(results),
        cpu=results["provenance"]["cpu"],
        cycles_here=cycles_here,
        own=results.get("own_kernels"),
        own_lines=own_kernel_lines(results["own_kernels"], results["provenance"]["cpu"])
        if results.get("own_kernels")
        else [],
        failures=results["failures"],
        windows=results["windows"],
        growth=results["growth"],
        claims=results["claims"],
        counted=[name for name in counted if name not in ELSEWHERE],
        never=never,
        meta=timings()["meta"],
        timing=timing,
        timed=timed_rows(results),
        timing_sentences=timing_lines(results),
        disagreements=disagreements(results),
        unit="cycles" if results["provenance"]["counts_cycles"] else "counts",
        provenance=json.dumps(results["provenance"], indent=1),
        glossary=GLOSSARY,
        difference_plot=picture(plots.difference_plot(results)),
        size_plot=picture(plots.size_plot(results)),
        hole_plot=picture(plots.hole_plot(results)),
        window_plot=picture(plots.window_plot(results)),
        growth_plot=picture(plots.growth_plot(results)),
        time_plot=picture(plots.time_plot(results)),
        null_plot=picture(plots.null_plot(results)),
        contention_plot=picture(plots.contention_plot(results)),
    )
