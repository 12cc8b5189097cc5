"""Bad input and the exact message: one folder each.

A folder holds the input, `expected.txt` (what the last command says on standard error) and, unless
it is `kitsune config`, `command`: the lines of shell to run, of which the last fails with status 1.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/expected.txt"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_message(case: Path, tmp_path: Path) -> None:
    place = tmp_path / case.name
    shutil.copytree(case, place, ignore=shutil.ignore_patterns("expected.txt", "command"))
    done = run_lines(commands(case), place)
    assert done.stderr.rstrip("\n") == (case / "expected.txt").read_text().rstrip("\n")
    assert done.returncode == 1


def commands(case: Path) -> list[str]:
    file = case / "command"
    return file.read_text().splitlines() if file.exists() else ["kitsune config"]


def run_lines(lines: list[str], place: Path) -> "subprocess.CompletedProcess[str]":
    """Run the lines one by one; all but the last must succeed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
    done = None
    for index, line in enumerate(lines, 1):
        done = subprocess.run(
            line,
            shell=True,
            check=False,
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert index == len(lines) or done.returncode == 0, done.stderr
    assert done is not None
    return done
