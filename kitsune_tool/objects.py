"""What objects, archives and releases carry of the program: records, layouts, identity.

In: a path. Out: the `Unit`s or the `Program` inside, with the compiler's sizes and offsets filled
in; a release's identity and build-id. Also the text form in which a release carries its program.
Called by release.py, store.py and whoever looks into a release.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kitsune_tool import elf, layout
from kitsune_tool.elf import ElfFile
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.model import Program, Unit, from_json, to_json

RECORDS_SECTION = ".kitsune"
LAYOUTS_SECTION = ".kitsune.layouts"
PROGRAM_SECTION = ".kitsune.program"
IDENTITY_SECTION = "kitsune_identity"

_MAGIC = 0x4B495453554E4531
_RECORD = re.compile(rb"KITSUNE1 ([0-9a-f]*) ([0-9]{1,12})\n")
_NOTE = struct.Struct("<III")
_NOTE_BUILD_ID = 3
_IDENTITY = struct.Struct("<QII64s64sII320s")
_BUILD_ID_SIZE = 20
_MOST_BYTES = 1 << 30
"""What a record may unpack to; more is no record but an attack or a fault."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What can be known of a release without loading it: `struct kitsune_identity`."""

    abi: int
    program: str
    version: str
    parents: tuple[bytes, ...]
    """Build-ids of the releases that it can follow."""


def read_units(path: Path) -> tuple[Unit, ...]:
    """Return the units in an object, archive, `ld -r` output or shared object, in file order.

    A file with none of them gives none. Raises `KitsuneError` for a damaged file or a record of
    another version of the tool.
    """
    return tuple(unit for file in elf.read_files(path) for unit in units_of(file))


def read_program(path: Path) -> Program:
    """Return the program that a release carries; raises `KitsuneError` if it carries none."""
    for file in elf.read_files(path):
        for data in file.contents(PROGRAM_SECTION):
            for _, body in _records(file, data):
                return _read_program(file, body)
    raise KitsuneError(
        "K063",
        "not a release: there is no program in it",
        at=Location(str(path)),
        hint="name the .so that 'kitsune release' or 'scons update-release' made",
    )


def read_identity(path: Path) -> Identity | None:
    """Return the identity of a release, None if the file has none."""
    for file in elf.read_files(path):
        for data in file.contents(IDENTITY_SECTION):
            return _identity(file, data)
    return None


def build_id(path: Path) -> bytes:
    """Return the build-id that the linker gave; raises `KitsuneError` if there is none."""
    for file in elf.read_files(path):
        for data in file.contents(".note.gnu.build-id"):
            found = _build_id(data)
            if found:
                return found
    raise KitsuneError(
        "K064",
        "it has no build-id",
        at=Location(str(path)),
        hint="link with -Wl,--build-id",
    )


def program_assembly(program: Program) -> str:
    """Return assembly (GNU as) that puts `program` into a release, in a section not loaded."""
    data = json.dumps(to_json(program), separators=(",", ":"), ensure_ascii=True)
    body = base64.b64encode(zlib.compress(data.encode(), 9)).decode()
    header = f"KITSUNE1 0 {len(body)}"
    rows = [body[start : start + 4096] for start in range(0, len(body), 4096)]
    lines = [f'.ascii "{header}\\n"', *(f'.ascii "{row}"' for row in rows), '.ascii "\\n"']
    # --gc-sections keeps what is not loaded only in files of which it keeps something that is
    kept = '.section .kitsune.kept,"aR",%progbits\n.byte 0'
    stack = '.section .note.GNU-stack,"",%progbits'
    return "\n".join([f'.section {PROGRAM_SECTION},"",%progbits', *lines, kept, stack, ""])


def units_of(file: ElfFile) -> Iterator[Unit]:
    """Yield the units in one ELF file, with their layouts."""
    tables: dict[str, dict[int, int]] = {}
    for data in file.contents(LAYOUTS_SECTION):
        for digest, numbers in layout.read(data).items():
            tables.setdefault(digest, {}).update(numbers)
    for data in file.contents(RECORDS_SECTION):
        for digest, body in _records(file, data):
            unit = _decode(file, body)
            if not isinstance(unit, Unit) or unit.digest != digest:
                raise _damaged(file, "a record is not what its first line says")
            if digest not in tables:
                raise _damaged(file, f"the layout table of {unit.source} is missing")
            yield layout.filled(unit, tables[digest])


def _records(file: ElfFile, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (digest, body) of the records in a section; zero bytes between are padding."""
    position = 0
    while position < len(data):
        if data[position] == 0:
            position += 1
            continue
        match = _RECORD.match(data, position)
        if match is None:
            raise _damaged(file, "a record does not begin as one")
        end = match.end() + int(match[2])
        if data[end : end + 1] != b"\n":
            raise _damaged(file, "a record is cut off")
        yield match[1].decode(), data[match.end() : end]
        position = end + 1


def _read_program(file: ElfFile, body: bytes) -> Program:
    value = _decode(file, body)
    if not isinstance(value, Program):
        raise _damaged(file, "what should be a program is none")
    return value


def _decode(file: ElfFile, body: bytes) -> Unit | Program:
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(body, validate=True), _MOST_BYTES)
        return from_json(json.loads(data))
    except (binascii.Error, zlib.error, ValueError, AssertionError, RecursionError) as error:
        raise _damaged(file, f"a record cannot be read: {error}") from error


def _identity(file: ElfFile, data: bytes) -> Identity:
    if len(data) < _IDENTITY.size:
        raise _damaged(file, "its identity is cut off")
    magic, abi, _, program, version, count, _, parents = _IDENTITY.unpack_from(data)
    if magic != _MAGIC or count * _BUILD_ID_SIZE > len(parents):
        raise _damaged(file, "its identity is damaged")
    ids = [parents[start : start + _BUILD_ID_SIZE] for start in range(0, len(parents), 20)]
    return Identity(abi, _text(program), _text(version), tuple(ids[:count]))


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")


def _build_id(data: bytes) -> bytes:
    if len(data) < _NOTE.size:
        return b""
    name_size, size, kind = _NOTE.unpack_from(data)
    start = _NOTE.size + (name_size + 3) // 4 * 4
    return data[start : start + size] if kind == _NOTE_BUILD_ID else b""


def _damaged(file: ElfFile, why: str) -> KitsuneError:
    return KitsuneError(
        "K062",
        f"what it says of the program cannot be read: {why}",
        at=Location(file.name),
        hint="build it again with this version of kitsune",
    )
