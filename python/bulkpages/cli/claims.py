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
    r"""Test the technical claims of the mailing list thread, one experiment each.

    Prints each claim with its verdict and the result. Costs are in kernel instructions and no clock is read, so the
    output is the same on every machine.

    \b
    bulkpages claims
    bulkpages claims --only pool-1-2-ns --json
    """
    found = tried(only)
    if as_json:
        put_json(found.rows)
        return
    click.echo(found.text())
