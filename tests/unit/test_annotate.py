"""Annotations of the manifest, on a program made by hand; and lengths over it."""

from __future__ import annotations

import dataclasses
import re

import pytest

from kitsune_tool import expressions
from kitsune_tool.annotate import AnnotationSource, annotate, parse_annotations
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.model import (
    Annotation,
    Enum,
    Field,
    FunctionSymbol,
    Pointer,
    Program,
    Record,
    Scalar,
    Typedef,
    Variable,
)
from kitsune_tool.plan import make_plan
from kitsune_tool.resolve import Bits, Compound, Instance, Ref, World
from kitsune_tool.rules import RuleSet

HERE = Location("kitsune.yaml", 5)
TYPES = (
    Record("struct", "item", (Field("n", 1, 0, 4), Field("data", 3, 8, 8)), True, 16, 8),
    Scalar("int", "signed", 4, 4),
    Scalar("void", "void"),
    Pointer(2),
    Typedef("item_t", 0),
    Enum("size", (("SMALL", 2), ("LARGE", 9)), True, 4, 4),
    Record("struct", "odd", (Field("x", 7, 0, -1),), True, 16, 8),
    Scalar("__kt_unknown", "other"),
)
PROGRAM = Program(
    name="p",
    version="1",
    types=TYPES,
    variables=(
        Variable("src/a.c/items", "items", "static", 0),
        Variable("Pool_Size", "Pool_Size", "global", 1),
    ),
    functions=(FunctionSymbol("f", "f", "global", None, True, False),),
    update_points=(),
)


def annotated(path: str, text: str) -> World:
    return World(annotate(PROGRAM, [AnnotationSource(path, text, HERE)]))


def view_of_data(world: World) -> object:
    view = world.resolve(world.variable_instance(world.program.variables[0]))
    assert isinstance(view, Compound)
    return world.resolve(next(m.instance for m in world.members(view) if m.name == "data"))


def test_a_pointer_that_the_source_calls_opaque_is_not_followed() -> None:
    opaque = Pointer(2, (Annotation("opaque", ""),))
    types = tuple(opaque if isinstance(node, Pointer) else node for node in TYPES)
    world = World(dataclasses.replace(PROGRAM, types=types))
    assert view_of_data(world) == Bits(8)


def test_weaker_annotations_fill_gaps_only() -> None:
    first = annotate(PROGRAM, [AnnotationSource("struct item.data", "element(int)", HERE)])
    said = [
        AnnotationSource("struct item.data", "element(item_t)", HERE),
        AnnotationSource("struct item.n", "ignore", HERE),
    ]
    record = annotate(first, said, weaker=True).types[0]
    assert isinstance(record, Record)
    assert [(a.text, a.path) for a in record.annotations] == [("int", "data"), ("", "n")]
    record = annotate(first, said).types[0]
    assert isinstance(record, Record)
    assert [a.text for a in record.annotations] == ["item_t", ""]


def test_several_annotations_in_one_text() -> None:
    source = AnnotationSource("x", "element(struct item) ptrarray(f(self.n, (2)) / 2) auto", HERE)
    assert [(a.kind, a.text) for a in parse_annotations(source)] == [
        ("element", "struct item"),
        ("ptrarray", "f(self.n, (2)) / 2"),
        ("auto_migrate", ""),
    ]


@pytest.mark.parametrize("path", ["struct item.data", "typedef item_t.data", "a.c/items.data"])
def test_a_member_can_be_named_in_three_ways(path: str) -> None:
    assert view_of_data(annotated(path, "opaque")) == Bits(8)


def test_an_element_type_makes_a_pointer_of_a_void_pointer() -> None:
    view = view_of_data(annotated("src/a.c/items.data", "element(struct item) ptrarray(self.n)"))
    assert view == Ref("array", Instance(0), "self.n", HERE)


@pytest.mark.parametrize(
    ("of_one", "of_all", "expected"),
    [
        ("element(struct item)", "opaque", Ref("one", Instance(0))),
        ("opaque", "element(struct item)", Bits(8)),
    ],
)
def test_what_is_said_of_one_place_goes_before_what_is_said_of_the_type(
    of_one: str, of_all: str, expected: object
) -> None:
    said = (("src/a.c/items.data", of_one), ("struct item.data", of_all))
    sources = [AnnotationSource(path, text, HERE) for path, text in said]
    assert view_of_data(World(annotate(PROGRAM, sources))) == expected
    assert view_of_data(World(annotate(PROGRAM, sources[::-1]))) == expected


def test_what_nothing_explains_is_a_word() -> None:
    assert view_of_data(World(PROGRAM)) == Ref("word", None)


def test_the_manifest_goes_before_the_source() -> None:
    once = annotate(PROGRAM, [AnnotationSource("f", "notelocals", HERE)])
    twice = annotate(once, [AnnotationSource("f", "notelocals", HERE)])
    assert twice.functions[0].annotations == (Annotation("notelocals", "", HERE),)


def test_a_lenient_one_leaves_out_what_is_not_there() -> None:
    said = [AnnotationSource("struct gone", "opaque", HERE)]
    assert annotate(PROGRAM, said, lenient=True) == PROGRAM


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("self.n", "in->n"),
        ("self.n / sizeof(struct item)", "in->n / sizeof(struct item)"),
        ("Pool_Size*2", "Pool_Size * 2"),
        ("LARGE - self.n", "9 - in->n"),
        ("sizeof(item_t)", "sizeof(item_t)"),
    ],
)
def test_lengths(text: str, code: str) -> None:
    world = World(PROGRAM)
    owner = world.resolve(Instance(0))
    assert isinstance(owner, Compound)
    assert expressions.translate(text, expressions.Scope(world, owner), HERE) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("n", "in->n"),
        ("$in.kind & (F_A | F_B)", "(*in).u.kind & (_kitsune_macro_F_A | _kitsune_macro_F_B)"),
        ("self.n == 'x' && self.n<=3 || !self.n", "in->n == 'x' && in->n <= 3 || !in->n"),
        ("self.n << 2", "in->n << 2"),
    ],
)
def test_tags(text: str, code: str) -> None:
    world = World(PROGRAM)
    owner = world.resolve(Instance(0))
    assert isinstance(owner, Compound)
    macros: set[str] = set()
    scope = expressions.Scope(world, owner, None, "tag", "(*in).u", bare=True, macros=macros)
    assert expressions.translate(text, scope, HERE).replace("in->u", "(*in).u") == code
    assert macros == set(re.findall(r"F_\w", text))


def test_a_macro_needs_a_preamble() -> None:
    world = World(PROGRAM)
    with pytest.raises(KitsuneError, match="no variable, enumerator or type 'LIMIT'") as caught:
        expressions.translate("LIMIT", expressions.Scope(world, None), HERE)
    assert "macros need a 'preamble'" in (caught.value.hint or "")


def test_self_is_for_members_only() -> None:
    with pytest.raises(KitsuneError, match="'self' is only for a member of a struct") as caught:
        expressions.translate("self.n", expressions.Scope(World(PROGRAM), None), HERE)
    assert caught.value.code == "K132"


def test_a_type_that_was_not_understood_is_told_if_it_is_migrated() -> None:
    variable = Variable("odd", "odd", "global", 6, at=Location("a.c", 3))
    program = Program("p", "1", TYPES, (variable,), (), ())
    with pytest.raises(KitsuneError) as caught:
        make_plan(program, program, RuleSet())
    assert caught.value.report().startswith(
        "kitsune: error[K131]: 'struct odd.x' has the type '__kt_unknown', which could not be"
        " understood\n"
    )
