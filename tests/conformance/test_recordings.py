"""Recordings of a real kernel, replayed through the Python face."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main
from bulkpages.conform import conform, first_difference
from bulkpages.formats.recording import read_recording

FOLDER = Path(__file__).parent / "recordings"
RECORDINGS = sorted(FOLDER.glob("*.jsonl.gz"))
OTHER_ERAS = sorted(FOLDER.glob("*/*.jsonl.gz"))
RESULTS = ("ret", "events", "zones", "pages", "kswapd")


def test_all_recordings_are_here() -> None:
    assert len(RECORDINGS) == 28
    assert [path.parent.name for path in OTHER_ERAS] == ["6.1"] * 10 + ["7.3"] * 10


def _name(path: Path) -> str:
    return str(path.relative_to(FOLDER)).removesuffix(".jsonl.gz")


@pytest.mark.parametrize("path", RECORDINGS + OTHER_ERAS, ids=_name)
def test_replay_returns_what_the_kernel_did(path: Path) -> None:
    recording = read_recording(path)
    machine = bp.Machine.from_snapshot(path)
    assert first_difference(recording.before, machine.snapshot()) is None
    results = machine.replay(recording.operations)
    for i, (operation, got) in enumerate(zip(recording.operations, results, strict=True)):
        expected = {name: operation[name] for name in RESULTS if name in operation}
        assert got == expected, f"operation {i}: {operation['op']}"
    machine.audit()
    after = machine.snapshot()
    for mine, theirs in zip(after["zones"], recording.after["zones"], strict=True):
        mine["movable"] = theirs["movable"]
    assert first_difference(recording.after, after) is None
    json.dumps(results)


def test_replay_in_pieces_is_replay_at_once(first: Path) -> None:
    operations = read_recording(first).operations
    whole, pieces = bp.Machine.from_snapshot(first), bp.Machine.from_snapshot(first)
    expected = whole.replay(operations)
    assert [pieces.replay([operation])[0] for operation in operations] == expected
    assert pieces.snapshot() == whole.snapshot()


def test_real_atomics_change_nothing(first: Path) -> None:
    operations = read_recording(first).operations
    machine = bp.Machine.from_snapshot(first, threads=True)
    assert machine.replay(operations) == bp.Machine.from_snapshot(first).replay(operations)


def _rewrite(source: Path, target: Path, line: int, change: Any) -> Path:
    lines = gzip.decompress(source.read_bytes()).decode().splitlines()
    document = json.loads(lines[line])
    change(document)
    lines[line] = json.dumps(document)
    target.write_text("\n".join(lines) + "\n")
    return target


def _other_page(operation: dict[str, Any]) -> None:
    operation["pages"][3][1] += 1


def _other_return_value(operation: dict[str, Any]) -> None:
    operation["ret"] += 1


def _other_event(operation: dict[str, Any]) -> None:
    operation["events"]["pgalloc_dma32"] += 1


def _other_zone_field(operation: dict[str, Any]) -> None:
    operation["zones"]["0.1"][4] += 1


@pytest.mark.parametrize("change", [_other_page, _other_return_value, _other_event, _other_zone_field])
def test_conform_finds_a_changed_result_and_draws_it(first: Path, tmp_path: Path, change: Any) -> None:
    path = _rewrite(first, tmp_path / "changed.jsonl", 2, change)
    verdict = conform(path)
    assert not verdict.ok
    assert verdict.difference is not None
    assert verdict.difference.operation == 0
    result = CliRunner().invoke(main, ["conform", str(path)])
    assert result.exit_code == 1
    assert "operation 0: bulk_v1(cpu=1, gfp=0x100cca" in result.stdout
    assert "expected" in result.stdout
    assert "zone 0.1 DMA32 before the operation" in result.stdout


def test_conform_finds_a_changed_end_state(first: Path, tmp_path: Path) -> None:
    lines = gzip.decompress(first.read_bytes()).decode().splitlines()

    def swap(document: dict[str, Any]) -> None:
        blocks = document["after"]["zones"][1]["free"]["10"]["1"]
        blocks[0], blocks[1] = blocks[1], blocks[0]

    path = _rewrite(first, tmp_path / "changed.jsonl", len(lines) - 2, swap)
    verdict = conform(path)
    assert verdict.operations[0] == verdict.operations[1]
    assert verdict.difference is not None
    assert "zones[1].free.10.1[0]" in verdict.difference.what


def test_conform_says_100_percent(recordings: list[Path]) -> None:
    chosen = [str(path) for path in recordings if path.name.startswith(("first", "uma-256m-order0"))]
    result = CliRunner().invoke(main, ["conform", *chosen])
    assert result.exit_code == 0
    assert "100 % of 1560 operations" in result.stdout
    result = CliRunner().invoke(main, ["conform", "--json", *chosen])
    document = json.loads(result.stdout)
    assert document["ok"]
    assert document["operations"] == {"match": 1560, "recorded": 1560}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("absent.jsonl", None, "No such file"),
        ("empty.jsonl", b"", "not a recording"),
        ("binary.jsonl.gz", b"\x1f\x8b\x08broken", "broken gzip"),
        ("noise.jsonl", b"\xff\xfe\x00", "not UTF-8"),
        ("text.jsonl", b"hello\n", "line 1"),
        ("list.jsonl", b"[1]\n", "an object is needed, not list"),
        ("header.jsonl", b'{"case": "x"}\n{"before": {}}\n{"op": "alloc"}\n', "truncated"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, data: bytes | None, words: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    verdict = conform(path)
    assert verdict.error is not None
    assert words in verdict.error
    assert str(path) in verdict.error
    assert CliRunner().invoke(main, ["conform", str(path)]).exit_code == 1
    with pytest.raises(bp.SnapshotError, match=name.split(".")[0]):
        bp.Machine.from_snapshot(path)


def test_conform_takes_folders_and_tells_recordings_of_one_name_apart(first: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / first.name).write_bytes(first.read_bytes())
    (tmp_path / "b" / "notes.txt").write_text("no recording")
    result = CliRunner().invoke(main, ["conform", str(tmp_path)])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["a/first-60-ops", "b/first-60-ops", "2"]
    (tmp_path / "empty").mkdir()
    assert CliRunner().invoke(main, ["conform", str(tmp_path / "empty")]).exit_code == 2


def test_conform_without_files_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["conform"]).exit_code == 2
