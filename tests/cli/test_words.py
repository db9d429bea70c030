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
    assert "Did you mean 'failures'?" in run("callers", "failurs").stderr
    assert "Did you mean 'identify'?" in run("eras", "identfy", "x").stderr
    assert "Did you mean 'rows'?" in run("cost", "rwos").stderr
    assert "Did you mean 'build'?" in run("kernel", "biuld").stderr
    assert "Did you mean 'core'?" in run("bench", "cor").stderr


def test_the_failures_of_callers_have_their_earlier_name_too() -> None:
    assert run("callers", "sweep", "--largest", "0").stderr.endswith(
        run("callers", "failures", "--largest", "0").stderr[-60:]
    )
    assert "sweep" not in run("callers", "--help").stdout.partition("Commands:")[2]


@pytest.mark.parametrize("words", [["trace", "x"], ["stress"], ["replay", "--sample"], ["bench", "core"]])
def test_a_command_without_machines_says_why_it_takes_no_kernel(words: list[str]) -> None:
    done = run(*words, "--kernel", "7.3")
    assert done.exit_code == 2
    assert "makes no machine of a kernel's series" in done.stderr


def test_the_error_for_an_unknown_kernel_lists_the_known_ones() -> None:
    for words in (["compare"], ["show"], ["why", "x"], ["callers", "audit"]):
        done = run(*words, "--kernel", "5.4")
        assert done.exit_code == 2
        assert all(era in done.stderr for era in ("6.1", "6.12", "7.3")), words


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
    assert "btrfs_alloc_page_array" in completed("callers", "failures", "--only", "")
    assert "svc_alloc_arg/before" in completed("explore", "--handler", "svc")
    assert completed("stress", "--mix", "re") == {"remote-free"}
    assert completed("replay", "--what-if", "p") == {"pcp=off"}
    assert "pool-1-2-ns" in completed("claims", "--only", "pool")
    assert "null-64" in completed("compare", "--only", "null")
    assert {"6.1", "6.12"} <= completed("compare", "--kernel", "6")
    assert completed("show", "--kernel", "7") == {"7.3"}
    assert completed("eras", "pcp") == {"pcp_high_tuned"}
    assert completed("eras", "fingerprint", "7") == {"7.3="}
    assert completed("callers", "run", "svc", "--flag", "nof") == {"nofail"}
    assert completed("why", "--gfp", "GFP_KERNEL|__GFP_NOF") == {"GFP_KERNEL|__GFP_NOFAIL"}
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
