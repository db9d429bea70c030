"""A trace that the emulator wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bulkpages.formats.trace.chrome import perfetto
from bulkpages.formats.trace.events import TraceEvent, events_of
from bulkpages.tables import Table, Tabular

__all__ = ["TraceText"]

_HEAD = """\
# tracer: nop
#
# entries-in-buffer/entries-written: {entries}/{entries}   #P:{cpus}
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""


@dataclass(frozen=True, repr=False)
class TraceText(Tabular):
    """A trace as ftrace prints it.

    Attributes:
        lines: The lines without the file's header; each ends with a newline.
        cpus: CPUs of the machine.
    """

    lines: str
    cpus: int

    def ftrace(self) -> str:
        """The text of a `trace` file, including its header."""
        return _HEAD.format(entries=self.lines.count("\n"), cpus=self.cpus) + self.lines

    def events(self) -> Iterator[TraceEvent]:
        """The events, in order."""
        return events_of([self.lines.encode()])

    def to_table(self) -> Table:
        """A row for each event: `time` (microseconds), `cpu`, `name`, and every field, None where absent."""
        head = ("time", "cpu", "task", "pid", "name")
        rows = [{**{name: getattr(e, name) for name in head}, **e.fields} for e in self.events()]
        return Table.from_rows(rows, title="trace")

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __repr__(self) -> str:
        return f"<TraceText {self.lines.count(chr(10))} lines, {self.cpus} CPUs>"

    def perfetto(self) -> dict[str, Any]:
        """The trace for Perfetto and chrome://tracing: one track per CPU, and counters of free-list traffic."""
        return perfetto(self.events())
