"""Values ↔ bytes, by the layouts that a running version tells.

The only facts used here that are not told by the program are the sizes of C's own types on x86-64.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from pairs.cases import (
    Array,
    Case,
    Code,
    EnumUse,
    Flexible,
    In,
    Num,
    Object,
    Pointer,
    Row,
    Side,
    To,
    ToCode,
    ToText,
    Type,
    Use,
    Value,
    member_type,
    plain,
)
from pairs.emit import Tables

INTEGERS = {
    "_Bool": (1, False),
    "char": (1, True),
    "signed char": (1, True),
    "unsigned char": (1, False),
    "short": (2, True),
    "unsigned short": (2, False),
    "int": (4, True),
    "unsigned": (4, False),
    "long": (8, True),
    "unsigned long": (8, False),
    "long long": (8, True),
    "unsigned long long": (8, False),
    "__int128": (16, True),
    "unsigned __int128": (16, False),
}
FLOATS = {"float": 4, "double": 8, "long double": 16}


@dataclass(frozen=True, slots=True)
class Meta:
    """What a version says of itself: layouts and addresses, by case."""

    numbers: dict[tuple[int, int, int], int]
    bits: dict[tuple[int, int, int], bytes]
    places: dict[tuple[str, int, int], int]


def read_meta(data: bytes, tables: Tables) -> Meta:
    """Read what the program's `meta` command wrote."""
    count = len(tables.layout)
    words = struct.unpack_from(f"<{count}Q", data)
    numbers = dict(zip(tables.layout, words, strict=True))
    at = 8 * count
    places: dict[tuple[str, int, int], int] = {}
    for unit in tables.places:
        for key in unit:
            places[key] = struct.unpack_from("<Q", data, at)[0]
            at += 8
        assert struct.unpack_from("<Q", data, at)[0] == 0
        at += 8
    bits = {}
    for number, record, member in tables.bits:
        size = numbers[number, record, -1]
        bits[number, record, member] = data[at : at + size]
        at += size
    assert at == len(data)
    return Meta(numbers, bits, places)


@dataclass(frozen=True, slots=True)
class Layout:
    """One case's types in one version."""

    case: Case
    number: int
    side: Side
    meta: Meta

    def size(self, of: Type) -> int:
        """Return the size of a type; of one with a flexible member, without that."""
        match plain(self.case, of):
            case Num(name):
                return INTEGERS[name][0] if name in INTEGERS else FLOATS[name]
            case EnumUse(index):
                return self._enum(index)[0]
            case Use(record):
                return self.meta.numbers[self.number, record, -1]
            case Array(inner, count, new_count):
                return self.size(inner) * (count if self.side == "old" else new_count)
            case _:
                return 8

    def align(self, of: Type) -> int:
        """Return what a block of the type must be aligned to."""
        found = plain(self.case, of)
        if isinstance(found, Array):
            return self.align(found.of)
        if isinstance(found, Use):
            return self.meta.numbers[self.number, found.record, -2]
        return self.size(found)

    def _enum(self, index: int) -> tuple[int, bool]:
        values = [
            (e.value if self.side == "old" else e.new_value)
            for e in self.case.enums[index].enumerators
        ]
        known = [value for value in values if value is not None]
        is_signed = min(known) < 0
        fits = min(known) >= -(2**31) and max(known) < (2**31 if is_signed else 2**32)
        return (4 if fits else 8), is_signed

    def offset(self, record: int, member: int) -> int:
        """Return where a member is."""
        return self.meta.numbers[self.number, record, member]

    def way(self, of: Type, path: tuple[int, ...]) -> tuple[int, Type]:
        """Return where in a value the path leads, and to what."""
        at = 0
        for step in path:
            found = plain(self.case, of)
            if isinstance(found, Use):
                member = self.case.records[found.record].members[step]
                at += self.offset(found.record, step)
                of = member_type(member, self.side, found.bound)
            else:
                assert isinstance(found, Array | Flexible)
                of = found.of
                at += step * self.size(of)
        return at, of

    def way_in(self, thing: Object, path: tuple[int, ...]) -> int:
        """Return where in an object the path leads; of a block, it begins with the element."""
        if thing.variable >= 0:
            return self.way(thing.type, path)[0]
        if not path:
            return 0
        return path[0] * self.size(thing.type) + self.way(thing.type, path[1:])[0]

    # -- to bytes ---------------------------------------------------------------------------------

    def image(self, thing: Object) -> Image:
        """Return an object's bytes and the pointers in it."""
        image = Image()
        if thing.variable >= 0:
            self._put(image, 0, thing.type, thing.value)
            image.grow(self.size(thing.type))
            return image
        assert isinstance(thing.value, Row)
        size = self.size(thing.type)
        for index, element in enumerate(thing.value.elements):
            image.grow((index + 1) * size)
            self._put(image, index * size, thing.type, element)
        return image

    def _put(self, image: Image, at: int, of: Type, value: Value) -> None:
        found = plain(self.case, of)
        match found, value:
            case _, None:
                pass
            case Num(name), int() | float():
                image.write(at, number_bytes(name, value))
            case EnumUse(index), int():
                size, signed = self._enum(index)
                image.write(at, value.to_bytes(size, "little", signed=signed))
            case Use(), In(members):
                image.grow(at + self.size(found))
                for index, inner in members:
                    self._put_member(image, at, found, index, inner)
            case Array(inner) | Flexible(inner), Row(elements):
                size = self.size(inner)
                image.grow(at + len(elements) * size)
                for index, each in enumerate(elements):
                    self._put(image, at + index * size, inner, each)
            case ((Pointer() | Code()), (To() | ToText() | ToCode())):
                image.grow(at + 8)
                image.links.append((at, value))
            case Pointer(), int():
                image.write(at, value.to_bytes(8, "little"))
            case _:
                raise TypeError((found, value))

    def _put_member(self, image: Image, at: int, of: Use, index: int, value: Value) -> None:
        record, bound = of.record, of.bound
        member = self.case.records[record].members[index]
        mask = self.meta.bits.get((self.number, record, index))
        if mask is None:
            inner = member_type(member, self.side, bound)
            self._put(image, at + self.offset(record, index), inner, value)
            return
        whole = int.from_bytes(mask, "little")
        low = (whole & -whole).bit_length() - 1
        assert isinstance(value, int)
        number = int.from_bytes(image.data[at : at + len(mask)], "little")
        number |= (value << low) & whole
        image.write(at, number.to_bytes(len(mask), "little"))

    # -- from bytes -------------------------------------------------------------------------------

    def decoded(self, of: Type, data: bytes) -> int | float:
        """Return the number that the bytes of a `Num` or enum are."""
        found = plain(self.case, of)
        if isinstance(found, EnumUse):
            return int.from_bytes(data, "little", signed=self._enum(found.enum)[1])
        assert isinstance(found, Num)
        return bytes_number(found.name, data)

    def bit_field(self, record: int, member: int, data: bytes) -> int | None:
        """Return the value of a bit-field of a record's bytes, None if it is no bit-field."""
        mask = self.meta.bits.get((self.number, record, member))
        if mask is None:
            return None
        whole = int.from_bytes(mask, "little")
        low = (whole & -whole).bit_length() - 1
        width = whole.bit_length() - low
        value = (int.from_bytes(data[: len(mask)], "little") & whole) >> low
        of = self.case.records[record].members[member]
        inner = plain(self.case, of.type if self.side == "old" else of.new_type)
        signed = isinstance(inner, Num) and INTEGERS[inner.name][1]
        return value - (1 << width) if signed and value >> (width - 1) else value


