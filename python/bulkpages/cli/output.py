"""What commands share: progress on stderr, JSON on stdout."""

from __future__ import annotations

import json
from typing import Any

import click

from bulkpages.progress import progress_bar

__all__ = ["progress_bar", "put_json"]


def put_json(value: Any) -> None:
    """JSON on stdout."""
    click.echo(json.dumps(value, indent=1))
