"""`release`, `inspect` and `report` on a small program, with the compiler and without SCons."""

import itertools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCES = {
    "main.c": """\
#include <kitsune.h>

struct item {
    int count;
    unsigned flag : 1;
    struct item *next;
};

struct item *first;
static void (*hook)(void);

static void ring(void)
{
}

int main(void)
{
    static int calls;
    hook = ring;
    hook();
    kitsune_update("main");
    return ++calls > 1;
}
""",
    "kitsune.yaml": """\
kitsune: 1
program: bell
versions:
  - version: "1.0"
  - version: "2.0"
    rules:
      - init: "struct item.missing"
""",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text)
    sh(tmp_path, "kitsune-cc gcc -O1 -fPIC -fvisibility=hidden -c main.c")
    return tmp_path


def sh(place: Path, line: str, *, fails: bool = False) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", line], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done


def test_inspect_lists_what_an_object_says(place: Path) -> None:
    assert sh(place, "kitsune inspect main.o").stdout == (
        "unit main.c\n"
        "  global: struct item *first  8 bytes  [main.c:9:14]\n"
        "  static: void (*main.c/hook)(void)  8 bytes  [main.c:10:15]\n"
        "  local_static: int main.c/main#calls  4 bytes  [main.c:18:16]\n"
        "  function pointed to: main.c/ring\n"
        "  update point: 'main' in main  [main.c:21:5]\n"
        "  struct item  16 bytes  [main.c:3:8]\n"
        "    +0 int count\n"
        "    :1 unsigned int flag\n"
        "    +8 struct item *next\n"
    )


def test_inspect_of_a_release_tells_the_program(place: Path) -> None:
    sh(place, "kitsune release --version 1.0 -o out/bell.so --objects main.o")
    assert sh(place, "kitsune inspect out/bell.so").stdout.startswith(
        "program bell, version 1.0, 1 units\n  global: struct item *first  8 bytes"
    )
    data = json.loads(sh(place, "kitsune inspect --json out/bell.so").stdout)
    assert data[0]["kind"] == "program"
    assert [each["key"] for each in data[0]["variables"]] == [
        "first", "main.c/hook", "main.c/main#calls",
    ]  # fmt: skip


def test_a_release_exports_one_symbol(place: Path) -> None:
    """Also if the objects were compiled without -fvisibility=hidden."""
    sh(place, "kitsune-cc gcc -fPIC -c main.c")
    sh(place, "kitsune release --version 1.0 -o out/bell.so --objects main.o")
    shown = sh(place, "nm -D --defined-only out/bell.so").stdout.split("\n")
    assert [line.split()[-1] for line in shown if line] == ["kitsune_release"]


def test_exports_of_the_manifest_stay_visible(place: Path) -> None:
    manifest = SOURCES["kitsune.yaml"].replace("versions:", "options: {exports: [fir*]}\nversions:")
    (place / "kitsune.yaml").write_text(manifest)
    sh(place, "kitsune-cc gcc -fPIC -c main.c")
    sh(place, "kitsune release --version 1.0 -o out/bell.so --objects main.o")
    shown = sh(place, "nm -D --defined-only out/bell.so").stdout.split("\n")
    assert sorted(line.split()[-1] for line in shown if line) == ["first", "kitsune_release"]


def test_only_what_is_linked_from_an_archive_is_in_the_release(place: Path) -> None:
    (place / "other.c").write_text("int nobody_asks_for_this;\n")
    sh(place, "kitsune-cc gcc -fPIC -c other.c; ar rcs libbell.a main.o other.o")
    sh(place, "kitsune release --version 1.0 -o out/bell.so --objects libbell.a")
    assert "nobody" not in sh(place, "kitsune inspect out/bell.so").stdout


def test_a_rule_that_matches_nothing_is_a_warning(place: Path) -> None:
    sh(place, "kitsune release --version 1.0 -o a/bell.so --objects main.o")
    done = sh(
        place, "kitsune release --version 2.0 -o b/bell.so --parent a/bell.so --objects main.o"
    )
    assert done.stderr.startswith(
        "kitsune.yaml:7:15: warning: rule 'struct item.missing' matches nothing: "
    )


