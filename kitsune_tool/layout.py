"""Have the compiler say the sizes and offsets of a unit's types, and read them back.

In: a `Unit` without numbers. Out: C constant expressions, which insert.py puts into tables; later,
in objects.py, the tables' numbers and the unit filled in with them.

The *slots* of a unit are its unknown numbers in a fixed order that follows from the unit alone, so
that writer and reader need no further agreement. The tables are segments in one section: magic,
the unit's digest, the first slot, a count, then that many numbers (unsigned 64 bit, the target's
byte order). Most slots are in one segment at the end of the unit; a type that only a function's
block can name has a segment of its own there, which the compiler may drop with the function: those
numbers stay unknown, as do those of what C has no name for at all.
"""

from __future__ import annotations

import dataclasses
import struct
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from kitsune_tool.model import (
    UNKNOWN,
    Array,
    Enum,
    Field,
    Pointer,
    Record,
    Scalar,
    Type,
    Typedef,
    TypeIndex,
    Unit,
    Variable,
    children,
)

MAGIC = 0x4B495453554E4531
NOTHING = MAGIC - 1
"""Written where there is no expression for a slot; no size, offset or enumerator is like it."""

SlotKind = Literal["size", "align", "signed", "offset", "field", "width", "value", "variable"]


class Slot(NamedTuple):
    """An unknown number: of type `of` (its `part`-th field or enumerator) or of a variable."""

    kind: SlotKind
    of: int
    part: int = 0


def slots(unit: Unit) -> list[Slot]:
    """Return the unit's slots in their order."""
    found = [slot for at, node in enumerate(unit.types) for slot in _type_slots(at, node)]
    found += [Slot("variable", at) for at in range(len(unit.variables))]
    return found


def _type_slots(at: int, node: Type) -> list[Slot]:
    size = Slot("size", at)
    align = Slot("align", at)
    match node:
        case Scalar(kind=kind) if kind != "void":
            return [size, align]
        case Array(length=length) if length is not None:
            return [size]
        case Enum(complete=True, enumerators=enumerators):
            values = [Slot("value", at, part) for part in range(len(enumerators))]
            return [size, align, Slot("signed", at), *values]
        case Record(complete=True, fields=fields):
            parts = [slot for part, f in enumerate(fields) for slot in _field_slots(at, part, f)]
            return [size, align, *parts]
        case _:
            return []


def _field_slots(at: int, part: int, field: Field) -> list[Slot]:
    if field.bits is not None:
        return [Slot("width", at, part)]
    return [Slot("offset", at, part), Slot("field", at, part)]


# -- writing ----------------------------------------------------------------------------------


