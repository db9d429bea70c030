"""The examples that are shipped run, and show what they are there to show."""

from pathlib import Path

import pytest

from bulkpages import sweep

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "sweeps").glob("*.toml"))


def test_there_are_four() -> None:
    assert [path.stem for path in EXAMPLES] == ["aged-memory", "callers-in-trouble", "own-caller", "return-values"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path) -> None:
    result = sweep.run(path)
    assert not result.errors
    rows = result.rows
    if path.stem == "return-values":
        short = {(r["api"], r["holes"]): r["ret"] for r in rows if r["faults"] == "pages=2"}
        # v1's depends on where the holes are, v2's does not.
        assert len({ret for (api, _), ret in short.items() if api == "v1"}) == 3
        assert {ret for (api, _), ret in short.items() if api == "v2"} == {2}
    elif path.stem == "aged-memory":
        assert len(rows) == 18 * 20
        # Below the API the versions do the same.
        for name in ("refills", "zone_locks", "list_takes"):
            by_api = [[r[name] for r in rows if r["api"] == api] for api in ("v1", "v2")]
            assert by_api[0] == by_api[1]
    elif path.stem == "own-caller":
        full = [r for r in rows if r["faults"] == "none"]
        assert {(r["form"], r["ret"], r["filled"]) for r in full} == {("v1", 0, 64), ("v2", 0, 64)}
        assert {r["ret"] for r in rows if r["faults"] != "none"} == {-12}
    else:
        trouble = [r for r in rows if r["caller"] == "btrfs_alloc_page_array" and r["faults"] == "pages=3"]
        assert {r["filled"] for r in trouble if r["form"] == "after"} == {0}
        assert all(r["filled"] for r in trouble if r["form"] == "before")
