"""A sweep's TOML file, read: checked key by key, and multiplied out into cells."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tomllib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bulkpages.callers.ports import PORTS, port
from bulkpages.errors import BulkpagesError, InvalidArgument, MissingFile
from bulkpages.formats.recording import load_snapshot
from bulkpages.states import SHIPPED_STATE
from bulkpages.sweep.cycles import plan_cells
from bulkpages.sweep.holes import check_holes
from bulkpages.sweep.own import own_caller, split
from bulkpages.sweep.spec import (
    FLAGS,
    KEYS,
    KINDS,
    MAX_CELLS,
    MAX_RUNS,
    MAX_SEED,
    MEASURES,
    NEEDED,
    OWN_MACHINE,
    Cell,
    Spec,
    describe,
)
from bulkpages.sweep.unit import make_machine

__all__ = ["read_spec", "spec_from"]


def _name(value: Any) -> str:
    """A value as the file would write it, cut when it is long."""
    text = json.dumps(value) if isinstance(value, (str, bool, int, float, list, dict)) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


TYPES = {str: "a text", int: "an integer", float: "a number", bool: "true or false"}


def _typed(where: str, key: str, kind: type[Any], value: Any) -> Any:
    """The value, when it has the type; an integer counts as a number."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise InvalidArgument(f"{where}: {key} = {_name(value)} is not {TYPES[kind]}")
    if kind is float and not math.isfinite(value):
        raise InvalidArgument(f"{where}: {key} = {value} is not a number that can be used")
    return value


