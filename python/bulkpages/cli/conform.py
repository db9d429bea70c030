"""`bulkpages conform`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from bulkpages.cli.output import progress_bar, put_json
from bulkpages.conform import Verdict
from bulkpages.conform import conform as replay
from bulkpages.kinds import counted


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def _recordings(given: tuple[str, ...]) -> list[tuple[str, Path]]:
    """The recordings of files and folders, each with a name that no other has, if its folder can tell them apart."""
    paths: list[Path] = []
    for path in map(Path, given):
        if not path.is_dir():
            paths.append(path)
            continue
        inside = sorted(p for ending in ("*.jsonl", "*.jsonl.gz") for p in path.rglob(ending))
        if not inside:
            raise click.UsageError(f"{path}: no recording (*.jsonl, *.jsonl.gz) is in this folder")
        paths += inside
    often = Counter(map(_name, paths))
    return [(_name(p) if often[_name(p)] == 1 else f"{p.resolve().parent.name}/{_name(p)}", p) for p in paths]


def _row(name: str, verdict: Verdict) -> str:
    if verdict.error:
        return f"{name:28} FAILED   {verdict.error}"
    (ops, all_ops), (pages, all_pages) = verdict.operations, verdict.pages
    word = "ok" if verdict.ok else "DIFFERS"
    return (
        f"{name:28} {word:8} operations {ops:6} of {all_ops:6}   pages {pages:7} of {all_pages:7}   "
        f"{verdict.seconds:6.2f} s"
    )


def _percent(part: int, whole: int) -> str:
    """A share that says 100 only when it is."""
    if part == whole:
        return "100 %"
    return f"{min(99.99, 100 * part / whole):.2f} %"


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE|DIR...")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def conform(files: tuple[str, ...], as_json: bool) -> None:
    r"""Replay recordings of a real kernel, page for page.

    Prints for each FILE how many operations and pages match, and draws the first mismatch. For a folder, every
    recording in it is replayed. Exit 1 on any difference, and for a file that cannot be read.

    \b
    bulkpages conform tests/conformance/recordings
    bulkpages conform --json recording.jsonl.gz
    """
    verdicts = []
    recordings = _recordings(files)
    with progress_bar() as progress:
        task = progress.add_task("replaying", total=len(recordings))
        for name, file in recordings:
            verdict = replay(file)
            verdicts.append(verdict)
            progress.advance(task)
            if not as_json:
                click.echo(_row(name, verdict))
                if verdict.difference:
                    click.echo(f"\n  {verdict.difference.what}:")
                    click.echo("\n".join(verdict.difference.picture) + "\n")
    ops = [sum(v.operations[i] for v in verdicts) for i in (0, 1)]
    pages = [sum(v.pages[i] for v in verdicts) for i in (0, 1)]
    ok = all(v.ok for v in verdicts)
    if as_json:
        put_json(
            {
                "ok": ok,
                "operations": {"match": ops[0], "recorded": ops[1]},
                "pages": {"match": pages[0], "recorded": pages[1]},
                "files": [
                    {
                        "file": str(v.path),
                        "ok": v.ok,
                        "operations": {"match": v.operations[0], "recorded": v.operations[1]},
                        "pages": {"match": v.pages[0], "recorded": v.pages[1]},
                        "seconds": round(v.seconds, 4),
                        "error": v.error,
                        "difference": v.difference
                        and {
                            "operation": v.difference.operation,
                            "what": v.difference.what,
                            "picture": v.difference.picture,
                        },
                    }
                    for v in verdicts
                ],
            },
        )
    elif ops[1]:
        click.echo(
            f"{counted(len(recordings), 'recording')}: {_percent(*ops)} of {ops[1]} operations and "
            f"{_percent(*pages)} of {pages[1]} pages match; end state {'equal' if ok else 'or results differ'}"
        )
    sys.exit(0 if ok else 1)
