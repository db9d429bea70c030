"""What a sweep is: the keys that a cell can have, and the cells that they multiply out to."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkpages.callers.ports import find_caller
from bulkpages.callers.words import parse_faults
from bulkpages.eras.rules import DEFAULT, ERAS, parse_rules
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import need
from bulkpages.sizes import parse_size
from bulkpages.states import LISTS
from bulkpages.sweep.holes import is_random
from bulkpages.sweep.own import split

__all__ = ["KEYS", "Key", "Spec", "describe"]

MAX_SLOTS = 1 << 20
MAX_CELLS = 100_000
MAX_RUNS = 1_000_000
MAX_SEED = 2**63 - 1
APIS = ("single", "v1", "v2", "v3")
MEASURES = ("counts", "cycles")
# What some callers can be told, by the names in the register.
FLAGS = ("nofail", "read_ahead")

Cell = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """A key that a cell can have.

    Attributes:
        kind: Type of a value.
        default: Value when it is left out; "needed" when there is none.
        help: What it means, in one line.
        of: Which cells have it: "machine" (all, and the [machine] table), "all", or those of one kind or of several.
        limit: What values are allowed, as text.
        check: Returns the value to keep, or raises InvalidArgument.
    """

    kind: type
    default: Any
    help: str
    of: str
    limit: str
    check: Callable[[Any], Any]


def _within(low: float, high: float) -> tuple[str, Callable[[Any], Any]]:
    def check(value: Any) -> Any:
        if not low <= value <= high:
            raise InvalidArgument(f"is outside {low} to {high}")
        return value

    return f"{low} to {high}", check


def _one_of(*choices: str) -> tuple[str, Callable[[Any], Any]]:
    def check(value: Any) -> Any:
        if value not in choices:
            raise InvalidArgument(f"is not one of {', '.join(choices)}")
        return value

    return ", ".join(choices), check


def _size(value: str) -> str:
    parse_size("memory", value)
    return value


def _faults(value: str) -> str:
    if value == "none":
        return value
    words = value.split()
    if not words:
        raise InvalidArgument('is empty: write "none"')
    parse_faults(words)
    return " ".join(words)


def _holes(value: str) -> str:
    return " ".join(value.split())


def _own(value: str) -> str:
    split(value)
    return value


def _rules(value: str) -> str:
    words = value.split()
    parse_rules(words)
    return " ".join(words)


def _any(value: Any) -> Any:
    return value


NEEDED = "needed"
YES_NO = ("true, false", _any)
#: The keys of a cell. Each may have a list of values: an axis.
KEYS: dict[str, Key] = {
    "api": Key(str, NEEDED, "which call is made", "bulk", *_one_of(*APIS)),
    "caller": Key(str, NEEDED, "kernel function, or a part of its name", "caller", "see callers list", find_caller),
    "own": Key(str, NEEDED, "caller of your own: a Python file and its name in it", "own", "FILE.py:NAME", _own),
    "form": Key(str, NEEDED, "which text of the caller runs", "caller, own", "before, after, ...; own: yours", _any),
    "nr_pages": Key(int, NEEDED, "slots of the array, or pages", "all", *_within(1, MAX_SLOTS)),
    "holes": Key(str, "all", "which slots are NULL", "all", "see docs/sweeps.md", _holes),
    "faults": Key(
        str, "none", "what fails: STEP or STEP=SUCCESSES, with spaces between", "all", "none, or steps", _faults
    ),
    "nofail": Key(bool, False, "btrfs: with __GFP_NOFAIL", "caller", *YES_NO),
    "read_ahead": Key(bool, False, "xfs: the buffer is only read ahead", "caller", *YES_NO),
    "max_waits": Key(int, 3, "waits granted to a caller that waits", "caller, own", *_within(0, 10_000)),
    "memory": Key(str, "256MiB", "RAM of a booted machine", "machine", "a size like 1GiB", _size),
    "cpus": Key(int, 2, "its CPUs", "machine", *_within(1, 1024)),
    "nodes": Key(int, 1, "its nodes", "machine", *_within(1, 64)),
    "kernel": Key(str, DEFAULT, "kernel series of the machine", "machine", *_one_of(*ERAS)),
    "rules": Key(str, "", "rules of the kernel set otherwise", "machine", "NAME=yes, NAME=no, spaces between", _rules),
    "snapshot": Key(str, "", "state of a kernel instead: a recording, a snapshot", "machine", "a path", _any),
    "which": Key(str, "before", "which state of a recording", "machine", *_one_of("before", "after")),
    "memcg": Key(bool, False, "memory cgroups account kernel pages", "machine", *YES_NO),
    "page_owner": Key(bool, False, "page owner tracking is on", "machine", *YES_NO),
    "used": Key(float, 0.0, "share of memory in use, with the free pages scattered", "machine", *_within(0, 0.98)),
    "aged": Key(int, 0, "random allocations and frees beforehand", "machine", *_within(0, 10_000_000)),
    "lists": Key(str, "left", "state of the per-CPU lists", "machine", *_one_of(*LISTS)),
    "above_low": Key(int, -1, "pages free above the LOW mark; -1 leaves them", "machine", *_within(-1, 1 << 40)),
}
OWN_MACHINE = ("memory", "cpus", "nodes", "kernel")
#: What a cell can run: a bulk call, a port of a kernel function, a caller of your own.
KINDS = ("bulk", "caller", "own")


@dataclass(frozen=True, repr=False)
class Spec:
    """A sweep, validated and expanded into cells.

    Attributes:
        title: The title.
        seeds: The seeds, in order.
        measure: "counts", "cycles" or both.
        cells: Every key with its value, including defaults; in the order of the file, with the last axis varying
            fastest.
        seconds: Time to measure cycles, in seconds.
        effect: Smallest difference in cycles of interest, as a fraction.
        states: The kernel states that cells name, by digest, as zlib-compressed JSON.
        hash: Hash of all of this, which identifies a run.
    """

    title: str
    seeds: tuple[int, ...]
    measure: tuple[str, ...]
    cells: tuple[Cell, ...]
    seconds: float = 30.0
    effect: float = 0.01
    states: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"<Spec {self.title!r}: {len(self.cells)} cells, {len(self.seeds)} seeds, axes {', '.join(self.axes)}>"

    @property
    def hash(self) -> str:
        """SHA-256 of everything that determines the rows."""
        return hashlib.sha256(json.dumps(self.to_json(states=False), sort_keys=True).encode()).hexdigest()

    def seeds_of(self, cell: int) -> int:
        """The number of seeds that a cell runs: only the first if the seed has no effect."""
        return len(self.seeds) if is_random(self.cells[cell]) else 1

    @property
    def runs(self) -> int:
        """Total number of runs."""
        return sum(self.seeds_of(i) for i in range(len(self.cells))) if "counts" in self.measure else 0

    @property
    def axes(self) -> list[str]:
        """Keys that have more than one value, or that only some cells have, in the order of `KEYS`."""
        values: dict[str, set[Any]] = {key: set() for key in KEYS}
        for cell in self.cells:
            for key, k in KEYS.items():
                if key in cell or k.default == NEEDED:
                    values[key].add(cell.get(key))
        return [key for key, found in values.items() if len(found) > 1]

    def to_json(self, *, states: bool = True) -> dict[str, Any]:
        """The sweep as plain data, which `from_json` reads."""
        plain = {
            "title": self.title,
            "seeds": list(self.seeds),
            "measure": list(self.measure),
            "cells": list(self.cells),
            "seconds": self.seconds,
            "effect": self.effect,
        }
        if states:
            plain["states"] = {name: base64.b64encode(data).decode() for name, data in self.states.items()}
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spec:
        """A sweep from the result of `to_json`.

        Raises:
            InvalidArgument: A key is missing.
        """
        need("a plan", data, Mapping)
        if missing := {"title", "seeds", "measure", "cells", "seconds", "effect"} - set(data):
            raise InvalidArgument(f"a plan without {', '.join(sorted(missing))}")
        states = {name: base64.b64decode(text) for name, text in data.get("states", {}).items()}
        return cls(
            data["title"],
            tuple(data["seeds"]),
            tuple(data["measure"]),
            tuple(data["cells"]),
            data["seconds"],
            data["effect"],
            states,
        )


def describe(cell: Cell) -> str:
    """A cell in one line: what it runs, and every key that is not at its default."""
    words = [f"{cell[key]}" for key in ("caller", "own", "form", "api") if key in cell]
    words.append(f"nr_pages {cell['nr_pages']}")
    for key, k in KEYS.items():
        if (
            key in cell
            and key not in ("caller", "own", "form", "api", "nr_pages")
            and cell[key] not in (k.default, None)
        ):
            words.append(f"{key} {cell[key]}")
    return ", ".join(words)
