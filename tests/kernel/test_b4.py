"""`bulkpages review --b4` is what b4 expects of a check."""

import email
import email.policy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bulkpages.errors import KernelError
from bulkpages.kernel.b4 import base_of, series_of

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
    assert "is not a kernel source tree" in row["summary"] or "not installed" in row["summary"]


def git(tree: Path, *words: str, text: bytes = b"") -> str:
    done = subprocess.run(["git", *words], input=text, capture_output=True, cwd=tree, check=True)
    return done.stdout.decode().strip()


def test_a_series_of_which_only_the_cover_letter_comes(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    cover = b"From: a@example.org\nSubject: [PATCH 0/2] both\nMessage-Id: <0@x>\n\nTwo.\n"
    second, first = (
        (HERE / name).read_bytes().replace(b"[PATCH]", b"[PATCH %d/2]" % number)
        for number, name in ((2, "slower.mbox"), (1, "elsewhere.mbox"))
    )
    thread = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n" + cover + b"\n" + second + b"\n" + first
    blob = git(tmp_path, "hash-object", "-w", "--stdin", text=thread)
    tracking = tmp_path / "tracking.json"
    tracking.write_text(json.dumps({"series": {"thread-blob": blob, "base-commit": "0" * 40}}))
    patches = series_of(cover, tmp_path, {"B4_TRACKING_FILE": str(tracking)})
    assert [patch.subject[:11] for patch in patches] == ["[PATCH 1/2]", "[PATCH 2/2]"]
    assert base_of(tmp_path, {"B4_TRACKING_FILE": str(tracking)}) is None
    with pytest.raises(KernelError, match=r"holds no patch"):
        series_of(cover, tmp_path, {})


def test_b4_itself_reads_it(tmp_path: Path) -> None:
    checks = pytest.importorskip("b4.review.checks", reason="b4 is not installed")
    text = (HERE / "elsewhere.mbox").read_bytes().partition(b"\n")[2]
    mail = email.message_from_bytes(text, policy=email.policy.EmailPolicy(utf8=True), _class=email.message.EmailMessage)
    (row,) = checks._run_external_cmd(COMMAND, mail, str(tmp_path))
    assert (row["tool"], row["status"]) == ("bulkpages", "pass")
