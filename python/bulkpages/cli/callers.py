"""`bulkpages callers`: the ports of the kernel's callers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bulkpages import callers as ports
from bulkpages._core import PageArray
from bulkpages.callers.ports import find_caller, port
from bulkpages.callers.words import parse_faults
from bulkpages.cli import complete
from bulkpages.cli.groups import Group
from bulkpages.cli.kernels import kernel_option, rule_option
from bulkpages.cli.output import progress_bar
from bulkpages.eras.rules import TODAY
from bulkpages.errors import ApiMisuse, BulkpagesError, InvalidArgument
from bulkpages.files import write_whole
from bulkpages.machine import Machine
from bulkpages.plain import table

__all__ = ["callers"]

FORMS = ["before", "after", "tracked", "v3"]

# Which callers a study is of.
_only = click.option(
    "--only",
    "only",
    multiple=True,
    shell_complete=complete.callers,
    help="A caller, by part of its name (repeatable).",
)
_today = click.option("--today", is_flag=True, help="The callers of 7.3 instead of those that the patch changes.")


class _Callers(Group):
    """The commands by today's names; `sweep` was the name of `failures`, and `bulkpages sweep` is another thing."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, "failures" if cmd_name == "sweep" else cmd_name)


@click.group(cls=_Callers)
def callers() -> None:
    r"""The kernel functions that call alloc_pages_bulk(), before and after the patch.

    \b
    bulkpages callers list           lists them
    bulkpages callers run            runs one, step by step
    bulkpages callers failures       makes all of them fail everywhere
    bulkpages callers audit          those of 7.3, given a single page although memory is free
    """


@callers.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(as_json: bool) -> None:
    r"""Print the ports: function, kernel file, forms, who makes the array, and the reaction to a short result.

    \b
    bulkpages callers list --json
    """
    if as_json:
        click.echo(json.dumps([asdict(port) for port in ports.PORTS], indent=1))
        return
    rows = [[p.name, p.file, ", ".join(p.forms), p.array, p.short] for p in ports.PORTS]
    click.echo(table(["caller", "file", "forms", "array", "when a call is short"], rows))


def _fault(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    try:
        return parse_faults(values)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from error


@callers.command()
@click.argument("name", shell_complete=complete.callers)
@click.option("--form", type=click.Choice(FORMS), required=True, help="Which form of the function to run.")
@click.option(
    "--explain", "tell", is_flag=True, help="Show every step: what was tested, taken, refilled, and why it ended."
)
@click.option("--shape", help="Array for callers that take one: 'x.x.', where x is a page and . a hole.")
@click.option(
    "--pages", "n", type=click.IntRange(0, 1 << 20), help="Pages that the caller wants; without --shape, slots."
)
@click.option("--have", type=click.IntRange(0), default=0, help="erofs: pages the buffer already has.")
@click.option(
    "--flag",
    "flags",
    multiple=True,
    shell_complete=complete.flags,
    help="A flag for the caller, like nofail; see `callers list --json`.",
)
@click.option("--read-ahead", is_flag=True, help="xfs: the same as --flag read_ahead.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=_fault,
    shell_complete=complete.faults,
    help="STEP or STEP=SUCCESSES: the step that fails, and after how many successes.",
)
@click.option("--max-waits", type=click.IntRange(0), default=3, show_default=True, help="How often a caller may wait.")
@click.option("--memory", default="256MiB", show_default=True, help="Memory of the machine.")
@click.option("--cpus", type=click.IntRange(1, 1024), default=2, show_default=True, help="CPUs of the machine.")
@kernel_option()
@rule_option
@click.option("--memcg", is_flag=True, help="Memory cgroups account kernel pages.")
@click.option("--page-owner", is_flag=True, help="Enable page owner tracking.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def run(
    name: str,
    form: str,
    tell: bool,
    shape: str | None,
    n: int | None,
    have: int,
    flags: tuple[str, ...],
    read_ahead: bool,
    faults: dict[str, Any],
    max_waits: int,
    memory: str,
    cpus: int,
    kernel: str,
    rules: dict[str, bool],
    memcg: bool,
    page_owner: bool,
    as_json: bool,
) -> None:
    r"""Run one caller, and print what it did, left and returned. NAME is its name or a part of it.

    \b
    bulkpages callers run svc --form after --shape x.x.x.x. --explain
    bulkpages callers run svc --form before --shape x.x.x.x. --fault pages=2 --explain
    bulkpages callers run xfs --form after --pages 16 --read-ahead --fault pages=5
    bulkpages callers run io_uring --form before --pages 129 --memcg --explain
    bulkpages callers run fw_iso --form before --pages 64 --kernel 7.3 --cpus 1 --rule smp=no
    """
    try:
        known = port(find_caller(name))
        machine = Machine(memory, cpus, memcg=memcg, page_owner=page_owner, kernel=kernel, rules=rules)
        array: PageArray | None = None
        if known.array == "given":
            if shape is None:
                shape = "." * (8 if n is None else n)
            array = ports.fill_shape(machine, shape)
        elif shape is not None:
            raise click.UsageError(f"--shape is for callers that are given an array; {known.name} takes --pages")
        before = list(array) if array is not None else []
        pages = len(before) if array is not None else known.pages or 64 if n is None else n
        if known.name == "__page_pool_alloc_pages_slow":
            with machine.faults(**faults):
                _run_pool(machine, form, pages, as_json)
            return
        told = [*flags, *(["read_ahead"] if read_ahead else [])]
        with machine.faults(**faults):
            result = ports.run(
                machine,
                known.name,
                array,
                pages=pages,
                have=have,
                flags=told,
                form=form,
                max_waits=max_waits,
                explain=tell,
            )
    except ApiMisuse as error:
        raise click.ClickException(f"the kernel would stop here: {error}") from error
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=1))
    elif tell:
        from bulkpages.callers.explain import explain

        click.echo(explain(machine, known.name, form, before, result))
    else:
        from bulkpages.callers.explain import brief

        click.echo(brief(known.name, form, before, result))


