import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Self, SupportsIndex, final, overload

from typing_extensions import disjoint_base

__all__ = [
    "COMMIT",
    "COUNTS_CYCLES",
    "DEBUG_BUILD",
    "RUSTC",
    "Machine",
    "OwnOutcome",
    "OwnRun",
    "PageArray",
    "PagePool",
    "Stream",
    "TraceFollower",
    "TraceReader",
    "TraceRequests",
    "TraceRerun",
    "__version__",
    "call_api",
    "callers",
    "clock_cost",
    "contend",
    "core_rows",
    "count_bulk",
    "count_fill",
    "count_page_pool",
    "count_steps",
    "eras",
    "explore_interrupts",
    "explore_tasks",
    "failure_sweep",
    "fillers",
    "gfp_known",
    "gfp_text",
    "gfp_value",
    "hole_shape",
    "misuse_score",
    "ns_per_count",
    "rules",
    "run_caller",
    "run_threads",
    "stress_mixes",
    "stress_run",
    "time_bench_page_pool",
    "trial_bulk",
    "trial_fill",
    "trial_page_pool",
    "window_fill",
]

__version__: Final[str]
COMMIT: Final[str]
COUNTS_CYCLES: Final[bool]
DEBUG_BUILD: Final[bool]
RUSTC: Final[str]

@final
class PageArray:
    def __new__(cls, slots: SupportsIndex | Iterable[SupportsIndex]) -> Self: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> list[int]: ...
    def __setitem__(self, key: SupportsIndex, value: SupportsIndex, /) -> None: ...
    def __iter__(self) -> Iterator[int]: ...
    def __eq__(self, value: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]
    def _repr_html_(self) -> str: ...
    def __reduce__(self) -> tuple[type[PageArray], tuple[list[int]]]: ...
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...
        def __release_buffer__(self, buffer: memoryview, /) -> None: ...

def rules() -> list[tuple[str, str, list[str], str, str]]: ...
def eras() -> list[tuple[str, str, list[tuple[str, bool]]]]: ...

@disjoint_base
class Machine:
    def __new__(
        cls,
        *,
        memory_pages: SupportsIndex | None = None,
        cpus: SupportsIndex | None = None,
        nodes: SupportsIndex | None = None,
        movablecore_pages: SupportsIndex | None = None,
        snapshot: str | None = None,
        saved: str | None = None,
        saved_slots: Sequence[tuple[int, int]] | None = None,
        memcg: bool = False,
        page_owner: bool = False,
        threads: bool = False,
        kernel: str | None = None,
        rules: Sequence[tuple[str, bool]] | None = None,
    ) -> Self: ...
    @property
    def kernel(self) -> str: ...
    def _rules(self) -> list[tuple[str, bool]]: ...
    @property
    def cpus(self) -> int: ...
    @property
    def nodes(self) -> int: ...
    @property
    def nr_zones(self) -> int: ...
    @property
    def threads(self) -> bool: ...
    def alloc_pages_bulk(
        self,
        gfp: SupportsIndex | str,
        array: PageArray,
        nr_pages: SupportsIndex | None = None,
        *,
        api: str = "v1",
        nid: SupportsIndex | None = None,
        cpu: SupportsIndex | None = None,
    ) -> int: ...
    def alloc_pages(
        self,
        gfp: SupportsIndex | str,
        order: SupportsIndex | None = None,
        *,
        nid: SupportsIndex | None = None,
        cpu: SupportsIndex | None = None,
    ) -> int | None: ...
    def free_pages(
        self, pfn: SupportsIndex, order: SupportsIndex | None = None, *, cpu: SupportsIndex | None = None
    ) -> None: ...
    def free_bulk(self, array: PageArray, *, cpu: SupportsIndex | None = None) -> int: ...
    def drain_local_pages(self, cpu: SupportsIndex | None = None) -> None: ...
    def replay(self, ops: Iterable[dict[str, Any]]) -> list[dict[str, Any]]: ...
    def alloc_pages_bulk_refill(
        self,
        gfp: SupportsIndex | str,
        array: PageArray,
        nr_pages: SupportsIndex | None = None,
        *,
        cpu: SupportsIndex | None = None,
    ) -> int: ...
    def advance(self, ns: SupportsIndex, *, cpu: SupportsIndex | None = None) -> None: ...
    def _set_reclaim(
        self,
        *,
        file_pages: SupportsIndex | None = None,
        efficiency: SupportsIndex | None = None,
        latency_ns: SupportsIndex | None = None,
        kswapd_delay_ns: SupportsIndex | None = None,
        tasks: Sequence[SupportsIndex] | None = None,
        cpu: SupportsIndex | None = None,
    ) -> None: ...
    def _reclaim_info(self) -> dict[str, int]: ...
    def _push_faults(self, pages: SupportsIndex | None, steps: Sequence[tuple[str, bool | SupportsIndex]]) -> int: ...
    def _remove_faults(self, ticket: int) -> None: ...
    def _hold_pcp_lock(self, node: SupportsIndex, zone: SupportsIndex, pcp_cpu: SupportsIndex, held: bool) -> None: ...
    def _trace_start(self) -> None: ...
    def _trace_stop(self) -> str: ...
    def _numa(self, index: int) -> tuple[int, int, int, int, int]: ...
    def _snapshot(self) -> str: ...
    def _has_pools(self) -> bool: ...
    def _save(self) -> tuple[str, list[tuple[int, int]]]: ...
    def _vmstat(self) -> list[tuple[str, int]]: ...
    def _audit(self) -> tuple[int, int, int, int, int]: ...
    def _zone(self, index: int) -> dict[str, Any]: ...
    def _pcp(self, index: int, cpu: SupportsIndex) -> dict[str, Any]: ...

