"""The shipped example's demo, with fewer keys: what a reader runs first must not rot."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_demo_updates_goes_back_and_refuses_what_is_broken() -> None:
    demo = ROOT / "examples/kvd/demo.py"
    options = ["--keys", "5000", "--clients", "2", "--seconds", "0.5"]
    done = subprocess.run(
        [sys.executable, demo, *options], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^2\.0 +updated +\d[\d,]+ ", done.stdout, re.M), done.stdout
    assert len(re.findall(r"^[23]\.0 +updated +\d[\d,]+ ", done.stdout, re.M)) == 4
    assert re.search(r"^1\.0 +gone back +\d[\d,]+ ", done.stdout, re.M)
    assert re.search(r"^2\.0 +gone back +\d[\d,]+ ", done.stdout, re.M)
    assert re.search(r"^3\.1-crashes +rolled back \(K354\)", done.stdout, re.M)
    assert re.search(r"^3\.1-exits +rolled back \(K357\)", done.stdout, re.M)
    assert "failed: 0; keys wrong or lost: 0" in done.stdout
    check_self_tests()


def check_self_tests() -> None:
    """Run the self-test of the releases that the demo has built, as docs/testing.md shows it."""
    page = (ROOT / "docs/testing.md").read_text()
    shown = page.partition("```text\n")[2].partition("```")[0].splitlines()
    printed = {}
    for version in ("2.0", "3.0"):
        words = [sys.executable, "-m", "kitsune_tool.cli", "self-test", "--version", version]
        done = subprocess.run(
            [*words, "--seed", "1"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        printed[version] = done.stdout.splitlines()
    assert len(shown) > 5 and set(shown) <= set(printed["2.0"])
    assert not any(line.endswith(("failed", "not run")) for line in printed["3.0"][2:-1])
