"""Insertions, blanks and the record's text."""

from __future__ import annotations

import base64
import json
import zlib

from hypothesis import given
from hypothesis import strategies as st

from kitsune_tool.insert import Insertion, apply, record, record_section
from kitsune_tool.model import Scalar, Unit, Variable, from_json

UNIT = Unit(
    source="a.c",
    types=(Scalar("int", "signed"),),
    variables=(Variable("x", "x", "global", 0),),
    functions=(),
    digest="00ff00ff00ff00ff",
)


def test_insertions_and_blanks() -> None:
    text = 'int a __kt__(ptr,"x") = 1;\nint b;'
    made = apply(text, [Insertion(26, " c;"), Insertion(0, "A"), Insertion(0, "B")], [(6, 21)])
    assert made == "ABint a                 = 1; c;\nint b;"


def test_line_ends_and_markers_in_a_blank_stay() -> None:
    text = 'x __kt__(array,"a"\n# 3 "f.c"\n) y'
    assert apply(text, [], [(2, 31)]) == 'x                 \n# 3 "f.c"\n  y'


@given(st.text(alphabet="ab\n"), st.lists(st.integers(0, 8)))
def test_taking_the_insertions_out_gives_the_text_back(text: str, offsets: list[int]) -> None:
    insertions = [Insertion(min(offset, len(text)), "<>") for offset in offsets]
    made = apply(text, insertions)
    assert made.replace("<>", "") == text
    assert made.count("\n") == text.count("\n")


def test_record_is_read_back() -> None:
    header, body, end = record(UNIT).split("\n")
    assert (header, end) == (f"KITSUNE1 00ff00ff00ff00ff {len(body)}", "")
    assert from_json(json.loads(zlib.decompress(base64.b64decode(body)))) == UNIT


def test_record_section_holds_the_record() -> None:
    section = record_section(UNIT)
    rows = [line[10:-5] for line in section.splitlines() if line.startswith('".ascii')]
    assert "".join(rows).replace("\\\\n", "\n") == record(UNIT)
    assert section.startswith('__asm__(".pushsection .kitsune,\\"\\",%progbits\\n"\n')
