"""`bulkpages claims`."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from bulkpages import BulkpagesError
from bulkpages.cli.compare import MAX_SEED
from bulkpages.cli.output import put_json
from bulkpages.compare.cells import full_cells
from bulkpages.compare.claims import CELLS, CLAIMS, judge
from bulkpages.compare.results import analyse, load
from bulkpages.compare.runner import BLOCKS, TRIAL_SECONDS, Plan, run
from bulkpages.provenance import provenance
from bulkpages.states import shipped_state


@click.command()
@click.option("--results", type=click.Path(), help="Take times from this results.json instead of measuring.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this claim (repeatable).")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=1, show_default=True, help="Of the order of trials.")
@click.option("--json", "as_json", is_flag=True, help="Print the ledger as JSON.")
def claims(results: str | None, only: tuple[str, ...], seed: int, as_json: bool) -> None:
    r"""Try the technical claims of the thread, one experiment each.

    Measures the few workloads whose times are needed (about 20 seconds) unless --results names a run. Prints each claim
    with its verdict and what was found to stdout.

    \b
    bulkpages claims
    bulkpages claims --results results/20260101-120000 --json
    """
    names = [claim.name for claim in CLAIMS]
    if unknown := [name for name in only if name not in names]:
        raise click.UsageError(f"no claim {unknown[0]!r}; there are {', '.join(names)}")
    try:
        if results:
            path = Path(results)
            found = load(path / "results.json" if path.is_dir() else path)
        else:
            with shipped_state() as state:
                cells = [cell for cell in full_cells() if cell.name in CELLS]
                plan = Plan(cells, state, BLOCKS, TRIAL_SECONDS, seed, 15.0, 1, 0.01)
                measured = run(plan)
                if measured.interrupted:
                    raise KeyboardInterrupt
                found = analyse(plan, measured, provenance())
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    ledger = [row for row in judge(found) if not only or row["name"] in only]
    if as_json:
        put_json(ledger)
        return
    for row in ledger:
        click.echo(f"{row['verdict']}: {row['sentence']}  ({row['name']}; {row['source']}, {row['date']})")
        click.echo(textwrap.fill(row["found"], 100, initial_indent="    ", subsequent_indent="    "))
