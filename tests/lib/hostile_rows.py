"""One row for each callable of the public surface: a valid call of it, whose arguments are then replaced one by one."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from stored_program import load

import bulkpages as bp
from bulkpages import callers, conform, cost, eras, running, sweep, testing, what_if, why
from bulkpages.callers import explain, own_caller
from bulkpages.cost.steps import COUNTS
from bulkpages.formats import llfree, proc, recording, trace
from bulkpages.formats.report import read_report
from bulkpages.formats.state import Told, state_of

HERE = Path(__file__).parent.parent
RECORDING = HERE / "conformance" / "recordings" / "first-60-ops.jsonl.gz"
K = bp.GFP_KERNEL


class World:
    """A small machine in use, and things that are not its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.m = bp.Machine("16MiB", cpus=2)
        self.a = callers.fill_shape(self.m, "x.xx....")
        self.page = self.m.alloc_pages(K)
        self.freed = self.m.alloc_pages(K)
        assert self.freed is not None
        self.m.free_pages(self.freed)
        self.pool = callers.PagePool(self.m, form="before")
        self.pooled = self.pool.alloc()
        self.gone = callers.PagePool(self.m, form="before")
        self.gone.destroy()
        self.state = self.m.snapshot()
        self.before, self.before_owned = self.seen(), self.owned()

    def seen(self) -> tuple[Any, ...]:
        """All that a failed call must leave as it was."""
        return (self.m._save(), list(self.a), self.pool.cache, self.pool.hold_cnt, self.pool.release_cnt)

    def owned(self) -> tuple[Any, ...]:
        """What a call leaves as it was that ran out of memory on its way."""
        return (self.m.audit().allocated, *self.seen()[1:])


class Others:
    """Values of the wrong kind, of impossible size, and of other machines."""

    def __init__(self) -> None:
        self.m = bp.Machine("64MiB")
        # A frame that the small machine has too.
        self.page = self.m.alloc_pages(bp.GFP_DMA, 3)
        self.a = bp.PageArray([1 << 20, 1 << 31, 7])
        self.a_of = callers.fill_shape(self.m, "xx.x")

    def values(self, w: World) -> dict[str, Any]:
        return {
            "2^63": 1 << 63,
            "2^64": 1 << 64,
            "-1": -1,
            "10^30": 10**30,
            "nan": float("nan"),
            "inf": float("inf"),
            "True": True,
            "None": None,
            "empty text": "",
            "long text": "x" * 100_000,
            "NUL": "a\0b",
            "surrogate": "\udc80",
            "bytes": b"\xff\0",
            "object": object(),
            "class": int,
            "[]": [],
            "[None]": [None],
            "[10^30]": [10**30],
            "[text]": ["x"],
            "[{}]": [{}],
            "{}": {},
            "{None: nan}": {None: float("nan")},
            "page of another machine": self.page,
            "freed page": w.freed,
            "page of a pool": w.pooled,
            "array of garbage": self.a,
            "array of another machine": self.a_of,
            "another machine": self.m,
            "destroyed pool": w.gone,
        }


Call = tuple[Callable[..., Any], list[Any], dict[str, Any]]
Row = Callable[[World], Call]


def entered(manager: Callable[..., AbstractContextManager[Any]], m: bp.Machine) -> Callable[..., Any]:
    def enter(*args: Any, **kwargs: Any) -> None:
        with manager(*args, **kwargs):
            m.alloc_pages(K)

    return enter


def drained(function: Callable[..., Iterable[Any]]) -> Callable[..., Any]:
    return lambda *args, **kwargs: list(function(*args, **kwargs))


def drawn(strategy: Callable[..., Any]) -> Callable[..., Any]:
    def check(*args: Any, **kwargs: Any) -> None:
        strategy(*args, **kwargs).validate()

    return check


class FillAndCount(callers.Semantics):
    """v1's idea with v2's value."""

    def wants(self, page: int) -> bool:
        return page == 0


