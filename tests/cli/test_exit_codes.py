"""0 done, 1 found or failed, 2 usage, 130 interrupted: every command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bulkpages.cli import COMMANDS, main
from bulkpages.errors import AuditError, BulkpagesError, InvalidArgument
from bulkpages.provenance import provenance

TRACE = Path(__file__).parents[1] / "trace"
FIRST = Path(__file__).parents[1] / "conformance" / "recordings" / "first-60-ops.jsonl.gz"
SPEC = Path(__file__).parents[2] / "examples" / "sweeps" / "return-values.toml"
REPLAY = [str(TRACE / "kmem-trace.txt.gz"), "--snapshot", str(TRACE / "kmem-states.json.gz")]
PATCHES = Path(__file__).parents[1] / "kernel" / "patches"
SMALL = ["--only", "xfs", "--largest", "4", "--threads", "1"]

# What ends well, quickly, and prints JSON when told to.
DONE: dict[str, list[str]] = {
    "bench core": ["--runs", "1"],
    "callers audit": ["--pages", "4"],
    "callers list": [],
    "callers misuse": SMALL,
    "callers run": ["svc", "--form", "after", "--shape", "x.x."],
    "callers failures": [*SMALL, "--pairs-up-to", "0"],
    "callers tables": [],
    "compare": ["--list"],
    "conform": [str(FIRST)],
    "doctor": [],
    "eras patch": ["--kernel", "7.3"],
    "eras rules": [],
    "explore": ["up:drain"],
    "replay": REPLAY,
    "review": [str(PATCHES / "elsewhere.mbox"), "--output", "OUT"],
    "show": ["--memory", "64MiB"],
    "stress": ["--seconds", "0.2", "--memory", "64MiB"],
    "sweep": [str(SPEC), "--output", "OUT"],
    "trace": [str(TRACE / "kmem-trace.txt.gz"), "--output", "OUT/trace.txt"],
    "why": ["--snapshot", str(FIRST), "--gfp", "GFP_KERNEL"],
}
WRONG: dict[str, list[str]] = {
    "bench core": ["--runs", "0"],
    "callers audit": ["--pages", "0"],
    "callers list": ["svc"],
    "callers misuse": ["--only", "nobody"],
    "callers run": ["svc", "--form", "before", "--fault", "luck"],
    "callers failures": ["--largest", "0"],
    "callers tables": ["--all"],
    "claims": ["--only", "nothing"],
    "compare": ["--only", "nothing"],
    "completion": ["tcsh"],
    "conform": [],
    "cost fit": ["now"],
    "cost rows": ["missing.json"],
    "doctor": ["now"],
    "eras fingerprint": ["6.12"],
    "eras identify": ["missing"],
    "eras patch": ["--kernel", "5.4"],
    "eras rules": ["no_such_rule"],
    "explore": ["up:dance"],
    "kernel bench": [],
    "kernel build": ["--jobs", "0"],
    "kernel check": [],
    "replay": ["missing.txt", "--snapshot", "missing.json"],
    "review": ["--rounds", "-1"],
    "show": ["--memory", "much"],
    "snapshot": ["--vmcore", "missing"],
    "stress": ["--mix", "chaos"],
    "sweep": [],
    "trace": ["missing.txt"],
    "why": [],
}


def _leaves(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _leaves(found, f"{name} {inner}".strip())
    else:
        yield name, command


LEAVES = dict(_leaves(main))


def _run(command: str, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [*command.split(), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_every_command_is_tried() -> None:
    assert set(WRONG) == set(LEAVES)
    # claims has its test in tests/compare, trees theirs in tests/eras; a script is no data; a kernel takes minutes.
    elsewhere = {"claims", "completion", "cost fit", "cost rows", "kernel bench", "kernel build", "kernel check"}
    elsewhere |= {"eras fingerprint", "eras identify", "snapshot"}
    assert set(DONE) | elsewhere == set(LEAVES)
    assert sorted(COMMANDS) == main.list_commands(click.Context(main))


@pytest.mark.parametrize("command", DONE)
def test_done_with_json(command: str, tmp_path: Path) -> None:
    arguments = [word.replace("OUT", str(tmp_path)) for word in DONE[command]]
    code, out, err = _run(command, *arguments, "--json")
    assert code == 0, err
    assert json.loads(out)


@pytest.mark.parametrize("command", WRONG)
def test_wrong_usage(command: str) -> None:
    code, out, err = _run(command, *WRONG[command])
    assert code == 2
    assert out == ""
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", LEAVES)
def test_interrupted(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LEAVES[command], "callback", interrupt)
    needed = {
        "callers run": ["svc", "--form", "before"],
        "completion": ["bash"],
        "cost rows": [str(FIRST)],
        "eras fingerprint": ["6.12=."],
        "eras identify": ["."],
        "kernel bench": ["."],
        "kernel check": ["."],
    }
    code, _, err = _run(command, *needed.get(command, DONE.get(command, [])))
    assert code == 130
    assert err == "interrupted\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidArgument("pages 9 is outside 0 to 8"), 2),
        (AuditError("a page is lost"), 1),
        (BulkpagesError("workers died"), 1),
        (OSError(28, "No space left on device", "/some/file"), 1),
    ],
)
def test_what_goes_wrong_is_one_line(error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(LEAVES["doctor"], "callback", fail)
    found, _, err = _run("doctor")
    assert found == code
    words = "/some/file: No space left on device" if isinstance(error, OSError) else str(error)
    assert err.splitlines()[-1] == f"Error: {words}"


def test_found_or_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run("conform", "missing.jsonl")[0] == 1
    assert _run("explore")[0] == 1
    damaged = tmp_path / "t.txt"
    damaged.write_text("  a-1  [000] .....  1.0: mm_page_free: page=0 pfn=zzz order=0\n")
    code, _, err = _run("trace", str(damaged))
    assert (code, "line 1" in err) == (1, True)
    spec = tmp_path / "s.toml"
    spec.write_text('title="t"\n[[cells]]\nwhat="bulk"\napi="v1"\nnr_pages=60000\nholes="none"\nmemory="64MiB"\n')
    code, out, _ = _run("sweep", str(spec), "--output", str(tmp_path / "out"))
    assert (code, "could not be made" in out) == (1, True)
    from bulkpages.cli import doctor

    debug = {**provenance(), "profile": "debug"}
    monkeypatch.setattr(doctor, "provenance", lambda: dict(debug))
    code, out, _ = _run("doctor")
    assert (code, "without optimisation" in out) == (1, True)


LONG = [
    ["bench", "core", "--runs", "1000"],
    ["explore", "up:v2", "--bound", "6", "--limit", "1000000000"],
    ["stress", "--seconds", "600", "--memory", "64MiB"],
    ["sweep", "SPEC", "--output", "OUT", "--workers", "1"],
]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("arguments", LONG, ids=lambda arguments: arguments[0])
def test_ctrl_c(arguments: list[str], tmp_path: Path) -> None:
    """A real signal, in the middle of the work."""
    spec, out = tmp_path / "s.toml", tmp_path / "out"
    spec.write_text(
        'title="t"\nseeds=100000\n[machine]\nused=0.5\nmemory="64MiB"\n[[cells]]\nwhat="bulk"\napi="v1"\nnr_pages=8\n'
    )
    words = [{"SPEC": str(spec), "OUT": str(out)}.get(word, word) for word in arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", "bulkpages", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs tests in the background of a script has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    journal = out / "journal.jsonl"

    def working() -> bool:
        if words[0] == "sweep":
            return journal.exists() and journal.read_bytes().count(b"\n") > 2
        return _cpu_seconds(process.pid) > 1.5

    try:
        while not working():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    if words[0] == "sweep":
        assert f"bulkpages sweep --resume {out}" in err
        from bulkpages.sweep.journal import Journal

        _, done = Journal(out).resume()
        assert 0 < done.runs < 100_000
