"""The cost model, fitted to a kernel that was built: the stored rows' fills asked of its own functions.

The rows of the series `mixed` are fitted, those of `check` are not: they show how far the fit is off, and how far the
stored costs are, which were fitted to another build. The kernel says first what state its fills begin from, and the
emulator begins there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bulkpages.cost import data
from bulkpages.cost.emulate import CONDITIONS, Series
from bulkpages.cost.fit import solve, summary
from bulkpages.cost.steps import KINDS
from bulkpages.errors import KernelError
from bulkpages.kernel.build import Kernel
from bulkpages.kernel.cells import FRAME, answers
from bulkpages.kernel.record import read_state
from bulkpages.kernel.run import Shape, run_emulated

__all__ = ["BESIDE", "KernelFit", "Question", "fit_kernel", "kernel_fit_text", "questions"]

#: What stands inside the clock besides the fill, where the kernel's function does more: by caller, for what it is paid.
BESIDE: Mapping[str, tuple[str, ...]] = {
    "svc_alloc_arg": ("fill",),
    "xfs_buf_alloc_pages": ("fill", "slot"),
    "z_erofs_gbuf_growsize": ("fill", "slot"),
}
# Fills of a row, as when the stored rows were measured.
TIMES = 100
_WORDS = {"warm": "warm", "cold": "cold", "trylock lost": "lost"}
# Arrays for the bare call, which the stored rows lack.
_CORE = (1, 2, 3, 5, 8, 16, 32, 64, 128, 256, 512)
_PERIODS = (2, 3, 8, 32)
_CHECKED_SLOTS = (12, 48, 200)


@dataclass(frozen=True)
class Question:
    """A fill that a kernel is asked for.

    Attributes:
        caller: A function, or "core".
        condition: As in `cost.CONDITIONS`.
        pattern: The array before the fill.
        fitted: Whether the costs are fitted to the answer; the others check them.
    """

    caller: str
    condition: str
    pattern: str
    fitted: bool


@dataclass(frozen=True)
class KernelFit:
    """Costs of the steps in a kernel.

    Attributes:
        kernel: The kernel.
        steps: Instructions and standard error by step; those that no fill of this kernel takes are left out, and those
            that all its fills take equally often are one ("page + slot test").
        stored: The stored costs of the same steps.
        beside: What callers do besides, by caller and unit: instructions and standard error.
        errors: In %, for the rows that check: of this fit, and of the stored costs with this fit's `beside`.
        own_state: Whether the emulator began from this kernel's state; from that of the stored rows where it did not.
        absent: Rows that the kernel could not be asked, by reason.
    """

    kernel: Kernel
    steps: dict[str, tuple[float, float]]
    stored: dict[str, float]
    beside: dict[str, tuple[float, float]]
    errors: dict[str, dict[str, dict[str, float]]]
    own_state: bool
    absent: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": "bulkpages-kernel-costs-1",
            "kernel": {"folder": str(self.kernel.folder), "version": self.kernel.version,
                       "patches": list(self.kernel.patches), "semantics": self.kernel.semantics,
                       "compiler": self.kernel.compiler},
            "own_state": self.own_state,
            "steps": {name: list(pair) for name, pair in self.steps.items()},
            "stored": self.stored,
            "beside": {name: list(pair) for name, pair in self.beside.items()},
            "errors": self.errors,
            "absent": self.absent,
        }  # fmt: skip


def questions() -> list[Question]:
    """The stored rows' arrays and conditions, each once, and arrays for the bare call."""
    found: dict[tuple[str, str, str], Question] = {}
    for one in data.series():
        if one["name"] not in ("mixed", "check"):
            continue
        for row in one["rows"]:
            key = (row["caller"], row["condition"], row["pattern"])
            # What a caller allocates besides is known to the emulator neither in number nor in place: on drained lists
            # that is too much.
            allocates = "slot" in BESIDE.get(row["caller"], ()) and row["condition"] != "warm"
            if row["caller"] != "virtiovf_add_migration_pages" and not allocates:
                found.setdefault(key, Question(*key, one["fitted"]))
    for slots in (*_CORE, *_CHECKED_SLOTS):
        patterns = ["." * slots]
        patterns += ["".join("x" if i % period else "." for i in range(slots)) for period in _PERIODS if slots > period]
        for pattern in patterns:
            found["core", "warm", pattern] = Question("core", "warm", pattern, slots not in _CHECKED_SLOTS)
    # Callers that allocate for themselves, too, come last: what they take is not made again in the emulator.
    return sorted(found.values(), key=lambda question: "slot" in BESIDE.get(question.caller, ()))


def _joined(steps: NDArray[np.float64]) -> tuple[list[str], NDArray[np.float64]]:
    """The steps that a kernel's fills tell apart, by name, and a row for each with ones where its parts stand."""
    groups: list[list[int]] = []
    for column in range(len(KINDS)):
        if not steps[:, column].any():
            continue
        same = next((group for group in groups if np.array_equal(steps[:, group[0]], steps[:, column])), None)
        if same is None:
            groups.append([column])
        else:
            same.append(column)
    kinds = list(KINDS)
    parts = np.zeros((len(groups), len(KINDS)))
    for row, group in enumerate(groups):
        parts[row, group] = 1.0
    return [" + ".join(kinds[column] for column in group) for group in groups], parts


