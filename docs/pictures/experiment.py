"""The plot of the cookbook's experiment: drawn by the code on that page."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from blocks import fences
from pictures.theme import Theme

PAGE = Path(__file__).parent.parent / "cookbook" / "experiment.md"


def draw(theme: Theme) -> Figure:
    """Runs the page's blocks, and takes the figure that they leave under the name `figure`."""
    names: dict[str, object] = {"__name__": "__page__"}
    for block in fences(PAGE.read_text()):
        if block.kind == "python" and "savefig" not in block.text:
            exec(compile(block.text, PAGE.name, "exec"), names)
    figure = names["figure"]
    assert isinstance(figure, Figure)
    return figure
