"""Files written whole or not at all.

In: a path and its new content; out: the file. A file whose content would not change is left alone,
so that a build tool that looks at times does nothing either. Called by release.py, store.py and
cli.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
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


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


def replace_directory(staging: Path, target: Path) -> None:
    """Put the directory `staging` in the place of `target`, which may be there and is removed.

    Whoever opens a file below `target` meanwhile finds the one or the other. Where the file system
    cannot exchange two names at once (NFS), there is none for a moment.
    """
    while True:
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return
        former = _exchanged(staging, target)
        if former is not None:
            shutil.rmtree(former)
            return


def _exchanged(staging: Path, target: Path) -> Path | None:
    """Return where the former `target` is; None if `staging` is still to be put there."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = os.fsencode(staging), os.fsencode(target)
    if rename and rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return staging
    code = ctypes.get_errno() if rename else errno.ENOSYS
    if code in _CANNOT_EXCHANGE:
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        target.rename(aside)
        shutil.rmtree(aside)
    elif code != errno.ENOENT:
        raise OSError(code, os.strerror(code), str(target))
    return None


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
