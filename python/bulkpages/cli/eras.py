"""`bulkpages eras`."""

from __future__ import annotations

import textwrap

import click

from bulkpages.cli.output import put_json
from bulkpages.eras import ERAS, RULES, Rule


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


@click.command()
@click.argument("names", nargs=-1, metavar="[RULE]...")
@click.option("--json", "as_json", is_flag=True, help="Print eras and rules as JSON.")
def eras(names: tuple[str, ...], as_json: bool) -> None:
    r"""List the kernels that a machine can work like, and the rules in which they differ.

    Without RULE: a table of every rule, since when it holds, and in which era. With RULE: what it says, which kernel
    functions changed, and which commit did it, where that is known. A machine takes each rule alone too:
    Machine(kernel="6.12", rules={"bulk_mark_excludes_prefix": True}).

    \b
    bulkpages eras
    bulkpages eras pcp_high_tuned claim_then_steal
    bulkpages eras --json
    """
    unknown = [name for name in names if name not in RULES]
    if unknown:
        raise click.UsageError(f"no rule is called {unknown[0]!r}; `bulkpages eras` lists them")
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
