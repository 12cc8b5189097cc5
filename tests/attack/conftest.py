"""Releases of the attacked server and keys, made once for all tests of trust."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from attack.harness import Key, build_ledger


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The first release of the ledger and the one that follows it."""
    return build_ledger(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Key, Key]:
    """A key that is trusted, and a stranger's."""
    if not shutil.which("minisign"):
        pytest.skip("no minisign (Debian: apt install minisign)")
    directory = tmp_path_factory.mktemp("keys")
    return Key.made(directory, "trusted"), Key.made(directory, "other")
