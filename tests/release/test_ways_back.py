"""Releases that lead back, built by `kitsune release`, and what a release was linked from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kitsune_tool import ingredients
from kitsune_tool.linked import Recipe

MANIFEST = """\
kitsune: 1
program: bell
versions:
  - version: "1.0"
    source: v1
  - version: "2.0"
    source: v2
    rules:
      - rename: "main.c/rung -> main.c/rings"
    back: true
"""
MAIN = """\
#include <kitsune.h>
int other(void);
static int NAME;
static int (*hook)(void) = other;
int main(void)
{
    kitsune_do_automigrate();
    while (hook() + NAME)
        kitsune_update("main");
    return 0;
}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make both versions' objects; those of the first are linked from every kind of input."""
    (tmp_path / "kitsune.yaml").write_text(MANIFEST)
    for version, name in (("v1", "rung"), ("v2", "rings")):
        (tmp_path / version / "lib").mkdir(parents=True)
        (tmp_path / version / "main.c").write_text(MAIN.replace("NAME", name))
        (tmp_path / version / "other.c").write_text(
            "int more(void);\nint other(void) { return more(); }\n"
        )
        (tmp_path / version / "more.c").write_text(
            "#include <math.h>\nint more(void) { return (int) floor(1.5); }\n"
        )
        for unit in ("main", "other", "more"):
            sh(tmp_path / version, f"kitsune-cc gcc -O1 -fPIC -fno-builtin -c {unit}.c")
        sh(tmp_path, f"cd {version}; ar rcsT lib/libother.a other.o; ar rcs lib/libmore.a more.o")
    (tmp_path / "words").write_text("-Lv1/lib v1/lib/libother.a\n")
    return tmp_path


def sh(place: Path, line: str, *, fails: bool = False) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", line], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


FIRST = "kitsune release --version 1.0 -o a/bell.so --publish --objects v1/main.o @words -lmore -lm"
SECOND = "kitsune release --version 2.0 -o b/bell.so --publish --objects v2/*.o -lm"


def test_the_way_back_needs_nothing_of_the_earlier_build(place: Path) -> None:
    """Objects, thin archives, archives by -l and response files are kept in the store."""
    sh(place, FIRST)
    sh(place, "rm -r v1 a words")
    said = sh(place, SECOND)
    assert "bell 2.0 back to 1.0 released as releases/bell/@back/2.0/1.0/bell.so" in said
    back = place / "releases/bell/@back/2.0/1.0"
    described = json.loads((back / "release.json").read_text())
    later = json.loads((place / "releases/bell/2.0/release.json").read_text())
    own = json.loads((place / "releases/bell/1.0/release.json").read_text())
    assert described["version"] == "1.0"
    assert described["stands_for"] == own["build_id"]
    assert described["parents"] == [{"version": "2.0", "build_id": later["build_id"]}]
    assert "rings" not in sh(place, f"kitsune inspect {back}/bell.so")
    assert "main.c/rung" in (back / "report.txt").read_text()


def test_a_better_way_back_replaces_the_one_in_the_store(place: Path) -> None:
    """The release that runs stays as it is: `back` and its rules may come afterwards."""
    sh(place, FIRST)
    manifest = place / "kitsune.yaml"
    manifest.write_text(MANIFEST.replace("    back: true\n", ""))
    assert "back to" not in sh(place, SECOND)
    store = place / "releases/bell"
    release = (store / "2.0/bell.so").read_bytes()
    manifest.write_text(MANIFEST)
    said = sh(place, SECOND)
    assert "bell 2.0 already released as" in said and "back to 1.0 released as" in said
    back = (store / "@back/2.0/1.0/bell.so").read_bytes()
    assert "back to 1.0 already released as" in sh(place, SECOND)
    rule = '      - transform: "main.c/rings -> main.c/rung"\n        code: $out = $in + 1;\n'
    manifest.write_text(MANIFEST.replace("back: true\n", f"back:\n     rules:\n{rule}"))
    assert "back to 1.0 released as" in sh(place, SECOND)
    assert (store / "@back/2.0/1.0/bell.so").read_bytes() != back
    assert (store / "2.0/bell.so").read_bytes() == release
    assert [path.name for path in (store / "@back/2.0").iterdir()] == ["1.0"]
    manifest.write_text(MANIFEST.replace("    back: true\n", ""))
    sh(place, SECOND)
    assert not (place / "b/back").exists(), "what is not asked for any more is not published again"


def test_the_same_bytes_wherever_it_is_built(place: Path) -> None:
    sh(place, FIRST)
    sh(place, SECOND)
    once = (place / "b/back/1.0/bell.so").read_bytes()
    sh(place, "rm -r b")
    sh(place, SECOND.replace("--publish ", ""))
    assert (place / "b/back/1.0/bell.so").read_bytes() == once


def test_what_is_kept_can_be_linked_again(tmp_path: Path) -> None:
    """Paths in options stay, libraries of the system stay names, equal names do not clash."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.o").write_bytes(b"first")
    (tmp_path / "a.o").write_bytes(b"second")
    (tmp_path / "libx.so.1").write_bytes(b"shared")
    inputs = ("one/a.o", "a.o", "-lm", "-L", "one", "libx.so.1", "-Wl,-z,now")
    data = ingredients.pack(Recipe(tmp_path, ("gcc", "-Iinclude"), inputs), "ar")
    assert data == ingredients.pack(Recipe(tmp_path, ("gcc", "-Iinclude"), inputs), "ar")
    (tmp_path / ingredients.NAME).write_bytes(data)
    found = ingredients.unpack(tmp_path / ingredients.NAME, tmp_path / "new", Path("/build"))
    assert (found.directory, found.compiler) == (Path("/build"), ("gcc", "-Iinclude"))
    assert [Path(word).read_bytes() for word in found.inputs[:2]] == [b"first", b"second"]
    assert found.inputs[2:] == inputs[2:]


@pytest.mark.parametrize("damage", [b"", b"not zipped", b"cut"])
def test_damage_is_noticed(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / ingredients.NAME
    (tmp_path / "a.o").write_bytes(os.urandom(5000))
    data = ingredients.pack(Recipe(tmp_path, ("gcc",), ("a.o",)), "ar")
    path.write_bytes(data[:2000] if damage == b"cut" else damage)
    with pytest.raises(ingredients.Unusable, match="damaged is"):
        ingredients.unpack(path, tmp_path / "new", tmp_path)
