"""What a result says, in sentences for people who know the kernel and not this program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bulkpages.eras.rules import DEFAULT
from bulkpages.suite.trunk.kernel import same_processor
from bulkpages.suite.trunk.results import main_rows, model_errors, timed_rows

__all__ = [
    "FORMS",
    "WHICH",
    "cycles_here",
    "disagreements",
    "group_of",
    "in_order",
    "kernel_sentences",
    "own_kernel_lines",
    "timing_lines",
]

#: Forms as people read them.
FORMS = {
    "v1": "mainline",
    "before": "mainline",
    "v2": "patched",
    "after": "patched",
    "tracked": "holes tracked",
    "v3": "proposal v3",
}
WHICH = (
    "Mainline alloc_pages_bulk() fills only the NULL slots of an array (v1 in the API). Patched, as proposed in "
    "February 2025, it treats the array as pure output (v2), so callers first move their pages to the front."
)


class _Names(dict[str, str]):
    """Short names of callers; a caller without one keeps its kernel name."""

    def __missing__(self, name: str) -> str:
        return name


CALLERS = _Names(
    {
        "svc_alloc_arg": "sunrpc",
        "btrfs_alloc_page_array": "btrfs",
        "z_erofs_gbuf_growsize": "erofs",
        "xfs_buf_alloc_pages": "xfs",
        "virtiovf_add_migration_pages": "virtio",
        "__page_pool_alloc_pages_slow": "page_pool",
        "core": "the bare call",
    }
)
#: The state of an array before a fill, in the order of the tables; controls never reach the page allocator.
GROUPS = (
    "all NULL",
    "NULL after pages",
    "holes between pages",
    "full",
    "controls",
)
CONTROLS = ("page_pool01_fast_path", "page_pool02_ptr_ring")


def group_of(row: dict[str, Any]) -> int:
    """Which of `GROUPS` a row belongs to."""
    if row["bench"]:
        return 4 if row["bench"] in CONTROLS else 0
    if row["holes"] == row["nr_pages"]:
        return 0
    if not row["holes"]:
        return 3
    return 1 if row["shape"] and "." not in row["shape"].rstrip(".") else 2


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by group, the bare call before its callers."""
    return sorted(rows, key=lambda row: (group_of(row), row["conditions"] != "as recorded", row["filler"] is not None))


def _plain(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["conditions"] == "as recorded" and row["instructions"]]


def percent(value: float) -> str:
    """A difference in per cent, in as few digits as are useful."""
    return f"{value:+.0f}%" if abs(value) >= 10 else f"{value:+.1f}%"


def _percent(row: dict[str, Any]) -> float:
    return float(row["instructions"]["percent"]["estimate"])


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return percent(low) if percent(low) == percent(high) else f"{percent(low).removesuffix('%')} to {percent(high)}"


def _from_to(row: dict[str, Any]) -> str:
    base, form = (row["instructions"][which]["estimate"] for which in ("base", "form"))
    return f"{base:,.0f} to {form:,.0f}"


