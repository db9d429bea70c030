"""The command `bulkpages`: data on stdout, progress on stderr; exit 0 done, 1 found or failed, 2 usage."""

from __future__ import annotations

import importlib
from typing import Any

import click

from bulkpages import __version__

__all__ = ["main"]

# Commands are imported when asked for: some of them draw pictures.
COMMANDS = {
    "bench": ("bulkpages.cli.bench", "bench"),
    "callers": ("bulkpages.cli.callers", "callers"),
    "claims": ("bulkpages.cli.claims", "claims"),
    "compare": ("bulkpages.cli.compare", "compare"),
    "conform": ("bulkpages.cli.conform", "conform"),
    "doctor": ("bulkpages.cli.doctor", "doctor"),
    "replay": ("bulkpages.cli.replay", "replay"),
    "show": ("bulkpages.cli.show", "show"),
    "trace": ("bulkpages.cli.trace", "trace"),
    "explore": ("bulkpages.cli.explore", "explore"),
    "stress": ("bulkpages.cli.stress", "stress"),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: Any = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bulkpages")
def main() -> None:
    """Evidence about Linux's page allocator: alloc_pages_bulk() v1 against v2.

    \b
    bulkpages compare --quick        the answer, in under a minute
    bulkpages callers sweep          what the change does to callers when things go wrong
    bulkpages conform FILE...        replays recordings of a real kernel
    """  # noqa: D301
