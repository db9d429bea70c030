"""Instructions per page under callgrind, beside the stored baseline and the real SMP kernel's.

    python benches/native/instructions.py [--update] [--json]

Counts are repeatable for one compiler, so this is the only speed that is checked: exit 1 when a row costs more than 2 %
and one instruction above its baseline. With another compiler than the baseline's, rows are only printed.
Needs valgrind.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BASELINE = Path(__file__).with_name("instructions.json")
TIMINGS = ROOT / "python/bulkpages/data/timings.json"
ITERATIONS = 400

ROWS = [(api, n, 0, "none") for n in (1, 2, 8, 64, 256) for api in ("single", "v1", "v2")]
ROWS += [(api, 256, period, "none") for period in (2, 8, 32, 64) for api in ("v1", "v2")]
ROWS += [(api, 64, 0, "atomic") for api in ("single", "v1", "v2")]


def name(row: tuple[str, int, int, str]) -> str:
    api, n, period, locks = row
    return f"{api} {n}" + (f" every {period}" if period else "") + ("" if locks == "none" else " atomic")


def count(program: Path, row: tuple[str, int, int, str]) -> float:
    """Instructions per page of a row, allocation alone: the difference of two runs, so that warming up drops out."""
    api, n, period, locks = row

    def total(iterations: int) -> int:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"]
        command += [str(program), api, str(n), str(period), str(iterations), *(["atomic"] if locks == "atomic" else [])]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        if found is None:
            raise SystemExit(f"callgrind printed no count:\n{done.stderr}")
        return int(found[1])

    pages = -(-n // max(period, 1)) * ITERATIONS
    return (total(2 * ITERATIONS) - total(ITERATIONS)) / pages


def kernel() -> dict[str, float]:
    """The SMP kernel's instructions per page, allocation alone."""
    rows = json.loads(TIMINGS.read_text())["bulk"]
    key = "smp_kernel_alloc_instructions_per_page"
    return {name((r["api"], r["nr_pages"], r["hole_period"], "none")): r[key] for r in rows if r.get(key) is not None}


def main() -> int:
    parser = argparse.ArgumentParser(description="Instructions per page under callgrind.")
    parser.add_argument("--update", action="store_true", help="store what is measured as the baseline")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: instructions are not counted", file=sys.stderr)
        return 0
    build = ["cargo", "build", "--release", "--quiet", "--locked", "-p", "bulkpages-measure", "--example", "instr"]
    subprocess.run(build, check=True, cwd=ROOT)
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--no-deps"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    program = Path(json.loads(metadata.stdout)["target_directory"]) / "release/examples/instr"
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()

    stored: dict[str, Any] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"rustc": None, "rows": {}}
    same = stored["rustc"] == rustc
    reference, found, worse = kernel(), {}, []
    for row in ROWS:
        found[name(row)] = value = round(count(program, row), 2)
        was = stored["rows"].get(name(row))
        slower = was is not None and value > was * 1.02 + 1
        if slower and same:
            worse.append(name(row))
        if not args.json:
            beside = f"{reference[name(row)]:.0f}" if name(row) in reference else ""
            before = "-" if was is None else f"{was:.2f}"
            print(f"{name(row):<22}{value:>10.2f}{before:>10}{beside:>10}{'  MORE' if slower else ''}")
    if args.update:
        BASELINE.write_text(
            json.dumps({"rustc": rustc, "unit": "instructions per page", "rows": found}, indent=1) + "\n"
        )
    if args.json:
        print(json.dumps({"rustc": rustc, "rows": found}, indent=1))
    elif not same:
        print(f"the baseline is of {stored['rustc']}, this is {rustc}: nothing is checked", file=sys.stderr)
    return 1 if worse and not args.update else 0


if __name__ == "__main__":
    sys.exit(main())
