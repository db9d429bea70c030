"""The exact state of a running machine, read with drgn from a core, a stopped guest of qemu, or the machine itself.

Needs drgn: `pip install 'bulkpages[drgn]'`. `page_lists` walks free areas and per-CPU lists, and needs nothing else of
this package.
"""

from __future__ import annotations

from bulkpages.errors import BulkpagesError

try:
    import drgn as _drgn  # noqa: F401
except ImportError as _error:
    raise BulkpagesError(
        f"drgn is needed, and cannot be imported ({_error}): pip install 'bulkpages[drgn]'"
    ) from _error

from bulkpages.running.programs import open_core, open_guest, open_live, stopped
from bulkpages.running.state import RunningState, read_state

__all__ = ["RunningState", "open_core", "open_guest", "open_live", "read_state", "stopped"]
