"""The failure sweep and the misuse score: what becomes of callers when things go wrong, or are written wrong."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bulkpages import _core
from bulkpages.callers.ports import PORTS
from bulkpages.eras.rules import DEFAULT, TODAY, kernel_text, rules_to_set
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import names, need
from bulkpages.plain import table
from bulkpages.tables import Table, Tabular

__all__ = ["Misuse", "Sweep", "failure_sweep", "misuse_score"]

#: Columns of a row that are compared between forms.
COMPARED = ("ret", "calls", "waits", "filled", "freed_populated", "moved")
#: Verdicts on a slip, from the least bad.
VERDICTS = ("harmless", "visible", "crash", "endless", "leak", "corruption")


def _names(callers: str | Iterable[str], today: bool) -> list[str]:
    """The callers that are meant: of the patch, or of 7.3."""
    scope = [port.name for port in PORTS if (port.today if today else port.patched)]
    wanted = names("a caller", callers)
    for part in wanted:
        if not part or not any(part in name for name in scope):
            raise InvalidArgument(f"caller {part!r} is part of none of {', '.join(scope)}")
    return [name for name in scope if not wanted or any(part in name for part in wanted)]


def _threads(threads: int | None) -> int:
    return threads if threads is not None else (os.cpu_count() or 1)


def _kernel(kernel: str | None, rules: Mapping[str, bool] | None, today: bool) -> tuple[str, list[tuple[str, bool]]]:
    """The kernel series that is meant, and rules as the core takes them."""
    need("kernel", kernel, (str, type(None)))
    return kernel or (TODAY if today else DEFAULT), rules_to_set(rules)


def kind(stops: Iterable[tuple[str, str]]) -> str:
    """Stops as text: the branch and for how long it fails."""
    return " + ".join(f"{branch} {lasting}" for branch, lasting in stops) or "nothing fails"


def wrongs(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], int, str]]:
    """Runs of a sweep that leave memory wrong: the row, the position in it, and what is wrong."""
    for row in rows:
        for i, (ret, leaked, corrupt) in enumerate(zip(row["ret"], row["leaked"], row["corrupt"], strict=True)):
            if ret == "crash":
                yield row, i, "crashes"
            if leaked:
                yield row, i, "loses pages"
            if corrupt:
                yield row, i, "holds pages that are not its own"


def place(row: Mapping[str, Any], i: int) -> str:
    """What fails in a run, and where."""
    return f"{kind(row['stops'])} at {' '.join(map(str, row['index'][i]))}"


@dataclass(frozen=True, repr=False)
class Sweep(Tabular):
    """The outcome of a failure sweep.

    Attributes:
        rows: One dict for each caller, form, input, setting and kind of failure. `index` lists how often each step
            worked before it failed. Each of `ret`, `calls`, `retries` (calls after the first), `waits`, `filled`,
            `leaked`, `freed_populated` (pages freed that the array held before), `moved` (pages in a different slot
            than before), `corrupt` and `endless` has one value per index.
        kernel: The kernel series of the machines.
        rules: Rules that were switched on or off.
    """

    rows: Sequence[dict[str, Any]]
    kernel: str = DEFAULT
    rules: Mapping[str, bool] = field(default_factory=dict)

    def to_table(self) -> Table:
        """A row for each run: caller, form, input, setting, what fails and where, and the outcome."""
        fixed = ("caller", "form", "input", "slots", "setting")
        outcome = ("ret", "calls", "waits", "filled", "leaked", "freed_populated", "moved", "corrupt", "endless")
        columns: dict[str, list[Any]] = {name: [] for name in (*fixed, "stops", "index", *outcome)}
        for row in self.rows:
            n = len(row["index"])
            for name in fixed:
                columns[name] += [row[name]] * n
            columns["stops"] += [kind(row["stops"])] * n
            columns["index"] += [" ".join(map(str, index)) for index in row["index"]]
            for name in outcome:
                columns[name] += row[name]
        return Table(columns, title="failure sweep")

    def _repr_html_(self) -> str:
        return Table.from_rows(self.by_form(), title=f"failure sweep, {self.runs} runs")._repr_html_()

    def __repr__(self) -> str:
        return f"<Sweep {self.runs} runs of {', '.join(dict.fromkeys(row['caller'] for row in self.rows))}>"

    @property
    def runs(self) -> int:
        """Number of runs."""
        return sum(len(row["index"]) for row in self.rows)

    def by_form(self) -> list[dict[str, Any]]:
        """Totals for each caller and form, over the runs in which something failed."""
        totals: dict[tuple[str, str], dict[str, Any]] = {}
        for row in self.rows:
            if not row["stops"]:
                continue
            t = totals.setdefault(
                (row["caller"], row["form"]),
                {
                    "runs": 0,
                    "filled": 0,
                    "failed": 0,
                    "endless": 0,
                    "leaked": 0,
                    "corrupt": 0,
                    "freed_populated": 0,
                    "moved": 0,
                    "most_calls": 0,
                    "most_waits": 0,
                },
            )
            t["runs"] += len(row["ret"])
            outcomes = Counter(row["ret"])
            t["filled"] += outcomes["0"] + outcomes["true"]
            t["endless"] += outcomes["endless"]
            t["failed"] += len(row["ret"]) - outcomes["0"] - outcomes["true"] - outcomes["endless"]
            t["leaked"] += sum(row["leaked"])
            t["corrupt"] += sum(row["corrupt"])
            t["freed_populated"] += sum(row["freed_populated"])
            t["moved"] = max(t["moved"], *row["moved"])
            t["most_calls"] = max(t["most_calls"], *row["calls"])
            t["most_waits"] = max(t["most_waits"], *row["waits"])
        return [{"caller": caller, "form": form, **t} for (caller, form), t in totals.items()]

    def differences(self, form: str = "after", against: str = "before") -> list[dict[str, Any]]:
        """Where two forms of a caller behave differently under the same failure.

        Returns:
            A dict for each caller and compared column, with the number of `runs` compared and how many `differ`, for
            numbers also how many are `more` and `less`, and an `example`. Runs are compared index by index where both
            forms reach the step.
        """
        other = {self._key(row): row for row in self.rows if row["form"] == against}
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for row in self.rows:
            if row["form"] != form or (was := other.get(self._key(row))) is None:
                continue
            runs = min(len(row["index"]), len(was["index"]))
            for column in COMPARED:
                d = found.setdefault(
                    (row["caller"], column), {"runs": 0, "differ": 0, "more": 0, "less": 0, "example": None}
                )
                d["runs"] += runs
                for i in range(runs):
                    old, new = was[column][i], row[column][i]
                    if old == new or was["index"][i] != row["index"][i]:
                        continue
                    d["differ"] += 1
                    if column != "ret":
                        d["more" if new > old else "less"] += 1
                    if d["example"] is None:
                        d["example"] = {
                            "input": row["input"],
                            "setting": row["setting"],
                            "stops": kind(row["stops"]),
                            "index": row["index"][i],
                            against: old,
                            form: new,
                        }
        return [{"caller": caller, "column": column, **d} for (caller, column), d in found.items()]

    def wrongs(self) -> list[dict[str, Any]]:
        """Callers that leave memory wrong: caller, form, `what` is wrong, in how many `runs`, and the first of them."""
        found: dict[tuple[str, str, str], dict[str, Any]] = {}
        for row, i, what in wrongs(self.rows):
            first = {"input": row["input"], "setting": row["setting"], "stops": place(row, i)}
            one = found.setdefault((row["caller"], row["form"], what), {"runs": 0, **first})
            one["runs"] += 1
        return [{"caller": caller, "form": form, "what": what, **one} for (caller, form, what), one in found.items()]

    @staticmethod
    def _key(row: dict[str, Any]) -> tuple[Any, ...]:
        return (row["caller"], row["input"], row["setting"], tuple(row["stops"]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values: the totals, the differences and every row. Rows of pairs have totals instead of columns."""
        rows = []
        for row in self.rows:
            if len(row["stops"]) < 2:
                rows.append(row)
                continue
            slim = {name: row[name] for name in ("caller", "form", "input", "slots", "setting", "stops")}
            slim["runs"] = len(row["index"])
            slim["ret"] = dict(Counter(row["ret"]))
            for name in ("calls", "waits", "leaked", "freed_populated", "moved", "corrupt", "endless"):
                slim[f"most_{name}"] = max(row[name])
            rows.append(slim)
        return {
            "schema": "bulkpages.sweep/1",
            "kernel": self.kernel,
            "rules": dict(self.rules),
            "runs": self.runs,
            "by_form": self.by_form(),
            "differences": self.differences(),
            "wrongs": self.wrongs(),
            "rows": rows,
        }

    def text(self) -> str:
        """The totals and the differences as text."""
        totals = table(
            ["caller", "form", "runs", "filled", "failed", "endless", "leaked", "corrupt", "freed", "moved", "calls"],
            [
                [
                    t["caller"],
                    t["form"],
                    t["runs"],
                    t["filled"],
                    t["failed"],
                    t["endless"],
                    t["leaked"],
                    t["corrupt"],
                    t["freed_populated"],
                    t["moved"],
                    t["most_calls"],
                ]
                for t in self.by_form()
            ],
        )
        machines = kernel_text(self.kernel, self.rules)
        lines = [
            f"{self.runs} runs on machines of {machines}. Of those in which something fails:",
            "",
            totals,
            "",
            "filled, failed, endless: runs by outcome (endless: the allowed waits were used up); leaked, freed: pages,",
            "freed counts those that the array held before; moved, calls: most in a run.",
        ]
        if found := self.wrongs():
            lines += [
                "",
                "Callers that leave memory wrong:",
                "",
                table(
                    ["caller", "form", "what", "runs", "first seen with"],
                    [
                        [w["caller"], w["form"], w["what"], w["runs"], f"{w['input']}, {w['setting']}, {w['stops']}"]
                        for w in found
                    ],
                ),
            ]
        for form, against in self._compared():
            differing = [d for d in self.differences(form, against) if d["differ"]]
            lines += [
                "",
                f"What differs from {against} to {form}, under the same failure:",
                "",
                table(
                    ["caller", "what", "runs", "differ", "more", "less"],
                    [[d["caller"], d["column"], d["runs"], d["differ"], d["more"], d["less"]] for d in differing],
                ),
            ]
            for d in differing:
                e = d["example"]
                lines.append(
                    f"  {d['caller']}, {d['column']}: {e[against]} {against}, {e[form]} {form}; "
                    f"{e['input']}, {e['setting']}, {e['stops']} at {e['index']}"
                )
        return "\n".join(lines)

    def _compared(self) -> list[tuple[str, str]]:
        """Of the kernel's callers what the patch changes; of a caller of your own every form and the first."""
        forms = list(dict.fromkeys(row["form"] for row in self.rows))
        return [("after", "before")] if "before" in forms else [(form, forms[0]) for form in forms[1:]]


