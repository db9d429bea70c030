"""`bulkpages replay`."""

from __future__ import annotations

from typing import Any

import click

from bulkpages.cli import complete
from bulkpages.cli.output import put_json
from bulkpages.errors import BulkpagesError
from bulkpages.formats.trace import NoEvents, Tally
from bulkpages.formats.trace.events import fill
from bulkpages.traces import SAMPLE_STATES, SAMPLE_TRACE, Replay, rerun
from bulkpages.traces import replay as replay_trace


def _trouble(report: dict[str, Any]) -> None:
    tally = Tally()
    fill(tally, report)
    for note in tally.notes():
        click.echo(note, err=True)
    if report["outside"]:
        number, why = report["outside_lines"][0]
        click.echo(f"{report['outside']} outside lines, the first is line {number}: {why}", err=True)


@click.command()
@click.argument("trace", required=False, type=click.Path())
@click.option("--snapshot", type=click.Path(), help="The state at the start (and end) of the trace.")
@click.option("--sample", is_flag=True, help="The bundled trace of Linux 6.12, on its state.")
@click.option("--from-start", is_flag=True, help="The state belongs before the first line, not at the snapshot line.")
@click.option(
    "--what-if",
    "what_ifs",
    multiple=True,
    metavar="SETTING",
    shell_complete=complete.settings,
    help="Repeat the trace's requests with this setting too: refill=N,high_fraction=N,watermarks=FACTOR,"
    "pcp=off,api=v2 (repeatable).",
)
@click.option("--plot", "picture", type=click.Path(), help="Plot the shares or, with --what-if, the differences.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def replay(
    trace: str | None,
    snapshot: str | None,
    sample: bool,
    from_start: bool,
    what_ifs: tuple[str, ...],
    picture: str | None,
    as_json: bool,
) -> None:
    r"""Follow a real trace on a real state, predicting each page frame.

    TRACE is text of the kmem events from ftrace, trace-cmd report or perf script. The frame of each mm_page_alloc line
    is predicted from the state and the preceding lines. Bulk calls, which leave no line, are inferred. Lines that were
    lost or damaged, or that do not fit the machine, are counted and reported, never guessed. The report goes to
    stdout. Exit 1 if no line is an event.

    \b
    bulkpages replay --sample
    bulkpages replay trace.txt.gz --snapshot states.json.gz
    bulkpages replay trace.txt.gz --snapshot states.json.gz --what-if refill=31 --what-if pcp=off --plot costs.svg
    """
    if sample and (trace is not None or snapshot is not None):
        raise click.UsageError("--sample brings its own trace and state: leave out TRACE and --snapshot")
    if not sample and (trace is None or snapshot is None):
        raise click.UsageError("give a TRACE and its --snapshot, or --sample")
    marked = False if from_start else None
    if trace is None or snapshot is None:
        trace, snapshot = str(SAMPLE_TRACE), str(SAMPLE_STATES)
    try:
        if what_ifs:
            settled = rerun(trace, snapshot, what_ifs, marked=marked)
            if picture is not None:
                settled.plot(picture)
            if as_json:
                put_json([{"setting": str(s.setting), **s.costs} for s in settled.settled])
            else:
                click.echo(str(settled))
            return
        found = replay_trace(trace, snapshot, marked=marked)
        assert isinstance(found, Replay)
        if picture is not None:
            found.plot(picture)
    except NoEvents as error:
        raise click.ClickException(str(error)) from error
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        put_json(found.report | {"look_ahead": False})
    else:
        click.echo(str(found))
    _trouble(found.report)
