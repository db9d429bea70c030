"""The options that name a kernel series, for every command that makes machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bulkpages.cli import complete
from bulkpages.eras.rules import DEFAULT, ERAS, parse_rules
from bulkpages.errors import InvalidArgument

__all__ = ["kernel_option", "rule_option"]

F = TypeVar("F", bound=Callable[..., Any])


def kernel_option(default: str = DEFAULT, *, told: str = "") -> Callable[[F], F]:
    """`--kernel`: one of the eras.

    Args:
        default: Which when it is left out.
        told: What the help says of the default; the era itself when empty.
    """
    return click.option(
        "--kernel",
        type=click.Choice(list(ERAS)),
        default=None if told else default,
        show_default=told or True,
        help="Kernel series to emulate.",
    )


def _rules(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, bool]:
    try:
        return parse_rules(values)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from error


#: `--rule NAME=yes|no`, as a mapping for `Machine(rules=...)`.
rule_option = click.option(
    "--rule",
    "rules",
    multiple=True,
    callback=_rules,
    metavar="NAME=yes|no",
    shell_complete=complete.rules,
    help="Change one rule of the kernel (repeatable).",
)
