"""A noted function's parameters and locals: what frames say of them while it runs.

Each sample is linked with a runtime of this test's own that keeps the list of frames. `look()`, which
a sample calls, prints what is alive, the innermost frame first: key and value, an integer of its size.
"""

# ruff: noqa: E501 - the samples of C are easier to read in one piece

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from preprocessed import preprocess

from kitsune_tool.errors import KitsuneErrors
from kitsune_tool.frontend import FrontendConfig, process
from kitsune_tool.switches import Settings, Switches, UnitSettings

RUNTIME = r"""
#include <stdio.h>
#include <string.h>
struct symbol { const char *key; const void *address; unsigned long long size; unsigned flags, rest; };
struct frame {
    struct frame *outer, **head; unsigned long long count;
    struct { const struct symbol *symbol; const void *address; } slots[];
};
static struct frame *frames;
void kitsune__enter(struct frame *frame) __attribute__((visibility("hidden")));
void kitsune__enter(struct frame *frame)
{
    frame->head = &frames;
    frame->outer = frames;
    frames = frame;
}
void look(void)
{
    const char *gap = "";
    for (struct frame *frame = frames; frame; frame = frame->outer)
        for (unsigned long long i = 0; i < frame->count; i++) {
            long long value = 0;
            const struct symbol *symbol = frame->slots[i].symbol;
            if (!symbol)
                continue;
            memcpy(&value, frame->slots[i].address, symbol->size < 8 ? symbol->size : 8);
            printf("%s%s=%lld", gap, symbol->key, value);
            gap = " ";
        }
    printf("%s\n", frames ? "" : "nothing");
}
"""

HEAD = """
#define E_NOTELOCALS __kt__(notelocals, "")
void look(void);
"""

