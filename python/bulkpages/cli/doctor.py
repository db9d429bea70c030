"""`bulkpages doctor`."""

from __future__ import annotations

import json

import click

from bulkpages import BulkpagesError, Machine
from bulkpages.provenance import provenance


def _noise(machine: Machine) -> float:
    """Relative spread (interquartile range over median) of one small trial, repeated."""
    import numpy as np

    from bulkpages import _core

    samples = []
    for _ in range(60):
        pages, alloc, _total = _core.trial_bulk(machine, "v1", 64, 0, 400)
        samples.append(alloc / pages)
    low, median, high = np.percentile(samples[10:], [25, 50, 75])
    return float((high - low) / median)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Say what this installation can measure here."""
    found = provenance()
    try:
        found["noise"] = _noise(Machine("256MiB", cpus=1))
    except BulkpagesError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"bulkpages {found['bulkpages']}, {found['profile']} build, {found['rustc']}")
    click.echo(f"python {found['python']}, Linux {found['kernel']}, {found['cpus']} CPUs: {found['cpu']}")
    unit = "cycles of the time stamp counter" if found["counts_cycles"] else "nanoseconds"
    click.echo(f"clock: {unit}, {found['ns_per_count']:.4f} ns each; governor: {found['governor'] or 'unknown'}")
    click.echo(f"virtual machine: {'yes' if found['virtual_machine'] else 'no'}; load {found['load'][0]:.2f}")
    click.echo(
        f"instruction counts: valgrind {'found' if found['valgrind'] else 'not found'}, "
        f"perf {'found' if found['perf'] else 'not found'}"
    )
    click.echo(f"noise of a trial (interquartile range over median): {found['noise']:.2%}")
    if found["profile"] == "debug":
        click.echo("This is a debug build: do not measure with it.")
