"""What SCons builds, and that it builds again exactly what it must."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scons_project import ROOT, Project

from kitsune_tool import objects

OBJECTS_1 = {"CC build/kitsune/counter/1.0/objects/" + name for name in ("main.c.o", "counter.c.o")}
OBJECTS_2 = {"CC build/kitsune/counter/2.0/objects/" + name for name in ("main.c.o", "counter.c.o")}
LINK_1 = "LINK build/kitsune/counter/1.0/counter.so"
LINK_2 = "LINK build/kitsune/counter/2.0/counter.so"


def built(lines: list[str]) -> set[str]:
    """Return what was compiled, linked and published for releases."""
    return {line for line in lines if line.startswith(("CC ", "LINK ", "PUBLISH "))}


def test_a_dry_run_writes_nothing(project: Project) -> None:
    before = project.files()
    assert project.scons("-n", "release-chain", "build").ok().done
    assert project.files() == before


def test_a_parallel_build_builds_and_a_second_does_nothing(project: Project) -> None:
    project.scons("-j2", "build", "release-chain").ok()
    plain = subprocess.run([project.place / "build/counter"], capture_output=True, check=True)
    assert plain.stdout == b"2\n4\n6\n"
    files = project.files()
    assert built(project.scons("-j2", "build", "release-chain").ok().done) == set()
    assert project.files().keys() == files.keys()


def test_by_default_nothing_is_released_and_history_is_not_compiled(project: Project) -> None:
    done = built(project.scons().ok().done)
    assert done == OBJECTS_2 | {"LINK build/kitsune/counter/2.0/unchained/counter.so"}
    assert not (project.place / "releases").exists()
    assert (project.place / "build/counter.so").exists()


def test_the_chain_from_nothing_is_in_the_store(project: Project) -> None:
    project.scons("release-chain").ok()
    for version in ("1.0", "2.0"):
        names = {path.name for path in project.store(version).iterdir()}
        reports = {"report.txt", "report.json", "report.html"}
        assert names == {"counter.so", "release.json", "linked-from.tar.gz", *reports}
    described = json.loads((project.store("2.0") / "release.json").read_text())
    first = objects.build_id(project.store("1.0") / "counter.so").hex()
    assert described["parents"] == [{"version": "1.0", "build_id": first}]
    assert objects.read_identity(project.store("2.0") / "counter.so") is not None


def test_the_program_is_the_release_once_its_parents_are_there(released: Project) -> None:
    released.scons().ok()
    made = (released.place / "build/counter.so").read_bytes()
    assert made == (released.store("2.0") / "counter.so").read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        pytest.param("kitsune.yaml", "kitsune: 1", "# a\nkitsune: 1", set(), id="comment"),
        pytest.param("v2/main.c", "i < 3", "i < 4", {"main.c", "link"}, id="source"),
        pytest.param("v2/main.c", "{\n", "{ /* */\n", {"main.c"}, id="source_comment"),
        pytest.param(
            "v2/counter.h", "STEP 2", "STEP 3", {"main.c", "counter.c", "link"}, id="header"
        ),
        pytest.param("kitsune.yaml", "$out = 1", "$out = 2", {"link"}, id="rule"),
        pytest.param(
            "kitsune.yaml",
            "    rules:",
            "    annotations:\n      counter.c/counter: auto\n    rules:",
            {"link"},
            id="annotation",
        ),
        pytest.param(
            "kitsune.yaml",
            "    rules:",
            "    edits:\n      - {insert: STEP;, function: main, at: start}\n    rules:",
            {"main.c", "counter.c", "link"},
            id="edit",
        ),
        pytest.param("SConstruct", "-O1", "-O2", {"main.c", "counter.c", "link"}, id="flag"),
    ],
)
def test_an_edited_input_builds_again_exactly_what_it_must(
    released: Project, file: str, old: str, new: str, expected: set[str]
) -> None:
    target = "build/kitsune/counter/2.0/counter.so"
    released.replace(file, old, new)
    done = built(released.scons(target).ok().done)
    names = {f"CC build/kitsune/counter/2.0/objects/{name}.o" for name in expected - {"link"}}
    assert done == names | ({LINK_2} if "link" in expected else set())
    assert built(released.scons(target).ok().done) == set()


@pytest.fixture
def tool_copy(project: Project, tmp_path: Path) -> Path:
    """Copy the tool, so that the project uses a copy which a test may change."""
    copy = tmp_path / "tool"
    for name in ("kitsune_tool", "runtime", "templates"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    project.replace(
        "SConstruct", "env = Environment(", "import os\nenv = Environment(ENV=os.environ,"
    )
    return copy


@pytest.mark.parametrize(
    ("file", "compiles", "links"),
    [
        ("templates/*.j2", False, True),
        ("kitsune_tool/plan.py", False, True),
        ("kitsune_tool/scan.py", True, True),
        ("runtime/src/release.c", False, True),
        ("runtime/include/kitsune.h", True, True),
    ],
)
def test_an_edited_file_of_the_tool_builds_again_what_it_made(
    project: Project, tool_copy: Path, file: str, compiles: bool, links: bool
) -> None:
    target = "build/kitsune/counter/1.0/counter.so"
    variables = {"PYTHONPATH": str(tool_copy), "XDG_CACHE_HOME": str(tool_copy / "cache")}
    project.scons(target, **variables).ok()
    path = next(tool_copy.glob(file))
    comment = {".py": "\n# x\n", ".j2": "{# x #}", ".c": "\n/* x */\n", ".h": "\n/* x */\n"}
    path.write_text(path.read_text() + comment[path.suffix])
    done = built(project.scons(target, **variables).ok().done)
    assert bool(done & OBJECTS_1) == compiles
    assert (LINK_1 in done) == links


def test_modules_of_the_project_do_not_hide_those_of_the_tool(project: Project) -> None:
    for module in ("json", "zlib", "jinja2", "pycparser"):
        project.write(f"{module}.py", "raise ImportError('a file of the project')\n")
    project.scons("build/kitsune/counter/1.0/counter.so", "build/counter").ok()


def test_cleaning_leaves_the_tree_as_found_and_the_store_alone(project: Project) -> None:
    before = project.files()
    project.scons("build", "release-chain").ok()
    released = {name: data for name, data in project.files().items() if "releases/" in name}
    assert len(released) == 12
    project.scons("-c").ok()
    assert project.files() == before | released


def test_a_release_is_the_same_in_another_place(
    tmp_path: Path, make_project: Callable[[Path], Project]
) -> None:
    """Nothing of the place, the time or the order of hashing gets into a release."""
    stores = []
    for name, seed in (("a", "1"), ("some/other place", "2")):
        project = make_project(tmp_path / name)
        project.replace("SConstruct", '"-O1"', '"-O1", "-g"')
        project.scons("release-chain", PYTHONHASHSEED=seed).ok()
        stores.append([(project.store(v) / "counter.so").read_bytes() for v in ("1.0", "2.0")])
    assert stores[0] == stores[1]


def test_objects_come_back_whole_from_a_cache(project: Project, tmp_path: Path) -> None:
    project.replace("SConstruct", "env.Tool", f'CacheDir("{tmp_path / "cache"}")\nenv.Tool')
    project.scons("release-chain").ok()
    project.scons("-c").ok()
    shutil.rmtree(project.place / "releases")
    (project.place / ".sconsign.dblite").unlink()
    again = project.scons("release-chain").ok()
    assert built(again.done) == {"PUBLISH 1.0", "PUBLISH 2.0"}
    assert any("Retrieved" in line for line in again.done)
    assert (project.store("2.0") / "report.txt").exists()


def test_the_compilation_database_has_each_unit(project: Project) -> None:
    project.replace(
        "SConstruct",
        'env.Tool("kitsune")',
        'env.Tool("compilation_db")\nenv.CompilationDatabase("compile_commands.json")\n'
        'env.Tool("kitsune")',
    )
    project.scons("compile_commands.json").ok()
    entries = json.loads((project.place / "compile_commands.json").read_text())
    ours = [entry for entry in entries if "kitsune_tool.cc" in entry["command"]]
    sources = {"v1/main.c", "v1/counter.c", "v2/main.c", "v2/counter.c"}
    assert {entry["file"] for entry in ours} == sources


def test_loading_the_tool_twice_changes_nothing(released: Project) -> None:
    twice = 'env.Tool("kitsune")\nenv.Tool("kitsune")'
    released.replace("SConstruct", 'env.Tool("kitsune")', twice)
    assert built(released.scons("release-chain").ok().done) == set()


def test_the_callers_environment_stays_as_it_was(project: Project) -> None:
    project.write(
        "SConstruct",
        project.files()["SConstruct"].decode() + 'env.SharedObject("own", "v1/counter.c")\n',
    )
    done = project.scons("own.os").ok().done
    assert len(done) == 1
    assert "kitsune" not in done[0]


def test_keys_are_relative_to_the_source_root_in_a_variant_directory(project: Project) -> None:
    script = project.files()["SConstruct"].decode()
    project.write("SConscript", script.replace('"build/counter"', '"counter"'))
    project.write("SConstruct", 'SConscript("SConscript", variant_dir="out")\n')
    project.scons("release-chain").ok()
    program = objects.read_program(project.store("2.0") / "counter.so")
    assert [variable.key for variable in program.variables] == ["counter.c/counter"]
    assert set(program.sources) == {"counter.c", "main.c"}


def test_state_in_a_static_library_of_the_program_is_migrated_with_it(project: Project) -> None:
    project.replace(
        "SConstruct",
        'env.KitsuneProgram("build/counter", env.Glob(f"{newest.source}/*.c"), plain=True)',
        'library = env.KitsuneStaticLibrary("libcounter.a", ["v2/counter.c", "v2/unused.c"])\n'
        'env.KitsuneProgram("build/counter", ["v2/main.c", library], plain=True)',
    )
    project.write("v2/unused.c", "int nobody_asks_for_this;\n")
    project.scons("build", "update-release").ok()
    program = objects.read_program(project.store("2.0") / "counter.so")
    assert [variable.key for variable in program.variables] == ["counter.c/counter"]
    plain = subprocess.run([project.place / "build/counter"], capture_output=True, check=True)
    assert plain.stdout == b"2\n4\n6\n"


def test_a_forced_header_is_a_dependency(project: Project) -> None:
    project.write("forced.h", "#define UNUSED 1\n")
    project.replace("SConstruct", '["-O1"]', '["-O1", "-include", "forced.h"]')
    target = "build/kitsune/counter/1.0/objects/main.c.o"
    project.scons(target).ok()
    assert built(project.scons(target).ok().done) == set()
    project.write("forced.h", "#define UNUSED 2\n")
    assert built(project.scons(target).ok().done) == {f"CC {target}"}


def test_every_header_that_the_compiler_reads_is_a_dependency(project: Project) -> None:
    """The compiler's own list is the oracle; the system's headers are not SCons's business."""
    project.scons("build/kitsune/counter/1.0/objects").ok()
    tree = "\n".join(project.scons("--tree=all", "build/kitsune/counter/1.0/objects").ok().done)
    include = ROOT / "runtime/include"
    for source in ("main.c", "counter.c"):
        listed = subprocess.run(
            ["gcc", "-MM", f"-I{include}", f"v1/{source}"],
            cwd=project.place, capture_output=True, text=True, check=True,
        ).stdout.replace("\\\n", " ").split()[1:]  # fmt: skip
        assert listed
        assert [name for name in listed if Path(name).name not in tree] == []


