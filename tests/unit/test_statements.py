"""The tree of statements of a body."""

import pytest

from kitsune_tool.statements import Statement, parse_body, tokenize


def shape(statement: Statement) -> str:
    """Return the tree in short: `if(simple block(…))`."""
    inner = " ".join(shape(each) for each in statement.inner)
    return f"{statement.kind}({inner})" if inner else statement.kind


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{}", "block"),
        ("{;}", "block(simple)"),
        ("{a(); b = c;}", "block(simple simple)"),
        ("{if (x) a(); b();}", "block(if(simple) simple)"),
        ("{if (x) a(); else if (y) b(); else {c();} d();}",
         "block(if(simple if(simple block(simple))) simple)"),
        ("{for (i = 0; i < n; i++) for (;;) a();}", "block(for(for(simple)))"),
        ("{while (a(b(c))) ; d();}", "block(while(simple) simple)"),
        ("{do a(); while (0); b();}", "block(do(simple) simple)"),
        ("{do { a(); } while (x); }", "block(do(block(simple)))"),
        ("{switch (x) {case 1: case 2: a(); break; default: b();}}",
         "block(switch(block(label(label(simple)) simple label(simple))))"),
        ("{case x ? y : z: a();}", "block(label(simple))"),
        ("{case 1 ... 5: a();}", "block(label(simple))"),
        ("{out: a(); end: }", "block(label(simple) label)"),
        ("{x = y ? z : w;}", "block(simple)"),
        ("{int a[] = {1, 2}; struct s b = {.x = {3}}; c();}", "block(simple simple simple)"),
        ("{x = ({ int y; while (y) z(); y; }); w();}",
         "block(simple(block(simple while(simple) simple)) simple)"),
        ("{if (({ a(); })) b();}", "block(if(block(simple) simple))"),
        ('{f("}; {"); g(\'}\'); /* } */ h(); // }\n}', "block(simple simple simple)"),
        ("{\n# 5 \"}.c\"\na();\n#pragma }\nb();}", "block(simple simple)"),
        ("{asm volatile (\"\" : : \"r\"(x)); goto *p; __label__ l; l: ;}",
         "block(simple simple simple label(simple))"),
        ("{while (1) switch (x) case 3: a(); b();}",
         "block(while(switch(label(simple))) simple)"),
    ],
)  # fmt: skip
def test_shape(body: str, expected: str) -> None:
    assert shape(parse_body(tokenize(body))) == expected


@pytest.mark.parametrize(
    "body", ["{", "{if", "{if (", "{do", "{do x", "{case", "{x(", "{a:", "{{;"]
)
def test_text_that_is_no_c_ends(body: str) -> None:
    assert parse_body(tokenize(body)).kind == "block"


def test_tokens_have_places() -> None:
    text = 'a->b += L"x" /* c */ 0x1p-3;'
    assert [text[t.start : t.end] for t in tokenize(text)] == [t.text for t in tokenize(text)]
    assert [t.text for t in tokenize(text)] == ["a", "->", "b", "+=", 'L"x"', "0x1p-3", ";"]
