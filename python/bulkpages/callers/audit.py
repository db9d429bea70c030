"""The caller audit: what each caller of 7.3 does when a bulk call returns one page although memory is free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bulkpages import _core
from bulkpages.callers.ports import PORTS, Port, run
from bulkpages.callers.result import CallerResult
from bulkpages.callers.shapes import fill_shape
from bulkpages.eras.rules import TODAY
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import need
from bulkpages.machine import Machine
from bulkpages.plain import table
from bulkpages.tables import Table, Tabular

__all__ = ["CAUSES", "Audit", "audit"]

MEMORY = "256MiB"
MAX_WAITS = 4


@dataclass(frozen=True)
class Cause:
    """Something that makes a bulk call return one page although memory is free.

    Attributes:
        name: Its name.
        what: What is so, in words.
        machine: Options of the machine.
        faults: Keywords of `Machine.faults()`.
        options: The same for `bulkpages callers run`.
    """

    name: str
    what: str
    machine: dict[str, Any]
    faults: dict[str, Any]
    options: str


#: The five causes.
CAUSES = (
    Cause(
        "accounting", "memory cgroups account kernel memory, and the request is charged", {"memcg": True}, {}, "--memcg"
    ),
    Cause("page owner", "page owner tracking is on", {"page_owner": True}, {}, "--page-owner"),
    Cause("trylock", "the per-CPU lock was taken when the call wanted it", {}, {"trylock": True}, "--fault trylock"),
    Cause("watermark", "no zone is above its low mark plus the request", {}, {"watermark": True}, "--fault watermark"),
    Cause(
        "no SMP",
        "built without SMP, which since 7.1 means without per-CPU lists",
        {"cpus": 1, "rules": {"smp": False}},
        {},
        "--cpus 1 --rule smp=no",
    ),
)
#: What a caller can make of it, from the least bad.
OUTCOMES = {
    "unharmed": "the call returns what it would anyway",
    "retries": "all pages in the end, one by one",
    "short": "works with fewer pages than it wanted",
    "waits": "sleeps although memory is free",
    "fails": "fails although memory is free",
}


@dataclass(frozen=True, repr=False)
class Audit(Tabular):
    """The outcome of a caller audit.

    Attributes:
        pages: Pages that each caller requested, unless its number is constant.
        kernel: The kernel series of the machines.
        rows: One dict for each caller and cause: `caller`, `file`, `cause`, `outcome` (one of `OUTCOMES`), `wanted`,
            `filled`, `calls` (bulk calls), `first` (what the first call returned), `waits`, `ret`, `free` (free pages
            when the caller returned) and the `command` that shows it.
        ways_out: One dict for each caller whose error path leaves memory in a wrong state: `caller`, `form`, `input`,
            `stops`, `index`, `what` and the number of such `runs`. Correct callers are not listed.
    """

    pages: int
    kernel: str
    rows: Sequence[dict[str, Any]]
    ways_out: Sequence[dict[str, Any]]

    def to_table(self) -> Table:
        """A row for each caller and cause."""
        return Table.from_rows(list(self.rows), title="caller audit")

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __repr__(self) -> str:
        failing = dict.fromkeys(row["caller"] for row in self.rows if row["outcome"] == "fails")
        return f"<Audit of {len(self.callers())} callers; fail with memory free: {', '.join(failing) or 'none'}>"

    def callers(self) -> list[str]:
        """The callers, in the order of the register."""
        return list(dict.fromkeys(row["caller"] for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "schema": "bulkpages.audit/1",
            "pages": self.pages,
            "kernel": self.kernel,
            "causes": {cause.name: cause.what for cause in CAUSES},
            "outcomes": OUTCOMES,
            "rows": list(self.rows),
            "ways_out": list(self.ways_out),
        }

    def text(self) -> str:
        """The audit as text."""
        found = {(row["caller"], row["cause"]): row for row in self.rows}
        causes = [cause.name for cause in CAUSES]
        grid = table(
            ["caller", "pages", *causes],
            [
                [name, found[name, causes[0]]["wanted"], *(found[name, cause]["outcome"] for cause in causes)]
                for name in self.callers()
            ],
        )
        head_line = f"What each caller does on {self.kernel} when a bulk call returns one page although memory is free:"
        lines = [head_line, "", grid, ""]
        lines += [f"{name + ':':<11}{what}" for name, what in OUTCOMES.items()]
        lines += ["", "Callers that fail, and the command that shows it:", ""]
        failing = [row for row in self.rows if row["outcome"] in ("fails", "waits")]
        head = ["caller", "cause", "wanted", "came", "free pages", "command"]
        lines.append(
            table(
                head,
                [[r["caller"], r["cause"], r["wanted"], r["first"], r["free"], r["command"]] for r in failing],
            )
        )
        lines += ["", "Error paths that corrupt memory when pages run out before the caller has all:", ""]
        head = ["caller", "form", "input", "runs", "what", "first seen with"]
        lines.append(
            table(
                head,
                [[w["caller"], w["form"], w["input"], w["runs"], w["what"], w["stops"]] for w in self.ways_out],
            )
            if self.ways_out
            else "none"
        )
        return "\n".join(lines)


def _filled(result: CallerResult) -> int:
    return sum(1 for page in result.array if page)


def _outcome(wanted: int, result: CallerResult, plain: CallerResult) -> str:
    if result.ret is None or result.waits:
        return "waits"
    if result.ret is not True and result.ret != 0:
        return "fails"
    if _filled(result) < wanted:
        return "short"
    return "unharmed" if list(result.bulk_calls) == list(plain.bulk_calls) else "retries"


def _row(port: Port, cause: Cause, pages: int, kernel: str) -> dict[str, Any]:
    wanted = port.pages or pages

    def call(machine: Machine, **faults: Any) -> CallerResult:
        array = fill_shape(machine, "." * wanted) if port.array == "given" else None
        with machine.faults(**faults):
            return run(machine, port.name, array, pages=wanted, form="before", max_waits=MAX_WAITS)

    machine = Machine(MEMORY, kernel=kernel, **cause.machine)
    result, plain = call(machine, **cause.faults), call(Machine(MEMORY, kernel=kernel))
    given = f"--shape {'.' * wanted}" if port.array == "given" else f"--pages {wanted}"
    return {
        "caller": port.name,
        "file": port.file,
        "cause": cause.name,
        "outcome": _outcome(wanted, result, plain),
        "wanted": wanted,
        "filled": _filled(result),
        "calls": len(result.bulk_calls),
        "first": result.bulk_calls[0][1] if result.bulk_calls else None,
        "waits": result.waits,
        "ret": result.ret,
        "free": sum(zone.nr_free for zone in machine.zones),
        "command": f"bulkpages callers run {port.name} --form before {given} --kernel {kernel} {cause.options}",
    }


def _ways_out(
    names: list[str], largest: int, kernel: str, progress: Callable[[int, int], object] | None
) -> list[dict[str, Any]]:
    """Who leaves memory wrong, from a sweep of every failure over small arrays."""
    from bulkpages.callers.sweep import place, wrongs

    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for row, i, what in wrongs(_core.failure_sweep(names, largest, 0, 1, kernel, [], progress)):
        key = (row["caller"], row["form"], row["input"], what)
        if key not in found:
            found[key] = dict(zip(("caller", "form", "input", "what"), key, strict=True))
            found[key] |= {"stops": place(row, i), "runs": 0}
        found[key]["runs"] += 1
    return list(found.values())


def audit(*, pages: int = 16, kernel: str = TODAY, progress: Callable[[int, int], object] | None = None) -> Audit:
    """Runs every caller of 7.3 under the five conditions that make a bulk call return one page although memory is free.

    The callers run in their 7.3 form on a freshly booted machine of 256 MiB. Then all error paths are tried: every
    branch fails at every index, on arrays of up to 16 slots.

    Args:
        pages: Pages that each caller requests, unless its number is constant.
        kernel: The kernel series of the machines.
        progress: Called at intervals with the number of cases done and the total.

    Raises:
        InvalidArgument: A number out of range, or an unknown kernel.

    Example:
        >>> import bulkpages as bp
        >>> found = bp.callers.audit(pages=129)
        >>> [row["cause"] for row in found.rows if row["caller"] == "io_region_allocate_pages"]
        ['accounting', 'page owner', 'trylock', 'watermark', 'no SMP']
    """
    need("pages", pages, int)
    if not 2 <= pages <= 1024:
        raise InvalidArgument(f"pages {pages} is outside 2 to 1024")
    ports = [port for port in PORTS if port.today]
    rows = [_row(port, cause, pages, kernel) for port in ports for cause in CAUSES]
    return Audit(pages, kernel, rows, _ways_out([port.name for port in ports], 16, kernel, progress))
