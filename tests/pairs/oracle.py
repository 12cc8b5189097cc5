"""What must become of a case: the new heap, or the errors of the build.

Written from the language's description, over the case alone: nothing of the tool is imported, and
no text that the tool reads or writes is looked at.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from pairs.cases import (
    OPAQUE,
    Array,
    Case,
    Code,
    EnumUse,
    Flexible,
    In,
    Member,
    Num,
    Object,
    Options,
    Parameter,
    Pointer,
    Record,
    Row,
    Rule,
    Side,
    Type,
    Use,
    Value,
    Variable,
    Word,
    bind,
    member_type,
    plain,
)
from pairs.memory import FLOATS, INTEGERS, Layout

_SIDES: tuple[Side, Side] = ("old", "new")

# ---- what the build must refuse ------------------------------------------------------------------


def refusals(case: Case, options: Options) -> frozenset[str]:
    """Return the codes of the errors that the build must have; none: it must succeed."""
    walk = _Walk(case, options)
    for variable in case.variables:
        walk.variable(variable)
    walk.functions()
    return frozenset(walk.codes)


@dataclass(slots=True)
class _Walk:
    """A walk through the types that the new version's variables lead to."""

    case: Case
    options: Options
    codes: set[str] = field(default_factory=set)
    seen: set[Type] = field(default_factory=set)
    signatures: set[int] = field(default_factory=set)

    def variable(self, what: Variable) -> None:
        is_kept = what.old and (what.name == what.new_name or what.renamed)
        if not what.new or what.const or what.ignore or what.manual == "left":
            return
        if what.rule is not None:
            return
        if not is_kept or (_moved_place(what) and not what.renamed):
            if not self.options.initial and not what.manual:
                self.codes.add("K122")
            return
        self.value(what.type, what.new_type)

    def value(self, old: Type, new: Type) -> None:  # noqa: PLR0912 - one per kind of type
        """Look at what a value becomes."""
        before, after = plain(self.case, old), plain(self.case, new)
        match before, after:
            case Num(name), Num(new_name):
                if name != new_name and not self._alike(name, new_name):
                    self.codes.add("K120")
            case EnumUse(index), EnumUse():
                self._enum(index)
            case Use(), Use():
                self._record(before)
            case Array(of, count, new_count), Array():
                if count != new_count and not (self.options.grow and count < new_count):
                    self.codes.add("K126")
                self.value(of, after.of)
            case Flexible(of), Flexible():
                self.value(of, after.of)
            case Code(signature), Code():
                self.signatures.add(signature)
            case Pointer(how="opaque"), _:
                pass
            case Pointer(None), Pointer():
                if self.options.moves:
                    self.codes.add("K125")
            case Pointer(to=to), Pointer(to=new_to) if to is not None and new_to is not None:
                self.value(to, new_to)
            case ((Parameter() | Word()), _):
                if self.options.moves:
                    self.codes.add("K125")

    def _alike(self, name: str, new_name: str) -> bool:
        is_same = name in INTEGERS and INTEGERS[name] == INTEGERS.get(new_name)
        if is_same and "_Bool" not in (name, new_name):
            return True
        return self.options.widen and is_wider(name, new_name)

    def _enum(self, index: int) -> None:
        enum = self.case.enums[index]
        if enum.tag != enum.new_tag and not enum.renamed:
            self.codes.add("K127")
        known = {
            e.name if e.renamed else e.new_name for e in enum.enumerators if e.new_value is not None
        }
        taken = {e.new_value for e in enum.enumerators if e.new_value is not None}
        for each in enum.enumerators:
            if each.value is None:
                continue
            is_gone = each.new_value is None or (each.name != each.new_name and not each.renamed)
            if is_gone and each.name not in known:
                # One of a new name that has the value may be the same, if no other had it.
                others = {
                    e.new_value for e in enum.enumerators if e.value is not None and e is not each
                }
                if each.value not in taken or each.value in others:
                    self.codes.add("K123")

    def _record(self, of: Use) -> None:
        if of in self.seen:
            return
        self.seen.add(of)
        record = self.case.records[of.record]
        if record.tag != record.new_tag and not record.renamed:
            self.codes.add("K127")
        if record.kind == "union":
            self._union(of, record)
            return
        for member in record.members:
            if member.new:
                self._member(record, member, of.bound)

    def _member(self, record: Record, member: Member, bound: tuple[Type, ...]) -> None:
        if member.rule is not None or member.ignore:
            return
        if not member.old or (member.name != member.new_name and not member.renamed):
            self.codes.add("K121")
            return
        if member.bits != member.new_bits:
            is_wider = (member.bits or 0) < (member.new_bits or 1 << 10)
            if not (self.options.widen and is_wider):
                self.codes.add("K120")
            return
        self.value(member_type(member, "old", bound), member_type(member, "new", bound))

    def _union(self, of: Use, record: Record) -> None:
        for member in record.members:
            if record.told:
                self.value(
                    member_type(member, "old", of.bound), member_type(member, "new", of.bound)
                )
                continue
            changed = member.old != member.new or member.type != member.new_type
            has_pointer = isinstance(plain(self.case, member.type), Pointer | Code)
            if (changed and member.old) or (has_pointer and self.options.moves):
                self.codes.add("K124")

    def functions(self) -> None:
        for function in self.case.functions:
            is_gone = not function.new or (
                function.name != function.new_name and not function.renamed
            )
            if is_gone and not function.accepted and function.signature in self.signatures:
                self.codes.add("K128")


