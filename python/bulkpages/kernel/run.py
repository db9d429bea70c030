"""Starts a kernel with a job for the harness, and reads what it found."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulkpages.errors import KernelError
from bulkpages.processes import termination_raises

__all__ = ["Shape", "ask_semantics", "initramfs", "run_emulated", "run_native"]

TIMEOUT = 600.0
# The native kernel's processes give memory back in which the C library let the host's kernel keep accounts (rseq).
_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}


@dataclass(frozen=True)
class Shape:
    """A machine for qemu.

    Attributes:
        megabytes: Memory.
        cpus: CPUs.
        nodes: NUMA nodes; memory and CPUs are divided evenly.
        boot: Further words of the kernel's command line.
    """

    megabytes: int = 512
    cpus: int = 1
    nodes: int = 1
    boot: str = ""


def _member(number: int, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One file of an archive in the format that the kernel unpacks at its start (cpio, "newc")."""
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initramfs(init: bytes, job: str) -> bytes:
    """The file system that the kernel starts from: the program and its job."""
    members = [
        _member(1, "dev", 0o40755),
        _member(2, "dev/console", 0o20600, device=(5, 1)),
        _member(3, "init", 0o100755, init),
        _member(4, "job", 0o100644, job.encode()),
        _member(0, "TRAILER!!!", 0),
    ]
    return b"".join(members)


def _result(text: str, console: str, what: str) -> str:
    """What stands between the marks.

    Raises:
        KernelError: The kernel did not come to the end of the job, or refused a line of it.
    """
    found = re.search(r"bulkpages begins\r?\n(.*?)\r?\nbulkpages ends", text, re.S)
    if not found:
        last = "\n".join(console.strip().splitlines()[-12:])
        raise KernelError(f"{what} did not finish its job; its last words:\n{last}")
    clean = found[1].replace("\r\n", "\n")
    if refused := re.search(r"^error (.*)$", clean, re.M):
        raise KernelError(f"{what}: {refused[1]}")
    return clean


def _start(command: Sequence[str], cwd: str, stdin: int) -> subprocess.Popen[bytes]:
    """Starts a kernel as a group of processes, which `_end` ends whole."""
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=cwd,
        env=os.environ | _ENVIRONMENT,
    )


def _run(command: Sequence[str], timeout: float, cwd: str) -> str:
    """Runs a kernel to its end; its console."""
    process = _start(command, cwd, subprocess.DEVNULL)
    try:
        console, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        console, _ = process.communicate()
        last = "\n".join(console.decode(errors="replace").strip().splitlines()[-12:])
        raise KernelError(
            f"{Path(command[0]).name} did not end within {timeout:.0f} s; its last words:\n{last}"
        ) from None
    except BaseException:
        _end(process)
        process.wait()
        raise
    return console.decode(errors="replace")


