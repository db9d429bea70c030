"""Notebooks as pages: what they hold is shown, nothing is run; their outputs were kept when they were."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

__all__ = ["to_markdown"]

# The richest first.
PICTURES = {"image/svg+xml": ".svg", "image/png": ".png"}


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _fenced(kind: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{kind}\n{text.rstrip()}\n{fence}"


def _output(output: dict[str, Any], folder: Path) -> str:
    if "text" in output:
        return _fenced("text", _joined(output["text"]))
    data = output.get("data", {})
    for kind, suffix in PICTURES.items():
        if kind in data:
            text = _joined(data[kind])
            content = text.encode() if suffix == ".svg" else base64.b64decode(text)
            path = folder / f"notebook-{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            words = re.sub(r"[^\w ().,=-]", "", _joined(data.get("text/plain", "a picture")))
            return f"![{words}](/{folder.name}/{path.name})"
    if "text/html" in data:
        return _fenced("{raw} html", _joined(data["text/html"]))
    return _fenced("text", _joined(data["text/plain"])) if "text/plain" in data else ""


def to_markdown(notebook: dict[str, Any], folder: Path) -> str:
    """The cells of a notebook as a page; pictures go into the folder."""
    parts = []
    for cell in notebook["cells"]:
        text = _joined(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
        elif cell["cell_type"] == "code" and text.strip():
            parts.append(_fenced("python", text))
            parts += [_output(output, folder) for output in cell.get("outputs", [])]
    return "\n\n".join(part for part in parts if part) + "\n"
