"""What every group of commands does: a mistyped word is answered with the one that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click

__all__ = ["Group", "meant"]


def meant(word: str, known: Iterable[str]) -> str:
    """A question with the known words that are close to this one; empty when none is.

    Args:
        word: What was typed.
        known: What could have been meant.
    """
    close = difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.6)
    if not close:
        return ""
    names = [f"'{name}'" for name in close]
    return f" Did you mean {' or '.join([', '.join(names[:-1]), names[-1]] if len(names) > 1 else names)}?"


class Group(click.Group):
    """A group of commands that suggests one for a word that is none."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(error.message + meant(args[0], self.list_commands(ctx)), ctx) from error
