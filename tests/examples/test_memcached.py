"""memcached's scenario, with fewer items and updates; skipped where it cannot be run."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest


@pytest.mark.fetch
@pytest.mark.slow
def test_memcached_becomes_its_next_versions_and_itself(
    output_of: Callable[..., str], moved: Callable[[str], set[str]]
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