def _moved_place(what: Variable) -> bool:
    """Tell whether the variable's key changed."""
    if what.storage != what.new_storage:
        return True
    return what.storage != "global" and what.file != what.new_file


def is_wider(name: str, new_name: str) -> bool:
    """Tell whether each value of one arithmetic type is one of the other, which is bigger."""
    if name in FLOATS:
        return new_name in FLOATS and FLOATS[name] < FLOATS[new_name]
    if new_name not in INTEGERS or name == new_name:
        return False
    if name == "_Bool":
        return True
    (size, signed), (new_size, new_signed) = INTEGERS[name], INTEGERS[new_name]
    return size < new_size and (new_signed or not signed) and new_name != "_Bool"


# ---- the new heap --------------------------------------------------------------------------------


def new_objects(case: Case) -> tuple[Object, ...]:
    """Return what the case's objects must be in the new version, in the same order."""
    return tuple(_object(case, each) for each in case.objects)


def _object(case: Case, thing: Object) -> Object:
    if thing.variable >= 0:
        what = case.variables[thing.variable]
        return dataclasses.replace(thing, type=what.new_type, value=_variable(case, what, thing))
    assert isinstance(thing.value, Row)
    elements = [carried(case, thing.type, thing.type, each, 0) for each in thing.value.elements]
    if thing.ended:
        elements[-1] = zero(case, thing.type)
    return dataclasses.replace(thing, value=Row(tuple(elements)))


def _variable(case: Case, what: Variable, thing: Object) -> Value:
    first = initial(case, what)
    if what.ignore or what.const or what.manual == "left":
        return first
    if what.rule is not None:
        match what.rule.kind:
            case "keep":
                return first
            case "set":
                return what.rule.plus
            case _:
                return _computed(thing.value, what.rule, plain(case, what.new_type))
    return carried(case, what.type, what.new_type, thing.value, what.new_initial)


def initial(case: Case, what: Variable) -> Value:
    """Return what the new version initialises a variable to."""
    return _initial(case, what.new_type, what.new_initial)


def _initial(case: Case, of: Type, number: int) -> Value:
    if isinstance(of, Array) and number:
        rest = tuple(zero(case, of.of) for _ in range(of.new_count - 1))
        return Row((number, *rest))
    return number if number and isinstance(of, Num | EnumUse) else zero(case, of)


def carried(case: Case, old: Type, new: Type, value: Value, number: int) -> Value:
    """Return what a value becomes; `number` is what the memory of an array was initialised with."""
    before, after = plain(case, old), plain(case, new)
    match before, value:
        case Use(), In():
            return _record_value(case, before, value)
        case Array(of), Row(elements):
            assert isinstance(after, Array)
            kept = tuple(carried(case, of, after.of, each, 0) for each in elements)
            rest = [zero(case, after.of) for _ in range(after.new_count - len(kept))]
            return Row((*kept, *rest))
        case Flexible(of), Row(elements):
            assert isinstance(after, Flexible)
            return Row(tuple(carried(case, of, after.of, each, 0) for each in elements))
        case EnumUse(index), int():
            return _enumerator(case, index, value)
        case _:
            return value


