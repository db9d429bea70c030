"""`bulkpages replay`."""

from __future__ import annotations

import json
from typing import Any

import click

from bulkpages import BulkpagesError
from bulkpages.formats.trace import follow
from bulkpages.what_if import ROWS, Setting, parse_setting, plot, what_if


def share(part: int, whole: int) -> str:
    """A share that says 100 only when it is."""
    if whole == 0:
        return "none"
    if part == whole:
        return f"{part} of {whole}, 100 %"
    return f"{part} of {whole}, {min(99.99, 100 * part / whole):.2f} %"


def _print(report: dict[str, Any], plain: dict[str, Any]) -> None:
    rows = [
        ("frames foretold", share(report["predicted"], report["allocations"])),
        ("  without learning habits", share(plain["predicted"], plain["allocations"])),
        ("zone, order and type foretold", share(report["matched"], report["allocations"])),
        ("frames of refills foretold", share(report["refilled_predicted"], report["refilled"])),
        ("sizes of refills foretold", share(report["refill_sizes_predicted"], report["refills"])),
        ("frames of drains foretold", share(report["drained_predicted"], report["drained"])),
        (
            "takes without a line (bulk calls)",
            f"{report['hidden_takes']}, {report['hidden_pages']} pages; {report['hidden_predicted']} foretold, "
            f"{report['false_hidden']} expected in vain",
        ),
        ("frees", f"{report['frees']}, {report['frees_of_kernel_pages']} of pages from before"),
        ("failed allocations", str(report["failed"])),
    ]
    for name, text in rows:
        click.echo(f"{name:34} {text}")
    if "after" in report:
        after = report["after"]
        click.echo(f"{'free blocks where the kernel has them':34} {share(after['blocks_in_place'], after['blocks'])}")
        click.echo(f"{'free lists equal in order':34} {share(after['lists_equal'], after['lists'])}")
    for reason, count in sorted(report["reasons"].items(), key=lambda r: -r[1]):
        click.echo(f"  not foretold: {count:6}  {reason}")
    if report["misses"]:
        miss = report["misses"][0]
        expected = "nothing" if miss["expected"] is None else f"{miss['expected']:#x}"
        click.echo(
            f"first left the kernel's way at line {miss['line']}: cpu {miss['cpu']}, order {miss['order']}, "
            f"type {miss['migratetype']}: pfn {miss['pfn']:#x}, {expected} foretold: {miss['reason']}"
            + (f" ({miss['pages']} pages)" if miss["pages"] else "")
        )


def _trouble(report: dict[str, Any]) -> None:
    for what, total in (("lost", "lost"), ("damaged", "damaged"), ("outside", "outside")):
        lines = report[f"{what}_lines"]
        if lines:
            number, why = lines[0]
            why = f"{why} events" if what == "lost" else why
            click.echo(f"{report[total]} {what} lines, the first is line {number}: {why}", err=True)


def _what_if(
    trace: str, snapshot: str, marked: bool | None, texts: tuple[str, ...], picture: str | None, as_json: bool
) -> None:
    settings = [Setting(), *map(parse_setting, texts)]
    settled = what_if(trace, snapshot, settings, marked=marked)
    if picture is not None:
        plot(settled, picture)
    if as_json:
        click.echo(json.dumps([{"setting": str(s.setting), **s.costs} for s in settled]))
        return
    widths = [max(len(str(s.setting)), 10) for s in settled]
    click.echo(f"{'':32} " + "  ".join(f"{s.setting!s:>{w}}" for s, w in zip(settled, widths, strict=True)))
    for key, name in ROWS:
        row = "  ".join(f"{s.costs[key]:{w}}" for s, w in zip(settled, widths, strict=True))
        click.echo(f"{name:32} {row}")


@click.command()
@click.argument("trace", type=click.Path())
@click.option("--snapshot", required=True, type=click.Path(), help="The state at the trace's beginning (and end).")
@click.option("--from-start", is_flag=True, help="The state is that of the first line, not of the snapshot line.")
@click.option(
    "--what-if",
    "what_ifs",
    multiple=True,
    metavar="SETTING",
    help="Make the trace's requests again with this, beside its own: refill=N,high_fraction=N,watermarks=FACTOR,"
    "pcp=off,api=v2. May be given several times.",
)
@click.option("--plot", "picture", type=click.Path(), help="With --what-if: draw what differs into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def replay(
    trace: str, snapshot: str, from_start: bool, what_ifs: tuple[str, ...], picture: str | None, as_json: bool
) -> None:
    r"""Follow a real trace on a real state, foretelling each page frame.

    TRACE is text of the kmem events from ftrace, trace-cmd report or perf script. Of each mm_page_alloc line the frame
    is foretold from the state and the lines before; bulk calls, which leave no line, are inferred. Lines
    that were lost or damaged, or name what the machine does not have, are counted and said, never guessed over. The
    report goes to stdout.

    \b
    bulkpages replay trace.txt.gz --snapshot states.json.gz
    bulkpages replay trace.txt.gz --snapshot states.json.gz --what-if refill=31 --what-if pcp=off --plot costs.svg
    """
    marked = False if from_start else None
    try:
        if what_ifs:
            _what_if(trace, snapshot, marked, what_ifs, picture, as_json)
            return
        if picture is not None:
            raise click.UsageError("--plot draws what --what-if finds: give one")
        report = follow(trace, snapshot, marked=marked).report
        plain = follow(trace, snapshot, marked=marked, learn=False).report
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        report["predicted_without_learning"] = plain["predicted"]
        report["look_ahead"] = False
        click.echo(json.dumps(report))
    else:
        _print(report, plain)
    _trouble(report)
