"""Replays of real traces: which frames the rules predict, and what the same requests cost with other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from bulkpages.errors import InvalidArgument
from bulkpages.formats.trace import follow
from bulkpages.tables import Table, Tabular
from bulkpages.what_if import ROWS, Setting, Settled, parse_setting, plot, what_if

__all__ = ["SAMPLE_STATES", "SAMPLE_TRACE", "Replay", "Rerun", "replay"]

#: A trace of the kmem events of Linux 6.12 (256 MiB, 2 CPUs), and the allocator's state at its beginning and end.
SAMPLE_TRACE = Path(str(files("bulkpages") / "data/kmem-trace.txt.gz"))
SAMPLE_STATES = Path(str(files("bulkpages") / "data/kmem-states.json.gz"))


def share(part: int, whole: int) -> str:
    """A share that says 100 only when it is."""
    if whole == 0:
        return "none"
    if part == whole:
        return f"{part} of {whole}, 100 %"
    return f"{part} of {whole}, {min(99.99, 100 * part / whole):.2f} %"


@dataclass(frozen=True, repr=False)
class Replay(Tabular):
    """A trace replayed on a state.

    Attributes:
        report: All counts and every miss, under the names of `bulkpages replay --json`.
        state: The machine's state at the end, as `Machine.snapshot` returns it.
    """

    report: dict[str, Any]
    state: dict[str, Any]

    @property
    def allocations(self) -> int:
        """Number of allocation lines with a page."""
        return int(self.report["allocations"])

    @property
    def predicted(self) -> int:
        """Number of these whose frame was predicted."""
        return int(self.report["predicted"])

    def rows(self) -> list[tuple[str, int, int]]:
        """For each kind of line: how many were predicted, of how many."""
        report = self.report
        rows = [
            ("frames of allocations", report["predicted"], report["allocations"]),
            ("  without learning habits", report["predicted_without_learning"], report["allocations"]),
            ("zones, orders and types", report["matched"], report["allocations"]),
            ("frames of refills", report["refilled_predicted"], report["refilled"]),
            ("sizes of refills", report["refill_sizes_predicted"], report["refills"]),
            ("frames of drains", report["drained_predicted"], report["drained"]),
        ]
        if "after" in report:
            after = report["after"]
            rows += [
                ("free blocks where the kernel has them", after["blocks_in_place"], after["blocks"]),
                ("free lists equal in order", after["lists_equal"], after["lists"]),
            ]
        return rows

    def to_table(self) -> Table:
        """A row for each kind of line: `what`, `predicted`, `lines`."""
        rows = [{"what": what.strip(), "predicted": part, "lines": whole} for what, part, whole in self.rows()]
        return Table.from_rows(rows, title="predicted of a real trace")

    def misses(self) -> Table:
        """A row for each allocation whose frame was not predicted: line, frame, expected frame and reason."""
        return Table.from_rows(self.report["misses"], title="frames not predicted")

    def plot(self, path: str | Path) -> None:
        """Plots the shares; the extension of `path` sets the format.

        Raises:
            InvalidArgument: matplotlib does not know the extension.
        """
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        from bulkpages.files import save_figure

        rows = [row for row in self.rows() if row[2]]
        figure, axis = pyplot.subplots(figsize=(8, 0.6 + 0.4 * len(rows)), layout="constrained")
        bars = axis.barh([row[0].strip() for row in rows], [100 * part / whole for _, part, whole in rows])
        axis.bar_label(bars, [share(part, whole) for _, part, whole in rows], label_type="center", color="white")
        axis.set(xlim=(0, 100), xlabel="% predicted")
        axis.invert_yaxis()
        try:
            save_figure(figure, path)
        finally:
            pyplot.close(figure)

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __repr__(self) -> str:
        return f"<Replay {share(self.predicted, self.allocations)} of allocations predicted>"

    def __str__(self) -> str:
        report = self.report
        rows = [(what, share(part, whole)) for what, part, whole in self.rows()]
        hidden = (
            f"{report['hidden_takes']}, {report['hidden_pages']} pages; {report['hidden_predicted']} predicted, "
            f"{report['false_hidden']} wrongly expected"
        )
        rows += [
            ("takes without a line (bulk calls)", hidden),
            ("frees", f"{report['frees']}, {report['frees_of_kernel_pages']} of pages from before"),
            ("failed allocations", str(report["failed"])),
        ]
        lines = ["predicted:", *(f"{name:38} {text}" for name, text in rows)]
        reasons = sorted(report["reasons"].items(), key=lambda r: -r[1])
        lines += [f"  not predicted: {count:6}  {reason}" for reason, count in reasons]
        if report["misses"]:
            miss = report["misses"][0]
            expected = "nothing" if miss["expected"] is None else f"{miss['expected']:#x}"
            lines.append(
                f"first diverged from the kernel at line {miss['line']}: cpu {miss['cpu']}, order {miss['order']}, "
                f"type {miss['migratetype']}: pfn {miss['pfn']:#x}, {expected} predicted: {miss['reason']}"
                + (f" ({miss['pages']} pages)" if miss["pages"] else "")
            )
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Rerun(Tabular):
    """A trace's requests, repeated with other settings.

    Attributes:
        settled: For each setting, what the requests cost.
    """

    settled: tuple[Settled, ...]

    def to_table(self) -> Table:
        """A row for each setting: `setting`, and a column for each cost."""
        return Table.from_rows([{"setting": str(s.setting), **s.costs} for s in self.settled], title="what if")

    def plot(self, path: str | Path) -> None:
        """Plots what differs between the settings.

        Raises:
            InvalidArgument: matplotlib does not know the extension.
        """
        plot(self.settled, path)

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __repr__(self) -> str:
        return f"<Rerun {'; '.join(str(s.setting) for s in self.settled)}>"

    def __str__(self) -> str:
        widths = [max(len(str(s.setting)), 10) for s in self.settled]
        head = "  ".join(f"{s.setting!s:>{w}}" for s, w in zip(self.settled, widths, strict=True))
        lines = [f"{'':32} {head}"]
        for key, name in ROWS:
            row = "  ".join(f"{s.costs[key]:{w}}" for s, w in zip(self.settled, widths, strict=True))
            lines.append(f"{name:32} {row}")
        return "\n".join(lines)


def replay(
    trace: str | Path | None = None,
    states: Mapping[str, Any] | str | Path | None = None,
    *,
    what_if: str | Setting | Sequence[str | Setting] = (),
    marked: bool | None = None,
) -> Replay | Rerun:
    """Replays a real trace on a real state or, with `what_if`, repeats its requests with other settings.

    The frame of each `mm_page_alloc` line is predicted from the state and the preceding lines. Memory use does not grow
    with the length of the trace.

    Args:
        trace: The kmem events as text, from any tool that `bulkpages.formats.trace` lists; may be gzipped. The shipped
            sample if None.
        states: A snapshot, or a mapping or file with one under "before" (and the state at the end under "after"). The
            sample's states if None.
        what_if: Settings, such as "refill=63", "pcp=off" or "api=v2"; one or several.
        marked: Whether the state belongs to the trace's first snapshot line, and the trace ends at the second. If
            False, the state belongs to the beginning of the trace. If None, this depends on whether the trace has such
            lines.

    Returns:
        A `Replay`, or with `what_if` a `Rerun`, whose first setting is the trace's own. Both can be printed, plotted
        and turned into tables.

    Raises:
        InvalidArgument: An unknown setting, or a trace without its state.
        MissingFile: There is no such file.
        NoEvents: No line of the trace is an event of the page allocator.
        TraceError: The trace cannot be read.
        SnapshotError: The state cannot be read or contradicts itself.

    Example:
        >>> import bulkpages as bp
        >>> bp.replay()
        <Replay 7811 of 7833, 99.72 % of allocations predicted>
    """
    if (trace is None) != (states is None):
        raise InvalidArgument("a trace is followed on a state: give both, or neither for the sample that is shipped")
    if trace is None or states is None:
        trace, states = SAMPLE_TRACE, SAMPLE_STATES
    given = [what_if] if isinstance(what_if, (str, Setting)) else list(what_if)
    if given:
        return rerun(trace, states, given, marked=marked)
    found = follow(trace, states, marked=marked)
    plain = follow(trace, states, marked=marked, learn=False).report
    found.report["predicted_without_learning"] = plain["predicted"]
    return Replay(found.report, found.state)


def rerun(
    trace: str | Path,
    states: Mapping[str, Any] | str | Path,
    settings: Sequence[str | Setting],
    *,
    marked: bool | None = None,
) -> Rerun:
    """Makes a trace's requests again, with its own settings and with others; as `replay` with `what_if`."""
    wanted = [one if isinstance(one, Setting) else parse_setting(one) for one in settings]
    return Rerun(tuple(what_if(trace, states, [Setting(), *wanted], marked=marked)))
