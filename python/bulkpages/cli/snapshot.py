"""`bulkpages snapshot`."""

from __future__ import annotations

import contextlib
import gzip
import json
import time
from pathlib import Path

import click

from bulkpages.cli.kernel import progress_of
from bulkpages.files import write_whole
from bulkpages.machine import Machine


@click.command()
@click.option(
    "--vmcore", type=click.Path(), help="Read a core: ELF or kdump, as kdump and dump-guest-memory write them."
)
@click.option("--live", is_flag=True, help="Read the running kernel; needs root.")
@click.option(
    "--qemu", type=click.Path(), metavar="SOCKET", help="Read a guest of qemu through its monitor's socket (QMP)."
)
@click.option(
    "--vmlinux",
    type=click.Path(),
    help="The kernel's vmlinux with debugging information; by default drgn searches for it.",
)
@click.option("--output", type=click.Path(dir_okay=False), help="Output file, gzipped if named *.gz; default stdout.")
@click.option(
    "--movable/--no-movable",
    default=None,
    help="Count the movable pages of each pageblock; by default if at most 16 GiB are used.",
)
@click.option("--stay-stopped", is_flag=True, help="With --qemu: leave the guest stopped.")
def snapshot(
    vmcore: str | None,
    live: bool,
    qemu: str | None,
    vmlinux: str | None,
    output: str | None,
    movable: bool | None,
    stay_stopped: bool,
) -> None:
    r"""Read the exact state of a running machine's page allocator with drgn.

    Zones, marks, free lists and per-CPU lists in order, pageblocks and counters, as a snapshot in JSON: `why`,
    `compare`, `replay` and Machine.from_snapshot() take it. A guest is stopped while it is read, and then
    continues if it was running. Anything inexact is noted on stderr.

    \b
    bulkpages snapshot --vmcore vmcore --vmlinux vmlinux --output state.json.gz
    bulkpages snapshot --qemu monitor.sock --vmlinux vmlinux --output state.json
    sudo bulkpages snapshot --live --output state.json
    """
    if sum([vmcore is not None, live, qemu is not None]) != 1:
        raise click.UsageError("give one of --vmcore FILE, --live and --qemu SOCKET")
    if stay_stopped and qemu is None:
        raise click.UsageError("--stay-stopped needs --qemu")
    from bulkpages.running import open_core, open_guest, open_live, read_state, stopped

    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        say = stack.enter_context(progress_of())
        say("debugging information", -1.0)
        if vmcore is not None:
            prog = open_core(vmcore, vmlinux)
        elif qemu is not None:
            stack.enter_context(stopped(qemu, stays=stay_stopped))
            prog = open_guest(qemu, vmlinux)
        else:
            prog = open_live(vmlinux)
        opened = time.monotonic()
        found = read_state(prog, movable=movable, say=say)
        read = time.monotonic()
        # A guest cannot go on before its monitor is free.
        del prog
    Machine.from_snapshot(found.snapshot)
    text = json.dumps(found.snapshot, separators=(",", ":")) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(Path(output), gzip.compress(text.encode(), mtime=0) if output.endswith(".gz") else text)
    zones = len(found.snapshot["zones"])
    click.echo(
        f"Linux {found.release}: {zones} zones, {found.blocks} free blocks and {found.pages} pages of per-CPU lists, "
        f"read in {read - opened:.2f} s ({opened - begin:.2f} s for the debugging information)",
        err=True,
    )
    for note in found.notes:
        click.echo(note, err=True)
