"""A Tor relay: its scenario, updates at moments of a session, Tor's own tests; if it can be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

LIBRARIES = ("event2/event.h", "openssl/ssl.h", "zlib.h")
BUILD_AND_RUN_S = 7200


@pytest.fixture(scope="module")
def built(build_of: Callable[..., str]) -> None:
    """Build Tor and its releases, as all commands of the example do that are not told `--built`."""
    for header in LIBRARIES:
        if not list(Path("/usr/include").glob(f"**/{header}")):
            pytest.skip(f"Tor cannot be built: there is no {header}")
    build_of("tor", "tor_releases.py")


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(BUILD_AND_RUN_S)
@pytest.mark.usefixtures("built")
def test_tor_relays_on_while_it_is_updated(output_of: Callable[..., str]) -> None:
    out = output_of("tor", "--built", "--rounds", "3")
    for what in ("+same", "+broken, undone", "+stuck, undone", "and back, 3 times", "+field"):
        assert what in out


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
def test_its_own_tests_pass_with_updates_in_the_middle(own_tests_of: Callable[..., str]) -> None:
    out = own_tests_of("tor", "--built", "--cells", "3")
    for test in ("test_rebind.sh", "test_include.sh"):
        assert f"{test}: passes with a plain tor" in out
