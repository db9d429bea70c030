"""A patch, measured: built before and after, its callers' fills timed and counted, the emulator asked what changed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkpages.errors import KernelError
from bulkpages.kernel.patches import Patch
from bulkpages.kernel.tools import need_tools
from bulkpages.kernel.tree import CALLERS, find_tree

if TYPE_CHECKING:
    # What measures takes a second to import, and a patch that touches nothing needs none of it.
    from bulkpages.kernel.bench import Bench, Row
    from bulkpages.kernel.build import Kernel
    from bulkpages.kernel.check import Check
    from bulkpages.kernel.semantics import Witness
    from bulkpages.suite.trunk.cells import Cell

__all__ = ["Review", "reached_cells", "review", "touched_files", "tree_of_commit"]

Say = Callable[[str, float], None]

# Part of a row's instructions by which two counts of one kernel differ: mapping pages for erofs depends on its start.
REPEATS = 1e-4
# Part of a row's instructions below which a patch does not explain a difference in cycles.
SAME_INSTRUCTIONS = 0.002
# Verdicts about cycles that are a remark.
DIFFERENT = ("slower", "faster")

# What the allocator is made of: a change there is seen by every cell.
ALLOCATOR = frozenset(
    {
        "mm/page_alloc.c",
        "mm/internal.h",
        "mm/mm_init.c",
        "mm/vmstat.c",
        "mm/page_isolation.c",
        "mm/compaction.c",
        "include/linux/gfp.h",
        "include/linux/gfp_types.h",
        "include/linux/mm.h",
        "include/linux/mm_inline.h",
        "include/linux/mm_types.h",
        "include/linux/mmzone.h",
        "include/linux/page-flags.h",
        "include/linux/page_ref.h",
        "include/linux/pageblock-flags.h",
        "include/linux/vmstat.h",
        "include/linux/list.h",
    }
)


@dataclass(frozen=True)
class Review:
    """What is known about a patch.

    Attributes:
        patches: What was applied.
        touched: Files whose functions are measured.
        before: The kernel without it; None when nothing that is measured is touched.
        after: The kernel with it.
        bench: Costs of both.
        checks: Whether the emulator is exact, before and after; None where that was not asked or cannot be.
        witness: The smallest array that the two kernels' bulk functions fill differently; None when they agree.
    """

    patches: tuple[Patch, ...]
    touched: tuple[str, ...]
    before: Kernel | None = None
    after: Kernel | None = None
    bench: Bench | None = None
    checks: tuple[Check | None, Check | None] = (None, None)
    witness: Witness | None = None

    @property
    def subject(self) -> str:
        """Of the first mail that has one."""
        return next((patch.subject for patch in self.patches if patch.subject), self.patches[0].name)

    @property
    def lines(self) -> tuple[int, int]:
        """Lines added and removed."""
        diffs = [diff for patch in self.patches for diff in patch.files]
        return sum(diff.added for diff in diffs), sum(diff.removed for diff in diffs)

    @property
    def changed_instructions(self) -> list[tuple[Row, float, float]]:
        """Rows whose counts differ by more than two counts of one kernel do, with both."""
        found = []
        for row in self.bench.rows if self.bench else []:
            if len(row.instructions) == 2:
                a, b = row.instructions
                if a is not None and b is not None and abs(a - b) > REPEATS * a:
                    found.append((row, a, b))
        return found

    @property
    def behaviour(self) -> str:
        """Whether other pages, counts or returns come out: "same", "differs", or "not asked"."""
        before, after = self.checks
        if self.witness or (after and not after.exact and before and before.exact):
            return "differs"
        if after and after.exact and before and before.exact:
            return "same"
        return "not asked"

    def cycles(self, verdict: str) -> list[Row]:
        """Rows that the comparison of cycles calls so, and that do not have the same instructions."""
        return [
            row
            for row in self._claims
            if row.comparison and row.comparison.verdict == verdict and not _same_instructions(row)
        ]

    @property
    def placed(self) -> list[Row]:
        """Rows whose cycles differ although they have the same instructions."""
        return [row for row in self._claims if _same_instructions(row)]

    @property
    def _claims(self) -> list[Row]:
        """Rows in which the comparison of cycles found a difference."""
        if self.bench is None or not self.bench.nulls.silent:
            return []
        return [row for row in self.bench.rows if row.comparison and row.comparison.verdict in DIFFERENT]

    @property
    def status(self) -> str:
        """For a check's list: "pass"; "warn" when behaviour differs or something costs more; "fail" is for errors."""
        if self.behaviour == "differs" or self.cycles("slower"):
            return "warn"
        return "warn" if any(b > a for _, a, b in self.changed_instructions) else "pass"

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.touched:
            return "touches nothing that is modelled or measured here"
        words = []
        more = sum(b > a for _, a, b in self.changed_instructions)
        fewer = len(self.changed_instructions) - more
        rows = len(self.bench.rows) if self.bench else 0
        if more or fewer:
            words.append(f"more instructions in {more} and fewer in {fewer} of {rows} workloads")
        else:
            words.append(f"the same instructions in all {rows} workloads")
        slower, faster = len(self.cycles("slower")), len(self.cycles("faster"))
        if self.bench and self.bench.rounds:
            words.append(
                f"slower in {slower}, faster in {faster} (cycles)"
                if slower or faster
                else "no difference in cycles found"
            )
            if self.placed:
                words.append(f"cycles differ in {len(self.placed)} with the same instructions")
        words.append(
            {
                "same": "the same pages are handed out",
                "differs": "behaviour changes",
                "not asked": "whether behaviour changes was not asked",
            }[self.behaviour]
        )
        return "; ".join(words)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": "bulkpages-review-1",
            "subject": self.subject,
            "verdict": self.verdict,
            "status": self.status,
            "behaviour": self.behaviour,
            "touched": list(self.touched),
            "lines": [
                {"file": diff.path, "added": diff.added, "removed": diff.removed}
                for patch in self.patches
                for diff in patch.files
            ],
            "bench": self.bench and self.bench.to_json(),
            "checks": [one and one.to_json() for one in self.checks],
            "witness": self.witness and self.witness.to_json(),
        }


