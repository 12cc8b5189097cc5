"""Units merged into a program: types by structure, incomplete ones completed, keys unique."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kitsune_tool.errors import KitsuneErrors, Location
from kitsune_tool.model import (
    Field,
    FunctionSymbol,
    Pointer,
    Program,
    Record,
    Scalar,
    Type,
    Typedef,
    Unit,
    Variable,
)
from kitsune_tool.program import layout_digest, merge

INT = Scalar("int", "signed", 4, 4)
LONG = Scalar("long", "signed", 8, 8)


def record(tag: str, *fields: tuple[str, int], complete: bool = True, **more: Any) -> Record:
    """Return a struct whose fields (name, type) are 8 bytes each."""
    members = tuple(Field(n, t, 8 * i, 8) for i, (n, t) in enumerate(fields))
    return Record("struct", tag, members, complete, 8 * len(fields), 8, **more)


def opaque(tag: str) -> Record:
    return Record("struct", tag, (), complete=False)


def unit(source: str, *types: Type, **variables: int) -> Unit:
    """Return a unit with static variables, each of the type of that index."""
    found = tuple(
        Variable(f"{source}/{name}", name, "static", index, at=Location(source, line))
        for line, (name, index) in enumerate(variables.items(), start=1)
    )
    return Unit(source, types, found, ())


def merged(*units: Unit) -> Program:
    return merge(units, "p", "1")


def type_of(program: Program, key: str) -> int:
    return next(v.type for v in program.variables if v.key == key)


def test_a_header_seen_twice_gives_one_type_wherever_it_was_read() -> None:
    one = record("node", ("next", 1), at=Location("a.h", 3))
    other = record("node", ("next", 1), at=Location("copy/a.h", 3))
    program = merged(unit("a.c", one, Pointer(0), v=0), unit("b.c", other, Pointer(0), v=0))
    assert len(program.types) == 2
    assert type_of(program, "a.c/v") == type_of(program, "b.c/v")
    assert program.type_units == ((0, 1), (0, 1))


def test_two_structs_of_one_name_stay_two() -> None:
    program = merged(
        unit("a.c", record("node", ("x", 1)), INT, v=0),
        unit("b.c", record("node", ("x", 1)), LONG, v=0),
    )
    assert type_of(program, "a.c/v") != type_of(program, "b.c/v")


def test_what_leads_to_different_structs_differs() -> None:
    def holder(inner: Type) -> tuple[Type, ...]:
        return (record("holder", ("p", 1)), Pointer(2), record("node", ("x", 3)), inner)

    program = merged(unit("a.c", *holder(INT), v=0), unit("b.c", *holder(LONG), v=0))
    assert type_of(program, "a.c/v") != type_of(program, "b.c/v")


def test_cycles_of_equal_structure_are_one() -> None:
    loop = (record("a", ("b", 1)), Pointer(2), record("b", ("a", 3)), Pointer(0))
    turned = (record("b", ("a", 1)), Pointer(2), record("a", ("b", 3)), Pointer(0))
    program = merged(unit("a.c", *loop, v=0), unit("b.c", *turned, v=2))
    assert len(program.types) == 4
    assert type_of(program, "a.c/v") == type_of(program, "b.c/v")


def test_an_incomplete_type_is_completed_by_the_only_candidate() -> None:
    program = merged(
        unit("a.c", opaque("node"), Pointer(0), v=1),
        unit("b.c", record("node", ("x", 1)), INT, Pointer(0), v=2),
    )
    assert type_of(program, "a.c/v") == type_of(program, "b.c/v")
    assert all(not isinstance(t, Record) or t.complete for t in program.types)


def test_it_stays_incomplete_if_there_are_two() -> None:
    program = merged(
        unit("a.c", opaque("node"), Pointer(0), v=1),
        unit("b.c", record("node", ("x", 1)), INT, v=0),
        unit("c.c", record("node", ("x", 1)), LONG, v=0),
    )
    assert sum(isinstance(t, Record) and not t.complete for t in program.types) == 1


def test_types_that_differ_only_below_are_no_candidate() -> None:
    def outer(inner: Type) -> tuple[Type, ...]:
        return (record("outer", ("n", 1)), record("inner", ("x", 2)), inner)

    program = merged(
        unit("a.c", opaque("outer"), Pointer(0), v=1),
        unit("b.c", *outer(INT), v=0),
        unit("c.c", *outer(LONG), v=0),
    )
    assert sum(isinstance(t, Record) and not t.complete for t in program.types) == 1


def test_block_scope_types_are_told_apart() -> None:
    one = record("node", ("x", 1), scope="f")
    program = merged(unit("a.c", one, INT, record("node", ("x", 1)), v=0, w=2))
    assert type_of(program, "a.c/v") != type_of(program, "a.c/w")


def test_anonymous_structs_are_told_apart_by_their_typedef() -> None:
    one, other = record("", ("x", 1), typedef_name="a"), record("", ("x", 1), typedef_name="b")
    types = (one, INT, Typedef("a", 0), other, Typedef("b", 3))
    program = merged(unit("a.c", *types, v=2, w=4))
    assert len(program.types) == 5


def test_two_statics_of_one_key_are_an_error() -> None:
    with pytest.raises(KitsuneErrors) as caught:
        merged(unit("a.c", INT, v=0), unit("a.c", INT, v=0))
    assert caught.value.report() == (
        "a.c:1: error[K101]: two variables of this program have the key 'a.c/v'\n"
        "a.c:1: note: the other one is here\n"
        'hint: give one of the units a file-scope  KT_NAMESPACE = "name";  its keys then begin\n'
        "      with 'name@'"
    )


def test_a_pointer_that_a_header_defines_may_be_to_what_each_unit_has_its_own() -> None:
    def with_common(source: str, at: Location, *types: Type) -> Unit:
        variable = Variable("hook", "hook", "global", 1, at=at)
        return Unit(source, types, (variable,), ())

    one = record("context", ("a", 2))
    here, there = Location("api.h", 3), Location("b.c", 3)
    ours = with_common("a.c", here, one, Pointer(0), INT)
    theirs = (record("other", ("b", 2)), Pointer(0), INT)
    elsewhere = dataclasses.replace(here, column=9)
    assert [v.key for v in merged(ours, with_common("b.c", elsewhere, *theirs)).variables]
    assert [v.key for v in merged(ours, with_common("b.c", here, *theirs)).variables] == ["hook"]
    with pytest.raises(KitsuneErrors, match=r"K101.*'hook'"):
        merged(ours, with_common("b.c", there, *theirs))
    with pytest.raises(KitsuneErrors, match=r"K101.*'hook'"):
        merged(ours, with_common("b.c", here, INT, LONG))


def test_locals_of_two_functions_of_one_name_are_an_error_only_if_somebody_asks() -> None:
    def noted(source: str, *requests: str) -> Unit:
        made = unit(source, INT, v=0)
        local = dataclasses.replace(made.variables[0], key="f#v", storage="local", function="f")
        return dataclasses.replace(made, variables=(local,), requests=requests)

    assert merged(noted("a.c"), noted("b.c")).variables == ()
    assert [v.key for v in merged(noted("a.c"), noted("a.c")).variables] == ["f#v"]  # a header's
    with pytest.raises(KitsuneErrors, match=r"K101.*'f#v'"):
        merged(noted("a.c"), noted("b.c", "f#v"))


def test_a_function_is_best_known_where_it_is_defined() -> None:
    taken = FunctionSymbol("f", "f", "global", None, defined=False, registered=True)
    made = FunctionSymbol("f", "f", "global", 0, defined=True, registered=False)
    units = [Unit(s, (INT,), (), (f,)) for s, f in (("a.c", taken), ("b.c", made))]
    (function,) = merge(units, "p", "1").functions
    assert (function.defined, function.registered, function.type) == (True, True, 0)


def test_the_digest_tells_layouts_and_nothing_else() -> None:
    base = unit("a.c", record("node", ("x", 1)), INT, v=0)
    first = base.types[0]
    assert isinstance(first, Record)
    moved = dataclasses.replace(first, at=Location("elsewhere.h", 9))
    other = record("node", ("y", 1))
    digests = [
        layout_digest(merged(dataclasses.replace(base, types=(node, INT))))
        for node in (first, moved, other)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_does_not_depend_on_the_order_of_units() -> None:
    one, other = unit("a.c", INT, v=0), unit("b.c", LONG, INT, v=0, w=1)
    assert layout_digest(merged(one, other)) == layout_digest(merged(other, one))


def test_a_big_program_is_merged_without_quadratic_work() -> None:
    """170 units that see the same 1000 types: work grows with their sum, not with its square."""
    types: list[Type] = [INT]
    for number in range(500):
        types.append(record(f"t{number}", ("next", len(types) + 1), ("n", 0)))
        types.append(Pointer(len(types) + 1 if number < 499 else 1))
    program = merge([unit(f"u{n}.c", *types, v=1) for n in range(170)], "p", "1")
    assert len(program.types) == 1001
    assert len(program.variables) == 170
