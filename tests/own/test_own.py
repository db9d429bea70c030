"""Callers that a user writes: what they may do, what is refused, and what is found in bad ones."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import bulkpages as bp
from bulkpages.callers import Env, Slots
from bulkpages.callers.own_caller import Own, patterns
from bulkpages.callers.own_slips import SLIPS, Returned


def one(function: Any, takes: Any = "array") -> Own:
    caller = bp.callers.own("mine", takes=takes)
    caller.form("only")(function)
    return caller


def plain(env: Env, slots: Slots) -> int:
    """Fills by v2 until nothing comes; keeps what it has."""
    filled = env.compact(slots)
    while filled < len(slots):
        got = env.alloc_pages_bulk(bp.GFP_KERNEL, slots[filled:], api="v2")
        if not got:
            return -12
        filled += got
    return 0


def test_patterns_are_all_there_are() -> None:
    assert patterns(2) == ["x", ".", "xx", "x.", ".x", ".."]
    assert len(set(patterns(6))) == 2**7 - 2
    with pytest.raises(bp.InvalidArgument, match="13 is outside"):
        patterns(13)


def test_slots_are_counted_shared_and_bounded() -> None:
    def looks(env: Env, slots: Slots) -> int:
        assert len(slots) == 4
        assert [bool(page) for page in slots] == [True, False, True, False]
        part = slots[1:]
        assert part == slots[1:4]
        assert part != slots
        assert part[1] == slots[2] == slots[-2]
        part[1], slots[0] = slots[0], slots[2]
        assert len(slots[3:1]) == 0
        with pytest.raises(IndexError, match="slot 3 of 3"):
            part[3]
        with pytest.raises(IndexError, match="slot -5 of 4"):
            slots[-5] = 0
        with pytest.raises(bp.InvalidArgument, match="step of 2"):
            slots[::2]
        assert "Slots 1 to 4" in repr(part)
        return 0

    m = bp.Machine("64MiB")
    a = bp.callers.fill_shape(m, "x.x.")
    before = list(a)
    result = one(looks).run(m, a)
    assert (list(a), result.slot_tests, result.slot_writes) == ([before[2], 0, before[0], 0], 9, 2)


def test_a_run_on_a_machine_is_like_a_ports() -> None:
    m = bp.Machine("64MiB")
    a = bp.callers.fill_shape(m, "x.x.")
    with m.faults(pages=1):
        result = one(plain).run(m, a, explain=True)
    assert (result.ret, result.bulk_calls, result.bases) == (-12, [(2, 1), (1, 0)], [2, 3])
    assert result.array is a
    assert m.audit().allocated == 3
    assert [e["event"] for e in result.events].count("bulk_call") == 2
    assert result == pickle.loads(pickle.dumps(result))


def test_waits_end_when_they_are_used_up_and_time_passes() -> None:
    def waits(env: Env, slots: Slots) -> int:
        while not slots[0]:
            if not env.alloc_pages_bulk(bp.GFP_KERNEL, slots):
                env.wait(1000)
        return 0

    m = bp.Machine("64MiB")
    with m.faults(pages=0):
        result = one(waits).run(m, bp.PageArray(1), max_waits=5)
    assert (result.ret, result.gave_up, result.waits, result.wait_ns) == (None, True, 5, 5000)
    assert m.reclaim.now_ns == 5000
    totals = one(waits).sweep(largest=2).by_form()[0]
    assert totals["endless"] > 0
    assert totals["most_waits"] == 4


def test_an_endless_caller_is_stopped() -> None:
    def loops(env: Env, slots: Slots) -> int:
        while True:
            try:
                slots[0]
            except Exception:  # what a careless caller does must not keep it alive
                continue

    sweep = one(loops).sweep(largest=1)
    assert {ret for row in sweep.rows for ret in row["ret"]} == {"endless"}


def test_everything_beside_the_allocator_can_fail() -> None:
    seen = []

    def asks(env: Env, pages: int) -> Any:
        array = env.kcalloc(pages)
        if array is None:
            return -12
        page = env.alloc_page(bp.GFP_KERNEL)
        if not page:
            return -12
        array[0] = page
        for what in ("append", "vmap", "dma_map"):
            if env.fails(what):
                env.free_page(array[0])
                array[0] = 0
                return -5, array
        seen.append(env.should_stop())
        return 0, array

    caller = one(asks, "pages")
    m = bp.Machine("64MiB")
    result = caller.run(m, 3)
    assert (result.ret, len(result.array), m.audit().allocated) == (0, 3, 1)
    for fault, ret in [("array", -12), ("single", -12), ("append", -5), ("vmap", -5), ("dma_map", -5)]:
        with m.faults(**{fault: True}):
            assert caller.run(m, 3).ret == ret
    with m.faults(stop=True):
        caller.run(m, 3)
    assert seen == [False, True]
    stops = {kind[0] for row in caller.sweep(largest=2).rows for kind in row["stops"]}
    assert stops >= {"pointer array", "single path", "table append", "vmap", "DMA mapping", "stop request"}
    assert "charge" not in stops
    with pytest.raises(TypeError, match="takes pages, not PageArray"):
        caller.run(m, bp.PageArray(3))
    with pytest.raises(bp.InvalidArgument, match="pages -1 is outside"):
        caller.run(m, -1)
    with pytest.raises(bp.InvalidArgument, match='"vmaps"'):
        one(lambda env, slots: env.fails("vmaps")).run(m, bp.PageArray(1))


def test_requests_that_are_charged_are_swept_with_a_memory_cgroup() -> None:
    def charged(env: Env, slots: Slots) -> int:
        filled = 0
        while filled < len(slots):
            got = env.alloc_pages_bulk(bp.GFP_KERNEL_ACCOUNT, slots[filled:], api="v2")
            if not got:
                return -12
            filled += got
        return 0

    rows = one(charged).sweep(largest=2, shapes=["...."]).rows
    assert {row["setting"] for row in rows} == {"plain", "page owner", "memcg"}
    assert any(kind[0] == "charge" for row in rows for kind in row["stops"])


def leaks(env: Env, slots: Slots) -> int:
    ret = plain(env, slots)
    if ret:
        slots[0] = 0
    return ret


def doubles(env: Env, slots: Slots) -> int:
    ret = plain(env, slots)
    if ret and len(slots) > 1:
        slots[1] = slots[0]
    return ret


def lies(env: Env, slots: Slots) -> int:
    plain(env, slots)
    return 0


def frees_and_keeps(env: Env, slots: Slots) -> int:
    ret = plain(env, slots)
    if ret and slots[0]:
        env.free_page(slots[0])
    return ret


def frees_twice(env: Env, slots: Slots) -> int:
    ret = plain(env, slots)
    if ret:
        env.free_page(slots[0])
        env.free_page(slots[0])
    return ret


@pytest.mark.parametrize(
    ("bad", "leaked", "corrupt", "crash"),
    [
        (plain, False, False, False),
        (leaks, True, False, False),
        (doubles, True, True, False),
        (lies, False, True, False),
        (frees_and_keeps, False, True, False),
        (frees_twice, False, False, True),
    ],
)
def test_the_sweep_finds_what_is_wrong(bad: Any, leaked: bool, corrupt: bool, crash: bool) -> None:
    sweep = one(bad).sweep(largest=3)
    totals = sweep.by_form()[0]
    assert (totals["leaked"] > 0, totals["corrupt"] > 0) == (leaked, corrupt)
    assert any("crash" in row["ret"] for row in sweep.rows) == crash
    clean = [row for row in sweep.rows if not row["stops"]]
    assert all(ret == "0" for row in clean for ret in row["ret"])
    assert all(n == row["slots"] for row in clean for n in row["filled"])
    json.dumps(sweep.to_dict())


def test_every_index_of_every_branch_is_tried() -> None:
    sweep = one(plain).sweep(largest=3, pairs_up_to=3)
    dry = next(r for r in sweep.rows if (r["input"], r["stops"]) == ("...", [("dry list", "for good")]))
    # So many pages can be had, then none; at the first index nothing, at the last all but one.
    assert [index[0] for index in dry["index"]] == list(range(len(dry["index"])))
    assert dry["filled"][:3] == [0, 1, 2]
    assert dry["ret"][:3] == ["-12"] * 3
    assert {len(row["stops"]) for row in sweep.rows} == {0, 1, 2}
    told: list[Any] = []
    more = one(plain).sweep(largest=1, shapes=["x.x.x", "."], progress=lambda *n: told.append(n))
    assert {row["input"] for row in more.rows} == {"x", ".", "x.x.x"}
    assert told[-1] == (6, 6)


def test_runs_leave_nothing_behind_and_repeat() -> None:
    first, second = (one(plain).sweep(largest=3) for _ in range(2))
    assert first == second


def test_a_users_own_mistake_is_the_users_to_see() -> None:
    def breaks(env: Env, slots: Slots) -> int:
        if len(slots) == 2:
            raise ZeroDivisionError("mine")
        return plain(env, slots)

    with pytest.raises(ZeroDivisionError, match="mine") as info:
        one(breaks).sweep(largest=2)
    assert "mine on xx, plain, nothing fails" in info.value.__notes__


@pytest.mark.parametrize("value", [None, "0", 1, -5000, 1.5, (0, None), [0]])
def test_what_no_kernel_function_returns_is_refused(value: Any) -> None:
    with pytest.raises(bp.InvalidArgument, match="mine returned"):
        one(lambda env, slots: value).run(bp.Machine("64MiB"), bp.PageArray(1))


def test_forms_are_named_once_and_known() -> None:
    caller = one(plain)
    m = bp.Machine("64MiB")
    with pytest.raises(bp.InvalidArgument, match="has a form 'only' already"):
        caller.form("only")
    with pytest.raises(bp.InvalidArgument, match="form 'other' does not exist: mine has only"):
        caller.run(m, bp.PageArray(1), form="other")
    caller.form("second")(plain)
    with pytest.raises(bp.InvalidArgument, match="form None does not exist: mine has only, second"):
        caller.run(m, bp.PageArray(1))
    with pytest.raises(bp.InvalidArgument, match="no form yet"):
        bp.callers.own("empty").sweep()
    with pytest.raises(bp.InvalidArgument, match="not 'slots'"):
        bp.callers.own("empty", takes="slots")  # type: ignore[arg-type]
    with pytest.raises(bp.InvalidArgument, match="nothing to compare"):
        one(plain).compare(["."])
    assert repr(caller) == "<own caller 'mine': only, second>"


def test_pages_of_others_cannot_be_run_on() -> None:
    m = bp.Machine("64MiB")
    with pytest.raises(bp.ApiMisuse, match="slot 0"):
        one(plain).run(m, bp.PageArray([4097]))
    pool = bp.callers.PagePool(m, form="after")
    page = pool.alloc()
    assert page is not None

    def steals(env: Env, slots: Slots) -> int:
        env.free_page(page)
        return 0

    with pytest.raises(bp.ApiMisuse, match="page_pool"):
        one(steals).run(m, bp.PageArray(1))
    with pytest.raises(bp.ApiMisuse, match="NULL"):
        one(lambda env, slots: env.free_page(0) or 0).run(m, bp.PageArray(1))


def test_a_call_is_given_slots() -> None:
    a = bp.PageArray(1)
    with pytest.raises(TypeError, match="Slots, not PageArray"):
        one(lambda env, slots: env.alloc_pages_bulk(bp.GFP_KERNEL, a)).run(bp.Machine("64MiB"), a)


def test_an_environment_ends_with_its_run() -> None:
    kept = []

    def keeps(env: Env, slots: Slots) -> int:
        kept.append(slots)
        return 0

    one(keeps).run(bp.Machine("64MiB"), bp.PageArray(1))
    with pytest.raises(bp.ApiMisuse, match="the run is over"):
        kept[0][0]


# Wrong lines.


def test_the_score_of_a_caller_that_is_right() -> None:
    score = one(plain).misuse(largest=3)
    verdicts = {s["slip"]: (s["plain_verdict"], s["verdict"]) for s in score.scores}
    # It frees nothing, so nothing of that can be written wrong.
    assert set(verdicts) == set(SLIPS) - {"forgets to clear", "frees twice", "forgets to free"}
    assert verdicts["wrong base"][1] == "corruption"
    assert verdicts["ignores a failure"] == ("harmless", "corruption")
    assert verdicts["other version's call"] == ("harmless", "harmless")
    assert all(sum(s["plain"].values()) == 14 for s in score.scores)
    assert score.by_form()[0]["slips"] == len(verdicts)
    json.dumps(score.to_dict())


def test_a_value_with_a_wrong_line_answers_otherwise_only_where_progress_is_asked() -> None:
    no = Returned(3, mark=0, counts=True, progress=False)
    assert [bool(no), no == 0, no != 0, no > 0, no <= 0, no >= 1, no < 1] == [
        False,
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert [no == 3, no > 2, no < 4, no + 1, 1 + no, no - 1, no == "x"] == [True, True, True, 4, 4, 2, False]
    at = Returned(3, mark=3, counts=False, progress=True)
    assert [at == 3, at != 3, at > 3, at <= 3, at < 4, bool(at)] == [False, True, True, False, True, True]
    drops = Returned(2, mark=0, counts=True, drops_sum=True)
    total = 5
    total += drops
    assert total == 2
    assert bool(drops)
    assert hash(drops) == hash(2)


# Semantics of one's own.


class Count(bp.callers.Semantics):
    def wants(self, page: int) -> bool:
        return page == 0


def counting(env: Env, slots: Slots) -> int:
    missing = sum(page == 0 for page in slots)
    while missing > 0:
        got = env.alloc_pages_bulk(bp.GFP_KERNEL, slots, api=Count())
        if not got:
            return -12
        missing -= got
    return 0


def test_a_caller_with_its_own_semantics() -> None:
    m = bp.Machine("64MiB")
    a = bp.callers.fill_shape(m, "x.x.")
    kept = a[0], a[2]
    result = one(counting).run(m, a)
    assert (result.ret, result.bulk_calls, (a[0], a[2])) == (0, [(4, 2)], kept)
    assert one(counting).sweep(largest=3).by_form()[0]["leaked"] == 0
    assert "mixes counts" not in {s["slip"] for s in one(counting).misuse(largest=2).scores}
    with pytest.raises(bp.InvalidArgument, match="nr_pages 5"):
        Count()(m, a, 5)
    with pytest.raises(bp.InvalidArgument, match='"v9"'):
        one(lambda env, slots: env.alloc_pages_bulk(bp.GFP_KERNEL, slots, api="v9")).run(m, a)


# Recordings.


def test_a_recording_repeats_the_callers_steps_and_counts() -> None:
    m = bp.Machine("64MiB", cpus=1)
    for function, shape in [(plain, "x.x."), (counting, "x..x"), (plain, "." * 40)]:
        stream = one(function).record(shape, machine=m)
        counts = stream.count(m, 10)
        a = bp.callers.fill_shape(m, shape)
        result = one(function).run(m, a)
        m.free_bulk(a)
        assert counts["slot_tests"] == 10 * result.slot_tests
        assert counts["slot_writes"] == 10 * result.slot_writes
        assert counts["slot_clears"] == 10 * result.slot_clears
        assert counts["pages"] == 10 * shape.count(".")
        pages, cycles = stream.trial(m, 20)
        assert (pages, cycles > 0) == (20 * shape.count("."), True)
        assert pickle.loads(pickle.dumps(stream)) == stream
        assert m.audit().allocated == 0


def test_a_caller_with_an_array_of_its_own_is_recorded_too() -> None:
    def grows(env: Env, pages: int) -> Any:
        array = env.kcalloc(pages)
        assert array is not None
        return plain(env, array), array

    m = bp.Machine("64MiB")
    stream = one(grows, "pages").record("........", machine=m)
    assert stream.count(m, 3)["pages"] == 24
    table = one(grows, "pages").counts(["....", "........"])
    assert (list(table["input"]), list(table["slot_writes"])) == (["4 pages", "8 pages"], [4, 8])


def test_what_cannot_be_recorded_says_why() -> None:
    calls = []

    def changes(env: Env, slots: Slots) -> int:
        calls.append(1)
        if len(calls) % 2:
            slots[0]
        return plain(env, slots)

    def conjures(env: Env, slots: Slots) -> int:
        page = slots[0]
        env.clear(slots)
        slots[1] = page
        slots[0] = 4097
        return 0

    for function, message in [
        (changes, "behaves differently each time"),
        (lambda env, slots: -12, "did not succeed"),
        (leaky, "did not succeed"),
        (conjures, "pfn 4097 came neither"),
    ]:
        with pytest.raises(bp.BulkpagesError, match=message):
            one(function).record("x.")
    with pytest.raises(bp.InvalidArgument, match="at least one slot"):
        one(plain).record("")
    with pytest.raises(bp.BulkpagesError, match="'y'"):
        one(plain).record("xy")


def leaky(env: Env, slots: Slots) -> int:
    plain(env, slots)
    env.clear(slots)
    return 0


def test_a_stream_on_another_machine_tells_that_it_went_another_way() -> None:
    stream = one(plain).record("....")
    with pytest.raises(bp.InvalidArgument, match="gave 4 when it was recorded"):
        stream.trial(bp.Machine("64MiB", page_owner=True), 5)
    with pytest.raises(bp.InvalidArgument, match="no step is called"):
        bp._core.Stream("..", [], [("jump", 0, 0, 0, 0, 0)])


COPIES = """
def copies(env, slots):
    tmp = env.kcalloc(len(slots))
    if tmp is None or env.alloc_pages_bulk(bp.GFP_KERNEL, tmp, api="v2") < len(slots):
        return -12
    for i in range(len(slots)):
        slots[i] = tmp[i]
    return 0
