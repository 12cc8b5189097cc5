"""memcached's scenario, with fewer items and updates; skipped where it cannot be run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_HERE = 3


@pytest.mark.fetch
@pytest.mark.slow
def test_memcached_becomes_its_next_versions_and_itself() -> None:
    command = [sys.executable, str(ROOT / "examples/memcached/scenario.py"), "--cflags=-O1"]
    command += ["--items=20000", "--connections=50", "--again=12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode == NOT_HERE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    out = done.stdout
    assert done.returncode == 0, out + done.stderr
    assert "LOST" not in out
    assert re.search(r"requests: [1-9]\d* sent, 0 failed\n", out), out
    first, second, broken, stuck, again = re.split(r"\n\n", out)[1:6]
    for update, name in ((first, "1.6.18 to 1.6.38: "), (second, "1.6.38 to 1.6.45: ")):
        assert update.startswith(name), out
        assert moved(update) >= {"struct conn", "LIBEVENT_THREAD", "struct _mc_resp_bundle"}
        assert "items: 20000 of 20000" in update
    assert broken.startswith("1.6.45 to 1.6.45+broken, undone (K354): "), broken
    assert stuck.startswith("1.6.45 to 1.6.45+stuck, undone (K356): "), stuck
    assert not moved(again), again


def moved(update: str) -> set[str]:
    """Return the types of which an update has moved objects, as the scenario prints them."""
    return {
        line[1].strip()
        for line in re.finditer(r"^  (\S.*\S) +[1-9]\d* moved", update, re.MULTILINE)
    }
