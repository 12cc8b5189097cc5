"""Note the checksum of a release in it, so that damage on the way to a server is found there.

In: a linked release; out: the same file with the checksum in its identity (`struct
kitsune_identity`). Called by release.py as the last step of linking.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from kitsune_tool import elf, objects

_CHECKSUM = struct.Struct("<I")
_OFFSET = 148
"""Of the member `checksum`. Elsewhere, no release with a bit changed would be refused."""


def seal(release: Path) -> None:
    """Write the checksum into a release; one that is there already does not count."""
    (file,) = elf.read_files(release)
    (section,) = [each for each in file.sections if each.name == objects.IDENTITY_SECTION]
    release.write_bytes(sealed(release.read_bytes(), section.offset))


def sealed(data: bytes | bytearray, identity: int) -> bytes:
    """Return the bytes of a release, whose identity is at that offset, with their checksum."""
    changed = bytearray(data)
    _CHECKSUM.pack_into(changed, identity + _OFFSET, 0)
    _CHECKSUM.pack_into(changed, identity + _OFFSET, zlib.crc32(changed))
    return bytes(changed)
