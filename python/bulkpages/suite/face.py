"""The comparison and the claims as functions. Their results can be printed, plotted and converted to tables."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.tables import Table, Tabular, comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ClaimLedger", "CompareResult", "claims", "compare"]

WIDTH = 110


@dataclass(frozen=True, repr=False)
class CompareResult(Tabular):
    """The comparison of mainline and patched. `print(r)` shows the answer, and `r.rows` has every figure.

    Attributes:
        results: The contents of results.json; docs/results-schema.md documents its keys.
    """

    results: dict[str, Any] = field(repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One for each workload and form: `verdict`, `instructions`, `counts`, `slot_work`, `kernel_cycles`, ..."""
        return list(self.results["rows"])

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The row of this name, as "xfs-4" or "svc-2-holes tracked".

        Raises:
            KeyError: There is none.
        """
        for row in self.results["rows"]:
            if row["name"] == name:
                return dict(row)
        raise KeyError(name)

    def text(self, width: int = WIDTH) -> str:
        """The answer in sentences, the table and, if measured, the emulator's time.

        Args:
            width: Width in columns, at least 80.
        """
        import io

        from rich.console import Console

        from bulkpages.suite.output.screen import print_screen

        out = io.StringIO()
        print_screen(self.results, Console(file=out, width=max(80, width), no_color=True, force_terminal=False))
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def to_table(self) -> Table:
        """As `bulkpages.tables.comparison`."""
        return comparison(self.results)

    def plot(self) -> Figure:
        """The difference of every workload in kernel instructions, with the intervals of predictions.

        Raises:
            BulkpagesError: No workload has instructions.
        """
        from bulkpages.suite.output.plots import difference_figure

        figure = difference_figure(self.results)
        if figure is None:
            raise BulkpagesError("no workload has kernel instructions: there is nothing to draw")
        return figure

    def write(self, folder: str | Path) -> list[Path]:
        """Creates a folder and writes report.html, reply.txt and results.json into it.

        Args:
            folder: The folder; it must not contain a run.

        Returns:
            The files.

        Raises:
            BulkpagesError: It contains a run, or cannot be written.
        """
        from bulkpages.suite.output.write import write
        from bulkpages.suite.trunk.folder import Folder

        with Folder(Path(folder)) as place:
            try:
                return write(self.results, place.path)
            except OSError as error:
                raise BulkpagesError(f"output {folder}: {error.strerror or error}") from error

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        verdicts = [row["verdict"] for row in self.results["rows"]]
        found = ", ".join(
            f"{verdicts.count(verdict)} {verdict}"
            for verdict in ("faster", "slower", "same", "undecided")
            if verdict in verdicts
        )
        timed = "" if self.results["timing"] else ", not timed"
        return f"<CompareResult {len(verdicts)} rows: {found}{timed}>"


def compare(
    only: str | Sequence[str] = (),
    *,
    quick: bool = True,
    timing: bool = False,
    seconds: float | None = None,
    processes: int | None = None,
    effect: float = 0.01,
    seed: int | None = None,
    snapshot: str | Path | None = None,
    kernel: str | None = None,
    progress: Callable[[float, str], None] = lambda done, what: None,
) -> CompareResult:
    """Compares mainline and patched `alloc_pages_bulk()` and callers in kernel instructions, like `bulkpages compare`.

    Without timing it takes seconds and is the same on every machine. With timing, fresh processes measure the
    emulator's own time; in a script, call it under `if __name__ == "__main__":` then.

    Args:
        only: Names of workloads, or shell patterns of names; all workloads of the run if empty.
        quick: Whether to run fewer workloads. If False, all of them run in every form and condition.
        timing: Whether to measure the emulator's time too.
        seconds: Time to measure, in seconds, above 0; the usual time by default.
        processes: Processes for each workload, instead of a time.
        effect: Smallest difference of interest, as a fraction from 0.0001 to 0.5.
        seed: Seed of the order of trials, 0 to 2**32 - 1; random by default.
        snapshot: Kernel state to load, the path of a recording or snapshot; the shipped one by default.
        kernel: The kernel series of the machines, which start from its shipped state: "6.1", "6.12" (the default) or
            "7.3". For 6.1 and 7.3, instructions were counted for the bare calls only.
        progress: Called with a fraction from 0 to 1 while counting or seconds while timing, and with a description.

    Raises:
        InvalidArgument: No workload has that name, or a number is outside its range.
        SnapshotError: The state cannot be loaded.
        BulkpagesError: No workload can run on this state, or a process that measured ended early.

    Example:
        >>> import bulkpages as bp
        >>> bp.compare("xfs-4")["xfs-4"]["verdict"]
        'faster'
    """
    from bulkpages.provenance import provenance
    from bulkpages.suite.run import MAX_SEED, Request, choose, exact, kernel_of, state_file, timed

    names = (only,) if isinstance(only, str) else tuple(only)
    if not 0.0001 <= effect <= 0.5:
        raise InvalidArgument(f"effect {effect} is outside 0.0001 to 0.5")
    if seconds is not None and not 0 < seconds <= 86400:
        raise InvalidArgument(f"seconds {seconds} is outside 0 to 86400")
    if processes is not None and not 1 <= processes <= 1000:
        raise InvalidArgument(f"processes {processes} is outside 1 to 1000")
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise InvalidArgument(f"seed {seed} is outside 0 to {MAX_SEED}")
    state_path = str(snapshot) if snapshot is not None else None
    request = Request(
        choose(quick, names),
        chosen=bool(names),
        quick=quick,
        snapshot=state_path,
        kernel=kernel_of(state_path, kernel),
        seed=secrets.randbelow(MAX_SEED + 1) if seed is None else seed,
        effect=effect,
        seconds=seconds,
        processes=processes,
    )
    where = provenance()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with state_file(request.snapshot, request.kernel) as state:
        results = exact(request, state, progress)
        if timing:
            section, measured = timed(request, state, where, progress=progress)
            if measured.broken:
                raise BulkpagesError(
                    "a process that measured ended early. New processes read a script too: in one, compare() with "
                    "timing "
                    'stands under if __name__ == "__main__":'
                )
            if measured.interrupted:
                raise KeyboardInterrupt
            results["timing"] = section
    results |= {
        "seed": request.seed if timing else None,
        "started": started,
        "seconds": None,
        "command": request.command(names, timing),
        "provenance": where,
        "snapshot_path": request.snapshot,
        "complete": True,
    }
    return CompareResult(results)


@dataclass(frozen=True, repr=False)
class ClaimLedger(Tabular):
    """The technical claims of the mailing-list thread, each with its verdict; `print(ledger)` shows all of them.

    Attributes:
        rows: A dict for each claim: name, date, source, message_id, sentence, verdict, found, reproduce.
    """

    rows: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def text(self, width: int = 100) -> str:
        """Each claim with its verdict and the finding."""
        import textwrap

        lines = []
        for row in self.rows:
            lines.append(f"{row['verdict']}: {row['sentence']}  ({row['name']}; {row['source']}, {row['date']})")
            lines.append(textwrap.fill(row["found"], width, initial_indent="    ", subsequent_indent="    "))
        return "\n".join(lines)

    def to_table(self) -> Table:
        """One row for each claim."""
        return Table.from_rows(self.rows, title="claims")

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<ClaimLedger {', '.join(row['name'] + ': ' + row['verdict'] for row in self.rows)}>"


def claims(only: str | Sequence[str] = ()) -> ClaimLedger:
    """Tests each technical claim of the mailing-list thread with an experiment, like `bulkpages claims`.

    No clock is read, so the output is the same on every machine.

    Args:
        only: Names of claims; all of them if empty.

    Raises:
        InvalidArgument: There is no such claim.

    Example:
        >>> import bulkpages as bp
        >>> [row["verdict"] for row in bp.claims("52-51")]
        ['true']
    """
    from bulkpages.suite.experiments.claims import CLAIMS, judge

    names = (only,) if isinstance(only, str) else tuple(only)
    known = [claim.name for claim in CLAIMS]
    if unknown := [name for name in names if name not in known]:
        raise InvalidArgument(f"no claim {unknown[0]!r}; there are {', '.join(known)}")
    return ClaimLedger(judge(names))
