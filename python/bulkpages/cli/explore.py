"""`bulkpages explore`."""

from __future__ import annotations

import click

from bulkpages import _core
from bulkpages.cli import complete
from bulkpages.cli.output import put_json
from bulkpages.errors import BulkpagesError
from bulkpages.interrupts import explore as explore_scenario


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[LOCKING:CALL]...", shell_complete=complete.scenarios)
@click.option("--bound", default=2, show_default=True, help="Most handlers in one execution.")
@click.option("--model", type=click.Choice(["lists", "core"]), help="Step model of the lists, or the emulator.")
@click.option(
    "--handler",
    "handlers",
    multiple=True,
    shell_complete=complete.handlers,
    help="A call that handlers make (repeatable).",
)
@click.option("--limit", default=1_000_000, show_default=True, help="Most executions of one scenario.")
@click.option("--choices", help="Repeat one execution: the choices printed by a failure, separated by commas.")
@click.option("--list", "list_calls", is_flag=True, help="List what can be interrupted, and exit.")
@click.option("--picture", type=click.Path(dir_okay=False), help="Draw the steps of the last scenario into this file.")
@click.option("--perfetto", type=click.Path(dir_okay=False), help="Write them as a trace that Perfetto opens.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def explore(
    scenarios: tuple[str, ...],
    bound: int,
    model: str | None,
    handlers: tuple[str, ...],
    limit: int,
    choices: str | None,
    list_calls: bool,
    picture: str | None,
    perfetto: str | None,
    as_json: bool,
) -> None:
    r"""Interrupt a call at every point, in every order up to a bound.

    LOCKING is up-before-fix, up, smp or rt. CALL is drain, bulk, alloc, free, v1, v2, v3 or a caller like
    svc_alloc_arg/before (--list shows all). If an execution breaks something, prints it step by step and exits with 1.
    Without arguments it runs up-before-fix:drain, the bug fixed by upstream commit 038a102535eb.

    up and up-before-fix are kernels before 7.1. Since then a build without SMP has no per-CPU lists, so there is
    nothing to explore.

    \b
    bulkpages explore
    bulkpages explore up:v1 smp:svc_alloc_arg/after --bound 1
    """
    if list_calls:
        if as_json:
            put_json(_core.explore_tasks())
        else:
            click.echo("\n".join(_core.explore_tasks()))
        return
    found = []
    try:
        given = [int(c) for c in choices.split(",") if c] if choices is not None else None
    except ValueError as error:
        raise click.UsageError(f"--choices {choices!r} is not a list of whole numbers") from error
    try:
        for scenario in scenarios or ("up-before-fix:drain",):
            found.append(
                explore_scenario(scenario, bound, model=model, handlers=handlers or None, limit=limit, choices=given)
            )
            if not as_json:
                click.echo(str(found[-1]))
        if picture:
            found[-1].picture(picture)
        if perfetto:
            found[-1].perfetto(perfetto)
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        put_json([one.to_dict() for one in found])
    if not all(one.ok for one in found):
        raise SystemExit(1)
