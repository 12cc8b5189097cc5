"""A reader of ELF files and of archives of them: sections as bytes, nothing else.

In: a file's path. Out: `ElfFile`s. 64-bit little-endian only, as the runtime. Every offset is
checked against the file's size: a damaged file is the user's to mend, not a traceback. objects.py
calls it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kitsune_tool.errors import KitsuneError, Location

_ELF_MAGIC = b"\x7fELF"
_BITCODE_MAGIC = b"BC\xc0\xde"
_IDENTITY_64_LITTLE = b"\x02\x01"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_MACHINES = {62: "x86_64", 183: "aarch64"}
_NAMES_OF = {".dynsym": ".dynstr", ".symtab": ".strtab"}
_TYPE_NOBITS = 8
_FLAG_COMPRESSED = 0x800
_MANY_SECTIONS = 0xFFFF
_ARCHIVE_MAGIC = b"!<arch>\n"
THIN_MAGIC = b"!<thin>\n"
_MEMBER_HEADER_SIZE = 60
_MEMBER_END = b"`\n"


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its name, type, place in the file and contents (empty if it has none there)."""

    name: str
    kind: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ElfFile:
    """An object, shared object or executable. `name` is for messages: `libx.a(conn.o)`."""

    name: str
    sections: tuple[Section, ...]

    def contents(self, name: str) -> tuple[bytes, ...]:
        """Return the contents of all sections of that name."""
        return tuple(section.data for section in self.sections if section.name == name)


@dataclass(frozen=True, slots=True)
class Symbol:
    """An entry of a table of symbols; `value` is its address as the file counts."""

    name: str
    is_defined: bool
    value: int


def symbols(file: ElfFile, table: str) -> tuple[Symbol, ...]:
    """Return the symbols of `.dynsym` or `.symtab`; none if the file has no such table."""
    names = file.contents(_NAMES_OF[table])
    entries = file.contents(table)
    if not names or not entries:
        return ()
    if len(entries[0]) % _SYMBOL.size:
        raise _damaged(file.name, "its table of symbols is cut off")
    return tuple(
        Symbol(_text_at(file.name, names[0], entry[0]), entry[3] != 0, entry[4])
        for entry in _SYMBOL.iter_unpack(entries[0])
    )


def read_files(path: Path) -> tuple[ElfFile, ...]:
    """Return what `path` contains: itself, or the members of an archive that are ELF files.

    Raises `KitsuneError` for a file that cannot be read or is damaged.
    """
    data = _read(path)
    if data.startswith((_ARCHIVE_MAGIC, THIN_MAGIC)):
        return tuple(
            _parse(name, member)
            for name, member in _members(path, data)
            if member.startswith(_ELF_MAGIC)
        )
    return (_parse(str(path), data),)


