"""The scenario of the Tor relay, from fetching to the last round; skipped without the source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = Path(__file__).parents[2] / "examples/tor/scenario.py"
LIBRARIES = ("event2/event.h", "openssl/ssl.h", "zlib.h")
NO_SOURCE = 3
BUILD_AND_RUN_S = 7200


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(BUILD_AND_RUN_S)
def test_tor_relays_on_while_it_is_updated() -> None:
    for header in LIBRARIES:
        found = list(Path("/usr/include").glob(f"**/{header}"))
        if not found:
            pytest.skip(f"Tor cannot be built: there is no {header}")
    done = subprocess.run(
        [sys.executable, SCENARIO, "--rounds", "3"],
        capture_output=True,
        text=True,
        timeout=BUILD_AND_RUN_S,
        check=False,
    )
    if done.returncode == NO_SOURCE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LOST" not in done.stdout
    for what in ("+same", "+broken, undone", "+stuck, undone", "and back, 3 times"):
        assert what in done.stdout
