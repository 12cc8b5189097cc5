"""A source's text as the front-end gets it."""

from __future__ import annotations

import subprocess
from pathlib import Path

HEADERS = Path(__file__).parents[2] / "runtime" / "include"


def preprocess(source: Path, *flags: str) -> str:
    """Return what gcc makes of a source, with annotations as markers."""
    command = ["gcc", "-E", "-D__KT__", f"-I{HEADERS}", *flags, source.name]
    done = subprocess.run(command, cwd=source.parent, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("latin-1")
