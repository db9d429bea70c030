"""Records operations in a real kernel, in the format that `bulkpages conform` reads."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bulkpages.errors import KernelError
from bulkpages.files import write_whole
from bulkpages.kernel.build import Kernel
from bulkpages.kernel.run import run_emulated
from bulkpages.kernel.streams import Operation, Stream

__all__ = ["read_state", "record", "write_recording"]

_KINDS = {"a": "alloc", "F": "free", "f": "free_range", "r": "free_range_reverse", "s": "free_stride",
          "d": "drain_local", "h": "hold_pcp_lock", "u": "release_pcp_lock"}  # fmt: skip
_EVENTS = ("pgalloc_dma", "pgalloc_dma32", "pgalloc_normal", "pgalloc_movable", "pgfree", "allocstall_normal",
           "numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other")  # fmt: skip
_OPERATION = re.compile(
    r"op \d+ (.) cpu=(\d+) gfp=([0-9a-f]+) nid=(-?\d+) n=(\d+) slot=(\d+) ret=(\d+) ev=([-\d,]+)"
    r"((?: z\d+\.\d+=[-\d,a-f]+)*)(?: kswapd=([\d:,]*))?(?: pfns=(.*))?$"
)


def _pairs(words: Iterable[str], separator: str = ":") -> list[list[int]]:
    return [[int(number) for number in word.split(separator)] for word in words]


def read_state(lines: Iterable[str], kernel: Kernel) -> dict[str, Any]:
    """The allocator's state, from the recorder's lines to the schema of recordings.

    Args:
        lines: Of one state.
        kernel: Whose; its rules decide what is in a state.
    """
    state: dict[str, Any] = {"zones": [], "zonelists": {}, "cpu_node": {}}
    if kernel.holds("first_pass_skips_awake_kswapd"):
        state["nodes"] = []
    zone: dict[str, Any] = {}
    for line in lines:
        words = line.split()
        if not words:
            continue
        values = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        match words[0]:
            case "state":
                facts: dict[str, Any] = {k: int(v, 16 if k == "gfp_allowed" else 10) for k, v in values.items()}
                facts |= {name: bool(facts[name]) for name in ("realtime_task", "defrag_mode") if name in facts}
                state["facts"] = kernel.facts | facts
            case "zone":
                zone = {k: v if k == "name" else int(v, 16 if k == "flags" else 10) for k, v in values.items()}
                zone |= {"free": {}, "pcp": {}}
                state["zones"].append(zone)
            case "lowmem_reserve":
                zone["lowmem_reserve"] = [int(word) for word in words[1:]]
            case "blocks":
                zone["pageblocks"] = _pairs(words[1:], "x")
            case "movable":
                zone["movable"] = _pairs(words[1:])
            case "free":
                zone["free"].setdefault(values["o"], {})[values["mt"]] = [int(word) for word in words[3:]]
            case "pcp":
                lists: dict[str, Any] = {k: int(v) for k, v in values.items()} | {"lists": {}}
                zone["pcp"][values["cpu"]] = lists
                del lists["cpu"]
            case "plist":
                zone["pcp"][values["cpu"]]["lists"][values["i"]] = _pairs(words[3:])
            case "zonelist":
                state["zonelists"][values["nid"]] = _pairs(words[2:])
            case "node" if "nodes" in state:
                state["nodes"].append({k: int(v) for k, v in values.items()})
            case "cpu":
                state["cpu_node"][words[1]] = int(words[3])
    return state


def _read_operation(line: str, kernel: Kernel) -> dict[str, Any]:
    found = _OPERATION.match(line)
    if not found:
        raise KernelError(f"the recorder wrote a line that it never writes: {line[:120]!r}")
    kind, gfp, nid, n, slot = found[1], int(found[3], 16), int(found[4]), int(found[5]), int(found[6])
    name = f"bulk_{kernel.form}" if kind == "b" else _KINDS[kind]
    what: dict[str, Any] = {"op": name, "cpu": int(found[2])}
    match kind:
        case "b":
            what |= {"gfp": gfp, "nid": nid, "nr_pages": n, "slot": slot}
        case "a":
            what |= {"gfp": gfp, "nid": nid, "order": n, "slot": slot}
        case "F":
            what |= {"order": n, "slot": slot}
        case "f" | "r":
            what |= {"slot": slot, "nr": n}
        case "s":
            what |= {"slot": slot, "nr": n, "first": nid, "step": gfp}
        case "h" | "u":
            what |= {"node": gfp, "zone": n, "pcp_cpu": nid}
    counts = zip(_EVENTS, found[8].split(","), strict=True)
    zones = {}
    for word in found[9].split():
        where, values = word[1:].split("=")
        *numbers, flags = values.split(",")
        zones[where] = [*(int(number) for number in numbers), int(flags, 16)]
    what |= {"ret": int(found[7]), "events": {k: int(v) for k, v in counts if int(v)}, "zones": zones}
    if kernel.holds("first_pass_skips_awake_kswapd"):
        what["kswapd"] = {str(nid): waiting for nid, waiting in _pairs((found[10] or "").split(","))}
    if pages := _pairs((found[11] or "").split()):
        what["pages"] = pages
    return what


def record(
    kernel: Kernel,
    stream: Stream,
    operations: Sequence[Operation] | None = None,
    *,
    counted: bool = False,
    at_stop: Callable[[Path], None] | None = None,
) -> list[dict[str, Any]]:
    """Executes a stream in a kernel; the lines of the recording.

    Args:
        kernel: With the lists that the emulator knows.
        stream: The machine, and what is done.
        operations: Instead of the stream's own.
        counted: With the counted clock, which makes the start of the kernel the same every time.
        at_stop: Called when the state before is written and every CPU stands still; given the socket of qemu's monitor.

    Raises:
        KernelError: The kernel cannot be recorded, or does not finish.
    """
    if not kernel.records:
        raise KernelError(kernel.why_not)
    done = stream.operations if operations is None else operations
    lines = [f"!set /proc/sys/vm/{name} {value}" for name, value in stream.settings.items()]
    lines += [f"room {8 if stream.shape.megabytes < 200 else 16}", "op S 0 0 0 0 0"]
    lines += ["op W 0 0 0 0 0"] if at_stop else []
    lines += [operation.line for operation in done]
    lines += ["op S 0 0 0 0 0", "run"]
    text = run_emulated(kernel.folder, "\n".join(lines) + "\n", stream.shape, counted=counted, at_stop=at_stop)
    before, _, rest = text.partition("endstate\n")
    middle, mark, after = rest.partition("state zone_count")
    if not mark or "endstate" not in after:
        raise KernelError(f"the recording of seed {stream.seed} broke off after {len(text)} bytes of text")
    recorded = [_read_operation(line, kernel) for line in middle.splitlines() if line]
    if len(recorded) != len(done):
        raise KernelError(f"seed {stream.seed}: {len(recorded)} of {len(done)} operations were recorded")
    header = {
        "case": f"seed-{stream.seed}-{stream.family}",
        "kernel": kernel.version,
        "family": stream.family,
        "mem": f"{stream.shape.megabytes}M",
        "cpus": stream.shape.cpus,
        "nodes": stream.shape.nodes,
        "boot_args": stream.shape.boot,
        "sysctl": stream.settings,
        "patches": list(kernel.patches),
    }
    end = read_state((mark + after.partition("endstate")[0]).splitlines(), kernel)
    return [header, {"before": read_state(before.splitlines(), kernel)}, *recorded, {"after": end}, {"proc": {}}]


def write_recording(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Writes a recording, whole or not at all."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    write_whole(path, gzip.compress(text.encode(), mtime=0))
