"""Generated files, compared with those that were looked at, compiled without a warning, and run.

A folder of `cases/` holds `v1/` and `v2/`, `case.yaml` (rules, annotations, options), `generated/`
(what is expected), and `run.c` with what it prints in `printed.txt`: it calls the transformers on
objects of its own over the small engine of this folder. KITSUNE_WRITE_GOLDEN=1 writes `generated/`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitsune_tool import resources
from kitsune_tool.render import Identity, render_release

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("cases/*/case.yaml"))
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
PARENT = bytes(range(20))


def sources(directory: Path) -> dict[str, str]:
    found = sorted(directory.rglob("*.c"))
    return {str(path.relative_to(directory)): path.read_text() for path in found}


def generate(case: Path, versions: Callable[..., Any]) -> dict[str, str]:
    said = yaml.safe_load((case / "case.yaml").read_text()) or {}
    made = versions(
        sources(case / "v1"),
        sources(case / "v2"),
        said.get("rules", ()),
        said.get("annotations"),
        said.get("preamble", ""),
        said.get("unions"),
        **said.get("options", {}),
    )
    return render_release(made.plan(), Identity("sample", "2", (PARENT,)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_generated(case: Path, versions: Callable[..., Any], tmp_path: Path) -> None:
    files = generate(case, versions)
    if os.environ.get("KITSUNE_WRITE_GOLDEN"):
        shutil.rmtree(case / "generated", ignore_errors=True)
        (case / "generated").mkdir()
        for name, text in files.items():
            (case / "generated" / name).write_text(text)
    expected = {path.name: path.read_text() for path in (case / "generated").iterdir()}
    assert files == expected
    for compiler in COMPILERS:
        assert run(compiler, case, tmp_path) == (case / "printed.txt").read_text()


def run(compiler: str, case: Path, directory: Path) -> str:
    """Compile what was generated, as strictly as it is promised, and run it."""
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{resources.include_dir()}"]
    runtime = resources.runtime_source_dir()
    flags += [f"-I{case / 'generated'}", f"-I{HERE}", f"-I{runtime}"]
    files = [path for path in (case / "generated").glob("*.c") if path.name != "version.c"]
    version = directory / "version.o"
    alone = [compiler, *flags, "-fPIC", "-c", str(case / "generated" / "version.c")]
    subprocess.run([*alone, "-o", str(version)], check=True, timeout=60)
    program = directory / "program"
    everything = [*map(str, sorted(files)), str(case / "run.c"), str(HERE / "engine.c")]
    everything += [str(runtime / "closures.c")]
    command = [compiler, *flags, *everything, "-o", str(program)]
    subprocess.run(command, check=True, timeout=60)
    return subprocess.run([program], check=True, capture_output=True, text=True, timeout=10).stdout


SCRIPT = """
import sys
from pathlib import Path
from kitsune_tool import objects, plan, program, render, rules
old, new = (program.merge(objects.read_units(Path(p)), "sample", v)
            for p, v in zip(sys.argv[1:3], "12"))
files = render.render_release(plan.make_plan(old, new, rules.RuleSet()), render.Identity("s", "2"))
print("".join(name + text for name, text in files.items()))
"""


def test_the_same_bytes_whatever_the_hash_seed(versions: Callable[..., Any]) -> None:
    text = (HERE / "cases" / "nothing_changed" / "v1" / "main.c").read_text()
    made = versions(text, text)
    objects = [str(made.directory / version / "main.c.o") for version in ("old", "new")]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, *objects],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "77")
    }
    assert len(outputs) == 1
