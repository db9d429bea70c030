"""Opens what drgn reads: a core, a guest of qemu, or the running kernel."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from drgn import MissingDebugInfoError, Program, ProgramFlags

from bulkpages.errors import BulkpagesError, KernelError, MissingFile, SnapshotError
from bulkpages.kinds import need

__all__ = ["open_core", "open_guest", "open_live", "stopped"]

# How long qemu may take to answer, in seconds.
_PATIENCE = 10.0


def _open(attach: Callable[[Program], None], failed: str, kind: type[BulkpagesError], **known: str) -> Program:
    """A program that drgn has opened.

    Args:
        attach: Opens it.
        failed: The message when that fails; drgn's reason follows it.
        kind: The error to raise.
        known: Messages for errors whose reason is known, by the names of their types.

    Raises:
        BulkpagesError: It cannot be opened.
    """
    prog = Program()
    try:
        attach(prog)
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise kind(known.get(type(error).__name__, f"{failed}: {reason}")) from error
    return prog


def _load(prog: Program, vmlinux: str | Path | None, what: str) -> Program:
    """Loads the debugging information of a program.

    Raises:
        MissingFile: The file does not exist.
        SnapshotError: The file has no debugging information, or that of another build.
    """
    if vmlinux is not None and not Path(vmlinux).is_file():
        raise MissingFile(vmlinux)
    try:
        prog.load_debug_info([str(vmlinux)] if vmlinux else [], main=True)
    except MissingDebugInfoError as error:
        if vmlinux is None:
            why = "drgn found none; name the vmlinux of exactly this build with --vmlinux"
        else:
            why = f"{vmlinux} has none for this kernel: it was built without, or its build ID is another build's"
        raise SnapshotError(f"{what}: no debugging information: {why}") from error
    except Exception as error:
        raise SnapshotError(f"{what}: {vmlinux or 'debugging information'}: {error}") from error
    return prog


def _is_kernel(prog: Program) -> bool:
    return bool(prog.flags & ProgramFlags.IS_LINUX_KERNEL)


def open_core(path: str | Path, vmlinux: str | Path | None = None) -> Program:
    """Opens a kernel core in ELF or kdump format, as kdump and `dump-guest-memory` write them.

    Args:
        path: The core.
        vmlinux: The kernel's vmlinux with debugging information. If None, drgn searches for it.

    Raises:
        MissingFile: A file does not exist.
        SnapshotError: The file is not a kernel core, or there is no debugging information.
    """
    if not Path(path).exists():
        raise MissingFile(path)
    prog = _open(lambda p: p.set_core_dump(str(path)), f"{path} cannot be read as a core", SnapshotError)
    if not _is_kernel(prog):
        raise SnapshotError(
            f"{path} is not a kernel core, or lacks vmcoreinfo (a guest of qemu has it with -device vmcoreinfo)"
        )
    return _load(prog, vmlinux, str(path))


def open_live(vmlinux: str | Path | None = None) -> Program:
    """Opens the running kernel, through `/proc/kcore`.

    Args:
        vmlinux: The kernel's vmlinux with debugging information. If None, drgn searches for it.

    Raises:
        KernelError: The kernel's memory cannot be read; that needs root.
        MissingFile: The file does not exist.
        SnapshotError: There is no debugging information.
    """
    prog = _open(
        lambda p: p.set_kernel(),
        "the running kernel's memory cannot be read",
        KernelError,
        PermissionError="the running kernel's memory cannot be read: /proc/kcore needs root",
        FileNotFoundError="the running kernel has no /proc/kcore (CONFIG_PROC_KCORE)",
    )
    return _load(prog, vmlinux, "the running kernel")


def open_guest(address: str | Path, vmlinux: str | Path | None = None) -> Program:
    """Opens a guest of qemu through its monitor (QMP).

    Args:
        address: The path of the monitor's socket.
        vmlinux: The guest kernel's vmlinux with debugging information. If None, drgn searches for it.

    Raises:
        MissingFile: A file does not exist.
        KernelError: The monitor does not answer, or qemu's memory cannot be read.
        SnapshotError: The guest does not say where its kernel is, or there is no debugging information.
    """
    if not Path(address).exists():
        raise MissingFile(address)
    prog = _open(
        lambda p: p.set_qemu_qmp(os.path.abspath(address)),
        f"{address}: the guest's memory cannot be read",
        KernelError,
        PermissionError=f"{address}: the guest's memory cannot be read without the permissions of its qemu process",
    )
    if not _is_kernel(prog):
        raise SnapshotError(
            f"the guest at {address} does not say where its kernel is: qemu needs -device vmcoreinfo, and the guest "
            "needs CONFIG_FW_CFG_SYSFS and CONFIG_VMCORE_INFO"
        )
    return _load(prog, vmlinux, f"the guest at {address}")


class _Monitor:
    """A connection to the monitor of qemu, which serves one connection at a time."""

    def __init__(self, address: str | Path) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(_PATIENCE)
        try:
            self.socket.connect(os.fspath(address))
            self.lines = self.socket.makefile("r", encoding="utf-8")
            self.lines.readline()
            self.ask("qmp_capabilities")
        except FileNotFoundError as error:
            self.socket.close()
            raise MissingFile(address) from error
        except (OSError, ValueError) as error:
            self.socket.close()
            raise KernelError(f"{address}: no monitor of qemu answers: {error}") from error

    def ask(self, command: str) -> Any:
        """What the monitor returns for a command."""
        self.socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        for line in self.lines:
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise KernelError(f"{self.address}: qemu refused {command}: {answer['error'].get('desc')}")
        raise KernelError(f"{self.address}: qemu closed the connection")

    def close(self) -> None:
        """Frees the monitor for the next connection."""
        self.lines.close()
        self.socket.close()


def _tell(address: str | Path, command: str) -> Any:
    monitor = _Monitor(address)
    try:
        return monitor.ask(command)
    finally:
        monitor.close()


@contextlib.contextmanager
def stopped(address: str | Path, *, stays: bool = False) -> Iterator[None]:
    """Stops a guest of qemu. If it was running, it continues when the block ends.

    Args:
        address: The path of the socket of its monitor (QMP).
        stays: Whether the guest stays stopped when the block ends.

    Raises:
        MissingFile: There is no such socket.
        KernelError: The monitor does not answer.
    """
    need("stays", stays, bool)
    ran = bool(_tell(address, "query-status").get("running"))
    try:
        if ran:
            _tell(address, "stop")
        yield
    finally:
        if ran and not stays:
            # An unreachable drgn program may still hold the monitor's only connection.
            gc.collect()
            _tell(address, "cont")
