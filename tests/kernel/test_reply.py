"""What a review says, by what was found."""

from dataclasses import replace
from pathlib import Path

import pytest

from bulkpages.conform import Difference
from bulkpages.kernel.bench import Bench, Row
from bulkpages.kernel.build import Kernel
from bulkpages.kernel.check import Check
from bulkpages.kernel.patches import read_patches
from bulkpages.kernel.reply import reply, write_review
from bulkpages.kernel.review import Review
from bulkpages.kernel.semantics import Witness
from bulkpages.suite.trunk.stats import Comparison, NullRuns

MAIL = Path(__file__).parent / "patches" / "slower.mbox"
BEFORE = Kernel(Path("before"), "6.12.117", "/sources", (), "null_only", {}, True, "", "1", "gcc 12")
AFTER = replace(BEFORE, folder=Path("after"), patches=("a patch",))
SAME = Comparison(1.001, 0.995, 1.007, 100.0, 100.1, "same", 0.002, 12)
SLOWER = Comparison(1.05, 1.03, 1.07, 100.0, 105.0, "slower", 0.006, 12)
QUIET = NullRuns(2, [], [], True, 0.01, 0.02)
EXACT = Check(BEFORE, 3, 3000, 90000, 60.0)


def found(
    instructions: tuple[float, float] = (60.0, 60.0), comparison: Comparison = SAME, nulls: NullRuns = QUIET
) -> Review:
    rows = [
        Row("null-64", "page", (100.0, 100.0), instructions, comparison, ("", "")),
        Row("xfs-4", "fill", (None, None), (None, None), None, ("no such function", "no such function")),
    ]
    patches = tuple(read_patches(MAIL.read_bytes(), "mail"))
    bench = Bench((BEFORE, AFTER), rows, nulls, 12)
    return Review(patches, ("mm/page_alloc.c",), BEFORE, AFTER, bench, (EXACT, replace(EXACT, kernel=AFTER)))


def test_nothing_to_remark() -> None:
    review = found()
    assert (review.status, review.behaviour) == ("pass", "same")
    assert review.verdict == (
        "the same instructions in all 2 workloads; no difference in cycles found; the same pages are handed out"
    )


def test_a_few_instructions_more_are_a_remark_even_where_cycles_show_nothing() -> None:
    review = found((60.0, 63.0))
    assert review.status == "warn"
    assert "more instructions in 1 and fewer in 0 of 2 workloads" in review.verdict


def test_fewer_instructions_are_none() -> None:
    assert found((63.0, 60.0)).status == "pass"


def test_slower() -> None:
    assert "slower in 1, faster in 0 (cycles)" in found((60.0, 63.0), SLOWER).verdict


def test_other_cycles_of_the_same_instructions_are_not_a_remark(tmp_path: Path) -> None:
    assert found((60.0, 60.1), SAME).placed == []
    review = found((60.0, 60.1), SLOWER)
    assert review.cycles("slower") == []
    assert "cycles differ in 1 with the same instructions" in review.verdict
    text, page = (path.read_text() for path in write_review(review, tmp_path)[:2])
    assert "slower* (+3.0..+7.0 %)" in text
    assert "slower*" in page
    assert "* Same instructions:" in text
    assert "*" not in reply(found((60.0, 63.0), SLOWER)).split("Native cycles")[1]


def test_a_noisy_machine_takes_the_verdicts_away() -> None:
    noisy = found((63.0, 60.0), SLOWER, replace(QUIET, alarms=["null-64 in Linux 6.12.117"], silent=False))
    assert noisy.status == "pass"
    assert "too noisy" in reply(noisy)


def test_other_pages_are_handed_out() -> None:
    picture = [
        "  operation 3: alloc(cpu=0)",
        "",
        "    expected  17",
        "    got       18",
        "              ^^",
        "  " + "a" * 90,
    ]
    differs = replace(
        EXACT, kernel=AFTER, difference=Difference(3, "pages", picture), remaining=2, recording=Path("d.gz")
    )
    review = replace(found(), checks=(EXACT, differs))
    assert (review.behaviour, review.status) == ("differs", "warn")
    text = reply(review)
    assert "  operation 3: alloc(cpu=0)\n  patched   17\n  model       18\n  aaa" in text
    assert "(2 operations)" in text
    assert max(map(len, text.splitlines())) <= 75


def test_an_emulator_that_was_wrong_before_blames_nobody() -> None:
    differs = replace(EXACT, difference=Difference(3, "pages", []), remaining=2)
    assert replace(found(), checks=(differs, differs)).behaviour == "not asked"


def test_the_api_means_something_else() -> None:
    review = replace(found(), witness=Witness("alloc_pages_bulk(2)", "returns 2", "returns 2, a page is lost"))
    assert review.behaviour == "differs"
    assert "after:  returns 2, a page is lost" in reply(review)


def test_what_nobody_compiled_is_named(tmp_path: Path) -> None:
    review = replace(found(), after=replace(AFTER, not_built=("drivers/gpu/drm/a.c", "fs/nfsd/b.c")))
    assert "not tried: drivers/gpu/drm/a.c,\nfs/nfsd/b.c." in reply(review)
    assert "not tried" not in reply(found())
    assert "not tried: drivers/gpu/drm/a.c, fs/nfsd/b.c." in write_review(review, tmp_path)[1].read_text()


@pytest.mark.parametrize("review", [found(), found((60.0, 63.0), SLOWER), Review(found().patches, ())])
def test_files(review: Review, tmp_path: Path) -> None:
    paths = write_review(review, tmp_path / "review")
    assert [path.name for path in paths] == ["reply.txt", "report.html", "review.json"]
    text = paths[0].read_text()
    assert max(map(len, text.splitlines())) <= 75
    assert "> [PATCH] mm: page_alloc: check the lists' counts in the batch loop" in text
    assert "mm/page_alloc.c" in paths[1].read_text()
