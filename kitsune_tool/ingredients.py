"""What a release was linked from, kept beside it, so that a later release can lead back to it.

In: the compiler with the program's flags, and the inputs of the link. Out: an archive with copies
of the objects and libraries among them and with all the words, and from that archive the same
`Recipe` again, wherever it is unpacked. Called by release.py.

Libraries of the system stay names, and paths in options (`-I`, a linker's script) start at the
directory of the build. The same inputs give the same bytes.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import itertools
import json
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from kitsune_tool import elf, files, toolchain
from kitsune_tool.errors import KitsuneError
from kitsune_tool.linked import Recipe

NAME = "linked-from.tar.gz"
"""The file's name beside a release."""
_RECIPE = "recipe.json"
_LEVEL = 6


class Unusable(Exception):
    """What a release was linked from cannot be had; the text tells it in front of a path."""


def pack(recipe: Recipe, archiver: str) -> bytes:
    """Return the archive. `archiver` makes an ordinary archive of a thin one, which names files
    that are not kept.
    """
    recipe = dataclasses.replace(recipe, inputs=tuple(toolchain.expanded(recipe.inputs)))
    packer = _Packer(recipe, archiver)
    inputs = [packer.input(word) for word in recipe.inputs]
    text = json.dumps({"compiler": recipe.compiler, "inputs": inputs}, indent=1)
    unzipped = io.BytesIO()
    with tarfile.open(fileobj=unzipped, mode="w") as tar:
        for name, data in ((_RECIPE, text.encode()), *packer.kept):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(unzipped.getvalue(), _LEVEL, mtime=0)


def unpack(path: Path, place: Path, directory: Path) -> Recipe:
    """Unpack an archive into `place` and return what it says; options count from `directory`.

    Raises `Unusable` if it is not there, or is damaged.
    """
    try:
        with tarfile.open(path, "r:gz") as tar:
            members = {member.name: member for member in tar if member.isfile()}
            said = json.loads(_content(tar, members[_RECIPE]))
            inputs = [_input(tar, members, word, place) for word in said["inputs"]]
            return Recipe(directory, tuple(map(str, said["compiler"])), tuple(inputs))
    except FileNotFoundError as error:
        raise Unusable("there is no") from error
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError, LookupError) as error:
        raise Unusable("damaged is") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # it is a file
    return file.read()


def _input(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], word: Any, place: Path
) -> str:
    """Return an argument of the link; a kept file is written below `place` first."""
    if isinstance(word, str):
        return word
    (name,) = word
    target = place / PurePosixPath(name).name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_content(tar, members[name]))
    return str(target)


@dataclass(frozen=True, slots=True)
class _Packer:
    """The arguments of one link, and the files among them by their names in the archive."""

    recipe: Recipe
    archiver: str
    kept: list[tuple[str, bytes]] = field(default_factory=list)

    def input(self, word: str) -> str | list[str]:
        """Return the word, or the name under which the file that it means is kept."""
        path = self.file(word)
        if path is None:
            return word
        name = f"{len(self.kept):04}-{path.name}"
        self.kept.append((name, self.bytes_of(path)))
        return [name]

    def file(self, word: str) -> Path | None:
        """Return the object or archive that an argument of the link means, if it is one."""
        if word.startswith("-l") and len(word) > 2:
            return self.library(word[2:])
        path = self.recipe.directory / word
        is_kept = not word.startswith("-") and path.is_file() and ".so" not in path.suffixes
        return path if is_kept else None

    def library(self, name: str) -> Path | None:
        """Return the archive that `-lNAME` means, if it is in one of the link's own directories."""
        exact = name.removeprefix(":") if name.startswith(":") else None
        for folder in self.folders():
            for found in (exact,) if exact else (f"lib{name}.so", f"lib{name}.a"):
                path = folder / found
                if path.is_file():
                    return path if path.suffix == ".a" else None
        return None

    def folders(self) -> Iterator[Path]:
        """Yield the directories of `-L`, in order."""
        inputs = self.recipe.inputs
        for word, following in itertools.zip_longest(inputs, inputs[1:], fillvalue=""):
            if word.startswith("-L"):
                yield self.recipe.directory / (word[2:] or following)

    def bytes_of(self, path: Path) -> bytes:
        data = path.read_bytes()
        return self.whole(path) if data.startswith(elf.THIN_MAGIC) else data

    def whole(self, path: Path) -> bytes:
        """Return a thin archive as one that contains its members."""
        with tempfile.TemporaryDirectory(prefix="kitsune-") as place:
            target = Path(place) / "whole.a"
            command: Sequence[str] = (self.archiver, "qcsD", str(target))
            for number, (name, data) in enumerate(elf.members(path)):
                member = Path(place) / str(number) / name
                member.parent.mkdir()
                member.write_bytes(data)
                command = (*command, str(member))
            done = toolchain.run(command)
            if done.status != 0:
                raise KitsuneError(
                    "K228",
                    f"{self.archiver} makes no archive of the members of {files.shown(path)}",
                    said=done.stderr.decode(errors="replace").strip(),
                )
            return target.read_bytes()
