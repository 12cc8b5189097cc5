"""Small programs, built to releases with the commands that a user has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

MakeReport = Callable[[Mapping[str, str], Mapping[str, str], str], Path]


def sh(place: Path, line: str) -> str:
    """Run a line of shell with the commands of this environment."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", line], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
