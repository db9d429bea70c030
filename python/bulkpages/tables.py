"""Results as tables: columns for NumPy, Arrow, polars and pandas.

A numeric column is one NumPy array, which Arrow, polars and pandas read without a copy. Text, boolean and incomplete
columns hold Python values, and are copied. Arrow tables need `arro3-core` (`pip install 'bulkpages[arrow]'`); polars
and pandas must be installed too. None of them is imported before it is needed.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.results import TIMING, load

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Table", "Tabular", "comparison"]

Column = Any
_SHOWN = 20


def _library(name: str, package: str, extra: str | None = None) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        how = f"pip install 'bulkpages[{extra}]'" if extra else f"pip install {package}"
        raise BulkpagesError(f"this needs {package}, which cannot be imported ({error}): {how}") from error


def _column(name: str, values: Any) -> Column:
    """Numbers become an array that nobody can write to; anything else stays what it is."""
    import numpy as np

    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise InvalidArgument(f"column {name!r} has {values.ndim} dimensions, not 1")
        view = values.view()
        view.flags.writeable = False
        return view
    values = list(values)
    kinds = {type(v) for v in values}
    if kinds <= {int} and kinds:
        wide = min(values) >= 0 and max(values) > np.iinfo(np.int64).max
        array: np.ndarray[Any, Any] = np.array(values, dtype=np.uint64 if wide else np.int64)
    elif kinds <= {int, float} and kinds:
        array = np.array(values, dtype=np.float64)
    else:
        known = {int, float, bool, str, type(None)}
        return tuple(v if type(v) in known else str(v) for v in values)
    array.flags.writeable = False
    return array


class Table:
    """Named columns of one length.

    Args:
        columns: By name, a one-dimensional NumPy array or a sequence of int, float, str, bool or None.
        title: Title of the table, for pictures.

    Raises:
        InvalidArgument: Columns differ in length, or have more than one dimension.

    Example:
        >>> from bulkpages.tables import Table
        >>> t = Table({"slots": [1, 8], "form": ["v1", "v2"]})
        >>> t["slots"].sum(), t.rows()[1]
        (np.int64(9), {'slots': 8, 'form': 'v2'})
    """

    def __init__(self, columns: Mapping[str, Any], *, title: str = "") -> None:
        self._columns = {str(name): _column(name, values) for name, values in columns.items()}
        self.title = title
        lengths = {name: len(values) for name, values in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidArgument(f"columns of one table have one length, not {lengths}")

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], *, title: str = "") -> Table:
        """A table from dicts. Missing values are None."""
        rows = list(rows)
        names = list(dict.fromkeys(name for row in rows for name in row))
        return cls({name: [row.get(name) for row in rows] for name in names}, title=title)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __getitem__(self, name: str) -> Column:
        """A column: a read-only NumPy array, or a tuple."""
        try:
            return self._columns[name]
        except KeyError:
            raise InvalidArgument(f"column {name!r} is not one of {', '.join(self._columns)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def rows(self) -> list[dict[str, Any]]:
        """Every row as a dict of Python values."""
        import numpy as np

        plain = [v.tolist() if isinstance(v, np.ndarray) else v for v in self._columns.values()]
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*plain, strict=True)]

    def __eq__(self, other: object) -> bool:
        """Equal names, order, types and values; NaN equals NaN."""
        if not isinstance(other, Table):
            return NotImplemented
        if self.column_names != other.column_names or len(self) != len(other):
            return False
        return all(_same(self[name], other[name]) for name in self._columns)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return (_table, (self._columns, self.title))

    def __repr__(self) -> str:
        return f"<Table {self.title + ': ' if self.title else ''}{len(self)} rows of {', '.join(self._columns)}>"

    def _repr_html_(self) -> str:
        from bulkpages import draw

        return draw.rows(self.column_names, [list(row.values()) for row in self._head()], self.title, len(self))

    def _head(self) -> list[dict[str, Any]]:
        return Table({name: values[:_SHOWN] for name, values in self._columns.items()}).rows()

    def to_arrow(self) -> Any:
        """An `arro3.core.Table`.

        Raises:
            BulkpagesError: arro3-core is not installed.
        """
        core = _library("arro3.core", "arro3-core", "arrow")
        return core.Table.from_arrays(
            [_arrow(core, values) for values in self._columns.values()], names=self.column_names
        )

    def to_polars(self) -> Any:
        """A `polars.DataFrame`.

        Raises:
            BulkpagesError: polars or arro3-core is not installed.
        """
        return _library("polars", "polars").DataFrame(self.to_arrow())

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`; numeric columns are views of this table's arrays.

        Raises:
            BulkpagesError: pandas is not installed.
        """
        pandas = _library("pandas", "pandas")
        columns = {}
        for name, values in self._columns.items():
            with_gaps = {type(v) for v in values} == {int, type(None)} if isinstance(values, tuple) else False
            columns[name] = pandas.array(values, dtype="Int64") if with_gaps else pandas.Series(values, copy=False)
        return pandas.DataFrame(columns, copy=False)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The Arrow PyCapsule protocol: any library that knows it takes the table as it is."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        """Names and types of the columns, by the same protocol."""
        return self.to_arrow().schema.__arrow_c_schema__()


def _table(columns: Mapping[str, Any], title: str) -> Table:
    return Table(columns, title=title)


def _same(a: Column, b: Column) -> bool:
    import numpy as np

    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    return type(a) is type(b) and bool(a == b)


def _arrow(core: Any, values: Column) -> Any:
    import numpy as np

    if isinstance(values, np.ndarray):
        return core.Array.from_numpy(values)
    kinds = {type(v) for v in values} - {type(None)}
    if kinds == {bool}:
        return core.Array(list(values), type=core.DataType.bool())
    if kinds and kinds <= {int, float}:
        whole = kinds == {int}
        return core.Array(list(values), type=core.DataType.int64() if whole else core.DataType.float64())
    texts = [v if v is None else str(v) for v in values]
    return core.Array(texts, type=core.DataType.string())


class Tabular(ABC):
    """A result that is a table. It can be converted to whatever a `Table` can."""

    @abstractmethod
    def to_table(self) -> Table:
        """The result as a table. The class documents what a row is."""

    def to_arrow(self) -> Any:
        """As `Table.to_arrow`."""
        return self.to_table().to_arrow()

    def to_polars(self) -> Any:
        """As `Table.to_polars`."""
        return self.to_table().to_polars()

    def to_pandas(self) -> Any:
        """As `Table.to_pandas`."""
        return self.to_table().to_pandas()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_table().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self.to_table().__arrow_c_schema__()


def comparison(results: Mapping[str, Any] | str | Path) -> Table:
    """The rows of a comparison: one for each workload and form, compared with the first form.

    Args:
        results: The contents of `results.json` of `bulkpages compare`, its path, or the path of its folder; or the
            timings of a caller of your own.

    Raises:
        BulkpagesError: The file cannot be read or has another schema.

    Returns:
        `verdict`, and slot tests and writes per unit for both forms. A comparison also has kernel instructions per unit
        (`base_instructions`, `form_instructions`, their `source`, and the difference `percent` with `low` and `high`).
        Timings have `base_counts`, `form_counts` (clock counts of the emulator per unit), `ratio`, `low`, `high` and
        `verdict`; in a comparison with timings, these names begin with `time_`.
    """
    if isinstance(results, (str, Path)):
        results = load(Path(results), TIMING)
    rows = cast("Sequence[Mapping[str, Any]]", results["rows"])
    if "timing" not in results:
        return Table.from_rows([_what(row) | _timed(row) | _slots(row) for row in rows], title="comparison")
    clocked = results["timing"]
    timed = {row["name"]: row for row in clocked["rows"]} if clocked else {}
    found = []
    for row in rows:
        line = _what(row) | {"verdict": row["verdict"]} | _instructions(row) | _slots(row)
        if row["name"] in timed:
            line |= {f"time_{name}": value for name, value in _timed(timed[row["name"]]).items()}
        found.append(line)
    return Table.from_rows(found, title="comparison")


def _what(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("name", "base", "form", "unit", "nr_pages", "holes", "conditions")}


def _timed(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {f"{which}_counts": row["cost"][which]["counts"] for which in ("base", "form")}
    low, high = row["interval"]
    return found | {"ratio": row["ratio"], "low": low, "high": high, "verdict": row["verdict"]}


def _instructions(row: Mapping[str, Any]) -> dict[str, Any]:
    found = row["instructions"]
    if not found:
        return dict.fromkeys(("base_instructions", "form_instructions", "source", "percent", "low", "high"))
    percent = found["percent"]
    return {
        **{f"{which}_instructions": found[which]["estimate"] for which in ("base", "form")},
        "source": found["source"],
        "percent": percent["estimate"],
        "low": percent["low"],
        "high": percent["high"],
    }


def _slots(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{which}_{count}": float(row["counts"][which][count])
        for count in ("slot_tests", "slot_writes")
        for which in ("base", "form")
    }
