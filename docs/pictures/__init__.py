"""The pictures of the documentation: each runs the emulator and draws what it did.

A module has one picture: a function that runs the machine and returns what happened, and one that draws that. Nothing
here is drawn by hand, so a picture changes when the allocator does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pictures import arrays, blocks, experiment, failures, free_lists, percpu, trylock, watermarks
from pictures.theme import DARK, LIGHT, Theme, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "render"]

PICTURES: dict[str, Callable[[Theme], Figure]] = {
    "array-v1": arrays.draw_v1,
    "array-v2": arrays.draw_v2,
    "block-split": blocks.draw,
    "failures": failures.draw,
    "free-lists": free_lists.draw,
    "own-experiment": experiment.draw,
    "percpu": percpu.draw,
    "trylock": trylock.draw,
    "watermarks": watermarks.draw,
}


def render(name: str, folder: Path) -> None:
    """Writes the picture into the folder, as `NAME-light.svg` and `NAME-dark.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme in (LIGHT, DARK):
        with style(theme):
            figure = PICTURES[name](theme)
            # Neither a date nor a random number: the same allocator gives the same file.
            figure.savefig(folder / f"{name}-{theme.name}.svg", metadata={"Date": None}, transparent=True)