def plain(env: callers.Env, slots: callers.Slots) -> int:
    filled = env.compact(slots)
    return 0 if env.alloc_pages_bulk(K, slots[filled:], api="v2") else -12


def mine() -> own_caller.Own:
    caller = callers.own("mine", takes="array")
    caller.form("only")(plain)
    return caller


def inside(w: World, step: Callable[[callers.Env, callers.Slots], Call]) -> Call:
    """A step of an own caller: its arguments are those of the method, called within a run."""
    _, args, kwargs = step(*_unrun(w))

    def run(*args: Any, **kwargs: Any) -> None:
        caller = callers.own("mine", takes="array")

        @caller.form("only")
        def form(env: callers.Env, slots: callers.Slots) -> int:
            function, _, _ = step(env, slots)
            args_here = [slots if a is SLOTS else a for a in args]
            function(*args_here, **kwargs)
            return 0

        caller.run(w.m, w.a)

    return run, args, kwargs


SLOTS = object()


def _unrun(w: World) -> tuple[Any, Any]:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return None

    return Anything(), SLOTS


def _trace_events() -> list[trace.TraceEvent]:
    m = bp.Machine("16MiB")
    with m.trace() as traces:
        m.free_pages(m.alloc_pages(K) or 0)
    return list(traces[0].events())


def _proc_files(w: World) -> Mapping[str, str]:
    return {"zoneinfo": w.m.zoneinfo(), "buddyinfo": w.m.buddyinfo(), "pagetypeinfo": w.m.pagetypeinfo()}


def _report(w: World) -> str:
    marks = "min:128kB low:160kB high:192kB present:4096kB managed:4096kB free_pcp:0kB local_pcp:0kB"
    blocks = " ".join(f"{int(order == 10)}*{4 << order}kB" for order in range(11))
    return f"Mem-Info:\nNormal free:4096kB {marks}\nlowmem_reserve[]: 0 0\nNormal: {blocks} = 4096kB\n"


def _told(w: World) -> Told:
    sizes = {"spanned": 1024, "present": 1024, "managed": 1024, "min": 8, "low": 10, "high": 12}
    return Told(0, "Normal", "line 1", sizes, counts=[0] * 10 + [1])


def _proc_folder(w: World) -> Path:
    folder = w.folder / "proc"
    folder.mkdir(exist_ok=True)
    for name, text in _proc_files(w).items():
        (folder / name).write_text(text)
    return folder


def _trace_file(w: World) -> Path:
    place = w.folder / "t.txt"
    if not place.exists():
        m = bp.Machine("16MiB")
        with m.trace() as traces:
            m.free_pages(m.alloc_pages(K) or 0)
        place.write_text(traces[0].ftrace())
    return place


def _llfree_file(w: World) -> Path:
    place = w.folder / "given.bin"
    llfree.write_llfree(place, [llfree.LlfreeEvent(0, 1, 2, 1, 0, K, 1)])
    return place


def _text_file(w: World) -> Path:
    place = w.folder / "text"
    place.write_text("text\n")
    return place


def _core() -> Any:
    return load(HERE / "running" / "cores" / "debian-6.1.json.gz")


def _stopped(*args: Any, **kwargs: Any) -> None:
    with running.stopped(*args, **kwargs):
        pass


def _spec_file(w: World) -> Path:
    place = w.folder / "spec.toml"
    place.write_text('title = "t"\n[[cells]]\nwhat = "bulk"\napi = "v1"\nnr_pages = 8\n')
    return place


SPEC: dict[str, Any] = {"title": "t", "seeds": 2, "cells": [{"what": "bulk", "api": ["v1", "v2"], "nr_pages": 8}]}
OPS = [
    {"op": "alloc", "cpu": 0, "gfp": K, "nid": 0, "order": 0, "slot": 0},
    {"op": "free", "cpu": 0, "order": 0, "slot": 0},
]


