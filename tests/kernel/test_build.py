"""Building, up to the compiler: what is said, what is kept, what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bulkpages.errors import KernelError
from bulkpages.kernel import build, open_kernel
from bulkpages.kernel.build import _first_error, _make, not_built
from bulkpages.kernel.patches import FileDiff, Patch
from bulkpages.kernel.source import SourceCopy
from bulkpages.kernel.tools import TOOLS, missing, need_tools

MAKEFILE = """
vmlinux:
\t@echo "  CC      a.o"
\t@echo $$$$ > $(O)/started
\t@{rest}
\t@echo "  CC      b.o"
\t@echo "  LD      vmlinux"
"""


def quiet(_what: str, _share: float) -> None:
    return None


@pytest.fixture
def copy(tmp_path: Path) -> SourceCopy:
    made = SourceCopy(tmp_path, tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "native").mkdir()
    return made


def make(copy: SourceCopy, rest: str, say: object = quiet) -> None:
    (copy.top / "Makefile").write_text(MAKEFILE.format(rest=rest))
    with (copy.folder / "build.log").open("wb") as log:
        _make(copy, ["native"], 1, log, say)  # type: ignore[arg-type]


def test_progress_and_log(copy: SourceCopy) -> None:
    said: list[float] = []
    make(copy, "true", lambda _what, share: said.append(share))
    assert said == sorted(said)
    assert 0 < said[-1] < 1
    assert "CC      b.o" in (copy.folder / "build.log").read_text()


def test_the_first_error_and_where_the_log_is(copy: SourceCopy) -> None:
    with pytest.raises(KernelError, match=rf"(?s)mm/x.c:3:1: error: first\nall of it: {copy.folder}/build.log"):
        make(copy, "echo 'mm/x.c:3:1: error: first'; echo 'mm/y.c:4:1: error: second'; false")


def test_both_at_once_and_one_fails(copy: SourceCopy) -> None:
    (copy.folder / "emulated").mkdir()
    rule = "vmlinux:\n\t@echo 'a.c:1: error: um'; false\nbzImage:\n\t@sleep 60\n"
    (copy.top / "Makefile").write_text(rule)
    start = time.monotonic()
    with (copy.folder / "build.log").open("wb") as log, pytest.raises(KernelError, match=r"a\.c:1: error: um"):
        _make(copy, ["native", "emulated"], 1, log, quiet)
    assert time.monotonic() - start < 30, "the other is stopped"


def test_an_error_is_shown_with_its_line_of_source() -> None:
    lines = [
        "  CC      mm/x.o",
        "mm/x.c:3:5: error: 'b' undeclared",
        "    3 |     b = 1;",
        "      |     ^",
        "make: Error 1",
    ]
    assert _first_error(lines, Path("log")).splitlines()[1:4] == lines[1:4]


def test_an_interrupt_ends_the_compilers(copy: SourceCopy) -> None:
    def interrupt(_what: str, _share: float) -> None:
        for _ in range(100):
            if (copy.folder / "native" / "started").exists():
                raise KeyboardInterrupt
            time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        make(copy, "sleep 60", interrupt)
    started = (copy.folder / "native" / "started").read_text().strip()
    assert not Path(f"/proc/{started}").exists()


def test_a_signal_to_end_ends_the_compilers_too(copy: SourceCopy) -> None:
    (copy.top / "Makefile").write_text(MAKEFILE.format(rest="sleep 60"))
    program = f"""
from pathlib import Path
from bulkpages.kernel.build import _make
from bulkpages.kernel.source import SourceCopy
from bulkpages.processes import termination_raises
with termination_raises(), open({str(copy.folder / "build.log")!r}, "wb") as log:
    _make(SourceCopy(Path({str(copy.folder)!r}), Path()), ["native"], 1, log, lambda _what, _share: None)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    started = copy.folder / "native" / "started"
    for _ in range(400):
        if started.exists() and started.read_text().strip():
            break
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{started.read_text().strip()}").exists()
    assert "CC      a.o" in (copy.folder / "build.log").read_text(), "what was done is in the log"


def test_a_wrong_kernel(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"holds no kernel of `bulkpages kernel build`: No such file"):
        open_kernel(tmp_path)
    (tmp_path / "kernel.json").write_text("{")
    with pytest.raises(KernelError, match=r"is not JSON"):
        open_kernel(tmp_path)
    (tmp_path / "kernel.json").write_text(json.dumps({"schema": "bulkpages-kernel-0"}))
    with pytest.raises(KernelError, match=r"has the schema 'bulkpages-kernel-0', and this version reads"):
        open_kernel(tmp_path)
    names = ("version", "tree", "semantics", "why_not", "key", "compiler")
    about = {"schema": "bulkpages-kernel-1", **dict.fromkeys(names, ""), "patches": [], "absent": {}, "records": True}
    (tmp_path / "kernel.json").write_text(json.dumps(about))
    with pytest.raises(KernelError, match=r"is not whole: native is missing; build it again"):
        open_kernel(tmp_path)


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {tool.name for tool in missing("build")} >= {"gcc", "make", "flex", "bison", "bc", "patch"}
    with pytest.raises(KernelError, match=r"not installed: qemu-system-x86_64; .*: apt install qemu-system-x86$"):
        need_tools("run")
    with pytest.raises(KernelError, match=r"not installed: gcc, .*flex.*: apt install gcc .*flex"):
        build(tmp_path)
    assert all(tool.package for tool in TOOLS)


def test_files_of_a_patch_that_nothing_is_compiled_from(copy: SourceCopy) -> None:
    def diff(path: str) -> FileDiff:
        return FileDiff(path, "", 1, 0)

    paths = ("mm/a.c", "mm/a.h", "mm/b.c", "mm/gone.c", "drivers/gpu/c.c", "Documentation/mm/d.rst", "MAINTAINERS")
    for path in ("mm/a.c", "mm/b.c"):
        (copy.top / path).parent.mkdir(exist_ok=True)
        (copy.top / path).touch()
    (copy.folder / "native/mm").mkdir()
    (copy.folder / "native/mm/a.o").touch()
    patch = Patch("mail", "", "", "", tuple(diff(path) for path in paths))
    assert not_built(copy, [patch, patch]) == ["mm/b.c", "drivers/gpu/c.c", "Documentation/mm/d.rst"]


def test_something_else_is_never_overwritten(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for path in ("mm/page_alloc.c", "Kbuild", "include/linux/gfp.h", "Makefile"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).touch()
    (tree / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\n")
    (tree / "include/linux/gfp.h").write_text("unsigned long alloc_pages_bulk_noprof(gfp_t gfp);\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    if missing("build"):
        pytest.skip("not all tools are here")
    with pytest.raises(KernelError, match=r"exists and is not a kernel's folder"):
        build(tree, output=tmp_path / "mine", work=tmp_path / "work")
    assert os.listdir(tmp_path / "mine") == ["file"]
