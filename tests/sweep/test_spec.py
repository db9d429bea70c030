"""What a spec may say, and what is said about one that is wrong."""

from pathlib import Path
from typing import Any

import pytest

from bulkpages import InvalidArgument, Machine
from bulkpages.sweep import KEYS, Spec, read_spec, spec_from
from bulkpages.sweep.holes import shape_of
from bulkpages.sweep.unit import make_machine

BULK = {"what": "bulk", "api": "v1", "nr_pages": 8}
SVC = {"what": "caller", "caller": "svc", "form": "before", "nr_pages": 8}


def _spec(*cells: dict[str, Any], **more: Any) -> Spec:
    return spec_from({"title": "t", "cells": list(cells), **more})


def test_axes_are_multiplied_in_the_order_of_the_file() -> None:
    spec = _spec({**BULK, "faults": ["none", "pages=2"], "api": ["v1", "v2"], "nr_pages": [8, 16]}, seeds=3)
    found = [(cell["api"], cell["nr_pages"], cell["faults"]) for cell in spec.cells]
    assert found[:3] == [("v1", 8, "none"), ("v1", 8, "pages=2"), ("v1", 16, "none")]
    assert len(found) == len(set(found)) == 8
    assert spec.axes == ["api", "nr_pages", "faults"]
    assert spec.seeds == (1, 2, 3)
    # Nothing here depends on the seed.
    assert spec.runs == 8
    assert _spec({**BULK, "holes": ["random 2", "all"]}, seeds=3).runs == 4


def test_machine_is_the_default_of_all_cells() -> None:
    spec = _spec({**BULK, "memory": "64MiB"}, BULK, machine={"memory": ["32MiB", "128MiB"], "lists": "cold"})
    assert [cell["memory"] for cell in spec.cells] == ["64MiB", "32MiB", "128MiB"]
    assert {cell["lists"] for cell in spec.cells} == {"cold"}


@pytest.mark.parametrize(
    ("value", "seeds"),
    [(1, (1,)), ([7, 3], (7, 3)), ({"first": 5, "count": 2}, (5, 6)), ({"count": 2}, (1, 2))],
)
def test_seeds(value: Any, seeds: tuple[int, ...]) -> None:
    assert _spec(BULK, seeds=value).seeds == seeds


@pytest.mark.parametrize(
    ("holes", "slots", "shape"),
    [
        ("all", 4, "...."),
        ("none", 4, "xxxx"),
        ("every 3", 7, ".xx.xx."),
        ("prefix 2", 4, "xx.."),
        ("x..", 8, "x..x..x."),
        ("small RPC", 259, None),
    ],
)
def test_holes(holes: str, slots: int, shape: str | None) -> None:
    found = shape_of(holes, slots, 1)
    assert len(found) == slots
    assert shape is None or found == shape


def test_random_holes_are_the_seeds() -> None:
    shapes = [shape_of("random 8", 64, seed) for seed in range(5)]
    assert len(set(shapes)) == 5
    assert {shape.count(".") for shape in shapes} == {8}
    assert shape_of("random 8", 64, 3) == shapes[3]
    assert shape_of("random 12.5%", 64, 3).count(".") == 8
    assert shape_of("clustered 12 in 3", 64, 3).count("x.") == 3


def test_a_picture_says_how_long_the_array_is() -> None:
    spec = _spec({"what": "bulk", "api": "v1", "holes": ["x..x", "...."]})
    assert {cell["nr_pages"] for cell in spec.cells} == {4}


def test_kernels_and_their_rules_are_axes() -> None:
    made = _spec({**BULK, "kernel": ["6.1", "7.3"], "rules": ["", "smp=no"]})
    assert made.axes == ["kernel", "rules"]
    machines = [make_machine(cell, {}) for cell in made.cells]
    assert [(m.kernel, m.rules["smp"]) for m in machines] == [
        ("6.1", True), ("6.1", False), ("7.3", True), ("7.3", False),
    ]  # fmt: skip


