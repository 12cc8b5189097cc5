"""Long chains of releases from a few that were built: copies with other ids.

A release follows only its parent, known by build-id, so a server cannot go back and forth between
two files. The versions of a chain are built once each, by the whole pipeline; further links are
copies in which the build-id and the parent's id are replaced, which is all that would differ.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from kitsune_tool import seal

ID_SIZE = 20
PARENT_COUNT, PARENTS = 144, 152
"""Offsets in `struct kitsune_identity`."""


def build_id(release: Path) -> bytes:
    """Return the build-id of a release."""
    start, _ = _offsets(release, release.stat().st_mtime_ns)
    return release.read_bytes()[start : start + ID_SIZE]


def stamped(release: Path, number: int, parent: bytes, target: Path) -> Path:
    """Write a copy of `release` that follows `parent` and has a build-id of its own."""
    own, identity = _offsets(release, release.stat().st_mtime_ns)
    data = bytearray(release.read_bytes())
    data[own : own + ID_SIZE] = hashlib.sha1(f"link {number}".encode()).digest()
    struct.pack_into("<I", data, identity + PARENT_COUNT, 1)
    data[identity + PARENTS : identity + PARENTS + ID_SIZE] = parent
    target.write_bytes(seal.sealed(data, identity))
    return target


@functools.cache
def _offsets(release: Path, changed_ns: int) -> tuple[int, int]:
    """Return where a release's build-id and identity are; `changed_ns` is for the cache."""
    with release.open("rb") as file:
        elf = ELFFile(file)
        section = elf.get_section_by_name("kitsune_identity")
        assert section is not None
        return _build_id_offset(elf), int(section["sh_offset"])


def _build_id_offset(elf: ELFFile) -> int:
    for section in elf.iter_sections():
        if isinstance(section, NoteSection) and section.name == ".note.gnu.build-id":
            return int(section["sh_offset"]) + 16
    raise AssertionError("no build-id")