def _run_pool(machine: Machine, form: str, pages: int, as_json: bool) -> None:
    pool = ports.PagePool(machine, form=form)
    out = [pool.alloc() for _ in range(pages)]
    info = {
        "pages": sum(page is not None for page in out),
        "bulk_calls": list(pool.bulk_calls),
        "hold_cnt": pool.hold_cnt,
        "slot_tests": pool.slot_tests,
        "slot_writes": pool.slot_writes,
        "slot_clears": pool.slot_clears,
        "stats": dict(pool.stats),
        "trace": list(pool.trace),
    }
    if as_json:
        click.echo(json.dumps(info, indent=1))
        return
    for key, value in info.items():
        if key != "trace":
            click.echo(f"{key:<12}{value}")


def _progress(label: str) -> tuple[Any, Any]:
    bar = progress_bar()
    task = bar.add_task(label, total=None)

    def tell(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total or None)

    return bar, tell


@callers.command("failures")
@_only
@_today
@click.option(
    "--largest", type=click.IntRange(1, 1100), default=1100, show_default=True, help="Largest array, in slots."
)
@click.option(
    "--pairs-up-to",
    type=click.IntRange(0, 64),
    default=16,
    show_default=True,
    help="Largest array on which failures are paired.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads; all processors by default.")
@kernel_option(told="6.12; with --today 7.3")
@rule_option
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for sweep.json, sweep.txt, sweep.svg, sweep.png."
)
def failures(
    only: tuple[str, ...],
    today: bool,
    largest: int,
    pairs_up_to: int,
    threads: int | None,
    kernel: str | None,
    rules: dict[str, bool],
    as_json: bool,
    output: Path | None,
) -> None:
    r"""Make every branch of the allocator fail at every index, under every caller, form and array shape.

    Prints totals, who leaks a page, corrupts memory or crashes, and where the forms differ. Exit 1 if anybody does.
    With --output, every run goes to sweep.json.

    \b
    bulkpages callers failures
    bulkpages callers failures --today
    bulkpages callers failures --kernel 6.1
    bulkpages callers failures --only btrfs --largest 64 --output results/btrfs
    """
    from bulkpages.callers.sweep import failure_sweep

    bar, tell = _progress("sweep")
    try:
        with bar:
            result = failure_sweep(
                only,
                today=today,
                largest=largest,
                pairs_up_to=pairs_up_to,
                threads=threads,
                kernel=kernel,
                rules=rules,
                progress=tell,
            )
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if output is not None:
        from bulkpages.callers.pictures import write_sweep_picture

        write_whole(output / "sweep.json", json.dumps(result.to_dict()))
        write_whole(output / "sweep.txt", result.text() + "\n")
        for ending in ("svg", "png"):
            write_sweep_picture(result, output / f"sweep.{ending}")
    click.echo(json.dumps(result.to_dict()) if as_json else result.text())
    if result.wrongs():
        sys.exit(1)


