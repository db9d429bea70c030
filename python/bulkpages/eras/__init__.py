"""The kernels that a machine can behave like, the rules in which they differ, and identification of kernel trees."""

from __future__ import annotations

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from bulkpages.eras.rules import ERAS, RULES, Era, Rule

if _TYPE_CHECKING:
    from bulkpages.eras.fingerprints import fingerprint
    from bulkpages.eras.identification import FunctionFound, Identification, Piece, RuleFound, identify
    from bulkpages.eras.patched import PatchByKernel, patch

__all__ = [
    "ERAS",
    "RULES",
    "Era",
    "FunctionFound",
    "Identification",
    "PatchByKernel",
    "Piece",
    "Rule",
    "RuleFound",
    "fingerprint",
    "identify",
    "patch",
]

# What reads trees is imported when asked for: every machine looks up its era here.
_LATER = {
    "FunctionFound": "identification",
    "Identification": "identification",
    "PatchByKernel": "patched",
    "Piece": "identification",
    "RuleFound": "identification",
    "fingerprint": "fingerprints",
    "identify": "identification",
    "patch": "patched",
}


def __getattr__(name: str) -> _Any:
    if name not in _LATER:
        raise AttributeError(f"module 'bulkpages.eras' has no attribute {name!r}")
    found = getattr(_importlib.import_module(f"bulkpages.eras.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
