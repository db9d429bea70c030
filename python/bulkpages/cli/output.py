"""What commands share: progress on stderr, JSON on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["progress_bar", "put_json"]


def progress_bar(*columns: str | ProgressColumn) -> Progress:
    """A progress bar on stderr, gone when it is done; nothing where stderr is no terminal.

    Args:
        columns: What it shows; left out: what is done of how much, the time gone and the time left.
    """
    shown = columns or (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    return Progress(*shown, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def put_json(value: Any) -> None:
    """JSON on stdout."""
    click.echo(json.dumps(value, indent=1))
