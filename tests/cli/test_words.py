"""What people type: mistyped words, lists for programs, and output that nobody reads to its end."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from bulkpages.cli import main
from bulkpages.cli.groups import meant


def run(*args: str) -> Any:
    return CliRunner().invoke(main, list(args))


@pytest.mark.parametrize(
    ("typed", "word"), [("compae", "compare"), ("swep", "sweep"), ("explor", "explore"), ("trce", "trace")]
)
def test_a_mistyped_command_gets_a_suggestion(typed: str, word: str) -> None:
    result = run(typed)
    assert result.exit_code == 2
    question = result.stderr.partition("Did you mean ")[2]
    assert f"'{word}'" in question


def test_so_does_a_command_of_a_group() -> None:
    assert "Did you mean 'sweep'?" in run("callers", "swep").stderr


def test_a_word_that_is_like_none_gets_none() -> None:
    assert "Did you mean" not in run("zzzzzz").stderr
    assert meant("sho", ["show", "shot"]) == " Did you mean 'show' or 'shot'?"


def completed(*words: str) -> set[str]:
    """What the shell is offered for the last word."""
    complete = ShellComplete(main, {}, "bulkpages", "_BULKPAGES_COMPLETE")
    return {item.value for item in complete.get_completions(list(words[:-1]), words[-1])}


def test_values_are_completed() -> None:
    assert "up:drain" in completed("explore", "up:")
    assert completed("callers", "run", "svc") == {"svc_alloc_arg", "svc_fill_pages"}
    assert completed("callers", "run", "svc", "--form", "before", "--fault", "p") == {"pages", "prepare"}
    assert "btrfs_alloc_page_array" in completed("callers", "sweep", "--only", "")
    assert "svc_alloc_arg/before" in completed("explore", "--handler", "svc")
    assert completed("stress", "--mix", "re") == {"remote-free"}
    assert completed("replay", "--what-if", "p") == {"pcp=off"}
    assert completed("trace", "--to", "") == {"ftrace", "perfetto", "llfree"}


def test_a_list_is_json_too() -> None:
    assert "drain" in json.loads(run("explore", "--list", "--json").stdout)


PIPED = [
    (["explore", "--list"], 0),
    (["explore"], 1),
    (["sweep", "--keys"], 0),
    (["replay", "--sample", "--json"], 0),
]


@pytest.mark.parametrize(("words", "code"), PIPED, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_reader_that_goes_changes_no_exit_code(words: list[str], code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bulkpages", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(100) == code, err
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_every_command_is_a_command() -> None:
    assert all(
        isinstance(main.get_command(click.Context(main), name), click.Command)
        for name in main.list_commands(click.Context(main))
    )
