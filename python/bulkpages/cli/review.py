"""`bulkpages review`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bulkpages.cli.kernel import progress_of
from bulkpages.errors import BulkpagesError, KernelError

if TYPE_CHECKING:
    from bulkpages.kernel.review import Review

__all__ = ["review"]


def _patch_text(patch: str, tree: Path | None) -> tuple[bytes, str | None]:
    """The bytes of the patch, and the commit that it is based on when it is a range of commits."""
    if patch == "-":
        return sys.stdin.buffer.read(), None
    if Path(patch).is_file():
        return Path(patch).read_bytes(), None
    if ".." in patch and tree is not None and tree.is_dir():
        base = patch.split("..", 1)[0]
        command = ["git", "-C", str(tree), "format-patch", "--stdout", patch]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise KernelError(f"git format-patch {patch}: {done.stderr.decode(errors='replace').strip()}")
        if not done.stdout:
            raise KernelError(f"{patch} holds no commit")
        return done.stdout, base
    raise KernelError(f"{patch}: no such file, and no range of commits of the tree")


@click.command()
@click.argument("patch", default="-")
@click.option(
    "--tree", type=click.Path(), help="Sources: a directory or a tarball; the distribution's package when left out."
)
@click.option(
    "--work", type=click.Path(file_okay=False), help="Folder of the copy and the kernels; in the cache when left out."
)
@click.option(
    "--output", type=click.Path(file_okay=False), default="review", show_default=True, help="Folder of the results."
)
@click.option(
    "--rounds",
    type=click.IntRange(0, 1000),
    default=12,
    show_default=True,
    help="Of the comparison of cycles; 0 for none.",
)
@click.option(
    "--machines",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    help="Random machines on which behaviour is compared; 0 for none.",
)
@click.option("--jobs", type=click.IntRange(1), help="Compilers at once; one per processor when left out.")
@click.option(
    "--b4", is_flag=True, help="For b4: the patch on stdin, the tree in the working directory, JSON on stdout."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def review(
    patch: str,
    tree: str | None,
    work: str | None,
    output: str,
    rounds: int,
    machines: int,
    jobs: int | None,
    b4: bool,
    as_json: bool,
) -> None:
    r"""Measure a PATCH: build the tree without and with it, and compare what their callers cost and do.

    PATCH is a mail, a mailbox, a diff, a range of commits of the tree (A..B), or - for stdin. Writes reply.txt (75
    columns, for the answer to the mail), report.html and review.json into the folder of the results. Says in a second
    when nothing is touched that is measured or modelled.

    Exit codes: 0 nothing to remark, 1 something costs more or behaves differently, or an error.

    \b
    bulkpages review my.patch --tree ~/linux
    bulkpages review v6.12..mine --tree ~/linux
    git config b4.review-series-check-cmd "bulkpages review --b4"
    """
    if b4:
        # A result is no failure of the command: b4 reads it from the list.
        click.echo(json.dumps([_for_b4(patch, tree, work, output, rounds, machines, jobs)]))
        return
    found = _reviewed(patch, tree, work, output, rounds, machines, jobs)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        from bulkpages.kernel.reply import reply

        click.echo(reply(found), nl=False)
        click.echo(f"{output}/reply.txt, report.html, review.json", err=True)
    sys.exit(0 if found.status == "pass" else 1)


def _reviewed(
    patch: str, tree: str | None, work: str | None, output: str, rounds: int, machines: int, jobs: int | None
) -> Review:
    from bulkpages.kernel.build import default_work
    from bulkpages.kernel.patches import read_patches
    from bulkpages.kernel.reply import write_review
    from bulkpages.kernel.review import review as review_patches
    from bulkpages.kernel.review import touched_files, tree_of_commit

    raw, base = _patch_text(patch, Path(tree) if tree else None)
    patches = read_patches(raw, "stdin" if patch == "-" else patch)
    source: str | Path | None = tree
    if base and touched_files(patches):
        place = Path(work) if work else default_work(Path(tree or ".").resolve())
        source = tree_of_commit(Path(tree or "."), base, place / "commits")
        work = work or str(place / "commit")
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    with progress_of() as say:
        found = review_patches(
            patches, tree=source, work=work, rounds=rounds, machines=machines, jobs=jobs, output=folder, say=say
        )
    write_review(found, folder)
    return found


def _for_b4(
    patch: str, tree: str | None, work: str | None, output: str, rounds: int, machines: int, jobs: int | None
) -> dict[str, str]:
    """One row of b4's list of checks."""
    try:
        found = _reviewed(patch, tree or ".", work, output, rounds, machines, jobs)
    except BulkpagesError as error:
        return {"tool": "bulkpages", "status": "fail", "summary": str(error).splitlines()[0], "details": str(error)}
    from bulkpages.kernel.reply import reply

    return {"tool": "bulkpages", "status": found.status, "summary": found.verdict, "details": reply(found)}
