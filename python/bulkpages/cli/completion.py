"""`bulkpages completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    r"""Print a script that makes a shell complete commands, options and file names.

    Where to put it depends on the shell:

    \b
    echo 'eval "$(bulkpages completion bash)"' >> ~/.bashrc        # bash 4.4 or newer
    echo 'eval "$(bulkpages completion zsh)"' >> ~/.zshrc
    bulkpages completion fish > ~/.config/fish/completions/bulkpages.fish
    """
    from bulkpages.cli import main

    found = get_completion_class(shell)
    assert found is not None
    # Not `source()`: it starts the shell to ask for its version, and the script may be made on another machine.
    maker = found(main, {}, "bulkpages", "_BULKPAGES_COMPLETE")
    click.echo(maker.source_template % maker.source_vars(), nl=False)
