"""Runs one form of one workload, for an instruction counter.

Called as `python -m bulkpages.suite.experiments.one FILLER FORM SHAPE N`. FILLER may be `page_pool`; SHAPE is then the
name of a loop, and FORM v1 or v2.
"""

from __future__ import annotations

import sys

from bulkpages import _core
from bulkpages.machine import Machine

if __name__ == "__main__":
    filler, form, shape, iterations = sys.argv[1:]
    machine = Machine("256MiB")
    if filler == "page_pool":
        _core.trial_page_pool(machine, form, shape, int(iterations))
    else:
        _core.trial_fill(machine, filler, form, shape, int(iterations))