SAMPLES = {
    "parameters": (
        "int f(int a, char b[4], const long *c, int (*d)(void)) E_NOTELOCALS { look(); return a + b[0] + !c + !d; }"
        "int main(void) { f(1, (char[4]){2}, 0, 0); look(); return 0; }",
        ["f#a=1 f#b=* f#c=0 f#d=0", "nothing"],
    ),
    "annotation_in_front": (
        "E_NOTELOCALS static int f(int a) { look(); return a; } int main(void) { return f(0); }",
        ["f#a=0"],
    ),
    "annotation_on_a_prototype": (
        "static int f(int) E_NOTELOCALS; static int f(int b) { look(); return b; } int main(void) { return f(0); }",
        ["f#b=0"],
    ),
    "annotation_inside_the_declarator": (
        "static int E_NOTELOCALS f(int b) { look(); return b; } int main(void) { return f(0); }",
        ["f#b=0"],
    ),
    "declared_later": (
        "int main(void) E_NOTELOCALS { look(); int a = 1, b = a + 1; look(); long c = 3; look(); return a + b - c; }",
        ["", "main#a=1 main#b=2", "main#a=1 main#b=2 main#c=3"],
    ),
    "blocks_and_shadows": (
        "int main(void) E_NOTELOCALS { int a = 1; { int a = 2; look(); { long a = 3; look(); (void)a; } (void)a; } look(); return a - 1; }",
        ["main#a.2=2 main#a=1", "main#a.3=3 main#a.2=2 main#a=1", "main#a=1"],
    ),
    "left_by_every_way": (
        """int g(int n) E_NOTELOCALS { for (;;) { int in = n; look(); if (n == 0) break; if (n == 1) goto out; if (n == 2) return in; if (n++ == 3) continue; return 9; } look(); return 0; out: look(); return 1; }
        int main(void) { for (int i = 0; i < 4; i++) g(i); look(); return 0; }""",
        ["g#in=0 g#n=0", "g#n=0", "g#in=1 g#n=1", "g#n=1", "g#in=2 g#n=2", "g#in=3 g#n=3", "g#in=4 g#n=4", "nothing"],
    ),
    "loops": (
        """int main(void) E_NOTELOCALS {
        for (int i = 0; i < 2; i++) { int j = i * 10; look(); (void)j; }
        for (int k = 5, l = 6; k < 6; k++) if (k) look(); else l++;
        for (int m = 0; m < 1; m++) for (int n = 7; n < 8; n++) look();
        for (int never; 0; ) (void)never;
        return 0; }""",
        ["main#i=0 main#j=0", "main#i=1 main#j=10", "main#k=5 main#l=6", "main#n=7 main#m=0"],
    ),
    "switches": (
        """void f(int n) E_NOTELOCALS { switch (n) { int skipped; case 1: { int in = 4; look(); (void)in; break; } case 2: skipped = 5; look(); (void)skipped; } look(); }
        int main(void) { f(1); f(2); return 0; }""",
        ["f#in=4 f#n=1", "f#n=1", "f#n=2", "f#n=2"],
    ),
    "jumped_into": (
        """void f(int n) E_NOTELOCALS { int here = 1; if (n) goto middle; { int there = 2; (void)there; middle: look(); } look(); (void)here; }
        int main(void) { f(0); f(1); return 0; }""",
        ["f#n=0 f#here=1", "f#n=0 f#here=1", "f#n=1 f#here=1", "f#n=1 f#here=1"],
    ),
    "jumps_within_a_block": (
        """void f(int n) E_NOTELOCALS { { int here = 1; again: if (here++ < 2) goto again; look(); } look(); }
        int main(void) { f(0); return 0; }""",
        ["f#here=3 f#n=0", "f#n=0"],
    ),
    "duffs_device": (
        """void f(int n) E_NOTELOCALS { switch (n % 2) { case 0: do { int t = n; look(); (void)t; case 1: n--; } while (n > 0); } }
        int main(void) { f(2); f(1); look(); return 0; }""",
        ["f#n=2", "f#n=1", "nothing"],
    ),
    "computed_goto": (
        """void f(int n) E_NOTELOCALS { void *to = n ? &&in : &&out; goto *to; { int x = 1; (void)x; in: look(); } out: (void)0; }
        int main(void) { f(1); return 0; }""",
        ["f#n=1 f#to=*"],
    ),
    "local_labels": (
        """void f(int n) E_NOTELOCALS { __label__ done, other; int a = 1; if (n) goto done; goto other; done: look(); other: (void)a; }
        int main(void) { f(1); return 0; }""",
        ["f#n=1 f#a=1"],
    ),
    "recursion": (
        "int f(int n) E_NOTELOCALS { int twice = 2 * n; return n ? f(n - 1) + twice : (look(), 0); } int main(void) { return f(1) - 2; }",
        ["f#n=0 f#twice=0 f#n=1 f#twice=2"],
    ),
    "statement_expressions": (
        "int main(void) E_NOTELOCALS { int a = ({ int b = 4; look(); b; }); look(); return a - 4; }",
        ["main#b=4", "main#a=4"],
    ),
    "no_address": (
        "int f(register int a, int b) E_NOTELOCALS { register int c = a; extern int errno_like(void); int g(int); typedef int t; t d = b; static int s; look(); return c + d + s + (0 ? g(0) : 0); }"
        "int g(int x) { return x; } int main(void) { return f(0, 0); }",
        ["f#b=0 f#d=0"],
    ),
    "variable_length": (
        "int f(int n) E_NOTELOCALS { char text[n + 1], fixed[4] = {5}, open[] = {6, 0}; int (*rows)[n] = 0; text[0] = 1; look(); return text[0] + fixed[0] + open[0] + !rows; } int main(void) { f(3); return 0; }",
        ["f#n=3 f#text=0 f#fixed=5 f#open=6 f#rows=0"],
    ),
    "typedef_or_not": (
        """typedef int T; typedef struct { int x; } S;
        int main(void) E_NOTELOCALS { T a = 1, *p = &a; S s = {2}; { long T = 3, q = 4; look(); T * q; } T:; __extension__ T b = 5; __attribute__((unused)) T c = 6; const T d = 7; look(); return *p - s.x + 1 + a + b - 6; }""",
        ["main#T=3 main#q=4 main#a=1 main#p=* main#s=2", "main#a=1 main#p=* main#s=2 main#b=5 main#c=6 main#d=7"],
    ),
    "types_of_a_block": (
        """int main(void) E_NOTELOCALS { struct s { int a; } x = {1}, *p = &x; enum e { ONE = 1 } e = ONE; { struct s { long a; } y = {2}; look(); (void)y; } return p->a - e; }""",
        ["main#y=2 main#x=1 main#p=* main#e=1"],
    ),
    "macros": (
        """#define DECLARE(type, name, value) type name = value
        #define EACH(i, n) for (int i = 0; i < (n); i++)
        int main(void) E_NOTELOCALS { DECLARE(int, a, 1); DECLARE(long, b, 2); EACH(i, 1) { DECLARE(char, c, 3); look(); (void)c; } return a + b - 3; }""",
        ["main#i=0 main#c=3 main#a=1 main#b=2"],
    ),
}  # fmt: skip

