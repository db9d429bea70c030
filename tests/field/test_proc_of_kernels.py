"""/proc of many kernels: read right, or refused with the line and the reason; what is not known is said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kernels import ORDERS, Shape, Zone, blocks_of, buddyinfo, pagetypeinfo, zoneinfo

import bulkpages as bp
from bulkpages.formats.proc import ProcState, parse_pagetypeinfo, read_proc

MARKS = (100, 125, 150)
TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")
UNTYPED = "the types of free blocks are unknown: Movable is assumed"
NO_FREE = [0] * ORDERS
PLAIN = Shape()


def zone(name: str, at: int, protection: list[int], pages: int = 8192, **more: object) -> Zone:
    """A zone that is all free."""
    values = {"counts": blocks_of(pages)} | more
    return Zone(name, at, pages, MARKS, protection, **values)  # type: ignore[arg-type]


def state(zones: list[Zone], shape: Shape = PLAIN, **more: str) -> ProcState:
    return read_proc({"zoneinfo": zoneinfo(zones, shape), "buddyinfo": buddyinfo(zones)} | more)


#: What a request leaves: the mark, and pages on the CPU's lists.
LEFT = 100 + 372


def had(found: ProcState, gfp: int) -> list[int]:
    """Pages that single requests took from each zone until one failed."""
    m = bp.Machine.from_snapshot(found.snapshot)
    before = [z.managed for z in m.zones]
    held = []
    while (pfn := m.alloc_pages(gfp)) is not None:
        held.append(pfn)
    m.audit()
    taken = [0] * len(before)
    for pfn in held:
        taken[next(i for i, z in enumerate(m.zones) if z.start <= pfn < z.start + z.spanned)] += 1
    return taken


PC = ("DMA", "DMA32", "Normal", "Movable")
#: Zones with memory, shape, and the reserve of the first zone against Normal's and the highest zone's requests.
KERNELS = {
    "3.2 PC": (
        ["DMA", "DMA32", "Normal"], 4, Shape(managed=False, early_protection=False, tail=("all_unreclaimable: 0",)),
    ),
    "3.10 CentOS 7": (["DMA", "DMA32", "Normal"], 4, Shape(early_protection=False, after=("inactive_ratio:    1",))),
    "4.4 Ubuntu 16.04": (["DMA", "DMA32", "Normal"], 5, Shape(early_protection=False)),
    "4.9 Debian 9": (["DMA", "DMA32", "Normal"], 5, Shape(early_protection=False, node_stats=True)),
    "4.14 Android": (["DMA32", "Normal"], 3, Shape(node_stats=True, every_zone=("DMA32", "Normal", "Movable"))),
    "4.19 Debian 10": (["DMA", "DMA32", "Normal"], 5, Shape(node_stats=True, every_zone=(*PC, "Device"))),
    "5.4 Ubuntu 20.04": (["DMA", "DMA32", "Normal"], 5, Shape(node_stats=True, every_zone=(*PC, "Device"))),
    "5.10 Raspberry Pi": (["DMA", "Normal", "HighMem"], 4, Shape(every_zone=("DMA", "Normal", "HighMem", "Movable"))),
    "5.15 WSL": (["DMA", "DMA32", "Normal"], 4, Shape(boost=True, cma=True, every_zone=PC)),
    "6.1 Debian 12": (["DMA", "DMA32", "Normal"], 5, Shape(boost=True, cma=True, every_zone=(*PC, "Device"))),
    "6.6 Android": (["Normal"], 2, Shape(boost=True, cma=True, every_zone=("Normal", "Movable"))),
    "6.12 Fedora": (["DMA", "DMA32", "Normal"], 5, Shape(boost=True, promo=True, every_zone=(*PC, "Device"))),
    "7.3 Arch": (
        ["DMA", "DMA32", "Normal", "Movable"],
        5,
        Shape(
            boost=True, promo=True, cma=True, pcp_limits=True, node_stats=True, every_zone=(*PC, "Device"),
            after=("reserved_highatomic: 0", "free_highatomic:     0"),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS)
def test_reserves_go_by_the_zones_names(kernel: str) -> None:
    names, width, shape = KERNELS[kernel]
    zones = []
    for i, name in enumerate(names):
        # The reserve of each column is another, so that a column that slips is seen.
        every = shape.every_zone or (("DMA", "DMA32", "Normal", "Movable", "Device")[:width])
        place = every.index(name)
        protection = [1000 * (i + 1) + column if column > place else 0 for column in range(width)]
        zones.append(zone(name, 4096 + 8192 * i, protection))
    found = state(zones, shape)
    m = bp.Machine.from_snapshot(found.snapshot)
    names_by_index = found.snapshot["facts"]["zones"]
    assert [z.managed for z in m.zones] == [8192] * len(names)
    for mine, told in zip(m.zones, zones, strict=True):
        for index, name in enumerate(names_by_index):
            if name:
                assert mine.lowmem_reserve[index] == told.protection[every.index(name)], (mine.name, name)
    expected = 2 if not shape.managed else 1
    assert len(found.notes) == expected, found.notes


def test_a_machine_with_high_memory() -> None:
    zones = [
        zone("DMA", 4096, [0, 800, 3900, 3900], 4096),
        zone("Normal", 8192, [0, 0, 24000, 24000]),
        zone("HighMem", 16384, [0, 0, 0, 0]),
    ]
    found = state(zones)
    dma, normal, high = had(found, bp.GFP_KERNEL)
    assert (8192 - LEFT <= normal <= 8192, high) == (True, 0)
    # DMA keeps 800 pages from requests for Normal.
    assert 4096 - 800 - LEFT <= dma <= 4096 - 800
    # Neither Normal nor DMA has so much that it may be used for high memory.
    dma, normal, high = had(found, bp.GFP_HIGHUSER_MOVABLE)
    assert (8192 - LEFT <= high <= 8192, normal, dma < 200) == (True, 0, True)
    # Pages of users that cannot be moved may be there too; Movable has no memory.
    assert had(found, bp.GFP_HIGHUSER) == [dma, normal, high]


def test_what_is_read_of_high_memory_is_written_again() -> None:
    zones = [
        zone("DMA", 4096, [0, 800, 3900, 3900], 4096),
        zone("Normal", 8192, [0, 0, 24000, 24000]),
        zone("HighMem", 16384, [0, 0, 0, 0]),
    ]
    m = bp.Machine.from_snapshot(state(zones).snapshot)
    assert [z.name for z in m.zones] == ["DMA", "Normal", "HighMem"]
    text = m.zoneinfo()
    for told in zones:
        assert f"protection: ({', '.join(map(str, told.protection))})" in text
    assert [z["name"] for z in m.snapshot()["zones"]] == ["DMA", "Normal", "HighMem"]
    assert read_proc({"zoneinfo": text, "buddyinfo": m.buddyinfo()}).snapshot["facts"] == m.snapshot()["facts"]
    m.alloc_pages(bp.GFP_HIGHUSER)
    assert "pgalloc_high 1\n" in m.vmstat_text()
    assert "pgalloc_dma32" not in m.vmstat_text()


@pytest.mark.parametrize(
    ("build", "gfp", "serves"),
    [
        (("DMA32", "Normal", "Movable"), bp.GFP_KERNEL | bp.__GFP_DMA, "Normal"),
        (("DMA", "Normal", "Movable"), bp.GFP_KERNEL | bp.__GFP_DMA32, "Normal"),
        (("Normal", "Movable"), bp.GFP_KERNEL | bp.__GFP_DMA, "Normal"),
        (("Normal", "HighMem", "Movable"), bp.GFP_HIGHUSER, "HighMem"),
        (("DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"), bp.GFP_HIGHUSER, "HighMem"),
        (("DMA", "Normal", "Movable"), bp.GFP_HIGHUSER, "Normal"),
    ],
)
def test_normal_stands_for_a_zone_that_the_kernel_lacks(build: tuple[str, ...], gfp: int, serves: str) -> None:
    zones = [zone(n, 4096 + 8192 * i, [0] * len(build)) for i, n in enumerate(build) if n not in ("Movable", "Device")]
    m = bp.Machine.from_snapshot(state(zones, Shape(every_zone=build)).snapshot)
    assert m.explain(gfp).got == f"a block from 0.{serves}"


def test_a_kernel_without_dma() -> None:
    zones = [zone("DMA32", 4096, [0, 5000, 5000]), zone("Normal", 12288, [0, 0, 0])]
    found = state(zones, Shape(every_zone=("DMA32", "Normal", "Movable")))
    assert 8192 - LEFT <= had(found, bp.GFP_DMA32)[0] <= 8192
    low, normal = had(found, bp.GFP_HIGHUSER_MOVABLE)
    assert 8192 - LEFT <= normal <= 8192
    assert 3192 - LEFT <= low <= 3192


def test_mixed_blocks_are_not_pageblocks() -> None:
    free = {"Unmovable": NO_FREE, "Movable": blocks_of(4096)}
    zones = [zone("Normal", 4096, [0, 0], 4096, types=free, blocks={"Unmovable": 3, "Movable": 4, "Reclaimable": 1})]
    text = pagetypeinfo(zones, TYPES, {"Normal": [1, 2, 0, 0, 0, 0]})
    told = parse_pagetypeinfo(text).blocks[0, "Normal"]
    assert (told["Unmovable"], told["Movable"], told["Reclaimable"]) == (3, 4, 1)


def test_blocks_of_another_size_are_refused() -> None:
    zones = [zone("Normal", 4096, [0, 0])]
    text = pagetypeinfo(zones, TYPES).replace("order: 9", "order: 10")
    with pytest.raises(bp.SnapshotError, match=r"pagetypeinfo line 1: Page block order is 10; only 9 is modelled"):
        state(zones, pagetypeinfo=text)
    text = pagetypeinfo(zones, TYPES).replace("block:  512", "block:  8192")
    with pytest.raises(bp.SnapshotError, match=r"pagetypeinfo line 2: Pages per block is 8192; only 512"):
        state(zones, pagetypeinfo=text)


@pytest.mark.parametrize("orders", [9, 14])
def test_other_orders_are_refused(orders: int) -> None:
    zones = [zone("Normal", 4096, [0, 0])]
    line = "Node 0, zone   Normal " + "1 " * orders
    with pytest.raises(bp.SnapshotError, match=rf"buddyinfo line 1: {orders} columns.*order {orders - 1}"):
        state(zones, buddyinfo=line)


def test_a_high_atomic_block() -> None:
    high = [0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0]
    movable = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6]
    counts = [a + b for a, b in zip(high, movable, strict=True)]
    types = {"HighAtomic": high, "Movable": movable}
    blocks = {"Unmovable": 2, "Movable": 13, "HighAtomic": 1}
    zones = [zone("Normal", 4096, [0, 0], counts=counts, types=types, blocks=blocks)]
    found = state(zones, pagetypeinfo=pagetypeinfo(zones, TYPES))
    (normal,) = bp.Machine.from_snapshot(found.snapshot).zones
    assert (normal.reserved_highatomic, normal.free_highatomic) == (512, 88)
    # Newer kernels say it in zoneinfo.
    shape = Shape(after=("reserved_highatomic: 512", "free_highatomic:     0"))
    found = state([zone("Normal", 4096, [0, 0], counts=movable)], shape)
    assert bp.Machine.from_snapshot(found.snapshot).zones[0].reserved_highatomic == 512
    assert found.notes == [UNTYPED]


def test_texts_of_two_moments_are_noted_once_with_their_figures() -> None:
    zones = [zone(n, 4096 + 8192 * i, [0, 0, 0, 0], free=1024) for i, n in enumerate(("DMA32", "Normal"))]
    zones[1] = zone("Normal", 12288, [0, 0, 0, 0], counts=[0] * 8 + [1, 0, 0], free=1024)
    types = pagetypeinfo([zone("Normal", 12288, [0, 0, 0, 0], types={"Movable": [0] * 9 + [1, 0]})], TYPES)
    (note,) = state(zones, pagetypeinfo=types).notes
    for figures in (
        "zoneinfo has 1024 free pages, the free blocks of the other texts 256",
        "256 free pages, pagetypeinfo 512",
    ):
        assert figures in note
    assert "different moments or machines" in note


def test_zones_in_one_text_only() -> None:
    zones = [zone("DMA32", 4096, [0, 0, 0, 0]), zone("Normal", 12288, [0, 0, 0, 0])]
    texts = {"zoneinfo": zoneinfo(zones, PLAIN), "buddyinfo": buddyinfo(zones[1:])}
    notes = read_proc(texts).notes
    assert any("zone DMA32 has no line in buddyinfo" in note and "8192 free pages" in note for note in notes)
    texts = {"zoneinfo": zoneinfo(zones[1:], PLAIN), "buddyinfo": buddyinfo(zones)}
    notes = read_proc(texts).notes
    assert any("zone DMA32 is not in zoneinfo" in note and "8192 free pages" in note for note in notes)


def test_pagetypeinfo_instead_of_buddyinfo() -> None:
    half = blocks_of(4096)
    zones = [zone("Normal", 4096, [0, 0], types={"Movable": half, "Unmovable": half})]
    found = read_proc({"zoneinfo": zoneinfo(zones, PLAIN), "pagetypeinfo": pagetypeinfo(zones, TYPES)})
    assert bp.Machine.from_snapshot(found.snapshot).zones[0].free_pages == 8192
    assert len(found.notes) == 1


@pytest.mark.parametrize("capped", [("Unmovable",), ("Unmovable", "Movable")])
def test_the_kernel_stops_counting(capped: tuple[str, ...]) -> None:
    told = {name: [100_000 if name in capped else 7, *[0] * 10] for name in TYPES[:2]}
    counts = [250_000, *[0] * 10]
    zones = [zone("Normal", 4096, [0, 0], 1 << 20, counts=counts, types=told)]
    text = pagetypeinfo(zones, TYPES)
    assert ">100000" in text
    found = state(zones, pagetypeinfo=text)
    free = found.snapshot["zones"][0]["free"]["0"]
    # One capped count follows from the sum; of two, the split is a guess, which is said.
    assert {t: len(frames) for t, frames in free.items()} == (
        {"0": 249_993, "1": 7} if len(capped) == 1 else {"0": 125_000, "1": 125_000}
    )
    assert len([note for note in found.notes if "split evenly" in note]) == len(capped) - 1


def test_the_writer_stops_counting_as_the_kernel_does() -> None:
    counts = [100_000, *[0] * 10]
    zones = [zone("Normal", 4096, [0, 0], 1 << 20, counts=counts)]
    m = bp.Machine.from_snapshot(state(zones).snapshot)
    line = next(line for line in m.pagetypeinfo().splitlines() if "type      Movable" in line)
    assert line.split("Movable")[1].split()[0] == ">100000"
    assert parse_pagetypeinfo(m.pagetypeinfo()).capped[0, "Normal"] == {("Movable", 0)}


def test_free_cma_is_noted() -> None:
    zones = [zone("Normal", 4096, [0, 0])]
    text = zoneinfo(zones, PLAIN).replace("nr_free_cma 0", "nr_free_cma 512")
    found = read_proc({"zoneinfo": text, "buddyinfo": buddyinfo(zones)})
    assert any("512 of its free pages are CMA" in note for note in found.notes)


def test_zero_and_known_counts_are_not_noted() -> None:
    names, width, shape = KERNELS["7.3 Arch"]
    zones = [zone(n, 4096 + 8192 * i, [0] * width, types={"Movable": blocks_of(8192)}) for i, n in enumerate(names)]
    assert state(zones, shape, pagetypeinfo=pagetypeinfo(zones, TYPES)).notes == []


PASTES: dict[str, Callable[[str], str]] = {
    "indented": lambda text: "".join(f"    {line}\n" for line in text.splitlines()),
    "quoted": lambda text: "".join(f"> {line}\n" for line in text.splitlines()),
    "twice quoted": lambda text: "".join(f"> > {line}\n" for line in text.splitlines()),
    "after a prompt": lambda text: f"root@host:~# cat /proc/x\n{text}root@host:~#\n",
    "fenced": lambda text: f"```\n{text}```\n",
    "after a prompt in brackets": lambda text: f"[root@node01 ~]# cat /proc/x\n{text}[root@node01 ~]#\n",
    "by head": lambda text: f"==> /proc/x <==\n{text}\n",
    "of Windows": lambda text: text.replace("\n", "\r\n"),
    "with hard blanks": lambda text: text.replace("   ", " \xa0 "),
}


@pytest.mark.parametrize("paste", PASTES)
def test_pastes(paste: str, tmp_path: Path) -> None:
    zones = [zone("DMA32", 4096, [0, 90, 90, 90]), zone("Normal", 12288, [0] * 4, types={"Movable": blocks_of(8192)})]
    texts = {
        "zoneinfo": zoneinfo(zones, PLAIN),
        "buddyinfo": buddyinfo(zones),
        "pagetypeinfo": pagetypeinfo(zones, TYPES),
    }
    pasted = {name: PASTES[paste](text) for name, text in texts.items()}
    assert read_proc(pasted).snapshot == read_proc(texts).snapshot
    # All in one file.
    (tmp_path / "all.txt").write_text("".join(pasted.values()))
    assert read_proc(tmp_path / "all.txt").snapshot == read_proc(texts).snapshot


def test_files_as_grep_and_cat_print_them(tmp_path: Path) -> None:
    zones = [zone("DMA32", 4096, [0, 90, 90, 90]), zone("Normal", 12288, [0] * 4)]
    texts = {"zoneinfo": zoneinfo(zones, PLAIN), "buddyinfo": buddyinfo(zones)}
    of_grep = "".join(f"/proc/{name}:{line}\n" for name, text in texts.items() for line in text.splitlines())
    of_cat = "".join(f"{i:6}\t{line}\n" for i, line in enumerate("".join(texts.values()).splitlines(), 1))
    for text in (of_grep, of_cat):
        (tmp_path / "all.txt").write_text(text)
        assert read_proc(tmp_path / "all.txt").snapshot == read_proc(texts).snapshot


def test_the_file_version_names_the_kernel(tmp_path: Path) -> None:
    zones = [zone("Normal", 4096, [0, 0])]
    for name, text in (("zoneinfo", zoneinfo(zones, PLAIN)), ("buddyinfo", buddyinfo(zones))):
        (tmp_path / name).write_text(text)
    notes: list[str] = []
    assert bp.Machine.from_proc(tmp_path, notes=notes).kernel == "6.12"
    for release, kernel in (("6.1.0-28-amd64", "6.1"), ("7.3.4-arch1-1", "7.3"), ("5.4.0-1-generic", "6.12")):
        (tmp_path / "version").write_text(f"Linux version {release} (builder@host) (gcc 12) #1 SMP\n")
        assert bp.Machine.from_proc(tmp_path, notes=notes).kernel == kernel
        assert bp.Machine.from_proc(tmp_path, notes=notes, kernel="7.3").kernel == "7.3"
    with pytest.raises(bp.InvalidArgument, match=r"'5\.4' is not one of 6\.1, 6\.12, 7\.3"):
        bp.Machine.from_proc(tmp_path, notes=notes, kernel="5.4")


def test_folded_lines() -> None:
    zones = [zone("Normal", 4096, [0, 0])]
    words = buddyinfo(zones).split()
    folded = " ".join(words[:9]) + "\n  " + " ".join(words[9:]) + "\n"
    assert state(zones, buddyinfo=folded).snapshot == state(zones).snapshot


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("zoneinfo", lambda text: text + text, r"zoneinfo line 22: node 0 zone Normal is already in line 1"),
        ("zoneinfo", lambda text: "Dear all,\n" + text, r"zoneinfo line 1: .* remove what precedes it"),
        ("zoneinfo", lambda text: text.replace("low      125", "low      25"), r"min 100 <= low 25"),
        ("zoneinfo", lambda text: text.replace("(0, 0)", "(0, -5)"), r"zoneinfo line 9: '-5' is not a number"),
        ("buddyinfo", lambda text: text.replace("Normal", "DMA") + text[:-30], r"2: \d columns .*: the line is cut"),
        ("buddyinfo", lambda text: text + text, r"buddyinfo line 2: node 0 zone Normal appears twice"),
    ],
)  # fmt: skip
def test_refused_with_the_line(name: str, change: Callable[[str], str], message: str) -> None:
    zones = [zone("Normal", 4096, [0, 0])]
    texts = {"zoneinfo": zoneinfo(zones, PLAIN), "buddyinfo": buddyinfo(zones)}
    with pytest.raises(bp.SnapshotError, match=message):
        read_proc(texts | {name: change(texts[name])})