def machine(path: Path) -> str:
    """Return for which machine a file is, as Linux calls those that we know; else a number."""
    data = _read(path)
    if len(data) < _HEADER.size or not data.startswith(_ELF_MAGIC):
        return ""
    number = _HEADER.unpack_from(data)[2]
    return _MACHINES.get(number, str(number))


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the members of an archive: a name without directories, and the bytes."""
    for name, data in _members(path, _read(path)):
        yield name.removeprefix(f"{path}(").removesuffix(")").rpartition("/")[2], data


def is_bitcode(path: Path) -> bool:
    """Tell whether a file is what clang makes of a unit for link-time optimisation."""
    return _read(path).startswith(_BITCODE_MAGIC)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KitsuneError(
            "K060", f"cannot read it: {error.strerror}", at=Location(str(path))
        ) from error


def _damaged(name: str, why: str) -> KitsuneError:
    return KitsuneError(
        "K061",
        f"not an object file that can be read: {why}",
        at=Location(name),
        hint="build it again; objects must be ELF, 64-bit and little-endian",
    )


def _parse(name: str, data: bytes) -> ElfFile:
    if data.startswith(_BITCODE_MAGIC):
        raise KitsuneError(
            "K061",
            "not an object file that can be read: it is bitcode, of clang's -flto",
            at=Location(name),
            hint="look into the release or program that it is linked to",
        )
    if not data.startswith(_ELF_MAGIC):
        raise _damaged(name, "it does not begin as one")
    if data[4:6] != _IDENTITY_64_LITTLE or len(data) < _HEADER.size:
        raise _damaged(name, "it is of another word size or byte order, or cut off")
    header = _HEADER.unpack_from(data)
    offset, entry_size, count, names_index = header[6], header[11], header[12], header[13]
    if not offset:
        return ElfFile(name, ())
    if entry_size != _SECTION.size:
        raise _damaged(name, "its section headers have another size")
    first = _header(name, data, offset)
    count = count or first[5]  # many sections: the numbers stand in the first header
    names_index = first[6] if names_index == _MANY_SECTIONS else names_index
    if count > len(data) // entry_size or names_index >= count:
        raise _damaged(name, "its section headers lie outside of it")
    headers = [_header(name, data, offset + i * entry_size) for i in range(count)]
    names = _contents(name, data, headers[names_index])
    return ElfFile(
        name,
        tuple(
            Section(
                name=_text_at(name, names, header[0]),
                kind=header[1],
                offset=header[4],
                data=_contents(name, data, header),
            )
            for header in headers[1:]
        ),
    )


def _header(name: str, data: bytes, offset: int) -> tuple[int, ...]:
    if offset + _SECTION.size > len(data):
        raise _damaged(name, "its section headers lie outside of it")
    return _SECTION.unpack_from(data, offset)


def _contents(name: str, data: bytes, header: tuple[int, ...]) -> bytes:
    kind, flags, offset, size = header[1], header[2], header[4], header[5]
    if kind == _TYPE_NOBITS or flags & _FLAG_COMPRESSED:
        return b""
    if offset + size > len(data):
        raise _damaged(name, "a section lies outside of it")
    return data[offset : offset + size]


def _text_at(name: str, table: bytes, offset: int) -> str:
    end = table.find(b"\0", offset)
    if end < 0:
        raise _damaged(name, "a section's name lies outside of it")
    return table[offset:end].decode("latin-1")


def _members(path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the members of an archive (`ar`, with GNU's long names, thin or not)."""
    is_thin = data.startswith(THIN_MAGIC)
    long_names = b""
    position = len(_ARCHIVE_MAGIC)
    while position + _MEMBER_HEADER_SIZE <= len(data):
        header = data[position : position + _MEMBER_HEADER_SIZE]
        field, size_text = header[:16].rstrip(), header[48:58].strip()
        if not header.endswith(_MEMBER_END) or not size_text.isdigit():
            raise _damaged(str(path), "a member's header in the archive is damaged")
        size = int(size_text)
        start = position + _MEMBER_HEADER_SIZE
        is_inside = field in (b"/", b"//", b"/SYM64/") or not is_thin
        position = start + (size + size % 2 if is_inside else 0)
        if is_inside and start + size > len(data):
            raise _damaged(str(path), "a member of the archive is cut off")
        body = data[start : start + size] if is_inside else b""
        if field == b"//":
            long_names = body
        elif field not in (b"/", b"/SYM64/"):
            member = _member_name(field, long_names)
            yield f"{path}({member})", body if is_inside else _read(path.parent / member)
    if position < len(data.rstrip(b"\n")):
        raise _damaged(str(path), "the archive is cut off")


def _member_name(field: bytes, long_names: bytes) -> str:
    if field.startswith(b"/") and field[1:].isdigit():
        start = int(field[1:])
        end = long_names.find(b"/\n", start)
        field = long_names[start : end if end >= 0 else len(long_names)]
    return field.decode(errors="surrogateescape").removesuffix("/")