OLD_STYLE = {
    "int f(a, b) int a; char b; E_NOTELOCALS { look(); return a - b; } int main() { return f(1, 1); }": "f#a=1 f#b=1",
    "int f(a, b) E_NOTELOCALS char a, b; { look(); return a - b; } int main() { return f(1, 1); }": "f#a=1 f#b=1",
    "struct s { int x; }; E_NOTELOCALS int f(p, n) register int n; struct s *p; { look(); return p->x * n; } int main() { struct s s; s.x = 0; return f(&s, 1); }": "f#p=*",
}


def run_noted(text: str, directory: Path, compiler: str, *flags: str, **said: Any) -> list[str]:
    """Take a sample through the front-end, link it with the runtime, run it; return its lines."""
    source = directory / "unit.c"
    source.write_text(HEAD + text)
    standard = [flag for flag in flags if flag.startswith("-std")]
    config = FrontendConfig(str(directory), directory=str(directory), **said)
    made = process(preprocess(source, *standard), "unit.c", config)
    assert not made.skipped
    (directory / "unit.i").write_text(made.text, encoding="latin-1")
    (directory / "runtime.c").write_text(RUNTIME)
    strict = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-value", "-Wno-unused-label", *flags]
    subprocess.run([compiler, *strict, "-c", "unit.i"], cwd=directory, check=True, timeout=60)
    command = [compiler, "-w", "unit.o", "runtime.c", "-o", "program"]
    subprocess.run(command, cwd=directory, check=True, timeout=60)
    done = subprocess.run(
        [directory / "program"], check=True, capture_output=True, text=True, timeout=10
    )
    return done.stdout.splitlines()


def check(lines: list[str], expected: list[str]) -> None:
    assert len(lines) == len(expected), lines
    for line, wanted in zip(lines, expected, strict=True):
        found, words = line.split(), wanted.split()
        assert len(found) == len(words), (lines, expected)
        for one, other in zip(found, words, strict=True):
            assert one == other or (other.endswith("*") and one.startswith(other[:-1])), (
                line,
                wanted,
            )


@pytest.mark.parametrize("flags", [("-O0", "-std=gnu11"), ("-O2", "-std=gnu17")], ids="_".join)
@pytest.mark.parametrize("name", SAMPLES)
def test_frames(name: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    text, expected = SAMPLES[name]
    check(run_noted(text, tmp_path, "gcc", *flags), expected)


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_frames_by_clang(tmp_path: Path) -> None:
    # One program of all samples that clang takes as they are.
    for name in ("blocks_and_shadows", "left_by_every_way", "loops", "switches"):
        text, expected = SAMPLES[name]
        check(run_noted(text, tmp_path, "clang", "-O2", "-Wno-attributes"), expected)


@pytest.mark.parametrize("text", OLD_STYLE)
def test_old_style_definitions(text: str, tmp_path: Path) -> None:
    lines = run_noted(text, tmp_path, "gcc", "-O2", "-std=gnu89", "-Wno-old-style-declaration")
    check(lines, [OLD_STYLE[text]])


def test_the_rest_of_the_unit_compiles_to_the_same_code(tmp_path: Path) -> None:
    other = "int other(int n) { int local = n; for (int i = 0; i < n; i++) local += i * i; return local; }"
    noted = "int f(int a) { look(); return a; }"
    made = {}
    for name, mark in (("plain", ""), ("noted", "E_NOTELOCALS ")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "unit.c").write_text(f"{HEAD}{mark}{noted}\n{other}\n")
        config = FrontendConfig(str(folder), directory=str(folder))
        text = process(preprocess(folder / "unit.c"), "unit.c", config).text
        command = ["gcc", "-O2", "-x", "cpp-output", "-S", "-", "-o", "-"]
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True, timeout=60
        )
        body = done.stdout.partition("\nother:")[2].partition("\t.size\tother")[0]
        made[name] = re.sub(r"\.L[A-Z]*\d+", ".L", body)
    assert made["plain"] == made["noted"]
    assert made["plain"]