def _callers(rows: Iterable[dict[str, Any]], verdicts: Sequence[str]) -> str:
    """Callers with one of these verdicts: the range of their differences and the state of their arrays."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        if row["verdict"] in verdicts:
            found.setdefault((CALLERS[row["filler"]], group_of(row)), []).append(_percent(row))
    how = {0: "all NULL", 1: "NULL after pages", 2: "holes", 3: "full"}
    return ", ".join(f"{who} {_range(values)} ({how[group]})" for (who, group), values in found.items())


def _loops(results: dict[str, Any]) -> list[str]:
    rows = [row for row in _plain(main_rows(results)) if row["filler"] is None and not row["bench"]]
    null = [row for row in rows if group_of(row) == 0]
    holes = [row for row in rows if group_of(row) == 2]
    lines = []
    if null:
        many = [row for row in null if row["nr_pages"] > 1] or null
        row = many[-1]
        lines.append(
            f"On NULL arrays the patch saves {_range([-_percent(row) for row in many]).replace('+', '')} of the bulk "
            f"call's kernel instructions ({row['nr_pages']} pages: {row['instructions']['base']['estimate']:.1f} to "
            f"{row['instructions']['form']['estimate']:.1f} per page)."
        )
    if holes:
        lines.append(
            "With holes between pages, the array must be compacted first, which costs "
            f"{_range([_percent(row) for row in holes])} "
            f"instructions on {holes[0]['nr_pages']} slots. The fewer the holes, the higher the cost."
        )
    return lines


def _elsewhere(results: dict[str, Any]) -> list[str]:
    kernel = results["kernel"]
    if kernel == DEFAULT:
        return []
    lines = [
        f"For Linux {kernel}, instructions were counted only in loops around the bare call: callers have exact counts "
        "but no verdict."
    ]
    if kernel == "6.1":
        lines.append(
            "The compiler inlined more in 6.1 than in the other kernels: do not compare its figures with theirs."
        )
    return lines


def _who(results: dict[str, Any]) -> list[str]:
    rows = [row for row in _plain(main_rows(results)) if row["filler"] not in (None, "core")]
    lines = []
    limit = f"{results['effect']:.2%}".replace(".00%", "%")
    for verdicts, words in (
        (("faster",), "Callers that need fewer instructions"),
        (("slower",), "Callers that need more"),
        (("same",), f"Callers that differ by less than {limit}"),
        (("undecided",), f"Too close to {limit} to tell"),
    ):
        if found := _callers(rows, verdicts):
            lines.append(f"{words}: {found}.")
    return lines


def _pool(results: dict[str, Any]) -> list[str]:
    for row in _plain(main_rows(results)):
        if row["bench"] == "page_pool03_slow":
            cycles = ", ".join(
                f"{found['base']:.1f} to {found['form']:.1f} cycles on an {found['processor']}"
                for found in row["kernel_cycles"]
            )
            return [
                "The gain of 1 to 2 ns claimed for page_pool03, measured with the kernel's own loop: "
                f"{cycles}; {_from_to(row)} instructions ({percent(_percent(row))})."
            ]
    return []


def _failures(results: dict[str, Any]) -> list[str]:
    found = results["failures"]
    if not found:
        return []
    forms = {(row["caller"], row["form"]): row for row in found["by_form"]}
    changed = list(dict.fromkeys(row["caller"] for row in found["differences"]))
    same = [CALLERS[caller] for caller, form in forms if form == "after" and caller not in changed]
    parts = []
    for caller in changed:
        base, form = forms[caller, "before"], forms[caller, "after"]
        columns = {row["column"]: row for row in found["differences"] if row["caller"] == caller}
        words = []
        if base["freed_populated"] != form["freed_populated"]:
            words.append(
                f"frees {form['freed_populated']:,} pages of its arrays on the way out instead of "
                f"{base['freed_populated']:,}"
            )
        if columns.get("ret", {}).get("differ"):
            words.append(f"ends differently in {columns['ret']['differ']:,} of {columns['ret']['runs']:,} runs")
        if columns.get("waits", {}).get("more"):
            words.append(f"sleeps more often in {columns['waits']['more']:,}")
        if form["moved"]:
            words.append("moves pages")
        parts.append(f"Patched {CALLERS[caller]} {', '.join(words[:-1])}{' and ' if words[1:] else ''}{words[-1]}.")
    lost = sum(row["leaked"] + row["corrupt"] for row in found["by_form"])
    return [
        f"When allocations fail ({found['runs']:,} runs; every step fails once, or from then on): {' '.join(parts)} "
        f"{', '.join(same)} behave as before. "
        + ("No form loses a page." if not lost else f"{lost} pages are lost or freed twice.")
    ]


def _alternative(results: dict[str, Any]) -> list[str]:
    rows = [row for row in _plain(results["rows"]) if row["form"] == "tracked"]
    some = [row for row in rows if 0 < row["holes"] < row["nr_pages"] // 2]
    if not some:
        return []
    row = next((row for row in some if row["cell"] == "svc-2-holes"), some[0])
    return [
        "The alternative is in the caller: since Linux 7.1 sunrpc remembers its holes. It fills "
        f"{row['holes']} of {row['nr_pages']} slots with {row['instructions']['form']['estimate']:,.0f} instructions "
        f"instead of {row['instructions']['base']['estimate']:,.0f}, and the API stays as it is."
    ]


def _short(results: dict[str, Any]) -> list[str]:
    """Whether callers can do a better job, in one sentence."""
    rows = [row for row in _plain(main_rows(results)) if row["filler"] not in (None, "core")]
    whose = {
        verdict: {CALLERS[row["filler"]] for row in rows if row["verdict"] == verdict}
        for verdict in ("faster", "slower")
    }
    better, worse = whose["faster"] - whose["slower"], whose["slower"]
    if not better or not worse:
        return []
    return [
        f'"Why can callers do a better job?" {_names(better)} can, slightly: the slots they fill are NULL anyway. '
        f"{_names(worse)} cannot: they pay to move pages that mainline leaves in place."
    ]


def _names(names: Iterable[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} and {last}" if most else last


def kernel_sentences(results: dict[str, Any]) -> list[str]:
    """The mailing list's question, answered in kernel instructions."""
    return [
        *_short(results),
        *_loops(results),
        *_elsewhere(results),
        *_who(results),
        *_pool(results),
        *_failures(results),
        *_alternative(results),
    ]


