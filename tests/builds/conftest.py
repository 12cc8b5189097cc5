"""Runs lines of shell in which the tool's commands are found, for programs built without SCons."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Shell = Callable[..., str]


@pytest.fixture
def sh(tmp_path: Path) -> Shell:
    """Return what runs lines of shell in the test's directory and gives what they print."""

    def run(lines: str, *, status: int = 0) -> str:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("KITSUNE", "CCACHE"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-ec", lines],
            cwd=tmp_path,
            env={**clean, "PATH": path, "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    return run
