"""Makes a machine from texts that say how many blocks are free, but not where they are.

`Told` is what is known about a zone, from whichever text. `state_of` makes the snapshot of a machine with such zones.
"""

from __future__ import annotations

from bulkpages.formats.state.told import Told, state_of

__all__ = ["Told", "state_of"]
