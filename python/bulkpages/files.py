"""Files that are written whole or not at all: beside their place first, then renamed into it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bulkpages.errors import BulkpagesError, InvalidArgument

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["read_results", "save_figure", "whole_file", "write_whole"]


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A place to write to, with the file's own ending; what stands there when the block ends becomes the file.

    When the block raises, or is interrupted, what was there before stays. Folders above are made. What is no regular
    file, like `/dev/stdout` or a pipe, is written to as it is.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield path
        return
    # A link stays one: what it points to is replaced.
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.urandom(4).hex()}{path.suffix}")
    # Made here, so that it has the mode that a new file has.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with contextlib.suppress(FileNotFoundError):
            temporary.chmod(path.stat().st_mode & 0o777)
        with temporary.open("rb") as file:
            # Else a crash of the machine may leave the new name with nothing behind it.
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Writes a file whole or not at all: text as UTF-8, bytes as they are.

    Args:
        path: The file; folders above are made.
        content: What shall be in it.

    Raises:
        OSError: It cannot be written; what was there before stays.
    """
    with whole_file(path) as place:
        place.write_bytes(content.encode() if isinstance(content, str) else content)


def save_figure(figure: Figure, path: str | Path, *, dpi: float | None = None) -> None:
    """Writes a picture whole or not at all; the ending of the path says in which format.

    Args:
        figure: The picture.
        path: The file.
        dpi: Dots per inch; matplotlib's own when None.

    Raises:
        InvalidArgument: matplotlib does not know the extension.
        OSError: It cannot be written.
    """
    path = Path(path)
    known = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix[1:].lower() not in known:
        raise InvalidArgument(f"picture {path}: the suffix {path.suffix!r} is not one of {', '.join(known)}")
    import matplotlib

    # The same picture is the same file: neither dates nor random names are in it.
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    with whole_file(path) as place, matplotlib.rc_context({"svg.hashsalt": "bulkpages"}):
        figure.savefig(place, dpi=dpi if dpi is not None else "figure", metadata=dated)


def read_results(path: Path, *schemas: str) -> dict[str, Any]:
    """Reads a file of results.

    Args:
        path: The file.
        schemas: What its "schema" may be.

    Raises:
        BulkpagesError: It cannot be read, is not JSON, or has another schema.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BulkpagesError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BulkpagesError(f"{path} is not JSON: {error}") from error
    said = found.get("schema") if isinstance(found, dict) else None
    if said not in schemas:
        raise BulkpagesError(
            f"{path} has the schema {said!r}, and this version reads {' or '.join(map(repr, schemas))}"
        )
    return cast("dict[str, Any]", found)
