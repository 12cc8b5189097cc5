"""Every object of static storage is registered under its key, at its address, with its size."""

# ruff: noqa: E501 - the samples of C are easier to read in one piece

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

VARIABLE, FUNCTION, CONST, THREAD_LOCAL = 1, 2, 4, 8

FILE_SCOPE = {
    "int x;": {"x": 4},
    "int x = 1;": {"x": 4},
    "extern int x = 1;": {"x": 4},
    "extern int x; int x = 3;": {"x": 4},
    "int x; extern int x;": {"x": 4},
    "extern int elsewhere;": {},
    "static int x; static int x = 4;": {"unit.c/x": 4},
    "static const volatile int x = 4;": {"unit.c/x": 4},
    "const char *const x = 0;": {"x": 8},
    "int a, *b = &a, c[2] = { 1, 2 }, d(int), (*e)(int);": {"a": 4, "b": 8, "c": 8, "e": 8},
    'char s[] = "hello"; const char *t[] = { "a", [5] = "b" };': {"s": 6, "t": 48},
    "int x[];": {"x": 4},
    "int x[]; int x[7];": {"x": 28},
    "extern int x[]; int x[] = { 1, 2, 3 };": {"x": 12},
    "#define N 3\nint x[N][sizeof(long) * 2];": {"x": 192},
    "struct s { int n; char data[]; }; static struct s x = { 2, { 1, 2 } };": {"unit.c/x": 4},
    "struct { int a; } x, *y, z[3];": {"x": 4, "y": 8, "z": 12},
    "typedef int fn_t(int); fn_t no_object, *x;": {"x": 8},
    "typedef int fn_t(int); static fn_t f; fn_t *x = f; static int f(int a) { return a; }": {"x": 8},
    "int (*(*x)(int, char (*)[3]))(void); void (*(*y[4])(void *))(int (*)(int), ...);": {
        "x": 8,
        "y": 32,
    },
    "int x __asm__(\"another_name\") = 3;": {"x": 4},
    "register long x __asm__(\"r12\"); int y;": {"y": 4},
    "__attribute__((aligned(64))) static int x; int y __attribute__((section(\".odd\"))) = 1;": {
        "unit.c/x": 4,
        "y": 4,
    },
    "static __attribute__((aligned(16))) unsigned x, *y;": {"unit.c/x": 4, "unit.c/y": 8},
    "static x; y = 3;": {"unit.c/x": 4, "y": 4},
    "__int128 a; unsigned __int128 b; _Float128 c; long double d; double _Complex e;": {
        "a": 16, "b": 16, "c": 16, "d": 16, "e": 16,
    },
    "_Complex _Float32 a; _Float128 _Complex b; long double _Complex c;": {"a": 8, "b": 32, "c": 32},
    "_Atomic int a; _Atomic(long) b; _Atomic(int *) c; int *_Atomic d;": {
        "a": 4, "b": 8, "c": 8, "d": 8,
    },
    "typedef float v4 __attribute__((vector_size(16))); v4 a; int b __attribute__((vector_size(32)));": {
        "a": 16, "b": 32,
    },
    "typedef unsigned u8 __attribute__((__mode__(__QI__))); u8 a; int b __attribute__((mode(DI)));": {
        "a": 1, "b": 8,
    },
    "int a; __typeof__(a) b; __typeof__(int *) c; __typeof__(1 + 1UL) d; typeof(&a) e;": {
        "a": 4, "b": 4, "c": 8, "d": 8, "e": 8,
    },
    "int x = 1 ? 2 : 3, y = (int){ 4 };": {"x": 4, "y": 4},
    "#include <stdarg.h>\n#include <stdbool.h>\nva_list a; bool b;": {"a": 24, "b": 1},
    "#include <stdio.h>\nFILE *f; fpos_t p; static const void *n = NULL;": {
        "f": 8, "p": 16, "unit.c/n": 8,
    },
    "struct p { int a; }; struct p *x = &(struct p){ 3 }; int *y = (int[]){ 1, 2 };": {
        "x": 8, "y": 8,
    },
    "enum { A = 3 } x; enum e { B } y[A]; enum __attribute__((packed)) { C } z;": {
        "x": 4, "y": 12, "z": 1,
    },
    "__extension__ static int x; __extension__ typedef long L; L y;": {"unit.c/x": 4, "y": 8},
    "__thread int a; static _Thread_local struct { int q; } b = { 1 };": {"a": 4, "unit.c/b": 4},
    "int f(a, b) int a; char *b; { return a + *b; } int x;": {"x": 4},
    "_Static_assert(sizeof(int) == 4, \"{\"); int x; _Alignas(32) char y;": {"x": 4, "y": 1},
}  # fmt: skip

