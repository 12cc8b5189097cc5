"""vsftpd: a tree of processes with sessions in every state; skipped where it cannot be run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_HERE = 3
REFUSED = {
    "a rule that is wrong for some": "rolled-back (K353)",
    "a rule that crashes in the middle": "rolled-back (K354)",
    "a rule that never ends": "rolled-back (K356)",
    "a process that is stopped": "withdrawn (K361)",
}


@pytest.mark.fetch
@pytest.mark.slow
def test_vsftpd_is_updated_with_all_its_sessions() -> None:
    command = [sys.executable, str(ROOT / "examples/vsftpd/scenario.py"), "--cflags=-O1"]
    command += ["--megabytes=8", "--rounds=2", "--idle=2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode == NOT_HERE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    out = done.stdout
    assert done.returncode == 0, out + done.stderr
    assert "LOST" not in out
    for version in ("3.0.5+same", "3.0.5+field"):
        assert f"\n3.0.5 to {version}: updated" in out
    for what, outcome in REFUSED.items():
        assert f"\n{what}: {outcome}\n" in out
    sessions = re.findall(r"(\d+) of (\d+) sessions went on", out)
    assert len(sessions) == 6
    assert all(went_on == held for went_on, held in sessions)
    done_in = re.search(r"^(\d+) updates of the tree in (\d+) tries", out, re.M)
    assert done_in and int(done_in[1]) == 4
