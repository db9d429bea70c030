"""`bulkpages review`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulkpages.cli.kernel import progress_of
from bulkpages.cli.output import put_json
from bulkpages.errors import BulkpagesError, KernelError

if TYPE_CHECKING:
    from bulkpages.kernel.patches import Patch
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
    "--tree", type=click.Path(), help="Kernel sources, a directory or a tarball; default the distribution's package."
)
@click.option(
    "--work", type=click.Path(file_okay=False), help="Folder of the copy and the kernels; by default in the cache."
)
@click.option("--output", type=click.Path(file_okay=False), help="Folder of the results; default review.")
@click.option(
    "--rounds",
    type=click.IntRange(0, 1000),
    default=12,
    show_default=True,
    help="Rounds of the comparison of cycles; 0 for none.",
)
@click.option(
    "--machines",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    help="Random machines on which behaviour is compared; 0 for none.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Parallel compilers for each of the two kernels; default one per processor.",
)
@click.option(
    "--b4", is_flag=True, help="For b4: the patch on stdin, the tree in the working directory, JSON on stdout."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def review(patch: str, output: str | None, b4: bool, as_json: bool, **options: Any) -> None:
    r"""Measure a PATCH: build the tree without and with it, and compare what their callers cost and do.

    PATCH is a mail, a mailbox, a diff, a range of commits of the tree (A..B), or - for stdin. Prints the reply to the
    mail (75 columns), and writes reply.txt, report.html and review.json into the folder of the results. Says in a
    second when nothing is touched that is measured or modelled.

    Exit codes: 0 nothing to remark, 1 something costs more or behaves differently, or an error.

    \b
    bulkpages review my.patch --tree ~/linux
    bulkpages review v6.12..mine --tree ~/linux
    git config b4.review-series-check-cmd "bulkpages review --b4"
    """
    if b4:
        # A result is no failure of the command: b4 reads it from the list.
        click.echo(json.dumps([_for_b4(patch, output, options)]))
        return
    folder = Path(output or "review")
    found = _reviewed(_read(patch, options), folder, options)
    if as_json:
        put_json(found.to_json())
    else:
        from bulkpages.kernel.reply import reply

        click.echo(reply(found), nl=False)
        click.echo(f"{folder}/reply.txt, report.html, review.json", err=True)
    sys.exit(0 if found.status == "pass" else 1)


def _read(patch: str, options: dict[str, Any]) -> list[Patch]:
    """The patches; where they are commits, the tree becomes the one that they begin from."""
    from bulkpages.kernel.patches import read_patches

    tree = Path(options["tree"]) if options["tree"] else None
    raw, base = _patch_text(patch, tree)
    patches = read_patches(raw, "stdin" if patch == "-" else patch)
    if base:
        _begin_from(base, options)
    return patches


def _begin_from(commit: str, options: dict[str, Any]) -> None:
    from bulkpages.kernel.build import default_work
    from bulkpages.kernel.review import tree_of_commit

    tree = Path(options["tree"])
    place = Path(options["work"] or default_work(tree.resolve()))
    options["tree"] = tree_of_commit(tree, commit, place / "commits")
    options["work"] = place / "commit"


def _reviewed(patches: list[Patch], folder: Path | None, options: dict[str, Any]) -> Review:
    """Reviews, and writes what was found where a folder is named."""
    from bulkpages.kernel.reply import write_review
    from bulkpages.kernel.review import review as review_patches

    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    with progress_of() as say:
        found = review_patches(patches, output=folder, say=say, **options)
    if folder:
        write_review(found, folder)
    return found


def _for_b4(patch: str, output: str | None, options: dict[str, Any]) -> dict[str, str]:
    """One row of b4's list of checks; the tree is the working directory, in which nothing is written."""
    from bulkpages.kernel.b4 import base_of, series_of
    from bulkpages.kernel.build import default_work
    from bulkpages.kernel.reply import reply

    tree = Path(options["tree"] or ".")
    options["tree"] = str(tree)
    try:
        raw, base = _patch_text(patch, tree)
        patches = series_of(raw, tree, os.environ)
        if base := base or base_of(tree, os.environ):
            _begin_from(base, options)
        folder = Path(output) if output else default_work(tree.resolve()) / "review"
        found = _reviewed(patches, folder, options)
    except BulkpagesError as error:
        return {"tool": "bulkpages", "status": "fail", "summary": str(error).splitlines()[0], "details": str(error)}
    return {"tool": "bulkpages", "status": found.status, "summary": found.verdict, "details": reply(found)}
