"""Installs each wheel and sdist of a folder into an environment of its own and tries it, far from the source.

    python tests/packaging/try_dist.py DIST

Checks what is inside first: an sdist holds every tracked file, a wheel its SBOM and no path of this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT / "tests/conformance/recordings"
SMOKE = """
import sys, bulkpages as bp
m = bp.Machine("256MiB", cpus=2)
a = bp.PageArray(64)
assert m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v2") == 64
assert m.free_bulk(a) == 64
assert bp.callers.svc_alloc_arg(m, bp.PageArray(259), form="after").ret is True
assert bp.Machine.from_snapshot(m.snapshot()).snapshot() == m.snapshot()
m.audit()
print(bp.__version__, bp.__file__)
"""


def check_sdist(path: Path) -> None:
    """An sdist holds what git tracks, so that its tests and documents can be built from it."""
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    missing = [name for name in listing.stdout.split("\n") if name and name not in held]
    if missing:
        raise SystemExit(f"{path.name} lacks {len(missing)} tracked files: {', '.join(missing[:10])}")


def check_wheel(path: Path) -> None:
    """A wheel holds an SBOM, types and the licence, and says nothing about the machine that built it."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for ending in (".cyclonedx.json", "py.typed", "_core.pyi", "licenses/LICENSE"):
            if not any(name.endswith(ending) for name in names):
                raise SystemExit(f"{path.name} has no {ending}")
        sbom = json.loads(archive.read(next(n for n in names if n.endswith(".cyclonedx.json"))))
        if len(sbom["components"]) < 10:
            raise SystemExit(f"{path.name}: the SBOM names {len(sbom['components'])} components")
        native = archive.read(next(n for n in names if n.endswith(".so")))
        for place in (str(ROOT), str(Path.home() / ".cargo")):
            if place.encode() in native:
                raise SystemExit(f"{path.name}: the extension names {place}")


def try_it(path: Path, folder: Path) -> None:
    """Installs one and runs it."""
    python, command = folder / "bin/python", folder / "bin/bulkpages"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install: list[Any] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), str(path)], check=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    run: dict[str, Any] = {"cwd": folder, "env": clean, "check": True}
    print(subprocess.run([python, "-c", SMOKE], capture_output=True, text=True, **run).stdout.strip())
    recordings = [str(RECORDINGS / f"{name}.jsonl.gz") for name in ("first-60-ops", "uma-256m-order0")]
    subprocess.run([command, "conform", *recordings], **run)
    times = []
    for _ in range(5):
        done = subprocess.run(
            [python, "-X", "importtime", "-c", "import bulkpages"], capture_output=True, text=True, **run
        )
        times.append(int(done.stderr.splitlines()[-1].split("|")[1]))
    print(f"{path.name}: installed and tried; import takes {min(times) / 1000:.0f} ms")


def main() -> None:
    """Tries every file of the folder."""
    files = sorted([*Path(sys.argv[1]).glob("*.whl"), *Path(sys.argv[1]).glob("*.tar.gz")])
    if len(files) < 2:
        raise SystemExit(f"{sys.argv[1]} holds {len(files)} of a wheel and an sdist")
    for path in files:
        (check_wheel if path.suffix == ".whl" else check_sdist)(path)
        with tempfile.TemporaryDirectory() as scratch:
            try_it(path.resolve(), Path(scratch) / "venv")


if __name__ == "__main__":
    main()
