"""What is known of a unit and of a program: types, variables, functions, update points.

The front-end makes a `Unit` per object file, which travels inside the object (objects.py writes and
reads it). program.py merges the units of a release into a `Program`, which travels inside the
release. compare.py and plan.py read two Programs. Everything here is plain data: frozen, slotted,
with a JSON form (`to_json`, `from_json`) whose version is `SCHEMA`.

Types form a graph; a type is known by its index into the `types` tuple of its unit or program, so
that recursive types need no special case. Sizes, alignments and offsets are the compiler's: in the
JSON of a unit they are absent (-1) and read from the layout table in the object.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from kitsune_tool.errors import Location

SCHEMA = 3
OWN_HEADERS = "<kitsune>/"
"""In front of the names of Kitsune's own headers, whose types are known only where used."""
UNKNOWN = -1
"""A size, alignment or offset that is not known, or does not exist (bit-fields have no offset)."""

UNKNOWN_TYPE = "__kt_unknown"
"""The name of a `Scalar` that only the compiler knows (`typeof(expression)`, `__auto_type`)."""

TypeIndex: TypeAlias = int

AnnotationKind: TypeAlias = Literal[
    "ptr", "opaque", "ptrarray", "array", "sz", "generic", "t", "g", "ignore", "custom",
    "auto_migrate", "manual_migrate", "notelocals", "element", "bytes", "pooled",
    "union", "case",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Annotation:
    """One `E_*` annotation, or its spelling in the manifest.

    `text` is what stands between the parentheses, as written and stripped: `self.n` of
    `E_PTRARRAY(self.n)`, `@k, @v` of `E_GENERIC(@k, @v)`. `element` (manifest only) gives the type
    that a `void *` or `char *` points to; `bytes` and `pooled` (manifest only) say how large the
    objects of a struct are and that several share a block. `g` behind a generic type's name
    (`struct s E_G(@t) *p`) stands on the pointer or array around that type, or else on the
    declaration; `t` behind `void` makes it a `TypeParameter`. `union` (manifest only) tells by a
    tag which member of a union is in use, as unions.py writes it; `case` names the one that always
    is. `path` (manifest only) names the member, dot by dot, below the annotated record or variable
    that this is about; empty for the record or variable itself.
    """

    kind: AnnotationKind
    text: str = ""
    at: Location | None = None
    path: str = ""


Annotations: TypeAlias = tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class Scalar:
    """An arithmetic type, `void`, or one that is copied whole (`__int128`, vectors, va_list).

    `name` is the canonical spelling ("unsigned long", "_Bool"); qualifiers are dropped, `_Atomic`
    is kept in the name.
    """

    name: str
    kind: Literal["void", "bool", "signed", "unsigned", "float", "complex", "other"]
    size: int = UNKNOWN
    align: int = UNKNOWN


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer; the annotations stand on this `*`."""

    to: TypeIndex
    annotations: Annotations = ()
    const_target: bool = False


@dataclass(frozen=True, slots=True)
class Array:
    """An array; `length` is None if the type does not tell it (`T x[]`, a flexible member)."""

    of: TypeIndex
    length: int | None
    annotations: Annotations = ()
    size: int = UNKNOWN


@dataclass(frozen=True, slots=True)
class Parameter:
    """A function's parameter; `name` may be empty."""

    name: str
    type: TypeIndex


@dataclass(frozen=True, slots=True)
class Function:
    """A function type; `prototype` is false for `T f()` before C23."""

    result: TypeIndex
    parameters: tuple[Parameter, ...]
    variadic: bool = False
    prototype: bool = True


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a struct or union; `name` is empty for an anonymous struct, union or padding.

    `offset_bytes` and `size_bytes` are unknown for a bit-field, whose `bits` is its width.
    """

    name: str
    type: TypeIndex
    offset_bytes: int = UNKNOWN
    size_bytes: int = UNKNOWN
    bits: int | None = None
    annotations: Annotations = ()
    at: Location | None = None
    align_as: str = ""
    """Attributes that change the member's layout, as GNU C to be emitted after its declarator."""


@dataclass(frozen=True, slots=True)
class Record:
    """A struct or union. `tag` is empty for an anonymous one, whose `typedef_name` is the first
    typedef that names it, if any. `scope` is "" at file scope, else the function (`f`, or `f#2` for
    the second block-scope type of that tag in `f`). `parameters` are those of `E_GENERIC`.
    """

    kind: Literal["struct", "union"]
    tag: str
    fields: tuple[Field, ...]
    complete: bool
    size: int = UNKNOWN
    align: int = UNKNOWN
    typedef_name: str = ""
    scope: str = ""
    attributes: str = ""
    """Attributes that change the layout, as GNU C to be emitted after the closing brace."""
    annotations: Annotations = ()
    at: Location | None = None
    system: bool = False
    """Defined in a system header."""


@dataclass(frozen=True, slots=True)
class Enum:
    """An enumeration with its values as the compiler gave them."""

    tag: str
    enumerators: tuple[tuple[str, int], ...]
    complete: bool = True
    size: int = UNKNOWN
    align: int = UNKNOWN
    signed: bool = False
    typedef_name: str = ""
    scope: str = ""
    at: Location | None = None


@dataclass(frozen=True, slots=True)
class Typedef:
    """A typedef; kept in the graph because rules and annotations name it."""

    name: str
    to: TypeIndex
    annotations: Annotations = ()
    scope: str = ""
    at: Location | None = None
    system: bool = False


@dataclass(frozen=True, slots=True)
class TypeParameter:
    """A parameter of a generic type (`E_T(@t)` on a `void`); `name` has its @."""

    name: str


Type: TypeAlias = Scalar | Pointer | Array | Function | Record | Enum | Typedef | TypeParameter


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that this program defines: one of static or thread storage duration, or a
    parameter or local variable of a function whose locals are noted.

    `key` is the one of the language: `var`, `file.c/var`, `file.c/func#var`, `func#var` for a
    local, with `.2` after the name of the second one of that name in one function, and `ns@`
    before it where the unit sets `KT_NAMESPACE`.
    """

    key: str
    name: str
    storage: Literal["global", "static", "local_static", "local", "parameter"]
    type: TypeIndex
    function: str = ""
    size_bytes: int = UNKNOWN
    thread_local: bool = False
    const: bool = False
    annotations: Annotations = ()
    at: Location | None = None

    @property
    def is_local(self) -> bool:
        """Tell whether it lives in a function's frame."""
        return self.storage in {"local", "parameter"}


@dataclass(frozen=True, slots=True)
class FunctionSymbol:
    """A function. `registered` ones are in the runtime's table: their address is taken in this unit
    (also when it is defined elsewhere, `defined` False then).
    """

    key: str
    name: str
    storage: Literal["global", "static"]
    type: TypeIndex | None
    defined: bool
    registered: bool
    annotations: Annotations = ()
    at: Location | None = None


@dataclass(frozen=True, slots=True)
class UpdatePoint:
    """A call of `kitsune_update`; `name` is None if the argument is no string literal."""

    name: str | None
    function: str
    at: Location | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """A cast in a function's body that takes a pointer to a struct of the program's own for
    something else, or something else for one. The types are as written (`struct item *`); `source`
    is empty where it is not known. Of equal ones in a function the first.
    """

    target: str
    source: str
    function: str
    at: Location | None = None


@dataclass(frozen=True, slots=True)
class EditMatch:
    """Where an edit of the manifest was applied in this unit; `edit` is its index in the list."""

    edit: int
    function: str
    at: Location
    text: str
    """What was inserted, or the statement that was guarded, in one line."""


@dataclass(frozen=True, slots=True)
class Unit:
    """All that is known of one object file. `source` is relative to the version's source root."""

    source: str
    types: tuple[Type, ...]
    variables: tuple[Variable, ...]
    functions: tuple[FunctionSymbol, ...]
    update_points: tuple[UpdatePoint, ...] = ()
    edits: tuple[EditMatch, ...] = ()
    namespace: str = ""
    digest: str = ""
    """Hex digest that pairs the record with its layout table: of the unit's path and types."""
    compiler: str = ""
    requests: tuple[str | None, ...] = ()
    """Keys of variables that a `MIGRATE_*` asks for; None for one that is no string literal."""
    casts: tuple[Cast, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A whole version: the units merged, types unified by structure, annotations of the manifest
    applied. What a release carries and what the next one is compared with.

    `type_units` says for each type in which units (sources) it is seen; `literals` are file-scope
    names of update points and the like that need no type.
    """

    name: str
    version: str
    types: tuple[Type, ...]
    variables: tuple[Variable, ...]
    functions: tuple[FunctionSymbol, ...]
    update_points: tuple[UpdatePoint, ...]
    edits: tuple[EditMatch, ...] = ()
    sources: tuple[str, ...] = ()
    type_units: tuple[tuple[int, ...], ...] = ()
    """For each type, the indices into `sources` of the units that know it."""
    requests: tuple[str | None, ...] = ()
    """As in `Unit`, of all units."""
    casts: tuple[Cast, ...] = ()


_TYPES: dict[str, type] = {
    cls.__name__: cls
    for cls in (Scalar, Pointer, Array, Function, Record, Enum, Typedef, TypeParameter)
}


def children(node: Type) -> tuple[TypeIndex, ...]:
    """Return the types that `node` refers to, in a fixed order."""
    match node:
        case Pointer(to=to) | Typedef(to=to):
            return (to,)
        case Array(of=of):
            return (of,)
        case Function(result=result, parameters=parameters):
            return (result, *(parameter.type for parameter in parameters))
        case Record(fields=fields):
            return tuple(field.type for field in fields)
        case _:
            return ()


def with_children(node: Type, new: tuple[TypeIndex, ...]) -> Type:
    """Return `node` with its types, in the order of `children`, replaced by `new`."""
    match node:
        case Pointer() | Typedef():
            return dataclasses.replace(node, to=new[0])
        case Array():
            return dataclasses.replace(node, of=new[0])
        case Function(parameters=parameters):
            pairs = zip(parameters, new[1:], strict=True)
            changed = tuple(dataclasses.replace(p, type=t) for p, t in pairs)
            return dataclasses.replace(node, result=new[0], parameters=changed)
        case Record(fields=fields):
            fs = zip(fields, new, strict=True)
            return dataclasses.replace(
                node, fields=tuple(dataclasses.replace(f, type=t) for f, t in fs)
            )
        case _:
            return node


def to_json(value: Unit | Program) -> Any:
    """Return `value` as lists, strings and numbers, with the schema's version in front."""
    return [SCHEMA, type(value).__name__, _encode(value)]


def from_json(data: Any) -> Unit | Program:
    """Read what `to_json` made.

    Raises `ValueError` if `data` is not of that form or of another schema version.
    """
    try:
        schema, kind, body = data
        if schema != SCHEMA:
            raise ValueError(f"schema {schema} is not {SCHEMA}")
        cls = {"Unit": Unit, "Program": Program}[kind]
        result = _decode_class(cls, body)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a record of kitsune: {error!r}") from error
    assert isinstance(result, Unit | Program)
    return result


def _encode(value: Any) -> Any:
    cls = type(value)
    if cls is str or cls is int:
        return value
    if cls is tuple:
        return [_encode(item) for item in value]
    names = getattr(cls, "__match_args__", None)  # a dataclass's fields, in order
    if names is None:
        return value
    body = [_encode(getattr(value, name)) for name in names]
    return [cls.__name__, *body] if cls.__name__ in _TYPES else body


def _decode_class(cls: type, body: list[Any]) -> Any:
    fields = dataclasses.fields(cls)
    if len(body) != len(fields):
        raise ValueError(f"{cls.__name__} has {len(fields)} fields, not {len(body)}")
    values = (_decode(str(field.type), item) for field, item in zip(fields, body, strict=True))
    return cls(*values)


def _decode(declared: str, item: Any) -> Any:
    if item is None:
        return None
    if declared.startswith("Location"):
        return Location(*item)
    if declared == "Annotations":
        return tuple(_decode_class(Annotation, each) for each in item)
    if declared.startswith("tuple["):
        return _decode_tuple(declared.removeprefix("tuple["), item)
    return item


def _decode_tuple(declared: str, items: list[Any]) -> tuple[Any, ...]:
    element = declared.split(",", maxsplit=1)[0]
    if element == "Type":
        return tuple(_decode_class(_TYPES[each[0]], each[1:]) for each in items)
    cls = _PARTS.get(element)
    if cls is not None:
        return tuple(_decode_class(cls, each) for each in items)
    return tuple(tuple(each) if isinstance(each, list) else each for each in items)


_PARTS: dict[str, type] = {
    cls.__name__: cls
    for cls in (Parameter, Field, Variable, FunctionSymbol, UpdatePoint, EditMatch, Cast)
}
