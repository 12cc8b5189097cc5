"""A small program with two versions, built by SCons in a directory of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300

SCONSTRUCT = """\
env = Environment(
    tools=["default"],
    CCFLAGS=["-O1"],
    KITSUNECCCOMSTR="CC $TARGET",
    KITSUNECOMSTR="LINK $TARGET",
    KITSUNEPUBLISHCOMSTR="PUBLISH $KITSUNEVERSION",
    CCCOMSTR="plain CC $TARGET",
    LINKCOMSTR="plain LINK $TARGET",
    ARCOMSTR="AR $TARGET",
    RANLIBCOMSTR="RANLIB $TARGET",
)
env.Tool("kitsune")
*older, newest = env.KitsuneVersions()
for version in older:
    env.KitsuneRelease(version, env.Glob(f"{version.source}/*.c"))
env.KitsuneProgram("build/counter", env.Glob(f"{newest.source}/*.c"), plain=True)
"""

MANIFEST = """\
kitsune: 1
program: counter
versions:
  - version: "1.0"
    source: v1
  - version: "2.0"
    source: v2
    rules:
      - init: struct counter.step
        code: $out = 1;
"""

MAIN = """\
#include <kitsune.h>
#include "counter.h"

int main(void)
{
    kitsune_do_automigrate();
    for (int i = 0; i < 3; i++) {
        kitsune_update("main");
        printf("%d\\n", counter_next());
    }
    return 0;
}
"""

COUNTER = """\
#include "counter.h"

static struct counter counter;

int counter_next(void)
{
    return counter.value += STEP;
}
"""

FILES = {
    "SConstruct": SCONSTRUCT,
    "kitsune.yaml": MANIFEST,
    "v1/main.c": MAIN,
    "v1/counter.c": COUNTER,
    "v1/counter.h": "#define STEP 1\nstruct counter {\n    int value;\n};\n"
    "int counter_next(void);\n",
    "v2/main.c": MAIN,
    "v2/counter.c": COUNTER,
    "v2/counter.h": "#define STEP 2\nstruct counter {\n    int value;\n    int step;\n};\n"
    "int counter_next(void);\n",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished run of SCons: what it did, one line each, and what it said."""

    status: int
    done: list[str]
    errors: str

    def ok(self) -> Ran:
        """Return this run if it succeeded; show what went wrong if not."""
        assert self.status == 0, f"{self.done}\n{self.errors}"
        return self


@dataclass(frozen=True, slots=True)
class Project:
    """A directory with a SConstruct."""

    place: Path

    def write(self, name: str, text: str) -> None:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.place / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def scons(self, *arguments: str, **variables: str) -> Ran:
        """Run SCons without its own talk."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "SCons", "-Q", *arguments],
            cwd=self.place,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Ran(done.returncode, done.stdout.splitlines(), done.stderr)

    def files(self) -> dict[str, bytes]:
        """Return all files with their contents, without SCons's database and Python's cache."""
        return {
            str(path.relative_to(self.place)): path.read_bytes()
            for path in sorted(self.place.rglob("*"))
            if path.is_file()
            and not path.name.startswith(".sconsign")
            and path.parent.name != "__pycache__"
        }

    def store(self, version: str) -> Path:
        return self.place / "releases" / "counter" / version


@pytest.fixture
def project(tmp_path: Path, make_project: Callable[[Path], Project]) -> Project:
    return make_project(tmp_path / "project")


@pytest.fixture
def make_project() -> Callable[[Path], Project]:
    return new_project


@pytest.fixture(scope="session")
def released_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the chain once; tests take copies of it."""
    made = new_project(tmp_path_factory.mktemp("released") / "project")
    made.scons("release-chain").ok()
    return made.place


@pytest.fixture
def released(released_once: Path, tmp_path: Path) -> Project:
    """Give a project whose releases are in the store already."""
    return Project(shutil.copytree(released_once, tmp_path / "project"))


def new_project(place: Path) -> Project:
    made = Project(place)
    for name, text in FILES.items():
        made.write(name, text)
    tool = (ROOT / "site_scons" / "site_tools" / "kitsune.py").read_text()
    made.write("site_scons/site_tools/kitsune.py", tool)
    return made