def test_any_build_tool_can_do_it_with_the_commands_alone(project: Project) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = """
        kitsune config --version 1.0 -o front-end.json
        for name in main counter; do
            kitsune-cc --kitsune-config=front-end.json gcc -O1 -fPIC -c v1/$name.c -o $name.o
        done
        kitsune release --version 1.0 -o out/counter.so --compiler gcc -O1 --objects *.o
        kitsune publish --version 1.0 out/counter.so
    """
    subprocess.run(["sh", "-ec", script], cwd=project.place, env=environment, check=True)
    program = objects.read_program(project.store("1.0") / "counter.so")
    assert [variable.key for variable in program.variables] == ["counter.c/counter"]


def test_a_way_back_is_built_and_put_into_the_store(released: Project) -> None:
    """Also for a version that is in the store already; then nothing is done a second time."""
    released.replace("kitsune.yaml", "code: $out = 1;\n", "code: $out = 1;\n    back: true\n")
    before = released.files()
    done = released.scons("update-release").ok().done
    assert [line for line in done if line.startswith(("LINK", "PUBLISH"))] == [
        "LINK build/kitsune/counter/2.0/counter.so",
        "PUBLISH 2.0",
    ]
    assert "counter 2.0 back to 1.0 released as releases/counter/@back/2.0/1.0/counter.so" in done
    after = released.files()
    unchanged = [name for name in before if name.startswith("releases/")]
    assert all(before[name] == after[name] for name in unchanged)
    assert "build/kitsune/counter/2.0/back/1.0/counter.so" in after
    assert released.scons("update-release").ok().done == ["scons: `update-release' is up to date."]
    released.scons("-c", "update-release").ok()
    assert not [name for name in released.files() if "/back/" in name and "build" in name]
