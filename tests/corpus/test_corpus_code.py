"""Code compiled through the front-end is the plain compiler's, but for what edits insert.

Compared are functions at -O2: each unit as it is with the registered symbols marked `used`, against
the same unit with its tables. `used` is what the tables mean to the optimiser: somebody else may
look at the variable or call the function.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from kitsune_tool import frontend, toolchain
from kitsune_tool.edits import read_edits
from kitsune_tool.extract import Extracted, extract
from kitsune_tool.frontend import FrontendConfig
from kitsune_tool.insert import Insertion, apply
from kitsune_tool.preprocess import preprocess
from kitsune_tool.scan import scan

Code = tuple[bytes, tuple[tuple[int, int, str], ...]]
"""A function: its bytes with the places of relocations blank, and what those refer to."""

_PATCHED_BYTES = 8
_LAYOUT = ["-fdata-sections", "-ffunction-sections", "-O2", "-g0"]
"""A section for each symbol, so that references are by name and not by offset."""


def compiled(unit: Any, text: str, target: Path) -> dict[str, Code]:
    options = [o for o in toolchain.compiling_options(unit.command) if not re.match("-[Og]", o)]
    step = ["-x", "cpp-output", "-c", "-o", str(target), "-"]
    command = [*unit.command.compiler, *options, "-w", *_LAYOUT, *step]
    done = toolchain.run(command, stdin=text.encode("latin-1"), cwd=str(unit.directory))
    assert done.status == 0, done.stderr.decode()
    return functions(target)


def functions(path: Path) -> dict[str, Code]:
    """Return the functions of an object by name."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        found = {}
        for symbol in table.iter_symbols():
            if symbol["st_info"]["type"] == "STT_FUNC" and isinstance(symbol["st_shndx"], int):
                found[_stable(symbol.name)] = _code(elf, table, symbol)
        return found


def _code(elf: ELFFile, table: Any, symbol: Any) -> Code:
    section = elf.get_section(symbol["st_shndx"])
    start, size = symbol["st_value"], symbol["st_size"]
    body = bytearray(section.data()[start : start + size])
    references = []
    relocations = elf.get_section_by_name(".rela" + section.name)
    assert relocations is None or isinstance(relocations, RelocationSection)
    for relocation in relocations.iter_relocations() if relocations else ():
        offset = relocation["r_offset"] - start
        if 0 <= offset < size:
            width = min(4, size - offset)
            body[offset : offset + width] = bytes(width)
            target = table.get_symbol(relocation["r_info_sym"])
            to = _target(elf, target, relocation["r_addend"])
            references.append((offset, relocation["r_info_type"], to))
    return bytes(body), tuple(references)


def _target(elf: ELFFile, symbol: Any, addend: int) -> str:
    """Return what a reference means: a name with an offset, or the constant itself where constants
    are merged, since what else is in their section differs.
    """
    is_section = symbol["st_info"]["type"] == "STT_SECTION"
    if not is_section and not symbol.name.startswith(".LC"):
        return f"{_stable(symbol.name)}{addend:+}"
    section = elf.get_section(symbol["st_shndx"])
    if not re.match(r"\.rodata.*\.(str|cst)\d", section.name) and is_section:
        return f"{_stable(section.name)}{addend:+}"
    data = section.data()
    at = (
        symbol["st_value"] + addend + 4
    )  # relative to the end of the field, mostly the instruction's
    end = data.find(b"\0", at) if ".str" in section.name else at + _PATCHED_BYTES
    return repr(data[max(at, 0) : end])


def _stable(name: str) -> str:
    """Return a name without the numbers by which the compiler tells local statics apart."""
    return re.sub(r"\.\d+\b", "", name)


