"""Fuzz targets of what Python reads: `proc` (/proc), `report` (the kernel log), `llfree` (LLFree's traces).

`python texts.py proc CORPUS... -max_total_time=600` takes libFuzzer's arguments (Atheris, which is libFuzzer).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

#: Larger machines are legal; an audit of every frame would only be slow.
MOST_FRAMES = 1 << 20


def texts_of(data: bytes) -> dict[str, str]:
    """Texts by name, written as `head zoneinfo buddyinfo` prints several files."""
    texts: dict[str, str] = {}
    for part in data.decode("utf-8", "surrogateescape").split("==> ")[1:]:
        name, _, text = part.partition(" <==\n")
        texts[name] = text
    return texts


def proc(data: bytes) -> None:
    """Texts are refused, or tell of a state; the state is refused, or a machine that stays sound."""
    import bulkpages as bp
    from bulkpages.formats.proc import read_proc

    try:
        state = read_proc(texts_of(data)).snapshot
        if any(zone["start"] + zone["spanned"] > MOST_FRAMES for zone in state["zones"]):
            return
        m = bp.Machine.from_snapshot(state)
    except bp.BulkpagesError:
        return
    array = bp.PageArray(40)
    for cpu in range(min(m.cpus, 4)):
        m.alloc_pages_bulk(bp.GFP_KERNEL, array, api="v2", cpu=cpu)
        m.audit()
        m.free_bulk(array, cpu=cpu)
    m.audit()
    for text in (m.zoneinfo(), m.buddyinfo(), m.pagetypeinfo()):
        assert text


def report(data: bytes) -> None:
    """A report is refused, or tells of a machine that stays sound, and of a request that can be explained."""
    import bulkpages as bp
    from bulkpages.formats.report import read_report

    try:
        # The line break makes it a text, not a path.
        found = read_report(data.decode("utf-8", "surrogateescape") + "\n")
        if sum(zone["spanned"] for zone in found.snapshot["zones"]) > MOST_FRAMES:
            return
        m = bp.Machine.from_snapshot(found.snapshot)
    except bp.BulkpagesError:
        return
    before = m.snapshot()
    asked = found.request
    try:
        explained = m.explain(bp.GFP_KERNEL if asked is None else asked.gfp, 0 if asked is None else asked.order)
    except bp.BulkpagesError:
        return
    assert str(explained)
    assert m.snapshot() == before


def llfree(data: bytes) -> None:
    """A file is refused, or what was read is written and read again."""
    from bulkpages.errors import BulkpagesError
    from bulkpages.formats.llfree import read_llfree, write_llfree

    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    first, second = folder / f"fuzz-{os.getpid()}-in", folder / f"fuzz-{os.getpid()}-out"
    first.write_bytes(data)
    try:
        events = list(read_llfree(first))
    except BulkpagesError:
        return
    write_llfree(second, events, int.from_bytes(data[4:8], "little"))
    assert sorted(read_llfree(second)) == sorted(events)


TARGETS: dict[str, Callable[[bytes], None]] = {"proc": proc, "report": report, "llfree": llfree}


def main() -> None:
    """Fuzzes one target."""
    import atheris

    with atheris.instrument_imports(include=["bulkpages"]):
        import bulkpages.formats.llfree
        import bulkpages.formats.proc
        import bulkpages.formats.report  # noqa: F401
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
