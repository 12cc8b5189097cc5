"""The types of both versions, as generated code needs them.

In: a `World` and the types that code looks into. Out: `TypeTable`, which spells types by their
generated names, and the view objects of all definitions in an order that C accepts. Called by
views.py; templates/types.h.j2 prints what comes out.

Records and enums of the old version are called `_kitsune_old_rename_T`, of the new one
`_kitsune_new_rename_T`, so that neither clashes with the program's own headers. A type that C
cannot spell (one the front-end did not understand) becomes bytes of its size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kitsune_tool.declare import declare, strip, user_name
from kitsune_tool.errors import Location
from kitsune_tool.model import (
    UNKNOWN,
    Array,
    Enum,
    Field,
    Pointer,
    Record,
    Scalar,
    Typedef,
    TypeIndex,
    children,
)
from kitsune_tool.resolve import Instance, World

_SPELLABLE = re.compile(r"(unsigned )?(__int128|_BitInt\(\d+\))$|.*vector_size\(\d+\)")


@dataclass(frozen=True, slots=True)
class LayoutCheck:
    """A fact that the compiler must agree with: `expression` equals `value`."""

    expression: str
    value: int


@dataclass(frozen=True, slots=True)
class RecordView:
    """A struct or union. `members` are C declarations without the semicolon."""

    name: str
    user_name: str
    at: str
    members: tuple[str, ...]
    attributes: str
    checks: tuple[LayoutCheck, ...]


@dataclass(frozen=True, slots=True)
class EnumView:
    """An enum with its generated enumerators' names."""

    name: str
    user_name: str
    at: str
    enumerators: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class TypedefView:
    """A typedef that rules may name: `declaration` follows the word `typedef`."""

    declaration: str


@dataclass(frozen=True, slots=True)
class Definitions:
    """All types of one version that the generated code needs."""

    version: Literal["old", "new"]
    label: str
    forwards: tuple[str, ...]
    enums: tuple[EnumView, ...]
    records: tuple[RecordView, ...]
    typedefs: tuple[TypedefView, ...]
    basic: tuple[LayoutCheck, ...]
    """Of C's own types of which the program's compiler has not told the size."""


