"""Redis's scenario with few keys, from fetching to the last digest; skipped without the source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = Path(__file__).parents[2] / "examples/redis/scenario.py"
NO_SOURCE = 3
BUILD_AND_RUN_S = 3600


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(BUILD_AND_RUN_S)
def test_redis_becomes_its_next_version() -> None:
    pytest.importorskip("redis", reason="the client of Redis is not installed")
    done = subprocess.run(
        [sys.executable, SCENARIO, "--keys", "20000", "--rounds", "3"],
        capture_output=True,
        text=True,
        timeout=BUILD_AND_RUN_S,
        check=False,
    )
    if done.returncode == NO_SOURCE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LOST" not in done.stdout
    for what in ("8.0.2 to 8.0.6", "8.0.6 to 8.0.6+broken, undone", "and back, 3 times"):
        assert what in done.stdout
    assert "digest of a plain server that reads what was saved: as it must be" in done.stdout
