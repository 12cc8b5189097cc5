"""What a restart begins with: the store's link, and the units that use it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
UNITS = sorted((HERE.parents[1] / "examples/systemd").glob("*.service"))
KITSUNE = [sys.executable, "-m", "kitsune_tool.cli"]


def update(server: Any, release: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KITSUNE, "update", *options, str(server.pid), str(release)],
        env=server.environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_an_update_moves_the_link_that_restarts_begin_with(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    scenario = built(HERE / "idle")
    store = tmp_path / "store"
    shutil.copytree(scenario.release("1").parents[1], store / "scenario")
    current = store / "scenario/current"
    current.symlink_to("1")
    server = start(current / "scenario.so")
    server.ask("add 5")
    first, second = (store / f"scenario/{version}/scenario.so" for version in "12")

    assert update(server, first).returncode == 0  # it runs already
    done = update(server, tmp_path / "elsewhere.so", "--set-current")
    assert "error[K304]" in done.stderr
    shutil.copy(second, tmp_path / "elsewhere.so")
    done = update(server, tmp_path / "elsewhere.so", "--set-current")
    assert (done.returncode, "error[K321]" in done.stderr) == (1, True)
    assert current.readlink() == Path("1")

    second.rename(second.with_suffix(".kept"))
    second.write_bytes(b"no release")
    assert update(server, second, "--set-current").returncode == 10
    assert current.readlink() == Path("1")
    second.with_suffix(".kept").rename(second)

    assert update(server, second).returncode == 0
    assert current.readlink() == Path("1")
    assert update(server, second, "--set-current").returncode == 0
    assert current.readlink() == Path("2")
    assert server.ask("list") == "5 0"

    current.unlink()
    current.mkdir()
    done = update(server, second, "--set-current")
    assert (done.returncode, "error[K322]" in done.stderr) == (1, True)
    current.rmdir()
    assert update(server, second, "--set-current").returncode == 0
    restarted = start(current / "scenario.so")
    restarted.ask("add 7")
    assert restarted.ask("list") == "7 0"
    assert sorted(path.name for path in current.parent.iterdir()) == ["1", "2", "3", "current"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])
def test_units_are_right(unit: Path, tmp_path: Path) -> None:
    """Programs and users that they name are not on this machine."""
    copy = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8")
    copy.write_text(text.replace("/usr/local/bin/kitsune", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
