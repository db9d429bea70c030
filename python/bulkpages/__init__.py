"""Linux's page allocator, emulated page for page, with both versions of `alloc_pages_bulk()` side by side."""

import importlib as _importlib
import warnings as _warnings
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from bulkpages import callers
from bulkpages import gfp as _gfp
from bulkpages._core import DEBUG_BUILD as _DEBUG_BUILD
from bulkpages._core import PageArray, __version__
from bulkpages.errors import ApiMisuse, AuditError, BulkpagesError, InvalidArgument, KernelError, SnapshotError
from bulkpages.gfp import *  # noqa: F403
from bulkpages.interrupts import Exploration, explore
from bulkpages.machine import Audit, Machine, PerCpuPages, Reclaim, Zone
from bulkpages.threads import Run, stress

if _TYPE_CHECKING:
    from bulkpages import sweep

__all__ = [
    "ApiMisuse",
    "Audit",
    "AuditError",
    "BulkpagesError",
    "Exploration",
    "InvalidArgument",
    "KernelError",
    "Machine",
    "PageArray",
    "PerCpuPages",
    "Reclaim",
    "Run",
    "SnapshotError",
    "Zone",
    "__version__",
    "callers",
    "explore",
    "stress",
    "sweep",
]
__all__ += _gfp.__all__

if _DEBUG_BUILD:
    _warnings.warn("bulkpages was built without optimisation: do not measure with it", RuntimeWarning, stacklevel=2)


def __getattr__(name: str) -> _Any:
    # Sweeps need NumPy and more; who does not ask for them does not wait for it.
    if name == "sweep":
        return _importlib.import_module("bulkpages.sweep")
    raise AttributeError(f"module 'bulkpages' has no attribute {name!r}")
