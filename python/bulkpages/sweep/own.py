"""Callers of your own in a sweep: written in a Python file, named `FILE.py:NAME`."""

from __future__ import annotations

import types
from functools import lru_cache
from typing import TYPE_CHECKING

from bulkpages.errors import InvalidArgument

if TYPE_CHECKING:
    from bulkpages.callers.own_caller import Own

__all__ = ["own_caller", "split"]


def split(text: str) -> tuple[str, str]:
    """File and name.

    Raises:
        InvalidArgument: It is not of this form.
    """
    file, colon, name = text.rpartition(":")
    if not (colon and file.endswith(".py") and name):
        raise InvalidArgument("is not FILE.py:NAME, the file and the name of a caller of your own")
    return file, name


@lru_cache(maxsize=64)
def own_caller(source: bytes, text: str) -> Own:
    """The caller that this source defines.

    The source runs as a module of its own, not as a script: what stands under `if __name__ == "__main__":` does not.

    Args:
        source: Content of the file.
        text: `FILE.py:NAME`; NAME is a variable of the file or the name that the caller was given.

    Raises:
        InvalidArgument: The file cannot be run, or has no such caller.
    """
    from bulkpages.callers.own_caller import Own

    file, name = split(text)
    module = types.ModuleType(file.removesuffix(".py").replace("/", "."))
    module.__file__ = file
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except Exception as error:
        raise InvalidArgument(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    found = {key: value for key, value in vars(module).items() if isinstance(value, Own)}
    for key, value in found.items():
        if name in (key, value.name):
            return value
    raise InvalidArgument(f"{file} has no caller {name!r}; it has {', '.join(found) or 'none'}")