@dataclass(slots=True)
class Image:
    """An object's bytes, and (offset, value) of its pointers."""

    data: bytearray = field(default_factory=bytearray)
    links: list[tuple[int, To | ToText | ToCode]] = field(default_factory=list)

    def grow(self, size: int) -> None:
        """Make it at least so long."""
        self.data.extend(bytes(max(0, size - len(self.data))))

    def write(self, at: int, data: bytes) -> None:
        """Put bytes at a place."""
        self.grow(at + len(data))
        self.data[at : at + len(data)] = data


def number_bytes(name: str, value: int | float) -> bytes:
    """Return the bytes of a number of a C type."""
    if name in INTEGERS:
        size, signed = INTEGERS[name]
        return int(value).to_bytes(size, "little", signed=signed)
    if name == "long double":
        return bytes(ctypes.c_longdouble(value))[:10] + bytes(6)
    return struct.pack("<f" if name == "float" else "<d", value)


def bytes_number(name: str, data: bytes) -> int | float:
    """Return the number that bytes of a C type are."""
    if name in INTEGERS:
        return int.from_bytes(data, "little", signed=INTEGERS[name][1])
    if name == "long double":
        return float(ctypes.c_longdouble.from_buffer_copy(data).value)
    found: float = struct.unpack("<f" if name == "float" else "<d", data)[0]
    return found


def locations(case: Case, thing: Object) -> Iterator[tuple[Type, tuple[int, ...]]]:
    """Yield what lies in an object and the way to it, the object's own elements included.

    Only what a pointer may lead to before and after: what is carried over as it is.
    """
    if thing.variable >= 0:
        yield from _inside(case, thing.type, ())
        return
    assert isinstance(thing.value, Row)
    for index in range(len(thing.value.elements)):
        yield from _inside(case, thing.type, (index,))


def _inside(case: Case, of: Type, path: tuple[int, ...]) -> Iterator[tuple[Type, tuple[int, ...]]]:
    yield of, path
    found = plain(case, of)
    if isinstance(found, Array):
        for index in range(min(found.count, found.new_count)):
            yield from _inside(case, found.of, (*path, index))
    if isinstance(found, Use) and case.records[found.record].kind == "struct":
        for index, member in enumerate(case.records[found.record].members):
            is_carried = member.old and member.new and member.rule is None and not member.ignore
            is_same = member.type == member.new_type and member.bits is None
            if is_carried and is_same and member.new_bits is None:
                inner = member_type(member, "old", found.bound)
                if not isinstance(inner, Flexible):
                    yield from _inside(case, inner, (*path, index))