def test_noted_from_outside(tmp_path: Path) -> None:
    text = "static int f(int a) { look(); return a; } int g(int b) { look(); return f(b); } int main(void) { return g(0); }"
    all_noted = (("note_locals", True),)
    for said, expected in (
        ({"notelocals": ("g",)}, ["g#b=0", "g#b=0"]),
        ({"notelocals": ("unit.c/f",)}, ["nothing", "f#a=0"]),
        ({"switches": Switches(Settings(note_locals=True))}, ["g#b=0", "f#a=0 g#b=0"]),
        (
            {"switches": Switches(units=(UnitSettings("u*.c", all_noted),))},
            ["g#b=0", "f#a=0 g#b=0"],
        ),
        ({"switches": Switches(units=(UnitSettings("v*.c", all_noted),))}, ["nothing", "nothing"]),
    ):
        check(run_noted(text, tmp_path, "gcc", "-O2", **said), expected)


def test_places_in_messages_stay_the_user_s(build: Callable[..., Any]) -> None:
    text = f"""{HEAD}
int g(int);
static int E_NOTELOCALS f(int a)
{{
    int unused_result;
    return g(a);
}}
int h(void) {{ int really_unused; return f(1); }}
"""
    warnings = build(text).warnings
    assert "unit.c:11:19: warning: unused variable" in warnings


BY_HAND = """
int kitsune__migrate_local(const char *, const char *, void *);
void stackvars_note_local(const char *, void *, unsigned long);
#define MIGRATE_LOCAL(v) kitsune__migrate_local(__func__, #v, (void *)&(v))
#define NOTE_LOCAL(v) stackvars_note_local(#v, (void *)&(v), sizeof(v))
"""


def test_a_migration_by_hand_notes_the_function_and_names_the_variable_in_scope(
    build: Callable[..., Any],
) -> None:
    unit = build(
        BY_HAND
        + "int f(int x) { int y = 0; if (MIGRATE_LOCAL(x)) { long x; y = MIGRATE_LOCAL(x) + x; } return y; }"
    ).unit
    assert [v.key for v in unit.variables] == ["f#x", "f#y", "f#x.2"]
    assert [v.storage for v in unit.variables] == ["parameter", "local", "local"]
    assert unit.requests == ("f#x", "f#x.2")


def test_noting_by_hand_notes_the_function(build: Callable[..., Any]) -> None:
    unit = build(
        BY_HAND + 'const char KT_NAMESPACE[] = "ns"; void f(void) { int y = 1; NOTE_LOCAL(y); }'
    ).unit
    assert "ns@f#y" in [v.key for v in unit.variables]
    assert unit.requests == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("register int x = 0; return MIGRATE_LOCAL(y) + x;", "'y' .* none of that name"),
        ("static int x; return MIGRATE_LOCAL(x);", "'x' .* it is of static storage"),
        (
            "switch (1) { int x; case 1: return MIGRATE_LOCAL(x); } return 0;",
            "'x' .* entered by a jump",
        ),
    ],
)
def test_a_variable_that_cannot_be_noted(body: str, reason: str, tmp_path: Path) -> None:
    source = tmp_path / "unit.c"
    source.write_text(f"{BY_HAND}\nint f(void) {{ {body} }}\n")
    with pytest.raises(KitsuneErrors, match=f"K055.*{reason}") as caught:
        process(
            preprocess(source), "unit.c", FrontendConfig(str(tmp_path), directory=str(tmp_path))
        )
    assert [error.at.line for error in caught.value.errors if error.at] == [7]


BY_PARTS = """
typedef int (*xform_fn_t)(void *);
int kitsune_migrate_var(const char *, const char *, const char *, const char *, void *, unsigned long, xform_fn_t);
#define NULL ((void *)0)
"""


@pytest.mark.parametrize(
    ("parts", "requests"),
    [
        ('"g", 0, NULL, 0', ("g",)),
        ('"g", 0, 0, "ns"', ("ns@g",)),
        ('"s", NULL, "unit.c", 0', ("unit.c/s",)),
        ('"t", "f", "unit.c", 0', ("unit.c/f#t",)),
        ('"a", __func__, 0, 0', ("f#a",)),
        ('"a", "f", NULL, NULL', ("f#a",)),
        ("name, 0, 0, 0", (None,)),
    ],
)
def test_migration_by_the_parts_of_a_key(
    parts: str, requests: tuple[str | None, ...], build: Callable[..., Any]
) -> None:
    text = f"int g; int f(int a, const char *name) {{ return kitsune_migrate_var({parts}, &a, sizeof a, 0) + !name; }}"
    unit = build(BY_PARTS + text).unit
    assert unit.requests == requests
    noted = [v.key for v in unit.variables if v.is_local]
    assert noted == (["f#a", "f#name"] if requests == ("f#a",) else [])