@disjoint_base
class PagePool:
    def __new__(
        cls,
        machine: Machine,
        *,
        form_name: str,
        pool_size: SupportsIndex | None = None,
        cpu: SupportsIndex | None = None,
    ) -> Self: ...
    @property
    def form(self) -> str: ...
    def alloc(self) -> int | None: ...
    def put(self, pfn: SupportsIndex) -> None: ...
    def recycle_direct(self, pfn: SupportsIndex) -> None: ...
    def destroy(self) -> None: ...
    def _info(self) -> dict[str, Any]: ...

@final
class OwnRun:
    def __new__(
        cls,
        machine: Machine,
        array: PageArray,
        cpu: SupportsIndex,
        *,
        stops: Sequence[tuple[str, int, str]] | None = None,
        explain: bool = False,
    ) -> Self: ...
    def bulk(
        self, api: str, gfp: SupportsIndex | str, array: PageArray, base: SupportsIndex, n: SupportsIndex
    ) -> int: ...
    def refill(self, gfp: SupportsIndex | str, array: PageArray, base: SupportsIndex, n: SupportsIndex) -> int: ...
    def single(self, gfp: SupportsIndex | str) -> int: ...
    def read(self, array: PageArray, index: SupportsIndex) -> int: ...
    def write(self, array: PageArray, index: SupportsIndex, page: SupportsIndex) -> None: ...
    def clear(self, array: PageArray, base: SupportsIndex, n: SupportsIndex) -> None: ...
    def compact(self, array: PageArray, base: SupportsIndex, n: SupportsIndex) -> int: ...
    def free(self, page: SupportsIndex) -> None: ...
    def wait(self, ns: SupportsIndex) -> None: ...
    def fails(self, what: str) -> bool: ...
    def others(self, n: SupportsIndex) -> list[int]: ...
    def finish(
        self,
        ret: int | bool | None,
        array: PageArray,
        *,
        wanted: int,
        calls: int,
        waits: int,
        crash: str | None = None,
        clean: bool = False,
    ) -> tuple[OwnOutcome, dict[str, Any], list[dict[str, Any]]]: ...

@final
class OwnOutcome:
    def to_dict(self) -> dict[str, Any]: ...
    def indices(self) -> list[tuple[str, int]]: ...
    @property
    def asked_to_stop(self) -> bool: ...
    @property
    def crash(self) -> str | None: ...
    def verdict(self, right: OwnOutcome) -> str: ...

_Step = tuple[str, int, int, int, int, int]

@final
class Stream:
    def __new__(cls, shape: str, made: Sequence[int], rows: Sequence[_Step]) -> Self: ...
    def __len__(self) -> int: ...
    def __eq__(self, value: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]
    def __reduce__(self) -> tuple[type[Stream], tuple[str, list[int], list[_Step]]]: ...
    @property
    def steps(self) -> list[_Step]: ...
    def trial(self, machine: Machine, iterations: SupportsIndex, *, cold: bool = False) -> tuple[int, int]: ...
    def count(self, machine: Machine, iterations: SupportsIndex, *, cold: bool = False) -> dict[str, int]: ...

def run_caller(
    machine: Machine,
    name: str,
    array: PageArray | None,
    pages: SupportsIndex,
    have: SupportsIndex,
    flags: Sequence[str],
    form_name: str,
    *,
    cpu: SupportsIndex | None = None,
    max_waits: SupportsIndex | None = None,
    explain: bool = False,
) -> dict[str, Any]: ...
def call_api(
    machine: Machine, array: PageArray, api: str, *, cpu: SupportsIndex | None = None, explain: bool = False
) -> dict[str, Any]: ...
def callers() -> list[dict[str, Any]]: ...
def hole_shape(
    kind: str,
    n: SupportsIndex,
    a: SupportsIndex | None = None,
    b: SupportsIndex | None = None,
    *,
    fraction: float | None = None,
    seed: SupportsIndex | None = None,
) -> str: ...
def failure_sweep(
    callers: Sequence[str],
    largest: SupportsIndex,
    pairs_up_to: SupportsIndex,
    threads: SupportsIndex,
    kernel: str,
    rules: Sequence[tuple[str, bool]],
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]: ...
def misuse_score(
    callers: Sequence[str],
    largest: SupportsIndex,
    threads: SupportsIndex,
    kernel: str,
    rules: Sequence[tuple[str, bool]],
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]: ...
def time_bench_page_pool(
    machine: Machine, form_name: str, bench: str, loops: SupportsIndex, *, cpu: SupportsIndex | None = None
) -> tuple[int, int, int]: ...

