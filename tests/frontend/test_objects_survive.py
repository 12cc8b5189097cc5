"""What is known of a unit stays in the file, whatever tools do to it."""

import base64
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from kitsune_tool import objects
from kitsune_tool.errors import KitsuneError
from kitsune_tool.model import SCHEMA, Program, Record, Unit

ONE = """\
struct pair { char first; long second; };
static struct pair pair;
static int unused_function(void) { static int inside; return inside++; }
int one(void) { return pair.first; }
"""
TWO = "enum e { A = -3, B = 7 }; enum e two_state; int one(void); int two(void) { return one(); }\n"
MAIN = "int two(void); int main(void) { return two(); }\n"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with one.o, two.o and main.o."""
    where = tmp_path_factory.mktemp("compiled")
    for name, text in (("one", ONE), ("two", TWO), ("main", MAIN)):
        (where / f"{name}.c").write_text(text)
        compiler = [sys.executable, "-m", "kitsune_tool.cc", "gcc", "-O2", "-fPIC"]
        run(where, *compiler, "-ffunction-sections", "-fdata-sections", "-c", f"{name}.c")
    return where


@pytest.fixture
def made(compiled: Path, tmp_path: Path) -> Callable[..., Path]:
    """Run a tool in a directory with one.o, two.o and main.o; return the file that it makes."""
    shutil.copytree(compiled, tmp_path, dirs_exist_ok=True)

    def tool(line: str, result: str) -> Path:
        run(tmp_path, *line.split())
        return tmp_path / result

    return tool


def run(where: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def check_one(unit: Unit) -> None:
    """Check that the unit has all its numbers."""
    assert unit.source == "one.c"
    assert {v.key: v.size_bytes for v in unit.variables} == {
        "one.c/pair": 16,
        "one.c/unused_function#inside": 4,
    }
    (pair,) = (each for each in unit.types if isinstance(each, Record))
    assert (pair.size, pair.align) == (16, 8)
    assert [(f.name, f.offset_bytes, f.size_bytes) for f in pair.fields] == [
        ("first", 0, 1),
        ("second", 8, 8),
    ]


def units(path: Path) -> dict[str, Unit]:
    return {unit.source: unit for unit in objects.read_units(path)}


def test_object(made: Callable[..., Path], tmp_path: Path) -> None:
    (unit,) = objects.read_units(tmp_path / "one.o")
    # a function that nobody calls is dropped, and what only its block could say with it
    kept = [v for v in unit.variables if v.function == ""]
    assert [(v.key, v.size_bytes) for v in kept] == [("one.c/pair", 16)]


def test_static_library(made: Callable[..., Path]) -> None:
    found = units(made("ar rcs liball.a one.o two.o main.o", "liball.a"))
    assert sorted(found) == ["main.c", "one.c", "two.c"]


def test_thin_static_library(made: Callable[..., Path]) -> None:
    found = units(made("ar rcsT libthin.a one.o two.o", "libthin.a"))
    assert sorted(found) == ["one.c", "two.c"]


def test_library_with_long_names_and_strange_members(
    made: Callable[..., Path], tmp_path: Path
) -> None:
    long_name = "a_name_that_is_longer_than_fifteen_characters.o"
    (tmp_path / long_name).write_bytes((tmp_path / "one.o").read_bytes())
    (tmp_path / "odd.txt").write_text("odd")
    found = objects.read_units(made(f"ar rc libx.a {long_name} odd.txt two.o", "libx.a"))
    assert [unit.source for unit in found] == ["one.c", "two.c"]


def test_linked_from_a_static_library(made: Callable[..., Path]) -> None:
    made("ar rcs libpart.a one.o two.o", "libpart.a")
    assert sorted(units(made("gcc main.o libpart.a -o prog", "prog"))) == [
        "main.c", "one.c", "two.c"
    ]  # fmt: skip


def test_relocatable_link(made: Callable[..., Path]) -> None:
    found = units(made("ld -r one.o two.o -o both.o", "both.o"))
    assert sorted(found) == ["one.c", "two.c"]
    again = units(made("ld -r both.o main.o -o all.o", "all.o"))
    assert sorted(again) == ["main.c", "one.c", "two.c"]
    assert {name: again[name] for name in found} == found


def test_section_garbage_collection(made: Callable[..., Path]) -> None:
    found = units(made("gcc -Wl,--gc-sections one.o two.o main.o -o prog", "prog"))
    assert sorted(found) == ["main.c", "one.c", "two.c"]
    assert [t.size for t in found["one.c"].types if isinstance(t, Record)] == [16]


@pytest.mark.parametrize("option", ["", "--strip-debug", "--strip-unneeded", "--strip-all"])
def test_strip(made: Callable[..., Path], option: str) -> None:
    made("gcc -shared one.o two.o main.o -o lib.so", "lib.so")
    before = units(made("cp lib.so before.so", "before.so"))
    assert units(made(f"strip {option} lib.so", "lib.so")) == before
    assert sorted(before) == ["main.c", "one.c", "two.c"]


def test_stripped_object(made: Callable[..., Path], tmp_path: Path) -> None:
    before = units(tmp_path / "one.o")
    assert units(made("strip --strip-debug one.o", "one.o")) == before


def test_symbol_table_survives_garbage_collection(made: Callable[..., Path]) -> None:
    path = made("gcc -shared -Wl,--gc-sections one.o two.o -o lib.so", "lib.so")
    assert b"one.c/pair\0" in path.read_bytes()


def test_link_time_optimisation(made: Callable[..., Path], tmp_path: Path) -> None:
    compiler = [sys.executable, "-m", "kitsune_tool.cc", "gcc", "-O2", "-flto"]
    for name in ("one", "two", "main"):
        run(tmp_path, *compiler, "-c", f"{name}.c", "-o", f"{name}-lto.o")
        assert len(objects.read_units(tmp_path / f"{name}-lto.o")) == 1
    linked = made("gcc -O2 -flto one-lto.o two-lto.o main-lto.o -o prog", "prog")
    assert sorted(units(linked)) == ["main.c", "one.c", "two.c"]


def test_numbers_of_functions_that_are_kept(tmp_path: Path) -> None:
    text = ONE.replace("static int unused_function", "int unused_function")
    (tmp_path / "one.c").write_text(text)
    run(tmp_path, sys.executable, "-m", "kitsune_tool.cc", "gcc", "-O2", "-c", "one.c")
    (unit,) = objects.read_units(tmp_path / "one.o")
    check_one(unit)


def test_file_without_records(tmp_path: Path) -> None:
    (tmp_path / "plain.c").write_text("int x;\n")
    run(tmp_path, "gcc", "-c", "plain.c")
    assert objects.read_units(tmp_path / "plain.o") == ()
    assert objects.read_identity(tmp_path / "plain.o") is None


# ---- releases ------------------------------------------------------------------------------------


def program(made: Callable[..., Path], tmp_path: Path) -> Program:
    unit = units(tmp_path / "one.o")["one.c"]
    return Program(
        "prog", "1.0", unit.types, unit.variables, unit.functions, (), sources=("one.c",),
        type_units=tuple((0,) for _ in unit.types),
    )  # fmt: skip


def test_program_travels_in_a_release(made: Callable[..., Path], tmp_path: Path) -> None:
    carried = program(made, tmp_path)
    (tmp_path / "program.S").write_text(objects.program_assembly(carried))
    made("gcc -c program.S", "program.o")
    link = "gcc -shared -Wl,--build-id=sha1,--gc-sections one.o program.o -o rel.so"
    release = made(link, "rel.so")
    assert objects.read_program(release) == carried
    assert len(objects.build_id(release)) == 20
    assert objects.read_program(made("strip rel.so", "rel.so")) == carried
    notes = subprocess.run(
        ["readelf", "-n", release], capture_output=True, text=True, check=True
    ).stdout
    assert f"Build ID: {objects.build_id(release).hex()}" in notes


def test_big_program(made: Callable[..., Path], tmp_path: Path) -> None:
    carried = program(made, tmp_path)
    names = tuple(f"directory/{number:06}-{number * 7919 % 1000003}.c" for number in range(20000))
    carried = Program("p", "2", (), carried.variables, (), (), sources=names)
    (tmp_path / "program.S").write_text(objects.program_assembly(carried))
    assert objects.read_program(made("gcc -c program.S", "program.o")) == carried


def test_identity(tmp_path: Path) -> None:
    (tmp_path / "identity.c").write_text(
        "#include <kitsune_abi.h>\n"
        '__attribute__((section("kitsune_identity"), used)) const struct kitsune_identity id = {\n'
        '    KITSUNE_MAGIC, 3, sizeof id, "kvd", "2.0", 2, 0, { { 1, 2 }, { 3 } } };\n'
    )
    include = Path(__file__).parents[2] / "runtime" / "include"
    run(tmp_path, "gcc", "-c", f"-I{include}", "identity.c")
    found = objects.read_identity(tmp_path / "identity.o")
    assert found == objects.Identity(
        3, "kvd", "2.0", (bytes([1, 2]) + bytes(18), bytes([3]) + bytes(19))
    )


def test_release_without_build_id(made: Callable[..., Path]) -> None:
    path = made("gcc -shared -Wl,--build-id=none one.o -o none.so", "none.so")
    with pytest.raises(KitsuneError) as caught:
        objects.build_id(path)
    assert caught.value.report() == (
        f"{path}: error[K064]: it has no build-id\nhint: link with -Wl,--build-id"
    )


def test_no_release(made: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(KitsuneError) as caught:
        objects.read_program(tmp_path / "one.o")
    assert caught.value.report() == (
        f"{tmp_path}/one.o: error[K063]: not a release: there is no program in it\n"
        "hint: name the .so that 'kitsune release' or 'scons update-release' made"
    )


# ---- damage --------------------------------------------------------------------------------------


def test_no_damage_is_a_traceback(made: Callable[..., Path], tmp_path: Path) -> None:
    """Every cut and many changed bytes give the units or an error, never anything else."""
    data = made("ar rcs lib.a one.o two.o", "lib.a").read_bytes()
    object_data = (tmp_path / "one.o").read_bytes()
    victim = tmp_path / "victim"
    outcomes = set()
    variants = [object_data[:size] for size in range(0, len(object_data), 97)]
    variants += [data[:size] for size in range(0, len(data), 211)]
    for position in range(0, len(object_data), 61):
        changed = bytearray(object_data)
        changed[position] ^= 0xFF
        variants.append(bytes(changed))
    for variant in variants:
        victim.write_bytes(variant)
        try:
            objects.read_units(victim)
            objects.read_identity(victim)
            outcomes.add("read")
        except KitsuneError as error:
            assert str(error.at or error.message).startswith((str(victim), "cannot read"))
            outcomes.add(error.code)
    assert outcomes <= {"read", "K061", "K062"}
    assert "K061" in outcomes


def test_record_of_another_version_of_the_tool(tmp_path: Path) -> None:
    body = base64.b64encode(zlib.compress(json.dumps([99, "Unit", []]).encode())).decode()
    text = f'.section .kitsune,"",%progbits\n.ascii "KITSUNE1 ab {len(body)}\\n{body}\\n"\n'
    (tmp_path / "future.s").write_text(text)
    run(tmp_path, "gcc", "-c", "future.s")
    with pytest.raises(KitsuneError) as caught:
        objects.read_units(tmp_path / "future.o")
    assert caught.value.report() == (
        f"{tmp_path}/future.o: error[K062]: what it says of the program cannot be read: a record"
        f" cannot be read: schema 99 is not {SCHEMA}\n"
        "hint: build it again with this version of kitsune"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "error[K061]: not an object file that can be read: it does not begin as one"),
        (b"#!/bin/sh\n",
         "error[K061]: not an object file that can be read: it does not begin as one"),
        (b"\x7fELF\x01\x01" + bytes(100),
         "error[K061]: not an object file that can be read: it is of another word size or byte"
         " order, or cut off"),
        (b"!<arch>\nnonsense" + bytes(80),
         "error[K061]: not an object file that can be read: a member's header in the archive is"
         " damaged"),
    ],
)  # fmt: skip
def test_what_is_no_object(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(KitsuneError) as caught:
        objects.read_units(path)
    assert caught.value.report() == (
        f"{path}: {message}\nhint: build it again; objects must be ELF, 64-bit and little-endian"
    )


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KitsuneError) as caught:
        objects.read_units(tmp_path / "nosuch.o")
    assert caught.value.report() == (
        f"{tmp_path}/nosuch.o: error[K060]: cannot read it: No such file or directory"
    )
