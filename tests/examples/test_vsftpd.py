"""vsftpd: a tree of processes with sessions in every state; skipped where it cannot be run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/vsftpd"

REFUSED = {
    "a rule that is wrong for some": "rolled-back (K353)",
    "a rule that crashes in the middle": "rolled-back (K354)",
    "a rule that never ends": "rolled-back (K356|K369)",  # whoever runs out of time first
    "a process that is stopped": "withdrawn (K361)",
    "sessions whose system calls are filtered": "refused (K371)",
}


@pytest.mark.fetch
@pytest.mark.slow
def test_vsftpd_is_updated_with_all_its_sessions(output_of: Callable[..., str]) -> None:
    out = output_of("vsftpd", "--cflags=-O1", "--megabytes=8", "--rounds=2", "--idle=2")
    assert "LOST" not in out
    for version in ("3.0.5+same", "3.0.5+field", "3.0.5+field, in one namespace"):
        assert f"\n3.0.5 to {version}: updated" in out
    for what, outcome in REFUSED.items():
        how, _, codes = outcome.rstrip(")").partition(" (")
        assert re.search(rf"^{re.escape(what)}: {how} \(({codes})\)$", out, re.M), what
    sessions = re.findall(r"(\d+) of (\d+) sessions went on", out)
    assert len(sessions) == 8
    assert all(went_on == held for went_on, held in sessions)
    done_in = re.search(r"^(\d+) updates of the tree in (\d+) tries", out, re.M)
    assert done_in and int(done_in[1]) == 4
    try_each_update_point()


def try_each_update_point() -> None:
    """Update the releases that the scenario has built under the driver of the manifest."""
    words = [sys.executable, "-m", "kitsune_tool.cli", "test-update", "--cells", "2"]
    done = subprocess.run(
        [*words, "--version", "3.0.5+field", "-o", "build/trial"],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    points = ("listener", "login broker", "broker", "command", "sending", "receiving")
    for point in points:
        assert re.search(rf"^{point} +1 of \d+ +passed .* updated$", done.stdout, re.M), done.stdout
