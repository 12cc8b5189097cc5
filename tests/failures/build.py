"""The releases of the program that fails: built by SCons once, then copied with other ids.

In: an empty directory; out: `Built`. Besides the chain of good releases there are files that are no
good: `Spoiler` makes one of them from the release that would follow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from update import stamps

from kitsune_tool import seal

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMON = HERE.parent / "update/common"
PROGRAM = "failing"
IDENTITY_ABI, IDENTITY_PROGRAM, IDENTITY_DIGEST = 8, 16, 112
"""Offsets of members in `struct kitsune_identity`."""
IDENTITY_SIZE = stamps.PARENTS


@dataclass(frozen=True, slots=True)
class Built:
    """The three releases of the program."""

    directory: Path

    def release(self, version: int) -> Path:
        """Return the path of a release."""
        return self.directory / f"releases/{PROGRAM}/{version}/{PROGRAM}.so"

    def following(self, version: int, parent: Path, number: int, target: Path) -> Path:
        """Write a copy of a release that follows any other, and return it."""
        return stamps.stamped(self.release(version), number, stamps.build_id(parent), target)


def build(directory: Path) -> Built:
    """Build the program's releases."""
    shutil.copytree(HERE / "program", directory, dirs_exist_ok=True)
    shutil.copytree(COMMON, directory / "common", dirs_exist_ok=True)
    command = [sys.executable, "-m", "SCons", "-Q", "-j2", "-f", "common/SConstruct"]
    done = subprocess.run(
        [*command, "release-chain"],
        cwd=directory,
        env={
            **os.environ,
            "KITSUNE_SITE_TOOLS": str(ROOT / "site_scons/site_tools"),
            "KITSUNE_TEST_FLAGS": "-w",  # what the compiler says of it is right
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return Built(directory)


Spoiler = Callable[[bytearray, int], None]
"""Changes a release's bytes; the second argument is where its identity begins."""


def spoilt(release: Path, spoil: Spoiler, target: Path) -> Path:
    """Write a changed copy of a release, and return it."""
    with release.open("rb") as file:
        section = ELFFile(file).get_section_by_name("kitsune_identity")
        assert section is not None
        identity = int(section["sh_offset"])
    data = bytearray(release.read_bytes())
    spoil(data, identity)
    if len(data) >= IDENTITY_SIZE + identity:  # the checksum is not what it shall be refused for
        data = bytearray(seal.sealed(data, identity))
    target.write_bytes(data)
    return target


def newer(data: bytearray, identity: int) -> None:
    """Let it be of a Kitsune to come."""
    data[identity + IDENTITY_ABI] += 1


def older(data: bytearray, identity: int) -> None:
    """Let it be of a Kitsune of old."""
    data[identity + IDENTITY_ABI] -= 1


def of_another_program(data: bytearray, identity: int) -> None:
    """Let it be another program."""
    data[identity + IDENTITY_PROGRAM] = ord("x")


def without_magic(data: bytearray, identity: int) -> None:
    """Let it be something else."""
    data[identity : identity + 8] = bytes(8)


def cut_off(data: bytearray, identity: int) -> None:
    """Leave half of it."""
    del data[len(data) // 2 :]


def emptied(data: bytearray, identity: int) -> None:
    """Leave nothing."""
    data.clear()


def no_elf(data: bytearray, identity: int) -> None:
    """Let it be a text."""
    data[:4] = b"text"


def of_another_parent(data: bytearray, identity: int) -> None:
    """Let it follow what does not run."""
    at = identity + stamps.PARENTS
    data[at : at + stamps.ID_SIZE] = bytes(stamps.ID_SIZE)


def without_library(data: bytearray, identity: int) -> None:
    """Let it need a library that is not there."""
    at = data.index(b"libc.so.6\0")
    data[at : at + 9] = b"libx.so.6"


def without_symbol(data: bytearray, identity: int) -> None:
    """Let it need a symbol that is not there."""
    at = data.index(b"\0gettid\0") + 1
    data[at : at + 6] = b"gettxx"
