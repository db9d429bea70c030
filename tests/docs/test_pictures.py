"""The pictures: what their captions and texts say of the runs is so, and the same run gives the same file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from blocks import fences

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))


def test_every_picture_is_shown_once() -> None:
    from pictures import PICTURES

    shown = [
        line.split()[1]
        for page in (ROOT / "docs").rglob("*.md")
        for line in page.read_text().splitlines()
        if line.startswith("```{picture}")
    ]
    assert sorted(shown) == sorted(PICTURES)


def test_same_run_same_file(tmp_path: Path) -> None:
    from pictures import render

    for folder in ("one", "two"):
        render("block-split", tmp_path / folder)
    for scheme in ("light", "dark"):
        one, two = ((tmp_path / folder / f"block-split-{scheme}.svg").read_bytes() for folder in ("one", "two"))
        assert one == two
    assert (tmp_path / "one" / "block-split-light.svg").read_bytes() != (
        tmp_path / "one" / "block-split-dark.svg"
    ).read_bytes()


def test_free_lists() -> None:
    from pictures.free_lists import run

    booted, used = run()
    assert booted == {(8, 0): 256, (9, 1): 512, (10, 1): 7168}
    assert {kind for _, kind in used} == {0, 1, 2}
    assert sum(used.values()) < sum(booted.values())
    assert not any(order == 10 for order, _ in used)


def test_block_split() -> None:
    from pictures.blocks import run

    booted, one, two, freed = run()
    assert booted.free == [(4096, 10, 1)]
    assert one.free == [(4112, 4, 0), (4128, 5, 0), (4160, 6, 0), (4224, 7, 0), (4352, 8, 0), (4608, 9, 0)]
    assert two.used == [(4096, 4), (4112, 4)]
    assert freed.free == [(4096, 10, 0)]


def test_watermarks() -> None:
    from pictures.watermarks import BATCH, run

    got = run()
    assert got.ends["bulk"] < got.ends["GFP_KERNEL"] < got.ends["GFP_ATOMIC"]
    at = {name: got.free[got.held.index(held)] for name, held in got.ends.items()}
    for zone, (marks, reserve) in enumerate(zip(got.marks, got.reserve, strict=True)):
        assert at["bulk"][zone] <= marks["low"] + reserve + BATCH
        assert at["GFP_KERNEL"][zone] <= marks["min"] + reserve
        assert at["GFP_ATOMIC"][zone] < marks["min"] + reserve


def test_percpu() -> None:
    from pictures.percpu import run

    got = run()
    sizes = [pages for _, pages in got.refills]
    assert sizes[:6] == [got.batch * 2**i for i in range(6)] == [7, 14, 28, 56, 112, 224]
    assert len(got.drains) == 2
    assert all(2200 <= at < 4400 for at, _ in got.drains)
    reached = next(i for i in range(4400, 6600) if got.count[i] == 0)
    assert not any(4400 <= at < reached for at, _ in got.refills)


def test_trylock() -> None:
    from pictures.trylock import run

    free, held = run()

    def count(events: Sequence[Mapping[str, Any]], name: str) -> int:
        return sum(e["event"] == name for e in events)

    assert (count(free, "bulk_call"), count(free, "list_take"), count(free, "zone_lock")) == (1, 8, 0)
    assert (count(held, "bulk_call"), count(held, "list_take"), count(held, "zone_lock")) == (8, 0, 8)
    # Twice a call, but for the last, which wants one page and goes to the single-page path at once.
    assert count(held, "pcp_trylock") == 15


def test_arrays() -> None:
    from pictures.arrays import SHAPE, run

    holes = SHAPE.count(".")
    v1, v2 = run("before"), run("after")
    assert v1.calls == [(16, 16)]
    assert (len(v1.tests), len(v1.stores)) == (len(SHAPE) + 1, holes)
    assert all(page == v1.after[i] for i, page in enumerate(v1.before) if page)
    assert v2.calls == [(holes, holes)]
    assert (len(v2.tests), len(v2.stores)) == (len(SHAPE), 13 + holes)
    assert sum(page not in (0, v2.after[i]) for i, page in enumerate(v2.before)) == 6
    assert not [slot for step, slot, _ in v2.tests if step >= v2.inside[0]], "v2 reads no slot"


def test_failures() -> None:
    from pictures.failures import run

    got = run()
    assert got.v1 == [2 * k for k in got.available]
    assert got.v2 == got.new == got.available


def test_the_experiment_says_what_it_finds() -> None:
    names: dict[str, object] = {}
    for block in fences((ROOT / "docs" / "cookbook" / "experiment.md").read_text()):
        if block.kind == "python" and "savefig" not in block.text:
            exec(compile(block.text, "experiment.md", "exec"), names)
    results = names["results"]
    assert isinstance(results, dict)
    work = {key: [row[0] for row in rows] for key, rows in results.items()}
    moved = {key: sum(row[1] for row in rows) for key, rows in results.items()}
    # v1: how many holes there are matters, and not where.
    for pattern in ("tail", "loose"):
        assert max(abs(a - b) for a, b in zip(work["window", "before"], work[pattern, "before"], strict=True)) <= 1
    assert all(moved[pattern, "before"] == 0 for pattern in ("window", "tail", "loose"))
    # v2: it does; a tail is best, a window moves most.
    assert all(t <= w for t, w in zip(work["tail", "after"], work["window", "after"], strict=True))
    assert all(t <= w for t, w in zip(work["tail", "after"], work["loose", "after"], strict=True))
    assert moved["tail", "after"] == 0 < moved["loose", "after"] < moved["window", "after"]
