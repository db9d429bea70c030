"""What drgn was asked about a kernel, stored: types, symbols and memory; a program that answers the same from the file.

`python tests/lib/stored_program.py CORE VMLINUX FILE` makes one: what reading the state touches.
"""

from __future__ import annotations

import gzip
import json
import sys
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drgn import (
    Architecture,
    FaultError,
    FindObjectFlags,
    Object,
    Platform,
    PlatformFlags,
    Program,
    Qualifiers,
    Type,
    TypeEnumerator,
    TypeKind,
    TypeMember,
)

PLATFORM = Platform(Architecture.X86_64, PlatformFlags.IS_64_BIT | PlatformFlags.IS_LITTLE_ENDIAN)
COMPOUND = {TypeKind.STRUCT: "struct_type", TypeKind.UNION: "union_type", TypeKind.CLASS: "class_type"}


class Described:
    """Types as JSON; those of members are described when they are looked at."""

    def __init__(self) -> None:
        self.types: list[dict[str, Any]] = []
        self.sources: list[Type] = []
        self.known: dict[str, int] = {}

    def number(self, t: Type) -> int:
        key = f"{t.kind} {t.qualifiers.value} {t}" if t.kind != TypeKind.ENUM and not _anonymous(t) else repr(t)
        if key in self.known:
            return self.known[key]
        number = self.known[key] = len(self.types)
        self.types.append({})
        self.sources.append(t)
        self.types[number] |= self.description(t)
        return number

    def description(self, t: Type) -> dict[str, Any]:
        found: dict[str, Any] = {"kind": t.kind.name, "qualifiers": t.qualifiers.value}
        if t.kind in (TypeKind.INT, TypeKind.BOOL, TypeKind.FLOAT):
            found |= {"name": t.name, "size": t.size}
            if t.kind == TypeKind.INT:
                found["signed"] = t.is_signed
        elif t.kind in COMPOUND:
            found |= {"tag": t.tag, "size": t.size}
            found["members"] = (
                None if not t.is_complete() else [[m.name, m.bit_offset, None, m.bit_field_size] for m in t.members]
            )
        elif t.kind == TypeKind.ENUM:
            values = None if t.enumerators is None else [[e.name, e.value] for e in t.enumerators]
            found |= {"tag": t.tag, "type": self.number(t.type) if t.type else None, "values": values}
        elif t.kind == TypeKind.TYPEDEF:
            found |= {"name": t.name, "type": self.number(t.type)}
        elif t.kind == TypeKind.POINTER:
            found |= {"type": self.number(t.type) if t.type.kind != TypeKind.FUNCTION else self.void()}
        elif t.kind == TypeKind.ARRAY:
            found |= {"type": self.number(t.type), "length": t.length}
        return found

    def void(self) -> int:
        self.types.append({"kind": "VOID", "qualifiers": 0})
        self.sources.append(None)
        return len(self.types) - 1

    def member(self, number: int, index: int) -> int:
        """The number of a member's type."""
        member = self.types[number]["members"][index]
        if member[2] is None:
            member[2] = self.number(self.sources[number].members[index].type)
        return int(member[2])


def _anonymous(t: Type) -> bool:
    return t.kind in COMPOUND and t.tag is None


class _Stored:
    """Makes the types of a program from their descriptions."""

    def __init__(self, prog: Program, types: list[dict[str, Any]], member: Callable[[int, int], int | None]) -> None:
        self.prog, self.types, self.member = prog, types, member
        self.made: dict[int, Type] = {}

    def type(self, number: int) -> Type:
        if number not in self.made:
            about = self.types[number]
            made = self.make(number, about)
            self.made[number] = made.qualified(Qualifiers(about["qualifiers"]))
        return self.made[number]

    def make(self, number: int, about: dict[str, Any]) -> Type:
        prog = self.prog
        kind = TypeKind[about["kind"]]
        if kind in COMPOUND:
            members = about["members"]
            return getattr(prog, COMPOUND[kind])(
                about["tag"],
                about["size"] if members is not None else None,
                None if members is None else [self.of_member(number, i, m) for i, m in enumerate(members)],
            )
        match kind:
            case TypeKind.INT:
                return prog.int_type(about["name"], about["size"], about["signed"])
            case TypeKind.BOOL:
                return prog.bool_type(about["name"], about["size"])
            case TypeKind.FLOAT:
                return prog.float_type(about["name"], about["size"])
            case TypeKind.ENUM:
                values = about["values"]
                if values is None:
                    return prog.enum_type(about["tag"])
                return prog.enum_type(about["tag"], self.type(about["type"]), [TypeEnumerator(*v) for v in values])
            case TypeKind.TYPEDEF:
                return prog.typedef_type(about["name"], self.type(about["type"]))
            case TypeKind.POINTER:
                return prog.pointer_type(self.type(about["type"]))
            case TypeKind.ARRAY:
                return prog.array_type(self.type(about["type"]), about["length"])
        return prog.void_type()

    def of_member(self, number: int, index: int, about: list[Any]) -> TypeMember:
        name, offset, _, bits = about

        def find() -> Object:
            found = self.member(number, index)
            if found is None:
                raise LookupError(f"member {name} was not looked at when this was stored")
            return Object(self.prog, self.type(found), bit_field_size=bits)

        return TypeMember(find, name, offset)


