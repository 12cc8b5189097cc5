"""Real programs, fetched and built by their own build systems through the look-alike.

In: a name of `RECIPES`. Out: the commands that compiled its units, so that they can be run again in
other ways. Callers: the tests on real programs and the benchmark of the front-end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import fetch_source

from kitsune_tool import toolchain
from kitsune_tool.toolchain import Command, Source

_BUILD_TIMEOUT_S = 1200


@dataclass(frozen=True)
class Recipe:
    """How a program is built; `{cc}` in a command is the compiler."""

    package: str
    version: str
    commands: tuple[str, ...]
    least_units: int
    """So many units it has at least: fewer would mean that something was not captured."""


RECIPES = {
    "ngircd-27": Recipe("ngircd", "27", ("./configure CC={cc}", "make -j2"), 40),
    "ngircd-28": Recipe("ngircd", "28", ("./configure CC={cc}", "make -j2"), 40),
    "redis-7.0.15": Recipe("redis", "7.0.15", ("make -j2 CC={cc} MALLOC=libc",), 130),
    "lighttpd-1.4.79": Recipe(
        "lighttpd", "1.4.79", (f"{sys.executable} -m SCons -j2 CC={{cc}} with_pcre2=no",), 70
    ),
    "nginx-1.22.1": Recipe(
        "nginx",
        "1.22.1",
        ("./configure --with-cc={cc} --without-http_rewrite_module --without-http_gzip_module"
         " --with-http_v2_module --with-stream --with-mail", "make -j2"),
        120,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CapturedUnit:
    """A command that made an object of one C source, and where it ran."""

    directory: Path
    command: Command

    @property
    def source(self) -> Source:
        """Return what the command compiles."""
        return self.command.c_sources[0]

    @property
    def object(self) -> Path:
        """Return where the command puts its object."""
        return self.directory / self.command.output_of(self.source)

    def __str__(self) -> str:
        return f"{self.directory.name}/{self.source.path}"


@dataclass(frozen=True)
class Captured:
    """A program that was built; `root` is the root of its sources."""

    root: Path
    units: tuple[CapturedUnit, ...]


def _wrapper(directory: Path, log: Path) -> Path:
    script = directory / "cc"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"with open({str(log)!r}, 'a') as log:\n"
        "    log.write(json.dumps([os.getcwd(), sys.argv[1:]]) + '\\n')\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'kitsune_tool.cc', 'gcc',"
        " *sys.argv[1:]])\n"
    )
    script.chmod(0o755)
    return script


def _units(log: Path) -> tuple[CapturedUnit, ...]:
    found: dict[Path, CapturedUnit] = {}
    for line in log.read_text().splitlines():
        directory, arguments = json.loads(line)
        command = toolchain.parse(["gcc"], arguments)
        if command.action == "compile" and len(command.c_sources) == 1:
            unit = CapturedUnit(Path(directory), command)
            if (unit.directory / unit.source.path).is_file() and unit.object.is_file():
                found[unit.object] = unit
    return tuple(found.values())


def capture(name: str, where: Path) -> Captured:
    """Build a program of `RECIPES` below `where`, a directory of its own.

    Raises `SourceUnavailable` if the source cannot be had, and `RuntimeError` if it does not build.
    """
    recipe = RECIPES[name]
    root = fetch_source.unpack(fetch_source.fetch(recipe.package, recipe.version), where)
    log = where / "commands"
    compiler = _wrapper(where, log)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KITSUNE")}
    for command in recipe.commands:
        done = subprocess.run(
            command.format(cc=compiler).split(), cwd=root, env=environment, capture_output=True,
            text=True, timeout=_BUILD_TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    units = _units(log)
    if len(units) < recipe.least_units:
        raise RuntimeError(f"{name}: only {len(units)} units were captured")
    return Captured(root, units)