LOCALS = {
    "int f(void) { static int x; return x++; }": {"f#x": 4},
    "int f(void) { static int x; { static char x; { static long x; x++; } x++; } return x++; }": {
        "f#x": 4, "f#x.2": 1, "f#x.3": 8,
    },
    "int f(void) { static int a, *b, c[2] = { 1 }; return a + *b + c[0]; }": {
        "f#a": 4, "f#b": 8, "f#c": 8,
    },
    "int f(a) int a; { static int x; return x += a; }": {"f#x": 4},
    "int f(void) { return ({ static int x; x++; }); }": {"f#x": 4},
    "int f(void) { int g(int a) { static int x; return x += a; } return g(1); }": {"f#x": 4},
    "int f(void) { static struct { int a; char b; } x; return x.a; }": {"f#x": 8},
    "int f(void) { struct s { int a; char b; }; static struct s x; typedef struct s t;"
    " static t y[2]; return x.a + y[0].a; }": {"f#x": 8, "f#y": 16},
    "int f(void) { enum e { A, B }; static enum e x; return x; }": {"f#x": 4},
    "int f(int i) { switch (i) { static int u; case 1 ... 5: { static int x; return x++; }"
    " default:; static int y; return y++ + u; } }": {"f#u": 4, "f#x": 4, "f#y": 4},
    "int f(int i) { if (i) { static int x; return x++; } else { static int x; return x--; } }": {
        "f#x": 4, "f#x.2": 4,
    },
    "int f(void) { __attribute__((unused)) static int a; static __attribute__((aligned(64))) int b;"
    " const static int c = 3; int static d; __extension__ static int e; return a + b + c + d + e; }": {
        "f#a": 4, "f#b": 4, "f#c": 4, "f#d": 4, "f#e": 4,
    },
    "int f(int a[static 3]) { extern int other(int [static 2]); return other(a); }": {},
    "int f(int i) { void *l = &&end; if (i) goto *l; static int x; x++; end: return x; }": {"f#x": 4},
    'int f(void) { static const char *const n[] = { "static int q;", "}" }; return *n[0]; }': {
        "f#n": 16,
    },
    "void (*f(int a, void (*b)(int)))(int) { static int x; x += a; return b; }": {"f#x": 4},
    "int (*f(void))[3] { static int x[3]; return &x; }": {"f#x": 12},
    "static inline int f(void) { static int x; return x++; } int g(void) { return f(); }": {"f#x": 4},
    "int f(void) { static int x = sizeof(struct { int z; }); return x; }": {"f#x": 4},
    "int f(void) { static int (*x)(void) = f, (*y[2])(int); return x == f && y[0]; }": {
        "f#x": 8, "f#y": 16,
    },
    "int f(int i) { for (int j = 0; j < i; j++) { static int x; x += j; } do { static int x; x++; }"
    " while (i-- > 0); return i; }": {"f#x": 4, "f#x.2": 4},
    "typedef int T; int f(void) { static T x; { typedef char T; static T y; y++; } return x; }": {
        "f#x": 4, "f#y": 1,
    },
    "int f(void) { struct s { char c; } l = { 1 }; { struct s { long q; }; static struct s x;"
    " x.q++; } return l.c; }": {"f#x": 8},
}  # fmt: skip


