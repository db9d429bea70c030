"""The command `bulkpages`: data on stdout, progress on stderr.

Exit codes: 0 done, 1 found something or failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from bulkpages import __version__
from bulkpages.cli.groups import Group
from bulkpages.cli.pipes import keep_exit_codes
from bulkpages.errors import ApiMisuse, BulkpagesError, InvalidArgument, SnapshotError

__all__ = ["main"]

# An interrupt, as a shell says it.
INTERRUPTED = 130

# Why some commands have no --kernel.
_WITHOUT_KERNEL = "a state says of which it is, a sweep file has a key for it, and stress and bench run 6.12."

# Commands are imported when asked for: some of them draw pictures.
COMMANDS = {
    "bench": ("bulkpages.cli.bench", "bench"),
    "callers": ("bulkpages.cli.callers", "callers"),
    "claims": ("bulkpages.cli.claims", "claims"),
    "compare": ("bulkpages.cli.compare", "compare"),
    "completion": ("bulkpages.cli.completion", "completion"),
    "conform": ("bulkpages.cli.conform", "conform"),
    "cost": ("bulkpages.cli.cost", "cost"),
    "doctor": ("bulkpages.cli.doctor", "doctor"),
    "eras": ("bulkpages.cli.eras", "eras"),
    "explore": ("bulkpages.cli.explore", "explore"),
    "kernel": ("bulkpages.cli.kernel", "kernel"),
    "replay": ("bulkpages.cli.replay", "replay"),
    "review": ("bulkpages.cli.review", "review"),
    "show": ("bulkpages.cli.show", "show"),
    "snapshot": ("bulkpages.cli.snapshot", "snapshot"),
    "stress": ("bulkpages.cli.stress", "stress"),
    "sweep": ("bulkpages.cli.sweep", "sweep"),
    "trace": ("bulkpages.cli.trace", "trace"),
    "why": ("bulkpages.cli.why", "why"),
}


def _keep_lines(command: click.Command) -> None:
    """Lets click see the mark of a paragraph that is not wrapped: docstrings, being raw, hold it as two characters."""
    if command.help:
        command.help = command.help.replace("\\b\n", "\b\n")
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _keep_lines(inner)


class LazyGroup(Group):
    """A group whose commands live in modules of their own; says what went wrong in one line, by the exit code too."""

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
        _keep_lines(command)
        return command

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs the command line."""
        keep_exit_codes()
        return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; what it raises becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except click.NoSuchOption as error:
            if error.option_name != "--kernel" or error.ctx is None:
                raise
            said = f"{error.message} {error.ctx.command_path} makes no machine of a kernel's series; {_WITHOUT_KERNEL}"
            raise click.UsageError(said, error.ctx) from error
        except (InvalidArgument, SnapshotError, ApiMisuse) as error:
            raise click.UsageError(str(error)) from error
        except BulkpagesError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bulkpages")
def main() -> None:
    r"""Evidence about Linux's page allocator: alloc_pages_bulk(), mainline against patched.

    \b
    bulkpages compare --quick        the answer, in under a minute
    bulkpages callers failures       what the change does to callers when things go wrong
    bulkpages conform DIR            replays recordings of a real kernel
    bulkpages sweep SPEC.toml        an experiment of your own, on all cores or a cluster
    bulkpages doctor                 what can be measured here

    Results go to stdout, progress to stderr. Exit codes: 0 done, 1 found something or failed, 2 wrong usage, 130
    interrupted. NO_COLOR and FORCE_COLOR are honoured; `bulkpages completion bash` prints what a shell needs to
    complete these commands.
    """


_keep_lines(main)
