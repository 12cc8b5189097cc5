"""Slots of a unit, and the tables read back."""

from __future__ import annotations

import struct

from kitsune_tool.layout import MAGIC, Namer, Slot, filled, read, segment, slots
from kitsune_tool.model import (
    UNKNOWN,
    Array,
    Enum,
    Field,
    Pointer,
    Record,
    Scalar,
    Unit,
    Variable,
)

UNIT = Unit(
    source="a.c",
    types=(
        Scalar("int", "signed"),
        Record("struct", "s", (Field("a", 0), Field("b", 0, bits=3), Field("", 2)), True),
        Record("union", "", (Field("u", 3), Field("v", 0)), True),
        Array(0, UNKNOWN),
        Enum("e", (("A", UNKNOWN), ("B", UNKNOWN))),
        Pointer(1),
        Record("struct", "gone", (), False),
        Scalar("void", "void"),
        Array(0, None),
    ),
    variables=(
        Variable("x", "x", "global", 1),
        Variable("a.c/f#y", "y", "local_static", 0, function="f"),
    ),
    functions=(),
)


def test_slots_follow_from_the_unit() -> None:
    assert slots(UNIT) == [
        Slot("size", 0), Slot("align", 0),
        Slot("size", 1), Slot("align", 1), Slot("offset", 1, 0), Slot("field", 1, 0),
        Slot("width", 1, 1), Slot("offset", 1, 2), Slot("field", 1, 2),
        Slot("size", 2), Slot("align", 2), Slot("offset", 2, 0), Slot("field", 2, 0),
        Slot("offset", 2, 1), Slot("field", 2, 1),
        Slot("size", 3),
        Slot("size", 4), Slot("align", 4), Slot("signed", 4), Slot("value", 4, 0),
        Slot("value", 4, 1),
        Slot("variable", 0), Slot("variable", 1),
    ]  # fmt: skip


def test_expressions_reach_what_has_no_name() -> None:
    namer = Namer(UNIT, {})
    namer.name_file()
    expressions = {slot: namer.expression(slot) for slot in slots(UNIT)}
    union = "__typeof__(((struct kitsune__record_1 *)0)->kitsune__member_2)"
    assert expressions[Slot("size", 2)] == f"sizeof({union})"
    assert expressions[Slot("offset", 1, 2)] == (
        "__builtin_offsetof(struct kitsune__record_1, kitsune__member_2)"
    )
    assert expressions[Slot("size", 3)] == f"sizeof(__typeof__((({union} *)0)->u))"
    assert expressions[Slot("width", 1, 1)] == "(unsigned long long)(3)"
    assert expressions[Slot("value", 4, 1)] == "(unsigned long long)(B)"
    assert namer.take_copies() == (
        "struct kitsune__record_1 { __typeof__(((struct s *)0)->a) a ; int b : 3; union"
        " { __typeof__(((struct s *)0)->u) u ; __typeof__(((struct s *)0)->v) v ; }"
        "  kitsune__member_2 ; } ; "
    )


def test_numbers_fill_the_unit() -> None:
    values = [4, 4, 16, 4, 0, 4, 3, 8, 8, 8, 4, 0, 8, 0, 4, 8, 4, 4, 1, 7, (1 << 64) - 2, 16, 4]
    unit = filled(UNIT, dict(enumerate(values)))
    record, union, array, enum = unit.types[1:5]
    assert isinstance(record, Record)
    assert isinstance(union, Record)
    assert (record.size, record.align) == (16, 4)
    assert [(f.offset_bytes, f.size_bytes, f.bits) for f in record.fields] == [
        (0, 4, None), (UNKNOWN, UNKNOWN, 3), (8, 8, None),
    ]  # fmt: skip
    assert (union.size, array) == (8, Array(0, 2, (), 8))
    assert enum == Enum("e", (("A", 7), ("B", -2)), True, 4, 4, True)
    assert [v.size_bytes for v in unit.variables] == [16, 4]


def test_missing_numbers_stay_unknown_and_dropped_statics_go() -> None:
    unit = filled(UNIT, {0: 4, 21: 16})
    assert unit.types[0] == Scalar("int", "signed", 4, UNKNOWN)
    assert [(v.key, v.size_bytes) for v in unit.variables] == [("x", 16)]


def test_segments_of_several_units_are_told_apart() -> None:
    nothing = MAGIC - 1
    words = [0, MAGIC, 0xAB, 0, 3, 1, nothing, 3, 0, 0, MAGIC, 0xCD, 0, 1, 9, MAGIC, 0xAB, 5, 1, 7]
    data = struct.pack(f"<{len(words)}Q", *words)
    assert read(data) == {f"{0xAB:016x}": {0: 1, 2: 3, 5: 7}, f"{0xCD:016x}": {0: 9}}
    assert read(struct.pack(f">{len(words)}Q", *words), ">") == read(data)
    assert read(data[: 8 * 7 + 3]) == {f"{0xAB:016x}": {0: 1}}


def test_segment_text() -> None:
    assert segment("00000000000000ab", 3, ["sizeof(int)", None], "t").endswith(
        f"= {{ 0x4b495453554e4531ull, 0x00000000000000abull, 3, 2, sizeof(int), {MAGIC - 1}ull }};"
    )
