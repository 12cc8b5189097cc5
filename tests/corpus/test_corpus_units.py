"""Every unit of real programs goes through the look-alike, none is skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from kitsune_tool import objects, preprocess, toolchain
from kitsune_tool.frontend import FrontendConfig, process
from kitsune_tool.model import Unit

OTHERS = ["ngircd-28", "redis-7.0.15", "lighttpd-1.4.79", "nginx-1.22.1"]


def check_records(program: Any) -> None:
    """Check that each object which the build made says what is in it."""
    for captured_unit in program.units:
        (unit,) = objects.read_units(captured_unit.object)
        assert Path(unit.source).name == Path(captured_unit.source.path).name
        assert all(v.size_bytes > 0 for v in unit.variables if v.storage != "local_static")


def check_variables(program: Any, where: Path) -> None:
    """Compare the registered variables with all that the compiler makes when it drops nothing."""
    for captured_unit in program.units:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(captured_unit.directory)
            unit, ours, theirs = registered_and_made(captured_unit, program.root, where)
        assert ours == theirs, str(captured_unit)
        assert len(ours) == len(unit.variables)


def registered_and_made(
    captured_unit: Any, root: Path, where: Path
) -> tuple[Unit, list[str], list[str]]:
    command = captured_unit.command
    text = preprocess.preprocess(command, captured_unit.source, None).text
    made = process(text, captured_unit.source.path, FrontendConfig(str(root)))
    assert made.skipped == ()
    plain = where / "plain.o"
    options = [o for o in toolchain.compiling_options(command) if not o.startswith(("-O", "-g"))]
    flags = ["-w", "-O0", "-fkeep-static-consts", "-x", "cpp-output", "-c", "-o", str(plain), "-"]
    done = toolchain.run([*command.compiler, *options, *flags], stdin=text.encode("latin-1"))
    assert done.status == 0, done.stderr.decode()
    ours = sorted(variable.name for variable in made.unit.variables)
    return made.unit, ours, sorted(variables(plain))


def variables(path: Path) -> Iterator[str]:
    """Yield the names of the variables that an object defines, as in its source."""
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        for symbol in table.iter_symbols():
            is_variable = symbol["st_info"]["type"] in ("STT_OBJECT", "STT_TLS")
            name = symbol.name.partition(".")[0]
            if is_variable and symbol["st_shndx"] != "SHN_UNDEF" and name not in COMPILERS_OWN:
                yield name


COMPILERS_OWN = {"__func__", "__FUNCTION__", "__PRETTY_FUNCTION__"}


@pytest.mark.fetch
def test_units_of_ngircd(captured: Callable[[str], Any], tmp_path: Path) -> None:
    program = captured("ngircd-27")
    check_records(program)
    check_variables(program, tmp_path)


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_units_of_other_programs(captured: Callable[[str], Any], name: str, tmp_path: Path) -> None:
    program = captured(name)
    check_records(program)
    check_variables(program, tmp_path)
