"""`/proc/zoneinfo`, `buddyinfo`, `vmstat` and `pagetypeinfo`: out of a machine as Linux 6.12 prints them, and in.

What kernels from 3.x on print is read: zones by name, whichever a kernel has, lines by name, whichever they are. Texts
with other orders or pageblocks than the emulator's are refused with the line. How a machine is made of them says
`bulkpages.formats.state.told`.
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
