"""memcached's scenario, with fewer items and updates; skipped where it cannot be run."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

TIMEOUT_S = 1800
TESTS = ("testapp", "binary", "cas", "idle-timeout", "lru-crawler", "restart", "watcher")


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_memcached_becomes_its_next_versions_and_itself(
    output_of: Callable[..., str],
    matrix_of: Callable[..., str],
    moved: Callable[[str], set[str]],
) -> None:
    options = ("--cflags=-O1", "--items=20000", "--connections=50", "--again=12")
    out = output_of("memcached", *options)
    assert re.search(r"requests: [1-9]\d* sent, 0 failed\n", out), out
    first, second, broken, stuck, again = re.split(r"\n\n", out)[1:6]
    for update, name in ((first, "1.6.18 to 1.6.38: "), (second, "1.6.38 to 1.6.45: ")):
        assert update.startswith(name), out
        assert moved(update) >= {"struct conn", "LIBEVENT_THREAD", "struct _mc_resp_bundle"}
        assert "items: 20000 of 20000" in update
    assert broken.startswith("1.6.45 to 1.6.45+broken, undone (K354): "), broken
    assert stuck.startswith("1.6.45 to 1.6.45+stuck, undone (K356): "), stuck
    assert not moved(again), again
    for version in ("1.6.38", "1.6.45"):  # what the scenario has built
        matrix_of("memcached", version)


@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_its_own_tests_pass_while_it_is_updated(own_tests_of: Callable[..., str]) -> None:
    out = own_tests_of("memcached", *TESTS)
    assert re.search(rf"^{len(TESTS)} tests .* the same of {len(TESTS)}$", out, re.M)
    updated = re.search(r"^requests: .*?(\d+) updated$", out, re.M)
    assert updated and int(updated[1]) >= len(TESTS), out
