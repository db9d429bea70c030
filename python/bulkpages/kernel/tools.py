"""Programs and libraries that a kernel is built and run with, and the packages that have them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import Literal

from bulkpages.errors import KernelError

__all__ = ["TOOLS", "Tool", "missing", "need_tools"]

Purpose = Literal["build", "run", "review"]


@dataclass(frozen=True)
class Tool:
    """Something that must be installed.

    Attributes:
        name: The program, or the header file in angle brackets, or the library as the linker is told of it.
        package: Of Debian and Ubuntu.
        purpose: "build", "run" (the kernel for several CPUs) or "review".
    """

    name: str
    package: str
    purpose: Purpose = "build"

    def found(self) -> bool:
        """Whether it is here."""
        if self.name[0] in "<-" and shutil.which("gcc") is None:
            return False
        if self.name.startswith("<"):
            return _compiles(f"#include {self.name}\nint main(void) {{ return 0; }}\n", ())
        if self.name.startswith("-"):
            return _compiles("int main(void) { return 0; }\n", (self.name,))
        return shutil.which(self.name) is not None


TOOLS = (
    Tool("gcc", "gcc"),
    Tool("ld", "binutils"),
    Tool("make", "make"),
    Tool("flex", "flex"),
    Tool("bison", "bison"),
    Tool("bc", "bc"),
    Tool("perl", "perl"),
    Tool("xz", "xz-utils"),
    Tool("patch", "patch"),
    Tool("<libelf.h>", "libelf-dev"),
    Tool("-static", "libc6-dev"),
    Tool("qemu-system-x86_64", "qemu-system-x86", "run"),
)


@cache
def _compiles(text: str, options: tuple[str, ...]) -> bool:
    """Whether the C compiler makes a program of this."""
    command = ["gcc", "-x", "c", "-o", "/dev/null", *options, "-"]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=False).returncode == 0


def missing(*purposes: Purpose) -> list[Tool]:
    """What is not here and needed for these purposes."""
    return [tool for tool in TOOLS if tool.purpose in purposes and not tool.found()]


def need_tools(*purposes: Purpose) -> None:
    """Checks that all is here.

    Raises:
        KernelError: Something is missing; names it and its package.
    """
    lacking = missing(*purposes)
    if lacking:
        names = ", ".join(tool.name for tool in lacking)
        packages = " ".join(dict.fromkeys(tool.package for tool in lacking))
        raise KernelError(f"not installed: {names}; on Debian and Ubuntu: apt install {packages}")