def _swept(w: World) -> sweep.Result:
    return sweep.run(SPEC, workers=1)


def _saved_sweep(w: World) -> Path:
    place = w.folder / "swept"
    if not place.exists():
        sweep.run(SPEC, workers=1, output=place)
    return place


_once: dict[str, Any] = {}


def once(name: str, make: Callable[[], Any]) -> Any:
    """Made once: nothing that is tried changes it."""
    if name not in _once:
        _once[name] = make()
    return _once[name]


def _result() -> tuple[bp.Machine, list[int], callers.CallerResult]:
    m = bp.Machine("16MiB")
    array = callers.fill_shape(m, "x.x.")
    before = list(array)
    return m, before, callers.btrfs_alloc_page_array(m, array, form="before", explain=True)


def _explained(w: World) -> Call:
    m, before, result = once("explained", _result)
    return explain.explain, [m, "btrfs", "before", before, result], {}


def _brief(w: World) -> Call:
    _, before, result = once("explained", _result)
    return explain.brief, ["btrfs", "before", before, result], {}


def _stressed() -> bp.Run:
    return bp.stress("64MiB", threads=2, ops=50, timeline=100)


def _tree(w: World) -> Path:
    """What looks like a kernel tree, and has none of its functions."""
    tree = w.folder / "linux"
    (tree / "mm").mkdir(parents=True, exist_ok=True)
    for name, text in (("Makefile", "VERSION = 6\nPATCHLEVEL = 12\n"), ("Kbuild", ""), ("mm/page_alloc.c", "")):
        (tree / name).write_text(text)
    return tree


def _explored() -> bp.Exploration:
    return bp.explore("up-before-fix:drain", 1)


def _timed(w: World, bench: Callable[..., Any]) -> Call:
    return bench, [w.m, 3], {"form": "before", "cpu": 1}


RUN = {"form": "before", "cpu": 0, "max_waits": 3, "explain": True}
B, C = "bulkpages.", "bulkpages.callers."
ENV = f"{C}Env."

FILL = {"caller": "core", "form": "v2", "condition": "cold", "pattern": "x..x"}

