"""C's own types can be bound in every program, with the sizes that compilers give them."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess

import pytest

from kitsune_tool.basic import add_basic
from kitsune_tool.errors import KitsuneError
from kitsune_tool.model import Pointer, Program, Scalar, Typedef
from kitsune_tool.resolve import Instance, World

EMPTY = Program("p", "1", (), (), (), ())
NAMES = list(add_basic(())[1])
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


@pytest.mark.parametrize(
    "text",
    ["int", "unsigned", "long unsigned", "signed char", "long double", "_Bool", "void", "size_t",
     "typedef uint8_t", "int_fast16_t *", "bool", "__int128", "const char **"],
)  # fmt: skip
def test_binds_without_a_record(text: str) -> None:
    assert World(EMPTY).bind(text) is not None


def test_sizes_are_the_compilers() -> None:
    types, added = add_basic(())
    world = World(dataclasses.replace(EMPTY, types=types))
    sizes = {name: world.size(Instance(at)) for name, at in added.items() if " __" not in name}
    lines = [f'_Static_assert(sizeof({n}) == {s}, "{n}");' for n, s in sizes.items() if s > 0]
    assert len(lines) > 40
    headers = ("stdint.h", "stddef.h", "stdbool.h", "sys/types.h")
    text = "\n".join([*(f"#include <{name}>" for name in headers), *lines])
    for compiler in COMPILERS:
        command = [compiler, "-fsyntax-only", "-x", "c", "-"]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_programs_own_type_of_a_name_is_meant() -> None:
    own = (Scalar("long", "signed", 4, 4), Typedef("size_t", 0), Pointer(1))
    world = World(dataclasses.replace(EMPTY, types=own))
    assert world.bind("size_t") == Instance(1)
    assert world.bind("long") == Instance(0)
    assert not world.is_basic(1)


def test_they_are_no_types_that_rules_could_name() -> None:
    world = World(EMPTY)
    assert world.find("int") is None
    with pytest.raises(KitsuneError, match="did you mean 'uint16_t'"):
        world.bind("u_int16_t")