def disagreements(results: dict[str, Any]) -> list[str]:
    """Rows whose verdict by emulator time differs from the one by kernel instructions."""
    timed = timed_rows(results)
    decided = ("faster", "slower", "same")
    rows = [row for row in results["rows"] if row["name"] in timed]
    found = [(row["name"], row["verdict"], timed[row["name"]]["verdict"]) for row in rows]
    return [name for name, kernel, time in found if kernel != time and kernel in decided and time in decided]


def cycles_here(row: dict[str, Any], cpu: str) -> dict[str, Any] | None:
    """The kernel's cycles on this model of processor, where they were measured."""
    found = [cycles for cycles in row["kernel_cycles"] if same_processor(cycles["processor"], cpu)]
    return found[0] if found else None


def own_kernel_lines(own: dict[str, Any], cpu: str) -> list[str]:
    """What the kernels given with --kernel say, before their table."""
    lines = []
    for i, kernel in enumerate(own["kernels"]):
        form = FORMS[kernel["form"]]
        patches = f" with {', '.join(kernel['patches'])}" if kernel["patches"] else ""
        line = f"{kernel['name']}: Linux {kernel['version']}{patches}, {kernel['compiler']}; its bulk call is {form}."
        if off := model_errors(own, i):
            line += (
                f" The instructions above differ from its own by {off['median']:.1f} % in the median of {off['rows']} "
                f"workloads, at most by {off['largest']:.0f} % ({off['cell']})."
            )
        lines.append(line)
    same = own["same_kernel"]
    if own["rounds"]:
        lines.append(
            f"Cycles on {cpu}, {own['rounds']} interleaved rounds. Each kernel compared with itself differed in "
            f"{len(same['alarms'])} of {same['comparisons']} comparisons"
            + ("." if same["trusted"] else ": this machine is too noisy for verdicts.")
        )
    return lines


def _baseline(timing: dict[str, Any]) -> list[str]:
    against = timing["baseline"]
    if not against:
        return []
    changed = f"; counts changed in {', '.join(against['counts_changed'])}" if against["counts_changed"] else ""
    return [
        f"Against the earlier run of bulkpages, slower by more than {timing['method']['effect']:.2%}: "
        f"{', '.join(against['slower']) or 'nothing'} (machine as a whole {against['machine'] - 1:+.1%}, divided out"
        f"{'' if against['same_machine'] else '; a different processor'}{changed})."
    ]


def _contention(timing: dict[str, Any]) -> list[str]:
    for row in timing["contention"]:
        if row["drains_per_second"] is None:
            a, b = (row["arms"][arm] for arm in ("v1", "v2"))
            return [
                "While another CPU drains this CPU's lists without pause, mainline fails "
                f"{a['lost']:.1%} of its trylocks and patched {b['lost']:.1%}. A call whose trylock fails gets one "
                f"page, so filling {row['slots']} slots takes {a['calls_per_fill']:.2f} and "
                f"{b['calls_per_fill']:.2f} calls."
            ]
    return []


def timing_lines(results: dict[str, Any]) -> list[str]:
    """What the emulator's time adds."""
    timing = results["timing"]
    if not timing:
        return []
    null, method = timing["null"], timing["method"]
    if not timing["complete"]:
        return [
            f"No verdict on emulator time yet: interrupted after {method['looks_done']} of {method['looks']} looks. "
            "Continue with --resume and the folder."
        ]
    if not null["silent"]:
        return [
            f"No verdict on emulator time: {len(null['alarms'])} of {null['comparisons']} comparisons of a form with "
            "itself found a difference. This machine is too noisy at the moment."
        ]
    lines = _baseline(timing)
    if odd := disagreements(results):
        lines.append(
            f"Emulator time disagrees with kernel instructions in {', '.join(odd)}. The kernel's figure counts: the "
            "emulator does the same work in other proportions."
        )
    lines += _contention(timing)
    lines.append(
        f"A/A: {len(null['alarms'])} false alarms in {null['comparisons']} comparisons of a form with itself "
        f"(nominal rate {method['alpha']:.2%}). Smallest detectable difference: {null['detectable']:.1%}; in the "
        f"noisiest workload {null['detectable_worst']:.1%}."
    )
    return lines
