"""Why a request fails: the tests that it goes through, with their numbers, and changes that were tried."""

from __future__ import annotations

from bulkpages.why.explanation import Explanation, explain
from bulkpages.why.figures import Attempt, Gate, Test
from bulkpages.why.remedies import Remedy

__all__ = ["Attempt", "Explanation", "Gate", "Remedy", "Test", "explain"]
