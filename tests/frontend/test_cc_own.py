"""What kitsune-cc has of its own: configuration, edits, errors, caches."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import objects
from kitsune_tool.model import Record, Unit

CC = [sys.executable, "-m", "kitsune_tool.cc"]
PROGRAM = """\
#include <stdio.h>
#define SET_UP(x) ((x)->fd = setup_fd())
#define NEVER (0)
struct conn { int fd; };
static struct conn conn;
int setup_fd(void) { return 3; }
static int dispatch(void)
{
\twhile (!NEVER)
\t\tif (conn.fd++ > 100)
\t\t\tbreak;
\treturn __LINE__;
}
int main(void)
{
\tSET_UP(&conn);
\tprintf("%d\\n", dispatch());
\treturn 0;
}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "prog.c").write_text(PROGRAM)
    return tmp_path


def run(
    where: Path, *words: str, status: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("KITSUNE", "CCACHE"))}
    done = subprocess.run(
        [*CC, *words], cwd=where, env=clean | {"LC_ALL": "C"} | environment,
        capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done


def configure(tree: Path, *edits: dict[str, Any], root: str = "src") -> str:
    path = tree / "config.json"
    path.write_text(json.dumps({"root": str(tree / root), "edits": edits, "program": "prog"}))
    return f"--kitsune-config={path}"


def unit_of(path: Path) -> Unit:
    (unit,) = objects.read_units(path)
    return unit


# ---- configuration -------------------------------------------------------------------------------


def test_root_of_the_configuration_decides_keys(tree: Path) -> None:
    run(tree, configure(tree), "gcc", "-c", "src/prog.c")
    assert [variable.key for variable in unit_of(tree / "prog.o").variables] == ["prog.c/conn"]


def test_configuration_from_the_environment(tree: Path) -> None:
    config = configure(tree).partition("=")[2]
    run(tree, "-c", "src/prog.c", KITSUNE_CONFIG=config, KITSUNE_CC="gcc -g0")
    unit = unit_of(tree / "prog.o")
    assert unit.source == "prog.c"


def test_without_configuration_the_root_is_the_current_directory(tree: Path) -> None:
    run(tree, "gcc", "-c", "src/prog.c")
    assert unit_of(tree / "prog.o").source == "src/prog.c"


def test_source_known_under_another_name(tree: Path) -> None:
    shutil.copytree(tree / "src", tree / "variant")
    words = [configure(tree), "--kitsune-source=src/prog.c", "gcc", "-c", "variant/prog.c"]
    run(tree, *words)
    assert unit_of(tree / "prog.o").source == "prog.c"


def test_edits_of_the_configuration(tree: Path) -> None:
    config = configure(
        tree,
        {"update_point": "loop", "function": "prog.c/dispatch", "loop": "while (!NEVER)"},
        {"guard": "SET_UP(&conn)", "function": "main"},
        {"insert": "if (conn.fd == NEVER) puts(__FILE__);", "function": "main", "at": "start"},
        {"field": "int extra;", "record": "struct conn"},
        {"guard": "x()", "function": "elsewhere"},
    )
    done = run(tree, config, "gcc", "-c", "-Wall", "-Wextra", "-Werror", "src/prog.c")
    assert done.stderr == ""
    unit = unit_of(tree / "prog.o")
    assert [(m.edit, m.function, str(m.at), m.text) for m in unit.edits] == [
        (3, "", "prog.c:4", "int extra;"),
        (0, "dispatch", "prog.c:10", 'kitsune_update("loop");'),
        (1, "main", "prog.c:16", "((&conn)->fd = setup_fd());"),
        (2, "main", "prog.c:15", 'if (conn.fd == (0)) puts("src/prog.c");'),
    ]
    assert [(p.name, p.function, p.at and p.at.line) for p in unit.update_points] == [
        ("loop", "dispatch", 10)
    ]
    (record,) = (t for t in unit.types if isinstance(t, Record) and t.tag == "conn")
    assert [(f.name, f.offset_bytes) for f in record.fields] == [("fd", 0), ("extra", 4)]


def test_edited_program_runs_with_its_lines(tree: Path) -> None:
    (tree / "api.c").write_text(
        "unsigned kitsune__gate_word; void kitsune__update_slow(const char *n) { (void)n; }\n"
        "int kitsune_is_updating(void) { return 0; }\n"
    )
    config = configure(
        tree,
        {"update_point": "loop", "function": "dispatch"},
        {"guard": "SET_UP(&conn)", "function": "main"},
    )
    run(tree, config, "gcc", "-O2", "src/prog.c", "api.c", "-o", "prog")
    done = subprocess.run([tree / "prog"], capture_output=True, text=True, check=True)
    assert done.stdout == "12\n"


def test_edits_in_a_unit_that_includes_kitsune_itself(tree: Path) -> None:
    source = tree / "src" / "prog.c"
    source.write_text("#include <kitsune.h>\n" + PROGRAM)
    config = configure(tree, {"update_point": "p", "function": "dispatch"})
    flags = ["-Wall", "-Wextra", "-Wredundant-decls", "-Wnested-externs", "-Werror"]
    run(tree, config, "gcc", "-c", *flags, "src/prog.c")
    assert len(unit_of(tree / "prog.o").update_points) == 1


@pytest.mark.parametrize("standard", ["-std=c89", "-std=c99", "-std=gnu11", "-std=c17"])
def test_edits_compile_in_every_standard(tree: Path, standard: str) -> None:
    config = configure(
        tree,
        {"update_point": "p", "function": "dispatch"},
        {"guard": "SET_UP(&conn)", "function": "main"},
        {"insert": "kitsune_do_automigrate();", "function": "main", "at": "start"},
    )
    flags = ["-Wall", "-Wextra", "-pedantic", "-Wredundant-decls", "-Wstrict-prototypes"]
    run(tree, config, "gcc", "-c", standard, *flags, "-Werror", "src/prog.c")


def test_debugger_lines_are_those_of_the_source(tree: Path) -> None:
    config = configure(tree, {"update_point": "p", "function": "dispatch"})
    run(tree, config, "gcc", "-g", "-c", "src/prog.c")
    shown = subprocess.run(
        ["objdump", "--dwarf=decodedline", "prog.o"],
        cwd=tree, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    rows = [line.split() for line in shown.splitlines()]
    lines = {int(row[1]) for row in rows if row[:1] == ["prog.c"] and row[1].isdigit()}
    assert lines >= {6, 8, 10, 12, 15, 16, 17, 18}
    assert max(lines) <= PROGRAM.count("\n")


# ---- errors --------------------------------------------------------------------------------------


def test_edit_that_fits_nothing_is_an_error_and_leaves_no_object(tree: Path) -> None:
    (tree / "prog.o").write_text("stale")
    config = configure(tree, {"guard": "SETUP(&conn)", "function": "main"})
    done = run(tree, config, "gcc", "-c", "src/prog.c", status=1)
    assert done.stderr == (
        "src/prog.c:14: error[K071]: edit 1 (guard 'SETUP(&conn)' in main) matches nothing: no"
        " statement of 'main' holds 'SETUP(&conn)'\n"
        "    int main(void)\n"
    )
    assert not (tree / "prog.o").exists()


def test_edit_that_does_not_compile(tree: Path) -> None:
    config = configure(tree, {"insert": "nosuch = 1;", "function": "main", "at": "start"})
    done = run(tree, config, "gcc", "-c", "src/prog.c", status=1)
    assert "src/prog.c:15:" in done.stderr
    assert "'nosuch' undeclared" in done.stderr
    assert done.stderr.endswith(
        "src/prog.c:15: error[K054]: src/prog.c does not compile with the manifest's edits made in"
        " it\n"
        "hint: the compiler's messages above are about the inserted text, or about what it\n"
        "      does to the statements around it\n"
    )
    assert not (tree / "prog.o").exists()


def test_compiler_that_is_ourselves(tree: Path) -> None:
    done = run(tree, "-c", "src/prog.c", status=1, KITSUNE_CC="kitsune-cc")
    assert done.stderr == (
        "kitsune: error[K050]: the real compiler is 'kitsune-cc', which is kitsune-cc again\n"
        "hint: set KITSUNE_CC to the compiler itself, such as gcc\n"
    )


@pytest.mark.parametrize("line", ["-c src/prog.c", "--version", "-E src/prog.c", "src/prog.c"])
def test_compiler_that_is_not_there(tree: Path, line: str) -> None:
    done = run(tree, *line.split(), status=1, KITSUNE_CC="nosuch-gcc")
    assert done.stderr == (
        "kitsune: error[K051]: cannot run the compiler 'nosuch-gcc': No such file or directory\n"
        "hint: name it in KITSUNE_CC, or in front of its arguments: kitsune-cc gcc -c …\n"
    )


def test_one_name_for_several_sources(tree: Path) -> None:
    words = ["--kitsune-source=x.c", "gcc", "-c", "src/prog.c", "b.c"]
    assert run(tree, *words, status=1).stderr == (
        "kitsune: error[K052]: --kitsune-source=… names one source, and there are several\n"
        "hint: compile one source per command\n"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        ("[]", "not an object of JSON"),
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ('{"edits": [{"nonsense": 1}]}', "not an edit: {'nonsense': 1}"),
    ],
)
def test_configuration_that_is_none(tree: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tree / "c.json").write_text(text)
    done = run(tree, "--kitsune-config=c.json", "gcc", "-c", "src/prog.c", status=1)
    assert done.stderr == (
        f"c.json: error[K053]: cannot use it as the front-end's configuration: {why}\n"
        "hint: make it with 'kitsune config -o FILE'\n"
    )


def test_bug_of_ours_has_its_own_status(tree: Path) -> None:
    """A compiler that refuses what is inserted, and only that, stands for a bug."""
    fake = tree / "fake-gcc"
    fake.write_text(
        '#!/bin/sh\ncase " $* " in *cpp-output*) echo refused >&2; exit 1;; esac\nexec gcc "$@"\n'
    )
    fake.chmod(0o755)
    done = run(tree, str(fake), "-c", "src/prog.c", status=70)
    assert done.stderr.startswith("refused\nkitsune-cc: internal error: please report it\n")
    assert "RuntimeError: src/prog.c compiles, but not with the inserted tables" in done.stderr
    assert not (tree / "prog.o").exists()


def test_output_that_is_no_file_is_not_removed(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    config = configure(tree, {"guard": "SETUP(&conn)", "function": "main"})
    run(tree, config, "gcc", "-c", "src/prog.c", "-o", "pipe", status=1)
    assert (tree / "pipe").is_fifo()


# ---- compiler caches -----------------------------------------------------------------------------


def test_preprocessed_text_for_a_cache_names_what_an_object_depends_on(tree: Path) -> None:
    plain = run(tree, "gcc", "-E", "src/prog.c").stdout
    first = run(tree, configure(tree), "gcc", "-E", "src/prog.c", CCACHE_DISABLE="1").stdout
    edit = {"update_point": "p", "function": "main"}
    second = run(tree, configure(tree, edit), "gcc", "-E", "src/prog.c", CCACHE_DISABLE="1").stdout
    assert "<kitsune " not in plain
    assert first != second
    assert first.splitlines()[:-1] == second.splitlines()[:-1]


@pytest.mark.skipif(shutil.which("ccache") is None, reason="ccache is not installed")
def test_under_ccache(tree: Path, tmp_path: Path) -> None:
    environment = {
        "CCACHE_DIR": str(tmp_path / "cache"), "KITSUNE_CC": "gcc", "PATH": os.environ["PATH"],
        "KITSUNE_CONFIG": configure(tree).partition("=")[2],
    }  # fmt: skip
    wrapper = tree / "kitsune-cc"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kitsune_tool.cc "$@"\n')
    wrapper.chmod(0o755)

    def compile_once() -> tuple[bytes, str]:
        (tree / "prog.o").unlink(missing_ok=True)
        subprocess.run(
            ["ccache", str(wrapper), "gcc", "-c", "src/prog.c", "-o", "prog.o"],
            cwd=tree, env=environment, check=True, timeout=60,
        )  # fmt: skip
        shown = subprocess.run(
            ["ccache", "--print-stats"], env=environment, check=True, capture_output=True, text=True
        )
        return (tree / "prog.o").read_bytes(), shown.stdout

    def hits(stats: str) -> int:
        counts = dict(line.split("\t") for line in stats.splitlines())
        return int(counts["direct_cache_hit"]) + int(counts["preprocessed_cache_hit"])

    first, stats = compile_once()
    assert hits(stats) == 0
    second, stats = compile_once()
    assert hits(stats) == 1
    assert first == second
    environment["CCACHE_NODIRECT"] = "1"
    configure(tree, {"update_point": "p", "function": "dispatch"})
    third, stats = compile_once()
    assert hits(stats) == 1
    assert third != first
    del environment["CCACHE_NODIRECT"]
    configure(tree, {"update_point": "q", "function": "dispatch"})
    fourth, stats = compile_once()
    assert hits(stats) == 1
    assert fourth not in (first, third)
    again, stats = compile_once()
    assert hits(stats) == 2
    assert again == fourth
