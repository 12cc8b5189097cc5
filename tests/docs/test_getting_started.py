"""The page for beginners: its commands, run in an empty directory with nothing installed before."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import pytest
from page import run_page


@pytest.mark.timeout(600)
def test_the_page_leads_from_an_empty_directory_to_a_live_update(tmp_path: Path) -> None:
    run_page("getting-started.md", tmp_path, f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin")
    log = (tmp_path / "project" / "ticker.log").read_text()
    ticks = [int(text) for text in re.findall(r"tick (\d+)", log)]
    steps = {after - before for before, after in itertools.pairwise(ticks)}
    assert steps == {1, 10}