def _ask(kernel: Kernel, asked: Sequence[Question]) -> tuple[dict[str, float], dict[str, str], dict[str, Any] | None]:
    """Instructions of a fill by the row's name, why there are none, and the state before all of them."""
    lines = ["room 8"]
    if kernel.records:
        lines += ["op S 0 0 0 0 0", "run"]
    lines.append(f"cell {FRAME} empty warm {TIMES} .")
    lines += [f"cell {i} {q.caller} {_WORDS[q.condition]} {TIMES} {q.pattern}" for i, q in enumerate(asked)]
    text = run_emulated(kernel.folder, "\n".join(lines) + "\n", Shape(), counted=True)
    state = None
    if kernel.records:
        before, mark, text = text.partition("endstate\n")
        if not mark:
            raise KernelError(f"{kernel.folder} did not say its state")
        state = read_state(before.splitlines(), kernel)
    found, none = answers(text)
    return {name: each[0].mean for name, each in found.items()}, none, state


def _amounts(question: Question, taken: Mapping[str, float]) -> list[float]:
    beside = [
        (1.0 if unit == "fill" else float(len(question.pattern))) if question.caller == caller else 0.0
        for caller, units in BESIDE.items()
        for unit in units
    ]
    return [taken[name] for name in KINDS] + beside


def _errors(asked: Sequence[Question], off: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    groups = {"all": list(range(len(asked)))}
    for condition in CONDITIONS:
        groups[condition] = [i for i, q in enumerate(asked) if q.condition == condition]
    for caller in sorted({q.caller for q in asked}):
        groups[caller] = [i for i, q in enumerate(asked) if q.caller == caller]
    return {name: summary(off[members]) for name, members in groups.items() if members}


def fit_kernel(kernel: Kernel) -> KernelFit:
    """Fits the costs of the steps to a kernel.

    Args:
        kernel: One that `build` left; its bulk function's form says which form of the callers is fitted.

    Raises:
        KernelError: qemu is not here, or the kernel does not finish.
    """
    asked = questions()
    counted, none, state = _ask(kernel, asked)
    series = Series(state)
    rows, kept, value = [], [], []
    for i, question in enumerate(asked):
        # What the kernel refused was not done there, so it is not done here.
        if str(i) not in counted:
            continue
        form = kernel.form_of(question.caller)
        taken = series.amounts(question.caller, form, question.pattern, question.condition)
        rows.append(_amounts(question, taken))
        kept.append(question)
        value.append(counted[str(i)])
    taken_steps, instructions = np.array(rows), np.array(value)
    fitted = np.array([question.fitted for question in kept])
    names, parts = _joined(taken_steps[fitted][:, : len(KINDS)])
    besides = [f"{caller}, per {unit}" for caller, units in BESIDE.items() for unit in units]
    # Steps that are taken equally often are told by the first of them.
    first = [int(np.argmax(row)) for row in parts]
    own, other = taken_steps[:, first], taken_steps[:, len(KINDS) :]
    columns = np.hstack([own, other])
    costs, errors = solve(columns[fitted], instructions[fitted])
    pairs = {
        name: (round(float(cost), 4), round(float(error), 4))
        for name, cost, error, column in zip([*names, *besides], costs, errors, columns[fitted].T, strict=True)
        if column.any()
    }
    checked = [question for question in kept if not question.fitted]
    known = np.array([data.costs()["steps"][name][0] for name in KINDS])
    # What callers do besides is no matter of the stored costs: what they leave of the fitted rows says it.
    predicted = taken_steps[:, : len(KINDS)] @ known
    beside, *_ = np.linalg.lstsq(other[fitted], (instructions - predicted)[fitted], rcond=None)
    predicted = predicted + other @ beside
    reasons: dict[str, int] = {}
    for why in none.values():
        reasons[why] = reasons.get(why, 0) + 1
    return KernelFit(
        kernel,
        {name: pairs[name] for name in names},
        {name: float(row @ known) for name, row in zip(names, parts, strict=True)},
        {name: pairs[name] for name in besides if name in pairs},
        {
            "fitted to this kernel": _errors(checked, (columns @ costs / instructions - 1)[~fitted]),
            "stored costs": _errors(checked, (predicted / instructions - 1)[~fitted]),
        },
        state is not None,
        reasons,
    )


def _about(name: str) -> tuple[str, str]:
    """Unit and meaning of a step, or of steps that are one here."""
    kinds = [KINDS[part] for part in name.split(" + ")]
    return kinds[0].unit, "; ".join(kind.meaning for kind in kinds)


def kernel_fit_text(found: KernelFit) -> str:
    """The steps with their costs, here and stored, and the errors of both."""
    from bulkpages.cost.text import columns

    body = (
        [name, f"{cost:.2f}", f"{error:.2f}", f"{found.stored[name]:.2f}", *_about(name)]
        for name, (cost, error) in found.steps.items()
    )
    lines = [
        f"{found.kernel.name}, {found.kernel.compiler}, {'mainline' if found.kernel.form == 'v1' else 'patched'} form",
        "",
        columns(["step", "instructions", "+-", "stored", "per", "what"], body, 1, right=2),
        "",
    ]
    if found.beside:
        body = ([name, f"{cost:.2f}", f"{error:.2f}"] for name, (cost, error) in found.beside.items())
        lines += [columns(["the caller's other work", "instructions", "+-"], body, 1), ""]
    for name, errors in found.errors.items():
        body = (
            [group, str(e["rows"]), f"{e['median']:.2f}", f"{e['p95']:.2f}", f"{e['largest']:.2f}"]
            for group, e in errors.items()
        )
        head = [f"errors in % of rows not fitted: {name}", "rows", "median", "95 of 100", "largest"]
        lines += [columns(head, body, 1), ""]
    there = {part for name in found.steps for part in name.split(" + ")}
    absent = [step for step in KINDS if step not in there]
    if absent:
        lines.append(f"Not taken by this kernel's fills: {', '.join(absent)}.")
    lines += [f"{count} rows not asked: {why}." for why, count in found.absent.items()]
    if not found.own_state:
        lines.append("The emulator began from the state of the stored rows: this kernel's state cannot be read.")
    return "\n".join(lines).rstrip()
