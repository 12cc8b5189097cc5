"""A failing case → a smaller one that fails in the same way.

Candidates are tried many at a time, in one program, as cases are; of those that fail the smallest
is the next to be made smaller. What is taken out of a case stays in its lists as something that is
in neither version, so that no index changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from pairs.cases import (
    Array,
    Case,
    Flexible,
    In,
    Member,
    Object,
    Pointer,
    Record,
    Row,
    To,
    Type,
    Use,
    Value,
    Variable,
    plain,
    text_of,
)

_T = TypeVar("_T")
BATCH = 24
ROUNDS = 40


def shrink(case: Case, fails: Callable[[Sequence[Case]], list[bool]]) -> Case:
    """Return the smallest case that was found; `fails` tells which of several fail."""
    for _ in range(ROUNDS):
        smaller = _first_smaller(case, fails)
        if smaller is None:
            return case
        case = smaller
    return case


def _first_smaller(case: Case, fails: Callable[[Sequence[Case]], list[bool]]) -> Case | None:
    found: dict[str, Case] = {text_of(each): each for each in candidates(case)}
    found.pop(text_of(case), None)
    each = sorted(found.values(), key=lambda c: len(text_of(c)))
    for start in range(0, len(each), BATCH):
        batch = each[start : start + BATCH]
        results = fails(batch)
        if any(results):
            return batch[results.index(True)]
    return None


def candidates(case: Case) -> Iterator[Case]:
    """Yield cases with something less."""
    yield from _with_fewer_objects(case)
    for index, variable in enumerate(case.variables):
        if variable.old or variable.new:
            gone = dataclasses.replace(variable, old=False, new=False)
            yield _cleaned(_put(case, "variables", index, gone))
        yield _put(case, "variables", index, _same_variable(variable))
    for index, record in enumerate(case.records):
        yield from _smaller_records(case, index, record)
    for index, enum in enumerate(case.enums):
        same = tuple(
            dataclasses.replace(e, new_name=e.name, new_value=e.value) for e in enum.enumerators
        )
        yield _put(case, "enums", index, dataclasses.replace(enum, new_tag=enum.tag))
        if any(each.value is not None for each in same):
            yield _put(case, "enums", index, dataclasses.replace(enum, enumerators=same))
    for index, function in enumerate(case.functions):
        same_function = dataclasses.replace(
            function,
            new_name=function.name,
            new_storage=function.storage,
            new_file=function.file,
        )
        yield _put(case, "functions", index, same_function)
    for index, typedef in enumerate(case.typedefs):
        yield _put(case, "typedefs", index, dataclasses.replace(typedef, new_name=typedef.name))


def _put(case: Case, what: str, index: int, thing: Any) -> Case:
    things = getattr(case, what)
    return dataclasses.replace(case, **{what: (*things[:index], thing, *things[index + 1 :])})


def _same_variable(what: Variable) -> Variable:
    if not what.old or not what.new:
        return what
    return Variable(
        what.name, what.name, what.type, what.type, what.storage, what.storage, what.file, what.file
    )


def _smaller_records(case: Case, index: int, record: Record) -> Iterator[Case]:
    plainer = dataclasses.replace(
        record,
        new_tag=record.tag,
        packed=False,
        new_packed=False,
        align=0,
        new_align=0,
        outside=False,
    )
    yield _put(case, "records", index, plainer)
    ordered = dataclasses.replace(record, new_order=tuple(sorted(record.new_order)))
    if not any(isinstance(m.type, Flexible) for m in record.members):
        yield _put(case, "records", index, ordered)
    needed = {
        m.type.length.which
        for m in record.members
        if isinstance(m.type, Pointer | Flexible) and m.type.length and m.type.length.of == "member"
    } | {m.rule.source for m in record.members if m.rule is not None}
    for at, member in enumerate(record.members):
        for changed in _smaller_members(member, at in needed):
            members = (*record.members[:at], changed, *record.members[at + 1 :])
            if any(m.old for m in members) and any(m.new for m in members):
                smaller = dataclasses.replace(record, members=members)
                yield _cleaned(_put(case, "records", index, smaller))


def _smaller_members(member: Member, needed: bool) -> Iterator[Member]:
    if not needed:
        yield dataclasses.replace(member, old=False, new=False)
    yield dataclasses.replace(member, group=0, new_group=0, align=0)
    if member.old and member.new:
        yield Member(
            member.name,
            member.name,
            member.type,
            member.type,
            bits=member.bits,
            new_bits=member.bits,
            group=member.group,
            new_group=member.group,
            align=member.align,
        )


# ---- the heap ------------------------------------------------------------------------------------


def _with_fewer_objects(case: Case) -> Iterator[Case]:
    blocks = [i for i, thing in enumerate(case.objects) if thing.variable < 0]
    for part in (blocks, blocks[len(blocks) // 2 :], blocks[: len(blocks) // 2]):
        if len(part) > 1:
            yield _without(case, set(part))
    for index in blocks:
        yield _without(case, {index})
    for index, thing in enumerate(case.objects):
        for value in _less(thing.value):
            yield _put(case, "objects", index, dataclasses.replace(thing, value=value))


def _less(value: Value) -> Iterator[Value]:
    """Yield the value with one pointer less."""
    match value:
        case To():
            yield None
        case Row(elements):
            for index, each in enumerate(elements):
                for less in _less(each):
                    yield Row((*elements[:index], less, *elements[index + 1 :]))
        case In(members):
            for index, (name, each) in enumerate(members):
                for less in _less(each):
                    yield In((*members[:index], (name, less), *members[index + 1 :]))


def _without(case: Case, gone: set[int]) -> Case:
    """Return the case without some objects."""
    left = [i for i in range(len(case.objects)) if i not in gone]
    moved = {old: new for new, old in enumerate(left)}

    def kept(value: Value) -> Value:
        match value:
            case To(target, path):
                return To(moved[target], path) if target in moved else None
            case Row(elements):
                return Row(tuple(map(kept, elements)))
            case In(members):
                return In(tuple((index, kept(each)) for index, each in members))
            case _:
                return value

    objects = tuple(
        dataclasses.replace(case.objects[i], value=kept(case.objects[i].value)) for i in left
    )
    return dataclasses.replace(case, objects=objects)


def _cleaned(case: Case) -> Case:
    """Return the case with values of what is there only."""
    gone = {
        i
        for i, thing in enumerate(case.objects)
        if thing.variable >= 0 and not case.variables[thing.variable].old
    }
    case = _without(case, gone)
    objects = tuple(
        dataclasses.replace(thing, value=_fitting_object(case, thing)) for thing in case.objects
    )
    return dataclasses.replace(case, objects=objects)


def _fitting_object(case: Case, thing: Object) -> Value:
    if thing.variable >= 0:
        return _fitting(case, thing.type, thing.value)
    assert isinstance(thing.value, Row)
    return Row(tuple(_fitting(case, thing.type, each) for each in thing.value.elements))


def _fitting(case: Case, of: Type, value: Value) -> Value:
    found = plain(case, of)
    match found, value:
        case Use(record, _), In(members):
            known = case.records[record].members
            return In(
                tuple(
                    (index, _fitting(case, known[index].type, each))
                    for index, each in members
                    if known[index].old
                )
            )
        case ((Array(inner) | Flexible(inner)), Row(elements)):
            return Row(tuple(_fitting(case, inner, each) for each in elements))
        case _, To(target, path):
            return value if _leads(case, case.objects[target], path) else None
        case _:
            return value


def _leads(case: Case, thing: Object, path: tuple[int, ...]) -> bool:
    """Tell whether a path's members are still in both versions."""
    of = thing.type
    for step in path if thing.variable >= 0 else path[1:]:
        found = plain(case, of)
        if isinstance(found, Use):
            member = case.records[found.record].members[step]
            if not (member.old and member.new):
                return False
            of = member.type
        elif isinstance(found, Array | Flexible):
            of = found.of
    return True