def _same_instructions(row: Row) -> bool:
    """Whether two kernels execute the same instructions in a row, so that other cycles are due to caches."""
    before, after = (*row.instructions, None, None)[:2]
    return before is not None and after is not None and abs(after - before) <= SAME_INSTRUCTIONS * before


def touched_files(patches: Sequence[Patch]) -> tuple[str, ...]:
    """The files of a patch whose functions are measured or modelled."""
    paths = dict.fromkeys(diff.path for patch in patches for diff in patch.files)
    return tuple(path for path in paths if path in ALLOCATOR or path in CALLERS)


def reached_cells(touched: Sequence[str]) -> list[Cell]:
    """The cells that execute something of these files."""
    from bulkpages.kernel.cells import measured_cells

    cells = measured_cells()
    if any(path in ALLOCATOR for path in touched):
        return cells
    functions = {CALLERS[path][1] for path in touched if path in CALLERS}
    pool = "page_pool_alloc_pages" in functions
    return [cell for cell in cells if cell.caller in functions or (cell.bench and pool)]


def tree_of_commit(tree: Path, commit: str, work: Path) -> Path:
    """A tarball of a commit's tree, kept beside the builds.

    Raises:
        KernelError: git does not know the commit.
    """
    found = subprocess.run(
        ["git", "-C", str(tree), "rev-parse", f"{commit}^{{tree}}"], capture_output=True, check=False
    )
    if found.returncode:
        raise KernelError(f"{tree}: git knows no commit {commit!r}: {found.stderr.decode(errors='replace').strip()}")
    place = work / f"{found.stdout.decode().strip()}.tar"
    if not place.exists():
        work.mkdir(parents=True, exist_ok=True)
        fresh = place.with_suffix(".part")
        command = ["git", "-C", str(tree), "archive", "--prefix=linux/", f"--output={fresh}", "--format=tar", commit]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise KernelError(f"git archive {commit}: {done.stderr.decode(errors='replace').strip()}")
        fresh.rename(place)
    return place


def review(
    patches: Sequence[Patch],
    *,
    tree: str | Path | None = None,
    work: str | Path | None = None,
    rounds: int = 12,
    machines: int = 6,
    jobs: int | None = None,
    output: Path | None = None,
    say: Say = lambda _what, _share: None,
) -> Review:
    """Builds a tree without and with patches and measures what their functions reach.

    Args:
        patches: Applied in order.
        tree: Sources; the distribution's package when None. Only read.
        work: Folder of copies, object files and the two kernels; in the cache when None.
        rounds: Rounds of the comparison of cycles; 0 for none.
        machines: Random machines on which behaviour is compared, in each kernel; 0 for none.
        jobs: Compilers at once for each of the two kernels.
        output: Folder where the recording of a difference is left; the working directory when None.
        say: Told what is being done, and the share that is done.

    Raises:
        KernelError: A patch does not apply, a build fails, or a kernel does not run.
    """
    touched = touched_files(patches)
    if not touched:
        return Review(tuple(patches), touched)
    from bulkpages.kernel.bench import bench
    from bulkpages.kernel.build import build, default_work
    from bulkpages.kernel.check import check
    from bulkpages.kernel.semantics import semantics_witness

    # Said before the builds, not after them.
    need_tools("build", "run")
    source = find_tree(tree)
    place = Path(work) if work else default_work(source)
    before = build(source, output=place / "before", work=place, jobs=jobs, say=say)
    after = build(source, patches=patches, output=place / "after", work=place, jobs=jobs, say=say)
    found = bench([before, after], cells=reached_cells(touched), rounds=rounds, say=say)
    checks: list[Check | None] = [None, None]
    if machines and before.records and any(path in ALLOCATOR for path in touched):
        for i, kernel in enumerate((before, after)):
            left = (output or Path()) / f"difference-{'before' if i == 0 else 'after'}.jsonl.gz"
            checks[i] = check(kernel, seconds=1e9, machines=machines, output=left, say=say)
    witness = semantics_witness(before, after) if before.semantics != after.semantics else None
    return Review(tuple(patches), touched, before, after, found, (checks[0], checks[1]), witness)
