"""`bulkpages review --b4` is what b4 expects of a check."""

import email
import email.policy
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "patches"
COMMAND = [sys.executable, "-m", "bulkpages", "review", "--b4"]


def run(mail: bytes, place: Path) -> list[dict[str, str]]:
    done = subprocess.run(COMMAND, input=mail, capture_output=True, cwd=place, check=True)
    rows = json.loads(done.stdout)
    assert isinstance(rows, list)
    return rows


def test_nothing_touched_passes(tmp_path: Path) -> None:
    (row,) = run((HERE / "elsewhere.mbox").read_bytes(), tmp_path)
    assert (row["tool"], row["status"]) == ("bulkpages", "pass")
    assert row["summary"] == "touches nothing that is modelled or measured here"
    assert "Documentation/mm/index.rst" in row["details"]


def test_what_fails_is_a_row_too(tmp_path: Path) -> None:
    (row,) = run((HERE / "slower.mbox").read_bytes(), tmp_path)
    assert row["status"] == "fail"
    assert "is no tree of kernel sources" in row["summary"] or "not installed" in row["summary"]


def test_b4_itself_reads_it(tmp_path: Path) -> None:
    checks = pytest.importorskip("b4.review.checks", reason="b4 is not installed")
    text = (HERE / "elsewhere.mbox").read_bytes().partition(b"\n")[2]
    mail = email.message_from_bytes(text, policy=email.policy.EmailPolicy(utf8=True), _class=email.message.EmailMessage)
    (row,) = checks._run_external_cmd(COMMAND, mail, str(tmp_path))
    assert (row["tool"], row["status"]) == ("bulkpages", "pass")
