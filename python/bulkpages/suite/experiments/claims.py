"""The claims ledger: technical sentences of the thread, paraphrased, each tried by an experiment.

Sentences are judged, never people, and only as far as an emulator of the allocator can try them. A verdict comes from
what the experiment finds when it runs. Costs are the kernel's, in instructions; no clock is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

import numpy as np

from bulkpages import _core, cost
from bulkpages._core import PageArray
from bulkpages.callers.shapes import hole_shape
from bulkpages.gfp import GFP_KERNEL
from bulkpages.machine import Machine
from bulkpages.suite.trunk.kernel import EPYC, XEON, kernel_cycles, timings
from bulkpages.suite.trunk.workloads import all_cells

__all__ = ["CLAIMS", "Claim", "judge"]

Verdict = Literal["true", "false", "true under these conditions", "not decidable here"]
Found = tuple[Verdict, str]

SOME: Verdict = "true under these conditions"
# Of the recorded kernel's processor: `meta` of timings.json.
KERNEL_GHZ = 2.6
RPC = 259
# Smallest difference of interest.
EFFECT = 0.01


@dataclass(frozen=True)
class Claim:
    """A sentence and how it is tried.

    Attributes:
        name: Short, unique.
        date: When it was said.
        source: In which mail, message, or commit.
        sentence: What is claimed, in our words.
        experiment: Says what it found.
        message_id: Where it is known.
    """

    name: str
    date: str
    source: str
    sentence: str
    experiment: Callable[[], Found]
    message_id: str | None = None


def _fill(name: str, form: str = "after", base: str = "before") -> cost.Difference:
    """Kernel instructions of a form of a workload against another."""
    cell = all_cells()[name]
    assert cell.caller is not None
    return cost.fill_difference(cell.caller, base, form, cell.shape)


def _of(name: str, found: cost.Difference) -> str:
    """A difference in words."""
    return (
        f"{name} {found.base.estimate:,.0f} to {found.form.estimate:,.0f} ({found.percent[0]:+.1f} %, {found.source}, "
        f"{found.verdict(EFFECT)})"
    )


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


def _pool_nanoseconds() -> Found:
    found = {row["api"]: row for row in timings()["page_pool"] if row["bench"] == "page_pool03_slow"}
    runs = {api: np.asarray(row["cycles_per_op"]["runs"]) for api, row in found.items()}
    kernel = (runs["v2"] - runs["v1"]) / KERNEL_GHZ
    both = {row.processor: row for row in kernel_cycles(all_cells()["page_pool03_slow"], "v1", "v2")}
    count = cost.pool_difference("page_pool03_slow")
    text = (
        f"The kernel's own loop: {both[XEON].base:.1f} to {both[XEON].form:.1f} cycles on an {XEON} "
        f"({np.median(kernel):+.2f} ns, from {kernel.min():+.2f} to {kernel.max():+.2f} in {len(kernel)} runs), "
        f"{both[EPYC].base:.1f} to {both[EPYC].form:.1f} on an {EPYC} ({both[EPYC].percent:+.1f} %); kernel "
        "instructions "
        f"{count.base.estimate:.0f} to {count.form.estimate:.0f} ({count.percent[0]:+.1f} %). Claimed: -1.7 % of "
        "the time"
    )
    if ((kernel <= -1) & (kernel >= -2)).all():
        return "true", text + "."
    if (kernel > 0).all() and count.instructions[0] > 0:
        return "false", text + "."
    # Another machine's nanoseconds can be neither confirmed nor refuted by these.
    return "not decidable here", text + (
        ". So: a little less work, and on the processor whose frequency is known not 1 ns; the virtual machine of the "
        "claim is out of reach."
    )


def _better_job() -> Found:
    usual = ("svc-small-rpc", "btrfs-full-64", "btrfs-null-16", "xfs-4", "erofs-16-to-256", "virtio-256")
    found = {name: _fill(name) for name in usual}
    verdicts = {name: difference.verdict(EFFECT) for name, difference in found.items()}
    better = [_of(name, found[name]) for name in usual if verdicts[name] == "faster"]
    worse = [_of(name, found[name]) for name in usual if verdicts[name] == "slower"]
    text = f"Kernel instructions of a fill fall in {', '.join(better) or 'none'}; "
    text += f"they rise in {', '.join(worse) or 'none'}."
    if rest := [name for name in usual if verdicts[name] in ("same", "undecided")]:
        text += f" No difference of 1 % is certain in {', '.join(rest)}."
    if better and worse:
        return (
            SOME,
            text + " So: true of callers whose arrays start NULL, false of those that must compact pages first.",
        )
    return ("true" if better else "false"), text


def _all_null() -> Found:
    machine, array = _array("PP....")
    held = list(array)[:2]
    machine.alloc_pages_bulk(GFP_KERNEL, array, api="v2")
    lost = sum(array[i] != pfn for i, pfn in enumerate(held))
    text = (
        "erofs passes the pages that it has in front of NULL slots. Given the whole array, the patched call "
        f"overwrites {lost} "
        "of 2 pages. The patch passes the rest of the array instead, so erofs as patched is right."
    )
    return ("false" if lost else "true"), text


@cache
def _diffstat() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(files("bulkpages").joinpath("data/diffstat.json").read_text()))


def _lines() -> Found:
    found = _diffstat()
    total = found["total"]
    each = ", ".join(f"{path.rsplit('/', 1)[1]} +{f['added']} -{f['removed']}" for path, f in found["files"].items())
    text = f"Recounted from the diff: +{total['added']} -{total['removed']} ({each})."
    return ("true" if (total["added"], total["removed"]) == (52, 51) else "false"), text


def _complexity() -> Found:
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


def _layout() -> Found:
    got = {}
    for picture in ("P**P*P", "P*PP**"):
        machine, array = _array(picture)
        with machine.faults(pages=2):
            got[picture] = machine.alloc_pages_bulk(GFP_KERNEL, array, api="v1")
    text = "With two pages to be had, mainline returns " + " and ".join(f"{ret} on {p}" for p, ret in got.items()) + "."
    return ("true" if len(set(got.values())) > 1 else "false"), text


def _full_is_failed() -> Found:
    machine, array = _array("PPPP")
    rest = machine.alloc_pages_bulk(GFP_KERNEL, array, 0, api="v2")
    full_v1 = machine.alloc_pages_bulk(GFP_KERNEL, array, api="v1")
    machine, array = _array("****")
    with machine.faults(pages=0):
        failed = machine.alloc_pages_bulk(GFP_KERNEL, array, api="v2")
    text = (
        f"Patched, the call returns {rest} for the rest of a full array and {failed} when no page can be had; mainline "
        f"returns {full_v1} "
        "on a full array of 4."
    )
    return ("true" if rest == failed == 0 else "false"), text


def _returns_four() -> Found:
    ret = {}
    for api in ("v1", "v2"):
        machine = Machine("64MiB")
        rest = PageArray(2)
        ret[api] = machine.alloc_pages_bulk(GFP_KERNEL, rest, api=api)
    text = (
        f"Two of four slots are filled, the second call is given the other two: patched it returns {ret['v2']}, and "
        f"mainline on the same slots {ret['v1']}."
    )
    return ("true" if ret["v2"] == 4 else "false"), text


def _uninitialised() -> Found:
    got = {}
    for api in ("v1", "v2"):
        machine = Machine("64MiB")
        array = PageArray([0xDEAD] * 4)
        ret = machine.alloc_pages_bulk(GFP_KERNEL, array, api=api)
        got[api] = (ret, sum(pfn == 0xDEAD for pfn in array))
    text = (
        f"An array with stale slots: mainline returns {got['v1'][0]} and leaves {got['v1'][1]} of 4 slots stale; "
        "patched, "
        f"the call returns {got['v2'][0]} and leaves {got['v2'][1]}."
    )
    return ("true" if got["v1"] == (4, 4) and got["v2"][1] == 0 else "false"), text


def _encoded_read() -> Found:
    _, text = _uninitialised()
    return "not decidable here", "Whether that caller's array is uninitialised is outside the allocator. " + text


def _kmem_cache() -> Found:
    machine, array = _array("********")
    with machine.faults(pages=3):
        ret = machine.alloc_pages_bulk(GFP_KERNEL, array, api="v2")
    text = f"With three pages to be had, patched returns {ret} of 8 and keeps them; that function gives all or none."
    return ("false" if 0 < ret < 8 else "true"), text


def _page_owner() -> Found:
    machine = Machine("64MiB", page_owner=True)
    ret = machine.alloc_pages_bulk(GFP_KERNEL, PageArray(64), api="v1")
    count = {
        form: _core.count_fill(machine, "svc_alloc_arg", form, "." * RPC, 1)["slot_tests"]
        for form in ("before", "after")
    }
    text = (
        f"A call for 64 pages returns {ret}. Filling {RPC} slots this way takes {count['before']} slot tests on "
        f"mainline and {count['after']} patched."
    )
    return ("true" if ret == 1 else "false"), text


def _walk() -> Found:
    shape = hole_shape("small RPC", RPC)
    before, tracked = (_tests("svc_alloc_arg", form, shape)["slot_tests"] for form in ("before", "tracked"))
    found = _fill("svc-small-rpc", "tracked")
    verdict: Verdict = "true" if found.verdict(EFFECT) == "faster" else "false"
    return verdict, (
        f"Small RPC, {RPC} slots with one hole: {before} slot tests, {tracked} when the caller remembers its "
        "holes. Kernel "
        f"instructions: {_of('remembering against walking', found)}."
    )


def _defragmenting() -> Found:
    found = {name: _fill(name) for name in ("svc-small-rpc", "btrfs-full-64", "btrfs-null-16")}
    slower = [name for name, difference in found.items() if difference.verdict(EFFECT) == "slower"]
    text = f"Kernel instructions of a fill: {'; '.join(_of(name, difference) for name, difference in found.items())}."
    return ("false" if not slower else "true" if len(slower) == len(found) else SOME), text


def _erofs() -> Found:
    found = _fill("erofs-16-to-256")
    (cycles,) = kernel_cycles(all_cells()["erofs-16-to-256"], "before", "after")
    return "not decidable here", (
        f"Kernel instructions of a buffer that grows from 16 to 256 pages: {_of('', found).strip()}; its cycles on an "
        f"{cycles.processor}: {cycles.base:,.0f} to {cycles.form:,.0f}. That is once for each buffer; what a mount "
        "takes "
        "is outside the allocator."
    )


def _irqs() -> Found:
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
        f"{RPC} slots, every eighth a hole: {inside['before']} slot tests under the per-CPU lock on mainline, "
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
        "The value that the mainline call returns depends on where the holes are.", _layout,
    ),
    Claim(
        "erofs-mount", "2025-03-10", "thread of patch v2",
        "For erofs the change is worth 1 to 2 ns of a mount.", _erofs,
    ),
    Claim(
        "page-owner", "2025-04", "commit e6e07b696da5",
        "With page owner, every bulk call returns one page.", _page_owner,
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
        "An array that was not cleared first goes wrong on mainline, silently.", _uninitialised,
        "<20260527071816.GA17632@lst.de>",
    ),
)  # fmt: skip


def judge(only: Collection[str] = ()) -> list[dict[str, Any]]:
    """Runs the experiments; none reads a clock, output is the same on every machine.

    Args:
        only: Names of claims; all of them if empty.

    Returns:
        A dict for each claim with name, date, source, message_id, sentence, verdict, found, reproduce.
    """
    ledger = []
    for claim in CLAIMS:
        if only and claim.name not in only:
            continue
        verdict, found = claim.experiment()
        row = {key: value for key, value in asdict(claim).items() if key != "experiment"}
        ledger.append(row | {"verdict": verdict, "found": found, "reproduce": f"bulkpages claims --only {claim.name}"})
    return ledger
