"""The shipped example's transition, tried at every moment of its test driver, with a bug planted.

The bug, a rule that forgets a client's open transaction, shows only if the update comes between
MULTI and EXEC: the matrix must have exactly those cells as failed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORGETS = '      - init: "struct client.transaction"\n'


def test_a_bug_that_shows_in_the_middle_of_a_transaction(tmp_path: Path) -> None:
    for name in ("v1", "v2", "check.py"):
        source = ROOT / "examples/kvd" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, _made(tmp_path, name))
    shutil.copytree(ROOT / "site_scons", tmp_path / "site_scons")
    shutil.copy(ROOT / "SConstruct", tmp_path)
    whole = (ROOT / "kitsune.yaml").read_text()
    text = whole[: whole.index("    # `kitsune rollback`")]
    (tmp_path / "kitsune.yaml").write_text(text.rstrip() + "\n" + FORGETS)
    done = _scons(tmp_path, "test-update")
    assert done.returncode != 0
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("main loop")]
    verdicts = {int(row[2]): row[5] for row in rows}
    # Arrival 1 is before the client, 2 before its first command: MULTI is the fifth and the tenth.
    inside = {7, 8, 9, 10, 12, 13}
    assert {at for at, verdict in verdicts.items() if verdict == "failed"} == inside, done.stdout
    assert len(verdicts) > 20
    assert "failed at main loop:7: " in done.stdout
    # It is the rule that is wrong, and no transformer.
    tested = _scons(tmp_path, "self-test")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert re.search(r"^struct client +new object +\d+ +1  passed$", tested.stdout, re.M)


def _scons(directory: Path, target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "SCons", "-Q", "-j2", target],
        cwd=directory,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def _made(directory: Path, name: str) -> Path:
    target = directory / "examples/kvd" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