def _program(
    stored: dict[str, Any],
    member: Callable[[int, int], int | None],
    read: Callable[[int, int], bytes],
    find_type: Callable[[str], int | None],
    find_object: Callable[[str, FindObjectFlags], dict[str, Any] | None],
) -> Program:
    prog = Program(PLATFORM)
    types = _Stored(prog, stored["types"], member)
    prog.add_memory_segment(0, (1 << 64) - 1, lambda address, count, _offset, _physical: read(address, count))

    def type_finder(_: Program, kinds: Any, name: str, __: str | None) -> Type | None:
        for kind in sorted(kinds, key=lambda kind: kind.name):
            number = find_type(f"{kind.name} {name}")
            if number is not None:
                return types.type(number)
        return None

    def object_finder(_: Program, name: str, flags: FindObjectFlags, __: str | None) -> Object | None:
        about = find_object(name, flags)
        if about is None:
            return None
        if "address" in about:
            return Object(prog, types.type(about["type"]), address=about["address"])
        return Object.from_bytes_(prog, types.type(about["type"]), bytes.fromhex(about["bytes"]))

    prog.register_type_finder("stored", type_finder, enable_index=0)
    prog.register_object_finder("stored", object_finder, enable_index=0)
    return prog


def listening(real: Program) -> tuple[Program, dict[str, Any]]:
    """A program that asks `real`, and what it was told so far."""
    described = Described()
    memory: dict[int, bytes] = {}
    stored: dict[str, Any] = {"types": described.types, "names": {}, "objects": {}, "memory": memory}

    def read(address: int, count: int) -> bytes:
        data: bytes = real.read(address, count)
        if len(data) > len(memory.get(address, b"")):
            memory[address] = data
        return data

    def find_type(name: str) -> int | None:
        if name not in stored["names"]:
            kind, _, word = name.partition(" ")
            prefix = {"STRUCT": "struct ", "UNION": "union ", "ENUM": "enum ", "CLASS": "class "}.get(kind, "")
            try:
                found = real.type(prefix + word)
            except LookupError:
                return None
            if found.kind.name != kind:
                return None
            stored["names"][name] = described.number(found)
        return int(stored["names"][name])

    def find_object(name: str, flags: FindObjectFlags) -> dict[str, Any] | None:
        if name not in stored["objects"]:
            try:
                found = real.object(name, flags)
            except LookupError:
                return None
            about: dict[str, Any] = {"type": described.number(found.type_)}
            if found.address_ is None:
                about["bytes"] = found.to_bytes_().hex()
            else:
                about["address"] = found.address_
            stored["objects"][name] = about
        about = stored["objects"][name]
        return dict(about)

    return _program(stored, described.member, read, find_type, find_object), stored


def save(stored: dict[str, Any], path: Path) -> None:
    ranges: list[tuple[int, bytearray]] = []
    for address, data in sorted(stored["memory"].items()):
        if ranges and address <= ranges[-1][0] + len(ranges[-1][1]):
            at, known = ranges[-1]
            known[address - at : address - at + len(data)] = data
        else:
            ranges.append((address, bytearray(data)))
    whole = stored | {"memory": [[at, bytes(data).hex()] for at, data in ranges]}
    path.write_bytes(gzip.compress(json.dumps(whole, separators=(",", ":")).encode(), mtime=0))


def load(
    path: Path,
    change: Callable[[int, bytes], bytes] = lambda _address, data: data,
    without: tuple[str, ...] = (),
    texts: dict[str, str] | None = None,
) -> Program:
    """The program of a file.

    Args:
        path: The file.
        change: Makes other memory of what a read at an address finds.
        without: Symbols and types that it does not have.
        texts: Symbols that hold another text, as long as their own or shorter.
    """
    stored = json.loads(gzip.decompress(path.read_bytes()))
    for name in without:
        stored["objects"].pop(name, None)
        stored["names"].pop(f"STRUCT {name}", None)
    for name, text in (texts or {}).items():
        about = stored["objects"][name]
        about["bytes"] = text.encode().ljust(len(about["bytes"]) // 2, b"\0").hex()
    ranges = [(at, bytes.fromhex(text)) for at, text in stored["memory"]]
    starts = [at for at, _ in ranges]

    def read(address: int, count: int) -> bytes:
        index = bisect_right(starts, address) - 1
        at, data = ranges[index] if index >= 0 else (0, b"")
        found = data[address - at : address - at + count]
        if len(found) < count:
            raise FaultError("not stored", address)
        return change(address, found)

    def member(number: int, index: int) -> int | None:
        found: int | None = stored["types"][number]["members"][index][2]
        return found

    return _program(stored, member, read, stored["names"].get, lambda name, _flags: stored["objects"].get(name))


if __name__ == "__main__":
    from bulkpages.running import open_core, read_state

    core, vmlinux, file = sys.argv[1:]
    prog, told = listening(open_core(core, vmlinux))
    state = read_state(prog)
    save(told, Path(file))
    again = read_state(load(Path(file)))
    assert again == state
    print(f"{file}: {Path(file).stat().st_size} bytes, {state.blocks} free blocks, {len(told['types'])} types")
