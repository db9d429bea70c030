"""Callers that a user writes: run, stopped at every step, given every wrong line, counted and timed.

A caller is a function of an `Env`, which has the calls, and of the array that it shall fill (or a number of pages). It
returns what a kernel function would: 0 or a negative error number, True or False; with the array when it made that
itself. One caller has one or more forms, which are compared.

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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bulkpages import _core
from bulkpages import gfp as flags
from bulkpages._core import OwnOutcome, OwnRun, PageArray, Stream
from bulkpages.callers.own_env import Env, Slots, Stopped
from bulkpages.callers.own_slips import SLIPS
from bulkpages.callers.result import CallerResult
from bulkpages.callers.shapes import fill_shape
from bulkpages.callers.sweep import VERDICTS, Misuse, Sweep
from bulkpages.callers.text import table
from bulkpages.errors import ApiMisuse, BulkpagesError, InvalidArgument
from bulkpages.tables import Table, Tabular, comparison

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Comparison", "Own", "own", "patterns"]

#: What a caller may return.
Ret = int | bool
Given = Slots | int
Caller = Callable[[Env, Any], Ret | tuple[Ret, Slots]]
Stop = tuple[str, int, str]
Progress = Callable[[int, int], object]

# Inside a class a name with two underscores would be another.
ACCOUNT = flags.__GFP_ACCOUNT
LASTING = ("once", "for good")
COUNTED = ("slot_tests", "slot_writes", "slot_clears", "bulk_calls", "list_takes", "refills", "zone_locks", "trylocks")
MAX_WAITS = 4
MAX_SLOTS = 1 << 20
MEMORY = "64MiB"


def patterns(largest: int) -> list[str]:
    """Every pattern of pages and holes of 1 to `largest` slots: 2, 4, 8, ... of each size.

    Raises:
        InvalidArgument: Outside 1 to 12.
    """
    if not 1 <= largest <= 12:
        raise InvalidArgument(f"largest {largest} is outside 1..=12: there are 2 ** {largest} patterns of it")
    return ["".join(marks) for n in range(1, largest + 1) for marks in product("x.", repeat=n)]


@dataclass(frozen=True)
class _Case:
    """An input under a setting of the machine."""

    shape: str
    setting: str
    label: str

    @property
    def slots(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class _Done:
    """What a run left behind, before anybody looks at it."""

    outcome: OwnOutcome
    env: Env
    array: PageArray
    ret: Ret | None
    counts: dict[str, Any]
    events: Sequence[Mapping[str, Any]]


class Own:
    """A caller that a user writes; made by `own()`.

    Attributes:
        name: Its name in reports.
        takes: "array" or "pages", what its forms are given.
    """

    def __init__(self, name: str, takes: Literal["array", "pages"]) -> None:
        if takes not in ("array", "pages"):
            raise InvalidArgument(f"a caller takes 'array' or 'pages', not {takes!r}")
        self.name = name
        self.takes = takes
        self._forms: dict[str, Caller] = {}

    def form(self, name: str) -> Callable[[Caller], Caller]:
        """Decorates the function that is this form of the caller; the first one is what others are compared with.

        Raises:
            InvalidArgument: There is such a form already.
        """
        if name in self._forms:
            raise InvalidArgument(f"{self.name} has a form {name!r} already")

        def add(function: Caller) -> Caller:
            self._forms[name] = function
            return function

        return add

    @property
    def forms(self) -> list[str]:
        """Names of the forms, in the order in which they were written."""
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
            given: The array, or for a caller that takes pages their number.
            form: Which form; not needed where there is one.
            cpu: CPU that executes.
            max_waits: Waits granted; afterwards the run ends with `ret` None.
            explain: Whether `events` of the result are kept.

        Raises:
            InvalidArgument: No such form, or the caller returned something that no kernel function does.
            ApiMisuse: A check of the kernel ended the caller: a page freed twice, a NULL page used.
            Exception: What the caller raised.
        """
        if (self.takes == "pages") != isinstance(given, int):
            raise TypeError(f"{self.name} takes {self.takes}, not {type(given).__name__}")
        if isinstance(given, int) and not 0 <= given <= MAX_SLOTS:
            raise InvalidArgument(f"pages {given} is outside 0..={MAX_SLOTS}")
        array = PageArray(0) if isinstance(given, int) else given
        run = OwnRun(machine, array, cpu, explain=explain)
        wanted = given if isinstance(given, int) else len(given)
        done = self._call(run, array, wanted, self._form(form), max_waits=max_waits, max_calls=None)
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
        shapes: Sequence[str] = (),
        pairs_up_to: int = 2,
        progress: Progress | None = None,
    ) -> Sweep:
        """Stops the allocator at every index of every branch under every form, on every hole pattern up to a size.

        Args:
            largest: Largest array of which every pattern is tried, 1 to 12; callers that take pages get 1 to this many.
            shapes: More inputs, as pictures: `x` a page, `.` a hole.
            pairs_up_to: Largest array for which stops are combined in pairs.
            progress: Called with cases done and cases in all.

        Raises:
            InvalidArgument: A number out of range, a shape that is none, or no form.
            Exception: What the caller raised, with the input and the stop in a note; what ends a run as the kernel's
                checks do counts as a crash instead.
        """
        rows = []
        for form, case, stopped in self._cases(largest, shapes, progress):
            rows += [self._row(form, case, kinds, runs) for kinds, runs in stopped.singles().items()]
            if case.slots <= pairs_up_to and case.setting == "plain":
                rows += [self._row(form, case, kinds, runs) for kinds, runs in stopped.pairs().items()]
        return Sweep(rows)

    def misuse(self, *, largest: int = 3, shapes: Sequence[str] = (), progress: Progress | None = None) -> Misuse:
        """Gives each form each wrong line of `own_slips.SLIPS` and counts what comes of it, under every single stop.

        A wrong line is scored where it can be written: where it changed anything in any run.

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
        """The steps of one run in which nothing fails, to be counted and timed without the caller.

        Args:
            shape: The array, `x` a page and `.` a hole; of a caller that takes pages as many dots as pages.
            form: Which form; not needed where there is one.
            machine: Where it runs; by default one of 64 MiB. Its lists are warm afterwards, and it has its pages back.

        Raises:
            BulkpagesError: The caller failed, waited, lost a page, or did something else the second time.
            InvalidArgument: The caller keeps a page where no recording sees it, or a shape that is none.
        """
        function = self._form(form)
        machine = machine or _machine("plain")
        streams = []
        for _ in range(3):
            case = _Case(_check(shape), "plain", shape)
            done = self._on(machine, case, function, record=True)
            facts = done.outcome.to_dict()
            if done.ret is None or (done.ret is not True and done.ret != 0) or done.env.waits or facts["leaked"]:
                raise BulkpagesError(f"{self.name} on {shape} cannot be recorded, since it did not succeed: {facts}")
            sizes = [len(array) for array in done.env._arrays[1:]]
            main = "" if self.takes == "pages" else shape
            streams.append(Stream(main, sizes, done.env._steps or []))
        # The first run refills the lists; then one run is like the next.
        if streams[1] != streams[2]:
            raise BulkpagesError(f"{self.name} on {shape} cannot be recorded: it does something else each time")
        return streams[2]

    def counts(self, shapes: Sequence[str], *, iterations: int = 64) -> Table:
        """What each form does on each input, per run: exact counts of its recorded steps, no times.

        Args:
            shapes: Inputs, as for `record`.
            iterations: Runs to count over; refills come once in several.

        Raises:
            BulkpagesError: As for `record`.
        """
        rows = []
        for shape in shapes:
            for form in self._all_forms():
                machine = _machine("plain")
                found = self.record(shape, form=form, machine=machine).count(machine, iterations)
                per_run = {name: found[name] / iterations for name in ("pages", *COUNTED)}
                rows.append({"caller": self.name, "form": form, "input": _label(shape, self.takes), **per_run})
        return Table.from_rows(rows, title=f"{self.name}, per run")

    def compare(
        self,
        shapes: Sequence[str],
        *,
        seconds: float = 10.0,
        processes: int | None = None,
        effect: float = 0.01,
        seed: int = 1,
        snapshot: str | Path | None = None,
        progress: Callable[[float, str], None] = lambda seconds, what: None,
    ) -> Comparison:
        """Times the forms against the first one by the method of `bulkpages compare`, A/A runs included.

        Each form is recorded once on each input; fresh processes then run the recordings in Rust, forms interleaved in
        random blocks. So nothing of Python is inside the clock, and neither is the caller's own arithmetic; a step
        costs one dispatch more than compiled code. In a script, call it under `if __name__ == "__main__":`.

        Args:
            shapes: Inputs, as for `record`.
            seconds: Time to measure.
            processes: Processes for each input, in place of a time.
            effect: Smallest effect of interest, as a share.
            seed: Of the order of trials.
            snapshot: Kernel state to load, the path of a recording or snapshot; the shipped one by default.
            progress: Told the seconds measured and what is going on.

        Raises:
            BulkpagesError: As for `record`, or too little time for any answer.
            InvalidArgument: Less than two forms.
        """
        from bulkpages.compare.cells import Cell, Conditions, make_machine
        from bulkpages.compare.results import analyse
        from bulkpages.compare.runner import BLOCKS, TRIAL_SECONDS, Plan, run
        from bulkpages.provenance import provenance
        from bulkpages.states import shipped_state

        forms = self._all_forms()
        if len(forms) < 2:
            raise InvalidArgument(f"{self.name} has one form, {forms[0]!r}: there is nothing to compare")
        with shipped_state() as shipped:
            path = Path(snapshot) if snapshot is not None else shipped
            cells = []
            for shape in shapes:
                machine = make_machine(str(path), Conditions())
                streams = {form: self.record(shape, form=form, machine=machine) for form in forms}
                name = f"{self.name} {_label(shape, self.takes)}"
                cells.append(Cell(name, len(shape), filler=self.name, shape=shape, forms=tuple(forms), streams=streams))
            plan = Plan(
                cells,
                path,
                blocks=BLOCKS,
                trial_seconds=TRIAL_SECONDS,
                seed=seed,
                seconds=seconds,
                looks=2,
                effect=effect,
                processes=processes,
            )
            measured = run(plan, None, progress)
        if measured.broken:
            raise BulkpagesError(
                "a process that measured ended early. New processes read a script too: in one, "
                'compare() stands under if __name__ == "__main__":'
            )
        if measured.interrupted:
            raise KeyboardInterrupt
        return Comparison(analyse(plan, measured, provenance()))

    # How runs are made.

    def _all_forms(self) -> list[str]:
        if not self._forms:
            raise InvalidArgument(f"{self.name} has no form yet: write one under @{self.name}.form(...)")
        return self.forms

    def _form(self, name: str | None) -> Caller:
        forms = self._all_forms()
        if name is None and len(forms) == 1:
            name = forms[0]
        if name not in self._forms:
            raise InvalidArgument(f"form {name!r} does not exist: {self.name} has {', '.join(forms)}")
        return self._forms[name]

    def _cases(
        self,
        largest: int,
        shapes: Sequence[str],
        progress: Progress | None,
        settings: Sequence[str] = ("plain", "page owner", "memcg"),
    ) -> Iterable[tuple[str, _Case, _Stopped]]:
        pictures = patterns(largest) if self.takes == "array" else ["." * n for n in range(1, largest + 1)]
        pictures += [_check(shape) for shape in shapes if shape not in pictures]
        cases = [_Case(shape, "plain", _label(shape, self.takes)) for shape in pictures]
        total, number = len(cases) * len(self._all_forms()) * (len(settings) - 1), 0
        for form, function in self._forms.items():
            charged = False
            for setting in settings:
                # Only requests that are charged know of memory cgroups.
                if setting == "memcg" and not charged:
                    continue
                machine = _machine(setting)
                for case in cases:
                    case = _Case(case.shape, setting, case.label)
                    stopped = _Stopped(self, machine, case, function)
                    yield form, case, stopped
                    charged |= stopped.charged
                    number += 1
                    if progress is not None:
                        progress(number, max(total, number))

    def _on(
        self,
        machine: Machine,
        case: _Case,
        function: Caller,
        stops: Sequence[Stop] = (),
        slip: str | None = None,
        record: bool = False,
    ) -> _Done:
        """One run on an input; the machine has every page back afterwards."""
        array = fill_shape(machine, case.shape) if self.takes == "array" else PageArray(0)
        run = OwnRun(machine, array, 0, stops=list(stops))
        max_calls = 64 + 16 * case.slots
        try:
            return self._call(
                run,
                array,
                case.slots,
                function,
                max_waits=MAX_WAITS,
                max_calls=max_calls,
                slip=slip,
                record=record,
                clean=True,
            )
        except Exception as error:
            where = f"{self.name} on {case.label}, {case.setting}"
            error.add_note(f"{where}, {_said(stops)}" + (f", wrong line: {slip}" if slip else ""))
            raise

    def _call(
        self,
        run: OwnRun,
        array: PageArray,
        wanted: int,
        function: Caller,
        *,
        max_waits: int,
        max_calls: int | None,
        slip: str | None = None,
        record: bool = False,
        clean: bool = False,
    ) -> _Done:
        env = Env(run, array, max_waits=max_waits, max_calls=max_calls, slip=slip, record=record)
        given: Given = Slots(env, array, 0, len(array)) if self.takes == "array" else wanted
        crash: str | None = None
        ret: Ret | None = None
        error: BaseException | None = None
        try:
            value = function(env, given)
            ret, array = _returned(self.name, value, array)
        except Stopped:
            pass
        except ApiMisuse as misuse:
            crash = str(misuse)
        except BaseException as other:
            # What a wrong line makes of a caller may be anything; without one it is the user's to see.
            crash, error = f"{type(other).__name__}: {other}", other
        outcome, counts, events = run.finish(
            ret, array, wanted=wanted, calls=len(env.bulk_calls), waits=env.waits, crash=crash, clean=clean
        )
        if error is not None and (slip is None or not isinstance(error, Exception)):
            raise error
        return _Done(outcome, env, array, ret, counts, events)

    def _row(
        self, form: str, case: _Case, kinds: Kinds, runs: Sequence[tuple[Sequence[Stop], OwnOutcome]]
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


Kinds = tuple[tuple[str, str], ...]
Runs = dict[Kinds, list[tuple[tuple[Stop, ...], OwnOutcome]]]


class _Stopped:
    """One form on one input: the run in which nothing fails, and those that are stopped."""

    def __init__(self, caller: Own, machine: Machine, case: _Case, function: Caller) -> None:
        self._caller, self._machine, self._case, self._function = caller, machine, case, function
        self.charged = False
        self._singles: Runs | None = None

    def run(self, stops: Sequence[Stop], slip: str | None = None) -> tuple[OwnOutcome, bool]:
        """The outcome, and whether the wrong line changed anything."""
        done = self._caller._on(self._machine, self._case, self._function, stops, slip)
        self.charged |= any(gfp & ACCOUNT for gfp in done.env._gfps)
        return done.outcome, done.env._slipped

    def singles(self) -> Runs:
        """Nothing fails, and every branch at every index, once and for good."""
        if self._singles is not None:
            return self._singles
        clean, _ = self.run(())
        found: Runs = {(): [((), clean)]}
        asks = False
        for branch, indices in clean.indices():
            # Whether a thread may be told to stop shows only when something fails; it is the last branch.
            if branch == "stop request" and not asks:
                continue
            for lasting in LASTING:
                for index in range(indices):
                    stops = ((branch, index, lasting),)
                    outcome, _ = self.run(stops)
                    asks |= outcome.asked_to_stop
                    found.setdefault(((branch, lasting),), []).append((stops, outcome))
        self._singles = found
        return found

    def pairs(self) -> Runs:
        """Two stops at different branches."""
        stops = [stops[0] for kinds, runs in self.singles().items() if kinds for stops, _ in runs]
        stops = [stop for stop in stops if stop[0] != "stop request"]
        found: Runs = {}
        for i, first in enumerate(stops):
            for second in stops[i + 1 :]:
                if first[0] != second[0]:
                    kinds = ((first[0], first[2]), (second[0], second[2]))
                    found.setdefault(kinds, []).append(((first, second), self.run((first, second))[0]))
        return found


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """The forms of a caller against the first of them.

    Attributes:
        results: As `results.json` of `bulkpages compare` has it.
    """

    results: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One for each input and form: `ratio`, `interval`, `verdict` (None when the A/A runs were not silent), ..."""
        return list(self.results["rows"])

    def to_table(self) -> Table:
        """As `bulkpages.tables.comparison`."""
        return comparison(self.results)

    def text(self) -> str:
        """The comparison as text."""
        counts = "cycles" if self.results["provenance"]["counts_cycles"] else "ns"
        lines = []
        for row in self.rows:
            low, high = ((end - 1) * 100 for end in row["interval"])
            cost = [f"{row['cost'][which]['counts']:.4g}" for which in ("base", "form")]
            tests = [f"{row['counts'][which]['slot_tests']:.3g}" for which in ("base", "form")]
            writes = [f"{row['counts'][which]['slot_writes']:.3g}" for which in ("base", "form")]
            change = f"{(row['ratio'] - 1) * 100:+.1f}% [{low:+.1f},{high:+.1f}] {row['verdict'] or 'no verdict'}"
            forms = f"{row['form']} against {row['base']}"
            lines.append([row["cell"], forms, *cost, change, " / ".join(tests), " / ".join(writes)])
        head = ["input", "forms", f"{counts}, base", f"{counts}, form", "change", "slot tests", "slot writes"]
        null = self.results["null"]
        said = f"A/A: {len(null['alarms'])} false alarms in {null['comparisons']} comparisons of a form with itself"
        if null["detectable"] is not None:
            said += f"; detectable: {null['detectable']:.1%}, in the noisiest input {null['detectable_worst']:.1%}"
        if not null["silent"]:
            said = f"No verdict: this machine is too noisy at present. {said}"
        note = "Emulated time of recorded steps, per run: not a kernel's time, and without the caller's arithmetic."
        return "\n".join([table(head, lines), "", f"{said}.", note])

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __repr__(self) -> str:
        decided = ", ".join(f"{row['cell']} {row['form']}: {row['verdict']}" for row in self.rows)
        return f"<Comparison {decided}>"