"""


def test_pages_may_be_copied_from_an_array_of_the_callers() -> None:
    """A page that stands in two arrays is one page."""
    space: dict[str, Any] = {"bp": bp}
    exec(COPIES, space)
    caller = bp.callers.own("copies")
    caller.form("copied")(space["copies"])
    caller.form(plain)
    assert caller.forms == ["copied", "plain"]
    m = bp.Machine("64MiB", cpus=1)
    counts = caller.record("....", form="copied", machine=m).count(m, 10)
    assert counts["pages"] == 40
    assert m.audit().allocated == 0
    # One text is one input.
    (row, other) = caller.counts("....").rows()
    assert row["input"] == other["input"] == "...."
    assert row["pages"] == other["pages"] == 4
    assert [r["input"] for r in caller.sweep(largest=1, shapes="x.x").rows if len(r["input"]) == 3][:1] == ["x.x"]


def test_what_would_do_nothing_is_refused() -> None:
    with pytest.raises(bp.InvalidArgument, match="'pages' is not one of 'count' and 'position'"):

        class Odd(bp.callers.Semantics):
            returns = "pages"  # type: ignore[assignment]

            def wants(self, page: int) -> bool:
                return not page

    with pytest.raises(bp.InvalidArgument, match="holes of a scattered shape 9 is outside 0 to 8"):
        bp.callers.hole_shape("scattered", 8, 9)
    with pytest.raises(bp.InvalidArgument, match="pages=0"), bp.Machine("64MiB").faults(pages=True):
        pass
    with pytest.raises(bp.InvalidArgument, match="'nobody' is part of none"):
        bp.callers.failure_sweep("nobody")


def test_forms_are_compared_in_time_without_calling_them(tmp_path: Path) -> None:
    """In processes that know nothing of the callers: they only have the recordings."""
    caller = one(plain)

    @caller.form("twice")
    def twice(env: Env, slots: Slots) -> int:
        for i in range(len(slots)):
            slots[i]
        return plain(env, slots)

    found = caller.compare(["...", "x." * 8], processes=6, seconds=1)
    assert [row["caller"] for row in found.rows] == ["mine", "mine"]
    table = found.to_table()
    assert list(table["form_slot_tests"] - table["base_slot_tests"]) == [3, 16]
    assert all(0.1 < ratio < 50 for ratio in table["ratio"])
    text = found.text()
    assert "mine ..." in text
    assert "A/A:" in text
    assert "twice against only" in text
    assert len(found.results["null"]["rows"]) == 4
    (tmp_path / "results.json").write_text(json.dumps(found.results))
    assert bp.tables.comparison(tmp_path) == table
    assert pickle.loads(pickle.dumps(found)) == found
    assert found._repr_html_().startswith("<table>")
    assert "mine ..." in repr(found)
