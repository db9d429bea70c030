"""Tries every row with every hostile value, in a process that may die: a line of JSON for each row and finding."""

import faulthandler
import json
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hostile_rows import ROWS, Others, World

import bulkpages as bp

#: What a call may raise; a file that is not there or cannot be named is the system's to refuse.
DOCUMENTED = (bp.BulkpagesError, TypeError, ValueError, OSError, IndexError)
SHORT = re.compile(r"the machine has (no page for slot|only) ")
#: Longest that one call may take, in seconds. The slowest takes a tenth of it on a machine with other work.
LIMIT = 20.0


def positions(args: list[Any], kwargs: dict[str, Any]) -> Iterator[tuple[str | int, list[Any], dict[str, Any]]]:
    """Each argument with the call around it, to be replaced in place."""
    for i in range(len(args)):
        yield i, list(args), dict(kwargs)
    for name in kwargs:
        yield name, list(args), dict(kwargs)


def say(**line: Any) -> None:
    print(json.dumps(line), file=sys.__stdout__, flush=True)


def refusal(call: Any, args: list[Any], kwargs: dict[str, Any]) -> str | None:
    """Why the call fails with every argument as the row has it."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def attempt(
    w: World, row: str, where: str | int, label: str, call: Any, args: list[Any], kwargs: dict[str, Any]
) -> bool:
    """One call. Says what is wrong with its outcome; whether it changed the world."""
    at = {"row": row, "argument": where, "value": label}
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    began = time.perf_counter()
    raised: BaseException | None = None
    try:
        call(*args, **kwargs)
    except DOCUMENTED as error:
        raised = error
        if type(error).__name__ == "PanicException" or not str(error):
            say(**at, wrong=f"{type(error).__name__} without words")
    except BaseException as error:
        raised = error
        frames = traceback.extract_tb(error.__traceback__)
        say(
            **at,
            wrong=f"{type(error).__module__}.{type(error).__name__}: {str(error)[:150]}",
            frame=str(frames[-1])[:200],
        )
    finally:
        faulthandler.cancel_dump_traceback_later()
    took = time.perf_counter() - began
    if took > 2:
        say(**at, slow=round(took, 2))
    try:
        w.m.audit()
    except bp.AuditError as error:
        say(**at, wrong=f"the audit says {error}")
    if raised is None:
        return True
    if w.seen() == w.before:
        return False
    # Who asks for more pages than there are learns it from the last one; the pages that came go back, in another order.
    if not (SHORT.search(str(raised)) and w.owned() == w.before_owned):
        say(**at, wrong=f"{type(raised).__name__}: {str(raised)[:100]}: raised, and the machine or the array changed")
    return True


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    others = Others()
    folder = Path(tempfile.mkdtemp())
    os.chdir(folder)
    w = World(folder)
    for row in names or ROWS:
        began, tried = time.perf_counter(), 0
        call, args, kwargs = ROWS[row](w)
        say(row=row, valid=refusal(call, args, kwargs))
        w = World(folder)
        places = [where for where, _, _ in positions(args, kwargs)]
        for where in places:
            for label in others.values(w):
                call, args, kwargs = ROWS[row](w)
                value = others.values(w)[label]
                if isinstance(where, int):
                    args[where] = value
                else:
                    kwargs[where] = value
                tried += 1
                if attempt(w, row, where, label, call, args, kwargs):
                    others, w = Others(), World(folder)
        say(row=row, tried=tried, seconds=round(time.perf_counter() - began, 2))


if __name__ == "__main__":
    main(sys.argv[1:])
