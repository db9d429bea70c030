"""Opens what drgn reads: a core, a guest of qemu, the machine that this runs on."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drgn import MissingDebugInfoError, Program

from bulkpages.errors import KernelError, MissingFile, SnapshotError

__all__ = ["open_core", "open_guest", "open_live", "stopped"]

# Seconds that qemu may take to answer.
_PATIENCE = 10.0


def _load(prog: Program, vmlinux: str | Path | None, what: str) -> Program:
    """Loads the debugging information of a program.

    Raises:
        MissingFile: The file is not there.
        SnapshotError: It is none, or it is that of another build.
    """
    if vmlinux is not None and not Path(vmlinux).is_file():
        raise MissingFile(vmlinux)
    try:
        prog.load_debug_info([str(vmlinux)] if vmlinux else [], main=True)
    except MissingDebugInfoError as error:
        if vmlinux is None:
            why = "none was found for it; --vmlinux names the file, of the very build that runs"
        else:
            why = f"{vmlinux} has none for it: it was built without, or is another build (the build IDs are compared)"
        raise SnapshotError(f"{what}: no debugging information: {why}") from error
    except Exception as error:
        raise SnapshotError(f"{what}: {vmlinux or 'debugging information'}: {error}") from error
    return prog


def open_core(path: str | Path, vmlinux: str | Path | None = None) -> Program:
    """A core of a kernel: ELF or kdump, as kdump and `dump-guest-memory` write them.

    Args:
        path: The core.
        vmlinux: The kernel with its debugging information; where drgn finds it when None.

    Raises:
        MissingFile: A file is not there.
        SnapshotError: The file is no core of a kernel, or there is no debugging information.
    """
    if not Path(path).exists():
        raise MissingFile(path)
    prog = Program()
    try:
        prog.set_core_dump(str(path))
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        raise SnapshotError(f"{path} is no core that can be read: {error}") from error
    if not _is_kernel(prog):
        raise SnapshotError(
            f"{path} is no core of a kernel that says what it is: it has no vmcoreinfo (qemu needs -device vmcoreinfo)"
        )
    return _load(prog, vmlinux, str(path))


def _is_kernel(prog: Program) -> bool:
    from drgn import ProgramFlags

    return bool(prog.flags & ProgramFlags.IS_LINUX_KERNEL)


def open_live(vmlinux: str | Path | None = None) -> Program:
    """The machine that this runs on.

    Args:
        vmlinux: The kernel with its debugging information; where drgn finds it when None.

    Raises:
        KernelError: It may not be read.
        MissingFile: The file is not there.
        SnapshotError: There is no debugging information.
    """
    prog = Program()
    try:
        prog.set_kernel()
    except PermissionError as error:
        raise KernelError("the running kernel's memory may not be read: /proc/kcore needs root") from error
    except FileNotFoundError as error:
        raise KernelError("this kernel has no /proc/kcore (CONFIG_PROC_KCORE)") from error
    except OSError as error:
        raise KernelError(f"the running kernel's memory cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise KernelError(f"the running kernel's memory cannot be read: {error}") from error
    return _load(prog, vmlinux, "the running kernel")


def open_guest(address: str, vmlinux: str | Path | None = None) -> Program:
    """A guest of qemu, by the socket of its monitor (QMP).

    Args:
        address: The path of the socket.
        vmlinux: The kernel with its debugging information; where drgn finds it when None.

    Raises:
        MissingFile: A file is not there.
        KernelError: The monitor does not answer, or qemu's memory may not be read.
        SnapshotError: The guest does not say where its kernel is, or there is no debugging information.
    """
    if not Path(address).exists():
        raise MissingFile(address)
    prog = Program()
    try:
        prog.set_qemu_qmp(os.path.abspath(address))
    except PermissionError as error:
        raise KernelError(f"{address}: the guest's memory may not be read; it takes the rights of its qemu") from error
    except OSError as error:
        raise KernelError(f"{address}: {error.strerror or error}") from error
    except Exception as error:
        raise KernelError(f"{address}: {error}") from error
    if not _is_kernel(prog):
        raise SnapshotError(
            f"the guest at {address} does not say where its kernel is: qemu needs -device vmcoreinfo, the guest "
            "CONFIG_FW_CFG_SYSFS and CONFIG_VMCORE_INFO"
        )
    return _load(prog, vmlinux, f"the guest at {address}")


class _Monitor:
    """A connection to the monitor of qemu; it serves one at a time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(_PATIENCE)
        try:
            self.socket.connect(address)
            self.lines = self.socket.makefile("r", encoding="utf-8")
            self.lines.readline()
            self.ask("qmp_capabilities")
        except FileNotFoundError as error:
            self.socket.close()
            raise MissingFile(address) from error
        except (OSError, ValueError) as error:
            self.socket.close()
            raise KernelError(f"{address}: no monitor of qemu answers there: {error}") from error

    def ask(self, command: str) -> Any:
        """The answer to a command."""
        self.socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        for line in self.lines:
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise KernelError(f"{self.address}: qemu refuses {command}: {answer['error'].get('desc')}")
        raise KernelError(f"{self.address}: qemu closed the connection")

    def close(self) -> None:
        """Makes room for the next."""
        self.lines.close()
        self.socket.close()


def _tell(address: str, command: str) -> Any:
    monitor = _Monitor(address)
    try:
        return monitor.ask(command)
    finally:
        monitor.close()


@contextlib.contextmanager
def stopped(address: str, *, stays: bool = False) -> Iterator[None]:
    """Stops a guest of qemu; one that ran goes on at the end.

    Args:
        address: The path of the socket of its monitor.
        stays: It stays stopped.

    Raises:
        KernelError: The monitor does not answer.
    """
    ran = bool(_tell(address, "query-status").get("running"))
    try:
        if ran:
            _tell(address, "stop")
        yield
    finally:
        if ran and not stays:
            # The monitor serves one at a time: a program that nobody holds any more must be gone.
            gc.collect()
            _tell(address, "cont")