def own(name: str, *, takes: Literal["array", "pages"] = "array") -> Own:
    """A caller of one's own; write its forms under `@caller.form(name)`.

    Args:
        name: Its name in reports.
        takes: "array": forms get an `Env` and the `Slots` that they shall fill. "pages": an `Env` and a number of
            pages; they make their array with `env.kcalloc()` and return it beside the value.

    Raises:
        InvalidArgument: `takes` is something else.
    """
    return Own(name, takes)


def _returned(name: str, value: object, array: PageArray) -> tuple[Ret, PageArray]:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Slots):
        array = value[1]._array
        value = value[0]
    if not isinstance(value, int) or (not isinstance(value, bool) and not -4095 <= value <= 0):
        raise InvalidArgument(
            f"{name} returned {value!r}: a caller returns 0, a negative error number, True or False, and beside it the "
            "array that it made, if it made one"
        )
    return value, array


def _machine(setting: str) -> Machine:
    from bulkpages.machine import Machine

    return Machine(MEMORY, cpus=1, memcg=setting == "memcg", page_owner=setting == "page owner")


def _check(shape: str) -> str:
    _core.Stream(shape, [], [])
    if not shape:
        raise InvalidArgument("an input has at least one slot, this one has none")
    return shape


def _label(shape: str, takes: str) -> str:
    if takes == "pages":
        return f"{len(shape)} pages"
    if len(shape) <= 32:
        return shape
    return f"{len(shape)} slots, {shape.count('.')} holes, prefix {len(shape) - len(shape.lstrip('x'))}"


def _said(stops: Sequence[Stop]) -> str:
    return " + ".join(f"{branch} {lasting} at {index}" for branch, index, lasting in stops) or "nothing fails"
