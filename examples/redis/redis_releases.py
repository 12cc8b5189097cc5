"""Redis, built by its own Makefile through the compiler look-alike, and its releases.

In: nothing but this directory. Out: for each version of kitsune.yaml a release in the store, and
upstream's own programs below build/source. Used by scenario.py; run alone, it builds as well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import fetch_source  # noqa: E402 - it lies beside the examples

SOURCES = HERE / "build/source"
STORE = HERE / "build/releases/redis"
VERSIONS = ("8.0.2", "8.0.6")
KITSUNE = (sys.executable, "-m", "kitsune_tool.cli")
OPTIONS = (
    "MALLOC=libc",
    "OPTIMIZATION=-O2",
    "BUILD_TLS=no",
    "USE_SYSTEMD=no",
    "STD=-pedantic -DREDIS_STATIC= -std=gnu11",
)
"""libc's allocator is one of those that Redis can be built with, and the one Kitsune knows.
Link-time optimisation, the default with -O3, is left out. `STD` is what it is by default, but for
quotes that the Makefile loses, whereupon its next run would build everything anew."""


SourceUnavailable = fetch_source.SourceUnavailable


class BuildFailed(Exception):
    """Something did not build; the text is what was printed."""


def server(version: str) -> Path:
    """Return upstream's server of a version, in which Kitsune's calls do nothing."""
    return SOURCES / f"redis_{version}/src/redis-server"


def release(version: str) -> Path:
    """Return the release of a version."""
    return STORE / version / "redis.so"


def build_all() -> None:
    """Fetch and build what is not there yet. Raises `SourceUnavailable` and `BuildFailed`."""
    for version in VERSIONS:
        fetch_source.unpack(fetch_source.fetch("redis", version), SOURCES)
        _make(version)
    # Nobody runs what was released before; a store never changes what is in it.
    shutil.rmtree(STORE, ignore_errors=True)
    manifest = yaml.safe_load((HERE / "kitsune.yaml").read_text(encoding="utf-8"))
    for each in manifest["versions"]:
        program = server(each["version"].partition("+")[0])
        words = ("release", "--publish", "--version", each["version"], "--program", str(program))
        _run([*KITSUNE, *words], HERE)


def _make(version: str) -> None:
    """Run Redis's own Makefile. What it has made is made anew if the settings are others."""
    settings = HERE / f"build/{version}.json"
    before = settings.read_bytes() if settings.exists() else b""
    words = ("config", "--version", version, "-o", str(settings))
    _run([*KITSUNE, *words], HERE)
    if settings.read_bytes() != before:
        for old in (SOURCES / f"redis_{version}/src").glob("*.o"):
            old.unlink()
    compiler = f"{sys.executable} -m kitsune_tool.cc --kitsune-config={settings} gcc"
    make = ["make", "-j1", f"CC={compiler}", *OPTIONS, "redis-server"]
    _run(make, SOURCES / f"redis_{version}/src")


def _run(command: list[str], where: Path) -> None:
    done = subprocess.run(
        command, cwd=where, capture_output=True, text=True, timeout=3600, check=False
    )
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-6000:]}")


if __name__ == "__main__":
    build_all()
