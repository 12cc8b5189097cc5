"""Shared objects around a release: plugins that look things up in it, libraries of its own.

In: paths, or what stands in a link. Out: the names that plugins want; which inputs are shared
libraries that kitsune-cc compiled. Called by release.py and linked.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kitsune_tool import elf, objects

_SHARED = ".so"


def wanted(plugin: Path) -> frozenset[str]:
    """Return the names that a shared object leaves to others. Raises K060 or K061."""
    return frozenset(
        symbol.name
        for file in elf.read_files(plugin)
        for symbol in elf.symbols(file, ".dynsym")
        if symbol.name and not symbol.is_defined
    )


def defined(path: Path, table: str = ".dynsym") -> frozenset[str]:
    """Return the names that a shared object defines: for others, or with `.symtab` for itself."""
    return frozenset(
        symbol.name
        for file in elf.read_files(path)
        for symbol in elf.symbols(file, table)
        if symbol.is_defined
    )


def own_libraries(inputs: Sequence[str], directory: Path) -> dict[int, Path]:
    """Return the shared libraries among what is linked that were compiled for the program, by their
    place. Relative paths start at `directory`.
    """
    found = {place: _file(word, inputs, directory) for place, word in enumerate(inputs)}
    return {place: path for place, path in found.items() if path is not None and _is_own(path)}


def _file(word: str, inputs: Iterable[str], directory: Path) -> Path | None:
    """Return the shared library that an argument names, as the linker would find it."""
    if word.startswith("-l") and len(word) > 2:
        folders = (directory / each[2:] for each in inputs if each.startswith("-L"))
        names = (folder / f"lib{word[2:]}{_SHARED}" for folder in folders)
        return next((path for path in names if path.is_file()), None)
    path = directory / word
    is_shared = not word.startswith("-") and _SHARED in Path(word).suffixes
    return path if is_shared and path.is_file() else None


def _is_own(path: Path) -> bool:
    try:
        data = path.read_bytes()[:4]
    except OSError:
        return False
    # (a linker script, such as libc.so, is text)
    return data == b"\x7fELF" and any(
        file.contents(objects.RECORDS_SECTION) for file in elf.read_files(path)
    )
