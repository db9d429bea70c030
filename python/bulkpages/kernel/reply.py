"""What a review found, as a mail (75 columns) and as a page."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from bulkpages.files import write_whole
from bulkpages.provenance import provenance

if TYPE_CHECKING:
    from bulkpages.kernel.bench import Row
    from bulkpages.kernel.check import Check
    from bulkpages.kernel.review import Review

__all__ = ["percent", "reply", "write_review"]

WIDTH = 75


def percent(ratio: float) -> str:
    """A ratio as a change: +1.2 %."""
    change = 100 * (ratio - 1)
    return f"{change:+.{0 if abs(change) >= 100 else 1}f} %"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _quote(review: Review) -> list[str]:
    patch = review.patches[0]
    lines = [f"On {patch.author or 'somebody'}'s patch:"] if patch.author else []
    return [*lines, *(f"> {line}" for line in textwrap.wrap(review.subject, WIDTH - 2)), ""]


def _lines(review: Review) -> list[str]:
    diffs = [diff for patch in review.patches for diff in patch.files]
    wide = min(48, max(len(diff.path) for diff in diffs))
    added, removed = review.lines
    rows = [f"  {diff.path[-wide:]:{wide}}  +{diff.added:<4} -{diff.removed}" for diff in diffs]
    return [f"Lines: {added} added, {removed} removed.", "", *rows, ""]


def _instruction_rows(review: Review) -> list[str]:
    if review.bench is None or not any(
        any(value is not None for value in row.instructions) for row in review.bench.rows
    ):
        return []
    lines = [
        *_wrap(
            "Exact instructions of the SMP x86-64 kernel, the tree's own functions (qemu's counted clock; mean of 64 "
            "fills, so refills of the lists are in it):"
        ),
        "",
        f"  {'workload':26} {'per':5}{'before':>12}{'after':>12}{'change':>12}",
    ]
    for row in review.bench.rows:
        a, b = (*row.instructions, None, None)[:2]
        if a is None or b is None:
            continue
        lines.append(f"  {row.name:26} {row.unit:5}{a:>12,.1f}{b:>12,.1f}{b - a:>+12,.1f}")
    return [*lines, ""]


def _number(value: float) -> str:
    return f"{value:>10,.{0 if value >= 10_000 else 1}f}"


def _cycle_words(row: Row, mark: str) -> str:
    result = row.comparison
    if result is None:
        return ""
    return f"{result.verdict}{mark} ({percent(result.low).removesuffix(' %')}..{percent(result.high)})"


def _cycle_rows(review: Review) -> list[str]:
    if review.bench is None or not review.bench.rounds:
        return []
    nulls = review.bench.nulls
    about = (
        f"Native cycles on {provenance()['cpu']} (the same code as a program, {review.bench.rounds} rounds in turns; "
        f"each kernel against itself claimed {len(nulls.alarms)} differences in {nulls.comparisons}, and "
        f"{nulls.detectable:.1%} would be found in four of five runs):"
    )
    lines = [*_wrap(about), ""]
    if not nulls.silent:
        return [*lines, "  The machine was too noisy for verdicts.", ""]
    lines.append(f"  {'workload':25}{'before':>10}{'after':>10} after against before")
    for row in review.bench.rows:
        a, b = (*row.cycles, None, None)[:2]
        if a is not None and b is not None:
            lines.append(f"  {row.name:25}{_number(a)}{_number(b)} {_cycle_words(row, '*' * (row in review.placed))}")
    if review.placed:
        lines += ["", *_wrap("* Same instructions: caches differ, or where code lies in memory.")]
    return [*lines, ""]


def _check_words(name: str, found: Check | None) -> str:
    if found is None:
        return f"{name}: not asked."
    counted = f"{found.operations:,} operations, {found.pages:,} pages on {found.machines} random machines"
    if found.exact:
        return f"{name}: as the model says, page for page ({counted})."
    return f"{name}: differs from the model after {counted}."


def _behaviour(review: Review) -> list[str]:
    lines: list[str] = []
    if any(review.checks) and review.before:
        about = f"Which pages are handed out, and every counter and list, against a model of {review.before.era}:"
        lines += [*_wrap(about), ""]
        for name, found in zip(("before", "after"), review.checks, strict=True):
            lines += [f"  {line}" for line in textwrap.wrap(_check_words(name, found), WIDTH - 2)]
        lines.append("")
    if review.witness:
        lines += _wrap(f"The API means something else. {review.witness.call}")
        for name, what in (("before: ", review.witness.before), ("after:  ", review.witness.after)):
            lines += textwrap.wrap(what, WIDTH, initial_indent=f"  {name}", subsequent_indent=" " * 10)
        lines.append("")
    after = review.checks[1]
    if after and after.difference:
        lines += [f"The smallest example found ({after.remaining} operation{'s' * (after.remaining != 1)}):", ""]
        lines += [_drawn(line) for line in after.difference.picture if line.strip(" ^")][:24]
        lines.append("")
    return lines


def _drawn(line: str) -> str:
    """A line of a picture: what a recording calls expected is what the patched kernel did, the other is the model."""
    text = f"  {line.strip()}".replace("expected", "patched ").replace(" got ", " model ")
    return text if len(text) <= WIDTH else text[: WIDTH - 4] + " ..."


def _method(review: Review) -> list[str]:
    if review.before is None:
        return []
    absent = {row.name: why for row in (review.bench.rows if review.bench else []) for why in row.absent if why}
    lines = _wrap(
        f"Linux {review.before.version}, {review.before.compiler}; both kernels built from one copy of the tree."
    )
    for why in dict.fromkeys(absent.values()):
        names = [name for name, reason in absent.items() if reason == why]
        lines += _wrap(f"Not measured: {', '.join(names)} ({why}).")
    if review.after and review.after.not_built:
        lines += _wrap(f"Not compiled in these kernels, so not tried: {', '.join(review.after.not_built)}.")
    return [*lines, ""]


def reply(review: Review) -> str:
    """The answer to the mail: plain text of 75 columns."""
    lines = _quote(review)
    lines += [*_wrap(f"Measured: {review.verdict}."), ""]
    lines += _lines(review) + _instruction_rows(review) + _cycle_rows(review) + _behaviour(review) + _method(review)
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n"


def write_review(review: Review, folder: Path) -> list[Path]:
    """Writes reply.txt, report.html and review.json, each whole or not at all.

    Args:
        review: What was found.
        folder: Made when it does not exist.

    Returns:
        The files.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bulkpages.kernel"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("review.html.j2").render(
        review=review,
        percent=percent,
        provenance=json.dumps(provenance(), indent=1),
    )
    written = {
        "reply.txt": reply(review),
        "report.html": page,
        "review.json": json.dumps(review.to_json(), indent=1) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        write_whole(folder / name, text)
    return [folder / name for name in written]
