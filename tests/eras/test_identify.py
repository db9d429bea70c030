"""A tree is told by its functions: small trees written here, and the sources of the distribution where they lie."""

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.eras import ERAS, RULES, Identification, fingerprint, identify
from bulkpages.eras.fingerprints import read_table, shipped_table
from bulkpages.eras.functions import ALLOCATOR, FUNCTIONS
from bulkpages.eras.markers import MARKERS, SETTINGS

# Functions with the kernel's names whose text is ours: just enough to tell two eras apart.
OLD = """\
unsigned long alloc_pages_bulk_noprof(int nr_pages, struct page **page_array)
{
	int nr_populated = 0;

	while (nr_populated < nr_pages && page_array[nr_populated])
		nr_populated++;
	mark = wmark_pages(zone, alloc_flags & ALLOC_WMARK_MASK) + nr_pages;
	take(mark);
	return nr_populated;
}

static struct page *rmqueue(struct zone *zone)
{
	return first(zone); /* whatever is first */
}

static int nr_pcp_free(int batch)
{
	return batch;
}
"""
NEW = OLD.replace("+ nr_pages;", "+ nr_pages - nr_populated;").replace("return batch;", "return 2 * batch;")
MAKEFILE = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 9\nEXTRAVERSION =\n"


def tree(folder: Path, text: str, **files: str) -> Path:
    (folder / "mm").mkdir(parents=True)
    (folder / "mm/page_alloc.c").write_text(text)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "Kbuild").write_text("")
    for name, content in files.items():
        (folder / "mm" / f"{name}.c").write_text(content)
    return folder


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A table in which the texts above are those of two eras."""
    made = fingerprint({"6.12": tree(tmp_path / "old", OLD), "7.3": tree(tmp_path / "new", NEW)})
    (tmp_path / "known.json").write_text(json.dumps(made))
    return tmp_path / "known.json"


def rule(found: Identification, name: str) -> tuple[bool | None, str]:
    return next((one.holds, one.by) for one in found.rules if one.name == name)


GATE = "bulk_mark_excludes_prefix"


def test_a_known_tree_is_identified_by_fingerprints(tmp_path: Path, known: Path) -> None:
    changed = OLD.replace("\t", "        ").replace("/* whatever is first */", "").replace("batch;\n", "batch ;\n\n")
    found = identify(tree(tmp_path / "tree", changed), known=known)
    assert (found.version, found.kernel, found.unknown, found.differences) == ("6.12.9", "6.12", (), {})
    assert rule(found, GATE) == (False, "fingerprint")
    assert {one.name: one.eras for one in found.functions if one.file} == {
        "alloc_pages_bulk_noprof": ("6.12",),
        "rmqueue": ("6.12", "7.3"),
        "nr_pcp_free": ("6.12",),
    }
    assert found.patched is False
    assert identify(tree(tmp_path / "tree2", NEW), known=known).kernel == "7.3"


def test_a_rule_that_was_carried_back_makes_a_mosaic(tmp_path: Path, known: Path) -> None:
    mosaic = OLD.replace("+ nr_pages;", "+ nr_pages - nr_populated;")
    found = identify(tree(tmp_path / "tree", mosaic), known=known)
    assert found.unknown == ()
    assert rule(found, GATE) == (True, "fingerprint")
    machine = bp.Machine("16MiB", kernel=found.kernel, rules=found.differences)
    assert machine.rules[GATE] is True


def test_an_unknown_function_is_shown_where_it_differs(tmp_path: Path, known: Path) -> None:
    text = OLD.replace("+ nr_pages;", "+\n\t\tnr_pages - nr_populated;").replace("\ttake(mark);\n", "")
    text = text.replace("\tint nr_populated = 0;\n", "\tint nr_populated = 0;\n\tint extra;\n")
    found = identify(tree(tmp_path / "tree", text), known=known)
    (one,) = found.unknown
    assert (one.name, one.file, one.line, one.nearest) == ("alloc_pages_bulk_noprof", "mm/page_alloc.c", 1, "7.3")
    assert [(piece.line, piece.lines, piece.missing) for piece in one.pieces] == [
        (4, ("\tint extra;",), 0),
        (9, (), 1),
    ]
    assert 0.8 < one.alike < 1
    assert rule(found, GATE) == (True, "marker")
    told = found.text()
    assert "     4 + \tint extra;" in told
    assert "     9 - 1 statement of 7.3 missing here" in told


def test_what_no_marker_shows_is_not_guessed(tmp_path: Path, known: Path) -> None:
    found = identify(tree(tmp_path / "tree", OLD.replace("+ nr_pages;", "+ nr_pages / 2;")), known=known)
    assert rule(found, GATE) == (None, "nothing")
    assert GATE not in found.differences
    assert f"\n{GATE}  " in found.text()


def test_the_patched_call_is_noticed(tmp_path: Path, known: Path) -> None:
    head, rest = OLD.split("\twhile", 1)
    patched = head + rest.split(";\n", 1)[1].replace("take(mark)", "page_array[nr_populated] = take(mark)")
    assert identify(tree(tmp_path / "tree", patched), known=known).patched is True


def test_a_missing_function_is_listed(tmp_path: Path, known: Path) -> None:
    found = identify(tree(tmp_path / "tree", OLD[: OLD.index("static int nr_pcp_free")]), known=known)
    assert [one.name for one in found.unknown] == ["nr_pcp_free"]
    assert "missing: nr_pcp_free()" in found.text()
    assert "0 unknown, 1 missing" in found.text()


def test_wrappers_and_other_places_do_not_confuse(tmp_path: Path, known: Path) -> None:
    text = "#define __alloc_pages_bulk(...) alloc_hooks(alloc_pages_bulk_noprof(__VA_ARGS__))\n" + OLD
    other = "static struct page *rmqueue(int nothing)\n{\n\treturn 0;\n}\n"
    assert identify(tree(tmp_path / "tree", text, vmscan=other), known=known).unknown == ()


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["eras", *map(str, args)])


def test_the_command_prints_and_exits_by_what_it_found(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old", OLD), tree(tmp_path / "new", NEW)
    table = tmp_path / "table.json"
    done = run("fingerprint", f"6.12={old}", f"7.3={new}", "--output", table)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "take" not in table.read_text()
    assert read_table(table).to_dict() == json.loads(table.read_text())
    same = run("identify", old, "--known", table, "--all")
    assert same.exit_code == 0
    assert 'Machine(memory, kernel="6.12")' in same.stdout
    assert "mm/page_alloc.c:12" in same.stdout
    odd = tree(tmp_path / "odd", OLD.replace("2 * batch", "3 * batch").replace("first(zone)", "last(zone)"))
    found = run("identify", odd, "--known", table, "--json")
    assert found.exit_code == 1
    told = json.loads(found.stdout)
    assert (told["kernel"], told["rules"], told["version"]) == ("6.12", {}, "6.12.9")
    (unknown,) = (one for one in told["functions"] if not one["eras"])
    assert (unknown["name"], unknown["nearest"]) == ("rmqueue", "7.3")
    assert unknown["pieces"][0]["lines"] == ["\treturn last(zone); /* whatever is first */"]


def test_a_tarball_is_read_like_its_folder(tmp_path: Path, known: Path) -> None:
    folder = tree(tmp_path / "linux-9", NEW)
    with tarfile.open(tmp_path / "linux.tar.xz", "w:xz") as tar:
        tar.add(folder, "linux-9")
    found = identify(tmp_path / "linux.tar.xz", known=known)
    assert [one.eras for one in found.functions] == [one.eras for one in identify(folder, known=known).functions]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Things that are no kernel tree."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.txt").write_text("text")
    (tmp_path / "x.tar.xz").write_text("text")
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    (tree(tmp_path / "nameless", OLD) / "Makefile").write_text("all:\n")
    return {name: tmp_path / name for name in ("nothing", "folder", "x.txt", "x.tar.xz", "empty.tar.gz", "nameless")}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "No such file or directory"),
        ("folder", "not a kernel source tree"),
        ("x.txt", "neither a directory nor a tarball"),
        ("x.tar.xz", "cannot be read as a tarball"),
        ("empty.tar.gz", "not a kernel source tree"),
        ("nameless", "names no version"),
    ],
)
def test_a_wrong_tree_is_refused(places: dict[str, Path], name: str, said: str) -> None:
    done = run("identify", places[name])
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert str(places[name]) in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "not a table of fingerprints"),
        ('{"schema": "other/1"}', "'other/1'"),
        ('{"schema": "bulkpages.fingerprints/1"}', "not a table of fingerprints"),
        ('{"schema": "bulkpages.fingerprints/1", "releases": {"9.9": "9.9.1"}, "functions": {}}', "9.9"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "table.json").write_text(content)
    done = run("identify", tree(tmp_path / "tree", OLD), "--known", tmp_path / "table.json")
    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize("args", [["7.3"], ["7.3="], ["5.4=x"], []])
def test_fingerprint_wants_eras_and_trees(args: list[str]) -> None:
    assert run("fingerprint", *args).exit_code == 2


def test_rules_are_printed_without_the_word() -> None:
    assert run().stdout == run("rules").stdout
    assert run("pcp_high_tuned").stdout == run("rules", "pcp_high_tuned").stdout
    assert "Did you mean 'identify'?" in run("identfy", "x").stderr


def test_every_rule_can_be_identified() -> None:
    assert set(RULES) == set(MARKERS) | set(SETTINGS)
    named = {name for function in FUNCTIONS for name in function.names}
    assert len(named) == sum(len(function.names) for function in FUNCTIONS)
    for one in RULES.values():
        for name in one.functions:
            assert name in named or f"{name}_noprof" in named, f"{one.name}: {name}"
    assert {marker.function for marker in MARKERS.values()} <= {function.name for function in ALLOCATOR}


def test_the_shipped_table_has_every_era_and_function() -> None:
    table = shipped_table()
    assert dict(table.releases) == {era.name: era.recorded for era in ERAS.values()}
    assert set(table.forms) == {function.name for function in FUNCTIONS}
    for forms in table.forms.values():
        assert len({form.fingerprint for form in forms}) == len(forms)


@pytest.mark.parametrize("era", ERAS)
def test_the_sources_of_the_distribution_are_their_era(era: str) -> None:
    path = next(Path("/usr/src").glob(f"linux-source-{era}.tar.*"), None)
    if path is None:
        pytest.skip(f"no linux-source-{era} in /usr/src")
    found = identify(path)
    if found.version != shipped_table().releases[era]:
        pytest.skip(f"{path} is {found.version}, not {shipped_table().releases[era]}")
    assert found.kernel == era
    assert found.unknown == ()
    assert found.differences == {}
    usual = ERAS[era].rules
    assert {one.name: one.holds for one in found.rules if one.by != "setting"} == {
        name: holds for name, holds in usual.items() if name not in SETTINGS
    }
    assert {one.by for one in found.rules} == {"fingerprint", "setting"}
