"""The memory of an updated program against what the oracle says, object by object.

The walk starts at the new version's variables. A pointer that must lead to an object of the case
says where that object is now; every other pointer to it must agree, so sharing, cycles and
pointers into the middle are compared, and at the end no two objects may overlap.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from pairs.cases import (
    Array,
    Code,
    EnumUse,
    Flexible,
    In,
    Num,
    Object,
    Pointer,
    Row,
    To,
    ToCode,
    ToText,
    Type,
    Use,
    Value,
    member_type,
    plain,
)
from pairs.live import Live
from pairs.memory import Layout
from pairs.oracle import is_changed, new_objects

MOST_COMPLAINTS = 5


@dataclass(slots=True)
class Comparison:
    """One case in a running program. `before` has the addresses that its objects had."""

    live: Live
    old: Layout
    new: Layout
    before: list[int]
    complaints: list[str] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    queue: list[int] = field(default_factory=list)
    expected: tuple[Object, ...] = ()
    updated: bool = True

    def run(self) -> list[str]:
        """Compare everything; return what is wrong."""
        case = self.old.case
        self.expected = new_objects(case) if self.updated else case.objects
        for index, thing in enumerate(self.expected):
            if thing.variable < 0:
                continue
            address = self.new.meta.places.get(("variable", self.new.number, thing.variable))
            if address is not None:
                self.bind(index, address, "the variable")
        self.added_variables()
        while self.queue and len(self.complaints) < MOST_COMPLAINTS:
            self.object(self.queue.pop())
        self.overlaps()
        return self.complaints

    def blocks(self) -> list[tuple[int, int]]:
        """Return (address, size) of the blocks of the heap that were found."""
        return [
            (address, self.size(index))
            for index, address in self.places.items()
            if self.expected[index].variable < 0
        ]

    def size(self, index: int) -> int:
        """Return how many bytes an object has."""
        return len(self.new.image(_without_links(self.expected[index])).data)

    def wrong(self, where: str, what: str) -> None:
        """Note that something is not as it must be."""
        self.complaints.append(f"{where}: {what}")

    def added_variables(self) -> None:
        """Compare what the old version did not have with its initial value or rule."""
        for index, what in enumerate(self.old.case.variables):
            is_added = what.new and not what.old
            if not is_added or not self.updated or not isinstance(what.new_type, Num):
                continue
            address = self.new.meta.places["variable", self.new.number, index]
            wanted = what.rule.plus if what.rule is not None else what.new_initial
            self.value(what.new_name, address, what.new_type, wanted)

    def bind(self, index: int, address: int, where: str) -> None:
        """Take an object to be at an address."""
        known = self.places.setdefault(index, address)
        if known != address:
            self.wrong(where, f"object {index} is at {known:#x} elsewhere, here at {address:#x}")
        elif index not in self.queue and address == known and not self._is_known(index):
            self.queue.append(index)

    _done: set[int] = field(default_factory=set)

    def _is_known(self, index: int) -> bool:
        if index in self._done:
            return True
        self._done.add(index)
        return False

    def object(self, index: int) -> None:
        """Compare an object."""
        thing, address = self.expected[index], self.places[index]
        name = f"object {index}"
        if thing.variable >= 0:
            name = self.old.case.variables[thing.variable].new_name
            self.value(name, address, thing.type, thing.value)
            return
        assert isinstance(thing.value, Row)
        self.kept_place(index, address)
        size = self.new.size(thing.type)
        for number, each in enumerate(thing.value.elements):
            self.value(f"{name}[{number}]", address + number * size, thing.type, each)

    def kept_place(self, index: int, address: int) -> None:
        """An object whose bytes stay keeps its block; one that changes must have a new one."""
        before = self.old.case.objects[index]
        if not self.updated:
            if address != self.before[index]:
                self.wrong(f"object {index}", "was moved, though the update was undone")
            return
        changed = is_changed(self.old, self.new, before.type, before.type)
        if not changed and address != self.before[index]:
            self.wrong(f"object {index}", "did not change, and yet has a new block")

    def value(self, where: str, address: int, of: Type, value: Value) -> None:
        """Compare a value."""
        found = plain(self.new.case, of)
        match found:
            case Num() | EnumUse():
                data = self.live.read(address, self.new.size(found))
                got = None if data is None else self.new.decoded(found, data)
                if got != value:
                    self.wrong(where, f"is {got}, must be {value}")
            case Use():
                self.record(where, address, found, value)
            case Array(inner) | Flexible(inner):
                assert isinstance(value, Row)
                size = self.new.size(inner)
                for index, each in enumerate(value.elements):
                    self.value(f"{where}[{index}]", address + index * size, inner, each)
            case Pointer() | Code():
                data = self.live.read(address, 8)
                if data is None:
                    self.wrong(where, "is no memory")
                    return
                got = int.from_bytes(data, "little")
                if not self.is_left(found, got, value):
                    self.pointer(where, got, value)

    def is_left(self, of: Type, got: int, value: Value) -> bool:
        """Tell whether a pointer to bytes still leads into the old version's own variable.

        Such pointers count as closed: those in objects that nobody has to visit are not looked at,
        whether they lead to a constant or to a variable; what they lead to stays mapped.
        """
        if not self.updated or not isinstance(value, To) or not self.is_to_bytes(of):
            return False
        if self.old.case.objects[value.object].variable < 0 or self.live.read(got, 1) is None:
            return False
        return got == self.old_place(value)

    def is_to_bytes(self, of: Type) -> bool:
        """Tell whether a type is a pointer to single bytes."""
        if not isinstance(of, Pointer) or of.to is None:
            return False
        to = plain(self.old.case, of.to)
        return isinstance(to, Num) and self.old.size(to) == 1

    def old_place(self, value: To) -> int:
        """Return where a way into a variable led before the update."""
        thing = self.old.case.objects[value.object]
        address = self.old.meta.places["variable", self.old.number, thing.variable]
        return address + self.old.way_in(thing, value.path)

    def record(self, where: str, address: int, of: Use, value: Value) -> None:
        """Compare the members of a record."""
        assert isinstance(value, In)
        record = self.new.case.records[of.record]
        for index, inner in value.members:
            member = record.members[index]
            name = f"{where}.{member.new_name}"
            bits = (self.new.number, of.record, index)
            if bits in self.new.meta.bits:
                data = self.live.read(address, self.new.size(of)) or b""
                got = self.new.bit_field(of.record, index, data) if data else None
                if got != inner:
                    self.wrong(name, f"is {got}, must be {inner}")
            else:
                kind = member_type(member, self.new.side, of.bound)
                place = address + self.new.offset(of.record, index)
                self.value(name, place, kind, inner)
                if isinstance(inner, To | ToText) and self.updated:
                    self.looked_at(name, place, inner, of)

    def pointer(self, where: str, got: int, value: Value) -> None:
        """Compare a pointer."""
        match value:
            case None | int():
                if got != (value or 0):
                    self.wrong(where, f"is {got:#x}, must be {value or 0:#x}")
            case ToCode(function):
                places = self.new.meta.places
                wanted = places.get(("function", self.new.number, function), 0)
                if got != wanted:
                    self.wrong(where, f"is {got:#x}, the function is at {wanted:#x}")
            case ToText(literal, offset):
                self.text(where, got, literal, offset)
            case To(target, path):
                way = self.new.way_in(self.expected[target], path)
                self.bind(target, got - way, where)

    def text(self, where: str, got: int, literal: int, offset: int) -> None:
        """A literal has its text, and where it was looked at it is no longer the old version's."""
        wanted = self.old.case.literals[literal][offset:].encode() + b"\0"
        data = self.live.read(got, len(wanted))
        if data != wanted:
            self.wrong(where, f"is {data!r}, must be {wanted!r}")

    def looked_at(self, where: str, place: int, value: To | ToText, of: Use) -> None:
        """What is in a new object was looked at: it leads to nothing of the old version's."""
        if not is_changed(self.old, self.new, of, of):
            return
        if isinstance(value, ToText):
            places = self.old.meta.places
            before = places["literal", self.old.number, value.literal] + value.offset
        elif self.old.case.objects[value.object].variable >= 0:
            before = self.old_place(value)
        else:
            return
        if int.from_bytes(self.live.read(place, 8) or b"", "little") == before:
            self.wrong(where, "still points into the old version")

    def overlaps(self) -> None:
        """No two objects may share memory."""
        found = sorted((address, self.size(i), i) for i, address in self.places.items())
        for (address, size, index), (start, _, other) in itertools.pairwise(found):
            if address + size > start and size:
                self.wrong(f"object {index}", f"overlaps with object {other}")


def _without_links(thing: Object) -> Object:
    return thing
