"""Small pictures for notebooks: inline SVG and plain tables without scripts, readable on light and dark pages.

Everything is drawn in the colour of the page's text. Text from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import log2
from typing import TYPE_CHECKING, Any

from bulkpages._core import PageArray
from bulkpages.kinds import counted

if TYPE_CHECKING:
    from bulkpages.callers.page_pool import PagePool
    from bulkpages.callers.result import CallerResult
    from bulkpages.machine import Machine, Zone

__all__ = ["array", "machine", "picture", "pool", "result", "rows", "zone"]

#: Slots of an array that are drawn, and in one line.
MAX_SLOTS, PER_LINE = 1024, 64
#: Migratetypes that have lists, by number.
TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")
CELL, GAP = 9, 2
_FONT = 'font-family="monospace" font-size="10" fill="currentColor"'
_MARKS = {
    "x": ("page", "pages"),
    ">": ("page that moved here", "pages that moved here"),
    "o": ("new page", "new pages"),
    ".": ("hole", "holes"),
}


def picture(slots: Iterable[int], before: Sequence[int] | None = None) -> str:
    """An array as text: `x` is a page, `.` a hole. With `before`, also `>` moved here and `o` new.

    Args:
        slots: Frame numbers, 0 for NULL.
        before: The earlier content of the slots. If None, every page is `x`.

    Example:
        >>> from bulkpages.draw import picture
        >>> picture([7, 0, 9, 5], before=[7, 9, 0, 0])
        'x.>o'
    """
    if before is None:
        return "".join("x" if page else "." for page in slots)
    known = {page for page in before if page}
    marks = []
    for i, page in enumerate(slots):
        if not page:
            marks.append(".")
        elif page not in known:
            marks.append("o")
        else:
            marks.append("x" if i < len(before) and before[i] == page else ">")
    return "".join(marks)


def _svg(width: float, height: float, parts: Iterable[str], label: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return f"{head}{size}>{''.join(parts)}</svg>"


def _cells(marks: str, titles: Sequence[str]) -> str:
    """Slots as shapes: a square is a page, a triangle one that moved, a disc a new one, a frame a hole."""
    parts = []
    for i, (mark, title) in enumerate(zip(marks, titles, strict=True)):
        x, y = 1 + i % PER_LINE * (CELL + GAP), 1 + i // PER_LINE * (CELL + GAP)
        square = f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}"'
        shape = {
            "x": f'{square} fill="currentColor" fill-opacity="0.8"',
            ">": f'<polygon points="{x},{y} {x + CELL},{y + CELL / 2} {x},{y + CELL}" fill="currentColor"',
            "o": f'<circle cx="{x + CELL / 2}" cy="{y + CELL / 2}" r="{CELL / 2}" fill="currentColor"',
            ".": f'{square} fill="none" pointer-events="all" stroke="currentColor" stroke-opacity="0.5"',
        }[mark]
        end = {">": "</polygon>", "o": "</circle>"}.get(mark, "</rect>")
        parts.append(f"{shape}><title>{escape(title)}</title>{end}")
    columns, lines = min(len(marks), PER_LINE), -(-len(marks) // PER_LINE)
    return _svg(columns * (CELL + GAP) + 2, lines * (CELL + GAP) + 2, parts, f"array {marks[:PER_LINE]}")


def array(slots: PageArray, before: Sequence[int] | None = None) -> str:
    """An array as HTML: a square for each slot, filled if it holds a page.

    Args:
        slots: The array. Only the beginning of a long one is drawn.
        before: As for `picture`.
    """
    shown = slots[:MAX_SLOTS]
    marks = picture(shown, before)
    titles = [f"slot {i}: " + (f"pfn {page}" if page else "NULL") for i, page in enumerate(shown)]
    kinds = ", ".join(counted(marks.count(m), *_MARKS[m]) for m in "x>o" if m in marks)
    pages = sum(page != 0 for page in slots)
    said = kinds if before is not None else counted(pages, "page")
    more = f"; the first {MAX_SLOTS} are drawn" if len(slots) > MAX_SLOTS else ""
    text = f"PageArray: {counted(len(slots), 'slot')}, {said or 'no page'}{more}"
    drawn = _cells(marks, titles) if marks else ""
    return f"<div><div><code>{escape(text)}</code></div>{drawn}</div>"


def rows(head: Sequence[str], body: Sequence[Sequence[object]], title: str = "", of: int | None = None) -> str:
    """A table as HTML, with numbers aligned right.

    Args:
        head: Headings.
        body: Rows. Floats are shortened; None is an empty cell.
        title: Caption.
        of: Total number of rows, if `body` has only the first ones.
    """

    def cell(value: object, tag: str = "td") -> str:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        return f'<{tag} style="text-align:{"right" if number else "left"}">{escape(text)}</{tag}>'

    caption = title + (f" (the first {len(body)} of {of} rows)" if of is not None and of > len(body) else "")
    top = f"<caption>{escape(caption)}</caption>" if caption else ""
    heads = "".join(cell(name, "th") for name in head)
    lines = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in body)
    return f"<table>{top}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _free_lists(free: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    """Bars of free blocks by order (across) and type (down); heights are logarithmic."""
    counts = {(int(o), int(t)): len(blocks) for o, types in free.items() for t, blocks in types.items()}
    if not counts:
        return "<div><code>no free block</code></div>"
    types = sorted({t for _, t in counts})
    left, width, height = 78, 34, 26
    top = log2(1 + max(counts.values()))
    parts = [f'<text x="{left + o * width}" y="10" {_FONT}>{o}</text>' for o in range(11)]
    parts.append(f'<text x="0" y="10" {_FONT}>order</text>')
    for line, t in enumerate(types):
        base = 14 + (line + 1) * (height + 12) - 12
        parts.append(f'<text x="0" y="{base}" {_FONT}>{TYPES[t] if t < len(TYPES) else t}</text>')
        for order in range(11):
            n = counts.get((order, t), 0)
            if not n:
                continue
            x, tall = left + order * width, max(2.0, height * log2(1 + n) / top)
            kind = TYPES[t] if t < len(TYPES) else t
            said = f"{counted(n, 'block')} of order {order}, {kind}: {counted(n << order, 'page')}"
            bar = f'<rect x="{x}" y="{base - tall:.1f}" width="{width - 12}" height="{tall:.1f}" fill="currentColor"'
            parts.append(f'{bar} fill-opacity="0.6"><title>{said}</title></rect>')
            parts.append(f'<text x="{x}" y="{base + 9}" {_FONT}>{n}</text>')
    return _svg(left + 11 * width, 14 + len(types) * (height + 12), parts, "free blocks by order and type")


def _pcp_lists(pcp: Mapping[str, Mapping[str, Any]]) -> str:
    """A bar for each CPU: pages on its lists, of the limit in force."""
    length, parts = 160, []
    widest = max([1, *(max(p["count"], p["high"]) for p in pcp.values())])
    for line, (cpu, p) in enumerate(pcp.items()):
        y = line * 16
        parts.append(f'<text x="0" y="{y + 11}" {_FONT}>cpu {escape(str(cpu))}</text>')
        box = f'<rect x="50" y="{y + 2}" height="10" fill="currentColor"'
        limit, filled = length * p["high"] / widest, length * p["count"] / widest
        parts.append(f'{box} width="{limit:.1f}" fill-opacity="0.12"/>')
        parts.append(f'{box} width="{filled:.1f}" fill-opacity="0.6"/>')
        said = f"{p['count']} of {p['high']}, batch {p['batch']}"
        parts.append(f'<text x="{55 + length}" y="{y + 11}" {_FONT}>{said}</text>')
    return _svg(55 + length + 170, 16 * len(pcp) + 2, parts, "pages on per-CPU lists")


def _zone(z: Mapping[str, Any]) -> str:
    free = sum(len(blocks) << int(o) for o, types in z["free"].items() for blocks in types.values())
    text = f"node {z['nid']}, zone {z['name']}: {z['managed']} pages managed, {free} free; "
    text += f"min {z['min']}, low {z['low']}, high {z['high']}" + (f", boost {z['boost']}" if z["boost"] else "")
    return f"<div><div><code>{escape(text)}</code></div>{_free_lists(z['free'])}<br/>{_pcp_lists(z['pcp'])}</div>"


def zone(of: Zone) -> str:
    """A zone as HTML: marks, free blocks by order and type, pages on each CPU's lists."""
    return _zone(of._state())


