"""Progress on stderr."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["progress_bar"]


def progress_bar(*columns: str | ProgressColumn, always: bool = False) -> Progress:
    """A progress bar on stderr, gone when it is done; nothing where stderr is no terminal.

    Args:
        columns: What it shows; left out: what is done of how much, the time gone and the time left.
        always: Whether it is shown where stderr is no terminal, too, as in a notebook.
    """
    shown = columns or (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(separator=" of "),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    return Progress(*shown, console=Console(stderr=True), transient=True, disable=not (always or sys.stderr.isatty()))
