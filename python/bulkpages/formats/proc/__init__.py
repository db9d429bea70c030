"""Writes and reads `/proc/zoneinfo`, `buddyinfo`, `vmstat` and `pagetypeinfo`.

They can be read as kernels from 3.x on print them. Zones and lines are found by name, whichever a kernel has. Texts
whose orders or pageblocks differ from the emulator's are refused, and the error names the line.
`bulkpages.formats.state.told` documents how a machine is made from them.
"""

from __future__ import annotations

from bulkpages.formats.proc.machine import ProcState, read_proc
from bulkpages.formats.proc.read import (
    PageTypes,
    parse_buddyinfo,
    parse_pagetypeinfo,
    parse_vmstat,
    parse_zoneinfo,
)
from bulkpages.formats.proc.write import buddyinfo, pagetypeinfo, vmstat, zoneinfo

__all__ = [
    "PageTypes",
    "ProcState",
    "buddyinfo",
    "pagetypeinfo",
    "parse_buddyinfo",
    "parse_pagetypeinfo",
    "parse_vmstat",
    "parse_zoneinfo",
    "read_proc",
    "vmstat",
    "zoneinfo",
]