ROWS: dict[str, Row] = {
    f"{B}cost.Difference.verdict": lambda w: (cost.fill_difference("core", "v1", "v2", "..").verdict, [0.02], {}),
    f"{B}cost.call": lambda w: (cost.call, ["v1", 8, 2], {"kernel": "6.12", "predicted_only": True}),
    f"{B}cost.call_difference": lambda w: (
        cost.call_difference,
        [8, 2, "v1", "v2"],
        {"kernel": "6.12", "predicted_only": True},
    ),
    f"{B}cost.fill": lambda w: (
        cost.fill,
        ["core", "v1", "x..x", "cold"],
        {"kernel": "6.12", "predicted_only": True},
    ),
    f"{B}cost.fill_difference": lambda w: (
        cost.fill_difference,
        ["core", "v1", "v2", "x..x", "cold"],
        {"kernel": "6.12", "predicted_only": True},
    ),
    f"{B}cost.inside": lambda w: (cost.inside, [cost.fill("core", "v1", ".."), "pcp lock"], {}),
    f"{B}cost.interrupts_off": lambda w: (cost.interrupts_off, [cost.fill("core", "v1", ".."), "UP"], {}),
    f"{B}cost.of": lambda w: (cost.of, [dict.fromkeys(COUNTS, 1)], {"kernel": "6.12"}),
    f"{B}cost.pool": lambda w: (cost.pool, ["page_pool03_slow", "v1"], {"kernel": "6.12"}),
    f"{B}cost.pool_difference": lambda w: (cost.pool_difference, ["page_pool03_slow"], {"kernel": "6.12"}),
    f"{B}cost.rows": lambda w: (cost.rows, [[FILL], True], {"kernel": "6.12"}),
    f"{B}Exploration.perfetto": lambda w: (once("explored", _explored).perfetto, [w.folder / "e.json"], {}),
    f"{B}Exploration.picture": lambda w: (once("explored", _explored).picture, [w.folder / "e.svg"], {}),
    f"{B}Machine": lambda w: (
        bp.Machine,
        ["16MiB", 2, 1],
        {"movablecore": "4MiB", "memcg": False, "page_owner": False, "threads": False},
    ),
    f"{B}Machine.advance": lambda w: (w.m.advance, [5], {"cpu": 1}),
    f"{B}Machine.alloc_pages": lambda w: (w.m.alloc_pages, [K, 1], {"nid": 0, "cpu": 1}),
    f"{B}Machine.alloc_pages_bulk": lambda w: (
        w.m.alloc_pages_bulk,
        [K, w.a, 6],
        {"api": "v1", "nid": 0, "cpu": 1},
    ),
    f"{B}Machine.alloc_pages_bulk_refill": lambda w: (w.m.alloc_pages_bulk_refill, [K, w.a, 6], {"cpu": 1}),
    f"{B}Machine.explain": lambda w: (w.m.explain, ["GFP_KERNEL", 1], {"nid": 0, "cpu": 0, "bulk": 2}),
    f"{B}why.explain": lambda w: (why.explain, [w.m, bp.GFP_KERNEL, 1], {"nid": 0, "cpu": 0, "bulk": 2}),
    f"{B}Machine.drain_local_pages": lambda w: (w.m.drain_local_pages, [1], {}),
    f"{B}Machine.faults": lambda w: (
        entered(w.m.faults, w.m),
        [],
        {name: 1 for name in inspect.signature(bp.Machine.faults).parameters if name != "self"},
    ),
    f"{B}Machine.free_bulk": lambda w: (w.m.free_bulk, [w.a], {"cpu": 1}),
    f"{B}Machine.free_pages": lambda w: (w.m.free_pages, [w.page, 0], {"cpu": 1}),
    f"{B}Machine.from_proc": lambda w: (bp.Machine.from_proc, [_proc_folder(w)], {"notes": []}),
    f"{B}Machine.from_report": lambda w: (bp.Machine.from_report, [_report(w)], {"notes": [], "nth": 1}),
    f"{B}Machine.from_snapshot": lambda w: (
        bp.Machine.from_snapshot,
        [w.state, "before"],
        {"memcg": False, "page_owner": False, "threads": False},
    ),
    f"{B}Machine.hold_pcp_lock": lambda w: (entered(w.m.hold_pcp_lock, w.m), [0, 0, 1], {}),
    f"{B}Machine.replay": lambda w: (w.m.replay, [OPS], {}),
    f"{B}Machine.run": lambda w: (
        bp.Machine("64MiB", threads=True).run,
        [2, "default"],
        {"ops": 20, "seed": 1, "timeline": 0},
    ),
    f"{B}Machine.set_reclaim": lambda w: (
        w.m.set_reclaim,
        [],
        {"file_pages": 5, "efficiency": 50, "latency_ns": 1, "kswapd_delay_ns": 1, "tasks": [4], "cpu": 1},
    ),
    f"{B}PageArray": lambda w: (bp.PageArray, [8], {}),
    f"{B}PageArray.__getitem__": lambda w: (w.a.__getitem__, [1], {}),
    f"{B}PageArray.__setitem__": lambda w: (w.a.__setitem__, [1, 5], {}),
    f"{B}PageArray.__eq__": lambda w: (w.a.__eq__, [w.a], {}),
    f"{B}Machine.__eq__": lambda w: (w.m.__eq__, [w.m], {}),
    f"{B}Run.perfetto": lambda w: (once("stressed", _stressed).perfetto, [w.folder / "r.json"], {}),
    f"{B}Run.picture": lambda w: (
        once("stressed", _stressed).picture,
        [w.folder / "r.svg"],
        {"start_us": 0.0, "length_us": 20.0},
    ),
    f"{B}Zone": lambda w: (lambda machine, index: repr(bp.Zone(machine, index)), [w.m, 0], {}),
    f"{B}Zone.pcp": lambda w: (w.m.zones[0].pcp, [1], {}),
    f"{B}explore": lambda w: (
        bp.explore,
        ["up-before-fix:drain", 1],
        {"model": "lists", "handlers": ["alloc"], "limit": 1000, "choices": [0]},
    ),
    f"{B}stress": lambda w: (
        bp.stress,
        ["64MiB"],
        {"threads": 2, "cpus": 2, "nodes": 1, "mix": "default", "ops": 20, "seed": 1, "timeline": 0},
    ),
    # An own caller's surroundings: the arguments of each step, within a run.
    f"{ENV}alloc_page": lambda w: inside(w, lambda env, slots: (env.alloc_page, [K], {})),
    f"{ENV}alloc_pages_bulk": lambda w: inside(
        w, lambda env, slots: (env.alloc_pages_bulk, [K, slots], {"api": FillAndCount()})
    ),
    f"{ENV}alloc_pages_bulk_refill": lambda w: inside(
        w, lambda env, slots: (env.alloc_pages_bulk_refill, [K, slots], {})
    ),
    f"{ENV}clear": lambda w: inside(w, lambda env, slots: (env.clear, [slots], {})),
    f"{ENV}compact": lambda w: inside(w, lambda env, slots: (env.compact, [slots], {})),
    f"{ENV}fails": lambda w: inside(w, lambda env, slots: (env.fails, ["array"], {})),
    f"{ENV}free_page": lambda w: inside(w, lambda env, slots: (env.free_page, [w.page], {})),
    f"{ENV}kcalloc": lambda w: inside(w, lambda env, slots: (env.kcalloc, [3], {})),
    f"{ENV}wait": lambda w: inside(w, lambda env, slots: (env.wait, [3], {})),
    f"{C}Slots.__getitem__": lambda w: inside(w, lambda env, slots: (getattr(slots, "__getitem__", print), [1], {})),
    f"{C}Slots.__setitem__": lambda w: inside(w, lambda env, slots: (getattr(slots, "__setitem__", print), [1, 0], {})),
    f"{C}own": lambda w: (callers.own, ["a"], {"takes": "array"}),
    f"{C}Own": lambda w: (own_caller.Own, ["a", "array"], {}),
    f"{C}Own.form": lambda w: (lambda name: mine().form(name)(plain), ["f"], {}),
    f"{C}Own.counts": lambda w: (mine().counts, [["x..x"]], {"iterations": 2}),
    f"{C}Own.misuse": lambda w: (mine().misuse, [], {"largest": 1, "shapes": ["."], "progress": None}),
    f"{C}Own.record": lambda w: (mine().record, ["x..x"], {"form": "only", "machine": bp.Machine("16MiB")}),
    f"{C}Own.run": lambda w: (
        mine().run,
        [w.m, w.a],
        {"form": "only", "cpu": 0, "max_waits": 3, "explain": True},
    ),
    f"{C}Own.sweep": lambda w: (
        mine().sweep,
        [],
        {"largest": 1, "shapes": ["."], "pairs_up_to": 1, "progress": None},
    ),
    f"{C}PagePool": lambda w: (callers.PagePool, [w.m], {"form": "before", "cpu": 1, "pool_size": 16}),
    f"{C}PagePool.put": lambda w: (w.pool.put, [w.pooled], {}),
    f"{C}PagePool.recycle_direct": lambda w: (w.pool.recycle_direct, [w.pooled], {}),
    f"{C}Semantics.__call__": lambda w: (FillAndCount(), [w.m, w.a, 4], {"gfp": K, "cpu": 1}),
    f"{C}Sweep.differences": lambda w: (
        once("failures", lambda: callers.failure_sweep(["btrfs"], largest=2, pairs_up_to=1, threads=1)).differences,
        ["after", "before"],
        {},
    ),
    f"{C}svc_alloc_arg": lambda w: (callers.svc_alloc_arg, [w.m, w.a, 6], dict(RUN)),
    f"{C}btrfs_alloc_page_array": lambda w: (callers.btrfs_alloc_page_array, [w.m, w.a], {"nofail": False, **RUN}),
    f"{C}xfs_buf_alloc_pages": lambda w: (
        callers.xfs_buf_alloc_pages,
        [w.m, 5],
        {"read": True, "read_ahead": False, **RUN},
    ),
    f"{C}virtiovf_add_migration_pages": lambda w: (callers.virtiovf_add_migration_pages, [w.m, 5], dict(RUN)),
    f"{C}z_erofs_gbuf_growsize": lambda w: (
        callers.z_erofs_gbuf_growsize,
        [w.m],
        {"have": 1, "nrpages": 5, **RUN},
    ),
    f"{C}run": lambda w: (
        callers.run,
        [w.m, "btrfs_alloc_page_array", w.a],
        {"pages": 4, "have": 0, "flags": ["nofail"], **RUN},
    ),
    f"{C}port": lambda w: (callers.port, ["svc_alloc_arg"], {}),
    f"{C}audit": lambda w: (callers.audit, [], {"pages": 2, "kernel": "7.3", "progress": None}),
    f"{C}failure_sweep": lambda w: (
        callers.failure_sweep,
        [["btrfs"]],
        {
            "today": False,
            "largest": 1,
            "pairs_up_to": 1,
            "threads": 1,
            "kernel": "6.1",
            "rules": {},
            "progress": None,
        },
    ),
    f"{C}misuse_score": lambda w: (
        callers.misuse_score,
        [["btrfs"]],
        {"today": False, "largest": 1, "threads": 1, "kernel": "6.1", "rules": {}, "progress": None},
    ),
    f"{C}fill_shape": lambda w: (callers.fill_shape, [w.m, "x.x"], {"cpu": 1}),
    f"{C}hole_shape": lambda w: (callers.hole_shape, ["fraction", 8], {"fraction": 0.5, "seed": 1}),
    f"{C}time_bench_page_pool01_fast_path": lambda w: _timed(w, callers.time_bench_page_pool01_fast_path),
    f"{C}time_bench_page_pool02_ptr_ring": lambda w: _timed(w, callers.time_bench_page_pool02_ptr_ring),
    f"{C}time_bench_page_pool03_slow": lambda w: _timed(w, callers.time_bench_page_pool03_slow),
    f"{C}explain.brief": _brief,
    f"{C}explain.explain": _explained,
    f"{C}own_caller.patterns": lambda w: (own_caller.patterns, [2], {}),
    f"{B}conform.conform": lambda w: (conform.conform, [RECORDING], {}),
    f"{B}eras.fingerprint": lambda w: (eras.fingerprint, [{"6.12": _tree(w)}], {}),
    f"{B}eras.patch": lambda w: (eras.patch, ["7.3"], {}),
    f"{B}eras.identify": lambda w: (eras.identify, [_tree(w)], {"known": None}),
    f"{B}eras.Identification.text": lambda w: (eras.identify(_tree(w)).text, [], {"everything": True}),
    f"{B}claims": lambda w: (bp.claims, ["52-51"], {}),
    f"{B}formats.llfree.write_llfree": lambda w: (
        llfree.write_llfree,
        [w.folder / "a.bin", [llfree.LlfreeEvent(0, 1, 2, 1, 0, K, 1)], 2],
        {},
    ),
    f"{B}formats.llfree.read_llfree": lambda w: (drained(llfree.read_llfree), [_llfree_file(w)], {}),
    f"{B}formats.llfree.in_order_of_time": lambda w: (drained(llfree.in_order_of_time), [_llfree_file(w)], {}),
    f"{B}replay": lambda w: (bp.replay, [_trace_file(w), w.state], {"what_if": "api=v2", "marked": False}),
    f"{B}sweep.Result.plot": lambda w: (
        once("swept", lambda: _swept(w)).plot,
        [w.folder / "s.svg"],
        {"y": "ret", "x": None, "by": None},
    ),
    f"{B}formats.proc.buddyinfo": lambda w: (proc.buddyinfo, [w.state], {}),
    f"{B}formats.proc.pagetypeinfo": lambda w: (proc.pagetypeinfo, [w.state], {}),
    f"{B}formats.proc.zoneinfo": lambda w: (proc.zoneinfo, [w.state, []], {}),
    f"{B}formats.proc.vmstat": lambda w: (proc.vmstat, [dict(w.m.vmstat)], {}),
    f"{B}formats.proc.parse_buddyinfo": lambda w: (proc.parse_buddyinfo, [w.m.buddyinfo()], {}),
    f"{B}formats.proc.parse_pagetypeinfo": lambda w: (proc.parse_pagetypeinfo, [w.m.pagetypeinfo()], {}),
    f"{B}formats.proc.parse_vmstat": lambda w: (proc.parse_vmstat, [w.m.vmstat_text()], {}),
    f"{B}formats.proc.parse_zoneinfo": lambda w: (proc.parse_zoneinfo, [w.m.zoneinfo(), []], {}),
    f"{B}formats.proc.read_proc": lambda w: (proc.read_proc, [_proc_files(w)], {}),
    f"{B}formats.report.read_report": lambda w: (read_report, [_report(w)], {"nth": 1}),
    f"{B}formats.state.state_of": lambda w: (
        state_of,
        [[_told(w)], ("Normal", "Movable"), "a text", []],
        {},
    ),
    f"{B}formats.recording.load_snapshot": lambda w: (recording.load_snapshot, [RECORDING, "before"], {}),
    f"{B}formats.recording.read_recording": lambda w: (recording.read_recording, [RECORDING], {}),
    f"{B}formats.trace.follow": lambda w: (
        trace.follow,
        [_trace_file(w), w.state],
        {"learn": True, "marked": False},
    ),
    f"{B}formats.trace.gfp_text": lambda w: (trace.gfp_text, [K], {}),
    f"{B}formats.trace.gfp_value": lambda w: (trace.gfp_value, ["GFP_KERNEL"], {}),
    f"{B}formats.trace.perfetto": lambda w: (trace.perfetto, [once("events", _trace_events)], {}),
    f"{B}formats.trace.read_events": lambda w: (drained(trace.read_events), [_trace_file(w), trace.Tally()], {}),
    f"{B}formats.trace.rewrite": lambda w: (drained(trace.rewrite), [_trace_file(w), trace.Tally()], {}),
    f"{B}running.open_core": lambda w: (running.open_core, [_text_file(w)], {"vmlinux": _text_file(w)}),
    f"{B}running.open_guest": lambda w: (running.open_guest, [_text_file(w)], {"vmlinux": _text_file(w)}),
    f"{B}running.open_live": lambda w: (running.open_live, [], {"vmlinux": _text_file(w)}),
    f"{B}running.read_state": lambda w: (
        running.read_state,
        [once("core", _core)],
        {"movable": False, "say": lambda what, share: None},
    ),
    f"{B}running.stopped": lambda w: (_stopped, [_text_file(w)], {"stays": True}),
    f"{B}sweep.Result.to_csv": lambda w: (once("swept", lambda: _swept(w)).to_csv, [w.folder / "s.csv"], {}),
    f"{B}sweep.Result.to_parquet": lambda w: (once("swept", lambda: _swept(w)).to_parquet, [w.folder / "s.pq"], {}),
    f"{B}sweep.Result.write": lambda w: (once("swept", lambda: _swept(w)).write, [w.folder / "s"], {}),
    f"{B}sweep.Spec.from_json": lambda w: (
        sweep.Spec.from_json,
        [json.loads(json.dumps(sweep.spec_from(SPEC).to_json()))],
        {},
    ),
    f"{B}sweep.Spec.seeds_of": lambda w: (sweep.spec_from(SPEC).seeds_of, [0], {}),
    f"{B}sweep.Spec.to_json": lambda w: (sweep.spec_from(SPEC).to_json, [], {"states": True}),
    f"{B}sweep.load": lambda w: (sweep.load, [_saved_sweep(w)], {}),
    f"{B}sweep.read_spec": lambda w: (sweep.read_spec, [_spec_file(w)], {}),
    f"{B}sweep.resume": lambda w: (sweep.resume, [_saved_sweep(w)], {"workers": 1}),
    f"{B}sweep.run": lambda w: (sweep.run, [SPEC], {"workers": 1, "output": w.folder / "out"}),
    f"{B}sweep.spec_from": lambda w: (sweep.spec_from, [SPEC, w.folder], {}),
    f"{B}testing.compare_semantics": lambda w: (
        testing.compare_semantics,
        ["v1", "v1"],
        {"max_slots": 2, "holes": True, "faults": False, "max_examples": 1, "steps": 1},
    ),
    f"{B}testing.fault_plans": lambda w: (drawn(testing.fault_plans), [], {"max_pages": 2}),
    f"{B}testing.machines": lambda w: (
        drawn(testing.machines),
        [],
        {"max_mib": 64, "max_cpus": 2, "max_nodes": 1, "used": True, "threads": False},
    ),
    f"{B}testing.operations": lambda w: (drawn(testing.operations), [w.m], {"max_size": 2, "max_slots": 2}),
    f"{B}testing.page_arrays": lambda w: (
        drawn(testing.page_arrays),
        [w.m],
        {"min_slots": 0, "max_slots": 2, "holes": True},
    ),
    f"{B}testing.shapes": lambda w: (drawn(testing.shapes), [], {"min_slots": 0, "max_slots": 2}),
    f"{B}what_if.Setting": lambda w: (
        what_if.Setting,
        [],
        {"refill": 8, "high_fraction": 8, "watermarks": 1.0, "pcp": True, "api": "v1"},
    ),
    f"{B}what_if.parse_setting": lambda w: (what_if.parse_setting, ["refill=8"], {}),
    f"{B}what_if.plot": lambda w: (what_if.plot, [[], w.folder / "missing.svg"], {}),
    f"{B}what_if.what_if": lambda w: (
        what_if.what_if,
        [_trace_file(w), w.state, [what_if.Setting()]],
        {"marked": False},
    ),
}

