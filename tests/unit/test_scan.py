"""Cutting a preprocessed text into external declarations."""

# ruff: noqa: E501 - the samples of C are easier to read in one piece

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsune_tool.scan import scan


def cut(text: str) -> list[tuple[str, str]]:
    """Return each external's text without its body, and the body."""
    found = []
    for external in scan(text).externals:
        body = external.body or (external.end, external.end)
        found.append((text[external.start : body[0]].strip(), text[slice(*body)]))
    return found


NO_FUNCTIONS = [
    "int x;",
    'char s[] = "a;b{\\"}";',
    "char c = ';', d = '\\'', e = '{';",
    "struct s { int a; } x = { 1 };",
    "struct __attribute__((packed)) s { char c; };",
    "struct s *p = &(struct s){ 3 };",
    "int a[] = { 1, 2 };",
    "int a[sizeof((struct s){ 0 })];",
    "int a[sizeof(struct { int q; })];",
    "enum e : int { A, B };",
    "enum { A = 1, B } x;",
    "typedef struct { int a; union { int b; }; } t, *tp;",
    "_Static_assert(sizeof(struct { int a; }) == 4, \"x;\");",
    "int (*fp)(struct { int a; } *) = 0;",
    "int x = 1'000'000;",
    "struct [[gnu::packed]] s { char c; };",
    "union u { int a; } __attribute__((aligned(8)));",
]  # fmt: skip

FUNCTIONS = {
    "int f(void) { return '{'; }": "int f(void)",
    "int f(a, b) int a; char (*b)(); { return a; }": "int f(a, b) int a; char (*b)();",
    "enum { A = 1 } f(void) { return A; }": "enum { A = 1 } f(void)",
    "struct s f(struct { int a; } *p) { }": "struct s f(struct { int a; } *p)",
    'int f(void) __kt__(notelocals,"") { return 0; }': 'int f(void) __kt__(notelocals,"")',
    'int f(void) __attribute__((section("a{b"))) { }': 'int f(void) __attribute__((section("a{b")))',
    "[[noreturn]] void f(void) [[gnu::cold]] { for (;;); }": "[[noreturn]] void f(void) [[gnu::cold]]",
    "void (*f(int a))(int) { return 0; }": "void (*f(int a))(int)",
    "int (*f(void))[3] { return 0; }": "int (*f(void))[3]",
    "main() { }": "main()",
    "int f(int a) /* { ; */ { // }\n }": "int f(int a) /* { ; */",
    "int f(int a)\n# 3 \"a;{.c\"\n{ }": 'int f(int a)\n# 3 "a;{.c"',
    "int f(int (*g)(int)) { int h(void) { return 1; } return h(); }": "int f(int (*g)(int))",
}  # fmt: skip


@pytest.mark.parametrize("text", NO_FUNCTIONS)
def test_declarations_have_no_body(text: str) -> None:
    assert cut(f"{text}\nint after;") == [(text, ""), ("int after;", "")]


@pytest.mark.parametrize("text", FUNCTIONS)
def test_bodies(text: str) -> None:
    [(head, body), after] = cut(f"{text}\nint after;")
    assert head == FUNCTIONS[text]
    assert body.startswith("{")
    assert body.endswith("}")
    assert after == ("int after;", "")


def test_stray_semicolons_and_old_style_among_others() -> None:
    text = ";;int a;; int f(b) char b; { } ; int g(void) { } int c;"
    assert [head for head, _ in cut(text)] == [
        "int a;",
        "int f(b) char b;",
        "int g(void)",
        "int c;",
    ]


def test_unfinished_text_ends_quietly() -> None:
    assert cut("int a; int f(void) { if (") == [("int a;", ""), ("int f(void)", "{ if (")]
    assert cut("int a; struct s { int b;") == [("int a;", "")]


def test_places_and_system_headers() -> None:
    text = (
        '# 1 "a.c"\n# 1 "/usr/include/x.h" 1 3 4\nextern int puts(const char *);\n\n  int s;\n'
        '# 3 "a.c" 2\nint f(void);\n# 9 "dir/b \\"c\\".h" 1\n  int g;\n'
        '# 5 "a.c" 2\n# 5 "a.c" 3 4\n_Bool\n# 5 "a.c"\n h;\n'
    )
    found = scan(text)
    places = [(str(found.locate(e.start)), e.system) for e in found.externals]
    assert places == [
        ("/usr/include/x.h:1:1", True),
        ("/usr/include/x.h:3:3", True),
        ("a.c:3:1", False),
        ('dir/b "c".h:9:3', False),
        ("a.c:5:1", False),
    ]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "text",
    ["(" * 20000, "{" * 20000, "a " * 20000 + "{", "\"" * 9999, "'" * 9999, "[[" * 9999 + "{", "/*" * 9999,
     "()" * 9000 + "{}", "a(b) c; " * 3000 + "{}", "# \\" * 9999, "((" * 3000 + "))" * 3000 + "{}"],
)  # fmt: skip
def test_hostile_texts_end_in_time(text: str) -> None:
    scan(text)
    scan(f"int f(void) {text}")


@given(st.text(alphabet="(){}[];=,*'\"#/\\\n abf1_", max_size=60))
def test_externals_are_in_order_and_inside(text: str) -> None:
    position = 0
    for external in scan(text).externals:
        assert position <= external.start < external.end <= len(text)
        if external.body:
            assert external.start <= external.body[0] < external.body[1] == external.end
        position = external.end


def test_what_a_macro_of_a_system_header_makes_is_the_users() -> None:
    text = (
        '# 1 "unit.c"\n# 1 "/usr/include/queue.h" 1 3 4\nstruct q { int a; };\n# 2 "unit.c" 2\n\n'
        '# 2 "unit.c" 3 4\nstruct { struct\n# 2 "unit.c"\nentry\n# 2 "unit.c" 3 4\n*first; }\n'
        '# 2 "unit.c"\nhead;\n'
    )
    found = scan(text)
    assert [each.system for each in found.externals] == [True, False]
    assert not found.in_system(text.index("*first"))
