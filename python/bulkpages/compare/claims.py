"""The claims ledger: technical sentences of the thread, paraphrased, each tried by an experiment.

Sentences are judged, never people, and only as far as an emulator of the allocator can try them. A verdict comes from
what the experiment finds when it runs, here and now.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

import numpy as np

from bulkpages import Machine, PageArray, _core
from bulkpages.callers.shapes import hole_shape
from bulkpages.compare.kernel import timings
from bulkpages.gfp import GFP_KERNEL

__all__ = ["CELLS", "CLAIMS", "Claim", "judge"]

Verdict = Literal["true", "false", "true under these conditions", "not decidable here"]
Found = tuple[Verdict, str]

# Workloads whose times the experiments need.
CELLS = ("page_pool03_slow", "svc-small-rpc", "btrfs-full-64", "btrfs-null-16", "erofs-16-to-256", "svc-read-by-splice")
SOME: Verdict = "true under these conditions"
# Of the recorded kernel's processor: `meta` of timings.json.
KERNEL_GHZ = 2.6
RPC = 259


@dataclass(frozen=True)
class Claim:
    """A sentence and how it is tried.

    Attributes:
        name: Short, unique.
        date: When it was said.
        source: In which mail, message, or commit.
        sentence: What is claimed, in our words.
        experiment: Given the rows of a run by name, says what it found.
        message_id: Where it is known.
    """

    name: str
    date: str
    source: str
    sentence: str
    experiment: Callable[[dict[str, Any]], Found]
    message_id: str | None = None


def _decided(row: dict[str, Any] | None) -> str:
    return "" if row is None else row["verdict"] or ""


def _of(row: dict[str, Any]) -> str:
    low, high = ((end - 1) * 100 for end in row["interval"])
    return f"{row['effect']['percent']:+.1f} % [{low:+.1f}, {high:+.1f}], {row['effect']['ns']:+.2f} ns"


def _array(picture: str) -> tuple[Machine, PageArray]:
    """A machine, and an array with pages where the picture has P."""
    machine = Machine("64MiB")
    array = PageArray(len(picture))
    for i, slot in enumerate(picture):
        if slot == "P":
            array[i] = cast("int", machine.alloc_pages(GFP_KERNEL))
    return machine, array


def _tests(filler: str, form: str, shape: str) -> dict[str, int]:
    return _core.count_fill(Machine("64MiB"), filler, form, shape, 1)


def _accesses(filler: str, form: str, shape: str) -> int:
    found = _tests(filler, form, shape)
    return found["slot_tests"] + found["slot_writes"] + found["slot_clears"]


def _pool_nanoseconds(rows: dict[str, Any]) -> Found:
    found = {row["api"]: row for row in timings()["page_pool"] if row["bench"] == "page_pool03_slow"}
    runs = {api: np.asarray(row["cycles_per_op"]["runs"]) for api, row in found.items()}
    count = {api: row["smp_kernel_instructions_per_op"] for api, row in found.items()}
    kernel = (runs["v2"] - runs["v1"]) / KERNEL_GHZ
    fewer = count["v2"] - count["v1"]
    text = (
        f"The kernel recorded here (UP build, {KERNEL_GHZ} GHz): {np.median(kernel):+.2f} ns, from {kernel.min():+.2f} "
        f"to {kernel.max():+.2f} in {len(kernel)} runs; exact instructions of its SMP build: {fewer:+.1f} of "
        f"{count['v1']:.0f} ({fewer / count['v1']:+.1%}; claimed: -1.7 % of the time)"
    )
    if row := rows.get("page_pool03_slow"):
        text += f"; emulator: {_of(row)}"
    if ((kernel <= -1) & (kernel >= -2)).all():
        return "true", text + "."
    if (kernel > 0).all() and fewer > 0:
        return "false", text + "."
    # Another machine's nanoseconds can be neither confirmed nor refuted by these.
    return "not decidable here", text + ". So: less work, and on this kernel not 1 ns; its own x86 VM is out of reach."


def _better_job(rows: dict[str, Any]) -> Found:
    shapes = {
        "svc_alloc_arg, small RPC": ("svc_alloc_arg", hole_shape("small RPC", RPC)),
        "btrfs, full": ("btrfs_alloc_page_array", "x" * 64),
        "btrfs, all NULL": ("btrfs_alloc_page_array", "." * 16),
        "xfs, 4 pages": ("xfs_buf_alloc_pages", "." * 4),
        "erofs, 16 to 256": ("z_erofs_gbuf_growsize", "x" * 16 + "." * 240),
        "vfio, 256 pages": ("virtiovf_add_migration_pages", "." * 256),
    }
    work = {name: (_accesses(f, "before", s), _accesses(f, "after", s)) for name, (f, s) in shapes.items()}
    better = [f"{name} {a} to {b}" for name, (a, b) in work.items() if b < a]
    worse = [f"{name} {a} to {b}" for name, (a, b) in work.items() if b > a]
    text = f"Slot accesses of a fill fall in {', '.join(better)}; they rise in {', '.join(worse)}."
    timed = [rows[cell] for cell in ("svc-small-rpc", "btrfs-full-64") if cell in rows]
    if timed:
        text += " Time: " + "; ".join(f"{row['name']} {_of(row)}, {row['verdict']}" for row in timed) + "."
    if better and worse:
        return SOME, text + " So: true of arrays that start NULL, false of arrays with pages behind a hole."
    return ("true" if better else "false"), text


def _all_null(_rows: dict[str, Any]) -> Found:
    machine, array = _array("PP....")
    held = list(array)[:2]
    machine.alloc_pages_bulk(GFP_KERNEL, array, api="v2")
    lost = sum(array[i] != pfn for i, pfn in enumerate(held))
    text = (
        f"erofs passes the pages that it has in front of NULL slots. Given such an array whole, v2 overwrites {lost} "
        "of 2 pages. The patch passes the rest of the array instead, so erofs as patched is right."
    )
    return ("false" if lost else "true"), text


@cache
def _diffstat() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(files("bulkpages").joinpath("data/diffstat.json").read_text()))


def _lines(_rows: dict[str, Any]) -> Found:
    found = _diffstat()
    total = found["total"]
    each = ", ".join(f"{path.rsplit('/', 1)[1]} +{f['added']} -{f['removed']}" for path, f in found["files"].items())
    text = f"Recounted from the diff: +{total['added']} -{total['removed']} ({each})."
    return ("true" if (total["added"], total["removed"]) == (52, 51) else "false"), text


def _complexity(_rows: dict[str, Any]) -> Found:
    found = _diffstat()["files"]
    names = ("fs/btrfs/extent_io.c", "net/sunrpc/svc_xprt.c")
    grown = {name: found[name] for name in names}
    text = "; ".join(
        f"{name.rsplit('/', 1)[1]}: {f['added'] - f['removed']:+d} lines, {f['branches']:+d} branches, "
        f"{f['variables']:+d} variables"
        for name, f in grown.items()
    )
    core = found["mm/page_alloc.c"]
    text += (
        f"; page_alloc.c: {core['added'] - core['removed']:+d} lines, {core['branches']:+d} branches. Both callers get "
        "the same compaction loop."
    )
    return ("true" if all(f["branches"] > 0 for f in grown.values()) else "false"), text


def _layout(_rows: dict[str, Any]) -> Found:
    got = {}
    for picture in ("P**P*P", "P*PP**"):
        machine, array = _array(picture)
        with machine.faults(pages=2):
            got[picture] = machine.alloc_pages_bulk(GFP_KERNEL, array, api="v1")
    text = "With two pages to be had, v1 returns " + " and ".join(f"{ret} on {p}" for p, ret in got.items()) + "."
    return ("true" if len(set(got.values())) > 1 else "false"), text


def _full_is_failed(_rows: dict[str, Any]) -> Found:
    machine, array = _array("PPPP")
    rest = machine.alloc_pages_bulk(GFP_KERNEL, array, 0, api="v2")
    full_v1 = machine.alloc_pages_bulk(GFP_KERNEL, array, api="v1")
    machine, array = _array("****")
    with machine.faults(pages=0):
        failed = machine.alloc_pages_bulk(GFP_KERNEL, array, api="v2")
    text = (
        f"v2 returns {rest} for the rest of a full array and {failed} when no page is to be had; v1 returns {full_v1} "
        "on a full array of 4."
    )
    return ("true" if rest == failed == 0 else "false"), text


def _returns_four(_rows: dict[str, Any]) -> Found:
    ret = {}
    for api in ("v1", "v2"):
        machine = Machine("64MiB")
        rest = PageArray(2)
        ret[api] = machine.alloc_pages_bulk(GFP_KERNEL, rest, api=api)
    text = (
        f"Two of four slots filled, the second call is given the other two: v2 returns {ret['v2']}, and v1 on the same "
        f"slots {ret['v1']}."
    )
    return ("true" if ret["v2"] == 4 else "false"), text


def _uninitialised(_rows: dict[str, Any]) -> Found:
    got = {}
    for api in ("v1", "v2"):
        machine = Machine("64MiB")
        array = PageArray([0xDEAD] * 4)
        ret = machine.alloc_pages_bulk(GFP_KERNEL, array, api=api)
        got[api] = (ret, sum(pfn == 0xDEAD for pfn in array))
    text = (
        f"An array with stale slots: v1 returns {got['v1'][0]} and leaves {got['v1'][1]} of 4 slots stale; v2 returns "
        f"{got['v2'][0]} and leaves {got['v2'][1]}."
    )
    return ("true" if got["v1"] == (4, 4) and got["v2"][1] == 0 else "false"), text


def _encoded_read(rows: dict[str, Any]) -> Found:
    _, text = _uninitialised(rows)
    return "not decidable here", "Whether that caller's array is uninitialised is outside the allocator. " + text


def _kmem_cache(_rows: dict[str, Any]) -> Found:
    machine, array = _array("********")
    with machine.faults(pages=3):
        ret = machine.alloc_pages_bulk(GFP_KERNEL, array, api="v2")
    text = f"With three pages to be had, v2 returns {ret} of 8 and keeps them; that function gives all or none."
    return ("false" if 0 < ret < 8 else "true"), text


def _page_owner(_rows: dict[str, Any]) -> Found:
    machine = Machine("64MiB", page_owner=True)
    ret = machine.alloc_pages_bulk(GFP_KERNEL, PageArray(64), api="v1")
    count = {
        form: _core.count_fill(machine, "svc_alloc_arg", form, "." * RPC, 1)["slot_tests"]
        for form in ("before", "after")
    }
    text = (
        f"A call for 64 pages brings {ret}. Filling {RPC} slots so takes {count['before']} slot tests with v1 and "
        f"{count['after']} after the patch."
    )
    return ("true" if ret == 1 else "false"), text


def _walk(rows: dict[str, Any]) -> Found:
    shape = hole_shape("small RPC", RPC)
    before, tracked = (_tests("svc_alloc_arg", form, shape)["slot_tests"] for form in ("before", "tracked"))
    text = f"Small RPC, {RPC} slots with one hole: {before} slot tests, {tracked} when the caller remembers its holes."
    row = rows.get("svc-small-rpc tracked")
    if row is None:
        return "not decidable here", text + " No time in this run."
    verdict: Verdict = {"faster": "true", "same": "false", "slower": "false"}.get(_decided(row), "not decidable here")  # type: ignore[assignment]
    return verdict, f"{text} Remembering against v1, emulated: {_of(row)}, {row['verdict']}."


def _defragmenting(rows: dict[str, Any]) -> Found:
    found = [rows[cell] for cell in ("svc-small-rpc", "btrfs-full-64", "btrfs-null-16") if cell in rows]
    text = "; ".join(f"{row['name']} {_of(row)}, {row['verdict']}" for row in found) + "."
    slower = [row for row in found if _decided(row) == "slower"]
    if not found or (any(_decided(row) in ("", "undecided") for row in found) and not slower):
        return "not decidable here", text
    return ("false" if not slower else "true" if len(slower) == len(found) else SOME), text


def _erofs(rows: dict[str, Any]) -> Found:
    row = rows.get("erofs-16-to-256")
    if row is None:
        return "not decidable here", "No time in this run."
    text = (
        f"A buffer that grows from 16 to 256 pages: {_of(row)}, {row['verdict']}; in the emulator, and once for each "
        "buffer of a mount."
    )
    return "not decidable here", text + " What a mount takes is outside the allocator."


def _irqs(_rows: dict[str, Any]) -> Found:
    shape = "".join("." if i % 8 == 0 else "x" for i in range(RPC))
    machine = Machine("64MiB")
    inside = {
        form: int(np.median(_core.window_fill(machine, "svc_alloc_arg", form, shape, 50)["pcp_tests"]))
        for form in ("before", "after")
    }
    zone = {
        form: int(np.median(_core.window_fill(machine, "svc_alloc_arg", form, shape, 50, cold=True)["zone_pages"]))
        for form in ("before", "after")
    }
    text = (
        f"{RPC} slots, every eighth a hole: {inside['before']} slot tests under the per-CPU lock in v1, "
        f"{inside['after']} after the patch. On UP interrupts are off there; on SMP only under the zone lock "
        f"({zone['before']} and {zone['after']} pages in a fill with cold lists); on PREEMPT_RT never."
    )
    return SOME, text + " So: true of UP builds alone."


CLAIMS = (
    Claim(
        "pool-1-2-ns", "2025-02-28", "patch v2",
        "Not clearing the array gains 1 to 2 ns in page_pool03_slow.", _pool_nanoseconds,
    ),
    Claim(
        "better-job", "2025-02-28", "patch v2",
        "Most callers do a better job of filling a whole array in sequence, without NULL tests.", _better_job,
    ),
    Claim(
        "others-all-null", "2025-02-28", "patch v2",
        "Apart from sunrpc and btrfs, existing callers pass arrays that are all NULL.", _all_null,
    ),
    Claim(
        "like-kmem-cache", "2025-02-28", "patch v2",
        "As an output parameter the array is like that of kmem_cache_alloc_bulk().", _kmem_cache,
    ),
    Claim("52-51", "2025-03-03", "reply to patch v2", "The patch adds 52 lines and removes 51.", _lines),
    Claim(
        "more-complex", "2025-03-03", "reply to patch v2",
        "The sunrpc and btrfs callers become more complex and carry duplicated code.", _complexity,
    ),
    Claim(
        "full-is-failed", "2025-02-18", "reply to the RFC",
        "A full array and a failed allocation cannot be told apart: both return 0.", _full_is_failed,
    ),
    Claim(
        "second-call-4", "2025-03-04", "reply to patch v2",
        "In xfs as patched, the second call for the other two of four pages returns 4.", _returns_four,
    ),
    Claim(
        "defragmenting-costs", "2025-03-04", "reply to patch v2",
        "The compaction makes btrfs and sunrpc slower.", _defragmenting,
    ),
    Claim(
        "encoded-read", "2025-03", "reply to patch v2",
        "An encoded read of btrfs would crash with the patch.", _encoded_read,
    ),
    Claim(
        "layout-return", "2025-03-07", "thread of patch v2",
        "The value that v1 returns depends on where the holes are.", _layout,
    ),
    Claim(
        "erofs-mount", "2025-03-10", "thread of patch v2",
        "For erofs the change is worth 1 to 2 ns of a mount.", _erofs,
    ),
    Claim(
        "page-owner", "2025-04", "commit e6e07b696da5",
        "With page owner every bulk call brings one page.", _page_owner,
    ),
    Claim(
        "irqs-off", "2025-03-03", "comment that the patch removes",
        "The bulk loop runs with interrupts disabled.", _irqs,
    ),
    Claim(
        "walk-measurable", "2026-05-28", "thread on the semantics",
        "Walking a mostly full array for NULL slots is measurable.", _walk,
    ),
    Claim(
        "error-prone-zeroing", "2026-05-27", "thread on the semantics",
        "An array that was not cleared first goes wrong with v1, silently.", _uninitialised,
        "<20260527071816.GA17632@lst.de>",
    ),
)  # fmt: skip


def judge(results: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Runs every experiment; what needs times takes them from a run's results.

    Returns:
        A dict for each claim with name, date, source, message_id, sentence, verdict, found, reproduce.
    """
    rows = {row["name"]: row for row in results["rows"]} if results else {}
    ledger = []
    for claim in CLAIMS:
        verdict, found = claim.experiment(rows)
        row = {key: value for key, value in asdict(claim).items() if key != "experiment"}
        ledger.append(row | {"verdict": verdict, "found": found, "reproduce": f"bulkpages claims --only {claim.name}"})
    return ledger
