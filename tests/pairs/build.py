"""A group of cases → the two releases of its program, made as a user's build would make them.

Every step is a command line of the tool, so that it can be taken from another place: a copy with a
planted fault (`Tool`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from pairs.emit import RULE_FILE, Group, Version

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMON = HERE.parent / "update/common"
ASAN = ("-fsanitize=address", "-fno-omit-frame-pointer")
_PLAIN_FLAGS = ("-std=gnu11", "-g", "-w", "-fPIC", "-fvisibility=hidden")


@dataclass(frozen=True, slots=True)
class Tool:
    """Where the tool is, and the environment in which its commands run."""

    root: Path = ROOT
    cache: Path | None = None
    jobs: int = 2

    def environment(self, directory: Path) -> dict[str, str]:
        """Return the environment of every process of a build or run in `directory`."""
        runtime = directory / "run"
        runtime.mkdir(mode=0o700, exist_ok=True)
        found = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "KITSUNE_RUNTIME_DIR": str(runtime),
            "ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0",
        }
        if self.cache is not None:
            found["XDG_CACHE_HOME"] = str(self.cache)
        return found


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler and its flags; `asan`: the program runs under AddressSanitizer."""

    command: str
    level: str
    asan: bool = False

    def __str__(self) -> str:
        return f"{self.command} {self.level}{' asan' if self.asan else ''}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the flags of every compile."""
        return (self.level, *(ASAN if self.asan else ()))


@dataclass(frozen=True, slots=True)
class Built:
    """The releases of a group; `complaints` is what the second one's build said if it failed."""

    directory: Path
    group: Group
    compiler: Compiler
    tool: Tool
    old: Version
    new: Version
    complaints: str = ""

    def release(self, version: int) -> Path:
        """Return the path of a release."""
        return self.directory / f"release{version}/pairs.so"


class BuildError(Exception):
    """Something of a build failed that cannot be any case's fault of the second release."""


def build(group: Group, directory: Path, compiler: Compiler, tool: Tool) -> Built:
    """Build both releases in an empty directory."""
    versions = (group.version("old"), group.version("new"))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kitsune.yaml").write_text(yaml.safe_dump(group.manifest(), sort_keys=False))
    (directory / RULE_FILE).write_text(group.rule_file())
    work = _Build(directory, compiler, tool)
    with ThreadPoolExecutor(tool.jobs) as pool:
        jobs = [job for i, each in enumerate(versions, 1) for job in work.compiles(i, each)]
        list(pool.map(lambda job: work.run(job[0], job[1]), jobs))
    work.run(work.release(1, versions[0], None), directory)
    built = Built(directory, group, compiler, tool, *versions)
    command = work.release(2, versions[1], built.release(1))
    complaints = work.try_run(command, directory)
    return Built(directory, group, compiler, tool, *versions, complaints)


@dataclass(frozen=True, slots=True)
class _Build:
    directory: Path
    compiler: Compiler
    tool: Tool

    def compiles(self, number: int, version: Version) -> list[tuple[list[str], Path]]:
        """Write a version's files; return the commands that compile them."""
        place = self.directory / f"v{number}"
        place.mkdir()
        for name, text in version.sources.items():
            (place / name).write_text(text)
        (place / "main.c").write_text((HERE / "program/main.c").read_text())
        (place / "meta.c").write_text(version.meta)
        known = [name for name in version.sources if name.endswith(".c")]
        found = [(self._known(f"{name}"), place) for name in (*known, "main.c")]
        found += [
            (self._plain(str(place / "meta.c"), "meta.o", "-O0"), place),
            (self._plain(str(HERE / "program/heap.c"), "heap.o", "-O1"), place),
        ]
        return found

    def _includes(self) -> list[str]:
        include = self.tool.root / "runtime/include"
        return [f"-I{include}", f"-I{COMMON}", f"-I{HERE / 'program'}"]

    def _known(self, name: str) -> list[str]:
        compiler = self.compiler
        return [
            *(sys.executable, "-m", "kitsune_tool.cc", compiler.command, *compiler.flags),
            *(*_PLAIN_FLAGS, *self._includes(), "-c", name, "-o", f"{name[:-2]}.o"),
        ]

    def _plain(self, source: str, name: str, level: str) -> list[str]:
        flags = [*self.compiler.flags, level, *_PLAIN_FLAGS, *self._includes()]
        return [self.compiler.command, *flags, "-c", source, "-o", name]

    def release(self, number: int, version: Version, parent: Path | None) -> list[str]:
        """Return the command that links a release."""
        place = self.directory / f"v{number}"
        output = self.directory / f"release{number}/pairs.so"
        output.parent.mkdir()
        names = [f"{n[:-2]}.o" for n in version.sources if n.endswith(".c")]
        chained = [f"--parent={parent}"] if parent else ["--unchained"]
        compiler = [self.compiler.command, *self.compiler.flags]
        return [
            *(sys.executable, "-m", "kitsune_tool.cli", "release", f"--version={number}"),
            *(f"--output={output}", *chained, "--compiler", *compiler, "--objects"),
            *(str(place / name) for name in (*names, "main.o", "meta.o", "heap.o")),
            *(ASAN if self.compiler.asan else ()),
        ]

    def run(self, command: Sequence[str], directory: Path) -> None:
        """Run a command that must succeed."""
        complaints = self.try_run(command, directory)
        if complaints:
            raise BuildError(f"{' '.join(command)}\n{complaints}")

    def try_run(self, command: Sequence[str], directory: Path) -> str:
        """Run a command; return what it complained of, empty if it succeeded."""
        done = subprocess.run(
            command,
            cwd=directory,
            env=self.tool.environment(self.directory),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr or "failed without a word"