class TypeTable:
    """Generated names of one version's types, and which of them must be defined."""

    def __init__(self, world: World, version: Literal["old", "new"]) -> None:
        self.world = world
        self.version = version
        self.prefix = f"_kitsune_{version}_rename_"
        self._names = self._choose_names()
        self._complete: set[TypeIndex] = set()
        self._mentioned: set[TypeIndex] = set()
        self._typedefs: dict[str, TypeIndex] = {}

    # -- names ------------------------------------------------------------------------------------

    def _choose_names(self) -> dict[TypeIndex, str]:
        """Give every record and enum its own tag; the first complete one gets the plain one."""
        inner = self._names_by_field()
        taken: dict[str, int] = {}
        names: dict[TypeIndex, str] = {}
        order = sorted(
            (i for i, t in enumerate(self.world.types) if isinstance(t, Record | Enum)),
            key=lambda i: (not getattr(self.world.types[i], "complete", True), i),
        )
        for index in order:
            node = self.world.types[index]
            assert isinstance(node, Record | Enum)
            base = node.tag or node.typedef_name or inner.get(index) or "anonymous"
            count = taken[base] = taken.get(base, 0) + 1
            names[index] = self.prefix + (base if count == 1 else f"{base}_{count}")
        return names

    def _names_by_field(self) -> dict[TypeIndex, str]:
        """Return names for types without any, after the member or variable that has them."""
        found: dict[TypeIndex, str] = {}
        for node in self.world.types:
            if isinstance(node, Record):
                head = node.tag or node.typedef_name
                for field in node.fields:
                    if field.name:
                        name = f"{head}_{field.name}" if head else field.name
                        found.setdefault(self._innermost(field.type), name)
        for variable in self.world.program.variables:
            found.setdefault(self._innermost(variable.type), variable.name)
        return found

    def _innermost(self, index: TypeIndex) -> TypeIndex:
        """Return the type behind typedefs, arrays and pointers."""
        while isinstance(node := self.world.types[index], Typedef | Array | Pointer):
            index = children(node)[0]
        return index

    def name_of(self, index: TypeIndex) -> str:
        """Return the spelling of a record, enum or arithmetic type in generated code."""
        node = self.world.types[index]
        if isinstance(node, Record):
            return f"{node.kind} {self._names[index]}"
        if isinstance(node, Enum):
            return f"enum {self._names[index]}" if _is_ordinary(node) else _integer(node)
        return user_name(self.world.types, index)

    def spell(self, instance: Instance, inner: str = "", *, const: bool = False) -> str:
        """Return the declaration of `inner` as a value of this type; its types get defined."""
        self.need(instance.type)
        stars = "*" * instance.stars
        if const and stars:
            stars = stars[:-1] + "*const "
            const = False
        size = self.bytes_of(instance.type)
        if size is not None and not instance.stars:
            return f"{'const ' if const else ''}unsigned char {inner}[{size}]"
        return declare(self.world.types, instance.type, stars + inner, self.name_of, const=const)

    def pointer_to(self, instance: Instance, name: str, *, const: bool = False) -> str:
        """Return the declaration of a pointer to a value of this type."""
        inner = f"(*{name})" if self._needs_brackets(instance) else f"*{name}"
        return self.spell(instance, inner, const=const)

    def unaligned_pointer_to(self, instance: Instance, name: str, *, const: bool = False) -> str:
        """Declare a pointer to what a packed struct may hold, where the compiler expects it not."""
        typedef = f"typedef {self.spell(instance, f'{name}_type')} __attribute__((aligned(1)))"
        return f"{typedef}; {'const ' if const else ''}{name}_type *{name}"

    def _needs_brackets(self, instance: Instance) -> bool:
        if instance.stars:
            return False
        is_array = isinstance(self.world.node(instance), Array)
        return is_array or self.bytes_of(instance.type) is not None

    def bytes_of(self, index: TypeIndex) -> int | None:
        """Return the size of a type that C cannot spell, None for others."""
        node = self.world.types[strip(self.world.types, index)]
        if isinstance(node, Scalar) and node.kind == "other" and not _SPELLABLE.match(node.name):
            return max(node.size, 1)
        return None

    def enumerator(self, name: str) -> str:
        """Return the generated name of an enumerator."""
        return self.prefix + name

    # -- what is needed ---------------------------------------------------------------------------

    def need(self, index: TypeIndex) -> None:
        """Have a type defined, with all that it holds by value."""
        stack = [(index, True)]
        while stack:
            at, complete = stack.pop()
            node = self.world.types[at]
            seen = self._complete if complete else self._mentioned
            if at in seen:
                continue
            seen.add(at)
            match node:
                case Typedef(to=to) | Array(of=to):
                    stack.append((to, complete))
                case Record():
                    if complete:
                        stack += [(field.type, True) for field in node.fields]
                case _:
                    stack += [(to, False) for to in children(node)]

    def need_reachable(self, index: TypeIndex) -> None:
        """Have a type and everything behind its pointers defined: a rule's code may follow them."""
        stack = [index]
        seen = set(stack)
        while stack:
            at = stack.pop()
            self.need(at)
            new = [to for to in children(self.world.types[at]) if to not in seen]
            seen.update(new)
            stack += new

    def need_typedef(self, name: str) -> bool:
        """Have the typedef `name` defined for rules; tells whether there is one."""
        index = self.world.find(name)
        if index is None or not isinstance(self.world.types[index], Typedef):
            return False
        self._typedefs[name] = index
        self.need(index)
        return True

    def need_generated(self, text: str) -> bool:
        """Have the record or enum defined that generated code calls `text` (less the prefix), or
        the enum with such an enumerator; tells whether there is one.
        """
        name = self.prefix + text.rpartition(" ")[2]
        for index, node in enumerate(self.world.types):
            named = self._names.get(index) == name
            if named or (isinstance(node, Enum) and text in dict(node.enumerators)):
                self.need(index)
                return True
        return False

    # -- definitions ------------------------------------------------------------------------------

    def definitions(self) -> Definitions:
        """Return the definitions of all that was asked for, in a fixed order."""
        records = self._in_order()
        types = self.world.types
        known = sorted(self._complete | self._mentioned)
        forwards = [i for i in known if isinstance(types[i], Record)]
        enums = [i for i in known if isinstance(node := types[i], Enum) and _is_ordinary(node)]
        return Definitions(
            self.version,
            self.world.program.version,
            tuple(self.name_of(i) for i in forwards if not self.is_inline(i)),
            tuple(self._enum(i) for i in enums),
            tuple(self._record(i) for i in records if not self.is_inline(i)),
            tuple(self._typedef(n, i) for n, i in sorted(self._typedefs.items())),
            tuple(self._basic(i) for i in known if self._has_basic_check(i)),
        )

    def _has_basic_check(self, index: TypeIndex) -> bool:
        return self.world.is_basic(index) and self.world.size(Instance(index)) != UNKNOWN

    def _basic(self, index: TypeIndex) -> LayoutCheck:
        name = user_name(self.world.types, strip(self.world.types, index))
        return LayoutCheck(f"sizeof({name})", self.world.size(Instance(index)))

    def _in_order(self) -> list[TypeIndex]:
        """Return the complete records, each behind those that it holds by value."""
        done: dict[TypeIndex, None] = {}
        for index in sorted(self._complete):
            self._place(index, done)
        return list(done)

    def _place(self, index: TypeIndex, done: dict[TypeIndex, None]) -> None:
        node = self.world.types[index]
        if isinstance(node, Typedef | Array):
            self._place(children(node)[0], done)
        elif isinstance(node, Record) and node.complete and index not in done:
            for field in node.fields:
                self._place(field.type, done)
            done[index] = None

    def is_inline(self, index: TypeIndex) -> bool:
        """Whether a record is only a nameless member of another one, printed within it."""
        node = self.world.types[index]
        return (
            isinstance(node, Record)
            and not node.tag
            and not node.typedef_name
            and self._names[index].removeprefix(self.prefix).startswith("anonymous")
        )

    def _enum(self, index: TypeIndex) -> EnumView:
        node = self.world.types[index]
        assert isinstance(node, Enum)
        values = tuple((self.enumerator(name), value) for name, value in node.enumerators)
        return EnumView(
            self.name_of(index), user_name(self.world.types, index), place_text(node.at), values
        )

    def _typedef(self, name: str, index: TypeIndex) -> TypedefView:
        return TypedefView(self.spell(Instance(index), self.prefix + name))

    def _record(self, index: TypeIndex) -> RecordView:
        node = self.world.types[index]
        assert isinstance(node, Record)
        name = self.name_of(index)
        return RecordView(
            name,
            user_name(self.world.types, index),
            place_text(node.at),
            tuple(self._member(field) for field in node.fields),
            node.attributes,
            tuple(_checks(name, node)),
        )

    def _member(self, field: Field) -> str:
        size = self.bytes_of(field.type)
        if size is not None:
            align = self.world.align(Instance(field.type))
            return f"unsigned char {field.name}[{size}] __attribute__((aligned({align})))"
        text = self._inline(field) or declare(
            self.world.types, field.type, field.name, self.name_of
        )
        if field.bits is not None:
            text += f" : {field.bits}"
        return f"{text} {field.align_as}".rstrip()

    def _inline(self, field: Field) -> str:
        """Return the definition of a nameless struct or union member, "" for other members."""
        index = strip(self.world.types, field.type)
        node = self.world.types[index]
        if field.name or not isinstance(node, Record):
            return ""
        inner = "; ".join(self._member(each) for each in node.fields)
        return f"{node.kind} {{ {inner}; }} {node.attributes}".rstrip()


def _checks(name: str, node: Record) -> Iterable[LayoutCheck]:
    if node.size != UNKNOWN:
        yield LayoutCheck(f"sizeof({name})", node.size)
    for field in node.fields:
        if field.name and field.bits is None and field.offset_bytes != UNKNOWN:
            yield LayoutCheck(f"offsetof({name}, {field.name})", field.offset_bytes)


def _is_ordinary(node: Enum) -> bool:
    """Whether C gives an enum of these enumerators its size and sign without an attribute."""
    return node.complete and node.size == 4 and bool(node.enumerators)


def _integer(node: Enum) -> str:
    """Return an integer type of an enum's size."""
    base = {1: "char", 2: "short", 4: "int"}.get(node.size, "long")
    return f"{'signed' if node.signed else 'unsigned'} {base}"


def place_text(at: Location | None) -> str:
    """Return a place for a comment: file and line, no absolute path."""
    if at is None or at.file.startswith(("/", "<")):
        return at.file.rsplit("/", 1)[-1] if at is not None else ""
    return f"{at.file}:{at.line}"
