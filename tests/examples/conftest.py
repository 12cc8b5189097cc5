"""Versions of the key-value server as plain executables, and what runs an example's scenario."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSIONS = ("v1", "v2", "v3")
WARNINGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="session")
def plain_kvd(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what compiles a version with sanitizers and without Kitsune's part."""
    directory = tmp_path_factory.mktemp("kvd")

    def compiled(version: str) -> Path:
        target = directory / version
        if not target.exists():
            sources = sorted((ROOT / "examples/kvd" / version).glob("*.c"))
            api = ROOT / "runtime/src/plain.c"
            include = f"-I{ROOT / 'runtime/include'}"
            options = [*WARNINGS, *SANITIZERS, include]
            subprocess.run(["gcc", *options, *sources, api, "-o", target], check=True)
        return target

    return compiled


@pytest.fixture
def kvd_port(plain_kvd: Callable[[str], Path]) -> Iterator[Callable[[str], int]]:
    """Return what starts a version and tells its port; a sanitizer's complaint fails the test."""
    with contextlib.ExitStack() as servers:

        def start(version: str) -> int:
            server = subprocess.Popen(
                [plain_kvd(version), "--port", "0"], stdout=subprocess.PIPE, text=True
            )
            servers.callback(stop, server)
            assert server.stdout is not None
            ready = re.search(r"ready on port (\d+)", server.stdout.readline())
            assert ready
            return int(ready[1])

        yield start


def stop(server: subprocess.Popen[str]) -> None:
    """End a server as an operator does and check that it ended well."""
    server.terminate()
    try:
        assert server.wait(20) == 0
    finally:
        server.kill()
        assert server.stdout is not None
        server.stdout.close()


SCENARIO_TIMEOUT_S = 7200
NOT_HERE = 3


@pytest.fixture(scope="session")
def output_of() -> Callable[..., str]:
    """Return what runs an example's scenario and returns what it prints, or skips the test."""
    return lambda example, *options: _output(example, "scenario.py", options)


@pytest.fixture(scope="session")
def build_of() -> Callable[..., str]:
    """Return what only builds an example, by a script of its own; it may skip the test."""
    return lambda example, script: _output(example, script, ())


@pytest.fixture
def own_tests_of() -> Callable[..., str]:
    """Return what runs a program's own tests, amid updates, or some; it may skip the test."""
    return lambda example, *tests: _output(example, "own_tests.py", tests)


def _output(example: str, script: str, options: Sequence[str]) -> str:
    command = [sys.executable, str(ROOT / "examples" / example / script), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SCENARIO_TIMEOUT_S, check=False
    )
    if done.returncode == NOT_HERE:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LOST" not in done.stdout
    return done.stdout


@pytest.fixture
def matrix_of() -> Callable[..., str]:
    """Return what tries the update to a version, which a scenario has built, at many moments."""

    def tried(example: str, version: str, *options: str) -> str:
        command = [sys.executable, "-m", "kitsune_tool.cli", "test-update", "--version", version]
        done = subprocess.run(
            [*command, *options],
            cwd=ROOT / "examples" / example,
            capture_output=True,
            text=True,
            timeout=SCENARIO_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^[1-9]\d* passed, 0 failed, ", done.stdout, re.MULTILINE), done.stdout
        return done.stdout

    return tried


@pytest.fixture
def moved() -> Callable[[str], set[str]]:
    """Return what names the types of which an update has moved objects, as scenarios print them."""

    def names(update: str) -> set[str]:
        lines = re.finditer(r"^  (\S.*\S) +[1-9]\d* moved", update, re.MULTILINE)
        return {line[1].strip() for line in lines}

    return names