class Namer:
    """Finds a name for each type of a unit: what can stand in `sizeof(…)` at one place in it.

    `widths` are the bit-field widths that the compiler computes; `unsized` are variables whose type
    is incomplete at the unit's end.
    """

    def __init__(
        self,
        unit: Unit,
        widths: Mapping[tuple[TypeIndex, int], str],
        unsized: frozenset[int] = frozenset(),
    ) -> None:
        self.unit = unit
        self.names: dict[TypeIndex, str] = {}
        self.copies: list[str] = []
        """Definitions of copies of records, in which anonymous members have names."""
        self._widths = widths
        self._unsized = unsized
        self._inside_copy: set[TypeIndex] = set()
        self._copied: set[TypeIndex] = set()
        self._taken = 0
        self._inner = {below for node in unit.types for below in children(node)}

    def name_file(self) -> None:
        """Name all that can be named at the end of the unit."""
        roots = []
        for at, node in enumerate(self.unit.types):
            name = _own_name(node)
            if name:
                roots.append((at, name))
        for at, variable in enumerate(self.unit.variables):
            if not variable.function:
                roots.append((variable.type, self._type_of(at)))
        self._spread(roots)
        for at, node in enumerate(self.unit.types):  # of parameters, which no route reaches
            if not isinstance(node, Array) or at in self.names or node.of not in self.names:
                continue
            if node.length not in {None, UNKNOWN}:
                self._spread([(at, f"__typeof__({self.names[node.of]}[{node.length}])")])

    def _type_of(self, at: int) -> str:
        name = self.unit.variables[at].name
        return (
            f"__typeof__(__typeof__({name}[0])[1])"
            if at in self._unsized
            else f"__typeof__({name})"
        )

    def name_from(self, variable: Variable) -> list[TypeIndex]:
        """Name what `variable` reaches and has no name so far; return those types."""
        before = set(self.names)
        self._spread([(variable.type, f"__typeof__({variable.name})")])
        return sorted(set(self.names) - before)

    def take_copies(self) -> str:
        """Return the definitions of copies made since the last call."""
        new = self.copies[self._taken :]
        self._taken = len(self.copies)
        return "".join(new)

    def _spread(self, roots: Iterable[tuple[TypeIndex, str]]) -> None:
        queue = deque(roots)
        while queue:
            at, name = queue.popleft()
            if at in self.names:
                continue
            node = self.unit.types[at]
            if isinstance(node, Record) and not node.complete:
                continue
            self.names[at] = name
            queue.extend(self._reached(at, node, name))

    def _reached(self, at: TypeIndex, node: Type, name: str) -> list[tuple[TypeIndex, str]]:
        match node:
            case Typedef(to=to):
                return [(to, name)]
            case Pointer(to=to) if self._needs_name(to):
                return [(to, f"__typeof__(**({name} *)0)")]
            case Array(of=of) if self._needs_name(of):
                return [(of, f"__typeof__((*({name} *)0)[0])")]
            case Record(fields=fields):
                found = []
                for part, field in enumerate(fields):
                    if field.bits is None and self._needs_name(field.type):
                        path = self._path(at, name, part, field)
                        found.append((field.type, f"__typeof__({path})"))
                return found
            case _:
                return []

    def _needs_name(self, at: TypeIndex) -> bool:
        """Tell whether a type is to be named by a route to it; one of void or functions is not."""
        seen = set()
        while at not in self.names and at not in seen:
            seen.add(at)
            node = self.unit.types[at]
            if isinstance(node, Pointer | Array):
                at = node.to if isinstance(node, Pointer) else node.of
                if isinstance(node, Array):
                    return True
                continue
            if isinstance(node, Typedef):
                return bool(node.scope)
            if isinstance(node, Scalar):
                return node.kind == "other"
            return isinstance(node, Record | Enum) and node.complete
        return False

    def _path(self, at: TypeIndex, name: str, part: int, field: Field) -> str:
        """Return an lvalue of the field (never evaluated)."""
        if field.name:
            return f"(({name} *)0)->{field.name}"
        if at in self._inside_copy:
            return f"(({name} *)0)->{_member(part)}"
        return f"(({self._copy(at, name)} *)0)->{_member(part)}"

    def _copy(self, at: TypeIndex, name: str) -> str:
        """Define a copy of a record in which its unnamed members have names; return its name."""
        node = self.unit.types[at]
        assert isinstance(node, Record)
        copy = f"{node.kind} kitsune__record_{at}"
        if at not in self._copied:
            self._copied.add(at)
            members = self._members(at, node, f"(({name} *)0)->")
            self.copies.append(f"{copy} {{ {members}}} {node.attributes}; ")
        return copy

    def _members(self, at: TypeIndex, record: Record, base: str) -> str:
        """Return members of a record: named ones by `typeof`, unnamed ones spelled out."""
        text = ""
        for part, field in enumerate(record.fields):
            inner = self.unit.types[field.type]
            if field.bits is not None:
                width = self._widths.get((at, part), str(field.bits))
                text += f"{self._bit_type(field)} {field.name} : {width}; "
            elif field.name:
                text += f"__typeof__({base}{field.name}) {field.name} {field.align_as}; "
            elif field.type in self.names:
                text += f"{self.names[field.type]} {_member(part)} {field.align_as}; "
            elif isinstance(inner, Record):
                self._inside_copy.add(field.type)
                members = self._members(field.type, inner, base)
                declarator = f"{inner.attributes} {_member(part)} {field.align_as}"
                text += f"{inner.kind} {{ {members}}} {declarator}; "
        return text

    def _bit_type(self, field: Field) -> str:
        node = self.unit.types[field.type]
        return self.names.get(field.type) or _own_name(node) or "unsigned int"

    # -- expressions --------------------------------------------------------------------------

    def expression(self, slot: Slot) -> str | None:
        """Return the C constant expression of a slot, None if it has none at this place."""
        if slot.kind == "variable":
            return size_of(self.unit.variables[slot.of], is_unsized=slot.of in self._unsized)
        node = self.unit.types[slot.of]
        if slot.kind == "value" and isinstance(node, Enum) and self._stands_alone(slot.of, node):
            return f"(unsigned long long)({node.enumerators[slot.part][0]})"
        name = self.names.get(slot.of, "")
        return self._of_type(slot, name) if name else None

    def _stands_alone(self, at: TypeIndex, node: Enum) -> bool:
        """Tell whether these are constants of the file: `enum { SIZE = 8 };`."""
        return not node.scope and at not in self._inner

    def _of_type(self, slot: Slot, name: str) -> str | None:
        node = self.unit.types[slot.of]
        if isinstance(node, Record) and slot.kind in {"width", "offset", "field"}:
            return self._field(slot, node.fields[slot.part], name)
        if isinstance(node, Enum) and slot.kind == "value":
            return f"(unsigned long long)({node.enumerators[slot.part][0]})"
        if slot.kind == "signed":
            return f"(({name})-1 < ({name})1)"
        return f"sizeof({name})" if slot.kind == "size" else f"_Alignof({name})"

    def _field(self, slot: Slot, field: Field, name: str) -> str | None:
        if slot.kind == "width":
            expression = self._widths.get((slot.of, slot.part), str(field.bits))
            return f"(unsigned long long)({expression})"
        path = self._path(slot.of, name, slot.part, field)
        if slot.kind == "field":
            return "0" if self._is_open(field.type) else f"sizeof({path})"
        whole, _, member = path.rpartition(" *)0)->")
        return f"__builtin_offsetof({whole[2:]}, {member})"

    def _is_open(self, at: TypeIndex) -> bool:
        node = self.unit.types[at]
        while isinstance(node, Typedef):
            node = self.unit.types[node.to]
        return isinstance(node, Array) and node.length is None


