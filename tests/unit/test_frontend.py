"""The front-end as a library call, on text that no compiler made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsune_tool.edits import read_edits
from kitsune_tool.frontend import FrontendConfig, process, relative
from kitsune_tool.model import Record, from_json, to_json


def test_paths_are_relative_to_the_root(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    config = FrontendConfig(str(root), directory=str(root / "sub"))
    assert relative("a.c", config) == "sub/a.c"
    assert relative("../b.h", config) == "b.h"
    assert relative("/usr/include/stdio.h", config) == "/usr/include/stdio.h"
    assert relative("<built-in>", config) == "<built-in>"
    assert relative(str(tmp_path / "link" / "sub" / "a.c"), config) == "sub/a.c"
    linked = FrontendConfig(str(tmp_path / "link"), directory=os.fspath(root))
    assert relative("sub/a.c", linked) == "sub/a.c"


def test_keys_name_a_generated_source_without_its_folder(tmp_path: Path) -> None:
    config = FrontendConfig(str(tmp_path / "tree"))
    made = process("static int x;\n", str(tmp_path / "build" / "gen.c"), config)
    assert [v.key for v in made.unit.variables] == ["gen.c/x"]


def test_unit_travels_as_json() -> None:
    text = (
        'struct s { struct s *next; int a : 3; char *p __kt__(sz,""); } v; int f(void) { static'
        ' int x; kitsune_update("main"); return x; } int (*g)(void) = f; enum e { A, B } w;\n'
    )
    unit = process(text, "a.c", FrontendConfig("/")).unit
    assert from_json(to_json(unit)) == unit
    assert len(unit.digest) == 16
    assert process(text, "a.c", FrontendConfig("/")).unit == unit
    assert process(text, "b.c", FrontendConfig("/")).unit.digest != unit.digest


def test_text_before_the_tables_keeps_its_lines() -> None:
    text = '# 1 "a.c"\nint a __kt__(opaque,"");\nint f(void) {\n static int x; return x;\n}\n'
    lines = process(text, "a.c", FrontendConfig("/")).text.splitlines()
    assert lines[1] == "int a                  ;"
    assert lines[3].startswith(" static int x; __extension__ static const struct {")
    assert lines[3].endswith("; return x;")
    assert lines[4:6] == ["}", '# 1 "<kitsune>" 3']


def test_a_field_that_an_edit_adds_is_in_the_model() -> None:
    edits = read_edits([{"field": "long extra;", "record": "struct s"}])
    text = '# 1 "/a.c"\nstruct s {\n    int a;\n};\nstruct s v;\n'
    made = process(text, "/a.c", FrontendConfig("/", edits=edits))
    [record] = [t for t in made.unit.types if isinstance(t, Record)]
    assert [f.name for f in record.fields] == ["a", "extra"]
    assert [m.edit for m in made.unit.edits] == [0]


def test_an_update_point_that_an_edit_adds_is_in_the_model() -> None:
    edits = read_edits([{"update_point": "loop", "function": "main", "loop": 1}])
    text = '# 1 "/a.c"\nint main(void)\n{\n    for (;;) {\n    }\n}\n'
    made = process(text, "/a.c", FrontendConfig("/", edits=edits))
    assert [(p.name, p.function) for p in made.unit.update_points] == [("loop", "main")]


@pytest.mark.timeout(60)
@given(
    st.lists(
        st.sampled_from(
            [
                "int", "static", "struct s", "{", "}", "(", ")", "[", "]", ";", ",", "*", "x", "y",
                "=", "1", "typedef", "T", "enum e", "__attribute__((packed))", "union", ":", "3",
                '__kt__(opaque,"")', '"a"', "return", "\n", "extern", "inline", "typeof(x)",
            ]
        ),
        max_size=40,
    )
)  # fmt: skip
def test_no_text_is_too_odd(words: list[str]) -> None:
    """What is no C is the compiler's to tell; the front-end hands it on."""
    text = " ".join(words) + "\n"
    made = process(text, "a.c", FrontendConfig("/"))
    assert made.text.count("\n") > text.rstrip("\n").count("\n")
