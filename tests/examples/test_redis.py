"""Redis's scenario with few keys, and some of its own tests; skipped where they cannot be run."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

TIMEOUT_S = 3600
SUITES = ("unit/type/incr", "unit/type/hash", "unit/multi", "unit/pubsub", "integration/block-repl")


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_redis_becomes_its_next_version_and_itself(
    output_of: Callable[..., str], matrix_of: Callable[..., str]
) -> None:
    pytest.importorskip("redis", reason="the client of Redis is not installed")
    out = output_of("redis", "--keys=20000", "--rounds=10")
    assert re.search(r"requests: [1-9]\d* sent, 0 failed\n", out), out
    update, broken, busy, again = re.split(r"\n\n", out)[1:5]
    assert update.startswith("8.0.2 to 8.0.6: 0 objects transformed, pause "), out
    assert broken.startswith("8.0.6 to 8.0.6+broken, undone (K354): "), out
    assert busy.startswith("8.0.6 to 8.0.6+same, which nobody takes (K361): "), out
    assert again.startswith("8.0.6 to itself and back, 10 times: 0 objects"), out
    assert "digest of a plain server that reads what was saved: as it must be" in again
    # What the scenario has built; clients are amid everything when the update comes.
    matrix_of("redis", "8.0.6")


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_its_own_tests_pass_while_it_is_updated(own_tests_of: Callable[..., str]) -> None:
    pytest.importorskip("redis", reason="the client of Redis is not installed")
    out = own_tests_of("redis", *SUITES)
    told = re.search(
        r"^(\d+) tests with (\d+) points that pass; with updates the same of", out, re.M
    )
    updated = re.search(r"^requests:.* (\d+) updated", out, re.M)
    assert told and int(told[1]) == 1 + len(SUITES) and int(told[2]) > 100, out
    assert updated and int(updated[1]) > 1, out
