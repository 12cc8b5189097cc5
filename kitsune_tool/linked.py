"""What a release of a program is linked from, as the program that the build has linked tells.

In: a program linked by kitsune-cc. Out: its `Recipe`. cli.py calls it for `release --program`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kitsune_tool import elf, objects, recipe, shared, toolchain
from kitsune_tool.elf import ElfFile
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.toolchain import Command

_OBJECTS = frozenset({".o", ".a", ".obj", ".lo"})
_ELF_MAGIC = b"\x7fELF"
_OF_EXECUTABLES = re.compile(
    r"-(pie|no-pie|static-pie|nopie|rdynamic|c|v|###|-verbose|MD|MMD|MP)$"
    r"|-f(no-)?(pie|PIE|pic|PIC)$|-save-temps|-Wl,(-pie|--pie|-no-pie|--no-pie)$"
    r"|-Wl,(-Map|--dependency-file)[=,]|-shared$|-Wl,(-soname|-h|--version-script|--no-undefined)\b"
)
"""What says that the output is an executable or library of its own, or names a further output:
nothing for a release."""
_WITH_VALUE = re.compile(r"-Wl,(-soname|-h|-Map|--version-script|--dependency-file)$")
"""Those of it whose value is the next argument, behind another `-Wl,`, as libtool writes it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a release of a program is made from. Relative paths start at `directory`.

    `compiler` is its command with the options of the unit that defines `main`; `inputs` are
    objects, archives and options of the linker, in order.
    """

    directory: Path
    compiler: tuple[str, ...]
    inputs: tuple[str, ...]


def read(path: Path) -> Recipe:
    """Return the recipe of a program that was linked by kitsune-cc.

    Raises K260 if it was not, or in one step with compiling, and K261 if an object is gone.
    """
    directory, command = _link_command(_real_program(path))
    inputs = tuple(_with_own_libraries(command, directory, set()))
    compiler = (*command.compiler, *_options_of_main(path, directory, command))
    return Recipe(directory, compiler, inputs)


def _link_command(program: Path) -> tuple[Path, Command]:
    words = _link_words(program)
    width = int(words[1]) + 2
    return Path(words[0]), toolchain.parse(words[2:width], words[width:])


def _with_own_libraries(command: Command, directory: Path, seen: set[Path]) -> Iterator[str]:
    """Yield what is linked, with what a shared library of the program's own was linked from in its
    place: its code and state are then updated with the program's.
    """
    inputs = list(_release_inputs(command))
    own = shared.own_libraries(inputs, directory)
    for place, word in enumerate(inputs):
        path = own.get(place)
        if path is None:
            yield word
        elif path.resolve() not in seen:
            where, inner = _link_command(path)
            seen.add(path.resolve())
            for each in _with_own_libraries(inner, where, seen):
                inside = not each.startswith("-") and (where / each).is_file()
                yield str(where / each) if inside else each


def _real_program(path: Path) -> Path:
    """Return the program itself where libtool has put a script in its place."""
    hidden = path.parent / ".libs" / path.name
    try:
        is_program = path.read_bytes()[:4] == _ELF_MAGIC
    except OSError as error:
        raise KitsuneError("K060", f"cannot read {path}: {error.strerror}") from error
    return hidden if not is_program and hidden.is_file() else path


def _link_words(path: Path) -> list[str]:
    for file in elf.read_files(path):
        for data in file.contents(recipe.LINK_SECTION):
            for _, words in recipe.read_notes(data):
                return words
    raise KitsuneError(
        "K260",
        "nothing in it says how it was linked",
        at=Location(str(path)),
        hint="link it by kitsune-cc as it compiles it, from objects, and do not strip it;\n"
        "or name what it is linked from behind --objects",
    )


def _release_inputs(command: Command) -> Iterator[str]:
    """Yield the arguments of the link less what makes an executable or library of it."""
    is_value = False
    for option, words in toolchain.options(command):
        was_value, is_value = is_value, _WITH_VALUE.match(words[0]) is not None
        if was_value or is_value or option in ("-o", "--output") or _OF_EXECUTABLES.match(words[0]):
            continue
        yield from words


def _options_of_main(path: Path, directory: Path, command: Command) -> tuple[str, ...]:
    """Return the options that the unit with `main` was compiled with; none if there is no such."""
    for source in command.sources:
        file = directory / source.path
        if not file.is_file():
            raise KitsuneError(
                "K261",
                f"{source.path}, from which it was linked, is not there any more",
                at=Location(str(path)),
                hint="build the program again, and keep its objects until the release is made",
            )
    parts = (part for source in command.sources for part in _objects_in(directory / source.path))
    return next((options for part in parts for options in _options_if_main(part)), ())


def _objects_in(file: Path) -> tuple[ElfFile, ...]:
    is_readable = file.suffix in _OBJECTS and not elf.is_bitcode(file)
    return elf.read_files(file) if is_readable else ()


def _options_if_main(part: ElfFile) -> Iterator[tuple[str, ...]]:
    """Yield the options of the units in an object that define `main`."""
    digests = {
        unit.digest
        for unit in objects.units_of(part)
        if any(each.name == "main" and each.defined for each in unit.functions)
    }
    for data in part.contents(recipe.COMMAND_SECTION):
        for digest, words in recipe.read_notes(data):
            if digest in digests:
                yield tuple(words)
