"""`bulkpages kernel`: a real kernel in the loop."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bulkpages.cli import complete
from bulkpages.cli.output import progress_bar, put_json
from bulkpages.errors import InvalidArgument

__all__ = ["kernel", "progress_of"]


@contextlib.contextmanager
def progress_of() -> Iterator[Callable[[str, float], None]]:
    """A bar that follows what is told to it: what is done, and which share of it (below 0: not known)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as progress:
        task = progress.add_task("", total=1.0)
        now = [""]

        def say(what: str, share: float) -> None:
            part = what.split(":", 1)[0]
            if part != now[0] and not part.startswith(("round", "seed", "shrinking")):
                # Another job: its time is its own.
                progress.reset(task, total=1.0)
                now[0] = part
            progress.update(task, description=what, completed=max(0.0, share), total=None if share < 0 else 1.0)

        yield say


@click.group()
def kernel() -> None:
    r"""A real kernel, built from your tree: measured by the same cells, and the emulator checked against it.

    No root, no reboot; nothing is written into the tree.

    \b
    bulkpages kernel build ~/linux           minutes; the next one only what changed
    bulkpages kernel bench linux-6.12.117    cycles and exact instructions of its own callers
    bulkpages kernel check linux-6.12.117    is the emulator exact for it?
    """


@kernel.command("build")
@click.argument("tree", required=False, type=click.Path())
@click.option(
    "--patch",
    "patches",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Patch to apply to the copy (repeatable).",
)
@click.option("--output", type=click.Path(file_okay=False), help="Folder of the result; default linux-VERSION.")
@click.option(
    "--work",
    type=click.Path(file_okay=False),
    help="Folder of the copy and the object files; by default in the cache.",
)
@click.option("--debug-info", is_flag=True, help="With debugging information, for drgn.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Parallel compilers for each of the two kernels; default one per processor.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was built as JSON.")
def build_(
    tree: str | None,
    patches: tuple[str, ...],
    output: str | None,
    work: str | None,
    debug_info: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    r"""Build the kernel of TREE twice: as a program of this machine for cycles, and for several CPUs under qemu.

    TREE is a directory or a tarball; left out, the distribution's package of sources. It is only read: a copy is built,
    with the harness behind the files whose functions are measured. Prints the folder of the result on stdout. Ctrl-C
    stops; the same command goes on where it was.

    \b
    bulkpages kernel build ~/linux
    bulkpages kernel build ~/linux --patch my.patch --output patched
    """
    from bulkpages.kernel import build
    from bulkpages.kernel.patches import read_patches

    read = [patch for path in patches for patch in read_patches(Path(path).read_bytes(), path)]
    with progress_of() as say:
        made = build(tree, patches=read, output=output, work=work, debug_info=debug_info, jobs=jobs, say=say)
    if as_json:
        put_json({**vars(made), "folder": str(made.folder)})
        return
    click.echo(f"{made.folder}: Linux {made.version}, {len(made.patches)} patches, {made.compiler}")
    click.echo(f"the bulk function {_SEMANTICS[made.semantics]}")
    for path in made.not_built:
        click.echo(f"not compiled in these kernels: {path}")
    for function, why in made.absent.items():
        click.echo(f"no cells of {function}(): {why}")
    if not made.records:
        click.echo(f"cannot be checked against the emulator: {made.why_not}")


_SEMANTICS = {"null_only": "fills only slots that are NULL (v1)", "output_only": "overwrites every slot (v2)"}


@kernel.command("bench")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option(
    "--rounds",
    type=click.IntRange(2, 1000),
    default=12,
    show_default=True,
    help="Starts of each kernel; each measures twice.",
)
@click.option(
    "--only",
    multiple=True,
    shell_complete=complete.cells,
    help="Only these cells; wildcards allowed (repeatable).",
)
@click.option("--full", is_flag=True, help="All cells; by default those of compare --quick.")
@click.option("--cycles/--no-cycles", default=True, help="Measure native cycles.")
@click.option("--instructions/--no-instructions", default=True, help="Count instructions with qemu.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def bench_(
    folders: tuple[str, ...],
    rounds: int,
    only: tuple[str, ...],
    full: bool,
    cycles: bool,
    instructions: bool,
    as_json: bool,
) -> None:
    r"""Measure one or two kernels of `kernel build`: cycles in turns, each against itself too, and exact instructions.

    Prints a table on stdout.

    \b
    bulkpages kernel bench linux-6.12.117
    bulkpages kernel bench linux-6.12.117 linux-6.12.117-patched --json
    """
    from bulkpages.kernel import open_kernel
    from bulkpages.kernel.bench import bench
    from bulkpages.kernel.cells import measured_cells
    from bulkpages.kernel.text import bench_text
    from bulkpages.suite.trunk.workloads import select

    if len(folders) > 2:
        raise InvalidArgument(f"one or two kernels, not {len(folders)}")
    cells = measured_cells(quick=not (full or only))
    if only:
        cells, unknown = select(only, cells)
        if unknown:
            raise InvalidArgument(f"there is no cell {', '.join(unknown)}")
    with progress_of() as say:
        found = bench(
            [open_kernel(folder) for folder in folders],
            cells=cells,
            rounds=rounds if cycles else 0,
            count=instructions,
            say=say,
        )
    if as_json:
        put_json(found.to_json())
    else:
        click.echo(bench_text(found))


@kernel.command("check")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--seconds", type=click.FloatRange(0), default=120.0, show_default=True, help="Start no machine after this time."
)
@click.option("--machines", type=click.IntRange(1), help="Maximum number of machines.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the first machine.")
@click.option("--output", type=click.Path(dir_okay=False), help="Recording of a difference.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check_(folder: str, seconds: float, machines: int | None, seed: int, output: str | None, as_json: bool) -> None:
    r"""Run random operations in a kernel of `kernel build` and in the emulator, and compare every page and counter.

    The first difference is shrunk to the fewest operations and drawn, and a recording of it is left, which `bulkpages
    conform` reads. Prints what was compared. Exit 1 when there is a difference.

    \b
    bulkpages kernel check linux-6.12.117 --seconds 600
    """
    from bulkpages.kernel import open_kernel
    from bulkpages.kernel.check import check
    from bulkpages.kernel.text import check_text

    with progress_of() as say:
        found = check(open_kernel(folder), seconds=seconds, machines=machines, seed=seed, output=output, say=say)
    if as_json:
        put_json(found.to_json())
    else:
        click.echo(check_text(found))
    sys.exit(0 if found.exact else 1)
