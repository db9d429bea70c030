"""Sizes of memory as people write them."""

from __future__ import annotations

import operator
import re
from typing import SupportsIndex

from bulkpages.errors import InvalidArgument

__all__ = ["parse_size"]

PAGE_SIZE = 4096
# What a frame number can count.
LARGEST = 1 << 52
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])i?)?B?\s*", re.IGNORECASE)


def parse_size(what: str, size: str | SupportsIndex) -> int:
    """Pages of a size in bytes, or in a text like "512MiB" (K, M, G, T are powers of 1024)."""
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None:
            raise InvalidArgument(f"{what} {size!r} is not a size like '512MiB' or '1GiB'")
        size = int(float(match[1]) * _UNITS[(match[2] or "").upper()])
    elif isinstance(size, bool) or not isinstance(size, SupportsIndex):
        raise TypeError(f"{what} must be a text like '1GiB' or bytes as an integer, not {type(size).__name__}")
    # NumPy's integers are integers, too.
    size = operator.index(size)
    if size < 0:
        raise InvalidArgument(f"{what} {size} is below 0")
    if size > LARGEST:
        raise InvalidArgument(f"{what} of {size} bytes is above 4 PiB")
    return size // PAGE_SIZE