#: Public callables without a row, and why.
EXEMPT = {
    f"{B}Machine.from_drgn": "takes a program of drgn; tests/running gives it wrong ones",
    f"{C}Env": "made by Own.run; nobody else makes one",
    f"{C}Slots": "made by Own.run; nobody else makes one",
    f"{C}Own.compare": "measures in processes of its own for seconds; what it is given are shapes, as Own.counts is",
    f"{B}compare": "each call counts for a while; tests/compare gives it wrong names and numbers",
    f"{C}Semantics.wants": "the user writes it",
    f"{C}Semantics.fill": "called by Env and Semantics.__call__, which have rows",
    f"{C}Semantics.result": "called by Env and Semantics.__call__, which have rows",
    f"{B}sweep.dask_executor": "waits for a cluster; tests/sweep/test_dask.py gives it wrong addresses",
}
#: Rows whose call is refused as it stands, and by which words.
REFUSED = {
    f"{B}running.open_core": "cannot be read as a core",
    f"{B}running.open_guest": "the guest's memory cannot be read",
    f"{B}running.open_live": "the running kernel",
    f"{B}running.stopped": "no monitor of qemu answers",
    f"{B}sweep.resume": "there is no interrupted sweep here",
    f"{B}sweep.Result.to_parquet": "needs pyarrow",
}
#: Hypothesis calls the rules of a state machine with what it drew.
EXEMPT_PREFIX = f"{B}testing.SemanticsMachine."
