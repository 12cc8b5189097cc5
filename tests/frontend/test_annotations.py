"""Annotations are found wherever they stand, and the compiler never sees them."""

from __future__ import annotations

from typing import Any

import pytest

from kitsune_tool.errors import KitsuneError
from kitsune_tool.model import Annotations, Array, Pointer, Record, TypeParameter

INCLUDE = "#include <kitsune_annotations.h>\n"


def texts(annotations: Annotations) -> list[str]:
    return [f"{a.kind}({a.text})" if a.text else a.kind for a in annotations]


def test_each_star_has_its_own(build: Any) -> None:
    built = build(
        INCLUDE
        + "struct s { int n, m; char * E_SZ * E_PTRARRAY(self.n) names; int * const E_PTR a,"
        " * E_PTRARRAY( self.m ) b; void * restrict E_OPAQUE c; };\n"
    )
    fields = {f.name: built.unit.types[f.type] for f in built.record("s").fields}
    assert texts(fields["names"].annotations) == ["ptrarray(self.n)"]
    assert texts(built.unit.types[fields["names"].to].annotations) == ["sz"]
    assert texts(fields["a"].annotations) == ["ptr"]
    assert texts(fields["b"].annotations) == ["ptrarray(self.m)"]
    assert texts(fields["c"].annotations) == ["opaque"]


def test_on_declarations(build: Any) -> None:
    built = build(
        INCLUDE + "#define N 4\nint a E_MANUAL_MIGRATE = 1, *b E_PTRARRAY(N), c;\n"
        "static E_AUTO_MIGRATE int d; int e[3] E_IGNORE; int E_OPAQUE *f;\n"
        "extern char *g E_OPAQUE; char *g;\n"
        "int (*h)(int) E_OPAQUE, (*i E_IGNORE)(void); E_MANUAL_MIGRATE long j = 0 E_IGNORE;\n"
        "struct t { int w : 3 E_IGNORE; char *k E_CUSTOM(take, give); E_OPAQUE void *l; };\n"
        "int q(void) { static int m E_MANUAL_MIGRATE = 3; return m; }\n",
        "-w",
    )
    found = {v.name: texts(v.annotations) for v in built.unit.variables}
    assert found == {
        "a": ["manual_migrate"], "b": ["ptrarray(4)"], "c": [], "d": ["auto_migrate"],
        "e": ["ignore"], "f": ["opaque"], "g": ["opaque"], "h": ["opaque"], "i": ["ignore"],
        "j": ["ignore", "manual_migrate"], "m": ["manual_migrate"],
    }  # fmt: skip
    fields = {f.name: texts(f.annotations) for f in built.record("t").fields}
    assert fields == {"w": ["ignore"], "k": ["custom(take, give)"], "l": ["opaque"]}


def test_generic_types(build: Any) -> None:
    built = build(
        INCLUDE
        + "struct list { void E_T(@t) *value; struct list E_G(@t) *next; void * E_T(@t) word; }"
        " E_GENERIC(@t);\n"
        "typedef struct dict { struct list E_G(@k) keys; struct list E_G(@v) *values[2];"
        " struct list * E_G([opaque]) x; } E_GENERIC(@k, @v) dict;\n"
        "typedef struct list E_G(@a) E_GENERIC(@a) other;\n"
        "dict E_G(int, struct list<int, char *>) table; dict E_G(a_t *, @t) *at;\n"
    )
    types = built.unit.types
    list_ = built.record("list")
    assert texts(list_.annotations) == ["generic(@t)"]
    value, next_, word = (types[f.type] for f in list_.fields)
    assert types[value.to] == TypeParameter("@t")
    assert isinstance(types[next_.to], Record)
    assert texts(next_.annotations) == ["g(@t)"]
    assert texts(word.annotations) == ["t(@t)"]
    dict_ = built.record("dict")
    assert texts(dict_.annotations) == ["generic(@k, @v)"]
    assert texts(dict_.fields[0].annotations) == ["g(@k)"]
    values = types[dict_.fields[1].type]
    assert isinstance(values, Array)
    assert texts(types[values.of].annotations) == ["g(@v)"]
    assert texts(types[dict_.fields[2].type].annotations) == ["g([opaque])"]
    other = next(t for t in types if getattr(t, "name", "") == "other")
    assert texts(other.annotations) == ["generic(@a)", "g(@a)"]
    assert texts(built.variable("table").annotations) == ["g(int, struct list<int, char *>)"]
    at = types[built.variable("at").type]
    assert isinstance(at, Pointer)
    assert texts(at.annotations) == ["g(a_t *, @t)"]


