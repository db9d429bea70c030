"""Where a result comes from: program, machine and circumstances."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from bulkpages import _core

__all__ = ["provenance"]


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _cpuinfo(key: str) -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _mitigations() -> dict[str, str]:
    folder = Path("/sys/devices/system/cpu/vulnerabilities")
    try:
        return {f.name: f.read_text().strip() for f in sorted(folder.iterdir())}
    except OSError:
        return {}


def provenance() -> dict[str, Any]:
    """Version, compiler, build profile, processor, mitigations, governor, virtual machine, load."""
    flags = (_cpuinfo("flags") or "").split()
    return {
        "bulkpages": _core.__version__,
        "commit": _core.COMMIT,
        "rustc": _core.RUSTC,
        "profile": "debug" if _core.DEBUG_BUILD else "release",
        "python": sys.version.split()[0],
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpuinfo("model name") or platform.processor(),
        "cpus": os.cpu_count(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "virtual_machine": "hypervisor" in flags,
        "mitigations": _mitigations(),
        "load": list(os.getloadavg()),
        "counts_cycles": _core.COUNTS_CYCLES,
        "ns_per_count": _core.ns_per_count(),
        "valgrind": shutil.which("valgrind") is not None,
        "perf": shutil.which("perf") is not None,
    }
