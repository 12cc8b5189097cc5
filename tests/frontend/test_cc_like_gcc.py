"""kitsune-cc is used like the compiler: both run each command, and what can be seen is compared."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from kitsune_tool import objects

OURS = [sys.executable, "-m", "kitsune_tool.cc"]
KITSUNE_CC = [*OURS, "gcc"]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]

UNIT = """\
#include "unit.h"
static int state = 3;
int shared;
static int step(int x) { static int calls; return x + ++calls + state; }
int (*callback)(int) = step;
int use(int x) { return callback(x) + UNIT; }
"""
FILES = {
    "unit.h": "#define UNIT 1\nint use(int);\n",
    "src/unit.h": "#define UNIT 1\nint use(int);\n",
    "src/unit.c": UNIT,
    "a.c": UNIT,
    "b.c": '#include "unit.h"\nint main(void) { return use(1) == 7; }\n',
    "s.S": "#ifdef X\n#error X\n#endif\n.globl in_assembler\nin_assembler: ret\n",
    "warn.c": "#define OLD 1\n#define OLD 2\n#warning careful\nint f(int x) { int y; return x; }\n"
    "int g(int x) { switch (x) { case 1: x++; /* fall through */ case 2: x++; case 3: return x; }"
    " return 0; }\n",
    "bad.c": "int f(void) { return nosuch; }\n#define M(x) (x + \nint g(void) { return h(1 2); }\n",
    "early.c": "#error no\nint f(void) { return nosuch; }\n",
    "lost.c": '#include "nowhere.h"\nint f(void) { return nosuch; }\n',
    "macro.c": "#define TWICE(x) ((x) + (x))\nstruct s { int a; };\n"
    "int f(struct s s) { return TWICE(s.b); }\n",
    "args": "-DX=1 -c a.c\n-o from-args.o",
    "weird.txt": UNIT,
    "pre.h": "#define PRE 1\n",
    "pre.c": "int pre = PRE;\n",
}


@dataclass(frozen=True)
class Seen:
    """What a command did: status, output, messages, and the files that are there after it."""

    status: int
    stdout: str
    stderr: str
    files: dict[str, bytes]


def run(where: Path, compiler: list[str], line: list[str], stdin: str = "") -> Seen:
    for name, text in FILES.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KITSUNE", "CCACHE"))}
    done = subprocess.run(
        [*compiler, *line],
        cwd=where,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment | {"LC_ALL": "C"},
    )
    files = {
        str(path.relative_to(where)): path.read_bytes()
        for path in sorted(where.rglob("*"))
        if path.is_file() and str(path.relative_to(where)) not in FILES
    }
    return Seen(done.returncode, done.stdout, done.stderr, files)


def both(tmp_path: Path, line: str, stdin: str = "", compiler: str = "gcc") -> tuple[Seen, Seen]:
    """Run the command with and without kitsune-cc, in directories of the same name."""
    results = []
    for name, words in (("plain", [compiler]), ("ours", [*OURS, compiler])):
        where = tmp_path / name / "work"
        where.mkdir(parents=True)
        results.append(run(where, words, line.split(), stdin))
    plain, ours = results
    assert ours.status == plain.status, ours.stderr
    bitcode = {"a.bc"} if compiler == "clang" else set()  # none on the way from preprocessed text
    assert set(ours.files) == set(plain.files) - bitcode
    return plain, ours


def comparable(text: str) -> str:
    """Return messages without what differs from run to run, and our directory of headers."""
    without_names = re.sub(r"/tmp/cc\w+", "/tmp/cc", text)
    return "\n".join(
        re.sub(r" -I ?\S*runtime/include\b", "", line)
        for line in without_names.splitlines()
        if "runtime/include" not in line.strip().split(" ")[0]
    )


@pytest.mark.parametrize(
    "line",
    [
        "--version",
        "-dumpmachine",
        "-dumpversion",
        "-dumpspecs",
        "-print-search-dirs",
        "-print-prog-name=ld",
        "-print-multi-os-directory",
        "-v",
        "",
        "-### -c a.c",
        "-E a.c",
        "-E -P b.c",
        "-E -dM a.c",
        "-M src/unit.c",
        "-MM -MG lost.c",
        "-MM a.c b.c",
        "-fsyntax-only a.c",
        "-fsyntax-only bad.c",
        "-c s.S",
        "-c s.S -DX",
        "-c nosuchfile.c",
        "-c a.c b.c -o both.o",
        "-nosuchoption -c a.c",
        "-c -o x.o",
        "-x nosuchlanguage a.c",
        "-x c++ -c b.c",
        "-c unit.h",
    ],
)
def test_no_compile_of_c_is_the_compilers_own(tmp_path: Path, line: str) -> None:
    plain, ours = both(tmp_path, line)
    assert ours.stdout == plain.stdout
    assert comparable(ours.stderr) == comparable(plain.stderr)
    for name, contents in ours.files.items():
        assert contents == plain.files[name] or name.endswith(".gch")  # has the memory's addresses


ONLY_GCC = {"-c -fdirectives-only a.c"}
BITCODE = {"-c -flto a.c"}
"""What clang makes of these is read when it is linked."""


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("line", "records"),
    [
        ("-c a.c", {"a.o": ["a.c"]}),
        ("-c src/unit.c", {"unit.o": ["src/unit.c"]}),
        ("-c -o x.o -O2 a.c -Wall -g", {"x.o": ["a.c"]}),
        ("-c a.c b.c", {"a.o": ["a.c"], "b.o": ["b.c"]}),
        ("-c a.c s.S b.c", {"a.o": ["a.c"], "b.o": ["b.c"], "s.o": []}),
        ("a.c b.c -o prog", {"prog": ["a.c", "b.c"]}),
        ("a.c b.c", {"a.out": ["a.c", "b.c"]}),
        ("-O2 b.c -x c weird.txt -o prog -lm", {"prog": ["b.c", "weird.txt"]}),
        ("-shared -fPIC a.c -o liba.so", {"liba.so": ["a.c"]}),
        ("-x c -c weird.txt", {"weird.o": ["weird.txt"]}),
        ("@args", {"from-args.o": ["a.c"]}),
        ("-pipe -c a.c", {"a.o": ["a.c"]}),
        ("-include pre.h -c pre.c", {"pre.o": ["pre.c"]}),
        ("-c -flto a.c", {"a.o": ["a.c"]}),
        ("-c -fdirectives-only a.c", {"a.o": ["a.c"]}),
        ("-c -g3 a.c", {"a.o": ["a.c"]}),
        ("-c -save-temps a.c", {"a.o": ["a.c"]}),
        ("-c -fstack-usage src/unit.c -o out.o", {"out.o": ["src/unit.c"]}),
        ("-c --coverage src/unit.c", {"unit.o": ["src/unit.c"]}),
        ("-c -gsplit-dwarf -g a.c -o x.o", {"x.o": ["a.c"]}),
        ("-c -v a.c", {"a.o": ["a.c"]}),
    ],
)
def test_compiles_leave_the_same_files(
    tmp_path: Path, line: str, records: dict[str, list[str]], compiler: str
) -> None:
    if compiler == "clang" and line in ONLY_GCC:
        pytest.skip("no option of clang")
    plain, ours = both(tmp_path, line, compiler=compiler)
    assert ours.stdout == plain.stdout
    if compiler == "clang" and line in BITCODE:
        assert comparable(ours.stderr) == comparable(plain.stderr)
        return
    for name, sources in records.items():
        units = objects.read_units(tmp_path / "ours" / "work" / name)
        assert [unit.source for unit in units] == sources


def test_source_on_standard_input(tmp_path: Path) -> None:
    both(tmp_path, "-x c -c -", stdin=UNIT)
    (unit,) = objects.read_units(tmp_path / "ours" / "work" / "-.o")
    assert [variable.name for variable in unit.variables] == [
        "state",
        "shared",
        "callback",
        "calls",
    ]


def test_preprocessed_source(tmp_path: Path) -> None:
    where = tmp_path / "work"
    where.mkdir()
    assert run(where, ["gcc"], ["-E", "a.c", "-o", "pre.i"]).status == 0
    assert run(where, KITSUNE_CC, ["-c", "pre.i"]).status == 0
    (unit,) = objects.read_units(where / "pre.o")
    assert "callback" in [variable.key for variable in unit.variables]


def test_assembly_is_what_the_object_is_made_of(tmp_path: Path) -> None:
    both(tmp_path, "-S -O1 src/unit.c")
    where = tmp_path / "ours" / "work"
    subprocess.run(["gcc", "-c", "unit.s"], cwd=where, check=True)
    assert [unit.source for unit in objects.read_units(where / "unit.o")] == ["src/unit.c"]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "line",
    [
        "-MD -c src/unit.c",
        "-MMD -c src/unit.c -o x.y.o",
        "-MMD -MP -MT target -MF deps/d -c a.c",
        "-MD -MQ a$b -c a.c",
        "-Wp,-MMD,w.d -c a.c -o x.o",
        "-Wp,-MD,w.d,-MT,zzz -c a.c",
        "-MMD -MP -MF .deps/a.Tpo -MT a.o -c -o a.o a.c",
        "-MMD a.c b.c -o prog",
        "-MMD b.c a.c",
        "-MD -S a.c",
        "-MMD -S a.c -o out.s",
    ],
)
def test_dependency_files_are_the_same(tmp_path: Path, line: str, compiler: str) -> None:
    for name in ("plain", "ours"):
        for directory in ("deps", ".deps"):
            (tmp_path / name / "work" / directory).mkdir(parents=True, exist_ok=True)
    for name, words in (("plain", [compiler]), ("ours", [*OURS, compiler])):
        assert run(tmp_path / name / "work", words, line.split()).status == 0
    found = {}
    for name in ("plain", "ours"):
        where = tmp_path / name / "work"
        found[name] = {
            str(path.relative_to(where)): path.read_text()
            for path in sorted(where.rglob("*"))
            if path.is_file() and path.suffix in (".d", ".Tpo", "") and path.parent != where / "src"
            and path.name not in ("prog", "args")
        }  # fmt: skip
    assert found["plain"]
    assert found["ours"] == found["plain"]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "line",
    [
        "-c bad.c",
        "-c early.c",
        "-c lost.c",
        "-c macro.c -Wall",
        "-c a.c lost.c b.c",
        "-c warn.c -Werror -Wall",
        "bad.c -o prog",
        "-S bad.c",
        "-c -fmax-errors=1 bad.c",
        "-MMD -c bad.c",
        "-ferror-limit=1 -c bad.c",
    ],
)
def test_errors_are_told_as_by_the_compiler(tmp_path: Path, line: str, compiler: str) -> None:
    plain, ours = both(tmp_path, line, compiler=compiler)
    assert plain.status != 0
    assert ours.stderr == plain.stderr


@pytest.mark.parametrize(
    "flags",
    ["", "-Wall", "-Wall -Wextra", "-W -Wno-implicit-fallthrough", "-Wextra -w",
     "-Wimplicit-fallthrough=5", "-Wimplicit-fallthrough=1", "-Wall -Wundef -Wunused-macros"],
)  # fmt: skip
def test_warnings_are_told_once(tmp_path: Path, flags: str) -> None:
    plain, ours = both(tmp_path, f"-c warn.c {flags} -fno-diagnostics-show-caret")

    def messages(seen: Seen) -> list[str]:
        # a comment before it on its line moves a token's column; -Wunused-macros speaks earlier
        lines = [line for line in seen.stderr.splitlines() if "At top level" not in line]
        return sorted(re.sub(r"(:\d+):\d+:", r"\1:", line) for line in lines)

    assert messages(ours) == messages(plain)


def test_fallthrough_comment_in_a_header_of_the_user(tmp_path: Path) -> None:
    header = tmp_path / "inline.h"
    header.write_text(
        "static int g(int x) { switch (x) { case 1: x++; /* FALLTHRU */ case 2: x++; } return x; }"
    )
    (tmp_path / "user.c").write_text('#include "inline.h"\nint f(int x) { return g(x); }\n')
    done = run(tmp_path, KITSUNE_CC, ["-c", "-Wextra", "-Werror", "user.c"])
    assert (done.status, done.stderr) == (0, "")


def test_annotated_source_compiles_and_passes_all_probes(tmp_path: Path) -> None:
    (tmp_path / "e.c").write_text(
        "#include <kitsune.h>\nstruct s { char * E_OPAQUE p; int n; int *q E_PTRARRAY(self.n); };\n"
        "struct s s E_MANUAL_MIGRATE;\n"
    )
    for line in ("-c e.c -Wall -Werror", "-E e.c", "-M e.c", "-fsyntax-only e.c", "-S e.c"):
        assert run(tmp_path, KITSUNE_CC, line.split()).status == 0, line
    (unit,) = objects.read_units(tmp_path / "e.o")
    (variable,) = unit.variables
    assert [each.kind for each in variable.annotations] == ["manual_migrate"]


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_accepts_it_as_a_compiler(tmp_path: Path) -> None:
    (tmp_path / "unit.h").write_text(FILES["unit.h"])
    (tmp_path / "a.c").write_text(FILES["a.c"])
    (tmp_path / "b.c").write_text(FILES["b.c"])
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(x C)\nadd_executable(prog a.c b.c)\n"
    )
    compiler = tmp_path / "kitsune-cc"
    compiler.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kitsune_tool.cc "$@"\n')
    compiler.chmod(0o755)
    configure = ["cmake", "-S", ".", "-B", "build", f"-DCMAKE_C_COMPILER={compiler}"]
    subprocess.run(configure, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    subprocess.run(
        ["cmake", "--build", "build"], cwd=tmp_path, check=True, capture_output=True, timeout=120
    )
    units = objects.read_units(tmp_path / "build" / "prog")
    assert [unit.source for unit in units] != []
    cache = (tmp_path / "build" / "CMakeCache.txt").read_text()
    assert "CMAKE_C_COMPILER" in cache


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_a_warning_about_the_tables_is_none_of_the_users(tmp_path: Path) -> None:
    """-Weverything finds something in any text; as an error it must not fail a good source."""
    flags = "-Weverything -Werror -Wno-padded -Wno-missing-variable-declarations"
    flags += " -Wno-missing-prototypes -Wno-missing-braces"
    plain, ours = both(tmp_path, f"-c a.c {flags}", compiler="clang")
    assert (plain.status, ours.stderr) == (0, plain.stderr)
    (unit,) = objects.read_units(tmp_path / "ours" / "work" / "a.o")
    assert [each.name for each in unit.variables] == ["state", "shared", "callback", "calls"]


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
@pytest.mark.parametrize("flags", ["-flto", "-flto=thin", "-flto -fuse-ld=lld -O2"])
def test_lto_by_clang_is_read_from_what_is_linked(tmp_path: Path, flags: str) -> None:
    if "lld" in flags and shutil.which("ld.lld") is None:
        pytest.skip("lld is not installed")
    run(tmp_path, [*OURS, "clang"], f"-c -fPIC a.c {flags} -w".split())
    assert run(tmp_path, ["clang"], f"-shared a.o {flags} -o a.so".split()).status == 0
    assert [unit.source for unit in objects.read_units(tmp_path / "a.so")] == ["a.c"]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "line",
    ["-c -lm a.c", "-c -shared a.c", "-c a.c -o -", "-S -o - a.c", "-c -O2 -Wl,-z,now a.c"],
)
def test_odd_lines_do_what_they_do(tmp_path: Path, line: str, compiler: str) -> None:
    if line == "-c a.c -o -" and compiler == "clang":
        pytest.skip("prints the object, which is no text")
    plain, ours = both(tmp_path, line, compiler=compiler)
    assert ours.stderr == plain.stderr
    assert bool(ours.stdout) == bool(plain.stdout)


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_inputs_behind_two_dashes(tmp_path: Path) -> None:
    both(tmp_path, "-c -O2 -- a.c", compiler="clang")
    (unit,) = objects.read_units(tmp_path / "ours" / "work" / "a.o")
    assert unit.source == "a.c"
