"""Linux's page allocator, emulated page for page, with both versions of `alloc_pages_bulk()` side by side."""

import importlib as _importlib
import warnings as _warnings
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from bulkpages import callers
from bulkpages import gfp as _gfp
from bulkpages._core import DEBUG_BUILD as _DEBUG_BUILD
from bulkpages._core import PageArray, __version__
from bulkpages.errors import (
    ApiMisuse,
    AuditError,
    BulkpagesError,
    InvalidArgument,
    KernelError,
    MissingFile,
    SnapshotError,
)
from bulkpages.gfp import *  # noqa: F403
from bulkpages.interrupts import Exploration, explore
from bulkpages.machine import Audit, Machine, PerCpuPages, Reclaim, Zone
from bulkpages.threads import Run, stress

if _TYPE_CHECKING:
    from bulkpages import draw, eras, sweep, tables, walk
    from bulkpages.suite.face import claims, compare
    from bulkpages.traces import replay

__all__ = [
    "ApiMisuse",
    "Audit",
    "AuditError",
    "BulkpagesError",
    "Exploration",
    "InvalidArgument",
    "KernelError",
    "Machine",
    "MissingFile",
    "PageArray",
    "PerCpuPages",
    "Reclaim",
    "Run",
    "SnapshotError",
    "Zone",
    "__version__",
    "callers",
    "claims",
    "compare",
    "draw",
    "eras",
    "explore",
    "replay",
    "stress",
    "sweep",
    "tables",
    "walk",
]
__all__ += _gfp.__all__

# Modules that need NumPy and more, and what stands in one of them: who does not ask for them does not wait for them.
_LATER = {
    "claims": "suite.face",
    "compare": "suite.face",
    "draw": None,
    "eras": None,
    "replay": "traces",
    "sweep": None,
    "tables": None,
    "walk": None,
}

if _DEBUG_BUILD:
    _warnings.warn("bulkpages was built without optimisation: do not measure with it", RuntimeWarning, stacklevel=2)


def __getattr__(name: str) -> _Any:
    if name not in _LATER:
        raise AttributeError(f"module 'bulkpages' has no attribute {name!r}")
    home = _LATER[name]
    if home is None:
        return _importlib.import_module(f"bulkpages.{name}")
    found = getattr(_importlib.import_module(f"bulkpages.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