def test_in_typedefs_and_brackets(build: Any) -> None:
    built = build(
        INCLUDE + "typedef char * E_OPAQUE sds; sds a;\n"
        "struct s { unsigned len; char buf[E_ARRAY(self.len)]; };\n"
        "struct r { int n; long rows[E_ARRAY(self.n * 2)]; };\n"
    )
    sds = built.unit.types[built.variable("a").type]
    assert texts(built.unit.types[sds.to].annotations) == ["opaque"]
    buf = built.unit.types[built.record("s").fields[1].type]
    assert (buf.length, texts(buf.annotations)) == (None, ["array(self.len)"])
    rows = built.unit.types[built.record("r").fields[1].type]
    assert texts(rows.annotations) == ["array(self.n * 2)"]


def test_on_functions(build: Any) -> None:
    built = build(
        INCLUDE + "int f(int a) E_NOTELOCALS { int *b E_PTRARRAY(4) = 0; return a + !b; }\n"
        "static int E_NOTELOCALS g(int * E_PTRARRAY(3) a) { return *a; }\n"
        "int (*h(void))(int) E_NOTELOCALS { return 0; }\n"
        "int k(a) E_NOTELOCALS int a; { return a; }\nint l(void) E_NOTELOCALS;\n"
        "int l(void) { return g(0); }\n",
        "-w",
    )
    found = {f.name: texts(f.annotations) for f in built.unit.functions}
    assert found == {name: ["notelocals"] for name in "fghkl"}


def test_kitsune_h_has_them_and_others_see_nothing(build: Any) -> None:
    source = '#include <kitsune.h>\nstatic char *p E_SZ = "x";\nE_AUTO int *E_OPAQUE q;\n'
    built = build(source)
    assert texts(built.variable("unit.c/p").annotations) == ["sz"]
    assert "__kt__" not in built.made.text


def test_switched_off(build: Any) -> None:
    built = build(
        "#define E_NOANNOT\n" + INCLUDE + "char *p E_SZ; struct s { int a; } E_GENERIC(@t);\n"
    )
    assert built.variable("p").annotations == ()
    assert built.record("s").annotations == ()


def test_lines_stay(build: Any) -> None:
    built = build(INCLUDE + "struct s { int n; char * E_PTRARRAY(\n    self.n\n) p; };\nint x;\n")
    assert str(built.variable("x").at) == "unit.c:5:5"
    annotation = built.unit.types[built.record("s").fields[1].type].annotations[0]
    assert (annotation.text, str(annotation.at)) == ("self.n", "unit.c:2:26")


BAD = {
    "char *p E_PTRARRAY();": (
        "unit.c:2:9: error[K001]: the argument of E_PTRARRAY is not understood: ''\n"
        "    char *p E_PTRARRAY();\n"
        "            ^\n"
        "hint: it takes a length: E_PTRARRAY(self.count)"
    ),
    "struct s { int a; } E_GENERIC(t);": (
        "unit.c:2:21: error[K001]: the argument of E_GENERIC is not understood: 't'\n"
        "    struct s { int a; } E_GENERIC(t);\n"
        "                        ^\n"
        "hint: it takes names of type parameters: E_GENERIC(@k, @v)"
    ),
    "char *p E_CUSTOM(take);": (
        "unit.c:2:9: error[K001]: the argument of E_CUSTOM is not understood: 'take'\n"
        "    char *p E_CUSTOM(take);\n"
        "            ^\n"
        "hint: it takes the names of two functions: E_CUSTOM(allocate, release)"
    ),
    "void E_T(t) *p;": (
        "unit.c:2:6: error[K001]: the argument of E_T is not understood: 't'\n"
        "    void E_T(t) *p;\n"
        "         ^\n"
        "hint: it takes the name of a type parameter: E_T(@t)"
    ),
}


@pytest.mark.parametrize("source", BAD)
def test_wrong_arguments(build: Any, source: str) -> None:
    with pytest.raises(KitsuneError) as caught:
        build(INCLUDE + source + "\n")
    assert caught.value.report() == BAD[source]
