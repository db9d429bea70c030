"""What a sweep found: rows, table, and the file that holds them."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.files import read_results, save_figure, whole_file, write_whole
from bulkpages.kinds import counted
from bulkpages.plain import table
from bulkpages.sweep.spec import KEYS, Spec
from bulkpages.sweep.unit import COLUMNS, Row
from bulkpages.tables import Table, Tabular

__all__ = ["NAME", "Result", "load"]

SCHEMA = "bulkpages.sweep-results/1"
NAME = "results.json"
# Columns of the table that are numbers, in the order of a row.
NUMBERS = tuple(name for name in COLUMNS if name not in ("gave_up", "returns", "vm", "error"))


def _short(values: Sequence[Any]) -> str:
    """The one value that all runs have; else their median with the smallest and the largest."""
    found = {str(value) for value in values}
    if len(found) == 1:
        return found.pop()
    if any(value is None for value in values):
        return ", ".join(sorted(found))
    numbers = [int(value) for value in values]
    return f"{statistics.median(numbers):g} [{min(numbers)},{max(numbers)}]"


@dataclass(frozen=True, repr=False)
class Result(Tabular):
    """The outcome of a sweep. It can be printed, shown in a notebook, plotted, and converted to tables.

    Attributes:
        spec: The sweep that was run.
        found: (number of the cell from 0, seed, row) for each run, ordered by cell and seed. A row has a value for each
            of `bulkpages.sweep.COLUMNS`.
        cycles: The cycles measured, in the schema of `bulkpages compare`; None if not requested.
        info: Version, machine, circumstances, start time and duration.
    """

    spec: Spec
    found: Sequence[tuple[int, int, Row]] = field(repr=False)
    cycles: Mapping[str, Any] | None = field(default=None, repr=False)
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dict for each run: the number of the cell, the seed, the cell's keys and the row."""
        cells = [{key: cell.get(key) for key in ("what", *KEYS)} for cell in self.spec.cells]
        return [{"cell": i, "seed": seed, **cells[i], **row} for i, seed, row in self.found]

    @property
    def errors(self) -> list[tuple[int, int, str]]:
        """(cell, seed, reason) for each run that could not be made."""
        return [(i, seed, row["error"]) for i, seed, row in self.found if row["error"] is not None]

    def to_table(self) -> Table:
        """A row for each run: cell, seed, the keys that differ between cells, and all of `bulkpages.sweep.COLUMNS`."""
        axes = self.spec.axes
        rows = []
        for i, seed, row in self.found:
            keys = {key: self.spec.cells[i].get(key) for key in ("what", *axes)}
            returns = None if row["returns"] is None else " ".join(map(str, row["returns"]))
            rows.append({"cell": i, "seed": seed, **keys, **row, "returns": returns})
        for row in rows:
            del row["vm"]
        return Table.from_rows(rows, title=self.spec.title)

    def plot(
        self, path: str | Path | None = None, *, y: str = "slot_writes", x: str | None = None, by: str | None = None
    ) -> Any:
        """Plots one column against an axis: for each cell, the median over its seeds, with minimum and maximum.

        Args:
            path: The file; its extension sets the format. If None, nothing is written.
            y: The numeric column to plot, such as "ret" or "slot_tests".
            x: The horizontal axis. If None, the first numeric axis, or else the first.
            by: The axis whose values become separate lines. If None, all other axes together.

        Returns:
            The matplotlib figure.

        Raises:
            InvalidArgument: No such column or axis, or an extension that matplotlib does not know.
        """
        from matplotlib.figure import Figure

        if y not in NUMBERS:
            raise InvalidArgument(f"y {y!r} is not one of {', '.join(NUMBERS)}")
        axes = self.spec.axes
        numeric = [key for key in axes if all(isinstance(c.get(key), (int, float)) for c in self.spec.cells)]
        x = x if x is not None else next(iter([*numeric, *axes]), None)
        for name, key in (("x", x), ("by", by)):
            if key is not None and key not in axes:
                raise InvalidArgument(
                    f"{name} {key!r} is not an axis of this sweep: {', '.join(axes) or 'it has none'}"
                )
        values: dict[int, list[float]] = {}
        for i, _, row in self.found:
            if row["error"] is None and row[y] is not None:
                values.setdefault(i, []).append(float(row[y]))
        lines: dict[str, list[tuple[Any, list[float]]]] = {}
        others = [key for key in axes if key != x] if by is None else [by]
        for i, numbers in values.items():
            cell = self.spec.cells[i]
            name = ", ".join(str(cell.get(key)) for key in others)
            lines.setdefault(name, []).append((cell.get(x) if x is not None else i, numbers))
        figure = Figure(figsize=(7, 4), layout="constrained")
        axis = figure.add_subplot()
        for name, points in lines.items():
            middle = [statistics.median(numbers) for _, numbers in points]
            low = [m - min(numbers) for m, (_, numbers) in zip(middle, points, strict=True)]
            high = [max(numbers) - m for m, (_, numbers) in zip(middle, points, strict=True)]
            places = [place if x in numeric else str(place) for place, _ in points]
            axis.errorbar(places, middle, yerr=(low, high), marker="o", capsize=2, label=name)
        axis.set(xlabel=x or "cell", ylabel=y, title=self.spec.title)
        if others and 1 < len(lines) <= 12:
            axis.legend(title=", ".join(others), fontsize="small")
        if path is not None:
            save_figure(figure, path)
        return figure

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        errors = f", {counted(len(self.errors), 'error')}" if self.errors else ""
        cells, runs = counted(len(self.spec.cells), "cell"), counted(len(self.found), "run")
        return f"<Result {self.spec.title!r}: {cells}, {runs}{errors}>"

    def text(self) -> str:
        """A line for each cell: the keys that differ between cells, and each number over all seeds.

        If all seeds agree on a number, it is shown alone, otherwise as the median with minimum and maximum. Numbers
        that are 0 everywhere are omitted.
        """
        rows: dict[int, list[Row]] = {}
        for i, _, row in self.found:
            rows.setdefault(i, []).append(row)
        lines = [self.spec.title, ""]
        if rows:
            shown = [n for n in NUMBERS if n == "ret" or any(row[n] for _, _, row in self.found)]
            axes = self.spec.axes
            body = []
            for i, of_cell in rows.items():
                cell = self.spec.cells[i]
                good = [row for row in of_cell if row["error"] is None]
                numbers = [_short([row[n] for row in good]) if good else "-" for n in shown]
                keys = ["-" if cell.get(key) is None else str(cell[key]) for key in axes]
                body.append([*keys, len(of_cell), *numbers])
            lines.append(table([*axes, "runs", *shown], body))
        if self.cycles is not None:
            lines += [*([""] if rows else []), *self._cycles_text()]
        if self.errors:
            i, seed, why = self.errors[0]
            lines += ["", f"{len(self.errors)} runs could not be made; the first is cell {i + 1}, seed {seed}: {why}"]
        return "\n".join(lines)

    def _cycles_text(self) -> Iterator[str]:
        assert self.cycles is not None
        null, rows = self.cycles["null"], self.cycles["rows"]
        yield (
            f"Clock counts of the emulator, not of a kernel. A/A: {len(null['alarms'])} false alarms in "
            f"{null['comparisons']} comparisons of a form with itself"
            + ("." if null["silent"] else ": this machine is too noisy at present, so there is no verdict.")
        )
        if rows:
            yield ""
            yield table(
                ["workload", "per", "base", "form", "counts", "counts of form", "difference", "interval", "verdict"],
                [
                    [
                        row["cell"],
                        row["unit"],
                        row["base"],
                        row["form"],
                        f"{row['cost']['base']['counts']:.1f}",
                        f"{row['cost']['form']['counts']:.1f}",
                        f"{(row['ratio'] - 1) * 100:+.1f}%",
                        "[{:+.1f}, {:+.1f}]".format(*((end - 1) * 100 for end in row["interval"])),
                        row["verdict"] or "none",
                    ]
                    for row in rows
                ],
            )
        for name, why in self.cycles["skipped"].items():
            yield f"{name}: {why}"

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data, which `load` reads. Kernel states are named by digest and not included."""
        return {
            "schema": SCHEMA,
            "hash": self.spec.hash,
            **self.info,
            "spec": self.spec.to_json(states=False),
            "axes": self.spec.axes,
            "columns": ["cell", "seed", *COLUMNS],
            "rows": [[i, seed, *(row[name] for name in COLUMNS)] for i, seed, row in self.found],
            "errors": len(self.errors),
            "cycles": self.cycles,
        }

    def write(self, folder: str | Path) -> Path:
        """Writes results.json into a folder, completely or not at all, and returns its path."""
        path = Path(folder) / NAME
        # A line for each row, so that two files can be compared by a line-based diff.
        data = self.to_json()
        rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in data.pop("rows"))
        head = json.dumps(data, indent=1)
        assert head.endswith("\n}")
        write_whole(path, f'{head[:-2]},\n "rows": [\n{rows}\n]\n}}\n')
        return path

    def to_csv(self, path: str | Path) -> None:
        """Writes a line for each run. The values of `returns` are separated by spaces; `vm` is JSON."""
        text = io.StringIO()
        rows = self.rows
        writer = csv.writer(text, lineterminator="\n")
        names = ["cell", "seed", "what", *KEYS, *COLUMNS]
        writer.writerow(names)
        for row in rows:
            plain = {
                **row,
                "returns": "" if row["returns"] is None else " ".join(map(str, row["returns"])),
                "vm": "" if row["vm"] is None else json.dumps(row["vm"]),
            }
            writer.writerow([plain[name] for name in names])
        write_whole(path, text.getvalue())

    def to_parquet(self, path: str | Path) -> None:
        """Writes a row for each run, with the sweep and its circumstances in the metadata.

        Raises:
            BulkpagesError: pyarrow (the extra `parquet`) is not installed.
        """
        try:
            import pyarrow as pa  # type: ignore[import-not-found,import-untyped,unused-ignore]
            import pyarrow.parquet as pq  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise BulkpagesError("Parquet needs pyarrow: pip install 'bulkpages[parquet]'") from error
        rows = self.rows
        columns: dict[str, list[Any]] = {n: [row[n] for row in rows] for n in ("cell", "seed", "what", *KEYS, *COLUMNS)}
        columns["vm"] = [None if vm is None else json.dumps(vm) for vm in columns["vm"]]
        # svc_alloc_arg() returns a bool, others an integer; None when the waits were used up.
        columns["ret"] = [None if ret is None else int(ret) for ret in columns["ret"]]
        metadata = {k: json.dumps(v) for k, v in self.to_json().items() if k not in ("rows", "columns", "cycles")}
        with whole_file(path) as place:
            pq.write_table(pa.table(columns).replace_schema_metadata(metadata), place)


def load(path: str | Path) -> Result:
    """Reads the results of a sweep.

    Args:
        path: The file, or the folder that contains it.

    Raises:
        BulkpagesError: It cannot be read, is not JSON, or has another schema.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    data = read_results(path, SCHEMA)
    try:
        spec = Spec.from_json(data["spec"])
        found = [(row[0], row[1], dict(zip(COLUMNS, row[2:], strict=True))) for row in data["rows"]]
        known = ("schema", "hash", "spec", "axes", "columns", "rows", "errors", "cycles")
        info = {key: value for key, value in data.items() if key not in known}
        if any(not 0 <= i < len(spec.cells) for i, _, _ in found):
            raise ValueError("a row is of a cell that there is not")
        return Result(spec, found, data["cycles"], info)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BulkpagesError(f"{path} is damaged: {error!r}") from error
