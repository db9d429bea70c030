"""`bulkpages trace`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from bulkpages import BulkpagesError
from bulkpages.cli.output import put_json
from bulkpages.files import whole_file
from bulkpages.formats.llfree import LlfreeEvent, read_llfree, write_llfree
from bulkpages.formats.trace import TraceEvent, gfp_text, gfp_value, perfetto, read_events, rewrite


def _llfree(events: Iterator[TraceEvent]) -> Iterator[LlfreeEvent]:
    for event in events:
        if event.name == "mm_page_alloc" and event.fields["pfn"]:
            gfp = gfp_value(event.fields["gfp_flags"])
            yield LlfreeEvent(event.cpu, event.time, event.fields["pfn"], 1, event.fields["order"], gfp, event.pid)
        elif event.name == "mm_page_free":
            yield LlfreeEvent(event.cpu, event.time, event.fields["pfn"], 0, event.fields["order"], 0, event.pid)


def llfree_lines(events: Iterator[LlfreeEvent]) -> Iterator[str]:
    """Ftrace lines of LLFree's events, in order of time; the type is that of the flags."""
    for e in sorted(events, key=lambda e: e.time_us):
        head = f"{'llfree':>16}-{e.pid:<7} [{e.cpu:03}] ..... {e.time_us // 1_000_000:5}.{e.time_us % 1_000_000:06}: "
        page = f"page={0:016x} pfn={e.pfn:#x} order={e.order}"
        if e.alloc:
            yield f"{head}mm_page_alloc: {page} migratetype={e.gfp >> 3 & 3} gfp_flags={gfp_text(e.gfp)}\n"
        else:
            yield f"{head}mm_page_free: {page}\n"


@click.command()
@click.argument("source", type=click.Path())
@click.option("--from", "kind", type=click.Choice(["text", "llfree"]), default="text", show_default=True)
@click.option(
    "--to", "target", type=click.Choice(["ftrace", "perfetto", "llfree"]), default="ftrace", show_default=True
)
@click.option("--output", type=click.Path(), help="Where to; stdout when left out (not for llfree).")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON; needs --output.")
def trace(source: str, kind: str, target: str, output: str | None, as_json: bool) -> None:
    r"""Turn a trace into another format.

    SOURCE is text of the kmem events from ftrace, trace-cmd report or perf script, or LLFree's binary trace. Lines that
    are no kmem events are left out. The result goes to stdout, or whole into --output. Exit 1 when lines were damaged;
    the first is named.

    \b
    bulkpages trace trace.txt.gz --to perfetto --output trace.json
    bulkpages trace trace.bin --from llfree > trace.txt
    """
    damaged: list[tuple[int, str]] = []
    if target == "llfree" and output is None:
        raise click.UsageError("--to llfree is binary: give --output")
    if kind == "llfree" and target != "ftrace":
        raise click.UsageError("--from llfree goes --to ftrace only")
    if as_json and output is None:
        raise click.UsageError("--json says what was done on stdout: give --output for the trace")
    # Known where events are read one by one; text is rewritten line by line.
    count: int | None = None
    try:
        if target == "llfree":
            count = write_llfree(str(output), _llfree(read_events(source, damaged)))
        else:
            if kind == "llfree":
                texts = llfree_lines(read_llfree(source))
            elif target == "ftrace":
                texts = rewrite(source, damaged)
            else:
                texts = iter([json.dumps(perfetto(read_events(source, damaged)))])
            if output is None:
                for text in texts:
                    click.echo(text, nl=False)
            else:
                with whole_file(output) as place, place.open("w", encoding="utf-8") as out:
                    out.writelines(texts)
    except (BulkpagesError, OSError) as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        put_json({"output": output, "format": target, "events": count, "damaged": damaged})
    elif count is not None:
        click.echo(f"{count} events", err=True)
    if damaged:
        click.echo(f"{len(damaged)} damaged lines, the first is line {damaged[0][0]}: {damaged[0][1]}", err=True)
        raise SystemExit(1)
