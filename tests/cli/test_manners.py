"""Help that teaches, completion, colour, and what an import costs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bulkpages.cli import main


def _commands(command: click.Command, *words: str) -> list[list[str]]:
    found = [list(words)]
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            found += _commands(inner, *words, name)
    return found


ALL = _commands(main)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_teaches(words: list[str]) -> None:
    """What it is for, an example that can be typed, and where the result goes."""
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    text = result.stdout
    assert "\\b" not in text
    # An example, on a line of its own.
    examples = re.findall(rf"^  (?:echo '.*|bulkpages {' '.join(words)}.*)$", text, re.MULTILINE)
    assert examples, text
    if len(words) and words[0] != "completion" and words not in (["callers"], ["bench"], ["kernel"]):
        assert re.search(r"\bprints?\b|stdout|--output", text, re.IGNORECASE)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_BULKPAGES_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bulkpages co", {"compare", "completion", "conform"}),
        ("bulkpages callers ", {"list", "misuse", "run", "failures", "tables"}),
        ("bulkpages sweep --res", {"--resume"}),
        ("bulkpages callers run svc --form ", {"before", "after", "tracked", "v3"}),
    ],
)
def test_bash_completes(line: str, expected: set[str]) -> None:
    """The script in a real shell, which calls the real command."""
    script = """
        eval "$(bulkpages completion bash)"
        IFS=' ' read -r -a COMP_WORDS <<< "$1"
        case "$1" in *' ') COMP_WORDS+=("");; esac
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        _bulkpages_completion bulkpages
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script, "bash", line],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        check=True,
    )
    assert expected <= set(done.stdout.split()), done.stderr


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour(variables: dict[str, str], coloured: bool) -> None:
    env = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")
    }
    done = subprocess.run(
        [sys.executable, "-m", "bulkpages", "doctor"], capture_output=True, env={**env, **variables}, check=True
    )
    assert (b"\x1b[3" in done.stdout) == coloured
    assert b"\x1b" not in done.stderr
    # Never by colour alone.
    assert done.stdout.count(b"good") + done.stdout.count(b"note") >= 10


def test_doctor_says_what_to_do() -> None:
    import json

    found = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    checks = {check["name"]: check for check in found["checks"]}
    assert {"governor", "mitigations", "virtual machine", "perf events", "valgrind", "noise", "build"} <= set(checks)
    for check in checks.values():
        assert check["value"]
        assert len(check["means"]) > 20
        assert check["state"] in ("good", "note", "bad")
    assert checks["virtual machine"]["value"] == ("yes" if found["virtual_machine"] else "no")
    assert (checks["perf events"]["value"] == "yes") == (found["perf_events"] is None)


def test_import_loads_nothing_heavy() -> None:
    """What takes long to import is imported by who needs it; how long that is, is measured, not tested."""
    heavy = ("numpy", "scipy", "matplotlib", "rich", "click", "jinja2", "distributed", "multiprocessing", "asyncio")
    code = f"import sys, bulkpages; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import bulkpages as bp; print(bp.sweep.run.__name__, 'sweep' in dir(bp) or 'sweep' in bp.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "run True"
