"""`bulkpages cost`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from bulkpages.cli.groups import meant
from bulkpages.cli.output import put_json
from bulkpages.errors import InvalidArgument


class _OrRows(click.Group):
    """A group whose first argument may be a file instead of a command."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; that of files for any other."""
        return self.commands.get(cmd_name, self.commands["rows"])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Options of the rows may stand in front of the file.
        if args and args[0] not in self.commands and not set(args) & {"-h", "--help"}:
            word = args[0]
            if not word.startswith("-") and not Path(word).exists() and (close := meant(word, self.commands)):
                raise click.UsageError(f"{word!r} is neither a file nor a command.{close}", ctx)
            args = ["rows", *args]
        return super().parse_args(ctx, args)


def _load(path: str) -> list[Any]:
    try:
        found = json.loads(sys.stdin.read() if path == "-" else Path(path).read_text())
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list):
        raise InvalidArgument(f'{path}: an object with a list "rows" is needed')
    rows: list[Any] = found["rows"]
    return rows


@click.group(cls=_OrRows, subcommand_metavar="FILE.json | COMMAND [ARGS]...")
def cost() -> None:
    r"""Print what fills cost the kernel, in instructions: measured where possible, otherwise predicted.

    FILE.json holds {"rows": [{"caller", "form", "condition", "pattern"}, ...]}. The pattern is the array before the
    fill: x is a page, . a hole. `-` reads stdin. The rows are one series on one machine.

    \b
    bulkpages cost rows.json
    bulkpages cost rows.json --json --predicted-only
    bulkpages cost fit --check
    """


@cost.command(name="rows")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print the rows with their instructions, and the pairs, as JSON.")
@click.option("--predicted-only", is_flag=True, help="Also predict the rows that were measured.")
@click.option("--kernel", default="6.12", show_default=True, help="Kernel version whose costs are asked for.")
def rows(file: str, as_json: bool, predicted_only: bool, kernel: str) -> None:
    r"""Print the cost of each row of FILE, and of each form against the first one.

    The same as `bulkpages cost FILE.json`.

    \b
    bulkpages cost rows rows.json --json
    """
    from bulkpages import cost as model
    from bulkpages.cost.text import table_text

    table = model.rows(_load(file), predicted_only, kernel=kernel)
    if as_json:
        put_json(table.to_dict())
    else:
        click.echo(table_text(table))


@cost.command()
@click.argument("kernel", required=False, type=click.Path(exists=True, file_okay=False), metavar="[DIR]")
@click.option("--check", is_flag=True, help="Compare with the stored fit; exit 1 if they differ.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write the fit to this file.")
@click.option("--picture", type=click.Path(dir_okay=False), help="Draw the errors into this SVG or PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print the fit as JSON.")
def fit(kernel: str | None, check: bool, output: str | None, picture: str | None, as_json: bool) -> None:
    r"""Repeat the fit of the steps' costs, and show the errors of the model.

    Takes a few seconds, because the emulator repeats the stored measurements. The numbers are the same on every
    machine. Prints each step with its cost and error, and the errors of predictions.

    With DIR, a kernel from `bulkpages kernel build`, runs the same fills in that kernel's own functions (half a
    minute, with qemu) and fits the costs to the results.

    \b
    bulkpages cost fit --check
    bulkpages cost fit linux-6.12.117
    bulkpages cost fit --picture errors.svg
    """
    if kernel is not None:
        if check or picture:
            raise InvalidArgument("--check and --picture are for the stored fit, not for a kernel's")
        _fit_kernel(kernel, output, as_json)
        return
    from bulkpages.cost import data
    from bulkpages.cost.fit import fit as fit_again
    from bulkpages.cost.fit import same, to_json
    from bulkpages.cost.text import fit_text
    from bulkpages.files import write_whole

    found = fit_again()
    if output:
        write_whole(output, to_json(found.stored))
    if picture:
        from bulkpages.cost.pictures import draw_errors

        draw_errors(found, picture)
    click.echo(to_json(found.stored) if as_json else fit_text(found.stored), nl=not as_json)
    if check and (different := same(data.costs(), found.stored)):
        raise click.ClickException("the stored fit differs: " + "; ".join(different))


def _fit_kernel(folder: str, output: str | None, as_json: bool) -> None:
    from bulkpages.files import write_whole
    from bulkpages.kernel import open_kernel
    from bulkpages.kernel.costs import fit_kernel, kernel_fit_text

    found = fit_kernel(open_kernel(folder))
    if output:
        write_whole(output, json.dumps(found.to_json(), indent=1) + "\n")
    if as_json:
        put_json(found.to_json())
    else:
        click.echo(kernel_fit_text(found))
