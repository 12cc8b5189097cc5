"""Plugins find what they look up, and shared libraries of the program are updated with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kitsune_tool import objects, shared

Shell = Callable[..., str]
FILES = {
    "main.c": """\
#include <dlfcn.h>
#include <kitsune.h>
#include <stdio.h>
int host_twice(int x) { return 2 * x; }
int host_unused(void) { return 0; }
int lib_next(void);
int main(int argc, char **argv)
{
    int total = 0;
    kitsune_update("main");
    for (int i = 1; i < argc; i++) {
        void *plugin = dlopen(argv[i], RTLD_NOW);
        int (*run)(int) = plugin ? (int (*)(int))dlsym(plugin, "run") : 0;
        total += run ? run(lib_next()) : -1000;
    }
    printf("%d\\n", total);
    return 0;
}
""",
    "lib.c": "static int state = 20;\nint inner(int);\n"
    "int lib_next(void) { return inner(++state); }\n",
    "inner.c": "int inner_calls;\nint inner(int x) { inner_calls++; return x; }\n",
    "plugin.c": "#include <stdio.h>\nint host_twice(int);\n"
    'int run(int x) { fputs("run ", stdout); return host_twice(x); }\n',
    "kitsune.yaml": "kitsune: 1\nprogram: host\noptions: {plugins: [plugin.so]}\n"
    'versions:\n  - version: "1.0"\n',
}
CC = "kitsune-cc --kitsune-config=settings gcc"


@pytest.fixture
def place(tmp_path: Path, sh: Shell) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    sh("kitsune config -o settings; gcc -fPIC -shared plugin.c -o plugin.so")
    return tmp_path


def keys(release: Path) -> list[str]:
    return sorted(variable.key for variable in objects.read_program(release).variables)


def test_what_a_plugin_looks_up_is_exported_and_nothing_else(place: Path, sh: Shell) -> None:
    sh(f"{CC} -c main.c lib.c inner.c; kitsune release -o o/host.so --objects main.o lib.o inner.o")
    assert shared.defined(place / "o/host.so") == {"host_twice", "kitsune_release"}
    assert sh("kitsune run o/host.so ./plugin.so 2>&1") == "run 42\n"


def test_a_plugin_that_wants_more_changes_the_release(place: Path, sh: Shell) -> None:
    (place / "SConstruct").write_text(
        "import kitsune_tool.scons\n"
        'env = Environment(tools=["default", kitsune_tool.scons.generate], KITSUNECCFLAGS="")\n'
        'env.SharedLibrary("plugin.so", "plugin.c", SHLIBPREFIX="")\n'
        'env.KitsuneProgram("host", ["main.c", "lib.c", "inner.c"])\n'
    )
    sh("rm plugin.so; scons -Q host.so")
    assert "host_unused" not in shared.defined(place / "host.so")
    text = FILES["plugin.c"].replace("return", "return host_unused() +")
    (place / "plugin.c").write_text(f"int host_unused(void);\n{text}")
    sh("scons -Q host.so")
    assert "host_unused" in shared.defined(place / "host.so")


@pytest.mark.parametrize("named", ["-L. -Wl,-rpath,. -lhost", "./libhost.so"])
def test_a_shared_library_of_the_program_becomes_part_of_the_release(
    place: Path, sh: Shell, named: str
) -> None:
    sh(f"{CC} -c main.c lib.c inner.c; mkdir deep; mv inner.o deep")
    sh("cd deep; kitsune-cc gcc -shared inner.o -o libinner.so -Wl,-soname,libinner.so")
    sh("kitsune-cc gcc -shared lib.o -o libhost.so -Ldeep -linner -Wl,-rpath,deep")
    sh(f"kitsune-cc gcc main.o {named} -Ldeep -Wl,-rpath,deep -linner -o host -rdynamic")
    assert sh("./host ./plugin.so") == "run 42\n"
    sh("kitsune release --program host")
    assert keys(place / "release/host.so") == ["inner_calls", "lib.c/state"]
    assert "libhost" not in sh("readelf -d release/host.so")
    assert sh("kitsune run release/host.so ./plugin.so 2>&1") == "run 42\n"


def test_a_library_of_somebody_else_stays_one(place: Path, sh: Shell) -> None:
    sh("gcc -fPIC -shared lib.c inner.c -o libhost.so")
    sh(f"{CC} -c main.c; kitsune-cc gcc main.o -L. -lhost -Wl,-rpath,$PWD -o host")
    sh("kitsune release --program host")
    assert "[libhost.so]" in sh("readelf -d release/host.so")
    assert sh("kitsune run release/host.so ./plugin.so 2>&1") == "run 42\n"
