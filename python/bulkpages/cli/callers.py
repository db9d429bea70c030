"""`bulkpages callers`: the ports of the kernel's callers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from bulkpages import callers as ports
from bulkpages._core import PageArray
from bulkpages.callers.text import table
from bulkpages.callers.words import find_caller, parse_faults
from bulkpages.cli import complete
from bulkpages.cli.groups import Group
from bulkpages.cli.output import progress_bar
from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.files import write_whole
from bulkpages.machine import Machine

__all__ = ["callers"]

FORMS = ["before", "after", "tracked", "v3"]


@click.group(cls=Group)
def callers() -> None:
    r"""The kernel functions that call alloc_pages_bulk(), before and after the patch.

    \b
    bulkpages callers list           which there are
    bulkpages callers run            one of them, step by step
    bulkpages callers sweep          all of them, stopped everywhere
    """


@callers.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(as_json: bool) -> None:
    r"""List the ports on stdout: function, kernel file, forms.

    \b
    bulkpages callers list --json
    """
    if as_json:
        rows = [{"name": name, "file": file, "forms": forms} for name, file, forms in ports.CALLERS]
        click.echo(json.dumps(rows, indent=1))
        return
    click.echo(table(["caller", "file", "forms"], [[n, f, ", ".join(forms)] for n, f, forms in ports.CALLERS]))


def _fault(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    try:
        return parse_faults(values)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from error


@callers.command()
@click.argument("name", shell_complete=complete.callers)
@click.option("--form", type=click.Choice(FORMS), required=True, help="Which text of the function runs.")
@click.option(
    "--explain", "tell", is_flag=True, help="Step by step: what was tested, taken, refilled, and why it ended."
)
@click.option("--shape", help="Array for svc and btrfs: a picture like 'x.x.', x a page and . a hole.")
@click.option(
    "--pages", "n", type=click.IntRange(0), help="Pages for vfio, erofs, xfs, page_pool; slots without --shape."
)
@click.option("--have", type=click.IntRange(0), default=0, help="erofs: pages that the buffer has.")
@click.option("--read-ahead", is_flag=True, help="xfs: the buffer is only read ahead.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=_fault,
    shell_complete=complete.faults,
    help="STEP or STEP=SUCCESSES: what fails, and after how many successes.",
)
@click.option("--max-waits", type=click.IntRange(0), default=3, show_default=True, help="Waits granted.")
@click.option("--memory", default="256MiB", show_default=True, help="Memory of the machine.")
@click.option("--memcg", is_flag=True, help="Memory cgroups account kernel pages.")
@click.option("--page-owner", is_flag=True, help="Page owner tracking is on.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def run(
    name: str,
    form: str,
    tell: bool,
    shape: str | None,
    n: int | None,
    have: int,
    read_ahead: bool,
    faults: dict[str, Any],
    max_waits: int,
    memory: str,
    memcg: bool,
    page_owner: bool,
    as_json: bool,
) -> None:
    r"""Run one caller, and print what it returned, left and did. NAME is its name or a part of it.

    \b
    bulkpages callers run svc --form after --shape x.x.x.x. --explain
    bulkpages callers run svc --form before --shape x.x.x.x. --fault pages=2 --explain
    bulkpages callers run xfs --form after --pages 16 --read-ahead --fault pages=5
    """
    try:
        name = find_caller(name)
        machine = Machine(memory, memcg=memcg, page_owner=page_owner)
        options: dict[str, Any] = {"form": form, "max_waits": max_waits, "explain": tell}
        if name in {"svc_alloc_arg", "btrfs_alloc_page_array"}:
            array = ports.fill_shape(machine, shape if shape is not None else "." * (8 if n is None else n))
            before = list(array)
        elif shape is not None:
            raise click.UsageError(f"--shape is for svc_alloc_arg and btrfs_alloc_page_array; {name} takes --pages")
        else:
            array, before = PageArray(0), []
        pages = 64 if n is None else n
        with machine.faults(**faults):
            match name:
                case "svc_alloc_arg":
                    result = ports.svc_alloc_arg(machine, array, len(array), **options)
                case "btrfs_alloc_page_array":
                    result = ports.btrfs_alloc_page_array(machine, array, **options)
                case "z_erofs_gbuf_growsize":
                    result = ports.z_erofs_gbuf_growsize(machine, have=have, nrpages=pages, **options)
                case "xfs_buf_alloc_pages":
                    result = ports.xfs_buf_alloc_pages(machine, pages, read_ahead=read_ahead, **options)
                case "virtiovf_add_migration_pages":
                    result = ports.virtiovf_add_migration_pages(machine, pages, **options)
                case _:
                    _run_pool(machine, form, pages, as_json)
                    return
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=1))
    elif tell:
        from bulkpages.callers.explain import explain

        click.echo(explain(machine, name, form, before, result))
    else:
        click.echo(repr(result))


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


@callers.command()
@click.option(
    "--only",
    "only",
    multiple=True,
    shell_complete=complete.callers,
    help="A caller, by a part of its name; may be given several times.",
)
@click.option(
    "--largest", type=click.IntRange(1, 1100), default=1100, show_default=True, help="Largest array, in slots."
)
@click.option(
    "--pairs-up-to", type=click.IntRange(0, 64), default=16, show_default=True, help="Largest array with pairs."
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads; all processors by default.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for sweep.json, sweep.txt, sweep.svg, sweep.png."
)
def sweep(
    only: tuple[str, ...],
    largest: int,
    pairs_up_to: int,
    threads: int | None,
    as_json: bool,
    output: Path | None,
) -> None:
    r"""Stop the allocator at every index of every branch, under every caller, form and array shape.

    Prints the totals and where the forms differ to stdout; with --output, every run goes into sweep.json. Exit 1 when
    right code leaks a page, leaves memory wrong or crashes.

    \b
    bulkpages callers sweep
    bulkpages callers sweep --only btrfs --largest 64 --output results/btrfs
    """
    from bulkpages.callers.sweep import failure_sweep

    bar, tell = _progress("sweep")
    try:
        with bar:
            result = failure_sweep(only, largest=largest, pairs_up_to=pairs_up_to, threads=threads, progress=tell)
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if output is not None:
        from bulkpages.callers.pictures import write_sweep_picture

        write_whole(output / "sweep.json", json.dumps(result.to_dict()))
        write_whole(output / "sweep.txt", result.text() + "\n")
        for ending in ("svg", "png"):
            write_sweep_picture(result, output / f"sweep.{ending}")
    click.echo(json.dumps(result.to_dict()) if as_json else result.text())
    if any(any(row["leaked"]) or any(row["corrupt"]) or "crash" in row["ret"] for row in result.rows):
        sys.exit(1)


@callers.command()
@click.option(
    "--only",
    "only",
    multiple=True,
    shell_complete=complete.callers,
    help="A caller, by a part of its name; may be given several times.",
)
@click.option(
    "--largest", type=click.IntRange(1, 1100), default=300, show_default=True, help="Largest array, in slots."
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads; all processors by default.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def misuse(only: tuple[str, ...], largest: int, threads: int | None, as_json: bool) -> None:
    r"""Put one wrong line into each caller, in each way that people get it wrong, and count what comes of it.

    The score of each version of the API goes to stdout.

    \b
    bulkpages callers misuse --only svc
    """
    from bulkpages.callers.sweep import misuse_score

    bar, tell = _progress("misuse")
    try:
        with bar:
            result = misuse_score(only, largest=largest, threads=threads, progress=tell)
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    click.echo(json.dumps(result.to_dict()) if as_json else result.text())


@callers.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def tables(as_json: bool) -> None:
    r"""Small examples, marks and numbered differences of the callers, each from a run made now, on stdout.

    \b
    bulkpages callers tables
    """
    from dataclasses import asdict

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
    click.echo("\nPages that a zone must have above its low mark for the first call to go by the batch:\n")
    head = ["caller", "input", "form", "slots passed", "mark"]
    click.echo(table(head, [[r["caller"], r["input"], r["form"], r["slots"], f"LOW+{r['mark']}"] for r in mark]))
    click.echo("\nNumbered differences:\n")
    click.echo(table(["", "what", "before", "after"], [[d.number, d.what, d.before, d.after] for d in differ]))
