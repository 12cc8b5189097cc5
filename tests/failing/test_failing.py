"""Bad input and the exact message: one folder each.

A folder holds the input, `expected.txt` (what the last command says on standard error) and, unless
it is `kitsune config`, `command`: the lines of shell to run, of which the last fails with the
status in `status`, 1 by default. In `expected.txt`, `⟨any⟩` stands for what other programs say, and
for paths of the machine. KITSUNE_WRITE_GOLDEN=1 writes what is expected if that has no `⟨any⟩`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ANY = "⟨any⟩"
CASES = sorted(path.parent for path in HERE.glob("*/expected.txt"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_message(case: Path, tmp_path: Path) -> None:
    place = tmp_path / case.name
    ignored = shutil.ignore_patterns("expected.txt", "command", "status")
    shutil.copytree(case, place, ignore=ignored)
    done = run_lines(commands(case), place)
    expected = (case / "expected.txt").read_text().rstrip("\n")
    said = done.stderr.rstrip("\n")
    if os.environ.get("KITSUNE_WRITE_GOLDEN") and ANY not in expected:
        (case / "expected.txt").write_text(said + "\n")
        expected = said
    if not matches(expected, said):
        assert said == expected
    status = case / "status"
    assert done.returncode == (int(status.read_text()) if status.exists() else 1)


def matches(expected: str, said: str) -> bool:
    pattern = ".*".join(map(re.escape, expected.split(ANY)))
    return re.fullmatch(pattern, said, re.DOTALL) is not None


def test_only_any_stands_for_anything() -> None:
    assert matches(f"a{ANY}d", "a\nb.c d") and matches("a.b", "a.b")
    assert not matches("a.b", "axb") and not matches(f"a{ANY}", "ba") and not matches("a", "ab")


def commands(case: Path) -> list[str]:
    file = case / "command"
    return file.read_text().splitlines() if file.exists() else ["kitsune config"]


def run_lines(lines: list[str], place: Path) -> "subprocess.CompletedProcess[str]":
    """Run the lines one by one; all but the last must succeed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "SITE_TOOLS": str(ROOT / "site_scons" / "site_tools"),
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