@callers.command()
@_only
@_today
@click.option(
    "--largest", type=click.IntRange(1, 1100), default=300, show_default=True, help="Largest array, in slots."
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads; all processors by default.")
@kernel_option(told="6.12; with --today 7.3")
@rule_option
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def misuse(
    only: tuple[str, ...],
    today: bool,
    largest: int,
    threads: int | None,
    kernel: str | None,
    rules: dict[str, bool],
    as_json: bool,
) -> None:
    r"""Put one wrong line into each caller, once for each common mistake, and count the consequences.

    Prints the score of each version of the API.

    \b
    bulkpages callers misuse --only svc
    bulkpages callers misuse --today --kernel 7.3
    """
    from bulkpages.callers.sweep import misuse_score

    bar, tell = _progress("misuse")
    try:
        with bar:
            result = misuse_score(
                only, today=today, largest=largest, threads=threads, kernel=kernel, rules=rules, progress=tell
            )
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    click.echo(json.dumps(result.to_dict()) if as_json else result.text())


@callers.command()
@click.option(
    "--pages", type=click.IntRange(2, 1024), default=16, show_default=True, help="Pages each caller asks for."
)
@kernel_option(TODAY)
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for audit.json, audit.txt, audit.svg, audit.png."
)
def audit(pages: int, kernel: str, as_json: bool, output: Path | None) -> None:
    r"""Run every caller of 7.3 in the five situations in which a bulk call returns one page although memory is free.

    Prints which callers retry, work with less, or fail, and whose error path corrupts memory. Each line of the table
    has the command that shows it.

    \b
    bulkpages callers audit
    bulkpages callers audit --pages 129 --output results/audit
    """
    bar, tell = _progress("audit")
    with bar:
        result = ports.audit(pages=pages, kernel=kernel, progress=tell)
    if output is not None:
        from bulkpages.callers.pictures import write_audit_picture

        write_whole(output / "audit.json", json.dumps(result.to_dict()))
        write_whole(output / "audit.txt", result.text() + "\n")
        for ending in ("svg", "png"):
            write_audit_picture(result, output / f"audit.{ending}")
    click.echo(json.dumps(result.to_dict()) if as_json else result.text())


@callers.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def tables(as_json: bool) -> None:
    r"""Print small examples, marks and differences of the callers, each from a run made now.

    \b
    bulkpages callers tables
    """
    from bulkpages.callers.tables import differences, marks, micro_examples

    micro, mark, differ = micro_examples(), marks(), differences()
    if as_json:
        click.echo(json.dumps({"micro": micro, "marks": mark, "differences": [asdict(d) for d in differ]}, indent=1))
        return

    def call(side: dict[str, Any]) -> str:
        if not side["calls"]:
            return "no call"
        base, n, ret = side["calls"][0]
        return f"({n}, array + {base}) = {ret}" if base else f"({n}, array) = {ret}"

    click.echo("First call of svc_alloc_arg (x page, o new page, . hole):\n")
    head = ["array", "what fails", "before", "path", "leaves", "after", "path", "leaves"]
    rows = []
    for row in micro:
        faults = ", ".join(k if v is True else f"{k}={v}" for k, v in row["faults"].items()) or "-"
        cells = [row["array"], faults]
        for form in ("before", "after"):
            cells += [call(row[form]), row[form]["path"], row[form]["first_call_array"]]
        rows.append(cells)
    click.echo(table(head, rows))
    click.echo("\nPages that a zone must have above its low mark for the first call to take the batch path:\n")
    head = ["caller", "input", "form", "slots passed", "mark"]
    click.echo(table(head, [[r["caller"], r["input"], r["form"], r["slots"], f"LOW+{r['mark']}"] for r in mark]))
    click.echo("\nDifferences:\n")
    click.echo(table(["", "what", "before", "after"], [[d.key, d.what, d.before, d.after] for d in differ]))