def _run_and_stop(command: Sequence[str], timeout: float, cwd: str, at_stop: Callable[[Path], None]) -> str:
    """Runs a kernel that stands still at some point until it is told to go on; its console."""
    monitor = Path(cwd) / "monitor"
    # The note of the vmcoreinfo device is what says where the kernel is.
    command = [*command, "-qmp", f"unix:{monitor},server=on,wait=off", "-device", "vmcoreinfo"]
    process = _start(command, cwd, subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    lines: list[bytes] = []
    alarm = threading.Timer(timeout, _end, [process])
    alarm.start()
    try:
        for line in process.stdout:
            lines.append(line)
            if b"bulkpages stands still" in line:
                at_stop(monitor)
                process.stdin.write(b"\n")
                process.stdin.flush()
        process.wait()
    except BaseException:
        _end(process)
        process.wait()
        raise
    finally:
        alarm.cancel()
        process.stdin.close()
        process.stdout.close()
    return b"".join(lines).decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run_native(folder: Path, job: str, *, megabytes: int = 512, timeout: float = TIMEOUT) -> str:
    """Runs the native kernel with a job.

    Args:
        folder: A kernel.
        job: Lines for the harness.
        megabytes: Memory.
        timeout: Seconds.

    Raises:
        KernelError: It does not finish the job.
    """
    with termination_raises(), tempfile.TemporaryDirectory(prefix="bulkpages-") as place:
        start = Path(place) / "start.cpio"
        start.write_bytes(initramfs((folder / "init").read_bytes(), job))
        program = str((folder / "native").resolve())
        words = [f"mem={megabytes}M", f"initrd={start}", "con=null", "con0=fd:0,fd:1", "quiet", "panic=-1"]
        console = _run([program, *words, f"uml_dir={place}"], timeout, place)
    return _result(console, console, "the native kernel")


def run_emulated(
    folder: Path,
    job: str,
    shape: Shape | None = None,
    *,
    counted: bool = False,
    timeout: float = TIMEOUT,
    at_stop: Callable[[Path], None] | None = None,
) -> str:
    """Runs the kernel for several CPUs under qemu with a job.

    Args:
        folder: A kernel.
        job: Lines for the harness.
        shape: The machine.
        counted: The clock counts executed instructions; one CPU then.
        timeout: Seconds.
        at_stop: Called when the kernel stands still at an operation of kind W, with every CPU stopped; given the socket
            of qemu's monitor.

    Raises:
        KernelError: qemu is not here, or the kernel does not finish the job.
    """
    from bulkpages.kernel.tools import need_tools

    need_tools("run")
    shape = shape or Shape()
    with termination_raises(), tempfile.TemporaryDirectory(prefix="bulkpages-") as place:
        start, disk = Path(place) / "start.cpio", Path(place) / "results"
        start.write_bytes(initramfs((folder / "init").read_bytes(), job))
        with disk.open("wb") as file:
            file.truncate(128 << 20)
        command = _qemu(folder, shape, start, disk, counted)
        console = _run(command, timeout, place) if at_stop is None else _run_and_stop(command, timeout, place, at_stop)
        text = disk.read_bytes().rstrip(b"\0").decode(errors="replace")
    return _result(text, console, "the kernel under qemu")


def _qemu(folder: Path, shape: Shape, start: Path, disk: Path, counted: bool) -> list[str]:
    command = ["qemu-system-x86_64", "-cpu", "max", "-m", f"{shape.megabytes}M", "-smp", str(shape.cpus)]
    command += ["-kernel", str((folder / "emulated").resolve()), "-initrd", str(start)]
    command += ["-append", f"console=ttyS0 quiet panic=-1 tsc=reliable nokaslr {shape.boot}"]
    command += ["-display", "none", "-serial", "stdio", "-no-reboot", "-nodefaults"]
    command += ["-drive", f"file={disk},format=raw,if=virtio"]
    # One thread for all CPUs: with several, qemu may execute code that another CPU has just replaced, as kernels do
    # when they switch a static branch. Kernels of 7.3 stopped with "Oops: int3" then.
    command += ["-accel", "tcg,thread=single"]
    if counted:
        command += ["-icount", "shift=0,sleep=off", "-rtc", "base=2020-01-01,clock=vm"]
        # The kernel draws where it puts things; with the same numbers each time, its lists are the same each time.
        command += ["-seed", "1"]
    for node in range(shape.nodes if shape.nodes > 1 else 0):
        share = shape.megabytes // shape.nodes
        cpus = [cpu for cpu in range(shape.cpus) if cpu * shape.nodes // shape.cpus == node]
        command += ["-object", f"memory-backend-ram,id=m{node},size={share}M"]
        listed = f",cpus={cpus[0]}-{cpus[-1]}" if cpus else ""
        command += ["-numa", f"node,nodeid={node},memdev=m{node}{listed}"]
    return command


def ask_semantics(folder: Path) -> str:
    """What the bulk function of a kernel does with slots that hold a page: "null_only" or "output_only"."""
    text = run_native(folder, "about\n")
    found = re.search(r"^about semantics=(\w+)", text, re.M)
    if not found:
        raise KernelError(f"the native kernel says nothing about itself: {text[:200]}")
    return found[1]
