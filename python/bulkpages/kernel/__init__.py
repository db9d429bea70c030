"""A real kernel in the loop: built from the user's tree, measured by the same cells, compared with the emulator."""

from pathlib import Path
from typing import Any

from bulkpages.kernel.build import Kernel, build, open_kernel

__all__ = ["Kernel", "build", "open_kernel", "rows"]


def rows(folder: str | Path) -> list[dict[str, Any]]:
    """What fills cost in a kernel, for fits and comparisons.

    Args:
        folder: A kernel that `build` left.

    Returns:
        For each cell of `compare` that the kernel can be asked: `name`, `filler` ("core" for the plain loops),
        `pattern` (`x` a page, `.` a hole), `condition` ("warm" or "cold"), `unit`, `form` ("v1" or "v2"), and the exact
        `instructions` (mean over 64 fills) and `instructions_least` per unit.

    Raises:
        KernelError: The folder holds no kernel, or it cannot be run.
    """
    # The statistics take a second to import.
    from bulkpages.kernel import bench

    return bench.rows(folder)
