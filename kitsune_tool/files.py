"""Files written whole or not at all.

In: a path and its new content; out: the file. A file whose content would not change is left alone,
so that a build tool that looks at times does nothing either. Called by release.py and cli.py.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_if_changed(path: Path, content: str | bytes) -> bool:
    """Give a file its content by one rename; tell whether it changed."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def shown(path: Path) -> str:
    """Return a path as messages show it: relative if it is below the current directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def line(path: Path, number: int) -> str | None:
    """Return a line of a source file, counted from 1; None if it cannot be had."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        lines = data.decode("latin-1").splitlines()
    return lines[number - 1] if 0 < number <= len(lines) else None


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
