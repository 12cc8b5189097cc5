"""ngIRCd's scenario, from fetching to the last message; skipped where the source cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_SOURCE = 3


@pytest.mark.fetch
def test_ngircd_becomes_its_next_version() -> None:
    scenario = ROOT / "examples/ngircd/scenario.py"
    done = subprocess.run(
        [sys.executable, scenario], capture_output=True, text=True, timeout=1800, check=False
    )
    if done.returncode == NO_SOURCE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stdout + done.stderr
    for update in ("27 to 28", "27 to 27+fields"):
        assert f"{update}: " in done.stdout
    assert "LOST" not in done.stdout
    assert "struct _Connection" in done.stdout.partition("27 to 27+fields: ")[2]
