"""A whole comparison: the exact answer first, then, if wanted, the emulator's time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkpages.eras.rules import DEFAULT, ERAS
from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.results import COMPARE
from bulkpages.states import SHIPPED_STATE, kernel_of_state, shipped_name, shipped_state
from bulkpages.suite.experiments.claims import judge
from bulkpages.suite.experiments.contention import contention
from bulkpages.suite.experiments.emulator_instructions import count_instructions
from bulkpages.suite.experiments.failures import failures
from bulkpages.suite.experiments.growth import growth
from bulkpages.suite.experiments.published import published
from bulkpages.suite.experiments.windows import clock_windows, windows
from bulkpages.suite.trunk.answer import Asked, answer
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.runner import BLOCKS, TRIAL_SECONDS, Plan, Run, run
from bulkpages.suite.trunk.timing import analyse, restore
from bulkpages.suite.trunk.workloads import all_cells, full_cells, quick_cells, select

__all__ = [
    "FULL_SECONDS",
    "MAX_SEED",
    "QUICK_SECONDS",
    "Request",
    "choose",
    "exact",
    "kernel_of",
    "state_file",
    "timed",
]

MAX_SEED = 2**32 - 1
QUICK_SECONDS, FULL_SECONDS = 30.0, 660.0
QUICK_LOOKS, FULL_LOOKS = 2, 4

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Request:
    """What is asked of a run.

    Attributes:
        cells: The workloads.
        chosen: Whether they were chosen by name; then what is asked once a run is left out.
        quick: Whether a first answer is wanted.
        snapshot: Path of a kernel state; None for the shipped one.
        kernel: The kernel series; that of the state, where one is named.
        seed: Seed of the order of trials.
        effect: Smallest effect of interest, as a fraction.
        seconds: Time for the emulator's clock; None: the usual time.
        processes: Processes for each workload, instead of a time.
        instructions: Whether the emulator's own instructions are counted too.
    """

    cells: Sequence[Cell]
    chosen: bool = False
    quick: bool = True
    snapshot: str | None = None
    kernel: str = DEFAULT
    seed: int = 0
    effect: float = 0.01
    seconds: float | None = None
    processes: int | None = None
    instructions: bool = False

    @property
    def as_recorded(self) -> bool:
        """Whether the state is the one on which the kernel was measured."""
        return self.snapshot in (None, SHIPPED_STATE) and self.kernel == DEFAULT

    def command(self, only: Sequence[str], timing: bool) -> str:
        """The command line that asks the same."""
        words = ["bulkpages compare", "--quick" if self.quick else "", *(f"--only '{name}'" for name in only)]
        words += [f"--effect {self.effect:.4g}" if self.effect != 0.01 else ""]
        words += [f"--budget {self.seconds:.4g}s" if self.seconds else ""]
        words += [f"--processes {self.processes}" if self.processes else ""]
        words += [f"--snapshot {self.snapshot}" if self.snapshot else ""]
        words += [f"--kernel {self.kernel}" if self.kernel != DEFAULT else ""]
        words += [f"--seed {self.seed}" if timing else "--no-timing"]
        return " ".join(word for word in words if word)


def choose(quick: bool, only: Sequence[str]) -> list[Cell]:
    """The workloads of a run.

    Args:
        quick: Whether a first answer is wanted.
        only: Names or patterns as of file names; all of the run if empty.

    Raises:
        InvalidArgument: A pattern matches no workload.
    """
    if not only:
        return quick_cells() if quick else full_cells()
    chosen, unknown = select(tuple(only), list(all_cells().values()))
    if unknown:
        raise InvalidArgument(f"no workload {unknown[0]!r}; bulkpages compare --list shows them")
    return chosen


def kernel_of(snapshot: str | None, kernel: str | None) -> str:
    """The kernel series of a run: that of the state, and the one that is named.

    Raises:
        InvalidArgument: They are two, or there is no such series.
        SnapshotError: The state cannot be read.
    """
    if kernel is not None and kernel not in ERAS:
        raise InvalidArgument(f"kernel {kernel!r} is not one of {', '.join(ERAS)}")
    if snapshot is None or snapshot == SHIPPED_STATE:
        return kernel or DEFAULT
    found = kernel_of_state(snapshot)
    if kernel not in (None, found):
        raise InvalidArgument(f"{snapshot} is a state of kernel {found}, not of {kernel}")
    return found


@contextlib.contextmanager
def state_file(snapshot: str | None, kernel: str = DEFAULT) -> Iterator[Path]:
    """The path of the kernel state that a run starts from."""
    if snapshot and snapshot != SHIPPED_STATE:
        yield Path(snapshot)
    else:
        with shipped_state(kernel) as shipped:
            yield shipped


def exact(request: Request, state: Path, progress: Progress = lambda share, what: None) -> dict[str, Any]:
    """Everything that needs no clock: the same on every machine.

    Args:
        request: What is asked.
        state: Path of the kernel state.
        progress: Told the share that is done, and what is going on.

    Raises:
        BulkpagesError: The state cannot be loaded, or no workload can run on it.
    """
    asked = Asked(request.cells, state, request.as_recorded, request.effect, request.kernel)
    found = answer(asked, lambda done, total: progress(0.7 * done / total, "kernel instructions"))
    results: dict[str, Any] = {
        "schema": COMPARE,
        "quick": request.quick,
        "snapshot": Path(request.snapshot).name if request.snapshot else shipped_name(request.kernel),
        "kernel": request.kernel,
        "effect": request.effect,
        **found,
        "growth": [],
        "windows": [],
        "failures": None,
        "claims": [],
        "timing": None,
    }
    if request.chosen:
        return results
    if request.kernel == DEFAULT:
        progress(0.8, "growth and windows")
        results["growth"] = growth()
        try:
            results["windows"] = windows(str(state))
        except BulkpagesError as error:
            results["skipped"]["windows"] = str(error)
        results["claims"] = judge()
    else:
        why = f"it rests on kernel instructions, which were counted in Linux {DEFAULT}"
        results["skipped"] |= dict.fromkeys(("growth", "windows", "claims"), why)
    progress(0.9, "failures")
    results["failures"] = failures(request.kernel)
    progress(1.0, "done")
    return results


def _plan(request: Request, state: Path, strict: bool) -> Plan:
    return Plan(
        list(request.cells),
        state,
        blocks=BLOCKS,
        trial_seconds=TRIAL_SECONDS,
        seed=request.seed,
        seconds=request.seconds or (QUICK_SECONDS if request.quick else FULL_SECONDS),
        looks=QUICK_LOOKS if request.quick else FULL_LOOKS,
        effect=request.effect,
        processes=request.processes,
        strict=strict,
    )


def _extras(request: Request, plan: Plan, measured: Run, timing: dict[str, Any]) -> None:
    """What is timed once a run."""
    if not request.chosen and request.kernel == DEFAULT:
        timing["published"] = published(timing)
        try:
            timing["windows"] = clock_windows(str(plan.snapshot))
        except BulkpagesError as error:
            timing["skipped"]["windows"] = str(error)
        try:
            timing["contention"] = contention(plan.seed, min(1, plan.seconds / QUICK_SECONDS), request.kernel)
        except BulkpagesError as error:
            timing["skipped"]["contention"] = str(error)
    if request.instructions:
        found = count_instructions([cell for cell in plan.cells if cell.name in measured.cost])
        if isinstance(found, str):
            timing["skipped"]["instructions"] = found
        else:
            timing["instructions"] = found


def timed(
    request: Request,
    state: Path,
    provenance: dict[str, Any],
    *,
    earlier: dict[str, Any] | None = None,
    progress: Progress = lambda seconds, what: None,
    say: Callable[[str], None] = lambda line: None,
    keep: Callable[[dict[str, Any]], None] = lambda timing: None,
) -> tuple[dict[str, Any], Run]:
    """The emulator's time, form against form and form against itself.

    Args:
        request: What is asked.
        state: Path of the kernel state.
        provenance: Where it runs.
        earlier: The timings of an interrupted run, which goes on.
        progress: Told the seconds measured, and what is going on.
        say: Told what a user should know before the end.
        keep: Given what was measured so far, now and then.

    Returns:
        The section `timing` of a result, and the run, which says whether it was interrupted.

    Raises:
        BulkpagesError: The state cannot be loaded, no workload can run on it, or there is too little time.
    """
    plan = _plan(request, state, strict=request.seconds is not None and earlier is None)
    nothing: dict[str, Any] = {"published": [], "windows": [], "contention": [], "instructions": None, "baseline": None}

    def keep_so_far(measured: Run) -> None:
        keep(analyse(plan, measured, provenance, unlooked=False) | nothing)

    measured = run(plan, restore(earlier) if earlier else None, progress, say, keep_so_far)
    timing = analyse(plan, measured, provenance) | nothing
    if not measured.interrupted:
        progress(plan.seconds, "contention and windows")
        _extras(request, plan, measured, timing)
    return timing, measured
