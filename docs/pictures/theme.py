"""How the pictures look, on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl

__all__ = ["DARK", "LIGHT", "Theme", "style"]


@dataclass(frozen=True)
class Theme:
    """Colours; those of data can be told apart without seeing red and green."""

    name: str
    text: str
    faint: str
    """Rules, frames and what is in the background."""
    page: str
    """A page that was there, or that a caller owns."""
    new: str
    """A page that came."""
    moved: str
    """A page that changed its place; a warning."""
    bad: str
    kinds: tuple[str, str, str, str]
    """Free blocks by type: unmovable, movable, reclaimable, high-atomic."""


LIGHT = Theme(
    "light",
    "#22262b",
    "#c9ced6",
    "#8b95a3",
    "#0b7285",
    "#c2660c",
    "#b3261e",
    ("#0b7285", "#7aa2c8", "#c9a227", "#8f4fa8"),
)
DARK = Theme(
    "dark",
    "#d6dae0",
    "#4a515c",
    "#7d8794",
    "#3fb6c6",
    "#f0a04b",
    "#ff7b72",
    ("#3fb6c6", "#5f8ec2", "#dbb845", "#c58ad9"),
)


@contextmanager
def style(theme: Theme) -> Iterator[None]:
    """While inside, figures have the theme's colours."""
    settings: Any = {
        "axes.facecolor": "none",
        "axes.edgecolor": theme.faint,
        "axes.labelcolor": theme.text,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": theme.text,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "grid.color": theme.faint,
        "grid.linewidth": 0.5,
        "legend.frameon": False,
        "legend.labelcolor": theme.text,
        "svg.hashsalt": "bulkpages",
        "text.color": theme.text,
        "xtick.color": theme.text,
        "ytick.color": theme.text,
    }
    with mpl.rc_context(settings):
        yield
