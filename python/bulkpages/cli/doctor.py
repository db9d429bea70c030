"""`bulkpages doctor`."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from bulkpages.cli.output import put_json
from bulkpages.kernel.tools import missing
from bulkpages.machine import Machine
from bulkpages.processes import processors
from bulkpages.provenance import provenance

# Spread of a trial above which a comparison needs more time than usual.
NOISY = 0.05
BUSY = 0.5


@dataclass(frozen=True)
class Item:
    """Something that decides what can be measured.

    Attributes:
        name: What it is.
        value: What was found.
        state: "good"; "note": measurements are possible, with this in mind; "bad": do not measure.
        means: What follows from it.
        fix: How to change it; empty where nothing needs to be.
    """

    name: str
    value: str
    state: str
    means: str
    fix: str = ""


def _noise(machine: Machine) -> float:
    """Relative spread (interquartile range over median) of one small trial, repeated."""
    import numpy as np

    from bulkpages import _core

    samples = []
    for _ in range(60):
        pages, alloc, _total = _core.trial_bulk(machine, "v1", 64, 0, 400)
        samples.append(alloc / pages)
    low, median, high = np.percentile(samples[10:], [25, 50, 75])
    return float((high - low) / median)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def counts_instructions() -> str | None:
    """Why the kernel would not count instructions of this process for us; None when it does."""
    number = {"x86_64": 298, "aarch64": 241}.get(platform.machine())
    if number is None:
        return f"not known for {platform.machine()}"
    # struct perf_event_attr, version 0: type hardware, size 64, config instructions; disabled, without kernel and
    # hypervisor.
    attr = struct.pack("=IIQ", 0, 64, 1) + bytes(24) + struct.pack("=Q", 1 | 1 << 5 | 1 << 6) + bytes(16)
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.syscall(number, attr, 0, -1, -1, 0)
    if handle >= 0:
        os.close(handle)
        return None
    error = ctypes.get_errno()
    if error in (errno.EACCES, errno.EPERM):
        return f"not allowed, kernel.perf_event_paranoid is {_read('/proc/sys/kernel/perf_event_paranoid')}"
    if error in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
        return "this processor, or the virtual machine, has no counters"
    return os.strerror(error)


def _boost() -> str | None:
    """Whether it is "on" or "off", where the kernel says so."""
    if (value := _read("/sys/devices/system/cpu/intel_pstate/no_turbo")) is not None:
        return "off" if value == "1" else "on"
    if (value := _read("/sys/devices/system/cpu/cpufreq/boost")) is not None:
        return "on" if value == "1" else "off"
    return None


def _machine_items(found: Mapping[str, Any]) -> list[Item]:
    """Processor, kernel and what stands around them."""
    usable = len(processors())
    items = [
        Item(
            "processors",
            f"{usable} of {found['cpus']}: {found['cpu']}",
            "good" if usable > 1 else "note",
            "compare measures in one process on each, sweep counts on all",
            ""
            if usable > 1
            else "with only one, anything else that runs disturbs it; allow a second one (taskset, cgroup)",
        )
    ]
    governor = found["governor"]
    items.append(
        Item(
            "governor",
            governor or "not visible",
            "good" if governor == "performance" else "note",
            {
                "performance": "the frequency is fixed",
                None: "it is unknown whether the frequency changes; the time stamp counter has a constant rate",
            }.get(governor, "the frequency follows the load: short trials start slowly, in all forms alike"),
            "" if governor in ("performance", None) else "cpupower frequency-set -g performance",
        )
    )
    boost = _boost()
    items.append(
        Item(
            "boost",
            boost or "not visible",
            "good" if boost == "off" else "note",
            {
                "off": "the frequency does not depend on temperature",
                "on": "the frequency depends on temperature and on what other cores do",
                None: "it is unknown whether the frequency depends on temperature",
            }[boost],
            "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo (or 0 > .../cpufreq/boost)"
            if boost == "on"
            else "",
        )
    )
    threads = _read("/sys/devices/system/cpu/smt/active")
    items.append(
        Item(
            "SMT",
            {"1": "on", "0": "off"}.get(threads or "", "not visible"),
            "note" if threads == "1" else "good",
            "two threads share a core and slow each other down" if threads == "1" else "no two threads share a core",
            "echo off > /sys/devices/system/cpu/smt/control" if threads == "1" else "",
        )
    )
    weak = [name for name, text in found["mitigations"].items() if not text.startswith("Not affected")]
    items.append(
        Item(
            "mitigations",
            ", ".join(weak) or "none needed",
            "good",
            "they slow down the kernel, but hardly the emulator, which makes no system calls",
        )
    )
    virtual = found["virtual_machine"]
    items.append(
        Item(
            "virtual machine",
            "yes" if virtual else "no",
            "note" if virtual else "good",
            "the host may preempt the processor at any time; medians over many processes bear it, single runs do not"
            if virtual
            else "no host can preempt the processor",
            "for differences below 1 %, measure on bare metal" if virtual else "",
        )
    )
    load = found["load"][0]
    busy = load > BUSY * usable
    items.append(
        Item(
            "load",
            f"{load:.2f}",
            "note" if busy else "good",
            "other work is running: intervals get wider" if busy else "hardly anything else is running",
            "wait until the machine is idle" if busy else "",
        )
    )
    return items


def _items(found: Mapping[str, Any]) -> list[Item]:
    debug = found["profile"] == "debug"
    items = [
        Item(
            "build",
            f"bulkpages {found['bulkpages']}, {found['profile']}, {found['rustc']}, python {found['python']}",
            "bad" if debug else "good",
            "built without optimisation: counts are right, times are meaningless"
            if debug
            else "built with optimisation",
            "pip install . (not maturin develop without --release)" if debug else "",
        ),
        Item(
            "clock",
            f"{'time stamp counter' if found['counts_cycles'] else 'nanoseconds'}, {found['ns_per_count']:.4f} ns each",
            "good" if found["counts_cycles"] else "note",
            "costs are counted in it; a trial takes some 100,000 counts"
            if found["counts_cycles"]
            else "this processor's counter is not read; nanoseconds are coarser",
        ),
        *_machine_items(found),
    ]
    why = found["perf_events"]
    items.append(
        Item(
            "perf events",
            why or "yes",
            "note" if why else "good",
            "perf cannot count instructions here; valgrind can" if why else "perf can count instructions",
            "sysctl kernel.perf_event_paranoid=2" if why and why.startswith("not allowed") else "",
        )
    )
    valgrind = found["valgrind"]
    items.append(
        Item(
            "valgrind",
            "found" if valgrind else "not found",
            "good" if valgrind else "note",
            f"compare --instructions {'counts' if valgrind else 'would count'} instructions, which no noise disturbs",
            "" if valgrind else "install it from the distribution, for instance apt install valgrind",
        )
    )
    lacking = found["kernel_tools"]
    items.append(
        Item(
            "kernel",
            f"not found: {', '.join(lacking)}" if lacking else "all tools found",
            "note" if lacking else "good",
            "`bulkpages kernel` and `review` need them to build and run a kernel"
            if lacking
            else "`bulkpages kernel build` can build one, and qemu run it",
            f"apt install {' '.join(dict.fromkeys(lacking.values()))}" if lacking else "",
        )
    )
    noisy = found["noise"] > NOISY
    items.append(
        Item(
            "noise",
            f"{found['noise']:.2%}",
            "note" if noisy else "good",
            f"spread of short trials (interquartile range over median); above {NOISY:.0%} "
            "comparisons need more time, and A/A alarms may prevent verdicts",
            "see load, governor and virtual machine" if noisy else "",
        )
    )
    extras = found["extras"]
    not_there = [name for name, there in extras.items() if not there]
    items.append(
        Item(
            "extras",
            ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in extras.items()),
            "good",
            "arrow converts tables, parquet writes files, dask runs sweeps on a cluster, drgn reads running machines",
            f"pip install 'bulkpages[{','.join(not_there)}]'" if not_there else "",
        )
    )
    return items


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    r"""Check what can be measured with this installation on this machine.

    Prints for each check what was found, what follows and how to change it. Takes a second, most of it for the noise of
    a small trial. Exit 1 if nothing should be measured (a debug build).

    \b
    bulkpages doctor
    bulkpages doctor --json | jq '.checks[] | select(.state != "good")'
    """
    found = provenance()
    found["noise"] = _noise(Machine("256MiB", cpus=1))
    found["perf_events"] = counts_instructions()
    found["kernel_tools"] = {tool.name: tool.package for tool in missing("build", "run")}
    modules = {"arrow": "arro3", "dask": "distributed", "drgn": "drgn", "parquet": "pyarrow"}
    found["extras"] = {extra: find_spec(module) is not None for extra, module in modules.items()}
    items = _items(found)
    if as_json:
        put_json({**found, "checks": [asdict(item) for item in items]})
    else:
        _print(items)
    if any(item.state == "bad" for item in items):
        raise SystemExit(1)


def _print(items: list[Item]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    colours = {"good": "green", "note": "yellow", "bad": "red"}
    for item in items:
        line = Text.assemble((f"{item.state:5}", colours[item.state]), f"{item.name:16} {item.value}")
        console.print(line)
        console.print(f"{'':22}{item.means}", markup=False)
        if item.fix:
            console.print(f"{'':22}to change it: {item.fix}", markup=False)
