"""A Tor relay: its scenario, updates at moments of a session, Tor's own tests; if it can be had."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/tor"
LIBRARIES = ("event2/event.h", "openssl/ssl.h", "zlib.h")
NO_SOURCE = 3
BUILD_AND_RUN_S = 7200


@pytest.fixture(scope="module")
def built() -> None:
    """Build Tor and its releases, as all commands of the example do that are not told `--built`."""
    for header in LIBRARIES:
        if not list(Path("/usr/include").glob(f"**/{header}")):
            pytest.skip(f"Tor cannot be built: there is no {header}")
    done = run(sys.executable, "tor_releases.py")
    if done.returncode == NO_SOURCE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stdout + done.stderr


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=EXAMPLE, capture_output=True, text=True, timeout=BUILD_AND_RUN_S, check=False
    )


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(BUILD_AND_RUN_S)
@pytest.mark.usefixtures("built")
def test_tor_relays_on_while_it_is_updated() -> None:
    done = run(sys.executable, "scenario.py", "--built", "--rounds", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LOST" not in done.stdout
    for what in ("+same", "+broken, undone", "+stuck, undone", "and back, 3 times", "+field"):
        assert what in done.stdout


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(BUILD_AND_RUN_S)
@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("version", ["0.4.9.11+same", "0.4.9.11+field"])
def test_a_session_does_not_see_the_moment_of_the_update(
    version: str, matrix_of: Callable[..., str], tmp_path: Path
) -> None:
    matrix_of("tor", version, "--cells=3", f"--output={tmp_path}")


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(BUILD_AND_RUN_S)
@pytest.mark.usefixtures("built")
def test_its_own_tests_pass_with_updates_in_the_middle() -> None:
    done = run(sys.executable, "own_tests.py", "--built", "--cells", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    for test in ("test_rebind.sh", "test_include.sh"):
        assert f"{test}: passes with a plain tor" in done.stdout
    assert "LOST" not in done.stdout
