"""Callers of your own: run them, make every step fail, try every wrong line, count and time them.

A caller is a function. Its arguments are an `Env`, which has the calls, and the array to fill or a number of pages. It
returns what a kernel function would: 0 or a negative error number, True or False. If it made the array itself, it
returns that too. A caller has one or more forms, which are compared.

Example:
    >>> import bulkpages as bp
    >>> ring = bp.callers.own("ring_refill")
    >>> @ring.form("v1")
    ... def v1(env, array):
    ...     filled = 0
    ...     while filled < len(array):
    ...         last, filled = filled, env.alloc_pages_bulk(bp.GFP_KERNEL, array, api="v1")
    ...         if filled == last:
    ...             return -12
    ...     return 0
    >>> m = bp.Machine("64MiB")
    >>> ring.run(m, bp.callers.fill_shape(m, "x..x"), form="v1").bulk_calls
    [(4, 4)]
    >>> ring.sweep(largest=3).by_form()[0]["leaked"]
    0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from bulkpages._core import OwnOutcome, OwnRun, PageArray, Stream
from bulkpages.callers.own_comparison import Comparison, measure
from bulkpages.callers.own_env import Env
from bulkpages.callers.own_inputs import Case, cases, checked, fresh_machine, label, patterns
from bulkpages.callers.own_runs import Caller, Form, Kinds, Stop, StoppedEverywhere
from bulkpages.callers.own_slips import SLIPS
from bulkpages.callers.result import CallerResult
from bulkpages.callers.sweep import VERDICTS, Misuse, Sweep
from bulkpages.errors import ApiMisuse, BulkpagesError, InvalidArgument
from bulkpages.kinds import names, need
from bulkpages.tables import Table

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Comparison", "Own", "own", "patterns"]

Progress = Callable[[int, int], object]
COUNTED = ("slot_tests", "slot_writes", "slot_clears", "bulk_calls", "list_takes", "refills", "zone_locks", "trylocks")
MAX_SLOTS = 1 << 20


class Own:
    """A caller of your own, made by `own()`.

    Attributes:
        name: Its name in reports.
        takes: "array" or "pages": what its forms receive.
    """

    def __init__(self, name: str, takes: Literal["array", "pages"]) -> None:
        if takes not in ("array", "pages"):
            raise InvalidArgument(f"a caller takes 'array' or 'pages', not {takes!r}")
        self.name = name
        self.takes = takes
        self._forms: dict[str, Caller] = {}

    @overload
    def form(self, name: str) -> Callable[[Caller], Caller]: ...
    @overload
    def form(self, name: Caller) -> Caller: ...
    def form(self, name: str | Caller) -> Callable[[Caller], Caller] | Caller:
        """Decorates a function that is one form of the caller. The other forms are compared with the first.

        Args:
            name: The form's name; `@caller.form` without parentheses uses the function's name.

        Raises:
            InvalidArgument: There is already such a form.
        """
        if callable(name):
            return self.form(name.__name__)(name)
        need("the name of a form", name, str)
        if name in self._forms:
            raise InvalidArgument(f"{self.name} has a form {name!r} already")

        def add(function: Caller) -> Caller:
            self._forms[name] = function
            return function

        return add

    @property
    def forms(self) -> list[str]:
        """Names of the forms, in order of definition."""
        return list(self._forms)

    def __repr__(self) -> str:
        return f"<own caller {self.name!r}: {', '.join(self._forms) or 'no form yet'}>"

    def run(
        self,
        machine: Machine,
        given: PageArray | int,
        *,
        form: str | None = None,
        cpu: int = 0,
        max_waits: int = 100,
        explain: bool = False,
    ) -> CallerResult:
        """Runs one form on a machine, with the machine's faults in force.

        Args:
            machine: The machine.
            given: The array, or the number of pages for a caller that takes "pages".
            form: Which form to run; not needed if there is only one.
            cpu: CPU that executes.
            max_waits: Waits allowed. After the last one, the run ends with `ret` None.
            explain: Whether to record `events` in the result.

        Raises:
            InvalidArgument: No such form, or the caller returned something that no kernel function returns.
            ApiMisuse: A check of the kernel ended the caller: a page freed twice, a NULL page used.
            Exception: Whatever the caller raised.
        """
        if (self.takes == "pages") != isinstance(given, int):
            raise TypeError(f"{self.name} takes {self.takes}, not {type(given).__name__}")
        if isinstance(given, int) and not 0 <= given <= MAX_SLOTS:
            raise InvalidArgument(f"pages {given} is outside 0 to {MAX_SLOTS}")
        array = PageArray(0) if isinstance(given, int) else given
        chosen = self._form(form)
        run = OwnRun(machine, array, cpu, explain=explain)
        env = Env(run, array, max_waits=max_waits, max_calls=None)
        done = chosen.call(env, run, array, given if isinstance(given, int) else len(given))
        if done.outcome.crash is not None:
            raise ApiMisuse(f"{self.name}: {done.outcome.crash}")
        slots = {name: done.counts.pop(name) for name in ("slot_tests", "slot_writes", "slot_clears", "steps")}
        return CallerResult(
            ret=done.ret,
            gave_up=done.ret is None,
            array=done.array,
            bulk_calls=done.env.bulk_calls,
            bases=done.env.bases,
            waits=done.env.waits,
            wait_ns=done.env.wait_ns,
            freed=done.env.freed,
            trace=(),
            **slots,
            counts=done.counts,
            stats={},
            events=done.events,
        )

    def sweep(
        self,
        *,
        largest: int = 4,
        shapes: str | Sequence[str] = (),
        pairs_up_to: int = 2,
        progress: Progress | None = None,
    ) -> Sweep:
        """Makes every step of every form fail at every index, on every hole pattern up to a size.

        Args:
            largest: Largest array for which every pattern is tried, 1 to 12. Callers that take pages are given 1 up to
                this number.
            shapes: Further inputs, one or several, as pictures: `x` is a page, `.` a hole.
            pairs_up_to: Largest array for which failures are combined in pairs.
            progress: Called with the number of cases done and the total.

        Raises:
            InvalidArgument: A number out of range, an invalid shape, or no form.
            Exception: Whatever the caller raised, with the input and the failure in a note. A run that a check of the
                kernel would end counts as a crash instead.
        """
        rows = []
        for form, case, stopped in self._cases(largest, shapes, progress):
            rows += [self._row(form, case, kinds, runs) for kinds, runs in stopped.singles().items()]
            if case.slots <= pairs_up_to and case.setting == "plain":
                rows += [self._row(form, case, kinds, runs) for kinds, runs in stopped.pairs().items()]
        return Sweep(rows)

    def misuse(self, *, largest: int = 3, shapes: str | Sequence[str] = (), progress: Progress | None = None) -> Misuse:
        """Gives each form each wrong line of `own_slips.SLIPS` and counts the outcomes, under every single failure.

        A wrong line is scored only for forms in which it changed something in some run.

        Args:
            largest: As for `sweep`.
            shapes: As for `sweep`.
            progress: As for `sweep`.

        Raises:
            InvalidArgument: As for `sweep`.
            Exception: As for `sweep`, from runs without a wrong line.
        """
        scores: dict[tuple[str, str], dict[str, Any]] = {}
        written: set[tuple[str, str]] = set()
        for form, case, stopped in self._cases(largest, shapes, progress, ("plain", "memcg")):
            for slip in SLIPS:
                score = scores.setdefault((form, slip), self._no_score(form, slip))
                for kinds, runs in stopped.singles().items():
                    for stops, right in runs:
                        wrong, slipped = stopped.run(stops, slip)
                        if slipped:
                            written.add((form, slip))
                        verdict = wrong.verdict(right)
                        score["failing" if kinds else "plain"][verdict] += 1
                        if VERDICTS.index(verdict) > VERDICTS.index(score["verdict"]):
                            score["verdict"], score["example"] = verdict, (case.label, list(stops))
                        if not kinds and VERDICTS.index(verdict) > VERDICTS.index(score["plain_verdict"]):
                            score["plain_verdict"] = verdict
        order = [(form, slip) for form in self._forms for slip in SLIPS]
        return Misuse([scores[key] for key in order if key in written])

    def record(self, shape: str, *, form: str | None = None, machine: Machine | None = None) -> Stream:
        """Records the steps of one run in which nothing fails, to count and time them without the caller.

        Args:
            shape: The array as a picture: `x` is a page, `.` a hole. For a caller that takes pages, one dot per page.
            form: Which form to run; not needed if there is only one.
            machine: The machine to run on; by default one of 64 MiB. Afterwards its lists are warm and all its pages
                are returned.

        Raises:
            BulkpagesError: The caller failed, waited, lost a page, or behaved differently the second time.
            InvalidArgument: The caller keeps a page where no recording sees it, or the shape is invalid.
        """
        chosen = self._form(form)
        machine = machine or fresh_machine("plain")
        streams = []
        for _ in range(3):
            done = chosen.on(machine, Case(checked(shape), "plain", shape), record=True)
            facts = done.outcome.to_dict()
            if done.ret is None or (done.ret is not True and done.ret != 0) or done.env.waits or facts["leaked"]:
                raise BulkpagesError(f"{self.name} on {shape} cannot be recorded, since it did not succeed: {facts}")
            sizes = [len(array) for array in done.env._arrays[1:]]
            main = "" if self.takes == "pages" else shape
            streams.append(Stream(main, sizes, done.env._steps or []))
        # The first run refills the lists; then one run is like the next.
        if streams[1] != streams[2]:
            raise BulkpagesError(f"{self.name} on {shape} cannot be recorded: it behaves differently each time")
        return streams[2]

    def counts(self, shapes: str | Sequence[str], *, iterations: int = 64) -> Table:
        """What each form does on each input: exact counts of its recorded steps per run, no times.

        Args:
            shapes: Inputs, one or several, as for `record`.
            iterations: Number of runs to count; a refill happens only once in several runs.

        Raises:
            BulkpagesError: As for `record`.
        """
        rows = []
        for shape in names("an input", shapes):
            for form in self._all_forms():
                machine = fresh_machine("plain")
                found = self.record(shape, form=form, machine=machine).count(machine, iterations)
                per_run = {name: found[name] / iterations for name in ("pages", *COUNTED)}
                rows.append({"caller": self.name, "form": form, "input": label(shape, self.takes), **per_run})
        return Table.from_rows(rows, title=f"{self.name}, per run")

    def compare(
        self,
        shapes: str | Sequence[str],
        *,
        seconds: float = 10.0,
        processes: int | None = None,
        effect: float = 0.01,
        seed: int = 1,
        snapshot: str | Path | None = None,
        progress: Callable[[float, str], None] = lambda seconds, what: None,
    ) -> Comparison:
        """Times the forms against the first one, with the method of `bulkpages compare` and its A/A runs.

        Each form is recorded once on each input. Fresh processes then run the recordings in Rust, with the forms
        interleaved in random blocks. Neither Python nor the caller's own arithmetic is timed. Each step costs one
        dispatch more than in compiled code.

        Args:
            shapes: Inputs, one or several, as for `record`.
            seconds: Time to measure, in seconds.
            processes: Processes for each input, instead of a time.
            effect: Smallest effect of interest, as a fraction.
            seed: Seed of the order of trials.
            snapshot: Kernel state to load, the path of a recording or snapshot; the shipped one by default.
            progress: Called with the seconds measured and a description.

        Raises:
            BulkpagesError: As for `record`, or too little time for any result.
            InvalidArgument: Fewer than two forms.
        """
        forms = self._all_forms()
        if len(forms) < 2:
            raise InvalidArgument(f"{self.name} has one form, {forms[0]!r}: there is nothing to compare")
        return measure(
            self.name,
            lambda shape, machine: {form: self.record(shape, form=form, machine=machine) for form in forms},
            {shape: label(shape, self.takes) for shape in names("an input", shapes)},
            seconds=seconds,
            processes=processes,
            effect=effect,
            seed=seed,
            snapshot=snapshot,
            progress=progress,
        )

    # How runs are made.

    def _all_forms(self) -> list[str]:
        if not self._forms:
            raise InvalidArgument(f"{self.name} has no form yet: write one under @{self.name}.form(...)")
        return self.forms

    def _form(self, name: str | None) -> Form:
        forms = self._all_forms()
        if name is None and len(forms) == 1:
            name = forms[0]
        if name not in self._forms:
            raise InvalidArgument(f"form {name!r} does not exist: {self.name} has {', '.join(forms)}")
        return Form(self.name, self.takes, self._forms[name])

    def _cases(
        self,
        largest: int,
        shapes: str | Sequence[str],
        progress: Progress | None,
        settings: Sequence[str] = ("plain", "page owner", "memcg"),
    ) -> Iterable[tuple[str, Case, StoppedEverywhere]]:
        tried = cases(self.takes, largest, names("an input", shapes))
        total, number = len(tried) * len(self._all_forms()) * (len(settings) - 1), 0
        for form in self._forms:
            charged = False
            for setting in settings:
                # Only requests that are charged know of memory cgroups.
                if setting == "memcg" and not charged:
                    continue
                machine = fresh_machine(setting)
                for plain in tried:
                    case = Case(plain.shape, setting, plain.label)
                    stopped = StoppedEverywhere(self._form(form), machine, case)
                    yield form, case, stopped
                    charged |= stopped.charged
                    number += 1
                    if progress is not None:
                        progress(number, max(total, number))

    def _row(
        self, form: str, case: Case, kinds: Kinds, runs: Sequence[tuple[Sequence[Stop], OwnOutcome]]
    ) -> dict[str, Any]:
        found = [outcome.to_dict() for _, outcome in runs]
        return {
            "caller": self.name,
            "form": form,
            "input": case.label,
            "slots": case.slots,
            "setting": case.setting,
            "stops": list(kinds),
            "index": [[index for _, index, _ in stops] for stops, _ in runs],
            **{name: [facts[name] for facts in found] for name in found[0]},
        }

    def _no_score(self, form: str, slip: str) -> dict[str, Any]:
        return {
            "caller": self.name,
            "form": form,
            "slip": slip,
            "verdict": VERDICTS[0],
            "plain_verdict": VERDICTS[0],
            "plain": dict.fromkeys(VERDICTS, 0),
            "failing": dict.fromkeys(VERDICTS, 0),
            "example": None,
        }


def own(name: str, *, takes: Literal["array", "pages"] = "array") -> Own:
    """Makes a caller of your own; define its forms with `@caller.form(name)`.

    Args:
        name: Its name in reports.
        takes: "array": forms receive an `Env` and the `Slots` to fill. "pages": forms receive an `Env` and a number of
            pages, make their array with `env.kcalloc()`, and return the value and the array.

    Raises:
        InvalidArgument: `takes` is neither.
    """
    if not isinstance(name, str):
        raise TypeError(f"own wants a name: my = own('my_caller'), then @my.form('before'), not {type(name).__name__}")
    return Own(name, takes)
