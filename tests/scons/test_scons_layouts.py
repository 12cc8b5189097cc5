"""Trees of every layout that SCons allows: clones, variants, hierarchies, shared caches."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from scons_project import Project

from kitsune_tool import objects


def built(lines: list[str]) -> set[str]:
    """Return what was compiled and linked for releases."""
    return {line for line in lines if line.startswith(("CC ", "LINK "))}


def test_a_second_clone_of_the_tree_compiles_nothing(
    tmp_path: Path, make_project: Callable[[Path], Project]
) -> None:
    """Nothing of a tree's place is in what a shared cache asks by, nor in what it gives."""
    releases = []
    for name in ("one", "elsewhere/two"):
        project = make_project(tmp_path / name)
        project.replace("SConstruct", "env.Tool", f'CacheDir("{tmp_path / "cache"}")\nenv.Tool')
        project.replace("SConstruct", '"-O1"', '"-O1", "-g"')
        done = project.scons("release-chain").ok().done
        assert bool(built(done)) == (name == "one")
        releases.append([(project.store(v) / "counter.so").read_bytes() for v in ("1.0", "2.0")])
    assert releases[0] == releases[1]


@pytest.mark.parametrize("duplicate", [0, 1])
def test_a_hierarchy_in_a_variant_directory(project: Project, duplicate: int) -> None:
    """Each directory compiles its own with a clone; headers are found where they are."""
    script = project.files()["SConstruct"].decode()
    script = script.partition('env.KitsuneProgram("build/counter"')[0]
    project.write(
        "SConstruct",
        f'{script}Export("env")\n'
        f'SConscript("SConscript", variant_dir="out", duplicate={duplicate})\n',
    )
    project.write(
        "SConscript",
        'Import("env")\nlibrary = SConscript("v2/SConscript")\n'
        'env.KitsuneProgram("counter", ["v2/main.c", library], plain=True)\n',
    )
    project.write(
        "v2/SConscript",
        'Import("env")\nown = env.Clone(CPPPATH=["include"], CPPDEFINES={"EXTRA": 1})\n'
        'own.Tool("kitsune")\nlibrary = own.KitsuneStaticLibrary("libcounter.a", ["counter.c"])\n'
        'Return("library")\n',
    )
    project.write("v2/include/extra.h", "#define MORE EXTRA\n")
    project.replace("v2/counter.c", "STEP;", "STEP + MORE;")
    project.replace(
        "v2/counter.c", '#include "counter.h"', '#include "counter.h"\n#include "extra.h"'
    )
    project.scons("-j8", "out", "release-chain").ok()
    program = objects.read_program(project.store("2.0") / "counter.so")
    assert [variable.key for variable in program.variables] == ["counter.c/counter"]
    assert set(program.sources) == {"counter.c", "main.c"}
    plain = subprocess.run([project.place / "out/counter"], capture_output=True, check=True)
    assert plain.stdout == b"3\n6\n9\n"
    assert built(project.scons("-j8", "out", "release-chain").ok().done) == set()
    project.write("v2/include/extra.h", "#define MORE (EXTRA + 1)\n")
    done = built(project.scons("out").ok().done)
    assert {line for line in done if line.startswith("CC")} == {
        "CC build/kitsune/counter/2.0/objects/counter.c.o"
    }


def test_two_programs_of_one_tree_do_not_meet(project: Project) -> None:
    """Each with a manifest of its own, in one SConstruct."""
    project.write("other/kitsune.yaml", 'kitsune: 1\nprogram: other\nversions:\n  - version: "1"\n')
    shutil.copytree(project.place / "v1", project.place / "other", dirs_exist_ok=True)
    project.write(
        "SConstruct",
        project.files()["SConstruct"].decode()
        + 'both = env.Clone(KITSUNEMANIFEST="other/kitsune.yaml", CCFLAGS=["-O0"])\n'
        'both.KitsuneProgram("build/other", both.Glob("other/*.c"))\n',
    )
    project.scons("-j8", "update-release", "release-chain").ok()
    names = {path.name for path in (project.place / "releases").glob("*")}
    assert names == {"counter"}
    assert (project.place / "other/releases/other/1/other.so").is_file()
    assert (project.place / "releases/counter/2.0/counter.so").is_file()
