"""One declaration of GNU C made ready for pycparser."""

# ruff: noqa: E501 - the samples of C are easier to read in one piece

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsune_tool.normalise import Misunderstood, integer, normalise, tokens, unquote
from kitsune_tool.parse import parse

READY = {
    "int x;": "int x ;",
    "static __attribute__((unused)) const u8 x = 3, *y;": "static const u8 x , * y ;",
    "extern __inline __attribute__((__gnu_inline__)) int f(int __a) __asm__(\"f\") ;":
        "extern int f ( int __a ) ;",
    "struct __attribute__((packed)) s { char c; } __attribute__((__aligned__(8))) x;":
        "struct [[ kt_layout packed ]] [[ kt_layout aligned(8) ]] s { char c ; } x ;",
    "struct s { int a : W + 1, : 0; char b[]; };":
        "struct s { int a : __kt_expression , : 0 ; char b [ ] ; } ;",
    'char * const __kt__(sz,"") volatile * __kt__(ptrarray,"self.n") q;':
        "char * [[ kt_sz ]] const volatile * [[ kt_ptrarray self.n ]] q ;",
    'void __kt__(t,"@t") *p;': "void [[ kt_t @t ]] * p ;",
    'int *a __kt__(ptr,""), b[3] __kt__(opaque,"") = { 1 };':
        "int * a [[ kt_ptr ]] , b [ 3 ] [[ kt_opaque ]] ;",
    'char buf[__kt__(array,"self.len")];': "char buf [ ] [[ kt_array self.len ]] ;",
    "int (*const table[])(int (*)(u8), ...) = { 0 };":
        "int ( * const table [ ] ) ( int ( * ) ( u8 ) , ... ) ;",
    "int f(a, b) int a; char b;": "int f ( a , b ) ;",
    "static x;": "static int x ;",
    "enum e : unsigned char { A = 1, B __attribute__((deprecated)) = A, } v;":
        "enum e : unsigned char { A , B , } v ;",
    "__typeof__(int *) a; ": "typeof ( int * ) a ;",
    "__typeof__(1 + 2) a;": "__kt_unknown a ;",
    "_Complex _Float32 a; ": "_Float32 _Complex a ;",
    "static __float128 __complex__ const a;": "static __float128 _Complex const a ;",
    "_Atomic(int) a;": "_Atomic ( int ) a ;",
    "_Thread_local int a; ": "_Thread_local int a ;",
    "thread_local constexpr int a = 3;": "_Thread_local const int a ;",
    "[[gnu::aligned(4)]] int a;": "int [[ kt_layout aligned(4) ]] a ;",
    "_Alignas(8) _Alignas(long) char a;":
        "char [[ kt_layout aligned(8) ]] [[ kt_layout aligned(_Alignof(long)) ]] a ;",
    "int f(int a[static 3], char b[restrict], int c[*]);":
        "int f ( int a [ 3 ] , char b [ ] , int c [ ] ) ;",
    "int a[sizeof(struct { int x; })];": "int a [ __kt_expression ] ;",
    "int (x), *(y), (f)(void);": "int ( x ) , * ( y ) , ( f ) ( void ) ;",
    "u8 u8_, (*g)(u8);": "u8 u8_ , ( * g ) ( u8 ) ;",
    "struct s { _Static_assert(1, \"\"); ; int a };": "struct s { int a ; } ;",
}  # fmt: skip


@pytest.mark.parametrize("text", READY)
def test_ready_tokens(text: str) -> None:
    made = normalise(text, 0, len(text), {"u8"})
    assert " ".join(token.value for token in made.ready if token.value) == READY[text]
    parse(made.ready, made.names)


DECLARED = {
    "int a = f(1, 2), (*b)(int), c(void), d[2], (e), (*g[2])(void), *h(void);": [
        ("a", False), ("b", False), ("c", True), ("d", False), ("e", False), ("g", False),
        ("h", True),
    ],
    "int (f)(void), (*(*k)(void))(int), (*l(int a))(int);": [("f", True), ("k", False), ("l", True)],
    'int (* __kt__(opaque,"") fp)(int);': [("fp", False)],
    "typedef void fn(struct x *p);": [("fn", True)],
    "struct s { int a; } b, c;": [("b", False), ("c", False)],
    "main(argc, argv) char **argv;": [("main", True)],
    "int __attribute__((weak)) f(int) __attribute__((cold));": [("f", True)],
}  # fmt: skip


@pytest.mark.parametrize("text", DECLARED)
def test_declared_names(text: str) -> None:
    made = normalise(text, 0, len(text))
    assert [(d.name, d.is_function) for d in made.declared] == DECLARED[text]


def test_tags_names_and_expressions() -> None:
    text = "struct s { union u { my_t a[N * 2]; } b; enum { A } c; } *d; "
    made = normalise(text, 0, len(text), {"my_t"})
    assert (made.tags, made.names) == (["struct s", "union u"], {"my_t"})
    assert list(made.expressions.values()) == ["N * 2"]


def test_initializers_are_told_by_their_place() -> None:
    text = 'int a = ({ 1, 2; }), b = (x, y), c __kt__(ptr,"") = { [0] = 1 };'
    made = normalise(text, 0, len(text))
    places = [d.initializer for d in made.declared if d.initializer]
    assert [text[start:end].strip() for start, end in places] == [
        "({ 1, 2; })", "(x, y)", "{ [0] = 1 }",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["int a b c;", "struct { int", "int (*;", "int x[3;", "= 3;", "int f(3);"]
)
def test_what_is_no_declaration_is_told(text: str) -> None:
    with pytest.raises(Misunderstood):
        normalise(text, 0, len(text))


def test_tokens() -> None:
    text = "a->b /* c */ L\"x;\" '\\'' 0x1'0p+3 \n# 3 \"f.c\"\n>>= u8'q' $id // end"
    assert [(t.kind, t.text) for t in tokens(text)] == [
        ("id", "a"), ("punct", "->"), ("id", "b"), ("string", 'L"x;"'), ("char", "'\\''"),
        ("number", "0x1'0p+3"), ("punct", ">>="), ("char", "u8'q'"), ("id", "$id"),
    ]  # fmt: skip


def test_integers_and_strings() -> None:
    texts = ["0", "10UL", "0x1F", "017", "0b11", "1'000", "1.5", "N", "08", "'a'"]
    assert [integer(text) for text in texts] == [0, 10, 31, 15, 3, 1000, None, None, None, None]
    assert unquote(r'"a\"\\\n\x41\101"') == 'a"\\\nAA'
    assert unquote(r'"\u00e9\U0001F600"').encode("latin-1").decode() == "é😀"


@given(st.lists(st.sampled_from(["int", "struct", "x", "u8", "*", "(", ")", "[", "]", "{", "}", ",", ";", "=", ":", "3", "__attribute__", "enum", "static", "typedef", "typeof", "__kt__", "_Atomic", "...", "asm"]), max_size=25))  # fmt: skip
def test_any_tokens_are_ready_or_misunderstood(words: list[str]) -> None:
    text = " ".join(words)
    try:
        made = normalise(text, 0, len(text), {"u8"})
        parse(made.ready, made.names)
    except Misunderstood as trouble:
        assert 0 <= trouble.offset <= len(text)
