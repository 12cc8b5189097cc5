"""A plain executable of each version of the key-value server, and a running one."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator
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
