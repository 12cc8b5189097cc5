"""A case: a program in two versions and a heap of the first, as data.

Everything is described once, with two faces: an entity (type, member, variable, function) has the
name, type and place of the old version and those of the new one. So what corresponds to what is
known here without looking at either program's text, and the oracle follows it.

Names are short (`s0`, `v1`); emit.py gives each case a prefix, so that hundreds share a program.
Entities refer to each other by their index. Cases are made by draw.py, kept as JSON.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Side: TypeAlias = Literal["old", "new"]


# ---- types ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Num:
    """An arithmetic type by its C name."""

    name: str


@dataclass(frozen=True, slots=True)
class EnumUse:
    """An enum."""

    enum: int


@dataclass(frozen=True, slots=True)
class Use:
    """A struct or union, with what its type parameters are bound to."""

    record: int
    bound: tuple[Type, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """A typedef."""

    typedef: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """A type parameter of the struct around, behind a pointer: `void E_T(@a) *`."""

    index: int


@dataclass(frozen=True, slots=True)
class Word:
    """A `void *` that is a type parameter itself: `void * E_T(@a)`."""

    index: int


@dataclass(frozen=True, slots=True)
class Length:
    """How many objects: a number, a member of the struct around, or a variable, plus something."""

    of: Literal["number", "member", "variable"]
    which: int
    plus: int = 0


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer. `to` is None for `void *`.

    `how`: to one object, an array of `length`, a terminated array, text (a `char *` without
    annotation), opaque bits, or `element`: declared `void *`, and its type said by annotation.
    `outside`: the annotation is in the manifest.
    """

    to: Type | None
    how: Literal["one", "array", "terminated", "text", "opaque", "element"] = "one"
    length: Length | None = None
    outside: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """A function pointer; `signature` is the index of one of emit.py's."""

    signature: int


@dataclass(frozen=True, slots=True)
class Array:
    """An array that may get another length."""

    of: Type
    count: int
    new_count: int


@dataclass(frozen=True, slots=True)
class Flexible:
    """The last member of a struct, as long as a member says."""

    of: Type
    length: Length


Type: TypeAlias = (
    Num | EnumUse | Use | Named | Parameter | Word | Pointer | Code | Array | Flexible
)  # fmt: skip


TAG = "kind"
"""The name of the member that tells which member of a union beside it is in use."""
TAG_MASK = 7


# ---- what has a name -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """How the manifest says that a value is made.

    `keep`: code that is empty, the initial value. `set`: the number. `affine`: `$in * times +
    plus`. `whole`: the same of member `source` of the whole old struct. `base`: of `$base.source`.
    """

    kind: Literal["keep", "set", "affine", "whole", "base"]
    plus: int = 0
    times: int = 1
    source: int = -1


@dataclass(frozen=True, slots=True)
class Enumerator:
    """An enumerator; a value of None: it is not in that version."""

    name: str
    new_name: str
    value: int | None
    new_value: int | None
    renamed: bool = True
    """A rule says so, if it has a new name."""


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum."""

    tag: str
    new_tag: str
    enumerators: tuple[Enumerator, ...]
    renamed: bool = True


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a record. `old`, `new`: it is in that version.

    Neighbours of equal `group` (not 0) share an anonymous struct. `renamed`: a rule says so.
    """

    name: str
    new_name: str
    type: Type
    new_type: Type
    old: bool = True
    new: bool = True
    bits: int | None = None
    new_bits: int | None = None
    group: int = 0
    new_group: int = 0
    align: int = 0
    ignore: bool = False
    rule: Rule | None = None
    renamed: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """A struct or union. `new_order` lists the members as the new version does."""

    kind: Literal["struct", "union"]
    tag: str
    new_tag: str
    members: tuple[Member, ...]
    new_order: tuple[int, ...]
    parameters: int = 0
    packed: bool = False
    new_packed: bool = False
    align: int = 0
    new_align: int = 0
    renamed: bool = True
    outside: bool = False
    """Its `generic` is in the manifest."""
    told: Literal["", "value", "mask", "conditions"] = ""
    """Of a union: how the member `TAG` of the struct around tells which of its own is in use; that
    is its index + 1, and with `mask` something besides.
    """


@dataclass(frozen=True, slots=True)
class Typedef:
    """A typedef of what comes before it."""

    name: str
    new_name: str
    type: Type
    after: int
    """How many records are defined before it."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function to which pointers may be kept. `library`: it is libc's of this name."""

    name: str
    new_name: str
    signature: int
    storage: Literal["global", "static"] = "static"
    new_storage: Literal["global", "static"] = "static"
    file: int = 0
    new_file: int = 0
    library: bool = False
    new: bool = True
    renamed: bool = True
    accepted: bool = False
    """An `init` rule says that nobody has a pointer to it."""


