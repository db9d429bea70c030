"""Results as Arrow, polars and pandas, numbers without a copy."""

import ctypes
import pickle
from typing import Any

import numpy as np
import pytest

import bulkpages as bp
from bulkpages import tables
from bulkpages.tables import Table

EXAMPLE: dict[str, Any] = {
    "n": np.arange(5, dtype=np.int64),
    "big": [2**63, 0, 1, 2, 3],
    "x": [0.5, 1, 2, 3, float("nan")],
    "form": ["v1", "v2", None, "é", ""],
    "ok": [True, False, None, True, True],
    "gap": [1, None, 3, 4, 5],
}


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def values_of(array: Any) -> int:
    """Where the values of an Arrow array are, read from its C structure."""
    capsule = array.__arrow_c_array__()[1]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    # length, null_count, offset, n_buffers, n_children, buffers: validity and values.
    words = (ctypes.c_int64 * 6).from_address(pointer(capsule, b"arrow_array"))
    assert (words[2], words[3]) == (0, 2)
    return (ctypes.c_int64 * 2).from_address(words[5])[1]


def test_columns_know_their_types_and_refuse_others() -> None:
    t = Table(EXAMPLE, title="example")
    assert [getattr(t[name], "dtype", None) for name in t] == ["int64", "uint64", "float64", None, None, None]
    assert address(t["n"]) == address(EXAMPLE["n"])
    assert len(t) == 5
    assert t.rows()[1] == {"n": 1, "big": 0, "x": 1.0, "form": "v2", "ok": False, "gap": None}
    with pytest.raises(ValueError, match="read-only"):
        t["n"][0] = 3
    with pytest.raises(bp.InvalidArgument, match="one length"):
        Table({"a": [1], "b": [1, 2]})
    with pytest.raises(bp.InvalidArgument, match="2 dimensions"):
        Table({"a": np.zeros((2, 2))})
    with pytest.raises(bp.InvalidArgument, match="'c' is not one of n, big"):
        t["c"]
    assert len(Table({})) == 0


def test_tables_are_values() -> None:
    t = Table(EXAMPLE)
    assert pickle.loads(pickle.dumps(t)) == t == Table(EXAMPLE)
    assert t != Table({**EXAMPLE, "n": [0, 1, 2, 3, 5]})
    assert t != Table({**EXAMPLE, "form": ["v1", "v2", None, "é", "x"]})
    assert Table({"n": [1]}) != Table({"n": [1.0]})


def test_arrow_takes_numbers_where_they_are() -> None:
    core = pytest.importorskip("arro3.core", reason="arro3-core is not installed")
    t = Table(EXAMPLE)
    got = core.Table.from_arrow(t)
    assert got.column_names == list(EXAMPLE)
    assert [str(field.type).strip() for field in got.schema] == [
        f"arro3.core.DataType<{name}>" for name in ("Int64", "UInt64", "Float64", "Utf8", "Boolean", "Int64")
    ]
    assert core.Schema.from_arrow(t) == got.schema
    for name in ("form", "ok", "gap"):
        assert got.column(name).to_pylist() == list(EXAMPLE[name])
    for name in ("n", "big", "x"):
        chunk = got.column(name).chunk(0)
        np.testing.assert_array_equal(chunk.to_numpy(), t[name])
        assert values_of(chunk) == address(t[name]), f"{name} was copied"


def test_polars_and_pandas_take_numbers_where_they_are() -> None:
    t = Table(EXAMPLE)
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: it is large, so the test extra has it not")
    frame = t.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["gap"].isna().tolist() == [False, True, False, False, False]
    assert address(frame["n"].to_numpy()) == address(t["n"])
    pytest.importorskip("polars", reason="polars is not installed: it is large, so the test extra has it not")
    frame = t.to_polars()
    assert frame["form"].to_list() == EXAMPLE["form"]
    assert address(frame["n"].to_numpy()) == address(t["n"])


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", none)
    with pytest.raises(bp.BulkpagesError, match=r"pip install 'bulkpages\[arrow\]'"):
        Table({"a": [1]}).to_arrow()
    with pytest.raises(bp.BulkpagesError, match="pip install pandas"):
        Table({"a": [1]}).to_pandas()


def test_every_result_is_a_table() -> None:
    core = pytest.importorskip("arro3.core", reason="arro3-core is not installed")
    sweep = bp.callers.failure_sweep(["xfs"], largest=2)
    got = core.Table.from_arrow(sweep)
    assert got.num_rows == sweep.runs
    assert sum(got.column("leaked").to_numpy()) == 0
    assert set(sweep.to_table()["stops"]) >= {"nothing fails", "dry list for good"}

    misuse = bp.callers.misuse_score(["xfs"], largest=2)
    verdicts = core.Table.from_arrow(misuse).column("verdict").to_pylist()
    assert verdicts == [score["verdict"] for score in misuse.scores]

    m = bp.Machine("64MiB")
    with m.trace() as traces:
        page = m.alloc_pages(bp.GFP_KERNEL)
    events = core.Table.from_arrow(traces[0])
    assert events.column("name").to_pylist() == [e.name for e in traces[0].events()]
    assert events.column("pfn").to_pylist()[-1] == page

    run = bp.stress("64MiB", threads=2, ops=200, timeline=10)
    held = run.histograms()
    of_pcp = [i for i in range(len(held)) if (held["lock"][i], held["time"][i]) == ("pcp", "hold")]
    assert sum(int(held["count"][i]) for i in of_pcp) == run.data["locks"]["pcp"]["hold"]["count"]
    assert all(held["low"] <= held["high"])
    assert len(run.workers()) == 2
    assert len(run.slices()) == len(run.timeline) > 0
    with pytest.raises(bp.ApiMisuse, match="were not timed"):
        bp.Machine("64MiB", threads=True).run(1, ops=10).histograms()


def test_a_comparison_is_a_table() -> None:
    counts = {"base": {"slot_tests": 2, "slot_writes": 1}, "form": {"slot_tests": 0, "slot_writes": 1}}
    row = {
        "name": "null-1",
        "base": "v1",
        "form": "v2",
        "unit": "page",
        "nr_pages": 1,
        "holes": 1,
        "conditions": "as recorded",
        "cost": {"base": {"counts": 10.0}, "form": {"counts": 9.0}},
        "ratio": 0.9,
        "interval": [0.8, 0.95],
        "verdict": "faster",
        "counts": counts,
    }
    t = tables.comparison({"rows": [row]})
    assert t.rows()[0]["ratio"] == 0.9
    assert (t["base_slot_tests"][0], t["verdict"]) == (2.0, ("faster",))
    with pytest.raises(bp.BulkpagesError, match="nothing"):
        tables.comparison("nothing.json")
