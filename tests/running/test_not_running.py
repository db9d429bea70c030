"""What is no running machine is refused in words, without a traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import drgn
import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main

# The head of a core of x86-64 with one segment, which the file does not hold.
ELF = bytes.fromhex("7f454c4602010100" + "00" * 8 + "04003e0001000000" + "00" * 8 + "4000000000000000" + "00" * 8)
ELF += bytes.fromhex("00000000" + "4000" + "3800" + "0100" + "0000" * 3)
SEGMENT = (1).to_bytes(4, "little") + (7).to_bytes(4, "little") + (4096).to_bytes(8, "little") + bytes(16)
SEGMENT += (1 << 20).to_bytes(8, "little") * 2 + bytes(8)


def said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["snapshot", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    return result.exit_code, result.stderr.replace("\n", " ")


def test_one_machine_is_needed() -> None:
    for arguments in ([], ["--live", "--vmcore", "x"], ["--qemu", "x", "--vmcore", "y"]):
        code, words = said(*arguments)
        assert code == 2
        assert "give one of --vmcore FILE" in words


def test_a_guest_can_stay_stopped_and_nothing_else() -> None:
    code, words = said("--vmcore", "x", "--stay-stopped")
    assert (code, "needs --qemu" in words) == (2, True)


@pytest.mark.parametrize("option", ["--vmcore", "--qemu"])
def test_a_file_that_is_not_there(option: str, tmp_path: Path) -> None:
    code, words = said(option, str(tmp_path / "none"))
    assert (code, "No such file or directory" in words) == (2, True)


@pytest.mark.parametrize("content", [b"", b"text\n", b"\x7fELF", ELF + SEGMENT, b"KDUMP   " + bytes(512)])
def test_a_file_that_is_not_a_kernel_core(content: bytes, tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.write_bytes(content)
    code, words = said("--vmcore", str(core))
    assert code == 2
    assert "core" in words


def test_a_folder_is_not_a_core(tmp_path: Path) -> None:
    assert said("--vmcore", str(tmp_path))[0] == 2


def test_a_socket_without_qemu(tmp_path: Path) -> None:
    address = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(address)
        code, words = said("--qemu", address)
    assert (code, "no monitor of qemu answers" in words) == (1, True)


def test_a_program_without_debugging_information() -> None:
    with pytest.raises(bp.SnapshotError, match="no debugging information for the kernel"):
        bp.Machine.from_drgn(drgn.Program())


@pytest.mark.parametrize("wrong", [None, 7, "vmcore", object()])
def test_a_wrong_program(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"prog is a drgn\.Program, not"):
        bp.Machine.from_drgn(wrong)


def test_the_walker_stands_alone() -> None:
    text = (Path(bp.__file__).parent / "running" / "page_lists.py").read_text()
    assert "bulkpages" not in text
    assert "numpy" not in text
