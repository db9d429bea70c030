"""Patches from a mail, a mailbox or a file: what they touch, how many lines; applied to texts, not to a tree."""

from __future__ import annotations

import email
import email.policy
import mailbox
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bulkpages.errors import KernelError

__all__ = ["FileDiff", "Patch", "apply", "read_patches", "texts_of_mail"]

_START = re.compile(r"^(?:diff --git a/(?P<git>\S+) b/\S+|--- (?:a/)?(?P<old>\S+).*)$")


@dataclass(frozen=True)
class FileDiff:
    """What a patch does to one file.

    Attributes:
        path: In the tree.
        text: The diff of this file alone.
        added: Lines that begin with a plus.
        removed: Lines that begin with a minus.
    """

    path: str
    text: str
    added: int
    removed: int


@dataclass(frozen=True)
class Patch:
    """One patch.

    Attributes:
        name: File or subject.
        subject: Of the mail; empty for a bare diff.
        author: Of the mail.
        message_id: Of the mail.
        files: What it does, file by file.
    """

    name: str
    subject: str
    author: str
    message_id: str
    files: tuple[FileDiff, ...]


def texts_of_mail(raw: bytes) -> list[tuple[dict[str, str], str]]:
    """The mails of a mailbox, or the one mail or bare diff that the bytes are: (headers, text)."""
    if raw.startswith(b"From ") and b"\n\n" in raw:
        with tempfile.NamedTemporaryFile(suffix=".mbox") as file:
            file.write(raw)
            file.flush()
            box = mailbox.mbox(file.name)
            try:
                mails = [bytes(box[key]) for key in sorted(box.keys())]
            finally:
                box.close()
    else:
        mails = [raw]
    found: list[tuple[dict[str, str], str]] = []
    for mail in mails:
        if not re.match(rb"[A-Za-z][A-Za-z-]*:", mail):
            found.append(({}, mail.decode(errors="replace")))
            continue
        message = email.message_from_bytes(mail, policy=email.policy.default)
        body = message.get_body(("plain",))
        text = body.get_content() if body else ""
        heads = {name.lower(): str(value) for name, value in message.items()}
        found.append((heads, text.replace("\r\n", "\n")))
    return found


def split_files(text: str) -> tuple[FileDiff, ...]:
    """The diffs of single files in a text that may hold other lines around them."""
    files: list[FileDiff] = []
    path, old, new = "", 0, 0
    lines: list[str] = []
    added = removed = 0

    def close() -> None:
        if path and lines:
            files.append(FileDiff(path, "\n".join(lines) + "\n", added, removed))

    rows = text.split("\n")
    for i, row in enumerate(rows):
        if old > 0 or new > 0:
            # Inside a hunk every line counts, whatever it looks like.
            lines.append(row)
            mark = row[:1]
            old -= mark in (" ", "-", "")
            new -= mark in (" ", "+", "")
            added += mark == "+"
            removed += mark == "-"
            continue
        if hunk := re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", row):
            if path:
                old, new = (int(number or 1) for number in hunk.groups())
                lines.append(row)
            continue
        if row.startswith("\\ No newline") and path:
            lines.append(row)
            continue
        start = _START.match(row)
        git = start and start["git"]
        if git:
            close()
            path, lines, added, removed = str(git), [row], 0, 0
        elif start and i + 1 < len(rows) and rows[i + 1].startswith("+++ "):
            if not (lines and not any(line.startswith("--- ") for line in lines)):
                close()
                path, lines, added, removed = _bare(row, rows[i + 1]), [], 0, 0
            lines.append(row)
        elif path and re.match(r"(\+\+\+ |index |new file|deleted file|old mode|new mode|similarity|rename )", row):
            lines.append(row)
        elif path and row.startswith("-- "):
            close()
            path, lines = "", []
    close()
    return tuple(files)


def _bare(old: str, new: str) -> str:
    for line in (new, old):
        name = line[4:].split("\t")[0].strip()
        if name != "/dev/null":
            return re.sub(r"^[ab]/", "", name)
    return ""


def read_patches(raw: bytes, name: str) -> list[Patch]:
    """The patches in a mail, a mailbox or a diff; mails without one (a cover letter) are left out.

    Raises:
        KernelError: There is no patch in it, or one of a file outside the tree.
    """
    patches = []
    for heads, text in texts_of_mail(raw):
        files = split_files(text)
        for diff in files:
            if diff.path.startswith("/") or ".." in Path(diff.path).parts:
                raise KernelError(f"{name}: the path {diff.path!r} leads out of the tree")
        if files:
            subject = re.sub(r"\s+", " ", heads.get("subject", ""))
            patches.append(Patch(subject or name, subject, heads.get("from", ""), heads.get("message-id", ""), files))
    if not patches:
        raise KernelError(f"{name} holds no patch: no line begins a diff")
    return patches


def apply(patches: Iterable[Patch], read: Callable[[str], bytes | None]) -> dict[str, bytes | None]:
    """The files as the patches leave them; None for one that is removed.

    Args:
        patches: In order.
        read: The bytes of a file of the tree; None where it does not exist.

    Raises:
        KernelError: A hunk does not apply; says which.
    """
    now: dict[str, bytes | None] = {}
    for patch in patches:
        for diff in patch.files:
            before = now[diff.path] if diff.path in now else read(diff.path)
            now[diff.path] = _patched(patch, diff, before)
    return now


def _patched(patch: Patch, diff: FileDiff, before: bytes | None) -> bytes | None:
    if before is None and "--- /dev/null" not in diff.text and "new file" not in diff.text:
        raise KernelError(f"{patch.name}: the tree has no {diff.path}")
    if "@@" not in diff.text:
        return before
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / diff.path
        file.parent.mkdir(parents=True, exist_ok=True)
        if before is not None:
            file.write_bytes(before)
        done = subprocess.run(
            ["patch", "-p1", "--batch", "--no-backup-if-mismatch", "--fuzz=0", "-r", "rejected"],
            cwd=place,
            input=diff.text.encode() if diff.text.startswith(("diff", "---")) else b"",
            capture_output=True,
            check=False,
        )
        if done.returncode:
            rejected = Path(place) / "rejected"
            hunk = rejected.read_text(errors="replace") if rejected.exists() else ""
            words = [
                line for line in done.stdout.decode(errors="replace").splitlines() if "FAILED" in line or "rror" in line
            ]
            why = "; ".join(words) or done.stdout.decode(errors="replace").strip()
            raise KernelError(f"{patch.name} does not apply to {diff.path}: {why}" + (f"\n{hunk}" if hunk else ""))
        return file.read_bytes() if file.exists() else None