def failure_sweep(
    callers: str | Sequence[str] = (),
    *,
    today: bool = False,
    largest: int = 1100,
    pairs_up_to: int = 16,
    threads: int | None = None,
    kernel: str | None = None,
    rules: Mapping[str, bool] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Sweep:
    """Makes every branch fail at every index, for every caller, form and array shape.

    Args:
        callers: Callers to run, by part of a name, one or several; all of them if empty.
        today: Runs the callers of 7.3 instead of those that the patch changes.
        largest: Largest array in slots; 1100 covers everything.
        pairs_up_to: Largest array for which failures are combined in pairs.
        threads: Number of threads; one per processor by default. The result does not depend on it.
        kernel: The kernel series of the machines; by default 7.3 with `today`, else 6.12.
        rules: Single rules to switch on or off, as for `Machine`.
        progress: Called at intervals with the number of cases done and the total.

    Raises:
        InvalidArgument: An unknown caller, a number out of range, an unknown kernel or rule.
    """
    series, changed = _kernel(kernel, rules, bool(today))
    rows = _core.failure_sweep(
        _names(callers, bool(today)), largest, pairs_up_to, _threads(threads), series, changed, progress
    )
    return Sweep(rows, series, dict(changed))


@dataclass(frozen=True, repr=False)
class Misuse(Tabular):
    """The outcome of the misuse score.

    Attributes:
        scores: One dict for each caller, form and possible slip (wrong line): `verdict`, the worst of all runs;
            `plain_verdict`, the worst of runs in which nothing fails; `plain` and `failing`, the runs by verdict; and
            an `example` of the worst.
        kernel: The kernel series of the machines.
        rules: Rules that were switched on or off.
    """

    scores: Sequence[dict[str, Any]]
    kernel: str = DEFAULT
    rules: Mapping[str, bool] = field(default_factory=dict)

    def to_table(self) -> Table:
        """A row for each caller, form and slip; `plain_` and `failing_` count runs by verdict."""
        rows = []
        for score in self.scores:
            row = {name: score[name] for name in ("caller", "form", "slip", "verdict", "plain_verdict")}
            row |= {f"{when}_{v}": score[when][v] for when in ("plain", "failing") for v in VERDICTS}
            rows.append(row)
        return Table.from_rows(rows, title="misuse score")

    def _repr_html_(self) -> str:
        return Table.from_rows(self.by_form(), title="misuse score, wrong lines by their worst")._repr_html_()

    def __repr__(self) -> str:
        return f"<Misuse {len(self.scores)} wrong lines>"

    def by_form(self) -> list[dict[str, Any]]:
        """For each form: the possible slips, their worst verdicts, and how many of the bad ones stay hidden.

        A slip is hidden if it does no harm until something fails. A test that never runs out of memory then passes.
        """
        found: dict[str, dict[str, Any]] = {}
        for score in self.scores:
            f = found.setdefault(
                score["form"], {"callers": set(), "slips": 0, **dict.fromkeys(VERDICTS, 0), "hidden": 0}
            )
            f["callers"].add(score["caller"])
            f["slips"] += 1
            f[score["verdict"]] += 1
            if VERDICTS.index(score["verdict"]) >= 3 and score["plain_verdict"] == "harmless":
                f["hidden"] += 1
        return [{"form": form, **f, "callers": len(f["callers"])} for form, f in found.items()]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "schema": "bulkpages.misuse/1",
            "kernel": self.kernel,
            "rules": dict(self.rules),
            "by_form": self.by_form(),
            "scores": list(self.scores),
        }

    def text(self) -> str:
        """The score as text."""
        summary = table(
            ["form", "callers", "slips", *VERDICTS, "hidden"],
            [[f[k] for k in ("form", "callers", "slips", *VERDICTS, "hidden")] for f in self.by_form()],
        )
        detail = table(
            ["caller", "form", "slip", "nothing fails", "something fails"],
            [[s["caller"], s["form"], s["slip"], s["plain_verdict"], s["verdict"]] for s in self.scores],
        )
        return "\n".join(
            [
                f"One wrong line in a caller, by its worst consequence, on {kernel_text(self.kernel, self.rules)}:",
                "",
                summary,
                "",
                "hidden: endless, leak or corruption that shows only when an allocation fails.",
                "",
                detail,
            ]
        )


def misuse_score(
    callers: str | Sequence[str] = (),
    *,
    today: bool = False,
    largest: int = 300,
    threads: int | None = None,
    kernel: str | None = None,
    rules: Mapping[str, bool] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Misuse:
    """Puts one wrong line in each caller, for each known way to get it wrong, and counts the outcomes.

    Args:
        callers: Callers to run, by part of a name, one or several; all of them if empty.
        today: Runs the callers of 7.3 instead of those that the patch changes.
        largest: Largest array, in slots.
        threads: Number of threads; one per processor by default. The result does not depend on it.
        kernel: The kernel series of the machines; by default 7.3 with `today`, else 6.12.
        rules: Single rules to switch on or off, as for `Machine`.
        progress: Called at intervals with the number of cases done and the total.

    Raises:
        InvalidArgument: An unknown caller, a number out of range, an unknown kernel or rule.
    """
    series, changed = _kernel(kernel, rules, bool(today))
    scores = _core.misuse_score(_names(callers, bool(today)), largest, _threads(threads), series, changed, progress)
    return Misuse(scores, series, dict(changed))
