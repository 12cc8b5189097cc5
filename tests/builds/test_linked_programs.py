"""A program that kitsune-cc has linked tells what its release is made from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kitsune_tool import linked, objects

Shell = Callable[..., str]
MAIN = """\
#include <kitsune.h>
#include <stdio.h>
#include "sum.h"
static int total;
int main(void)
{
    kitsune_do_automigrate();
    for (int i = 0; i < 3; i++) {
        kitsune_update("main");
        total = sum(total, UNIT);
    }
    printf("%d\\n", total);
    return 0;
}
"""
FILES = {
    "main.c": MAIN,
    "lib/sum.c": '#include "sum.h"\nint sums;\nint sum(int a, int b) { sums++; return a + b; }\n',
    "include/sum.h": "int sum(int, int);\n",
    "kitsune.yaml": 'kitsune: 1\nprogram: sum\nversions:\n  - version: "1.0"\n',
}
CC = "kitsune-cc --kitsune-config=settings gcc -O1 -Iinclude -DUNIT=2"


@pytest.fixture
def place(tmp_path: Path, sh: Shell) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    sh("kitsune config -o settings")
    return tmp_path


def keys(release: Path) -> list[str]:
    return sorted(variable.key for variable in objects.read_program(release).variables)


def test_a_program_runs_by_itself_and_has_a_release(place: Path, sh: Shell) -> None:
    sh(f"{CC} -c main.c; {CC} -c lib/sum.c; ar rcs libsum.a sum.o")
    assert sh("kitsune-cc gcc -o sum main.o -L. -lsum && ./sum") == "6\n"
    sh("kitsune release --program sum")
    assert keys(place / "release/sum.so") == ["main.c/total", "sums"]
    found = linked.read(place / "sum")
    assert found.compiler == ("gcc", "-O1", "-Iinclude", "-DUNIT=2", "-fPIC")
    assert found.inputs == ("main.o", "-L.", "-lsum")
    assert found.directory == place


def test_what_makes_an_executable_is_left_out(place: Path, sh: Shell) -> None:
    sh(f"{CC} -fPIE -c main.c; {CC} -fno-pic -c lib/sum.c; mkdir -p sub; mv *.o sub")
    sh(
        "echo 'main.o sum.o -Wl,-Map=sum.map -lm' >sub/args; cd sub;"
        "kitsune-cc gcc -pie -fPIE -rdynamic -Wl,--as-needed @args -o ../sum"
    )
    found = linked.read(place / "sum")
    assert found.inputs == ("-Wl,--as-needed", "main.o", "sum.o", "-lm")
    assert found.directory == place / "sub"
    (place / "sub/sum.map").unlink()
    sh("kitsune release --publish --program sum -o out/sum.so")
    assert keys(place / "releases/sum/1.0/sum.so") == ["main.c/total", "sums"]
    assert not (place / "sub/sum.map").exists()


def test_rules_are_compiled_with_the_options_of_main(place: Path, sh: Shell) -> None:
    sh(f"{CC} -c main.c; kitsune-cc gcc -Iinclude -c -fPIC lib/sum.c")
    sh("kitsune-cc gcc sum.o main.o -o sum; kitsune release --publish --program sum")
    (place / "main.c").write_text(MAIN.replace("int total", "long total"))
    with (place / "kitsune.yaml").open("a") as manifest:
        manifest.write(
            '  - version: "2.0"\n    preamble: |\n      #include "sum.h"\n    rules:\n'
            '      - transform: main.c/total -> main.c/total\n        code: "$out = $in * UNIT;"\n'
        )
    sh(f"{CC} -c main.c; kitsune-cc gcc sum.o main.o -o sum; kitsune release --program sum")
    assert "$in * UNIT" not in (place / "release/generated/rules.c").read_text()


def test_a_compile_and_link_in_one_step_runs_but_has_no_note(place: Path, sh: Shell) -> None:
    assert sh(f"{CC} main.c lib/sum.c -o sum && ./sum") == "6\n"
    said = sh("kitsune release --program sum", status=1)
    assert said.startswith("sum: error[K260]: nothing in it says how it was linked\nhint: ")


def test_an_object_that_is_gone_is_named(place: Path, sh: Shell) -> None:
    sh(f"{CC} -c main.c; {CC} -c lib/sum.c; kitsune-cc gcc main.o sum.o -o sum; rm sum.o")
    said = sh("kitsune release --program sum", status=1)
    assert said.startswith(
        "sum: error[K261]: sum.o, from which it was linked, is not there any more\n"
    )


def test_a_link_that_fails_says_what_gcc_says(place: Path, sh: Shell) -> None:
    sh("kitsune-cc gcc -Iinclude -DUNIT=2 -c main.c")
    plain = sh("gcc main.o -o sum -lnowhere", status=1)
    assert sh("kitsune-cc gcc main.o -o sum -lnowhere", status=1) == plain


def test_other_links_are_the_compilers_own(place: Path, sh: Shell) -> None:
    sh(f"{CC} -c lib/sum.c; kitsune-cc gcc -shared sum.o -o libsum.so")
    sh("kitsune-cc gcc -r sum.o -o r.o")
    assert ".kitsune.link" not in sh("readelf -SW r.o")
    # the options of the unit stay in what is linked again, and in nothing else
    assert ".kitsune.command" in sh("readelf -SW r.o")
    assert ".kitsune.command" not in sh("readelf -SW libsum.so")


def test_an_edit_of_the_settings_compiles_again(place: Path, sh: Shell) -> None:
    (place / "Makefile").write_text(
        f"all: main.o sum.o\nmain.o: main.c\n\t{CC} -MMD -MP -c main.c\n"
        f"sum.o: lib/sum.c\n\t{CC} -Wp,-MMD,sum.d -c lib/sum.c\n-include main.d sum.d\n"
    )
    sh("make")
    assert "up to date" in sh("make all | sed s/Nothing.*/up.to.date/ | tr . ' '")
    with (place / "kitsune.yaml").open("a") as manifest:
        manifest.write("standing: {edits: [{insert: 'sums++;', function: sum, at: start}]}\n")
    sh("touch -d '1 minute ago' settings *.o lib/*.c include/*.h *.c; kitsune config -o settings")
    assert sh("make").count("-c ") == 2
    assert "No rule" not in sh("mv settings gone; make -n main.o")  # as -MP has it for headers


def test_an_object_is_the_same_in_another_place(place: Path, sh: Shell) -> None:
    sh("mkdir a b; cp -r main.c include kitsune.yaml a; cp -r main.c include kitsune.yaml b")
    for name in ("a", "b"):
        sh(f"cd {name}; kitsune config -o settings; {CC} -g -ffile-prefix-map=$PWD=. -c main.c")
    assert (place / "a/main.o").read_bytes() == (place / "b/main.o").read_bytes()


def test_flags_are_for_a_build_without_the_look_alike(place: Path, sh: Shell) -> None:
    line = "gcc -Iinclude -DUNIT=2 main.c lib/sum.c $(kitsune flags --cflags)"
    assert sh(f"{line} -o sum $(kitsune flags --libs) && ./sum") == "6\n"
    words = sh("kitsune flags").split()
    assert [word[:2] for word in words] == ["-I", "/" + words[1][1]]


def test_usage(place: Path, sh: Shell) -> None:
    assert "exclude each other" in sh("kitsune release --program sum --objects a.o", status=2)
    assert "is missing" in sh("kitsune release -o a.so", status=2)
    assert "--output is missing" in sh("kitsune release --objects a.o", status=2)


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_a_program_of_bitcode(place: Path, sh: Shell) -> None:
    clang = CC.replace("gcc", "clang -flto")
    sh(f"{clang} -c main.c; {clang} -c lib/sum.c; kitsune-cc clang -flto main.o sum.o -o sum")
    assert "K061" in sh("kitsune inspect main.o", status=1)
    sh("kitsune release --program sum")
    assert keys(place / "release/sum.so") == ["main.c/total", "sums"]
    assert linked.read(place / "sum").compiler == ("clang",)