@final
class TraceFollower:
    def __new__(cls, snapshot: str, *, marked: bool = False, learn: bool = True) -> Self: ...
    def feed(self, chunk: bytes) -> None: ...
    def keep_requests(self) -> None: ...
    def requests(self) -> TraceRequests: ...
    def finish(self) -> tuple[str, str]: ...

@final
class TraceReader:
    def __new__(cls) -> Self: ...
    def rewrite(self, chunk: bytes, *, last: bool = False) -> str: ...
    def events(
        self, chunk: bytes, *, last: bool = False
    ) -> list[tuple[str, int | None, int | None, int | None, str, int | None, int | None, str, str]]: ...
    def tally(self) -> str: ...

@final
class TraceRequests:
    def __len__(self) -> int: ...

@final
class TraceRerun:
    def __new__(cls, snapshot: str, api: str) -> Self: ...
    def run(self, requests: TraceRequests) -> None: ...
    def costs(self) -> str: ...

def trial_bulk(
    machine: Machine, api: str, nr_pages: SupportsIndex, hole_period: SupportsIndex, iterations: SupportsIndex
) -> tuple[int, int, int]: ...
def trial_page_pool(machine: Machine, api: str, bench: str, iterations: SupportsIndex) -> tuple[int, int, int]: ...
def count_bulk(
    machine: Machine, api: str, nr_pages: SupportsIndex, hole_period: SupportsIndex, iterations: SupportsIndex
) -> dict[str, int]: ...
def count_page_pool(machine: Machine, api: str, bench: str, iterations: SupportsIndex) -> dict[str, int]: ...
def core_rows() -> list[tuple[str, int, int, str | None, int]]: ...
def gfp_known(text: str) -> int: ...
def gfp_text(gfp: int) -> str: ...
def gfp_value(text: str) -> int: ...
def ns_per_count() -> float: ...
def trial_fill(
    machine: Machine,
    filler: str,
    form: str,
    shape: str,
    iterations: SupportsIndex,
    *,
    cold: bool = False,
    trylock_loss: float = 0.0,
    seed: int = 0,
) -> tuple[int, int]: ...
def count_fill(
    machine: Machine,
    filler: str,
    form: str,
    shape: str,
    iterations: SupportsIndex,
    *,
    cold: bool = False,
    trylock_loss: float = 0.0,
    seed: int = 0,
) -> dict[str, int]: ...
def count_steps(
    machine: Machine,
    filler: str,
    form: str,
    shape: str,
    iterations: SupportsIndex,
    *,
    cold: bool = False,
    trylock_loss: float = 0.0,
    seed: int = 0,
) -> dict[str, int]: ...
def window_fill(
    machine: Machine, filler: str, form: str, shape: str, iterations: SupportsIndex, *, cold: bool = False
) -> dict[str, list[int]]: ...
def contend(
    machine: Machine,
    api: str,
    nr_pages: SupportsIndex,
    hole_period: SupportsIndex,
    drains_per_second: SupportsIndex | None,
    fills: SupportsIndex,
) -> dict[str, Any]: ...
def fillers() -> list[tuple[str, list[str]]]: ...
def clock_cost() -> int: ...
def run_threads(
    machine: Machine,
    threads: SupportsIndex,
    mix: str,
    seconds: float | None,
    ops: SupportsIndex | None,
    seed: SupportsIndex,
    slices: SupportsIndex,
) -> dict[str, Any]: ...
def stress_run(
    memory_pages: SupportsIndex,
    cpus: SupportsIndex,
    nodes: SupportsIndex,
    threads: SupportsIndex,
    mix: str,
    seconds: float | None,
    ops: SupportsIndex | None,
    seed: SupportsIndex,
    slices: SupportsIndex,
) -> dict[str, Any]: ...
def stress_mixes() -> list[str]: ...
def explore_interrupts(
    model: str,
    locking: str,
    task: str,
    handlers: Sequence[str],
    bound: SupportsIndex,
    limit: SupportsIndex,
    choices: Sequence[int] | None,
) -> dict[str, Any]: ...
def explore_tasks() -> list[str]: ...
