"""Libtool compiles and links through the look-alike, and its programs have releases."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kitsune_tool import objects

Shell = Callable[..., str]
CC = "kitsune-cc --kitsune-config=settings gcc"

pytestmark = pytest.mark.skipif(shutil.which("libtool") is None, reason="libtool is not installed")


@pytest.fixture
def place(tmp_path: Path, sh: Shell) -> Path:
    files = {
        "kitsune.yaml": 'kitsune: 1\nprogram: step\nversions:\n  - version: "1.0"\n',
        "main.c": "#include <kitsune.h>\n#include <stdio.h>\nint step(void);\nint main(void)\n{\n"
        '    kitsune_update("main");\n    printf("%d\\n", step());\n    return 0;\n}\n',
        "step.c": "static int steps = 6;\nint step(void) { return ++steps; }\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    # as configure would make it, given that compiler
    sh(f"sed 's|^CC=.*|CC=\"{CC}\"|' $(command -v libtool) >libtool; chmod +x libtool")
    sh("kitsune config -o settings")
    return tmp_path


@pytest.mark.parametrize("kind", ["", "-static"])
def test_a_program_with_a_libtool_library(place: Path, sh: Shell, kind: str) -> None:
    """Shared, its program is a script as long as it is not installed, and the library is ours."""
    libtool = "./libtool --quiet --tag=CC"
    sh(f"{libtool} --mode=compile {CC} -O1 -MD -MF step.d -c step.c -o step.lo")
    sh(f"{libtool} --mode=compile {CC} -O1 -c main.c -o main.lo")
    sh(f"{libtool} --mode=link {CC} {kind} -o libstep.la step.lo -rpath /usr/local/lib")
    sh(f"{libtool} --mode=link {CC} {kind} -o step main.lo libstep.la")
    assert sh("./step") == "7\n"
    sh("kitsune release --publish --program step")
    program = objects.read_program(place / "releases/step/1.0/step.so")
    assert [variable.key for variable in program.variables] == ["step.c/steps"]
    assert "libstep" not in sh("readelf -d releases/step/1.0/step.so")
    assert sh("kitsune run releases/step/1.0/step.so 2>&1") == "7\n"
