"""What a bench and a check found, as text."""

from __future__ import annotations

from bulkpages.kernel.bench import Bench, Row
from bulkpages.kernel.check import Check
from bulkpages.kernel.reply import percent

__all__ = ["bench_text", "check_text"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _verdict(row: Row) -> str:
    result = row.comparison
    if result is None:
        return next((why for why in row.absent if why), "")
    return f"{result.verdict} ({percent(result.low)} to {percent(result.high)})"


def bench_text(found: Bench) -> str:
    """A table: cycles and instructions of each cell, and what the comparison says."""
    names = [f"{k.folder.name}" for k in found.kernels]
    lines = [f"{len(names)} kernel{'s' if len(names) > 1 else ''}: {', '.join(names)}; {found.rounds} rounds"]
    head = f"{'cell':26} {'per':5}"
    if found.rounds:
        head += "".join(f"{'cycles':>12}" for _ in names)
    head += "".join(f"{'instructions':>14}" for _ in names) + "  cycles, second against first" * (len(names) > 1)
    lines += ["", head]
    for row in found.rows:
        line = f"{row.name:26} {row.unit:5}"
        if found.rounds:
            line += "".join(f"{_number(value):>12}" for value in row.cycles)
        line += "".join(f"{_number(value):>14}" for value in row.instructions)
        lines.append(f"{line}  {_verdict(row)}".rstrip())
    nulls = found.nulls
    if nulls.comparisons:
        lines += [
            "",
            f"Each kernel against itself: {len(nulls.alarms)} of {nulls.comparisons} comparisons claimed a difference"
            + ("." if nulls.silent else ": this machine is too noisy for verdicts."),
        ]
        if len(names) > 1:
            lines.append(
                f"A difference of {nulls.detectable:.1%} would be found in four of five such runs (median cell)."
            )
    return "\n".join(lines)


def check_text(found: Check) -> str:
    """A sentence, and the picture of the difference when there is one."""
    counted = f"{found.operations:,} operations and {found.pages:,} pages on {found.machines} machines equal"
    if found.difference is None:
        return f"{found.kernel.name}: exact; {counted} ({found.seconds:.0f} s)"
    lines = [f"{found.kernel.name}: DIFFERS with seed {found.seed}; before that {counted}", ""]
    lines += [f"  {found.difference.what}:", *found.difference.picture, ""]
    lines.append(f"{found.remaining} operations are left of it: bulkpages conform {found.recording}")
    return "\n".join(lines)
