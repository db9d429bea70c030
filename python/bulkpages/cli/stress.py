"""`bulkpages stress`."""

from __future__ import annotations

import json
from typing import Any

import click

from bulkpages.cli import INTERRUPTED, complete
from bulkpages.errors import BulkpagesError
from bulkpages.threads import Run
from bulkpages.threads import stress as run_stress


def percentile(histogram: dict[str, Any], share: float) -> int:
    """Upper bound of the bucket that `share` of the values do not exceed; 0 without values."""
    seen = 0
    for bits, count in enumerate(histogram["buckets"]):
        seen += count
        if count and seen >= share * histogram["count"]:
            return min((1 << bits) - 1, int(histogram["max"]))
    return 0


def print_run(run: Run) -> None:
    """The report as text; the last line is the answer."""
    data = run.data
    click.echo(f"{data['threads']} threads, {data['seconds']:.1f} s, seed {data['seed']}")
    click.echo("operations         " + "  ".join(f"{name} {n}" for name, n in data["ops"].items() if n))
    click.echo(
        f"pages              allocated {data['pages_allocated']}  freed {data['pages_freed']}  "
        f"freed on another CPU {data['pages_freed_on_another_cpu']}  requests failed {data['requests_failed']}"
    )
    singles = "  ".join(f"{name} {n}" for name, n in data["bulk_singles"].items() if n)
    click.echo(f"bulk by one page   {singles or 'never'}")
    click.echo("\ntrylock failures of per-CPU lists, by what the holder did")
    for side, failed in data["trylock_failures"].items():
        by = data["trylock_failures_by_holder"][side]
        causes = "  ".join(f"{name} {n}" for name, n in by.items() if n)
        click.echo(f"  {side:6} {failed:9} of {data['trylocks'][side]:11}   {causes}")
    click.echo("\nlocks, ns: half of all / 99 % / 99.9 % within, longest")
    for kind, times in data["locks"].items():
        for what, histogram in times.items():
            shares = [percentile(histogram, share) * run.ns_per_count for share in (0.5, 0.99, 0.999)]
            shown = " / ".join(f"{ns:9.0f}" for ns in shares)
            click.echo(
                f"  {kind:4} {what:4} {histogram['count']:11}   {shown}   {histogram['max'] * run.ns_per_count:11.0f}"
            )
    for text in data["violations"]:
        click.echo(f"VIOLATION: {text}")
    if data["audit_error"]:
        click.echo(f"AUDIT: {data['audit_error']}")
    verdict = "audit passed" if run.ok else "AUDIT FAILED"
    click.echo(f"\n{run.pages} pages moved, {run.trylock_failures} trylock failures, {verdict}")


@click.command()
@click.option("--threads", default=2, show_default=True, help="Threads; thread i runs on emulated CPU i.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How long to run, in seconds.")
@click.option(
    "--mix",
    default="default",
    show_default=True,
    shell_complete=complete.mixes,
    help="A preset (default, bulk, drain, remote-free), weights like bulk=4,single=2,drain=1, or both.",
)
@click.option("--cpus", type=int, help="Emulated CPUs; by default as many as threads.")
@click.option("--memory", default="1GiB", show_default=True, help="RAM of the machine.")
@click.option("--nodes", default=1, show_default=True, help="NUMA nodes.")
@click.option("--seed", default=1, show_default=True, help="Seed of what the threads do; the host decides the order.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--perfetto", type=click.Path(dir_okay=False), help="Write the first slices of each thread as a trace.")
@click.option("--picture", type=click.Path(dir_okay=False), help="Draw the first 200 µs (.svg, .png, .pdf).")
def stress(
    threads: int,
    seconds: float,
    mix: str,
    cpus: int | None,
    memory: str,
    nodes: int,
    seed: int,
    as_json: bool,
    perfetto: str | None,
    picture: str | None,
) -> None:
    r"""Run real threads on one machine and check that no page is lost or handed out twice.

    The threads use real atomics, as several CPUs would, and every page is watched. The last line of the report
    says how many pages moved, how many trylocks failed, and what the audit found. Exit 1 if it found something.
    Ctrl-C ends the run early: the report covers what ran until then, and the exit code is 130.

    \b
    bulkpages stress --threads 4 --seconds 30
    bulkpages stress --mix remote-free --picture locks.svg --perfetto locks.json
    """
    timeline = 20_000 if perfetto or picture else 0
    try:
        run = run_stress(
            memory, threads=threads, cpus=cpus, nodes=nodes, mix=mix, seconds=seconds, seed=seed, timeline=timeline
        )
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if run.data["interrupted"]:
        click.echo("interrupted: the report covers what ran until then", err=True)
    if perfetto:
        run.perfetto(perfetto)
    if picture:
        run.picture(picture)
    if as_json:
        click.echo(json.dumps(run.to_dict()))
    else:
        print_run(run)
    if not run.ok:
        raise SystemExit(1)
    if run.data["interrupted"]:
        raise SystemExit(INTERRUPTED)
