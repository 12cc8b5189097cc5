"""Icecast's scenario, with fewer listeners and updates; skipped where it cannot be run."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest


@pytest.mark.fetch
@pytest.mark.slow
def test_icecast_becomes_itself(
    output_of: Callable[..., str], moved: Callable[[str], set[str]]
) -> None:
    out = output_of("icecast", "--cflags=-O1", "--listeners=20", "--again=12")
    assert re.search(r"requests: [1-9]\d* sent, 0 failed\n", out), out
    first, again = re.split(r"\n\n", out)[1:3]
    assert first.startswith("2.4.4 to 2.4.4+same: "), out
    assert again.startswith("2.4.4 to itself and back, 12 updates: "), out
    assert not moved(first) | moved(again), out
