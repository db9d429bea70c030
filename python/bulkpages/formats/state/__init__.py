"""A machine from what a text tells: how many blocks are free, not where they are.

`Told` is what is known of a zone, whichever text tells it; `state_of` makes the snapshot of a machine with such zones.
"""

from __future__ import annotations

from bulkpages.formats.state.told import Told, state_of

__all__ = ["Told", "state_of"]
