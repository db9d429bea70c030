"""Costs in kernel instructions: the emulator's count of each step, times the cost of that step in the kernel.

Instruction counts are the same on every machine. They are not time: cache misses and waits for locks are not included.
"""

from bulkpages.cost.answers import Difference, Instructions
from bulkpages.cost.calls import call, call_difference, pool, pool_difference
from bulkpages.cost.emulate import CONDITIONS, FORMS
from bulkpages.cost.fills import fill, fill_difference, of
from bulkpages.cost.model import load_steps
from bulkpages.cost.steps import Step
from bulkpages.cost.table import CostTable, Pair, rows
from bulkpages.cost.windows import LOCKINGS, inside, interrupts_off

__all__ = [
    "CONDITIONS",
    "FORMS",
    "LOCKINGS",
    "STEPS",
    "CostTable",
    "Difference",
    "Instructions",
    "Pair",
    "Step",
    "call",
    "call_difference",
    "fill",
    "fill_difference",
    "inside",
    "interrupts_off",
    "of",
    "pool",
    "pool_difference",
    "rows",
]

#: The steps of the model with their costs, by name.
STEPS = load_steps()
