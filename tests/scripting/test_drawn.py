"""What notebooks show: well-formed, escaped, without scripts, and true."""

import re
from xml.etree import ElementTree

import pytest

import bulkpages as bp
from bulkpages import draw
from bulkpages.tables import Table


def parsed(html: str) -> ElementTree.Element:
    """The picture as a tree: it must be well-formed, and hold nothing that runs or fetches or names a colour."""
    tree = ElementTree.fromstring(html)
    for element in tree.iter():
        name = element.tag.rpartition("}")[2]
        assert name not in {"script", "style", "link", "img", "iframe"}
        assert not any(key.startswith("on") or key.endswith("href") for key in element.attrib)
        for colour in ("fill", "stroke"):
            assert element.get(colour, "none") in {"none", "currentColor"}
    return tree


def shapes(tree: ElementTree.Element) -> list[str]:
    """Forms of the slots, in order."""
    known = {"rect": "square", "polygon": "triangle", "circle": "disc"}
    found = []
    for element in tree.iter():
        name = element.tag.rpartition("}")[2]
        if name in known:
            found.append("frame" if element.get("fill") == "none" else known[name])
    return found


def test_an_array_is_a_shape_for_each_slot() -> None:
    m = bp.Machine("64MiB")
    a = bp.callers.fill_shape(m, "x.x")
    tree = parsed(a._repr_html_())
    assert shapes(tree) == ["square", "frame", "square"]
    titles = [e.text for e in tree.iter() if e.tag.endswith("title")]
    assert titles == [f"slot 0: pfn {a[0]}", "slot 1: NULL", f"slot 2: pfn {a[2]}"]


def test_against_an_earlier_content_moves_and_new_pages_show() -> None:
    before = [11, 0, 13, 0]
    after = bp.PageArray([11, 13, 0, 17])
    assert draw.picture(after, before) == "x>.o"
    assert shapes(parsed(draw.array(after, before))) == ["square", "triangle", "frame", "disc"]


@pytest.mark.parametrize("slots", [0, 1, 64, 65, 5000])
def test_long_arrays_are_cut_and_say_so(slots: int) -> None:
    html = bp.PageArray(slots)._repr_html_()
    assert len(shapes(parsed(html))) == min(slots, draw.MAX_SLOTS)
    assert ("are drawn" in html) == (slots > draw.MAX_SLOTS)
    assert len(html) < 200_000


def test_zones_show_free_lists_by_order_and_type_and_lists_by_cpu() -> None:
    m = bp.Machine("64MiB", cpus=2)
    m.alloc_pages(bp.GFP_KERNEL, cpu=1)
    zone = m.zones[1]
    tree = parsed(zone._repr_html_())
    said = [e.text or "" for e in tree.iter()]
    assert any(f"of order 10, Movable: {11 << 10} pages" in text for text in said)
    assert any("1 block of order 0, Unmovable: 1 page" in text for text in said)
    for cpu in (0, 1):
        lists = zone.pcp(cpu)
        assert f"{lists.count} of {lists.high}, batch {lists.batch}" in said
    total = sum(int(match[1]) for text in said if (match := re.search(r": (\d+) pages?$", text)))
    assert total == zone.free_pages
    parsed(m._repr_html_())


def test_an_empty_zone_is_drawn_too() -> None:
    m = bp.Machine("8MiB", cpus=1)
    while m.alloc_pages(bp.GFP_NOWAIT) is not None:
        pass
    parsed(m._repr_html_())


def test_results_pools_and_tables_are_drawn() -> None:
    m = bp.Machine("64MiB")
    result = bp.callers.svc_alloc_arg(m, bp.PageArray(8), 8, form="before")
    assert "(8, 8)" in result._repr_html_()
    pool = bp.callers.PagePool(m, form="after")
    pool.alloc()
    assert shapes(parsed(pool._repr_html_())).count("square") == len(pool.cache) == 63
    with m.trace() as traces:
        m.alloc_pages(bp.GFP_KERNEL)
    sweep = bp.callers.failure_sweep(["xfs"], largest=2)
    misuse = bp.callers.misuse_score(["xfs"], largest=2)
    run = bp.stress("64MiB", threads=1, ops=50)
    for shown in (result, traces[0], sweep, misuse, run, run.histograms()):
        parsed(shown._repr_html_())
        assert len(repr(shown)) < 3000


def test_texts_from_outside_are_escaped() -> None:
    evil = "<script>alert('&')</script>"
    html = Table({evil: [evil]}, title=evil)._repr_html_()
    assert "<script" not in html
    assert [e.text for e in parsed(html).iter() if e.text] == [evil] * 3
