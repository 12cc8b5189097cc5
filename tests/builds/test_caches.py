"""Compiler caches in front of the look-alike hit when they may, and never when they must not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kitsune_tool import objects

Shell = Callable[..., str]
MANIFEST = 'kitsune: 1\nprogram: tick\nversions:\n  - version: "1.0"\n'
EDIT = "standing: {edits: [{insert: 'count++;', function: main, at: start}]}\n"
MAIN = '#include <kitsune.h>\nint count;\nint main(void) { kitsune_update("main"); return 0; }\n'

pytestmark = pytest.mark.skipif(shutil.which("ccache") is None, reason="ccache is not installed")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "kitsune.yaml").write_text(MANIFEST)
    (tmp_path / "main.c").write_text(MAIN)
    return tmp_path


def hits_and_misses(sh: Shell) -> tuple[int, int]:
    """Return the numbers since the last look."""
    lines = (
        line.split("\t") for line in sh("ccache --print-stats; ccache -z >/dev/null").splitlines()
    )
    counts = {words[0]: int(words[1]) for words in lines if len(words) == 2}
    return counts["direct_cache_hit"] + counts["preprocessed_cache_hit"], counts["cache_miss"]


def test_cmake_with_ccache(place: Path, sh: Shell) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    (place / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(tick C)\nadd_executable(tick main.c)\n"
    )
    cache = f"export CCACHE_DIR={place}/cache; "
    configure = (
        "kitsune config -o front-end.json; cmake -S . -B build >/dev/null "
        "-DCMAKE_C_COMPILER=kitsune-cc -DCMAKE_C_COMPILER_LAUNCHER=ccache "
        f"-DCMAKE_C_FLAGS=--kitsune-config={place}/front-end.json"
    )
    counted: Shell = lambda lines: sh(cache + lines)  # noqa: E731
    counted(f"{configure}; ccache -z >/dev/null; cmake --build build")
    assert hits_and_misses(counted) == (0, 1)
    counted("cmake --build build --target clean; cmake --build build")
    assert hits_and_misses(counted) == (1, 0)
    with (place / "kitsune.yaml").open("a") as manifest:
        manifest.write(EDIT)
    counted(f"{configure}; cmake --build build")
    assert hits_and_misses(counted) == (0, 1)
    assert len(objects.read_units(place / "build/tick")[0].edits) == 1
    counted("kitsune release --program build/tick -o o/tick.so")


def test_scons_with_ccache(place: Path, sh: Shell) -> None:
    (place / "SConstruct").write_text(
        "import os, kitsune_tool.scons\n"
        'env = Environment(ENV=os.environ, tools=["default", kitsune_tool.scons.generate],\n'
        '                  KITSUNECC="ccache kitsune-cc")\n'
        'env.KitsuneProgram("tick", ["main.c"])\n'
    )
    counted: Shell = lambda lines: sh(f"export CCACHE_DIR={place}/cache; {lines}")  # noqa: E731
    counted("ccache -z >/dev/null; scons -Q tick.so")
    assert hits_and_misses(counted) == (0, 1)
    before = (place / "tick.so").read_bytes()
    counted("scons -Q -c >/dev/null; scons -Q tick.so")
    assert hits_and_misses(counted) == (1, 0)
    assert (place / "tick.so").read_bytes() == before
    with (place / "kitsune.yaml").open("a") as manifest:
        manifest.write(EDIT)
    counted("scons -Q tick.so")
    assert hits_and_misses(counted) == (0, 1)
