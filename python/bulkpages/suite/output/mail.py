"""The result as a mail of at most 75 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from bulkpages.suite.output import columns
from bulkpages.suite.output.words import (
    FORMS,
    GROUPS,
    WHICH,
    group_of,
    in_order,
    kernel_sentences,
    own_kernel_lines,
    timing_lines,
)
from bulkpages.suite.trunk.results import main_rows, timed_rows

__all__ = ["reply"]

COLUMNS = 75


def _rows(results: dict[str, Any]) -> Iterator[str]:
    yield f"{'kernel instructions':26}{'mainline':>12}{'patched':>10}{'difference [interval]':>27}"
    group = -1
    for row in in_order(main_rows(results)):
        if group_of(row) != group:
            group = group_of(row)
            yield f"{GROUPS[group]}:"
        name = row["name"].removeprefix("page_")[:24]
        base, form = (columns.instructions(row, which) for which in ("base", "form"))
        yield f"  {name:24}{base:>12}{form:>10}{columns.difference(row):>27}"
    for form in ("tracked", "v3"):
        others = [row for row in in_order(results["rows"]) if row["form"] == form]
        if others:
            yield f"{FORMS[form]}, against mainline:"
        for row in others:
            base, other = (columns.instructions(row, which) for which in ("base", "form"))
            yield f"  {row['cell'][:24]:24}{base:>12}{other:>10}{columns.difference(row):>27}"


def _cycles(results: dict[str, Any]) -> Iterator[str]:
    """Kernel cycles, one table for each processor."""
    rows = in_order(main_rows(results))
    for processor in dict.fromkeys(found["processor"] for row in rows for found in row["kernel_cycles"]):
        yield ""
        yield f"{'kernel cycles, ' + processor + ' alone':40}{'mainline':>10}{'patched':>10}{'difference':>12}"
        for row in rows:
            for found in row["kernel_cycles"]:
                if found["processor"] == processor:
                    base, form = (columns.number(found[which]) for which in ("base", "form"))
                    yield f"  {row['name'][:38]:38}{base:>10}{form:>10}{found['percent']:>+11.0f}%"


def _own_kernels(results: dict[str, Any]) -> Iterator[str]:
    """The kernels given with --kernel: cycles, and instructions beside those of the table above."""
    own = results.get("own_kernels")
    if not own:
        return
    for line in own_kernel_lines(own, results["provenance"]["cpu"]):
        yield ""
        yield from textwrap.wrap(line, COLUMNS)
    for i, kernel in enumerate(own["kernels"]):
        yield ""
        yield f"{kernel['name'][:33]:33}{'cycles':>12}{'instructions':>15}{'above':>12}"
        for row in own["rows"]:
            cycles, counted, model = (columns.own(row, which, i) for which in ("cycles", "instructions", "model"))
            yield f"  {row['cell'][:31]:31}{cycles:>12}{counted:>15}{model:>12}"


def _time(results: dict[str, Any]) -> Iterator[str]:
    timed = timed_rows(results)
    if not timed:
        return
    unit = "cycles" if results["provenance"]["counts_cycles"] else "counts"
    yield ""
    yield from textwrap.wrap(
        f"The emulator's own time ({unit}, {results['provenance']['cpu']}), which is not kernel time:", COLUMNS
    )
    for row in in_order(main_rows(results)):
        if found := timed.get(row["name"]):
            low, high = ((end - 1) * 100 for end in found["interval"])
            costs = "".join(f"{found['cost'][which]['counts']:>10.4g}" for which in ("base", "form"))
            change = f"{found['effect']['percent']:+.1f}% [{low:+.1f}, {high:+.1f}]"
            yield f"  {row['name'].removeprefix('page_')[:24]:24}{costs}{change:>29}"
    for line in timing_lines(results):
        yield from textwrap.wrap(line, COLUMNS)


def _method(results: dict[str, Any]) -> str:
    text = (
        f"Produced by bulkpages {results['provenance']['bulkpages']}, an emulator of Linux {results['kernel']}'s page "
        "allocator. Instructions are those of the SMP kernel: measured, or (~) predicted from the exact counts of "
        "the emulated run, with an interval. Costs are per page (null, holes), per operation (pool loops) or per fill "
        "(callers)."
    )
    if results["timing"]:
        method = results["timing"]["method"]
        text += (
            f" Emulator time: {method['processes'][0]} to {method['processes'][1]} processes, {method['blocks']} "
            f"random blocks each, ratio of medians, hierarchical bootstrap intervals at {1 - method['alpha']:.2%} "
            f"over {method['looks_done']} of {method['looks']} looks."
        )
    return text


def reply(results: dict[str, Any]) -> str:
    """Plain text for a mailing list, ASCII, at most 75 columns."""
    out = [*textwrap.wrap(WHICH, COLUMNS), ""]
    for sentence in kernel_sentences(results):
        out += textwrap.wrap(sentence, COLUMNS)
    out += [
        "",
        *_rows(results),
        *_cycles(results),
        *_own_kernels(results),
        *_time(results),
        "",
        *textwrap.wrap(_method(results), COLUMNS),
    ]
    # Backslashes, so that a shell reads one line.
    command = textwrap.wrap(results["command"], COLUMNS - 4, initial_indent="  ", subsequent_indent="    ")
    out += ["", " \\\n".join(command), ""]
    return "\n".join(line.rstrip() for line in out)