Storage: TypeAlias = Literal["global", "static", "local"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable. `initial`, `new_initial`: of a number, what it is initialised to."""

    name: str
    new_name: str
    type: Type
    new_type: Type
    storage: Storage = "global"
    new_storage: Storage = "global"
    file: int = 0
    new_file: int = 0
    old: bool = True
    new: bool = True
    initial: int = 0
    new_initial: int = 0
    const: bool = False
    manual: Literal["", "left", "asked"] = ""
    """`left`: manual and not asked for; `asked`: by a MIGRATE_* of main."""
    ignore: bool = False
    rule: Rule | None = None
    renamed: bool = True


# ---- the heap ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class To:
    """A pointer's value: an object, and the way into it (members and elements, by index)."""

    object: int
    path: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ToText:
    """A pointer to a string literal, `offset` bytes into it."""

    literal: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class ToCode:
    """A pointer to a function."""

    function: int


@dataclass(frozen=True, slots=True)
class In:
    """A struct's value, by the index of the member; of a union, the one in use."""

    members: tuple[tuple[int, Value], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """An array's value."""

    elements: tuple[Value, ...]


Value: TypeAlias = int | float | To | ToText | ToCode | In | Row | None


@dataclass(frozen=True, slots=True)
class Object:
    """A variable's memory, or a block of the heap.

    `variable` is -1 for a block; its value is then a `Row` of objects of `type`. `ended`: the last
    of them is zero because it ends the row. `dead`: nothing that is carried over leads to it.
    """

    variable: int
    type: Type
    value: Value
    ended: bool = False
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A pair of versions and a heap."""

    enums: tuple[EnumType, ...] = ()
    records: tuple[Record, ...] = ()
    typedefs: tuple[Typedef, ...] = ()
    functions: tuple[Function, ...] = ()
    variables: tuple[Variable, ...] = ()
    literals: tuple[str, ...] = ()
    objects: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """What the manifest of a case's program allows, and what else is true of that program.

    `moves`: some object of it gets a new block.
    """

    widen: bool = False
    grow: bool = False
    initial: bool = False
    moves: bool = True


OPAQUE = Pointer(None, "opaque")


# ---- following types -----------------------------------------------------------------------------


def bind(of: Type, bound: tuple[Type, ...]) -> Type:  # noqa: PLR0911 - one per kind of type
    """Return the type with parameters replaced by what they are bound to."""
    match of:
        case Parameter(index):
            return bound[index] if bound else of
        case Word(index):
            return bound[index] if bound else of
        case Use(record, inner):
            return Use(record, tuple(bind(each, bound) for each in inner))
        case Pointer(to=Parameter(index)) if bound and bound[index] == OPAQUE:
            return OPAQUE
        case Pointer(to=to) if to is not None:
            return dataclasses.replace(of, to=bind(to, bound))
        case Array(inner, count, new_count):
            return Array(bind(inner, bound), count, new_count)
        case Flexible(inner, length):
            return Flexible(bind(inner, bound), length)
        case _:
            return of


def plain(case: Case, of: Type) -> Type:
    """Return the type behind typedefs."""
    while isinstance(of, Named):
        of = case.typedefs[of.typedef].type
    return of


def member_type(member: Member, side: Side, bound: tuple[Type, ...]) -> Type:
    """Return a member's type in one version."""
    return bind(member.type if side == "old" else member.new_type, bound)


# ---- JSON ----------------------------------------------------------------------------------------

_CLASSES = {
    each.__name__: each
    for each in (
        *(Num, EnumUse, Use, Named, Parameter, Word, Length, Pointer, Code, Array, Flexible),
        *(Rule, Enumerator, EnumType, Member, Record, Typedef, Function, Variable),
        *(To, ToText, ToCode, In, Row, Object, Case, Options),
    )
}


def to_json(thing: Any) -> Any:
    """Return plain data; members that have their default value are left out."""
    if isinstance(thing, tuple):
        return [to_json(each) for each in thing]
    if not dataclasses.is_dataclass(thing):
        return thing
    data = {"is": type(thing).__name__}
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        if value != field.default:
            data[field.name] = to_json(value)
    return data


def from_json(data: Any) -> Any:
    """Return what `to_json` was given."""
    if isinstance(data, list):
        return tuple(from_json(each) for each in data)
    if not isinstance(data, dict):
        return data
    made = _CLASSES[data["is"]]
    return made(**{name: from_json(value) for name, value in data.items() if name != "is"})


def text_of(case: Case) -> str:
    """Return a case as text to keep."""
    return json.dumps(to_json(case), indent=1) + "\n"
