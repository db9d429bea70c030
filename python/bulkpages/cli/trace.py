"""`bulkpages trace`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from bulkpages._core import gfp_known
from bulkpages.cli.output import put_json
from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.files import whole_file
from bulkpages.formats.llfree import LlfreeEvent, in_order_of_time, write_llfree
from bulkpages.formats.trace import NoEvents, Tally, TraceEvent, gfp_text, read_events, rewrite
from bulkpages.formats.trace.chrome import perfetto_text
from bulkpages.formats.trace.events import need_events


def _llfree(events: Iterator[TraceEvent]) -> Iterator[LlfreeEvent]:
    # Kernels before 3.3 free a batch with one line a page, and then a second line for the same page.
    batched: dict[int, int] = {}
    for event in events:
        pfn = event.fields.get("pfn")
        alloc = event.name == "mm_page_alloc"
        free = event.name in ("mm_page_free", "mm_page_free_direct", "mm_pagevec_free")
        if not pfn or not (alloc or free):
            continue
        if event.cpu is None or event.time_ns is None:
            what = "CPU" if event.cpu is None else "time in seconds"
            raise InvalidArgument(
                f"LLFree's trace needs the CPU and the time of each event; one of pfn {pfn:#x} has no {what}"
            )
        if event.name == "mm_page_free_direct" and batched.pop(event.cpu, None) == pfn:
            continue
        if event.name == "mm_pagevec_free":
            batched[event.cpu] = pfn
        gfp = gfp_known(event.fields["gfp_flags"]) if alloc else 0
        yield LlfreeEvent(
            event.cpu, event.time_ns // 1000, pfn, int(alloc), event.fields.get("order", 0), gfp, max(event.pid or 0, 0)
        )


def llfree_lines(events: Iterator[LlfreeEvent]) -> Iterator[str]:
    """Ftrace lines of LLFree's events; the type is that of the flags."""
    for e in events:
        head = f"{'llfree':>16}-{e.pid:<7} [{e.cpu:03}] {e.time_us // 1_000_000:5}.{e.time_us % 1_000_000:06}: "
        page = f"page={0:016x} pfn={e.pfn:#x} order={e.order}"
        if e.alloc:
            yield f"{head}mm_page_alloc: {page} migratetype={e.gfp >> 3 & 3} gfp_flags={gfp_text(e.gfp)}\n"
        else:
            yield f"{head}mm_page_free: {page}\n"


def _texts(source: str, kind: str, target: str, tally: Tally) -> Iterator[str]:
    """The result, some at a time."""
    if kind == "llfree":
        for text in llfree_lines(in_order_of_time(source)):
            tally.lines += 1
            tally.kmem_events += 1
            yield text
    elif target == "ftrace":
        yield from rewrite(source, tally)
    else:
        yield from perfetto_text(_checked(source, tally))


@click.command()
@click.argument("source", type=click.Path())
@click.option("--from", "kind", type=click.Choice(["text", "llfree"]), default="text", show_default=True)
@click.option(
    "--to", "target", type=click.Choice(["ftrace", "perfetto", "llfree"]), default="ftrace", show_default=True
)
@click.option("--output", type=click.Path(), help="Output file; default stdout (not for llfree).")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON; needs --output.")
def trace(source: str, kind: str, target: str, output: str | None, as_json: bool) -> None:
    r"""Turn a trace into another format.

    SOURCE is text of the kmem events from ftrace (its usual, latency or function-graph layout, or as a kernel dumps it
    into its log), trace-cmd report or perf script, or LLFree's binary trace, gzipped or not. The result goes to
    stdout or --output. Lines that are not kmem events are dropped; their number and kind are printed on stderr. Exit 1
    if no line is an event, or if lines were damaged; the first damaged line is named.

    \b
    bulkpages trace trace.txt.gz --to perfetto --output trace.json
    bulkpages trace trace.bin --from llfree > trace.txt
    """
    if target == "llfree" and output is None:
        raise click.UsageError("--to llfree is binary: give --output")
    if kind == "llfree" and target != "ftrace":
        raise click.UsageError("--from llfree goes --to ftrace only")
    if as_json and output is None:
        raise click.UsageError("--json prints a summary on stdout: give --output for the trace")
    tally = Tally()
    written: int | None = None
    try:
        if output is None:
            for text in _texts(source, kind, target, tally):
                click.echo(text, nl=False)
            need_events(tally, source)
        elif target == "llfree":
            written = write_llfree(output, _llfree(_checked(source, tally)))
        else:
            with whole_file(output) as place, place.open("w", encoding="utf-8") as out:
                out.writelines(_texts(source, kind, target, tally))
                need_events(tally, source)
    except NoEvents as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from error
    except (BulkpagesError, OSError) as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        put_json({"output": output, "format": target, "events": tally.events, "written": written, **asdict(tally)})
    elif written is not None:
        click.echo(f"{written} events", err=True)
    for note in tally.notes():
        click.echo(note, err=True)
    if tally.damaged:
        raise SystemExit(1)


def _checked(source: str, tally: Tally) -> Iterator[TraceEvent]:
    """The events; refuses a trace without any."""
    yield from read_events(source, tally)
    need_events(tally, source)
