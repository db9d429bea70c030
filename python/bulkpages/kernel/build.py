"""Builds a kernel twice from one copy of a tree: as a program of this machine, and for several CPUs under qemu."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from bulkpages.eras.rules import DEFAULT as DEFAULT_ERA
from bulkpages.eras.rules import ERAS
from bulkpages.errors import KernelError
from bulkpages.files import write_whole
from bulkpages.kernel.locks import folder_lock, one_at_a_time
from bulkpages.kernel.parts import part_changes
from bulkpages.kernel.patches import Patch, apply
from bulkpages.kernel.source import SourceCopy, left_out
from bulkpages.kernel.tools import need_tools
from bulkpages.kernel.tree import Facts, find_tree, read_facts
from bulkpages.processes import termination_raises

__all__ = ["Kernel", "build", "default_work", "open_kernel"]

SCHEMA = "bulkpages-kernel-1"
#: Files of a built kernel.
NATIVE, EMULATED, INIT, ABOUT, LOG = "native", "emulated", "init", "kernel.json", "build.log"
SYMBOLS = "vmlinux"
# Lines that make prints while it builds, before a build of this copy has shown the true number.
_STEPS = {"native": 700, "emulated": 900, "debug": 900}
# The emulated kernel with debugging information has a folder of objects of its own, so that both are kept.
_EMULATED = ("x86_64", "bzImage", "arch/x86/boot/bzImage")
_TARGETS = {"native": ("um", "vmlinux", "vmlinux"), "emulated": _EMULATED, "debug": _EMULATED}
_WISHES = {
    "native": ("common.config", "native.config"),
    "emulated": ("common.config", "emulated.config"),
    "debug": ("common.config", "emulated.config", "debug.config"),
}

Say = Callable[[str, float], None]


@dataclass(frozen=True)
class Kernel:
    """A kernel that was built.

    Attributes:
        folder: Where it is.
        version: As in "6.12.117".
        tree: What it was built from.
        patches: Names of the patches on top.
        semantics: "null_only" (v1) or "output_only" (v2): found out by calling the bulk function.
        absent: Functions that cannot be measured, and why.
        records: Whether operations can be recorded and compared with the emulator.
        why_not: Why they cannot.
        key: Names what was built: the sources, the configuration, the compiler.
        compiler: Its version.
        not_built: Files of the patches that neither kernel is compiled from: not in the copy, or not configured.
        era: The kernel of the emulator that its tree is like, as in `Machine(kernel=...)`.
        rules: Where the tree differs from it, as in `Machine(rules=...)`; patches are left out.
        forms: Callers that have neither of the two forms of the patch, and the emulator's name of the form they have.
    """

    folder: Path
    version: str
    tree: str
    patches: tuple[str, ...]
    semantics: str
    absent: dict[str, str]
    records: bool
    why_not: str
    key: str
    compiler: str
    not_built: tuple[str, ...] = ()
    era: str = DEFAULT_ERA
    rules: Mapping[str, bool] = field(default_factory=dict)
    forms: Mapping[str, str] = field(default_factory=dict)

    def holds(self, rule: str) -> bool:
        """Whether a rule of the emulator holds in the tree."""
        return self.rules.get(rule, ERAS[self.era].rules[rule])

    @property
    def facts(self) -> dict[str, Any]:
        """What a state says about its kernel; nothing for the kernel that states mean by default."""
        facts: dict[str, Any] = {} if self.era == DEFAULT_ERA else {"kernel": self.era}
        return facts | ({"rules": dict(self.rules)} if self.rules else {})

    @property
    def form(self) -> str:
        """The emulator's name for this kernel's bulk function: "v1" or "v2"."""
        return "v2" if self.semantics == "output_only" else "v1"

    def form_of(self, caller: str) -> str:
        """The emulator's name for the form that a caller has in this kernel; "core" is the bare call."""
        if caller == "core":
            return self.form
        return self.forms.get(caller, "after" if self.form == "v2" else "before")

    @property
    def name(self) -> str:
        """For tables: the version, and a mark when there are patches on top."""
        return f"Linux {self.version}" + (" patched" if self.patches else "")


