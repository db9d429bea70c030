"""`bulkpages eras`."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import click

from bulkpages.cli import complete
from bulkpages.cli.groups import Group, meant
from bulkpages.cli.output import put_json
from bulkpages.eras import ERAS, RULES, Rule
from bulkpages.files import write_whole

__all__ = ["eras"]


def _table() -> str:
    """One line a rule, one column an era."""
    width = max(map(len, RULES))
    lines = [f"{'rule':{width}}  {'since':>6}  " + "  ".join(f"{name:>5}" for name in ERAS)]
    for rule in RULES.values():
        holds = "  ".join(f"{'yes' if era.rules[rule.name] else '-':>5}" for era in ERAS.values())
        lines.append(f"{rule.name:{width}}  {rule.since:>6}  {holds}")
    return "\n".join(lines)


def _explained(rule: Rule) -> str:
    """What one rule says."""
    lines = [rule.name, textwrap.indent(textwrap.fill(rule.text, 100), "  ")]
    lines.append(f"  changed: {', '.join(f'{name}()' for name in rule.functions)}")
    if rule.since:
        lines.append(f"  since {rule.since}" + (f": {rule.commit}" if rule.commit else ""))
    elif rule.commit:
        lines.append(f"  by: {rule.commit}")
    return "\n".join(lines)


class _OrRules(Group):
    """A group whose words are rules when they are no command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; rules go to the command that tells of them."""
        if args and args[0] not in self.commands:
            args = ["rules", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a word, too, it is the rules."""
        helps = set(ctx.help_option_names)
        if not args or (args[0].startswith("-") and args[0] not in helps):
            args = ["rules", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_OrRules)
def eras() -> None:
    r"""Print the kernels that a machine can behave like, and the rules in which they differ; identify a kernel tree.

    \b
    bulkpages eras                           every rule, its first release, and the eras in which it holds
    bulkpages eras pcp_high_tuned            what one rule means, and which functions changed
    bulkpages eras identify ~/linux          which rules hold in a kernel tree
    bulkpages eras patch                     what the patch of the bulk call does in each kernel
    """


@eras.command("rules")
@click.argument("names", nargs=-1, metavar="[RULE]...", shell_complete=complete.rule_names)
@click.option("--json", "as_json", is_flag=True, help="Print eras and rules as JSON.")
def rules_(names: tuple[str, ...], as_json: bool) -> None:
    r"""Print the rules; the word `rules` may be left out.

    Without RULE, prints a table of every rule, its first release, and the eras in which it holds. With RULE, prints
    what it means, which kernel functions changed and, if known, in which commit. A machine can switch single rules:
    Machine(kernel="6.12", rules={"bulk_mark_excludes_prefix": True}).

    \b
    bulkpages eras rules
    bulkpages eras pcp_high_tuned claim_then_steal
    bulkpages eras --json
    """
    unknown = [name for name in names if name not in RULES]
    if unknown:
        close = meant(unknown[0], [*RULES, *eras.commands])
        raise click.UsageError(f"there is no rule {unknown[0]!r}; `bulkpages eras` lists them.{close}")
    chosen = [RULES[name] for name in names] or list(RULES.values())
    if as_json:
        put_json(
            {
                "eras": {era.name: {"recorded": era.recorded, "rules": dict(era.rules)} for era in ERAS.values()},
                "rules": {
                    rule.name: {
                        "text": rule.text,
                        "functions": list(rule.functions),
                        "since": rule.since or None,
                        "commit": rule.commit or None,
                    }
                    for rule in chosen
                },
            }
        )
    elif names:
        click.echo("\n\n".join(map(_explained, chosen)))
    else:
        click.echo(_table())
        recorded = ", ".join(f"{era.name} by {era.recorded}" for era in ERAS.values())
        click.echo(f"\nRecordings hold each era to the last page: {recorded}.")


@eras.command()
@click.argument("tree", type=click.Path(path_type=Path))
@click.option(
    "--known",
    type=click.Path(path_type=Path),
    help="Fingerprints to compare with, from `bulkpages eras fingerprint`; by default those of the eras.",
)
@click.option("--all", "everything", is_flag=True, help="List known functions too.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def identify(tree: Path, known: Path | None, everything: bool, as_json: bool) -> None:
    r"""Print which rules hold in a kernel TREE (a directory or a tarball), and which of its functions no era has.

    Each modelled function is compared with the eras by its text without comments and layout. One that none has is
    shown: its lines that differ from the nearest, and how many statements it lacks. Its rules are told by expressions
    in its text. The tree is only read. Exit 1 when a function is unknown.

    \b
    bulkpages eras identify ~/linux
    bulkpages eras identify /usr/src/linux-source-6.12.tar.xz --json
    """
    from bulkpages.eras import identify as find

    found = find(tree, known=known)
    if as_json:
        put_json(found.to_dict())
    else:
        click.echo(found.text(everything=everything))
    if found.unknown:
        sys.exit(1)


@eras.command()
@click.option(
    "--kernel", "kernels", multiple=True, type=click.Choice(list(ERAS)), help="Only this kernel (repeatable)."
)
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def patch(kernels: tuple[str, ...], as_json: bool) -> None:
    r"""Run callers, mainline and patched, on machines of each kernel.

    Prints calls, slot work, and what is done under the lock of the per-CPU lists. The patch is that of February 2025.
    Nothing here is a time. Instructions are in `bulkpages compare --kernel`.

    \b
    bulkpages eras patch
    bulkpages eras patch --kernel 7.3 --json
    """
    from bulkpages.eras import patch as run

    found = run(kernels)
    if as_json:
        put_json(found.to_dict())
    else:
        click.echo(found.text())


@eras.command()
@click.argument("trees", nargs=-1, required=True, metavar="ERA=TREE...", shell_complete=complete.trees)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Output file; default stdout.")
def fingerprint(trees: tuple[str, ...], output: Path | None) -> None:
    r"""Make the table of fingerprints that `identify` compares with: hashes of functions, no source text.

    ERA names one of the eras. The table that is shipped was made from the source packages of Debian:

    \b
    bulkpages eras fingerprint 6.1=linux-source-6.1.tar.xz 6.12=linux-source-6.12.tar.xz 7.3=linux-source-7.3.tar.xz
    """
    from bulkpages.eras import fingerprint as make

    named: dict[str, str] = {}
    for word in trees:
        era, equals, tree = word.partition("=")
        if not equals or not tree:
            raise click.UsageError(f"{word!r} is not ERA=TREE")
        if era in named:
            raise click.UsageError(f"{era} is given twice: {named[era]} and {tree}")
        named[era] = tree
    text = json.dumps(make(named), indent=1)
    if output is None:
        click.echo(text)
    else:
        write_whole(output, text + "\n")