@pytest.mark.parametrize("source", FILE_SCOPE)
def test_variables_of_the_file(build: Any, source: str) -> None:
    built = build(source + "\n", "-w")
    entries = built.entries()
    found = {key: e.size for key, [e] in entries.items() if e.flags & VARIABLE}
    assert found == FILE_SCOPE[source]
    assert {v.key: v.size_bytes for v in built.unit.variables} == FILE_SCOPE[source]
    assert not built.made.skipped


@pytest.mark.parametrize("source", LOCALS)
def test_variables_of_functions(build: Any, source: str) -> None:
    built = build(source + "\nint other(int a[static 2]) { return *a; }\n", "-w")
    entries = built.entries()
    found = {key: e.size for key, [e] in entries.items() if e.flags & VARIABLE}
    expected = {f"unit.c/{key}": size for key, size in LOCALS[source].items()}
    assert found == expected
    assert {v.key: v.size_bytes for v in built.unit.variables} == expected
    names = built.addresses()
    for key, [entry] in entries.items():
        if entry.flags & VARIABLE:
            assert entry.address in names[key.partition("#")[2].partition(".")[0]]
    assert not built.made.skipped


def test_entries_have_the_variables_addresses(build: Any) -> None:
    built = build('int a; static long b = 3; const char c[3] = { 1 }; int d __asm__("e");\n')
    entries = built.entries()
    names = built.addresses()
    expected = {"a": "a", "unit.c/b": "b", "c": "c", "d": "e"}
    for key, name in expected.items():
        assert [entries[key][0].address] == names[name]


def test_flags_tell_const_and_thread_local(build: Any) -> None:
    built = build(
        "typedef const int ci; ci a = 1; const int *b; int *const c = 0; __thread int d;"
        " const char *const e[2] = { 0 }; struct { const int x; } f;\n"
    )
    flags = {key: entry.flags for key, [entry] in built.entries().items()}
    assert flags == {
        "a": VARIABLE | CONST,
        "b": VARIABLE,
        "c": VARIABLE | CONST,
        "d": VARIABLE | THREAD_LOCAL,
        "e": VARIABLE | CONST,
        "f": VARIABLE,
    }


def test_inline_functions_of_headers_give_nothing_unless_called(build: Any) -> None:
    built = build(
        "static inline int unused(void) { static int x; return x++; }\n"
        "extern inline __attribute__((gnu_inline)) int elsewhere(void) { return 1; }\n"
        "static inline int deep(void) { static int x; return x++; }\n"
        "static inline int used(void) { return deep(); }\n"
        "int main_(void) { return used() + elsewhere(); }\n"
        "int elsewhere(void) { return 2; }\n",
        "-w",
        "-O2",
    )
    assert list(built.entries()) == ["unit.c/deep#x"]
    assert [v.key for v in built.unit.variables] == ["unit.c/deep#x"]


def test_statics_in_code_that_the_optimiser_drops_do_no_harm(build: Any) -> None:
    built = build(
        "static int never(void) { static int x; static struct { int q; } y; return x++ + y.q; }\n"
        "int f(void) { if (0) { static int z; z++; } return 1; static struct { char c; } w; w.c++; }\n"
        "int g(void) { return 0 ? never() : 1; }\n",
        "-w",
        "-O2",
    )
    entries = built.entries()
    assert set(entries) == {"unit.c/f#z", "unit.c/f#w"}
    assert {v.key: v.size_bytes for v in built.unit.variables} == {
        key: entry.size for key, [entry] in entries.items()
    }


def test_namespace_goes_in_front_of_every_key(build: Any) -> None:
    built = build(
        'static const char *KT_NAMESPACE = "mod" "1";\nint a; static int b;\n'
        "static int f(void) { static int c; return c++; }\nint (*p)(void) = f;\n"
    )
    assert built.unit.namespace == "mod1"
    assert set(built.entries()) == {
        "mod1@unit.c/KT_NAMESPACE", "mod1@a", "mod1@unit.c/b", "mod1@unit.c/f#c", "mod1@unit.c/f",
        "mod1@p",
    }  # fmt: skip


