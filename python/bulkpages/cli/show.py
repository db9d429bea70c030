"""`bulkpages show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bulkpages.cli.kernels import kernel_option
from bulkpages.errors import BulkpagesError
from bulkpages.machine import Machine


def make_machine(
    snapshot: str | None, which: str, memory: str, cpus: int, nodes: int, kernel: str | None = None
) -> Machine:
    """The machine that the options describe; what is wrong with them ends the command with exit 2."""
    try:
        if snapshot is not None:
            return Machine.from_snapshot(snapshot, which, kernel=kernel)
        return Machine(memory, cpus, nodes, kernel=kernel or "6.12")
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error


def from_report(path: str, nth: int = 1, kernel: str | None = None) -> Machine:
    """The machine of a report. What was not told goes to stderr; what is wrong is a usage error."""
    notes: list[str] = []
    try:
        machine = Machine.from_report(Path(path), notes=notes, nth=nth, kernel=kernel)
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    for note in notes:
        click.echo(f"{path}: {note}", err=True)
    return machine


def from_proc(directory: str, kernel: str | None = None) -> Machine:
    """The machine of a directory's files. What was skipped goes to stderr; what is wrong is a usage error."""
    notes: list[str] = []
    try:
        machine = Machine.from_proc(directory, notes=notes, kernel=kernel)
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    for note in notes:
        click.echo(f"{directory}: {note}", err=True)
    return machine


@click.command()
@click.argument("what", required=False, type=click.Choice(["zoneinfo", "buddyinfo", "vmstat", "pagetypeinfo"]))
@click.option("--proc", type=click.Path(), help="Load it from the /proc files in this directory.")
@click.option("--report", type=click.Path(), help="Load it from a report in a kernel log.")
@click.option("--nth", type=click.IntRange(min=1), default=1, help="Which report of the log, starting at 1.")
@click.option("--snapshot", type=click.Path(), help="A recording or a snapshot; by default a machine is booted.")
@click.option("--which", type=click.Choice(["before", "after"]), default="before", help="Which state of a recording.")
@click.option("--memory", default="1GiB", show_default=True, help="RAM of a booted machine.")
@click.option("--cpus", default=2, show_default=True, help="CPUs of a booted machine.")
@click.option("--nodes", default=1, show_default=True, help="Nodes of a booted machine.")
@kernel_option(told="6.12, or that of the report or files")
@click.option("--json", "as_json", is_flag=True, help="Print the snapshot as JSON.")
def show(
    what: str | None,
    proc: str | None,
    report: str | None,
    nth: int,
    snapshot: str | None,
    which: str,
    memory: str,
    cpus: int,
    nodes: int,
    kernel: str | None,
    as_json: bool,
) -> None:
    r"""Show a machine: zones with their marks and lists, and free blocks by order; or the file WHAT of /proc.

    The machine is booted, or loaded from a recording, a snapshot, the /proc files of another machine, or a report in
    a kernel log (OOM killer, failed allocation, sysrq-m).

    \b
    bulkpages show --memory 4GiB --nodes 2
    bulkpages show buddyinfo --snapshot recording.jsonl.gz --which after
    bulkpages show zoneinfo --proc /proc
    bulkpages show --report dmesg.txt
    """
    if sum(source is not None for source in (proc, report, snapshot)) > 1:
        raise click.UsageError("give only one of --proc, --report and --snapshot")
    if report is not None:
        machine = from_report(report, nth, kernel)
    elif proc is not None:
        machine = from_proc(proc, kernel)
    else:
        machine = make_machine(snapshot, which, memory, cpus, nodes, kernel)
    if what is not None:
        texts = {
            "zoneinfo": machine.zoneinfo,
            "buddyinfo": machine.buddyinfo,
            "vmstat": machine.vmstat_text,
            "pagetypeinfo": machine.pagetypeinfo,
        }
        text = texts[what]()
        click.echo(json.dumps({what: text}) if as_json else text, nl=as_json)
        return
    state: dict[str, Any] = machine.snapshot()
    if as_json:
        click.echo(json.dumps(state))
        return
    for zone in state["zones"]:
        boost = zone["boost"]
        click.echo(f"Node {zone['nid']}, zone {zone['name']:>8}")
        click.echo(f"  pages free     {zone['nr_free']}")
        for name in ("boost", "min", "low", "high", "promo"):
            click.echo(f"        {name:8} {zone[name] + (boost if name != 'boost' else 0)}")
        for name in ("spanned", "present", "managed"):
            click.echo(f"        {name:8} {zone[name]}")
        click.echo(f"        protection: ({', '.join(map(str, zone['lowmem_reserve']))})")
        for cpu, pcp in zone["pcp"].items():
            fields = ("count", "high", "batch", "high_min", "high_max", "free_factor")
            click.echo(f"    cpu: {cpu}  " + "  ".join(f"{name}: {pcp[name]}" for name in fields if name in pcp))
    click.echo("\nfree blocks by order")
    for zone in state["zones"]:
        counts = [sum(len(heads) for heads in zone["free"].get(str(order), {}).values()) for order in range(11)]
        click.echo(f"Node {zone['nid']}, zone {zone['name']:>8} " + " ".join(f"{count:6}" for count in counts))
