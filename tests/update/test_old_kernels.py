"""Updates where the kernel lacks what newer ones have: a filter answers as an old one would."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FACILITIES = (
    "pidfd_open", "close_range", "kcmp", "process_vm_readv", "rseq", "clone3", "faccessat2",
    "pagemap_scan", "mfd_exec",
)  # fmt: skip
VERSION_TEXTS = {"2": "2", "3": "1"}
"""What the scenario says; its third version is the first one again."""
PATIENCE_S = 30


@pytest.fixture(scope="session")
def old_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program that runs a command without some of the kernel's facilities."""
    target = tmp_path_factory.mktemp("old") / "old_kernel"
    source = HERE / "old_kernel.c"
    command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(target)]
    subprocess.run(command, check=True, timeout=60)
    return target


def command_without(program: Path, *names: str) -> list[str]:
    return [str(program), *names, "--", sys.executable, "-m", "kitsune_tool.cli", "run"]


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


@pytest.mark.parametrize("missing", [*FACILITIES, "all of these"])
def test_an_update_needs_none_of_them(
    missing: str,
    old_kernel: Path,
    built: Callable[..., Any],
    start: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """A crash is rolled back, an update carried out, and the helper ends with the program."""
    scenario = built(HERE / "processes")
    names = FACILITIES if missing == "all of these" else (missing,)
    plan = tmp_path / "fail"
    command = command_without(old_kernel, *names)
    server = start(scenario.release("1"), command=command, FAIL_FILE=str(plan))
    assert server.ask("version") == "1"
    helpers = children_of(server.pid)
    assert len(helpers) == 1
    for way, code in (("migrated segv", "K354"), ("migrated spoil", "K354")):
        plan.write_text(f"{way}\n", encoding="ascii")
        answer = server.update_now(scenario.release("2"))
        assert (answer.committed, answer.code) == (False, code), answer.text
        assert server.ask("version") == "1"
    plan.unlink()
    for version in ("2", "3"):
        answer = server.update_now(scenario.release(version))
        assert answer.committed, answer.text
        assert server.ask("version") == VERSION_TEXTS[version]
    assert server.stop() == 0
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{helpers[0]}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_rehearsal_that_cannot_be_is_refused(
    old_kernel: Path, built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    scenario = built(HERE / "processes")
    server = start(scenario.release("1"), command=command_without(old_kernel, "seccomp"))
    assert server.ask("version") == "1"
    answer = server.update(scenario.release("2"), "--rehearse")
    assert answer.code == "K372", answer.text
    assert "the kernel takes no filter (seccomp)" in answer.reason
    assert server.ask("version") == "1"
    assert server.update(scenario.release("2")).committed