def _enumerator(case: Case, index: int, value: int) -> int:
    for each in case.enums[index].enumerators:
        if each.value == value and each.new_value is not None:
            return each.new_value
    return value


def _record_value(case: Case, of: Use, value: In) -> Value:
    record = case.records[of.record]
    if record.told:
        ((index, inner),) = value.members
        member = record.members[index]
        old, new = (member_type(member, side, of.bound) for side in _SIDES)
        return In(((index, carried(case, old, new, inner, 0)),))
    if record.kind == "union":
        return value
    known = dict(value.members)
    found: list[tuple[int, Value]] = []
    for index, member in enumerate(record.members):
        if not member.new:
            continue
        new = member_type(member, "new", of.bound)
        if member.ignore:
            found.append((index, zero(case, new)))
        elif member.rule is not None:
            found.append((index, _ruled(case, member, known, index, new)))
        elif index in known:
            old = member_type(member, "old", of.bound)
            found.append((index, carried(case, old, new, known[index], 0)))
    return In(tuple(found))


def _ruled(case: Case, member: Member, known: dict[int, Value], index: int, new: Type) -> Value:
    rule = member.rule
    assert rule is not None
    if rule.kind == "keep":
        return zero(case, new)
    if rule.kind == "set":
        return rule.plus
    source = known[index if rule.kind == "affine" else rule.source]
    return _computed(source, rule, plain(case, new))


def _computed(value: Value, rule: Rule, new: Type) -> int | float:
    """Return what C makes of `$out = value * times + plus`; only the conversion may overflow."""
    assert isinstance(value, int | float) and isinstance(new, Num)
    found = value * rule.times + rule.plus
    if new.name in FLOATS:
        return float(found)
    size, signed = INTEGERS[new.name]
    found = int(found) % (1 << 8 * size)
    return found - (1 << 8 * size) if signed and found >> (8 * size - 1) else found


def zero(case: Case, of: Type) -> Value:
    """Return the value of a new-version type whose bytes are zero."""
    found = plain(case, of)
    match found:
        case Num() | EnumUse():
            return 0
        case Array(inner, _, count):
            return Row(tuple(zero(case, inner) for _ in range(count)))
        case Flexible():
            return Row(())
        case Use(record, bound):
            members = case.records[record].members
            if case.records[record].kind == "union":
                members = members[:1]
            return In(
                tuple(
                    (index, zero(case, member_type(member, "new", bound)))
                    for index, member in enumerate(members)
                    if member.new
                )
            )
        case _:
            return None


# ---- what must keep its address ------------------------------------------------------------------


def is_changed(old: Layout, new: Layout, before: Type, after: Type) -> bool:
    """Tell whether the bytes of a value may change, so that an object may need a new block."""
    case = old.case
    one, other = plain(case, before), plain(case, after)
    match one, other:
        case Num(), Num():
            return one != other and old.size(one) != new.size(other)
        case EnumUse(index), EnumUse():
            moved = any(
                e.new_value not in (None, e.value)
                for e in case.enums[index].enumerators
                if e.value is not None
            )
            return moved or old.size(one) != new.size(other)
        case Array(of, count, new_count), Array():
            return count != new_count or is_changed(old, new, of, other.of)
        case Flexible(of), Flexible():
            return is_changed(old, new, of, other.of)
        case Use(), Use():
            return _is_record_changed(old, new, one)
        case _:
            return False


def _is_record_changed(  # noqa: PLR0911 - one per kind of change
    old: Layout, new: Layout, of: Use
) -> bool:
    record = old.case.records[of.record]
    if old.size(of) != new.size(of):
        return True
    for index, member in enumerate(record.members):
        if member.old != member.new or member.rule is not None or member.ignore:
            return True
        if not member.old:
            continue  # of a case made smaller
        if member.group != member.new_group:
            return True
        if member.bits is not None or member.new_bits is not None:
            masks = [each.meta.bits.get((each.number, of.record, index)) for each in (old, new)]
            if masks[0] != masks[1] or member.name != member.new_name:
                return True
            continue
        if old.offset(of.record, index) != new.offset(of.record, index):
            return True
        pair = (member_type(member, side, of.bound) for side in ("old", "new"))
        if is_changed(old, new, *pair):
            return True
    return False


__all__ = ["OPAQUE", "bind", "carried", "is_changed", "new_objects", "refusals", "zero"]
