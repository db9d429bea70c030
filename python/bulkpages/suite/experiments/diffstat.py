"""Counts the lines of a patch, quoted in a mail or not: per file, with branches and variables that come and go.

`python -m bulkpages.suite.experiments.diffstat MAIL` prints what `data/diffstat.json` holds.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

__all__ = ["diffstat"]

_BRANCH = re.compile(r"\b(?:if|for|while)\b")
_DECLARATION = re.compile(r"^\s*(?:unsigned int|unsigned long|unsigned|int|long|bool|size_t)\s+([^;(]+);")
_COMMENT = re.compile(r"^\s*(?:/\*|\*|//)")


def _variables(line: str) -> int:
    match = _DECLARATION.match(line)
    return match[1].count(",") + 1 if match else 0


def diffstat(text: str) -> dict[str, Any]:
    """Lines added and removed in each file of a unified diff; a hunk's length decides where it ends.

    Returns:
        files: path -> added, removed, branches (added less removed), variables (declared less dropped), comments
        (lines added less removed); total: the same summed up.
    """
    files: dict[str, dict[str, int]] = {}
    here: dict[str, int] | None = None
    old = new = 0
    for raw in text.splitlines():
        line = re.sub(r"^> ?", "", raw)
        if match := re.match(r"diff --git a/(\S+) b/", line):
            here = files[match[1]] = dict.fromkeys(("added", "removed", "branches", "variables", "comments"), 0)
            old = new = 0
        elif match := re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line):
            old, new = int(match[1] or 1), int(match[2] or 1)
        elif here is not None and (old > 0 or new > 0):
            sign = {"+": 1, "-": -1}.get(line[:1], 0)
            old -= sign <= 0
            new -= sign >= 0
            if sign:
                here["added" if sign > 0 else "removed"] += 1
                if _COMMENT.match(line[1:]):
                    here["comments"] += sign
                else:
                    here["branches"] += sign * len(_BRANCH.findall(line))
                    here["variables"] += sign * _variables(line[1:])
    total = {key: sum(file[key] for file in files.values()) for key in next(iter(files.values()), {})}
    return {"files": files, "total": total}


if __name__ == "__main__":
    print(json.dumps(diffstat(Path(sys.argv[1]).read_text(encoding="utf-8")), indent=1))
