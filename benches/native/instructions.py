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
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BASELINE = Path(__file__).with_name("instructions.json")
TIMINGS = ROOT / "python/bulkpages/data/timings.json"
ITERATIONS = 400

USUAL = "6.12"
APIS = ("single", "v1", "v2")


class Row(NamedTuple):
    """What is counted: one API on an array, on a machine of one kernel series."""

    api: str
    nr_pages: int
    hole_period: int = 0
    locks: str = "none"
    kernel: str = USUAL

    @property
    def name(self) -> str:
        holes = f" every {self.hole_period}" if self.hole_period else ""
        locks = "" if self.locks == "none" else f" {self.locks}"
        return f"{self.api} {self.nr_pages}{holes}{locks}" + ("" if self.kernel == USUAL else f" on {self.kernel}")


ROWS = [Row(api, n) for n in (1, 2, 8, 64, 256) for api in APIS]
ROWS += [Row(api, 256, period) for period in (2, 8, 32, 64) for api in ("v1", "v2")]
ROWS += [Row(api, 64, locks="atomic") for api in APIS]
ROWS += [Row(api, n, kernel=kernel) for kernel in ("6.1", "7.3") for n in (1, 8, 64) for api in APIS]
ROWS += [Row(api, 256, 8, kernel=kernel) for kernel in ("6.1", "7.3") for api in ("v1", "v2")]


def count(program: Path, row: Row) -> float:
    """Instructions per page of a row, allocation alone: the difference of two runs, so that warming up drops out."""

    def total(iterations: int) -> int:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"]
        numbers = (row.nr_pages, row.hole_period, iterations)
        command += [str(program), row.kernel, row.locks, row.api, *map(str, numbers)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        if found is None:
            raise SystemExit(f"callgrind printed no count:\n{done.stderr}")
        return int(found[1])

    pages = -(-row.nr_pages // max(row.hole_period, 1)) * ITERATIONS
    return (total(2 * ITERATIONS) - total(ITERATIONS)) / pages


def kernel() -> dict[str, float]:
    """The SMP kernel's instructions per page, allocation alone."""
    rows = json.loads(TIMINGS.read_text())["bulk"]
    key = "smp_kernel_alloc_instructions_per_page"
    return {Row(r["api"], r["nr_pages"], r["hole_period"]).name: r[key] for r in rows if r.get(key) is not None}


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
        found[row.name] = value = round(count(program, row), 2)
        was = stored["rows"].get(row.name)
        slower = was is not None and value > was * 1.02 + 1
        if slower and same:
            worse.append(row.name)
        if not args.json:
            beside = f"{reference[row.name]:.0f}" if row.name in reference else ""
            before = "-" if was is None else f"{was:.2f}"
            print(f"{row.name:<22}{value:>10.2f}{before:>10}{beside:>10}{'  MORE' if slower else ''}")
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
