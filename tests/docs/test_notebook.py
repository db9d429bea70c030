"""Notebooks on the site: cells and kept outputs, in order."""

import base64
from pathlib import Path

from notebook import to_markdown

PNG = base64.b64encode(b"\x89PNG of a plot").decode()


def test_cells_and_outputs(tmp_path: Path) -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["one\n", "```\n"]},
        {"output_type": "display_data", "data": {"image/png": PNG, "text/plain": ["<Figure size 8x3>"]}},
        {"output_type": "execute_result", "data": {"text/html": ["<b>3</b>"], "text/plain": ["3"]}},
        {"output_type": "execute_result", "data": {"text/plain": ["4"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Words."]},
        {"cell_type": "code", "source": "x = 1\nx", "outputs": outputs},
        {"cell_type": "code", "source": [], "outputs": []},
        {"cell_type": "raw", "source": ["left out"]},
    ]
    folder = tmp_path / "_pictures"
    text = to_markdown({"cells": cells}, folder)
    (picture,) = folder.iterdir()
    assert picture.read_bytes() == b"\x89PNG of a plot"
    assert text == (
        "# Title\nWords.\n\n```python\nx = 1\nx\n```\n\n````text\none\n```\n````\n\n"
        f"![Figure size 8x3](/_pictures/{picture.name})\n\n```{{raw}} html\n<b>3</b>\n```\n\n```text\n4\n```\n"
    )
