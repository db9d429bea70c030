"""The column "may use" of ARCHITECTURE.md holds for crates and Python packages, and no imports go in a circle."""

import ast
import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "bulkpages"
FACE, CORE = "the face", "_core"
ROWS = [
    [cell.strip() for cell in line.strip("| \n").split(" | ")]
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    if re.match(r"\| `(rust|python)/", line)
]
ALLOWED = {place.strip("`"): may for place, _, may in ROWS}


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST) -> Iterator[str]:
    """Names that a file imports when it is loaded or when its functions run; those for type checkers are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.stmt) and is_for_types(node)):
            yield from imports(node)


def home(name: str) -> str | None:
    """The module that an imported name stands in; None for another package."""
    if name.split(".")[0] != "bulkpages":
        return None
    if name.startswith("bulkpages._core"):
        return "bulkpages._core"
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def used(module: str) -> set[str]:
    found = {home(name) for name in imports(ast.parse(MODULES[module].read_text()))}
    return {name for name in found if name and name != module}


def room(module: str) -> str:
    """The package of a module below `bulkpages`, as the table names it."""
    if module == "bulkpages._core":
        return CORE
    path = MODULES[module]
    folder = path.parent.relative_to(PACKAGE)
    return str(folder) if folder.parts else FACE


def allowed(place: str) -> set[str]:
    may = ALLOWED[place]
    return {*re.findall(r"`([^`]+)`", may), FACE if FACE in may else ""}


def rooms() -> list[str]:
    return sorted({room(module) for module in MODULES} - {FACE})


@pytest.mark.parametrize("name", [FACE, *rooms()])
def test_a_package_uses_what_it_may(name: str) -> None:
    place = "python/bulkpages" + ("" if name == FACE else f"/{name}")
    if place not in ALLOWED:
        place = place.rpartition("/")[0]
    if ALLOWED[place].startswith("everything"):
        pytest.skip("may use everything")
    may = allowed(place) | {name}
    # `python -m bulkpages` is the command line.
    for module in MODULES.keys() - {"bulkpages.__main__"}:
        if room(module) == name:
            beyond = {other for other in used(module) if room(other) not in may}
            assert not beyond, f"{module} uses {', '.join(sorted(beyond))}, and {place} may use {ALLOWED[place]}"


def test_no_imports_go_in_a_circle() -> None:
    try:
        TopologicalSorter({module: used(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("crate", sorted(path.parent.name for path in ROOT.glob("rust/*/Cargo.toml")))
def test_a_crate_uses_what_it_may(crate: str) -> None:
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text())
    ours = {
        name.removeprefix("bulkpages-") for name in manifest.get("dependencies", {}) if name.startswith("bulkpages-")
    }
    assert ours <= set(re.split(r", | of ", ALLOWED[f"rust/{crate}"])), ours


def test_the_test_sees_imports() -> None:
    tree = ast.parse("def f():\n    from bulkpages.suite import run\nif TYPE_CHECKING:\n    import bulkpages.cli\n")
    assert [home(name) for name in imports(tree)] == ["bulkpages.suite.run"]
    assert room("bulkpages.suite.trunk.cells") == "suite/trunk"
    assert room("bulkpages.machine") == FACE
    assert len(MODULES) > 100
    assert len(ALLOWED) > 20
