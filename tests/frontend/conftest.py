"""Sources taken through the front-end and the compiler, and read back from what came out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from kitsune_tool import layout
from kitsune_tool.extract import annotation_spans
from kitsune_tool.frontend import FrontendConfig, Processed, process
from kitsune_tool.insert import apply
from kitsune_tool.model import Enum, Record, Type, Typedef, Unit, Variable

sys.path.insert(0, str(Path(__file__).parent))

from preprocessed import preprocess

DUMP = r"""
#include <stdio.h>
struct entry {
    const char *key; const void *address; unsigned long long size; unsigned flags, rest;
};
extern const struct entry __start_kitsune_symbols[] __attribute__((weak));
extern const struct entry __stop_kitsune_symbols[] __attribute__((weak));
int main(void)
{
    for (const struct entry *e = __start_kitsune_symbols; e < __stop_kitsune_symbols; e++)
        if (e->key)
            printf("%s\t%lu\t%llu\t%u\n", e->key,
                   (unsigned long)(e->flags & 8 ? ((void *(*)(void))e->address)() : e->address),
                   e->size, e->flags);
    return 0;
}
"""


@dataclass(frozen=True)
class Entry:
    """A line of the symbol table, as a running program sees it."""

    address: int
    size: int
    flags: int


@dataclass(frozen=True)
class Built:
    """A unit that went through the front-end and the compiler."""

    made: Processed
    unit: Unit
    object: Path
    plain: Path
    warnings: str

    def variable(self, key: str) -> Variable:
        return next(v for v in self.unit.variables if v.key == key)

    def record(self, name: str) -> Record:
        """Return the record of a tag or typedef."""
        found = self.named(name)
        assert isinstance(found, Record)
        return found

    def enum(self, name: str) -> Enum:
        found = self.named(name)
        assert isinstance(found, Enum)
        return found

    def named(self, name: str) -> Type:
        for node in self.unit.types:
            if isinstance(node, Record | Enum) and name in {node.tag, node.typedef_name}:
                return node
            if isinstance(node, Typedef) and node.name == name:
                return self.resolve(node.to)
        raise AssertionError(f"no type {name}")

    def resolve(self, index: int) -> Type:
        node = self.unit.types[index]
        while isinstance(node, Typedef):
            node = self.unit.types[node.to]
        return node

    def entries(self) -> dict[str, list[Entry]]:
        """Link the object with a program that prints its symbol table, and run it."""
        dump = self.object.with_name("dump.c")
        dump.write_text(DUMP)
        program = self.object.with_name("dump")
        run("gcc", "-no-pie", dump, self.object, "-o", program)
        found: dict[str, list[Entry]] = {}
        for line in run(program).splitlines():
            key, *numbers = line.split("\t")
            found.setdefault(key, []).append(Entry(*map(int, numbers)))
        return found

    def addresses(self) -> dict[str, list[int]]:
        """Return what nm says of the program that `entries` linked."""
        found: dict[str, list[int]] = {}
        for line in run("nm", self.object.with_name("dump")).splitlines():
            words = line.split()
            if len(words) == 3:
                found.setdefault(words[2].partition(".")[0], []).append(int(words[0], 16))
        return found


def run(*command: object) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def compile_text(text: str, target: Path, *flags: str) -> str:
    """Compile preprocessed text; return the compiler's warnings."""
    command = ["gcc", "-x", "cpp-output", "-c", "-", "-o", str(target), *flags]
    done = subprocess.run(
        command, input=text.encode("latin-1"), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode()


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Built]:
    """Take a source through the front-end and the compiler.

    The text compiled unchanged is beside the object, to compare with.
    """

    def built(source: str, *flags: str, name: str = "unit.c") -> Built:
        path = tmp_path / name
        path.write_text(source)
        text = preprocess(path, *(f for f in flags if f.startswith("-std")))
        made = process(text, name, FrontendConfig(str(tmp_path), directory=str(tmp_path)))
        warned = ("-Wall", "-Wextra", "-Wpedantic", "-fno-diagnostics-show-caret", *flags)
        target, plain = path.with_suffix(".o"), path.with_suffix(".plain.o")
        warnings = compile_text(made.text, target, *warned)
        before = compile_text(process_away(text), plain, *warned)
        assert set(warnings.splitlines()) <= set(before.splitlines())
        with target.open("rb") as file:
            section = ELFFile(file).get_section_by_name(".kitsune.layouts")
            assert section is not None
            numbers = layout.read(section.data())[made.unit.digest]
        return Built(made, layout.filled(made.unit, numbers), target, plain, warnings)

    return built


def process_away(text: str) -> str:
    """Return the text as it is without the front-end: annotations gone."""
    return apply(text, [], annotation_spans(text))