def open_kernel(folder: str | Path) -> Kernel:
    """A kernel that `build` left.

    Raises:
        KernelError: The folder holds none, or one of another version of bulkpages.
    """
    folder = Path(folder)
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except OSError as error:
        raise KernelError(f"{folder} holds no kernel of `bulkpages kernel build`: {error.strerror or error}") from error
    except ValueError as error:
        raise KernelError(f"{folder / ABOUT} is not JSON: {error}") from error
    if found.get("schema") != SCHEMA:
        raise KernelError(f"{folder / ABOUT} has the schema {found.get('schema')!r}, and this version reads {SCHEMA!r}")
    del found["schema"]
    found["patches"] = tuple(found["patches"])
    found["not_built"] = tuple(found.get("not_built", ()))
    for name in (NATIVE, EMULATED, INIT):
        if not (folder / name).is_file():
            raise KernelError(f"{folder} is not whole: {name} is missing; build it again")
    return Kernel(folder=folder, **found)


def default_work(tree: Path) -> Path:
    """Where the copy of a tree and what is built of it are kept, so that the next build is short."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    sign = hashlib.sha256(str(tree).encode()).hexdigest()[:10]
    return base / "bulkpages" / "kernel" / f"{re.sub(r'[^A-Za-z0-9.-]', '-', tree.name)}-{sign}"


def build(
    tree: str | Path | None = None,
    *,
    patches: Sequence[Patch] = (),
    output: str | Path | None = None,
    work: str | Path | None = None,
    debug_info: bool = False,
    jobs: int | None = None,
    say: Say = lambda _what, _share: None,
) -> Kernel:
    """Builds a kernel; short when only a patch changed, nothing when nothing did.

    Args:
        tree: A directory (only read) or a tarball; the distribution's package when None.
        patches: Applied in order to the copy.
        output: Folder of the result; `linux-VERSION` (with `-patched`) in the working directory when None.
        work: Folder of the copy and the object files; kept in the user's cache when None.
        debug_info: With debugging information for drgn, as `vmlinux`.
        jobs: Compilers at once for each of the two; as many as there are processors when None.
        say: Told what is being done, and the share of it that is done.

    Raises:
        KernelError: Something is not installed, a patch does not apply, the compiler fails, or another build runs.
    """
    need_tools("build")
    tree = find_tree(tree)
    # make is started elsewhere.
    place = Path(work).absolute() if work else default_work(tree)
    with termination_raises(), folder_lock(place, "a kernel is being built there"):
        copy = SourceCopy(place, tree)
        copy.update(say)
        facts, changes = _changes(copy, patches)
        name = f"linux-{facts.version}" + ("-patched" if patches else "")
        folder = Path(output) if output else Path(name)
        key = _key(copy, changes, debug_info)
        with contextlib.suppress(KernelError):
            there = open_kernel(folder)
            if there.key == key and ((folder / SYMBOLS).exists() or not debug_info):
                return there
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and any(folder.iterdir()) and not (folder / ABOUT).exists():
            raise KernelError(f"{folder} exists and is not a kernel's folder")
        copy.change(changes)
        log = place / LOG
        with log.open("wb") as stream:
            kinds = _kinds(debug_info)
            for kind in kinds:
                say(f"configuring {kind}", 0.0)
                _configure(copy, kind, stream)
            _make(copy, kinds, jobs or os.cpu_count() or 1, stream, say)
        return _publish(copy, folder, facts, patches, key, debug_info)


def _kinds(debug_info: bool) -> tuple[str, str]:
    """What is compiled: the kernel that runs natively, and the one for qemu."""
    return "native", "debug" if debug_info else "emulated"


def not_built(copy: SourceCopy, patches: Sequence[Patch]) -> list[str]:
    """The files of patches that nothing was compiled from: not copied, or left out by the small configuration."""
    found = []
    for path in dict.fromkeys(diff.path for patch in patches for diff in patch.files):
        source = copy.top / path
        compiled = source.suffix not in (".c", ".S") or not source.exists()
        compiled = compiled or any((copy.folder / kind / path).with_suffix(".o").exists() for kind in _TARGETS)
        if left_out(path) or not compiled:
            found.append(path)
    return found


def _harness() -> dict[str, bytes]:
    place = files("bulkpages.kernel").joinpath("harness")
    return {item.name: item.read_bytes() for item in place.iterdir() if item.name.endswith((".c", ".h", ".config"))}


def _changes(copy: SourceCopy, patches: Sequence[Patch]) -> tuple[Facts, dict[str, bytes | None]]:
    """What the copy shall hold that the tree does not: the patches, and the harness behind them."""
    kept = [
        Patch(
            patch.name,
            patch.subject,
            patch.author,
            patch.message_id,
            tuple(d for d in patch.files if not left_out(d.path)),
        )
        for patch in patches
    ]
    changes = apply(kept, copy.read)

    def read(path: str) -> str | None:
        content = changes[path] if path in changes else copy.read(path)
        return None if content is None else content.decode(errors="replace")

    facts = read_facts(copy.top, read)
    harness = _harness()
    changes["bulkpages/tree.h"] = facts.header.encode()
    for name, text in harness.items():
        if not name.endswith(".config") and name != "init.c":
            changes[f"bulkpages/{name}"] = text
    for path, ours in {"mm/page_alloc.c": "allocator.c", **facts.callers}.items():
        up = "../" * path.count("/")
        changes[path] = (read(path) or "").encode() + f'\n#include "{up}bulkpages/{ours}"\n'.encode()
    changes |= part_changes(facts.callers, read)
    return facts, changes


def _key(copy: SourceCopy, changes: dict[str, bytes | None], debug_info: bool) -> str:
    configs = [(name, text) for name, text in _harness().items() if name.endswith(".config") or name == "init.c"]
    digest = hashlib.sha256(copy.digest([*changes.items(), *configs]).encode())
    digest.update(_compiler().encode() + bytes([debug_info]))
    return digest.hexdigest()


def _compiler() -> str:
    return subprocess.run(["gcc", "--version"], capture_output=True, check=True).stdout.decode().splitlines()[0]


def _configure(copy: SourceCopy, kind: str, log: Any) -> None:
    """Makes the configuration, unless the one that is there was made from the same wishes."""
    objects = copy.folder / kind
    objects.mkdir(exist_ok=True)
    harness = _harness()
    wishes = b"".join(harness[name] for name in _WISHES[kind])
    sign = objects / "wishes"
    if sign.exists() and sign.read_bytes() == wishes and (objects / ".config").exists():
        return
    sign.unlink(missing_ok=True)
    _run_make(copy, kind, ["tinyconfig"], log)
    with (objects / ".config").open("ab") as file:
        file.write(wishes)
    _run_make(copy, kind, ["olddefconfig"], log)
    write_whole(sign, wishes)


def _command(copy: SourceCopy, kind: str, targets: Sequence[str]) -> list[str]:
    return ["make", "-C", str(copy.top), f"O={copy.folder / kind}", f"ARCH={_TARGETS[kind][0]}", *targets]


# What the user's shell says about building must not decide what is built.
def _environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("ARCH", "CROSS_COMPILE", "KBUILD_OUTPUT", "O")
    }
    return kept | {"LC_ALL": "C", "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970", "KBUILD_BUILD_VERSION": "1"}


def _run_make(copy: SourceCopy, kind: str, targets: Sequence[str], log: Any) -> None:
    done = subprocess.run(
        _command(copy, kind, targets), stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), check=False
    )
    log.write(done.stdout + done.stderr)
    if done.returncode:
        raise KernelError(f"make {' '.join(targets)} failed: {done.stderr.decode(errors='replace').strip()[-400:]}")


class _Compiling:
    """One kernel's make: what it has said, and how far it is."""

    def __init__(self, copy: SourceCopy, kind: str, jobs: int) -> None:
        self.kind = kind
        self.record = copy.folder / kind / "steps.json"
        self.fresh = not self.record.exists()
        self.expected = _STEPS[kind] if self.fresh else json.loads(self.record.read_text())
        self.steps = 0
        self.lines: list[str] = []
        self._rest = b""
        self.process = subprocess.Popen(
            _command(copy, kind, [f"-j{jobs}", _TARGETS[kind][1]]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )

    def read(self) -> bytes | None:
        """The whole lines that have come; None at the end."""
        assert self.process.stdout is not None
        came = os.read(self.process.stdout.fileno(), 1 << 16)
        text, mark, self._rest = (self._rest + came).rpartition(b"\n")
        if not came:
            text, self._rest = self._rest, b""
            mark = b"\n" if text else b""
        for raw in text.split(b"\n") if text else ():
            self.lines.append(raw.decode(errors="replace").rstrip())
            self.steps += bool(re.match(r"  [A-Z]{2,} ", self.lines[-1]))
        return text + mark if came or text else None

    @property
    def share(self) -> float:
        """Of it that is done; an earlier build's number of files says nothing about what is left of this one."""
        return min(0.99, self.steps / self.expected) if self.fresh else -1.0

    def stop(self) -> None:
        """Ends the compilers; what they finished is kept."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


def _make(copy: SourceCopy, kinds: Sequence[str], jobs: int, log: Any, say: Say) -> None:
    """Compiles kernels side by side: while one is linked, the other has the processors. Ctrl-C stops the compilers."""
    running: list[_Compiling] = []
    try:
        with selectors.DefaultSelector() as selector:
            for kind in kinds:
                running.append(_Compiling(copy, kind, jobs))
                assert running[-1].process.stdout is not None
                selector.register(running[-1].process.stdout, selectors.EVENT_READ, running[-1])
            while selector.get_map():
                for key, _ in selector.select():
                    one: _Compiling = key.data
                    if (came := one.read()) is None:
                        selector.unregister(key.fileobj)
                        _finish(one, log)
                        continue
                    log.write(came)
                    log.flush()
                    shares = [each.share for each in running]
                    steps = sum(each.steps for each in running)
                    if min(shares) < 0:
                        say(f"building: {steps} files", -1.0)
                    else:
                        say("building", steps / sum(each.expected for each in running))
    finally:
        for one in running:
            if one.process.poll() is None:
                one.stop()
            if one.process.stdout:
                one.process.stdout.close()


def _finish(one: _Compiling, log: Any) -> None:
    one.process.wait()
    if one.process.returncode:
        raise KernelError(_first_error(one.lines, Path(log.name)))
    if one.fresh and one.steps > _STEPS[one.kind] // 2:
        write_whole(one.record, json.dumps(one.steps))


def _first_error(lines: list[str], log: Path) -> str:
    """The compiler's first error, with what it shows of the source."""
    for i, line in enumerate(lines):
        if re.search(r"\b(fatal )?error: |undefined reference|multiple definition", line):
            shown = [line, *(text for text in lines[i + 1 : i + 4] if re.match(r"\s+(\d+ )?\|", text))]
            return "the build failed:\n" + "\n".join(shown) + f"\nall of it: {log}"
    return "the build failed:\n" + "\n".join(lines[-5:]) + f"\nall of it: {log}"


def _publish(
    copy: SourceCopy, folder: Path, facts: Facts, patches: Sequence[Patch], key: str, debug_info: bool
) -> Kernel:
    """Puts the kernel in its place whole: beside it first, then renamed."""
    from bulkpages.kernel.run import ask_semantics

    fresh = folder.parent / f".{folder.name}.{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        for kind, name in zip(_kinds(debug_info), (NATIVE, EMULATED), strict=True):
            shutil.copy(copy.folder / kind / _TARGETS[kind][2], fresh / name)
            shutil.copyfile(copy.folder / kind / ".config", fresh / f"{name}.config")
        if debug_info:
            shutil.copyfile(copy.folder / "debug" / "vmlinux", fresh / SYMBOLS)
        shutil.copyfile(copy.folder / LOG, fresh / LOG)
        _build_init(fresh)
        about: dict[str, Any] = {
            "version": facts.version,
            "tree": str(copy.tree),
            "patches": [patch.name for patch in patches],
            "semantics": ask_semantics(fresh),
            "absent": facts.absent,
            "records": facts.records,
            "why_not": facts.why_not,
            "key": key,
            "compiler": _compiler(),
            "not_built": not_built(copy, patches),
            "forms": dict(facts.forms),
            **_rules(copy),
        }
        write_whole(fresh / ABOUT, json.dumps({"schema": SCHEMA, **about}, indent=1) + "\n")
        old = folder.parent / f".{folder.name}.{os.getpid()}.old"
        with one_at_a_time(folder.parent):
            if folder.exists():
                folder.rename(old)
            fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return open_kernel(folder)


def _rules(copy: SourceCopy) -> dict[str, Any]:
    """The emulator's kernel that the tree without patches is like, and the rules in which it differs."""
    from bulkpages.eras.functions import FUNCTIONS
    from bulkpages.eras.identification import identify

    with tempfile.TemporaryDirectory(prefix="bulkpages-") as place:
        for path in {"Makefile", "Kbuild", *(file for function in FUNCTIONS for file in function.files)}:
            if (content := copy.read(path)) is not None:
                write_whole(Path(place) / path, content)
        found = identify(place)
    return {"era": found.kernel, "rules": dict(found.differences)}


def _build_init(folder: Path) -> None:
    source = _harness()["init.c"]
    command = ["gcc", "-x", "c", "-O2", "-static", "-o", str(folder / INIT), "-"]
    done = subprocess.run(command, input=source, capture_output=True, check=False)
    if done.returncode:
        raise KernelError(f"init.c does not compile: {done.stderr.decode(errors='replace')[:400]}")
