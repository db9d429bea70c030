"""`bulkpages explore`."""

from __future__ import annotations

import json

import click

from bulkpages import BulkpagesError
from bulkpages.interrupts import explore as explore_scenario


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[LOCKING:CALL]...")
@click.option("--bound", default=2, show_default=True, help="Handlers in one execution, at most.")
@click.option("--model", type=click.Choice(["lists", "core"]), help="Step model of the lists, or the emulator.")
@click.option("--handler", "handlers", multiple=True, help="A call that handlers make; may be given several times.")
@click.option("--limit", default=1_000_000, show_default=True, help="Executions of one scenario, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def explore(
    scenarios: tuple[str, ...], bound: int, model: str | None, handlers: tuple[str, ...], limit: int, as_json: bool
) -> None:
    r"""Let interrupt handlers in at every point of a call, in every order up to a bound.

    LOCKING is up-before-fix, up, smp or rt; CALL is drain, bulk, alloc, free, v1, v2 or v3. Exits with 1 when an
    execution breaks something, and prints it step by step to stdout. Without arguments: up-before-fix:drain, the bug
    that upstream commit 038a102535eb fixed.

    \b
    bulkpages explore
    bulkpages explore up:v1 smp:v2 --handler bulk --bound 1
    """
    found = []
    try:
        for scenario in scenarios or ("up-before-fix:drain",):
            found.append(explore_scenario(scenario, bound, model=model, handlers=handlers or None, limit=limit))
            if not as_json:
                click.echo(str(found[-1]))
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found]))
    if not all(one.ok for one in found):
        raise SystemExit(1)
