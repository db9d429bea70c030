"""The register of ports: what is known about each kernel function that calls the bulk API, and one way to run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from bulkpages import _core
from bulkpages.callers.result import CallerResult
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import need

if TYPE_CHECKING:
    from bulkpages._core import PageArray
    from bulkpages.machine import Machine

__all__ = ["CALLERS", "PORTS", "Port", "find_caller", "port", "run"]


@dataclass(frozen=True)
class Port:
    """A kernel function that calls the bulk API.

    Attributes:
        name: The kernel function, or a part of its name or file that is unique.
        file: The kernel file.
        forms: Its forms.
        array: "given" (passed in, with pages and holes), "prefix" (its own, existing pages first) or "own" (its own,
            all NULL).
        short: What it does when a call returns fewer pages than requested: "retries", "accepts" or "fails".
        flags: Its options, as (name, meaning).
        patched: Whether the patch of 28 February 2025 changes it.
        today: Whether it calls the bulk API in 7.3.
        charged: Whether its requests are charged to a memory cgroup.
        pages: The number of pages that it allocates, if constant.
        counted: The function's name for the number of pages.
        example: A small array for it: `x` is a page, `.` a hole.
    """

    name: str
    file: str
    forms: Sequence[str]
    array: str
    short: str
    flags: Sequence[tuple[str, str]]
    patched: bool
    today: bool
    charged: bool
    pages: int | None
    counted: str
    example: str


#: All ports: those that the patch changes in its order, then the other callers of 7.3.
PORTS: tuple[Port, ...] = tuple(Port(**entry) for entry in _core.callers())
#: (kernel function, kernel file, forms) of each port, in the order of `PORTS`.
CALLERS: list[tuple[str, str, list[str]]] = [(p.name, p.file, list(p.forms)) for p in PORTS]


def port(name: str) -> Port:
    """The port of this kernel function.

    Raises:
        InvalidArgument: There is none.
    """
    found = next((p for p in PORTS if p.name == name), None)
    if found is None:
        raise InvalidArgument(f"caller {name!r} is not one of {', '.join(p.name for p in PORTS)}")
    return found


def find_caller(name: str) -> str:
    """The kernel function that is meant.

    Args:
        name: Its name, or a part of it or of its file (as "vfio") that no other caller has. A part that one caller of
            the patch has means this one, whoever else has it.

    Raises:
        InvalidArgument: It is part of none, or of more than one.
    """
    everywhere = [p.name for p in PORTS]
    if name in everywhere:
        return name
    for ports in ([p for p in PORTS if p.patched], PORTS):
        for texts in ([p.name for p in ports], [p.file for p in ports]):
            found = [p.name for p, text in zip(ports, texts, strict=True) if name and name in text]
            if len(found) == 1:
                return found[0]
            if found:
                raise InvalidArgument(f"caller {name!r} is part of several names: {', '.join(found)}")
    close = get_close_matches(name, everywhere, n=1, cutoff=0.5)
    hint = f", like {close[0]}" if close else ""
    raise InvalidArgument(f"caller {name!r} is part of none of the names{hint}: {', '.join(everywhere)}")


def run(
    machine: Machine,
    name: str,
    array: PageArray | None = None,
    *,
    pages: int | None = None,
    have: int = 0,
    flags: Sequence[str] = (),
    form: str,
    cpu: int = 0,
    max_waits: int = 100,
    explain: bool = False,
) -> CallerResult:
    """Runs a registered caller, observed and under the machine's faults.

    Args:
        machine: The machine.
        name: The kernel function, or a part of its name or file that is unique.
        array: The array to fill, for callers that are given one.
        pages: Slots to fill; by default all of `array`, or as many as the caller's example has.
        have: Pages that a caller with an array of its own already has. They are taken from the machine first, without
            counting and without failures.
        flags: Options of the caller, by the names in its `Port`.
        form: One of the forms of its `Port`.
        cpu: CPU that executes.
        max_waits: Waits allowed. After the last one, the run ends with `ret` None.
        explain: Whether to record `events` in the result.

    Returns:
        What the function returned and did. You own the pages in `array` and must free them.

    Raises:
        InvalidArgument: An unknown caller, form or flag, or an array that this caller cannot be given.
        ApiMisuse: A slot holds something other than an order-0 page of yours, or a check of the kernel ended the run.

    Example:
        >>> import bulkpages as bp
        >>> m = bp.Machine("256MiB", memcg=True)
        >>> bp.callers.run(m, "io_region_allocate_pages", pages=129, form="before").bulk_calls
        [(129, 1)]
    """
    need("machine", machine, _core.Machine)
    need("name", name, str)
    need("form", form, str)
    name = find_caller(name)
    if isinstance(flags, str):
        raise TypeError(f"flags is a sequence of names like ['nofail'], not the text {flags!r}")
    if pages is None:
        if array is not None:
            need("array", array, _core.PageArray)
        pages = len(port(name).example) if array is None else len(array)
    return CallerResult(
        **_core.run_caller(
            machine,
            name,
            array,
            pages,
            have,
            list(flags),
            form,
            cpu=cpu,
            max_waits=max_waits,
            explain=bool(explain),
        )
    )
