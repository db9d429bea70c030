"""`bulkpages trace`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from bulkpages import BulkpagesError
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
def trace(source: str, kind: str, target: str, output: str | None) -> None:
    """Turn a trace into another format.

    SOURCE is text of the kmem events from ftrace, trace-cmd report or perf script, or LLFree's binary trace. Lines that
    are no kmem events are left out. Exit 1 when lines were damaged; the first is named.
    """
    damaged: list[tuple[int, str]] = []
    if target == "llfree" and output is None:
        raise click.UsageError("--to llfree is binary: give --output")
    if kind == "llfree" and target != "ftrace":
        raise click.UsageError("--from llfree goes --to ftrace only")
    try:
        if output is not None:
            Path(output).parent.mkdir(parents=True, exist_ok=True)
        if target == "llfree":
            count = write_llfree(str(output), _llfree(read_events(source, damaged)))
            click.echo(f"{count} events", err=True)
        else:
            if kind == "llfree":
                texts = llfree_lines(read_llfree(source))
            elif target == "ftrace":
                texts = rewrite(source, damaged)
            else:
                texts = iter([json.dumps(perfetto(read_events(source, damaged)))])
            with click.open_file(output or "-", "w", encoding="utf-8") as out:
                for text in texts:
                    out.write(text)
    except (BulkpagesError, OSError) as error:
        raise click.UsageError(str(error)) from error
    if damaged:
        click.echo(f"{len(damaged)} damaged lines, the first is line {damaged[0][0]}: {damaged[0][1]}", err=True)
        raise SystemExit(1)