def test_a_snapshot_is_taken_along(tmp_path: Path) -> None:
    import json

    machine = Machine("64MiB", cpus=1)
    (tmp_path / "state.json").write_text(json.dumps(machine.snapshot()))
    spec_file = tmp_path / "s.toml"
    spec_file.write_text('title="t"\n[[cells]]\nwhat="bulk"\napi="v1"\nnr_pages=8\nsnapshot="state.json"\n')
    spec = read_spec(spec_file)
    assert len(spec.states) == 1
    assert spec.cells[0]["memory"] is None
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))).hash == spec.hash


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"cells": []}, ["[[cells]]"]),
    ({"cells": [{**BULK, "nr_page": 8}]}, ["'nr_page'", "nr_pages"]),
    ({"seed": 3}, ["'seed'", "seeds"]),
    ({"machine": {"ram": 3}}, ["[machine]", "'ram'", "memory"]),
    ({"machine": {"cpus": "two"}}, ["[machine]", "cpus", '"two"', "integer"]),
    ({"cells": [{**BULK, "nr_pages": 0}]}, ["nr_pages = 0", "1 to 1048576"]),
    ({"cells": [{**BULK, "nr_pages": 2.5}]}, ["nr_pages = 2.5", "an integer"]),
    ({"cells": [{**BULK, "nr_pages": True}]}, ["nr_pages = true", "an integer"]),
    ({"cells": [{**BULK, "nr_pages": []}]}, ["nr_pages = []"]),
    ({"cells": [{**BULK, "api": "v4"}]}, ['api = "v4"', "single, v1, v2, v3"]),
    ({"cells": [{**BULK, "form": "before"}]}, ["'form'"]),
    ({"cells": [{"what": "bulk", "api": "v1"}]}, ["'nr_pages'"]),
    ({"cells": [{"what": "bulk", "nr_pages": 4}]}, ["'api'"]),
    ({"cells": [{"what": "boat"}]}, ['"boat"']),
    ({"cells": [{**SVC, "form": "new"}]}, ['"new"', "before, after, tracked, v3"]),
    ({"cells": [{**SVC, "caller": "alloc"}]}, ['"alloc"', "svc_alloc_arg"]),
    ({"cells": [{**SVC, "caller": "xfs", "holes": "every 2"}]}, ['"every 2"', "xfs_buf_alloc_pages"]),
    ({"cells": [{**SVC, "caller": "erofs", "holes": "every 2"}]}, ['"every 2"', "prefix"]),
    ({"cells": [{**SVC, "nofail": True}]}, ["nofail", "btrfs"]),
    ({"cells": [{**BULK, "holes": "some"}]}, ['"some"', "every K"]),
    ({"cells": [{**BULK, "holes": "random 9"}]}, ["random 9", "1 to 8"]),
    ({"cells": [{**BULK, "holes": "x........"}]}, ["9 slots", "8"]),
    ({"cells": [{**BULK, "holes": "clustered 8 in 9"}]}, ["clustered 8 in 9"]),
    ({"cells": [{**BULK, "holes": "random 101%"}]}, ["random 101%"]),
    ({"cells": [{**BULK, "faults": "page=2"}]}, ["page=2", "pages"]),
    ({"cells": [{**BULK, "faults": "pages=-1"}]}, ["pages=-1", "'-1'"]),
    ({"cells": [{**BULK, "faults": "pages=1 pages=2"}]}, ["twice"]),
    ({"cells": [{**BULK, "used": 0.99}]}, ["used = 0.99", "0.98"]),
    ({"cells": [{**BULK, "used": float("nan")}]}, ["used", "nan"]),
    ({"cells": [{**BULK, "memory": "much"}]}, ["'much'"]),
    ({"cells": [{**BULK, "memory": "1KiB"}]}, ["1KiB"]),
    ({"cells": [{**BULK, "nodes": 64}]}, ["nodes = 64"]),
    ({"cells": [{**BULK, "snapshot": "none.json"}]}, ["none.json"]),
    ({"cells": [{**BULK, "snapshot": "a", "memory": "1GiB"}]}, ["snapshot", "memory"]),
    ({"cells": [{**BULK, "snapshot": "a", "kernel": "6.1"}]}, ["snapshot", "kernel"]),
    ({"cells": [{**BULK, "kernel": "5.4"}]}, ["kernel", "6.1, 6.12, 7.3"]),
    ({"cells": [{**BULK, "rules": "speed=yes"}]}, ["rules", "speed"]),
    ({"cells": [{**BULK, "which": "after"}]}, ["which", "snapshot"]),
    ({"cells": [BULK, BULK]}, ["1 and 2", "the same"]),
    ({"cells": [{**BULK, "nr_pages": list(range(1, 2001)), "aged": list(range(100))}]}, ["200000", "100000"]),
    ({"cells": [{**BULK, "used": [0.1, 0.2]}], "seeds": 600_000}, ["1200000", "1000000"]),
    ({"seeds": 0}, ["0", "1 to "]),
    ({"seeds": [1, 1]}, ["1 is there twice"]),
    ({"seeds": [-1]}, ["-1"]),
    ({"seeds": {"last": 3}}, ["'last'"]),
    ({"seeds": {"first": 2**63 - 1, "count": 2}}, ["9223372036854775807"]),
    ({"measure": ["time"]}, ["time", "counts, cycles"]),
    ({"cycles": {"seconds": 5}}, ["[cycles]", "measure"]),
    ({"measure": "cycles", "cycles": {"seconds": 0}}, ["seconds", "0.0"]),
    ({"measure": "cycles"}, ["nothing to compare"]),
    ({"measure": "cycles", "machine": {"memory": ["1GiB", "2GiB"]}}, ["memory", "1GiB", "2GiB"]),
    ({"title": 3}, ["title = 3", "a text"]),
    ({"cells": "all"}, ["cells", '"all"']),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[f"{i}-{words[0]}" for i, (_, words) in enumerate(WRONG)])
def test_what_is_wrong_is_named(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        spec_from({"title": "t", "cells": [BULK], **change})
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_title_is_needed() -> None:
    with pytest.raises(InvalidArgument, match="title"):
        spec_from({"cells": [BULK]})


@pytest.mark.parametrize(("text", "word"), [(b"title = ", "TOML"), (b"\xff", "UTF-8"), (None, "No such file")])
def test_a_file_that_is_none(tmp_path: Path, text: bytes | None, word: str) -> None:
    path = tmp_path / "s.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InvalidArgument, match=word) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)


def test_every_key_is_documented() -> None:
    path = Path(__file__).parents[2] / "docs" / "sweeps.md"
    text = path.read_text()
    assert [key for key in KEYS if f"`{key}`" not in text] == []