def test_the_program_s_own_warnings_are_not_asked_of_generated_code(place: Path) -> None:
    flags = "gcc -O1 -Wpedantic -Wcast-qual -Werror=cast-qual -Werror=pedantic -pedantic-errors"
    sh(place, "kitsune release --version 1.0 -o a/bell.so --objects main.o")
    line = f"kitsune release --version 2.0 -o b/bell.so --parent a/bell.so --compiler {flags}"
    assert "generated" not in sh(place, f"{line} --objects main.o").stderr


def test_report_prints_what_lies_beside_the_release(place: Path) -> None:
    sh(place, "kitsune release --version 1.0 -o a/bell.so --objects main.o")
    for form, name in (("text", "report.txt"), ("json", "report.json"), ("html", "report.html")):
        printed = sh(place, f"kitsune report --format {form} a/bell.so").stdout
        assert printed == (place / "a" / name).read_text()
    assert json.loads((place / "a/report.json").read_text())["version"] == "1.0"


def test_report_finds_a_version_in_the_store_and_writes_a_file(place: Path) -> None:
    sh(place, "kitsune release --version 1.0 -o a/bell.so --objects main.o")
    sh(place, "kitsune publish --version 1.0 a/bell.so")
    sh(place, "mkdir below; cd below; kitsune report --format html -o page.html 1.0")
    stored = (place / "releases/bell/1.0/report.html").read_text()
    assert (place / "below/page.html").read_text() == stored


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kitsune_report": 0}'])
def test_a_report_that_cannot_be_read_is_told(place: Path, text: str) -> None:
    (place / "report.json").write_text(text)
    done = sh(place, "kitsune report main.o", fails=True)
    assert "error[K224]: main.o has a report" in done.stderr


def test_a_failed_release_leaves_the_one_before(place: Path) -> None:
    sh(place, "kitsune release --version 1.0 -o a/bell.so --objects main.o")
    before = {path.name: path.read_bytes() for path in (place / "a").iterdir() if path.is_file()}
    done = sh(
        place, "kitsune release --version 1.0 -o a/bell.so --objects main.o nosuch.o", fails=True
    )
    assert "error[K228]: the objects do not link to a shared object" in done.stderr
    assert "nosuch.o" in done.stderr
    after = {path.name: path.read_bytes() for path in (place / "a").iterdir() if path.is_file()}
    assert after == before


def test_objects_that_are_not_position_independent_are_told_how_to_be(place: Path) -> None:
    sh(place, "kitsune-cc gcc -fno-pic -c main.c")
    done = sh(place, "kitsune release --version 1.0 -o a/bell.so --objects main.o", fails=True)
    assert (
        "hint: compile with -fPIC -fvisibility=hidden; the SCons tool does so itself" in done.stderr
    )


def test_a_description_has_no_date_and_no_path(place: Path) -> None:
    sh(place, "kitsune release --version 1.0 -o a/bell.so --objects main.o")
    described = json.loads((place / "a/release.json").read_text())
    assert set(described) == {
        "kitsune", "program", "version", "build_id", "parents", "digest", "toolchain",
    }  # fmt: skip
    assert set(described["toolchain"]) == {"compiler", "target", "linker", "kitsune"}
    assert str(place) not in json.dumps(described)


def test_who_pastes_the_proposed_rule_gets_past_the_error(place: Path) -> None:
    """The words of the message, put into the manifest as an editor indents them."""
    sh(place, "kitsune release --version 1.0 -o a/bell.so --objects main.o")
    text = (place / "main.c").read_text().replace("int count;", "int count;\n    long weight;")
    (place / "main.c").write_text(text)
    sh(place, "kitsune-cc gcc -O1 -fPIC -fvisibility=hidden -c main.c")
    line = "kitsune release --version 2.0 -o b/bell.so --parent a/bell.so --objects main.o"
    told = sh(place, line, fails=True).stderr
    assert told.startswith("main.c:5:10: error[K121]: 'struct item.weight' is new")
    _, _, hint = told.partition("hint: under 'rules':\n")
    rows = itertools.takewhile(lambda row: row.startswith("        "), hint.splitlines())
    pasted = textwrap.indent(textwrap.dedent("\n".join(rows)), "      ") + "\n"
    manifest = (place / "kitsune.yaml").read_text()
    (place / "kitsune.yaml").write_text(manifest.replace("    rules:\n", f"    rules:\n{pasted}"))
    sh(place, line)
    assert "struct item.weight" in (place / "kitsune.yaml").read_text()
    assert (
        "initialised by rule 'struct item.weight'" in sh(place, "kitsune report b/bell.so").stdout
    )
