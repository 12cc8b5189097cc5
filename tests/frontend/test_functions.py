"""Functions whose address is taken are registered, and no others."""

# ruff: noqa: E501 - the samples of C are easier to read in one piece

from __future__ import annotations

from typing import Any

import pytest

REGISTERED = {
    "int f(int a) { return a; } int (*p)(int) = f;": {"f"},
    "int f(int a) { return a; } int (*p)(int) = &f;": {"f"},
    "int f(int a) { return a; } int g(void) { return f(1); }": set(),
    "static int f(int a) { return a; } int g(void) { return (f)(1); }": {"unit.c/f"},
    "static int f(int a) { return a; } int g(int (*h)(int)) { h = f; return h(f (2)); }": {
        "unit.c/f"
    },
    "int ext(int); int (*p)(int) = ext; int ext(int a) { return a; }": {"ext"},
    "static int f(void); struct o { int (*x)(void); } o[] = { { .x = f } };"
    " static int f(void) { return 1; }": {"unit.c/f"},
    "int f(void) { return 1; } int g(void) { static int (*p)(void) = f; return p(); }": {"f"},
    "int f(void) { return 1; } struct s { int f; }; int g(struct s *s) { return s->f + (*s).f; }": set(),
    "int f(void) { return 1; } int g(int f) { return f; }": set(),
    "int f(void) { return 1; } int g(void) { int f = 3, *q = &f; return f + *q; }": set(),
    "int f(void) { return 1; } int g(void) { goto f; f: return f(); }": set(),
    "int f(void) { return 1; } struct f { int f; } v = { .f = 3 };": set(),
    "static int f(void) { return 1; } static inline int g(void) { int (*p)(void) = f; return p(); }"
    " int h(void) { return f(); }": set(),
    "static int f(void) { return 1; } static inline int g(void) { int (*p)(void) = f; return p(); }"
    " int h(void) { return g(); }": {"unit.c/f"},
    "#include <stdlib.h>\nint cmp(const void *a, const void *b) { return a < b; }\n"
    "void s(int *a) { qsort(a, 1, 4, cmp); atexit((void (*)(void))abort); }": {"cmp"},
    "int f(a) int a; { return a; } int g(void) { int (*p)() = f; return p(1); }": {"f"},
    "extern int never_linked(int); int g(int never_linked) { return never_linked; }": set(),
    "inline int f(void) { return 1; } extern int f(void); int (*p)(void) = f;": {"f"},
    "int f(void) { return 1; } __typeof__(f) *p = f;": {"f"},
    "int f(void) { return 1; } int g(int i) { return (i ? f : 0)(); }": {"f"},
    "static int k(void) { return 1; } int h(int (*a)(void)) { return a(); }"
    " __attribute__((constructor)) static void c(void) { h(k); }": {"unit.c/k"},
}


@pytest.mark.parametrize("source", REGISTERED)
def test_registered_functions(build: Any, source: str) -> None:
    built = build(source + "\n", "-w")
    found = {key for key, [entry] in built.entries().items() if entry.flags == 2}
    assert found == REGISTERED[source]
    assert {f.key for f in built.unit.functions if f.registered} == REGISTERED[source]
    names = built.addresses()
    for key, [entry] in built.entries().items():
        if entry.flags == 2:
            assert [entry.address] == names[key.removeprefix("unit.c/")]


def test_declared_elsewhere_and_never_linked(build: Any) -> None:
    """A header's dead inline function must not make the program need what it mentions."""
    built = build(
        "extern int missing(int);\n"
        "static inline int dead(void) { int (*p)(int) = missing; return p(1); }\n"
        "extern int present(int); int (*p)(int) = present; int present(int a) { return a; }\n"
    )
    assert set(built.entries()) == {"present", "p"}


def test_weak_reference_when_the_code_is_elsewhere(build: Any) -> None:
    built = build(
        "extern int there(int);\nint use(int i) { return i ? (int)(long)there : 0; }\n", "-w"
    )
    [symbol] = [f for f in built.unit.functions if f.name == "there"]
    assert (symbol.defined, symbol.registered, symbol.key) == (False, True, "there")


def test_all_functions_of_the_unit_are_known(build: Any) -> None:
    built = build(
        "#include <stdlib.h>\nint a(void) { return 1; }\nstatic int b(void) { return a(); }\n"
        "int (*c(void))(void) { return b() ? 0 : 0; }\nstatic inline int dead(void) { return 1; }\n"
    )
    assert [(f.key, f.defined) for f in built.unit.functions] == [
        ("a", True), ("unit.c/b", True), ("c", True),
    ]  # fmt: skip


def test_update_points(build: Any) -> None:
    built = build(
        "void kitsune_update(const char *);\n"
        'int main(void) { for (;;) { kitsune_update("ma" "in");\n  kitsune_update (__func__); } }\n'
        'void other(const char *n) { kitsune_update(n); kitsune_update("a\\"\\x41"); }\n'
    )
    found = [(p.name, p.function, str(p.at)) for p in built.unit.update_points]
    assert found == [
        ("main", "main", "unit.c:2:29"),
        (None, "main", "unit.c:3:3"),
        (None, "other", "unit.c:4:29"),
        ('a"A', "other", "unit.c:4:48"),
    ]


def test_what_migrate_asks_for(build: Any) -> None:
    """Statics get the unit's own key, whatever `__FILE__` is; dead functions ask for nothing."""
    built = build(
        '#include "kitsune.h"\n'
        "int shared, *from_elsewhere;\n"
        "static int hidden, unused;\n"
        "static int dead(void) { return MIGRATE_STATIC(unused); }\n"
        "int count(void) { static int n; return MIGRATE_LOCAL_STATIC(count, n) + n; }\n"
        '# 1 "/elsewhere/unit.c"\n'
        "int all(void) { return MIGRATE_GLOBAL(shared) + MIGRATE_STATIC(hidden); }\n",
        "-w",
    )
    assert built.unit.requests == ("unit.c/count#n", "shared", "unit.c/hidden")
    computed = "int f(const char *key) { return kitsune__migrate_variable(key, 0); }\n"
    built = build('#include "kitsune.h"\n' + computed, "-w")
    assert built.unit.requests == (None,)