def size_of(variable: Variable, *, is_unsized: bool = False) -> str:
    """Return the size of a variable in C; an open array's is that of its first element."""
    if is_unsized:
        return f"sizeof({variable.name}[0])"
    if variable.storage == "parameter":  # compilers warn about `sizeof` of one that is `T x[]`
        return f"sizeof(__typeof__({variable.name}))"
    return f"sizeof({variable.name})"


def _own_name(node: Type) -> str:
    """Return the name that a type has at file scope by itself, "" if it has none."""
    match node:
        case Scalar(name=name, kind=kind) if kind not in {"void", "other"}:
            return name
        case Scalar(name=name, kind="other") if not name.startswith("__kt"):
            return name
        case Typedef(name=name, scope=""):
            return name
        case Record(kind=kind, tag=tag, complete=True, scope="") if tag:
            return f"{kind} {tag}"
        case Enum(tag=tag, complete=True, scope="") if tag:
            return f"enum {tag}"
        case _:
            return ""


def _member(part: int) -> str:
    return f"kitsune__member_{part}"


def segment(digest: str, first: int, values: Iterable[str | None], name: str) -> str:
    """Return the C definition of one segment, in one line, as an array called `name`."""
    words = [value if value is not None else f"{NOTHING}ull" for value in values]
    head = [f"{MAGIC:#x}ull", f"0x{digest}ull", str(first), str(len(words))]
    return (
        f"__extension__ static const unsigned long long {name}[] __attribute__((__section__("
        f'".kitsune.layouts"), __used__, __retain__, __aligned__(8))) = '
        f"{{ {', '.join([*head, *words])} }};"
    )


