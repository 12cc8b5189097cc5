"""Tor, built by its own configure and make through the compiler look-alike, and its releases.

In: nothing but this directory. Out: for each version of kitsune.yaml a release in the store, and
upstream's own programs below build/source. Used by scenario.py, check.py and own_tests.py; run
alone, it builds as well.
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
from fetch_source import SourceUnavailable  # noqa: E402
from scenarios import KITSUNE, NOT_HERE, release, store  # noqa: E402

SOURCES = HERE / "build/source"
VERSION = "0.4.9.11"
WITH_FIELD = f"{VERSION}+field"
WITH_FIELD_UNITS = "src/feature/stats/*bwhist*.o"
"""What is compiled otherwise than for the version itself: all that knows the structure."""
BUILD_TIMEOUT_S = 7200
SETTINGS = (
    "--disable-unittests",
    "--disable-asciidoc",
    "--disable-manpage",
    "--disable-html-manual",
    "--disable-seccomp",
    "--disable-systemd",
    "--disable-lzma",
    "--disable-zstd",
    "--disable-libscrypt",
    "--disable-tool-name-check",
    "--disable-dependency-tracking",
)
"""Optional libraries are left out, documents and tests, too; the rest is as upstream has it."""


class BuildFailed(Exception):
    """Something did not build; the text is what was printed."""


def source(version: str) -> Path:
    """Return the root of the source of a version, in which it is built."""
    return SOURCES / f"tor_{version if version == WITH_FIELD else version.partition('+')[0]}"


def tor(version: str) -> Path:
    """Return upstream's tor of a version, in which Kitsune's calls do nothing."""
    return source(version) / "src/app/tor"


def gencert(version: str) -> Path:
    """Return upstream's maker of an authority's keys."""
    return source(version) / "src/tools/tor-gencert"


def released(version: str) -> Path:
    """Return the release of a version."""
    return release(HERE, version)


def build(cflags: str) -> int:
    """Fetch and build what is not there yet; return 0, 1 or `NOT_HERE`."""
    print(f"== fetching and building Tor {VERSION}", flush=True)
    try:
        _build_all(cflags)
    except (SourceUnavailable, BuildFailed) as error:
        print(f"tor: {error}", file=sys.stderr)
        return NOT_HERE if isinstance(error, SourceUnavailable) else 1
    return 0


def _build_all(cflags: str) -> None:
    fetch_source.unpack(fetch_source.fetch("tor", VERSION), SOURCES)
    _make(VERSION, cflags)
    _make_with_field()
    # Nobody runs what was released before; a store never changes what is in it.
    shutil.rmtree(store(HERE), ignore_errors=True)
    manifest = yaml.safe_load((HERE / "kitsune.yaml").read_text(encoding="utf-8"))
    for each in manifest["versions"]:
        version = each["version"]
        words = ("release", "--publish", "--version", version, "--program", str(tor(version)))
        _run([*KITSUNE, *words], HERE)


def _make(version: str, cflags: str) -> None:
    """Run Tor's own configure and make. What was made with other settings is made anew."""
    settings = HERE / f"build/{version}.json"
    before = settings.read_bytes() if settings.exists() else b""
    _run([*KITSUNE, "config", "--version", version, "-o", str(settings)], HERE)
    where = source(version)
    if not (where / "Makefile").exists():
        _run(["./configure", "--quiet", f"CFLAGS={cflags}", *SETTINGS], where)
    if settings.read_bytes() != before:
        for old in (*where.rglob("*.o"), *where.rglob("*.a")):
            old.unlink()
    _compile(version, settings)


def _make_with_field() -> None:
    """Take what was made for the version itself, and compile what has the field."""
    settings = HERE / f"build/{WITH_FIELD}.json"
    _run([*KITSUNE, "config", "--version", WITH_FIELD, "-o", str(settings)], HERE)
    where = source(WITH_FIELD)
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(source(VERSION), where, symlinks=True)
    for old in where.glob(WITH_FIELD_UNITS):
        old.unlink()
    _compile(WITH_FIELD, settings)


def _compile(version: str, settings: Path) -> None:
    compiler = f"{sys.executable} -m kitsune_tool.cc --kitsune-config={settings} gcc"
    programs = ("src/app/tor", "src/tools/tor-gencert")
    _run(["make", "-j2", f"CC={compiler}", *programs], source(version))


def _run(command: list[str], where: Path) -> None:
    done = subprocess.run(
        command, cwd=where, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-6000:]}")


if __name__ == "__main__":
    sys.exit(build("-O2 -g"))
