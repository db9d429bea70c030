"""`bulkpages claims`."""

from __future__ import annotations

import click

from bulkpages.cli import complete
from bulkpages.cli.output import put_json
from bulkpages.suite.face import claims as tried


@click.command()
@click.option(
    "--only", multiple=True, metavar="NAME", shell_complete=complete.claims, help="Only this claim (repeatable)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the ledger as JSON.")
def claims(only: tuple[str, ...], as_json: bool) -> None:
    r"""Try the technical claims of the thread, one experiment each.

    Prints each claim with its verdict and what was found to stdout. Costs are in kernel instructions; no clock is read,
    so the ledger is the same on every machine.

    \b
    bulkpages claims
    bulkpages claims --only pool-1-2-ns --json
    """
    found = tried(only)
    if as_json:
        put_json(found.rows)
        return
    click.echo(found.text())
