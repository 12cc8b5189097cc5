"""Sizes, offsets and values in the model are the compiler's."""

# ruff: noqa: E501 - the samples of C are easier to read in one piece

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool.model import UNKNOWN, Array, Enum, Pointer, Record, Scalar, Typedef

RECORDS = {
    "plain": "struct plain { char c; int i; double d; void *p; short s[3]; };",
    "packed": "struct packed { char c; long l; } __attribute__((packed));",
    "before": "struct __attribute__((packed, aligned(4))) before { char c; long l; };",
    "aligned": "struct aligned { char c; } __attribute__((aligned(32)));",
    "member": "struct member { char c; int i __attribute__((aligned(16))); short s"
    " __attribute__((packed)); long l; };",
    "alignas": "struct alignas_ { char c; _Alignas(16) char d; _Alignas(long) char e; };",
    "typed": "typedef int ai __attribute__((aligned(16))); struct typed { char c; ai i; };",
    "pack1": "#pragma pack(push, 1)\nstruct pack1 { char c; int i; union { short s; long l; }; };\n"
    "#pragma pack(pop)\n",
    "pack2": "#pragma pack(2)\nstruct pack2 { char c; int i; double d; void *p; char e; };\n"
    "#pragma pack()\n",
    "anonymous": "struct anonymous { int a; union { char u; struct { long v; struct { int w; }; };"
    " }; struct { char x; }; };",
    "bits_first": "struct bits_first { char c; struct { int a : 3, b : 7; }; union { unsigned u : 2;"
    " struct { short z : 4; int y; }; }; int : 0; int q : 3; long after; };",
    "bits_only": "struct bits_only { unsigned a : 1; struct { unsigned b : 3; }; struct"
    " { unsigned c : 5; }; };",
    "union_": "union union_ { int i; struct { char a; long b; }; double d[2]; };",
    "packed_anonymous": "struct packed_anonymous { char c; struct { char d; long l; }"
    " __attribute__((packed)); int i; } __attribute__((packed));",
    "flexible": "struct flexible { int n; long data[]; };",
    "zero": "struct zero { char n; long data[0]; };",
    "empty": "struct empty { };",
    "wide": "struct wide { char c; __int128 i; char d; long double e; _Float128 f; _Complex float g;"
    " };",
    "vector": "typedef float v4 __attribute__((vector_size(16))); struct vector { char c; v4 v; };",
    "atomic": "struct atomic { char c; _Atomic long l; _Atomic(short) s; };",
    "arrays": "enum { N = 3 }; struct arrays { char c[N][sizeof(long) + 1]; int (*p)[N]; short"
    " s[(N)]; struct { char e; } t[2][N]; };",
    "functions": "struct functions { int (*a)(struct functions *, char (*)[3]); void (*(*b[2])(void))"
    "(int); int (*(*c)(int (*)(void)))[4]; };",
    "inner": "struct inner { struct in { char c; long l; } i, *p; enum e { A = 4 } e; enum { B } f; };",
    "self": "struct self { struct self *next, **back; struct opaque *o; };",
    "qualified": "struct qualified { const char c; volatile int i; const char *const p; long"
    " *restrict r; };",
    "bool_": "struct bool_ { _Bool a; _Bool b : 1; enum { X, Y } c : 2; };",
    "modes": "struct modes { char c; int i __attribute__((mode(DI))); unsigned j"
    " __attribute__((__mode__(__HI__))); };",
    "typeof_": "struct plain { long l; }; struct typeof_ { char c; __typeof__(struct plain) p;"
    " __typeof__(1 + 1UL) u; };",
    "named_alike": "typedef struct named_alike { int named_alike; } named_alike;"
    " struct plain_ { named_alike named_alike; };",
    "extension": "struct extension { __extension__ union { int a; char b; }; __extension__ long l; };",
    "last": "struct last { int a; struct { char b; } c };",
    "doubled": "struct doubled { int a;; char b; };",
    "asserted": 'struct asserted { int a; _Static_assert(1, "x"); char b; };',
    "ms": "struct ms { char c; int i : 3; char d; } __attribute__((ms_struct));",
    "transparent": "typedef union { int *i; char *c; } transparent"
    " __attribute__((transparent_union)); struct t { transparent t; };",
}


def offsets(record: Record, types: tuple[Any, ...], base: int = 0) -> dict[str, tuple[int, int]]:
    """Return offset and size of each named member, those of unnamed ones too."""
    found: dict[str, tuple[int, int]] = {}
    for field in record.fields:
        if field.bits is not None:
            continue
        inner = types[field.type]
        if field.name:
            found[field.name] = (base + field.offset_bytes, field.size_bytes)
        elif isinstance(inner, Record):
            assert inner.size == field.size_bytes
            found |= offsets(inner, types, base + field.offset_bytes)
    return found