def test_pack_pragma_left_open_changes_no_table(build: Any) -> None:
    built = build("#pragma pack(1)\nstruct s { char c; int i; } a; int f(void)"
                  " { static struct s b; return b.i; }\n")  # fmt: skip
    found = {key: entry.size for key, [entry] in built.entries().items()}
    assert found == {"a": 5, "unit.c/f#b": 5}


def test_old_dialects_and_warnings(build: Any) -> None:
    """`build` compares the warnings with those of the text compiled as it is."""
    source = (
        "static int used;\nint f(int);\nint f(int a) { static int x; return used += a + x++; }\n"
    )
    for flags in (["-std=c90"], ["-std=c99", "-O2"], ["-std=gnu11", "-Wshadow"],
                  ["-std=c11", "-Wcast-qual", "-Wmissing-prototypes", "-Wredundant-decls"],
                  ["-Wnested-externs", "-Wdeclaration-after-statement", "-Wwrite-strings"]):  # fmt: skip
        assert build(source, "-Werror", *flags).warnings == ""


def test_position_independent_code_and_link_time_sections(build: Any) -> None:
    source = "int a; const int b = 1; static int f(void) { static int c; return c++; }\n"
    source += "int (*const p)(void) = f; int (*q)(void) = f;\n"
    for flags in (["-fPIC"], ["-fno-pic"], ["-fdata-sections", "-ffunction-sections"], ["-O3"]):
        assert len(build(source, "-Werror", *flags).entries()) == 6


def test_code_is_the_same_where_the_statics_are_kept_anyway(build: Any) -> None:
    """Beside the tables nothing is inserted: the same instructions."""
    built = build(
        "static __attribute__((used)) int a; int b[4] = { 1 }; __attribute__((used)) static int f("
        "int i)\n{\n    static __attribute__((used)) int calls;\n    return calls += b[i & 3] + a;\n}\n"
        "int (*p)(int) = f;\nint g(int n)\n{\n    int s = 0;\n    while (n--)\n        s += p(n);\n"
        "    return s;\n}\n",
        "-O2",
        "-g",
    )

    def shown(path: Path, *command: str) -> list[str]:
        done = subprocess.run([*command, path], capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if path.name not in line]

    disassembly = ("objdump", "-dr", "--no-show-raw-insn")
    assert shown(built.object, *disassembly) == shown(built.plain, *disassembly)
    # The compiler notes a statement at each further declaration; no line of the user's is lost.
    lines = ("objdump", "--dwarf=decodedline")
    after, before = (
        {tuple(row.split()[1:3]) for row in shown(path, *lines) if row.startswith("unit.c ")}
        for path in (built.object, built.plain)
    )
    assert before <= after
    assert {line for line, _ in after - before} <= {"3", "4"}


def test_result_depends_on_nothing_but_the_arguments(tmp_path: Path) -> None:
    """Two roots and two hash seeds give the same bytes."""
    source = (
        "struct s { int a; struct { int b; }; }; static struct s x; enum e { A } y;"
        " int f(int i) { static struct { int q; } z; return z.q + i; } int (*p)(int) = f;\n"
    )
    script = (
        "import sys; from kitsune_tool.frontend import *; root = sys.argv[1];"
        " text = open(root + '/d/u.c').read();"
        " text = f'# 1 \"{root}/d/u.c\"\\n' + text;"
        " made = process(text, root + '/d/u.c', FrontendConfig(root));"
        " print(made.text.replace(root, 'ROOT')); print(made.unit.digest)"
    )
    texts = set()
    for number, name in enumerate(("one", "another")):
        folder = tmp_path / name / "d"
        folder.mkdir(parents=True)
        (folder / "u.c").write_text(source)
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": str(number), "PATH": "/usr/bin:/bin"},
        )
        assert "ROOT" in done.stdout
        assert str(tmp_path) not in done.stdout
        texts.add(done.stdout)
    assert len(texts) == 1
