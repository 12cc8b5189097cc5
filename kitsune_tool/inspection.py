"""What an object file or a release says of the program in it, for people and for programs.

In: the path of an object, archive or release; out: text, or an object for JSON. Called by cli.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kitsune_tool import objects
from kitsune_tool.declare import declare, user_name
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.model import (
    UNKNOWN,
    Annotations,
    Enum,
    Field,
    Program,
    Record,
    Type,
    Typedef,
    TypeIndex,
    Unit,
)


def as_text(path: Path) -> str:
    """Return a listing in the order of the source: state, functions, update points, types."""
    found = _read(path)
    return "\n".join(line for part in found for line in _part(part))


def as_data(path: Path) -> list[dict[str, Any]]:
    """Return the same as plain data; field names are those of model.py."""
    return [
        {"kind": type(part).__name__.lower(), **dataclasses.asdict(part)} for part in _read(path)
    ]


def _read(path: Path) -> tuple[Unit | Program, ...]:
    if objects.read_identity(path) is not None:
        return (objects.read_program(path),)
    units = objects.read_units(path)
    if not units:
        raise KitsuneError(
            "K232",
            "it says nothing of a program",
            at=Location(str(path)),
            hint="it was not compiled by 'kitsune cc', or is no object, archive or release",
        )
    return units


def _part(part: Unit | Program) -> Iterator[str]:
    yield _head(part)
    for variable in part.variables:
        place = f"  [{variable.at}]" if variable.at else ""
        shown = _declared(part.types, variable.type, variable.key)
        size = "" if variable.size_bytes == UNKNOWN else f"  {variable.size_bytes} bytes"
        yield f"  {variable.storage}: {shown}{_noted(variable.annotations)}{size}{place}"
    for function in part.functions:
        if function.registered:
            yield f"  function pointed to: {function.key}"
    for point in part.update_points:
        name = f"'{point.name}'" if point.name is not None else "(named at run time)"
        yield f"  update point: {name} in {point.function}  [{point.at}]"
    for edit in part.edits:
        yield f"  edit {edit.edit + 1}: {edit.text}  [{edit.at}]"
    for node in part.types:
        yield from _type(part.types, node)


def _head(part: Unit | Program) -> str:
    if isinstance(part, Unit):
        return f"unit {part.source}"
    return f"program {part.name}, version {part.version}, {len(part.sources)} units"


def _type(types: tuple[Type, ...], node: Type) -> Iterator[str]:
    match node:
        case Record(system=False, complete=True, fields=fields, size=size):
            name = node.tag or node.typedef_name or "(anonymous)"
            yield f"  {node.kind} {name}{_noted(node.annotations)}  {size} bytes  [{node.at}]"
            yield from (f"    {_offset(field)} {_field(types, field)}" for field in fields)
        case Enum(complete=True, enumerators=enumerators):
            values = ", ".join(f"{name} = {value}" for name, value in enumerators)
            yield f"  enum {node.tag or node.typedef_name or '(anonymous)'} {{ {values} }}"
        case Typedef(system=False):
            yield f"  typedef {_declared(types, node.to, node.name)}{_noted(node.annotations)}"


def _offset(field: Field) -> str:
    return f"+{field.offset_bytes}" if field.offset_bytes != UNKNOWN else f":{field.bits}"


def _field(types: tuple[Type, ...], field: Field) -> str:
    return _declared(types, field.type, field.name) + _noted(field.annotations)


def _declared(types: tuple[Type, ...], index: TypeIndex, inner: str) -> str:
    return declare(types, index, inner, lambda named: user_name(types, named))


def _noted(annotations: Annotations) -> str:
    return "".join(
        f" {each.kind}({each.text})" if each.text else f" {each.kind}" for each in annotations
    )
