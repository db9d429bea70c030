"""Files are written whole or not at all."""

import ast
import os
from pathlib import Path

import pytest

import bulkpages
from bulkpages import InvalidArgument
from bulkpages.files import save_figure, whole_file, write_whole


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    write_whole(path, "old")
    with whole_file(path) as place:
        assert place.suffix == ".txt"
        place.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    write_whole(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_what_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_whole(path, "old")

    def cut_short() -> None:
        with whole_file(path) as place:
            place.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_short()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_links_modes_and_things_that_are_not_files(tmp_path: Path) -> None:
    path, link = tmp_path / "x", tmp_path / "link"
    write_whole(path, "old")
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, "new")
    assert link.is_symlink()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    write_whole("/dev/null", "gone")
    assert not Path("/dev/null").is_file()
    with pytest.raises(FileExistsError):
        write_whole(path / "y", "z")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_picture_of_an_unknown_kind(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    with pytest.raises(InvalidArgument, match=r"'\.gifx' is not one of .*svg"):
        save_figure(Figure(), tmp_path / "x.gifx")
    save_figure(Figure(), tmp_path / "x.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["x.svg"]


def test_nobody_writes_in_place() -> None:
    """Every file that bulkpages writes goes through one door; scratch files and the journal, which grows, do not."""
    allowed = {("files.py", "write_bytes"), ("cycles.py", "write_text")}
    # What a kernel is started from, and files that `patch` works on: in a folder that is removed.
    allowed |= {("run.py", "write_bytes"), ("patches.py", "write_bytes")}
    found = set()
    root = Path(bulkpages.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                if name in ("write_text", "write_bytes") or (
                    name == "savefig" and path.name not in ("files.py", "plots.py")
                ):
                    found.add((path.name, name))
    assert found == allowed