def machine(of: Machine) -> str:
    """A machine as HTML: each of its zones."""
    head = f"Machine: {counted(of.cpus, 'CPU')}, {counted(of.nodes, 'node')}" + (", real atomics" if of.threads else "")
    return f"<div><code>{head}</code>{''.join(_zone(z) for z in of.snapshot()['zones'])}</div>"


def result(of: CallerResult) -> str:
    """The result of a caller as HTML: the array and the counts."""
    facts = {"returned": "nothing: it kept waiting" if of.ret is None else of.ret}
    facts["bulk calls (slots, returned)"] = ", ".join(str(tuple(call)) for call in of.bulk_calls) or "none"
    facts |= {"waits": of.waits, "pages freed": of.freed, "slot tests": of.slot_tests}
    facts |= {"slot writes": of.slot_writes, "slots cleared": of.slot_clears, **of.stats}
    return f"<div>{array(of.array)}{rows(['', ''], [[k, v] for k, v in facts.items()])}</div>"


def pool(of: PagePool) -> str:
    """A page_pool as HTML: its cache and its counters."""
    cache = PageArray([*of.cache, *([0] * max(0, 128 - len(of.cache)))])
    facts: dict[str, object] = {"form": of.form, "in flight": of.inflight, "held": of.hold_cnt}
    facts |= {"released": of.release_cnt, "bulk calls": len(of.bulk_calls), **of.stats}
    return f"<div>{array(cache)}{rows(['', ''], [[k, v] for k, v in facts.items()])}</div>"
