"""Versions given as git revisions: checked out once, exactly, and refused where they are not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kitsune_tool import objects

Shell = Callable[..., str]
MANIFEST = """\
kitsune: 1
program: count
versions:
  - version: "1.0"
    source: {git: v1.0, path: src}
  - version: "2.0"
    source: src
    rules:
      - init: step
        code: $out = 1;
"""
MAIN = """\
#include <kitsune.h>
#include "../include/unit.h"
int count;
int main(void)
{
    kitsune_do_automigrate();
    kitsune_update("main");
    return count += UNIT;
}
"""
SCONSTRUCT = """\
import kitsune_tool.scons
env = Environment(tools=["default", kitsune_tool.scons.generate])
*older, newest = env.KitsuneVersions()
for version in older:
    env.KitsuneRelease(version, env.Glob(f"{version.source}/*.c"))
env.KitsuneProgram("build/count", env.Glob(f"{newest.source}/*.c"))
"""
GIT = "git -c user.name=x -c user.email=x@x -c init.defaultBranch=main"


@pytest.fixture
def place(tmp_path: Path, sh: Shell) -> Path:
    """Make a repository with a tag for 1.0, and 2.0 in its working tree."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    files = {
        "kitsune.yaml": MANIFEST,
        "SConstruct": SCONSTRUCT,
        "src/main.c": MAIN,
        "include/unit.h": "#define UNIT 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    sh(f"{GIT} init -q .; git add .; {GIT} commit -qm one; git tag v1.0")
    (tmp_path / "src/main.c").write_text(MAIN.replace("int count;", "int count;\nint step;"))
    (tmp_path / "include/unit.h").write_text("#define UNIT step\n")
    sh(f"git add .; {GIT} commit -qm two")
    return tmp_path


def test_scons_builds_the_chain_from_one_tree(place: Path, sh: Shell) -> None:
    sh("scons -Q release-chain")
    for version, names in (("1.0", ["count"]), ("2.0", ["count", "step"])):
        program = objects.read_program(place / f"releases/count/{version}/count.so")
        assert [variable.key for variable in program.variables] == names
        assert set(program.sources) == {"main.c"}
    assert "up to date" in sh("scons -Q release-chain")
    assert sh("git status --porcelain -- .kitsune") == ""


def test_the_commands_alone_build_an_old_version(place: Path, sh: Shell) -> None:
    assert sh("kitsune source --version 1.0") == ".kitsune/sources/1.0/src\n"
    assert (place / ".kitsune/sources/1.0/include/unit.h").read_text() == "#define UNIT 1\n"
    sh("kitsune config --version 1.0 -o settings; source=$(kitsune source --version 1.0);"
       "kitsune-cc --kitsune-config=settings gcc -c $source/main.c;"
       "kitsune release --version 1.0 -o o/count.so --objects main.o")  # fmt: skip
    assert set(objects.read_program(place / "o/count.so").sources) == {"main.c"}


def test_the_manifest_may_lie_below_the_top(place: Path, sh: Shell) -> None:
    sh(f"git checkout -q v1.0; mkdir sub; git mv kitsune.yaml src sub; git tag -d v1.0 >/dev/null;"
       f"{GIT} commit -qm moved; git tag v1.0")  # fmt: skip
    assert sh("cd sub; kitsune source --version 1.0") == ".kitsune/sources/1.0/sub/src\n"
    assert (place / "sub/.kitsune/sources/1.0/sub/src/main.c").is_file()


def test_a_tag_that_moves_is_checked_out_again(place: Path, sh: Shell) -> None:
    sh("kitsune source --version 1.0; git tag -f v1.0 HEAD >/dev/null")
    sh("kitsune source --version 1.0")
    assert "int step;" in (place / ".kitsune/sources/1.0/src/main.c").read_text()
    assert sh("ls .kitsune/sources") == "1.0\n1.0.index\n1.0.revision\n"


def test_the_repository_itself_is_left_alone(place: Path, sh: Shell) -> None:
    sh("echo staged >>include/unit.h; git add include; echo more >>include/unit.h")
    before = sh("git status --porcelain; git rev-parse HEAD; git diff")
    sh("kitsune source --version 1.0")
    assert sh("git status --porcelain; git rev-parse HEAD; git diff") == before


@pytest.mark.parametrize(
    "change", ["echo >>$d/src/main.c", "touch $d/src/new.c", "rm $d/include/unit.h"]
)
def test_a_checkout_that_was_changed_is_refused(place: Path, sh: Shell, change: str) -> None:
    sh("kitsune source --version 1.0")
    said = sh(f"d=.kitsune/sources/1.0; {change}; kitsune source --version 1.0", status=1)
    assert said.startswith("kitsune.yaml:5:19: error[K271]: .kitsune/sources/1.0/")
    assert "hint: remove .kitsune/sources/1.0: it is checked out again" in said
    assert sh("rm -r .kitsune/sources/1.0; kitsune source --version 1.0 2>&1").endswith("/src\n")


def test_work_that_is_in_no_revision_is_not_taken_for_the_branch(place: Path, sh: Shell) -> None:
    for name in ("HEAD", "main"):
        (place / "kitsune.yaml").write_text(MANIFEST.replace("v1.0", name))
        sh("kitsune source --version 1.0", status=1)
        sh(f"git add .; {GIT} commit -qm more; kitsune source --version 1.0")
        assert "#define UNIT step" in (place / ".kitsune/sources/1.0/include/unit.h").read_text()


@pytest.mark.parametrize("name", ["v1.1", "--all", "v1.0:src", "''", "'@{u}'"])
def test_an_unknown_revision_is_named_with_its_place(place: Path, sh: Shell, name: str) -> None:
    (place / "kitsune.yaml").write_text(MANIFEST.replace("v1.0", name))
    said = sh("kitsune source --version 1.0", status=1)
    assert said.startswith("kitsune.yaml:5:19: error[K270]: "), said
    said = sh("scons -Q", status=2)
    assert "kitsune.yaml:5:19: error[K270]: " in said


def test_a_directory_that_the_revision_lacks(place: Path, sh: Shell) -> None:
    (place / "kitsune.yaml").write_text(MANIFEST.replace("path: src", "path: lib"))
    said = sh("kitsune source --version 1.0", status=1)
    assert "error[K270]: revision 'v1.0' has no directory lib" in said
    (place / "kitsune.yaml").write_text(MANIFEST.replace("path: src", "path: ../../up"))
    assert "error[K205]" in sh("kitsune source --version 1.0", status=1)


def test_only_what_is_asked_for_is_looked_at(place: Path, sh: Shell) -> None:
    """In a shallow clone old revisions are missing; the newest release needs none of them."""
    (place / "kitsune.yaml").write_text(MANIFEST.replace("v1.0", "gone"))
    assert sh("kitsune source") == "src\n"
