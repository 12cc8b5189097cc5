"""dnsmasq's scenario: two real updates, a broken one, one to itself; skipped where it cannot be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_HERE = 3


@pytest.mark.fetch
def test_dnsmasq_becomes_its_next_versions_and_itself() -> None:
    out = output_of("--names=30")
    assert "had to ask again for: 0\n" in out
    first, second, broken, same = out.split("\n\n")[1:5]
    assert first.startswith("2.90 to 2.91: "), first
    assert moved(first) >= {"struct frec", "struct server"}
    assert second.startswith("2.91 to 2.93: "), second
    assert moved(second) >= {
        "struct crec", "struct dhcp_lease", "struct dnsmasq_daemon", "struct server",
        "struct tftp_file", "struct tftp_transfer",
    }  # fmt: skip
    assert broken.startswith("2.93 to 2.93+broken, undone (K354): "), broken
    assert same.startswith("2.93 to itself: "), same
    assert not moved(same)


@pytest.mark.fetch
@pytest.mark.slow
def test_a_question_that_the_old_version_does_not_keep_is_answered_when_it_is_repeated() -> None:
    out = output_of("--names=10", "--plain", "--in-flight=3")
    assert "had to ask again for: 3\n" in out


def output_of(*options: str) -> str:
    """Run the scenario and return what it prints."""
    command = [sys.executable, str(ROOT / "examples/dnsmasq/scenario.py"), "--cflags=-O1", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode == NOT_HERE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    out = done.stdout
    assert done.returncode == 0, out + done.stderr
    assert "LOST" not in out
    assert re.search(r"queries sent: [1-9]\d*, failed: 0\n", out), out
    return out


def moved(update: str) -> set[str]:
    """Return the types of which an update has moved objects, as the scenario prints them."""
    return {
        line[1].strip()
        for line in re.finditer(r"^  (\S.*\S) +[1-9]\d* moved", update, re.MULTILINE)
    }
