"""Reports of the kernel log in the shapes of many kernels, written for these tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kernels import Zone


@dataclass(frozen=True)
class LogShape:
    """How a kernel and its log print a report.

    Attributes:
        request: The line that names the request.
        numa: Whether lines begin with "Node N".
        fields: What a zone's line has beside "free", the marks and the sizes, in front of "present".
        managed: Whether the kernel prints "managed".
        letters: Whether blocks have letters.
        cma: Whether the kernel prints "free_cma".
        pcp: "counts" for free_pcp and local_pcp, "lists" for each CPU's line, "" for none.
        release: What the line about the task ends with.
        torn: Whether pieces of a line are lines of their own.
        prefix: What the log puts before the line of a number.
    """

    request: str
    numa: bool = True
    fields: Sequence[str] = ("active_anon:0kB", "inactive_anon:0kB")
    boost: bool = False
    managed: bool = True
    letters: bool = True
    cma: bool = True
    pcp: str = "counts"
    release: str = ""
    torn: bool = False
    prefix: Callable[[int], str] = field(default=lambda number: f"[  {number / 10 + 100:.6f}] ")


#: What the letters of free blocks stand for.
LETTER = {"Unmovable": "U", "Movable": "M", "Reclaimable": "E", "HighAtomic": "H", "CMA": "C", "Isolate": "I"}


def _letters(types: Mapping[str, Sequence[int]], order: int) -> str:
    return "".join(LETTER[name] for name in LETTER if types.get(name, [0] * 11)[order])


def _zone(zone: Zone, shape: LogShape, values: Mapping[str, int]) -> str:
    low, mid, high = (4 * mark for mark in zone.marks)
    boost = "boost:0kB " if shape.boost else ""
    parts = [f"{zone.name} free:{4 * zone.nr_free}kB {boost}min:{low}kB low:{mid}kB high:{high}kB", *shape.fields]
    parts.append(f"present:{4 * zone.pages}kB")
    parts += [f"managed:{4 * zone.pages}kB"] if shape.managed else []
    parts.append("mlocked:0kB")
    parts += ["free_pcp:8kB local_pcp:4kB"] if shape.pcp == "counts" else []
    parts += [f"free_cma:{4 * values.get('free_cma', 0)}kB"] if shape.cma else []
    return " ".join(parts)


def report(zones: Sequence[Zone], shape: LogShape, values: Mapping[str, int] | None = None) -> str:
    """A report as the kernel log has it; `values` are counters of the last zone, in pages."""
    lines = [
        shape.request,
        f"CPU: 1 PID: 77 Comm: worker Not tainted {shape.release}".rstrip(),
        "Call Trace:",
        " dump_stack+0x63/0x81",
        "Mem-Info:",
    ]

    def node(zone: Zone) -> str:
        return f"Node {zone.nid} " if shape.numa else ""

    if shape.pcp == "lists":
        for zone in zones:
            lines += [f"{node(zone)}{zone.name} per-cpu:"]
            lines += [f"CPU{cpu:5}: hi:  186, btch:  31 usd: {3 + cpu:3}" for cpu in (0, 1)]
    lines.append("active_anon:100 inactive_anon:5 isolated_anon:0")
    lines.append(f" free:{sum(z.nr_free for z in zones)} free_pcp:2 free_cma:0")
    lines += ["Node 0 active_anon:400kB all_unreclaimable? no"] if shape.numa else []
    for i, zone in enumerate(zones):
        lines.append(node(zone) + _zone(zone, shape, (values or {}) if i == len(zones) - 1 else {}))
        words = [str(pages) for pages in zone.protection]
        lines += ["lowmem_reserve[]:", *words] if shape.torn else [f"lowmem_reserve[]: {' '.join(words)}"]
    for zone in zones:
        words = []
        for order, count in enumerate(zone.counts):
            words.append(f"{count}*{4 << order}kB")
            if count and shape.letters:
                words.append(f"({_letters(zone.types or {'Movable': zone.counts}, order)})")
        words.append(f"= {4 * sum(n << i for i, n in enumerate(zone.counts))}kB")
        head = f"{node(zone)}{zone.name}:"
        lines += [head, *words] if shape.torn else [f"{head} {' '.join(words)}"]
    lines += ["Node 0 hugepages_total=0 hugepages_free=0 hugepages_size=2048kB"] if shape.numa else []
    lines += ["1234 total pagecache pages", "0 pages in swap cache", "262044 pages RAM"]
    return "".join(f"{shape.prefix(i)}{line}\n" for i, line in enumerate(lines))