def _axis(where: str, key: str, value: Any) -> list[Any]:
    """The values of a key: a list of them, or the one."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InvalidArgument(f"{where}: {key} = [] has no value: leave the key out, or give one")
    found = []
    for one in values:
        checked = _typed(where, key, KEYS[key].kind, one)
        try:
            found.append(KEYS[key].check(checked))
        except InvalidArgument as error:
            said = str(error)
            said = said if said.startswith("is ") else f": {said}"
            raise InvalidArgument(f"{where}: {key} = {_name(one)} {said}".replace(" : ", ": ")) from error
    return found


def _unknown(where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise InvalidArgument(f"{where}: key {key!r} is unknown; known are {', '.join(known)}")


def _seeds(value: Any) -> tuple[int, ...]:
    where = "seeds"
    if isinstance(value, dict):
        _unknown(where, value, ("first", "count"))
        first = _typed(where, "first", int, value.get("first", 1))
        count = _typed(where, "count", int, value.get("count", 1))
    elif isinstance(value, list):
        seeds = tuple(_typed("top", "seeds", int, seed) for seed in value)
        if not seeds or len(seeds) > MAX_RUNS:
            raise InvalidArgument(f"seeds has {len(seeds)} values; 1 to {MAX_RUNS} are possible")
        for seed in seeds:
            if not 0 <= seed <= MAX_SEED:
                raise InvalidArgument(f"seeds: {seed} is outside 0 to {MAX_SEED}")
        if len(set(seeds)) < len(seeds):
            twice = next(seed for i, seed in enumerate(seeds) if seed in seeds[:i])
            raise InvalidArgument(f"seeds: {twice} is there twice")
        return seeds
    else:
        first, count = 1, _typed("top", "seeds", int, value)
    if not 1 <= count <= MAX_RUNS:
        raise InvalidArgument(f"seeds: a count of {count} is outside 1 to {MAX_RUNS}")
    if not 0 <= first <= MAX_SEED - count:
        raise InvalidArgument(f"seeds: first = {first} is outside 0 to {MAX_SEED - count}")
    return tuple(range(first, first + count))


def _check_cell(cell: Cell) -> None:
    """What depends on more than one key."""
    slots = cell["nr_pages"]
    if cell["what"] == "caller":
        name = cell["caller"]
        known = port(name)
        forms = known.forms
        if cell["form"] not in forms:
            raise InvalidArgument(f"form = {_name(cell['form'])}: {name} has the forms {', '.join(forms)}")
        holes = cell["holes"]
        if known.array == "prefix":
            if holes != "all" and not holes.startswith("prefix "):
                raise InvalidArgument(
                    f'holes = {_name(holes)}: {name} takes "all" or "prefix K", its pages are in front'
                )
        elif known.array == "own" and holes != "all":
            raise InvalidArgument(f"holes = {_name(holes)}: {name} has an array of its own, which is all NULL")
        for key in FLAGS:
            owner = next(p.name for p in PORTS if key in dict(p.flags))
            if cell[key] and name != owner:
                raise InvalidArgument(f"{key} = true is for {owner}, not for {name}")
    check_holes(cell["holes"], slots)


def _of(what: str) -> list[str]:
    """The keys that cells of this kind have."""
    return [key for key, k in KEYS.items() if k.of in ("all", "machine") or what in k.of.split(", ")]


def _block(where: str, table: Mapping[str, Any], machine: Mapping[str, Any]) -> Iterator[Cell]:
    """The cells of one [[cells]] table."""
    what = table.get("what")
    if what not in KINDS:
        raise InvalidArgument(f'{where}: what = {_name(what)} is not one of "bulk", "caller" and "own"')
    known = _of(what)
    _unknown(where, table, ("what", *known))
    axes: dict[str, list[Any]] = {}
    # In the order of the file; what it does not say comes from [machine], then from the defaults.
    given = {**{k: v for k, v in machine.items() if k not in table}, **{k: v for k, v in table.items() if k != "what"}}
    own = [key for key in OWN_MACHINE if key in given]
    if given.get("snapshot") and own:
        raise InvalidArgument(f"{where}: snapshot = {_name(given['snapshot'])} and {own[0]} exclude each other")
    if "which" in given and not given.get("snapshot"):
        raise InvalidArgument(f"{where}: which = {_name(given['which'])} needs a snapshot")
    pictures = given.get("holes", "all")
    if "nr_pages" not in given:
        holes = _axis(where, "holes", pictures)
        sizes = {len(text) for text in holes if not set(text) - {"x", "."}}
        if len(sizes) != 1 or any(set(text) - {"x", "."} for text in holes):
            raise InvalidArgument(f"{where}: key 'nr_pages' is needed (unless all holes are pictures of one length)")
        given["nr_pages"] = sizes.pop()
    for key in known:
        if key not in given and KEYS[key].default == NEEDED:
            raise InvalidArgument(f"{where}: key {key!r} is needed")
    for key in [*given, *(key for key in known if key not in given)]:
        axes[key] = _axis(where, key, given[key]) if key in given else [KEYS[key].default]
    count = math.prod(len(values) for values in axes.values())
    if count > MAX_CELLS:
        sizes_text = " x ".join(f"{key} {len(v)}" for key, v in axes.items() if len(v) > 1)
        raise InvalidArgument(f"{where}: {sizes_text} = {count} cells, and the limit is {MAX_CELLS}")
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        cell = {"what": what, **{key: chosen[key] for key in known}}
        if cell["snapshot"]:
            for key in OWN_MACHINE:
                cell[key] = None
        try:
            _check_cell(cell)
        except InvalidArgument as error:
            raise InvalidArgument(f"{where}: {error}") from error
        yield cell


def _load_states(cells: list[Cell], folder: Path) -> dict[str, bytes]:
    """Replaces each snapshot's path by the digest of its content, so that a run needs no file any more."""
    states: dict[str, bytes] = {}
    known: dict[tuple[str, str], str] = {}
    for cell in cells:
        if not cell["snapshot"]:
            cell["state"] = None
            continue
        key = (cell["snapshot"], cell["which"])
        if key not in known:
            path = folder / cell["snapshot"]
            if cell["snapshot"] == SHIPPED_STATE and not path.exists():
                path = Path(__file__).parent.parent / "data" / SHIPPED_STATE
            try:
                text = json.dumps(load_snapshot(path, cell["which"]), sort_keys=True).encode()
            except BulkpagesError as error:
                raise InvalidArgument(f"snapshot = {_name(cell['snapshot'])}: {error}") from error
            digest = hashlib.sha256(text).hexdigest()[:16]
            states[digest] = zlib.compress(text)
            known[key] = digest
        cell["state"] = known[key]
    return states


def _load_callers(cells: list[Cell], folder: Path) -> dict[str, bytes]:
    """Reads the file of each own caller, so that a run needs it no more; looks whether caller and form are there."""
    sources: dict[str, bytes] = {}
    for cell in cells:
        if cell["what"] != "own":
            continue
        path = folder / split(cell["own"])[0]
        try:
            source = path.read_bytes()
        except OSError as error:
            raise InvalidArgument(f"own = {_name(cell['own'])}: {path}: {error.strerror or error}") from error
        try:
            caller = own_caller(source, cell["own"])
        except InvalidArgument as error:
            raise InvalidArgument(f"own = {_name(cell['own'])}: {error}") from error
        if cell["form"] not in caller.forms:
            forms = ", ".join(caller.forms) or "none yet"
            raise InvalidArgument(f"form = {_name(cell['form'])}: {cell['own']} has the forms {forms}")
        if caller.takes == "pages" and cell["holes"] != "all":
            raise InvalidArgument(f"holes = {_name(cell['holes'])}: {cell['own']} makes an array of its own, all NULL")
        cell["source"] = hashlib.sha256(source).hexdigest()[:16]
        sources[cell["source"]] = source
    return sources