def compiled(tmp_path: Path, source: str, name: str, members: dict[str, Any]) -> list[int]:
    """Let a program print size, alignment, and offset and size of each member."""
    lines = ["p(sizeof(T)); p(_Alignof(T));"]
    for member, (_, size) in members.items():
        measured = "0" if size == 0 else f"sizeof(((T *)0)->{member})"
        lines.append(f"p(__builtin_offsetof(T, {member})); p({measured});")
    kind = "union" if source.startswith("union") else "struct"
    spelled = name if f"}} {name}" in source else f"{kind} {name}"
    program = (
        f"#include <stdio.h>\n{source}\ntypedef {spelled} T;\nstatic void p(unsigned long n)"
        f' {{ printf("%lu\\n", n); }}\nint main(void) {{ {" ".join(lines)} }}\n'
    )
    path = tmp_path / "measure.c"
    path.write_text(program)
    subprocess.run(["gcc", "-w", path, "-o", tmp_path / "measure"], check=True, timeout=60)
    done = subprocess.run([tmp_path / "measure"], capture_output=True, check=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("name", RECORDS)
def test_layout_of_records(build: Any, tmp_path: Path, name: str) -> None:
    source = RECORDS[name]
    tag = {"alignas": "alignas_"}.get(name, name)
    built = build(source + "\n", "-w")
    assert not built.made.skipped
    record = built.record(tag)
    members = offsets(record, built.unit.types)
    expected = compiled(tmp_path, source, tag, members)
    assert [record.size, record.align] == expected[:2]
    assert [number for pair in members.values() for number in pair] == expected[2:]
    assert members or tag in {"empty", "bits_only"}


def test_unnamed_bit_fields_have_offsets_by_their_record(build: Any) -> None:
    built = build(RECORDS["bits_only"] + "\n")
    record = built.record("bits_only")
    assert [f.offset_bytes for f in record.fields] == [UNKNOWN, 4, 8]
    inner = built.unit.types[record.fields[1].type]
    assert [(f.name, f.bits) for f in inner.fields] == [("b", 3)]
    assert (inner.size, inner.align) == (4, 4)


def test_bit_widths_that_are_expressions(build: Any) -> None:
    built = build(
        "enum { W = 5 }; struct s { int a : W, b : sizeof(int) * 2, : 2, c : 3; };"
        "int f(void) { enum { W = 7 }; static struct { int d : W, e; } x; return x.d; }\n"
    )
    assert [f.bits for f in built.record("s").fields] == [5, 8, 2, 3]
    local = built.unit.types[built.variable("unit.c/f#x").type]
    assert [(f.name, f.bits, f.offset_bytes) for f in local.fields] == [
        ("d", 7, -1),
        ("e", None, 4),
    ]


def test_array_lengths(build: Any) -> None:
    built = build(
        "#define N (2 + 1)\nstruct s { int n; };\n"
        "int a[N][4], b[] = { 1, 2 }; struct s c[sizeof(struct s)][0x10][07];"
        " extern char d[]; char *e[N]; struct s f[0]; char d[N * N];\n",
        "-w",
    )

    def lengths(name: str) -> list[int | None]:
        node = built.unit.types[built.variable(name).type]
        found = []
        while isinstance(node, Array):
            found.append(node.length)
            node = built.unit.types[node.of]
        return found

    assert [lengths(name) for name in "abcdef"] == [[3, 4], [2], [4, 16, 7], [9], [3], [0]]


def test_enumerators(build: Any) -> None:
    built = build(
        "#define BASE 3\n"
        "enum e { A, B = BASE * 2, C, D = -1, E = 'x', F = sizeof(long), G = B };\n"
        "enum { H = 0x80000000u, I = 1 } v; typedef enum __attribute__((packed)) { J } small;\n"
        "enum big { K = 1ull << 40, L = -1 };\n",
        "-w",
    )
    e = built.enum("e")
    assert e.enumerators == (
        ("A", 0), ("B", 6), ("C", 7), ("D", -1), ("E", 120), ("F", 8), ("G", 6),
    )  # fmt: skip
    assert (e.size, e.align, e.signed) == (4, 4, True)
    anonymous = built.resolve(built.variable("v").type)
    assert isinstance(anonymous, Enum)
    assert (anonymous.enumerators, anonymous.signed) == ((("H", 1 << 31), ("I", 1)), False)
    assert built.enum("small").size == 1
    big = built.enum("big")
    assert (big.enumerators, big.size, big.signed) == ((("K", 1 << 40), ("L", -1)), 8, True)


def test_scalars_have_one_name(build: Any) -> None:
    built = build(
        "long unsigned int a; unsigned long b; int long unsigned c; short d; signed short int e;"
        " char f; signed char g; long long int h; unsigned i; _Bool j; int const unsigned k = 0;\n"
    )
    names = [built.unit.types[built.variable(v).type].name for v in "abcdefghijk"]
    assert names == [
        "unsigned long", "unsigned long", "unsigned long", "short", "short", "char", "signed char",
        "long long", "unsigned int", "_Bool", "unsigned int",
    ]  # fmt: skip
    sizes = [built.unit.types[built.variable(v).type].size for v in "adfhj"]
    assert sizes == [8, 2, 1, 8, 1]


def test_types_of_blocks(build: Any) -> None:
    built = build(
        "struct s { int file; };\n"
        "int f(void) { struct s { char first; long l; }; static struct s a; { struct s { short t; };"
        " static struct s b; b.t++; } static struct { struct s *p; union { int u; char v; }; } c;"
        " return a.first + c.u; }\n"
    )
    records = [t for t in built.unit.types if isinstance(t, Record)]
    named = {(t.tag, t.scope): t for t in records if t.tag}
    assert set(named) == {("s", ""), ("s", "f"), ("s", "f#2")}
    assert named["s", "f"].size == 16
    assert named["s", "f#2"].size == 2
    c = built.unit.types[built.variable("unit.c/f#c").type]
    assert (c.size, c.fields[1].offset_bytes) == (16, 8)
    pointer = built.unit.types[c.fields[0].type]
    assert isinstance(pointer, Pointer)
    assert built.unit.types[pointer.to] is named["s", "f"]


def test_functions_of_every_shape(build: Any) -> None:
    built = build(
        "typedef int fn(int a, char b[], int c(void), ...); fn *p; int (*q)(); int (*r)(void);\n"
    )
    fn = built.resolve(built.unit.types[built.variable("p").type].to)
    kinds = [type(built.unit.types[p.type]).__name__ for p in fn.parameters]
    assert ([p.name for p in fn.parameters], kinds, fn.variadic) == (
        ["a", "b", "c"], ["Scalar", "Pointer", "Pointer"], True,
    )  # fmt: skip
    q = built.unit.types[built.unit.types[built.variable("q").type].to]
    r = built.unit.types[built.unit.types[built.variable("r").type].to]
    assert (q.prototype, q.parameters, r.prototype, r.parameters) == (False, (), True, ())


def test_only_what_is_reached_from_headers(build: Any) -> None:
    built = build("#include <stdlib.h>\n#include <time.h>\nsize_t n; struct tm *t;\n")
    typedefs = {t.name for t in built.unit.types if isinstance(t, Typedef)}
    records = {t.tag for t in built.unit.types if isinstance(t, Record)}
    assert (typedefs, records) == ({"size_t"}, {"tm"})
    assert built.record("tm").system
    assert built.record("tm").size == 56


def test_what_is_not_understood_costs_only_itself(build: Any) -> None:
    built = build(
        "int a; __auto_type b = 3L; int (*c)(void); __typeof__(1 ? 1.5 : 2) d; int e;\n", "-w"
    )
    sizes = {v.name: v.size_bytes for v in built.unit.variables}
    assert sizes == {"a": 4, "b": 8, "c": 8, "d": 8, "e": 4}
    unknown = built.unit.types[built.variable("b").type]
    assert isinstance(unknown, Scalar)
    assert (unknown.kind, unknown.size) == ("other", 8)


def test_locations_are_the_users(build: Any, tmp_path: Path) -> None:
    (tmp_path / "part.h").write_text("\n\nstruct s {\n    int a;\n    char b;\n};\n")
    built = build(
        '#include "part.h"\n\n  int x;\nint f(void)\n{\n    static int y;\n    return y;\n}\n'
    )
    record = built.record("s")
    assert str(record.at) == "part.h:3:8"
    assert [str(f.at) for f in record.fields] == ["part.h:4:9", "part.h:5:10"]
    assert str(built.variable("x").at) == "unit.c:3:7"
    assert str(built.variable("unit.c/f#y").at) == "unit.c:6:16"


def test_types_defined_among_parameters(build: Any) -> None:
    """They cannot be named at the unit's end; constants of the file can."""
    built = build(
        "enum { SIZE = 1 + 2 };\n"
        "static int f(enum { INNER } a) { return a; }\n"
        "static int g(struct z { int a; } *z) { return z->a; }\n"
        "int (*p)() = f, (*q)() = g, (*r)(enum { LAST } a);\n",
        "-w",
    )
    enums = [node for node in built.unit.types if isinstance(node, Enum)]
    assert (("SIZE", 3),) in [node.enumerators for node in enums if not node.scope]
    assert {node.scope.partition("#")[0] for node in enums} == {"", "parameters"}