def marked_used(extracted: Extracted, text: str) -> str:
    """Return the unit's text with what the tables register marked `used` instead."""
    unit = extracted.unit
    places = []
    for local in extracted.locals:
        if not unit.variables[local.variable].thread_local:
            start = text.rindex("static", 0, local.end) + len("static")
            places.append(Insertion(start, " __attribute__((__used__))"))
    lines = []
    for at, variable in enumerate(unit.variables):
        if variable.storage != "local_static" and at not in extracted.unsized:
            lines.append(_used(variable.name, variable.storage))
    lines += [
        _used(function.name, function.storage)
        for function in unit.functions
        if function.registered and function.defined
    ]
    body = apply(text, places, extracted.blanks)
    return body + '\n# 1 "<used>" 3\n' + "\n".join(lines) + "\n"


def _used(name: str, storage: str) -> str:
    word = "static" if storage == "static" else "extern"
    return f"{word} __typeof__({name}) {name} __attribute__((__used__));"


@dataclass(frozen=True)
class Difference:
    """Functions of a unit whose code is another, and those that an insertion got into."""

    differing: set[str]
    may_differ: set[str]


def compare(unit: Any, root: Path, edits: list[dict[str, Any]], where: Path) -> Difference:
    """Compare the unit's functions with and without its tables (and edits).

    An entry of the table stands right behind each static of a function: in the function's code or,
    if it is inlined, in that of others. Those are the ones that refer to such a static.
    """
    text = preprocess(unit.command, unit.source, None).text
    scanned = scan(text)
    extracted = extract(scanned, "u.c", scanned.locate)
    plain = compiled(unit, marked_used(extracted, text), where / "p.o")
    config = FrontendConfig(str(root), read_edits(edits), str(unit.directory))
    made = frontend.process(text, unit.source.path, config)
    ours = compiled(unit, made.text, where / "o.o")
    tables = {name for name in ours if name.startswith("kitsune__address")}
    assert set(ours) - tables == set(plain)
    statics = {v.name for v in extracted.unit.variables if v.storage == "local_static"}
    return Difference(
        {name for name in plain if plain[name] != ours[name]},
        {name for name in ours if any(refers(to, statics) for _, _, to in ours[name][1])},
    )


def refers(to: str, names: set[str]) -> bool:
    """Tell whether a reference (`.bss.calls-4`) is to one of the variables."""
    return re.sub(r"[+-]\d+$", "", to).rpartition(".")[2] in names


def check_program(program: Any, edits: list[dict[str, Any]], where: Path) -> None:
    """Check that the functions with edits differ, and no others but for statics of functions."""
    edited = {edit["function"].rpartition("/")[2] for edit in edits}
    differing: set[str] = set()
    for unit in program.units:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(unit.directory)
            found = compare(unit, program.root, edits, where)
        names = {name.partition(".")[0] for name in found.differing}
        assert names <= {name.partition(".")[0] for name in found.may_differ} | edited, str(unit)
        differing |= names
    assert edited <= differing


NGIRCD_EDITS: list[dict[str, Any]] = [
    {"update_point": "io", "function": "Conn_Handler", "loop": 1},
    {"insert": "kitsune_do_automigrate();", "function": "main", "at": "start"},
    {"guard": "array_free(&My_ConnArray)", "to": "Pool_Size = 0", "function": "Conn_Exit"},
]
"""In functions that are inlined nowhere."""


@pytest.mark.fetch
def test_code_of_ngircd(captured: Callable[[str], Any], tmp_path: Path) -> None:
    check_program(captured("ngircd-27"), [], tmp_path)


@pytest.mark.fetch
def test_code_of_ngircd_with_edits(captured: Callable[[str], Any], tmp_path: Path) -> None:
    check_program(captured("ngircd-27"), NGIRCD_EDITS, tmp_path)


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ngircd-28", "redis-7.0.15", "lighttpd-1.4.79", "nginx-1.22.1"])
def test_code_of_other_programs(captured: Callable[[str], Any], name: str, tmp_path: Path) -> None:
    check_program(captured(name), [], tmp_path)
