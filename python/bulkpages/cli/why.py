"""`bulkpages why`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from bulkpages.cli import complete
from bulkpages.cli.groups import meant
from bulkpages.cli.kernels import kernel_option
from bulkpages.cli.output import put_json
from bulkpages.eras.rules import of_kernel
from bulkpages.errors import BulkpagesError
from bulkpages.formats.proc import read_proc
from bulkpages.formats.report import read_report
from bulkpages.formats.report.request import gfp_of_names
from bulkpages.machine import Machine


def _gfp(text: str, notes: list[str]) -> int:
    """Flags as kernel text or as a number."""
    try:
        return int(text, 0)
    except ValueError:
        value = gfp_of_names(text, notes)
    if unknown := [note for note in notes if "is not modelled" in note]:
        word = unknown[0].split()[2]
        raise click.UsageError(f"--gfp {text}: no flag is called {word}.{meant(word, complete.gfp_names())}")
    return value


def _of_report(
    path: str, nth: int, gfp: int | None, order: int | None, kernel: str | None
) -> tuple[Machine, int | None, int | None, list[str]]:
    """The machine of a report, with the report's request where the options leave it open."""
    found = read_report(Path(path), nth)
    if found.request is not None:
        gfp = found.request.gfp if gfp is None else gfp
        order = found.request.order if order is None else order
    return Machine.from_snapshot(of_kernel(found.snapshot, kernel)), gfp, order, found.notes


@click.command()
@click.argument("report", required=False, type=click.Path())
@click.option("--nth", type=click.IntRange(min=1), default=1, help="Which report of the log, starting at 1.")
@click.option("--proc", type=click.Path(), help="Take the state from the /proc files in this directory.")
@click.option("--snapshot", type=click.Path(), help="Take the state from a recording or a snapshot.")
@click.option(
    "--gfp",
    "gfp_text",
    shell_complete=complete.gfp,
    help='Flags, like "GFP_KERNEL|__GFP_COMP" or 0xcc0; default: those of the report.',
)
@click.option("--order", type=click.IntRange(0, 10), help="Order of the block; default: that of the report, else 0.")
@click.option("--nid", type=click.IntRange(min=0), help="Node to allocate from; default: the CPU's own.")
@click.option("--cpu", type=click.IntRange(min=0), default=0, help="CPU that makes the request.")
@click.option("--bulk", type=click.IntRange(min=1), help="Ask for this many pages in one bulk call.")
@kernel_option(told="6.12, or that of the report or files")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def why(
    report: str | None,
    nth: int,
    proc: str | None,
    snapshot: str | None,
    gfp_text: str | None,
    order: int | None,
    nid: int | None,
    cpu: int,
    bulk: int | None,
    kernel: str | None,
    as_json: bool,
) -> None:
    r"""Explain why a request fails: which zone lacks what, and which change would let it succeed.

    REPORT gives the state and the request. It is what the kernel logged when an allocation failed or the OOM killer
    was invoked, as dmesg or journalctl print it. The emulator then makes the request on a copy of that state, and
    tries each change the same way. What reclaim would free is unknown.

    Exit code 1 means that the request fails.

    \b
    bulkpages why dmesg.txt
    bulkpages why --proc /proc --gfp GFP_KERNEL --bulk 512
    bulkpages why --snapshot state.json --gfp "GFP_ATOMIC|__GFP_COMP" --order 3
    """
    if sum(source is not None for source in (report, proc, snapshot)) != 1:
        raise click.UsageError("give one state: REPORT, --proc DIR or --snapshot FILE")
    notes: list[str] = []
    gfp = None if gfp_text is None else _gfp(gfp_text, notes)
    try:
        if report is not None:
            machine, gfp, order, said = _of_report(report, nth, gfp, order, kernel)
            notes += said
        elif proc is not None:
            state = read_proc(proc)
            machine, notes = Machine.from_snapshot(of_kernel(state.snapshot, kernel)), notes + state.notes
        else:
            machine = Machine.from_snapshot(snapshot or "", kernel=kernel)
        if gfp is None:
            raise click.UsageError("--gfp is needed: the report names no request" if report else "--gfp is needed")
        found = machine.explain(gfp, order or 0, nid=nid, cpu=cpu, bulk=bulk)
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    found = replace(found, notes=notes)
    if as_json:
        put_json(found.as_dict())
    else:
        click.echo(str(found), nl=False)
    raise SystemExit(0 if found.works else 1)
