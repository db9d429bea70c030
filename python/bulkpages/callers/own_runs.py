"""Runs of an own caller: one at a time, and one input stopped everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bulkpages import gfp as flags
from bulkpages._core import OwnOutcome, OwnRun, PageArray
from bulkpages.callers.own_env import Env, Slots, Stopped
from bulkpages.callers.own_inputs import Case
from bulkpages.callers.shapes import fill_shape
from bulkpages.errors import ApiMisuse, InvalidArgument

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Caller", "Done", "Form", "Kinds", "Ret", "Stop", "StoppedEverywhere"]

#: What a caller may return.
Ret = int | bool
Caller = Callable[[Env, Any], Ret | tuple[Ret, Slots]]
#: A branch that fails, after how many successes, and for how long.
Stop = tuple[str, int, str]
Kinds = tuple[tuple[str, str], ...]
Runs = dict[Kinds, list[tuple[tuple[Stop, ...], OwnOutcome]]]

# Inside a class a name with two underscores would be another.
ACCOUNT = flags.__GFP_ACCOUNT
LASTING = ("once", "for good")
MAX_WAITS = 4


@dataclass(frozen=True)
class Done:
    """What a run left behind, before anybody looks at it."""

    outcome: OwnOutcome
    env: Env
    array: PageArray
    ret: Ret | None
    counts: dict[str, Any]
    events: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Form:
    """One form of a caller.

    Attributes:
        caller: The caller's name.
        takes: "array" or "pages".
        function: The form itself.
    """

    caller: str
    takes: str
    function: Caller

    def on(
        self,
        machine: Machine,
        case: Case,
        stops: Sequence[Stop] = (),
        slip: str | None = None,
        record: bool = False,
    ) -> Done:
        """One run on an input; the machine has every page back afterwards."""
        array = fill_shape(machine, case.shape) if self.takes == "array" else PageArray(0)
        run = OwnRun(machine, array, 0, stops=list(stops))
        env = Env(run, array, max_waits=MAX_WAITS, max_calls=64 + 16 * case.slots, slip=slip, record=record)
        try:
            return self.call(env, run, array, case.slots, clean=True)
        except Exception as error:
            where = f"{self.caller} on {case.label}, {case.setting}"
            error.add_note(f"{where}, {_said(stops)}" + (f", wrong line: {slip}" if slip else ""))
            raise

    def call(self, env: Env, run: OwnRun, array: PageArray, wanted: int, *, clean: bool = False) -> Done:
        """One run in an environment. `clean`: the machine has every page back afterwards."""
        crash: str | None = None
        ret: Ret | None = None
        error: BaseException | None = None
        try:
            value = self.function(env, Slots(env, array, 0, len(array)) if self.takes == "array" else wanted)
            ret, array = _returned(self.caller, value, array)
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
        if error is not None and (env._slip is None or not isinstance(error, Exception)):
            raise error
        return Done(outcome, env, array, ret, counts, events)


class StoppedEverywhere:
    """One form on one input: the run in which nothing fails, and those that are stopped."""

    def __init__(self, form: Form, machine: Machine, case: Case) -> None:
        self._form, self._machine, self._case = form, machine, case
        self.charged = False
        self._singles: Runs | None = None

    def run(self, stops: Sequence[Stop], slip: str | None = None) -> tuple[OwnOutcome, bool]:
        """The outcome, and whether the wrong line changed anything."""
        done = self._form.on(self._machine, self._case, stops, slip)
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


def _returned(name: str, value: object, array: PageArray) -> tuple[Ret, PageArray]:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Slots):
        array = value[1]._array
        value = value[0]
    if not isinstance(value, int) or (not isinstance(value, bool) and not -4095 <= value <= 0):
        raise InvalidArgument(
            f"{name} returned {value!r}: a caller returns 0, a negative error number, True or False, and with it the "
            "array that it made, if it made one"
        )
    return value, array


def _said(stops: Sequence[Stop]) -> str:
    return " + ".join(f"{branch} {lasting} at {index}" for branch, index, lasting in stops) or "nothing fails"
