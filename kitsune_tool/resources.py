"""Where the tool's own data files are: templates, C headers and runtime sources.

They lie beside the package in a checkout and inside it once installed. In: nothing; out: paths, and
digests that stand for "the tool as it is now" in a build's signatures. Called by the front-end, the
generator, the launcher and the SCons tool.
"""

from __future__ import annotations

import functools
from pathlib import Path

from kitsune_tool.errors import KitsuneError

_PACKAGE = Path(__file__).resolve().parent
FRONT_END_MODULES = (
    "bodies", "casts", "cc", "declare", "edits", "errors", "extract", "frames", "frontend", "index",
    "insert", "layout", "model", "normalise", "noted", "parse", "paths", "preprocess", "recipe",
    "resources", "scan", "statements", "switches", "toolchain", "typegraph",
)  # fmt: skip
"""The modules that decide what an object file contains."""


def templates_dir() -> Path:
    """Return the directory of the Jinja2 templates."""
    return _data_dir("templates")


@functools.cache
def include_dir() -> Path:
    """Return the directory of `kitsune.h` and the other public headers."""
    return _data_dir("runtime") / "include"


def debugger_script() -> Path:
    """Return the file that gdb reads: it can be imported there only."""
    return _PACKAGE / "debugger.py"


def runtime_source_dir() -> Path:
    """Return the directory of the runtime's C sources."""
    return _data_dir("runtime") / "src"


def docs_dir() -> Path:
    """Return the directory of the documents that the tool itself reads."""
    return _data_dir("docs")


def front_end_files() -> tuple[Path, ...]:
    """Return the tool's files that an object file depends on, in a fixed order."""
    modules = (_PACKAGE / f"{name}.py" for name in FRONT_END_MODULES)
    headers = (include_dir() / name for name in ("kitsune_abi.h", "kitsune_annotations.h"))
    return tuple(path for path in (*modules, *headers) if path.is_file())


def generator_files() -> tuple[Path, ...]:
    """Return the tool's files that a release depends on beside its objects, in a fixed order."""
    return tuple(
        path
        for top in (_PACKAGE, templates_dir(), _data_dir("runtime"))
        for path in sorted(top.rglob("*"))
        if path.suffix in {".py", ".j2", ".c", ".h", ".S"} and path.is_file()
    )


@functools.cache
def front_end_digest() -> str:
    """Return a hex digest over the contents of `front_end_files`."""
    import hashlib

    digest = hashlib.sha256()
    for path in front_end_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _data_dir(name: str) -> Path:
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise KitsuneError(
        "K201",
        f"the tool's own directory '{name}' is missing beside {_PACKAGE}",
        hint="the installation is damaged: install the package kitsune-live-update again",
    )
