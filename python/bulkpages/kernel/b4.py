"""What b4 gives to a check of a series: the patch itself, or the cover letter and where the patches are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bulkpages.errors import KernelError
from bulkpages.kernel.patches import Patch, read_patches

__all__ = ["base_of", "series_of"]

#: Names a file with what b4 knows about the series.
TRACKING = "B4_TRACKING_FILE"


def _tracked(environment: Mapping[str, str]) -> dict[str, str]:
    """What b4 knows about the series; empty when it names no file."""
    if TRACKING not in environment:
        return {}
    try:
        found = json.loads(Path(environment[TRACKING]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KernelError(f"{TRACKING}={environment[TRACKING]} cannot be read: {error}") from error
    series = found.get("series", {}) if isinstance(found, dict) else {}
    return {str(name): str(value) for name, value in series.items()}


def base_of(tree: Path, environment: Mapping[str, str]) -> str | None:
    """The commit that b4 applied the series to, when it did; the working directory may hold the series already.

    Args:
        tree: The working directory of b4.
        environment: Where b4 names its file.

    Raises:
        KernelError: The file cannot be read.
    """
    base = _tracked(environment).get("base-commit")
    if not base:
        return None
    done = subprocess.run(["git", "-C", str(tree), "cat-file", "-e", base], capture_output=True, check=False)
    return base if done.returncode == 0 else None


def _number(patch: Patch) -> int:
    """Of "[PATCH v3 02/11]"; 0 where there is none."""
    found = re.search(r"\[[^]]*?(\d+)/\d+\]", patch.subject)
    return int(found[1]) if found else 0


def series_of(mail: bytes, tree: Path, environment: Mapping[str, str]) -> list[Patch]:
    """The patches of the series.

    A series of one patch comes as that mail. Of a longer one only the cover letter comes; b4 keeps the thread as an
    object of the tree's repository.

    Args:
        mail: What came on standard input.
        tree: The working directory of b4.
        environment: Where b4 names its file.

    Raises:
        KernelError: There is no patch, neither in the mail nor where b4 points to.
    """
    try:
        return read_patches(mail, "the mail")
    except KernelError:
        if TRACKING not in environment:
            raise
    series = _tracked(environment)
    if blob := series.get("thread-blob"):
        done = subprocess.run(["git", "-C", str(tree), "cat-file", "blob", blob], capture_output=True, check=False)
        if done.returncode == 0:
            patches = [
                patch for patch in read_patches(done.stdout, "the thread") if not patch.subject.startswith("Re:")
            ]
            return sorted(patches, key=_number)
    raise KernelError("only the cover letter came, and b4 has no copy of the thread: begin the review in b4 first")