def _boot_each(cells: list[Cell], states: Mapping[str, bytes]) -> None:
    """Every machine once, so that what cannot be booted is said before anything runs."""
    seen = set()
    for cell in cells:
        key = tuple(cell[name] for name in (*OWN_MACHINE, "state"))
        if key not in seen:
            seen.add(key)
            try:
                make_machine(cell, states)
            except BulkpagesError as error:
                what = ", ".join(f"{name} = {_name(cell[name])}" for name in OWN_MACHINE if cell[name] is not None)
                raise InvalidArgument(f"{what or 'snapshot = ' + _name(cell['snapshot'])}: {error}") from error


def spec_from(data: Mapping[str, Any], folder: str | Path = ".") -> Spec:
    """Makes a sweep from the contents of a TOML file.

    Args:
        data: The file as a mapping.
        folder: Folder to which paths of snapshots are relative.

    Raises:
        InvalidArgument: An unknown key, a value of the wrong type or outside its limits, or too many cells; names the
            key, the value and the limit.
    """
    _unknown("top", data, ("title", "seeds", "measure", "machine", "cells", "cycles"))
    if "title" not in data:
        raise InvalidArgument("top: key 'title' is needed")
    title = _typed("top", "title", str, data["title"])
    seeds = _seeds(data.get("seeds", 1))
    measure = data.get("measure", ["counts"])
    measure = measure if isinstance(measure, list) else [measure]
    if not measure or any(one not in MEASURES for one in measure) or len(set(measure)) < len(measure):
        raise InvalidArgument(f"top: measure = {_name(measure)} is none of {', '.join(MEASURES)}")
    for name, kind, text in (("machine", dict, "a table"), ("cycles", dict, "a table"), ("cells", list, "[[cells]]")):
        if name in data and not isinstance(data[name], kind):
            raise InvalidArgument(f"top: {name} = {_name(data[name])} is not {text}")
    machine = data.get("machine", {})
    _unknown("[machine]", machine, [key for key, k in KEYS.items() if k.of == "machine"])
    for key, value in machine.items():
        _axis("[machine]", key, value)
    cycles = data.get("cycles", {})
    _unknown("[cycles]", cycles, ("seconds", "effect"))
    if cycles and "cycles" not in measure:
        raise InvalidArgument('[cycles] is there, and measure does not name "cycles"')
    seconds = _typed("[cycles]", "seconds", float, cycles.get("seconds", 30.0))
    effect = _typed("[cycles]", "effect", float, cycles.get("effect", 0.01))
    for key, value, low, high in (("seconds", seconds, 1, 86400), ("effect", effect, 0.0001, 0.5)):
        if not low <= value <= high:
            raise InvalidArgument(f"[cycles]: {key} = {value} is outside {low} to {high}")
    blocks = data.get("cells", [])
    if not blocks:
        raise InvalidArgument("top: no [[cells]]: there is nothing to run")
    cells: list[Cell] = []
    for number, table in enumerate(blocks, 1):
        where = f"[[cells]] {number}"
        if not isinstance(table, dict):
            raise InvalidArgument(f"{where}: {_name(table)} is not a table")
        cells += _block(where, table, machine)
        if len(cells) > MAX_CELLS:
            raise InvalidArgument(f"{where}: more than {MAX_CELLS} cells in all, which is the limit")
    states = {**_load_states(cells, Path(folder)), **_load_callers(cells, Path(folder))}
    first: dict[str, int] = {}
    for number, cell in enumerate(cells):
        before = first.setdefault(json.dumps(cell, sort_keys=True), number)
        if before != number:
            raise InvalidArgument(f"cells {before + 1} and {number + 1} are the same: {describe(cell)}")
    _boot_each(cells, states)
    spec = Spec(title, seeds, tuple(measure), tuple(cells), seconds, effect, states)
    if spec.runs > MAX_RUNS:
        raise InvalidArgument(
            f"{len(cells)} cells with {len(seeds)} seeds are {spec.runs} runs, and the limit is {MAX_RUNS}"
        )
    if "cycles" in measure:
        plan_cells(spec)
    return spec


def read_spec(path: str | Path) -> Spec:
    """Reads the TOML file of a sweep.

    Args:
        path: The file. Paths in it are relative to its folder.

    Raises:
        MissingFile: There is no such file.
        InvalidArgument: The file cannot be read or is not TOML, or as for `spec_from`; names the file.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFile(path) from error
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{path}: not text: byte {error.start} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path} is not TOML: {error}") from error
    try:
        return spec_from(data, path.parent)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error}") from error
