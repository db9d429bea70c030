#!/usr/bin/env python3
"""Break rules of the core on purpose, one at a time, and see which tests notice.

    benches/mutants/run.py [--only SUBSTRING] [--jobs N]

Each mutant of mutants.toml replaces one text of a source file. The workspace is copied to a temporary directory, the
mutant applied, the core's tests run there. A mutant that no test notices has survived: exit 1, unless
mutants.toml explains why no test can see it.
"""

import argparse
import concurrent.futures
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 900


def copy_workspace(target: Path) -> None:
    for name in ("Cargo.toml", "Cargo.lock", "rust", "tests/conformance/recordings"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy(source, target / name)


def run(workspace: Path) -> str | None:
    """Runs the core's tests; the first that failed, or None."""
    command = ["cargo", "test", "--quiet", "--offline", "-p", "bulkpages-core", "--test", "all"]
    try:
        done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return "never ends"
    if done.returncode == 0:
        return None
    if "error: could not compile" in done.stderr:
        return "does not compile"
    failed = re.search(r"^    ([\w:]+)$", done.stdout, re.M)
    return failed[1] if failed else "crash"


def judge(mutant: dict[str, Any], workspaces: "queue.Queue[Path]") -> tuple[str, str | None]:
    workspace = workspaces.get()
    try:
        path = workspace / "rust/core/src" / mutant["file"]
        text = path.read_text()
        count = text.count(mutant["old"])
        if count != 1:
            return "stale", f"the text to replace occurs {count} times"
        path.write_text(text.replace(mutant["old"], mutant["new"]))
        try:
            if reason := run(workspace):
                return ("stale" if reason == "does not compile" else "caught"), reason
        finally:
            path.write_text(text)
        return "survived", None
    finally:
        workspaces.put(workspace)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only mutants whose rule or file contains this")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (default 2)")
    arguments = parser.parse_args()
    document = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())
    chosen = [m for m in document["mutant"] if arguments.only in m["rule"] or arguments.only in m["file"]]
    tally = {"caught": 0, "survived": 0, "explained": 0, "stale": 0}
    with tempfile.TemporaryDirectory() as scratch:
        workspaces: queue.Queue[Path] = queue.Queue()
        for job in range(arguments.jobs):
            workspace = Path(scratch) / str(job)
            workspace.mkdir()
            copy_workspace(workspace)
            if reason := run(workspace):
                print(f"the tests fail without a mutant: {reason}", file=sys.stderr)
                return 2
            workspaces.put(workspace)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            verdicts = pool.map(lambda m: judge(m, workspaces), chosen)
            for i, (mutant, (verdict, reason)) in enumerate(zip(chosen, verdicts, strict=True), 1):
                if verdict == "survived" and "explained" in mutant:
                    verdict, reason = "explained", mutant["explained"]
                tally[verdict] += 1
                print(f"{i:3} {verdict:9} {mutant['file']:20} {mutant['rule']}: {reason or ''}", flush=True)
    print(", ".join(f"{n} {word}" for word, n in tally.items()), f"of {len(chosen)} mutants")
    return 1 if tally["survived"] or tally["stale"] else 0


if __name__ == "__main__":
    sys.exit(main())