# -- reading ----------------------------------------------------------------------------------


def read(data: bytes, byte_order: Literal["<", ">"] = "<") -> dict[str, dict[int, int]]:
    """Return, by digest, the numbers that a section holds, by slot.

    Several units' segments may lie in it, in any order and with padding between.
    """
    count = len(data) // 8
    words = struct.unpack(f"{byte_order}{count}Q", data[: count * 8])
    found: dict[str, dict[int, int]] = {}
    at = 0
    while at + 4 <= count:
        if words[at] != MAGIC:
            at += 1
            continue
        digest, first, length = words[at + 1 : at + 4]
        at += 4
        numbers = found.setdefault(f"{digest:016x}", {})
        for place, value in enumerate(words[at : at + length]):
            if value != NOTHING:
                numbers[first + place] = value
        at += length
    return found


def filled(unit: Unit, numbers: Mapping[int, int]) -> Unit:
    """Return `unit` with the numbers of its slots; what is not in `numbers` stays unknown.

    A function's static without a size is left out: the compiler dropped the function, and with it
    the static and its entry in the symbol table.
    """
    known: dict[Slot, int] = {}
    for place, slot in enumerate(slots(unit)):
        if place in numbers:
            known[slot] = numbers[place]
    types = [_filled_type(at, node, known) for at, node in enumerate(unit.types)]
    types = [_filled_array(node, types) for node in types]
    variables = [
        dataclasses.replace(v, size_bytes=known.get(Slot("variable", at), UNKNOWN))
        for at, v in enumerate(unit.variables)
    ]
    kept = tuple(v for v in variables if not _is_dropped(v))
    return dataclasses.replace(unit, types=tuple(types), variables=kept)


def _is_dropped(variable: Variable) -> bool:
    is_local = variable.function != "" and not variable.thread_local
    return is_local and variable.size_bytes == UNKNOWN


def _filled_type(at: TypeIndex, node: Type, known: Mapping[Slot, int]) -> Type:
    size = known.get(Slot("size", at), UNKNOWN)
    align = known.get(Slot("align", at), UNKNOWN)
    match node:
        case Scalar():
            return dataclasses.replace(node, size=size, align=align)
        case Array():
            return dataclasses.replace(node, size=size)
        case Enum(complete=True):
            signed = known.get(Slot("signed", at), 0) == 1
            values = tuple(
                (name, _value(known.get(Slot("value", at, part)), signed))
                for part, (name, _) in enumerate(node.enumerators)
            )
            return dataclasses.replace(
                node, size=size, align=align, signed=signed, enumerators=values
            )
        case Record(complete=True):
            fields = tuple(_filled_field(at, p, f, known) for p, f in enumerate(node.fields))
            return dataclasses.replace(node, size=size, align=align, fields=fields)
        case _:
            return node


def _value(number: int | None, signed: bool) -> int:
    if number is None:
        return UNKNOWN
    return number - (1 << 64) if signed and number >> 63 else number


def _filled_field(at: TypeIndex, part: int, field: Field, known: Mapping[Slot, int]) -> Field:
    if field.bits is not None:
        return dataclasses.replace(field, bits=known.get(Slot("width", at, part), field.bits))
    return dataclasses.replace(
        field,
        offset_bytes=known.get(Slot("offset", at, part), UNKNOWN),
        size_bytes=known.get(Slot("field", at, part), UNKNOWN),
    )


def _filled_array(node: Type, types: list[Type]) -> Type:
    """Compute the length of an array from its size and its element's."""
    if not isinstance(node, Array) or node.length != UNKNOWN or node.size == UNKNOWN:
        return node
    element = types[node.of]
    while isinstance(element, Typedef):
        element = types[element.to]
    size = 8 if isinstance(element, Pointer) else getattr(element, "size", UNKNOWN)
    return dataclasses.replace(node, length=node.size // size) if size > 0 else node
