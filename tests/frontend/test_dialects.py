"""C11, C23 and GNU C in every construct that compilers take: none loses a variable.

Each file in dialects/ goes through the look-alike with each compiler that takes it by itself; what
the object says must have exactly the variables that its first line names. What no compiler here
takes yet is read as text.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from kitsune_tool import objects
from kitsune_tool.frontend import FrontendConfig, process
from kitsune_tool.model import Unit

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


FOLDER = Path(__file__).parent / "dialects"
HEAD = re.compile(r"/\* (\w+): (.*) \*/\n")


@dataclass(frozen=True, slots=True)
class Sample:
    """A unit, its standard, and the keys of its variables; `~` stands for the unit's file."""

    path: Path
    text: str
    standard: str
    keys: str

    @classmethod
    def read(cls, path: Path) -> Sample:
        text = path.read_text()
        head = HEAD.match(text)
        assert head is not None
        return cls(path, text, head[1], head[2])

    def expected(self) -> list[str]:
        return [key.replace("~", f"{self.path.name}/") for key in self.keys.split()]


SAMPLES = [Sample.read(path) for path in sorted(FOLDER.glob("*.c"))]
STANDARDS = sorted({sample.standard for sample in SAMPLES})


def keys(unit: Unit) -> list[str]:
    return [variable.key for variable in unit.variables]


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("standard", STANDARDS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_nothing_is_lost(compiler: str, standard: str, level: str, tmp_path: Path) -> None:
    """All samples of a standard in one command, as long as the compiler takes them by itself."""
    options = [f"-std={standard}", "-w", "-fPIC", level]
    accepted = []
    for sample in SAMPLES:
        plain = [compiler, *options, "-fsyntax-only", str(sample.path)]
        if sample.standard == standard and succeeds(plain, tmp_path):
            shutil.copy(sample.path, tmp_path)
            accepted.append(sample)
    assert accepted
    sources = [sample.path.name for sample in accepted]
    command = [sys.executable, "-m", "kitsune_tool.cc", compiler, *options, "-c", *sources]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for sample in accepted:
        (unit,) = objects.read_units(tmp_path / sample.path.with_suffix(".o").name)
        assert keys(unit) == sample.expected()


def succeeds(command: list[str], place: Path) -> bool:
    return subprocess.run(command, cwd=place, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.path.stem)
def test_the_text_alone_is_understood(sample: Sample, tmp_path: Path) -> None:
    if "\n#" in sample.text:
        pytest.skip("needs a preprocessor")
    text = f'# 1 "{sample.path.name}"\n{sample.text}'
    config = FrontendConfig(str(tmp_path), directory=str(tmp_path))
    made = process(text, sample.path.name, config)
    assert keys(made.unit) == sample.expected()
    assert made.skipped == ()
