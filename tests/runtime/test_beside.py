"""Work that the engine shares with tasks beside its thread: done once all, whoever ends before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNTIME = HERE.parents[1] / "runtime"


@pytest.fixture(scope="session")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("beside") / "beside"
    sources = [RUNTIME / "src" / name for name in ("beside.c", "platform.c", "platform_x86_64.S")]
    options = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]
    includes = [f"-I{RUNTIME / 'src'}", f"-I{RUNTIME / 'include'}"]
    inputs = [str(each) for each in (HERE / "beside.c", *sources)]
    command = ["gcc", *options, *includes, *inputs, "-o", str(target)]
    subprocess.run(command, check=True, timeout=300)
    return target


@pytest.mark.parametrize("what", ["all", "alone", "fault", "leave"])
def test_every_part_is_done_and_nobody_is_left(beside: Path, what: str) -> None:
    for _ in range(5):
        done = subprocess.run([beside, what], capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done
