"""ARCHITECTURE.md and CONTRIBUTING.md describe the house as it stands."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["ARCHITECTURE.md", "CONTRIBUTING.md"]
# Where a file may lie that is named without its folder.
SOURCES = [*ROOT.glob("rust/*/src"), ROOT / "python" / "bulkpages"]
# What make, tests and tools leave in a clone: the folders that git is told to ignore.
MADE = {line.strip("/\n") for line in (ROOT / ".gitignore").open() if line.endswith("/\n")}


def text(page: str) -> str:
    return (ROOT / page).read_text()


def spans(page: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text(page))


def paths(page: str) -> list[str]:
    """Code spans that look like a file or a folder."""
    found = []
    for span in spans(page):
        if re.fullmatch(r"[\w./*-]+", span) and not span.startswith(("--", "/")):
            file = re.search(r"\.(rs|py|pyi|md|toml|txt|lock|json)$", span)
            if "/" in span or file:
                found.append(span)
    return found


def exists(path: str) -> bool:
    path = path.rstrip("/")
    return any(True for place in (ROOT, *SOURCES) for _ in place.glob(path)) or path in MADE


@pytest.mark.parametrize(("page", "path"), [(page, path) for page in PAGES for path in dict.fromkeys(paths(page))])
def test_what_is_named_exists(page: str, path: str) -> None:
    assert exists(path), f"{page} names {path}"


def test_enough_is_named() -> None:
    assert len(paths("ARCHITECTURE.md")) > 40


def test_a_missing_path_is_noticed() -> None:
    assert exists("bulk/null_only.rs")
    assert exists("rust/*/tests")
    assert exists(".ci/run")
    assert not exists("bulk/all_or_nothing.rs")
    assert not exists("rust/kernel")


def test_every_crate_is_named() -> None:
    crates = [path.parent for path in ROOT.glob("rust/*/Cargo.toml")]
    assert len(crates) == len(list(ROOT.glob("rust/*/")))
    for crate in crates:
        assert f"`rust/{crate.name}`" in text("ARCHITECTURE.md"), crate.name


def test_every_package_is_named() -> None:
    for init in ROOT.glob("python/bulkpages/**/__init__.py"):
        package = init.parent.relative_to(ROOT)
        assert f"`{package}`" in text("ARCHITECTURE.md"), package


def test_every_folder_is_named() -> None:
    """Folders at the top, and one below in those that hold many."""
    folders = [path for path in ROOT.iterdir() if path.is_dir()]
    for parent in ("tests", "benches", "docs"):
        folders += [path for path in (ROOT / parent).iterdir() if path.is_dir()]
    named = text("ARCHITECTURE.md")
    for folder in folders:
        path = str(folder.relative_to(ROOT))
        hidden = path.startswith(".") and path != ".ci"
        if hidden or path in MADE or folder.name in MADE or folder.name == "lib":
            continue
        assert re.search(rf"`{re.escape(path)}[/`]", named), f"{path} is not named"


def test_every_module_of_the_comparison_that_is_named_exists() -> None:
    rows = [line for line in text("ARCHITECTURE.md").splitlines() if line.startswith("| `python/bulkpages/suite")]
    modules = [module for row in rows for module in re.findall(r"`(\w+)`", row.split("|")[2])]
    assert len(modules) > 20
    known = {path.stem for path in (ROOT / "python" / "bulkpages" / "suite").rglob("*.py")}
    assert set(modules) - known == set()


def test_the_suite_has_no_way_up() -> None:
    """Trunk, experiments and output: each may use those before it."""
    rooms = ["trunk", "experiments", "output"]
    for room in rooms:
        for path in (ROOT / "python" / "bulkpages" / "suite" / room).rglob("*.py"):
            used = re.findall(r"bulkpages\.suite\.(\w+)", path.read_text())
            above = {*rooms[rooms.index(room) + 1 :], "run", "face", "between"}
            assert not above & set(used), path


@pytest.mark.parametrize("page", [*PAGES, "README.md"])
def test_every_make_target_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text(page), re.MULTILINE)
    assert set(named) - targets == set()


def test_ci_runs_what_contributing_says() -> None:
    for target in re.findall(r"^make ([a-z]+)", text("CONTRIBUTING.md"), re.MULTILINE):
        assert re.search(rf"^make (?:-j2 )?{target}\b", text(".ci/run"), re.MULTILINE), target


# Needed by nothing that make installs.
UNPINNED = {"parquet"}


def test_every_extra_is_pinned() -> None:
    """Each package that an extra asks for has its version in constraints.txt."""
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]

    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    pinned = {normal(line.partition("==")[0]) for line in text("constraints.txt").split()}
    for extra in set(extras) - UNPINNED:
        for requirement in extras[extra]:
            package = normal(re.split(r"[<>=~! \[]", requirement)[0])
            assert package in pinned | {"bulkpages"}, requirement
