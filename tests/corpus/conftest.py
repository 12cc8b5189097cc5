"""Real programs, each captured once per session. What cannot be fetched is a skip."""

from __future__ import annotations

from collections.abc import Callable

import capture
import pytest
from fetch_source import SourceUnavailable


@pytest.fixture(scope="session")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], capture.Captured]:
    """Return a function that builds a program of `capture.RECIPES` through kitsune-cc, once."""
    done: dict[str, capture.Captured] = {}

    def get(name: str) -> capture.Captured:
        if name not in done:
            try:
                done[name] = capture.capture(name, tmp_path_factory.mktemp("corpus"))
            except SourceUnavailable as error:
                pytest.skip(f"source cannot be had: {error}")
        return done[name]

    return get
