"""Note the checksum of a release in it, so that damage on the way to a server is found there.

In: a linked release; out: the same file with the checksum in its identity (`struct
kitsune_identity`). Called by release.py as the last step of linking, and by cli.py for whoever
changes a release on purpose (`strip`).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from kitsune_tool import elf, objects
from kitsune_tool.errors import KitsuneError, Location

_CHECKSUM = struct.Struct("<I")
_OFFSET = 148
"""Of the member `checksum`. Elsewhere, no release with a bit changed would be refused."""


def seal(release: Path) -> None:
    """Write the checksum into a release; one that is there already does not count.

    Raises K309 if it is none.
    """
    sections = [
        section
        for file in elf.read_files(release)
        for section in file.sections
        if section.name == objects.IDENTITY_SECTION
        and len(section.data) >= _OFFSET + _CHECKSUM.size
    ]
    if len(sections) != 1:
        raise KitsuneError(
            "K309",
            "not a release: it has no identity",
            at=Location(str(release)),
            hint="releases are what 'kitsune release' links",
        )
    release.write_bytes(sealed(release.read_bytes(), sections[0].offset))


def sealed(data: bytes | bytearray, identity: int) -> bytes:
    """Return the bytes of a release, whose identity is at that offset, with their checksum."""
    changed = bytearray(data)
    _CHECKSUM.pack_into(changed, identity + _OFFSET, 0)
    _CHECKSUM.pack_into(changed, identity + _OFFSET, zlib.crc32(changed))
    return bytes(changed)
