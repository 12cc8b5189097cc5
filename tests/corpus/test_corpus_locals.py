"""Real programs compile with the locals of all functions noted, and with no other warnings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import preprocess, toolchain
from kitsune_tool.extract import annotation_spans
from kitsune_tool.frontend import FrontendConfig, process
from kitsune_tool.insert import apply
from kitsune_tool.switches import Settings, Switches

EVERYWHERE = Switches(Settings(note_locals=True))
BY_FLOW = re.compile(
    r"uninitialized|unused-but-set|clobbered|format-truncation|format-overflow|stringop|array-bounds"
    r"|restrict|null-dereference|dangling-pointer"
)
"""Warnings that follow a value through the code: it is lost where an address is known, or found."""


def warnings_of(unit: Any, text: str, target: Path) -> list[str]:
    """Compile preprocessed text as the unit is compiled; return the warnings with their lines."""
    options = [o for o in toolchain.compiling_options(unit.command) if not o.startswith("-W")]
    flags = ["-Wall", "-Wextra", "-fno-diagnostics-show-caret", "-x", "cpp-output", "-c"]
    command = [*unit.command.compiler, *options, *flags, "-o", str(target), "-"]
    done = toolchain.run(command, stdin=text.encode("latin-1"))
    said = done.stderr.decode(errors="replace")
    assert done.status == 0, said[-2000:]
    found = re.findall(r"^(\S+?:\d+):\d+: (warning: .*)$", said, re.MULTILINE)
    return sorted(f"{at} {what}" for at, what in found if not BY_FLOW.search(what))


def check_locals(program: Any, directory: Path) -> int:
    """Compile all units of a program both ways; return how many locals were noted."""
    count = 0
    for unit in program.units:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(unit.directory)
            text = preprocess.preprocess(unit.command, unit.source, None).text
            config = FrontendConfig(str(program.root), switches=EVERYWHERE)
            made = process(text, unit.source.path, config)
            assert made.skipped == ()
            noted = warnings_of(unit, made.text, directory / "noted.o")
            plain = warnings_of(
                unit, apply(text, [], annotation_spans(text)), directory / "plain.o"
            )
            assert noted == plain, str(unit)
            count += sum(variable.is_local for variable in made.unit.variables)
    return count


@pytest.mark.fetch
@pytest.mark.slow
def test_all_locals_noted(captured: Callable[[str], Any], tmp_path: Path) -> None:
    assert check_locals(captured("ngircd-27"), tmp_path) >= 500
