"""A function's thread-local statics are found from outside of it, whether it ever ran or not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from preprocessed import preprocess

from kitsune_tool.frontend import FrontendConfig, process

SAMPLES = {
    "int f(void) { static _Thread_local int x = 5; return x++; }": {"unit.c/f#x": 4},
    "int f(void) { static __thread long x, y[3] = {1}; return (int)(x++ + y[0]); }": {
        "unit.c/f#x": 8,
        "unit.c/f#y": 24,
    },
    "int f(void) { _Thread_local static struct { char a; int b; } s[2]; return s[0].b++; }": {
        "unit.c/f#s": 16
    },
    "int f(void) { static _Thread_local int (*x)(void) = f; return x != 0; }": {"unit.c/f#x": 8},
    "static int f(void) { static __thread int x; return x++; } int g(void) { return f(); }": {
        "unit.c/f#x": 4
    },
    "static inline int f(void) { static __thread int x; return x++; } int g(void) { return 0; }": (
        {}
    ),
    "int f(int a) { { static __thread int x; x += a; } { static __thread char x; return x++; } }": {
        "unit.c/f#x": 4,
        "unit.c/f#x.2": 1,
    },
    'int f(void) { static __thread int x __asm__("own"); return x++; }': {},
    "#define LOCAL(type, name) static __thread type name\n"
    "int f(void) { LOCAL(short, x); return x++; }": {"unit.c/f#x": 2},
}


@pytest.mark.parametrize("flags", [("-O0",), ("-O2",), ("-O2", "-fPIC")], ids="_".join)
@pytest.mark.parametrize("source", SAMPLES)
def test_registered(source: str, flags: tuple[str, ...], build: Callable[..., Any]) -> None:
    built = build(source, *flags, "-Wno-pedantic")
    found = {key: entry.size for key, (entry,) in built.entries().items() if entry.flags & 8 == 8}
    assert found == SAMPLES[source]
    sizes = {v.key: v.size_bytes for v in built.unit.variables if v.size_bytes > 0}
    assert sizes == SAMPLES[source]


PROGRAM = """
#include <stdio.h>
int f(void);
struct entry { const char *key; void *(*address)(void); unsigned long long size, flags; };
extern const struct entry __start_kitsune_symbols[], __stop_kitsune_symbols[];
int main(void)
{
    f();
    for (const struct entry *e = __start_kitsune_symbols; e < __stop_kitsune_symbols; e++)
        if (e->key && (e->flags & 8))
            *(int *)e->address() = 100;
    printf("%d\\n", f());
    return 0;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_what_is_written_from_outside_is_what_the_function_reads(
    compiler: str, level: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    source = tmp_path / "unit.c"
    source.write_text("int f(void) { static _Thread_local int x = 5; return x; }\n")
    config = FrontendConfig(str(tmp_path), directory=str(tmp_path))
    (tmp_path / "unit.i").write_text(process(preprocess(source), "unit.c", config).text)
    (tmp_path / "main.c").write_text(PROGRAM)
    command = [compiler, "-Wall", "-Wextra", "-Werror", level, "unit.i", "main.c", "-o", "program"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    done = subprocess.run([tmp_path / "program"], capture_output=True, check=True, timeout=10)
    assert done.stdout == b"100\n"


def test_lto_leaves_them_alone(tmp_path: Path) -> None:
    source = tmp_path / "unit.c"
    source.write_text("int f(void) { static _Thread_local int x = 5; return x++; }\n")
    config = FrontendConfig(str(tmp_path), directory=str(tmp_path), lto=True)
    made = process(preprocess(source), "unit.c", config)
    assert "static _Thread_local int x = 5;" in made.text
    assert [v.key for v in made.unit.variables] == ["unit.c/f#x"]
