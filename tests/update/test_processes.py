"""Servers as they are: asleep for ever, with children, as daemons, with handlers of their own.

Each test goes through two real updates at least, so that what the first leaves behind is met.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "processes"
PATIENCE_S = 10


def children_of(pid: int) -> dict[int, str]:
    """Return a process's children and their names."""
    children = {}
    for number in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children[int(number)] = Path(f"/proc/{number}/comm").read_text("ascii").strip()
    return children


def helper_of(server: Any, former: int = 0) -> int:
    """Return the process id of a server's helper, once there is one (another than `former`)."""
    server.ask("version")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for child, name in children_of(server.pid).items():
            if name == "kitsune-helper" and child != former:
                return child
    raise AssertionError("there is no helper")


def settled_children(server: Any) -> list[str]:
    """Return the names of a server's children once what looks through its memory has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while len(names := children_of(server.pid)) > 1 and time.monotonic() < deadline:
        server.ask("version")
    return list(names.values())


@pytest.mark.parametrize("call", ["select", "poll", "epoll"])
def test_server_asleep_is_woken(
    call: str, built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """It waits for ever, and ends itself if a wait is interrupted."""
    scenario = built(FOLDER)
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    server.ask(f"wait {call}")
    plan.write_text("migrated segv\n", encoding="ascii")
    assert server.update_now(scenario.release("2")).code == "K354"
    plan.unlink()
    assert server.update_now(scenario.release("2")).committed
    assert server.ask("version") == "2"
    assert server.update_now(scenario.release("3")).committed
    assert server.is_running()
    assert server.stop() == 0


def test_helper_may_be_killed(built: Callable[..., Any], start: Callable[..., Any]) -> None:
    scenario = built(FOLDER)
    server = start(scenario.release("1"))
    for version in ("2", "3"):
        former = helper_of(server)
        os.kill(former, signal.SIGKILL)
        helper_of(server, former)
        assert server.update(scenario.release(version)).committed
    assert settled_children(server) == ["kitsune-helper"]


def test_daemon_is_updated_twice(built: Callable[..., Any], start: Callable[..., Any]) -> None:
    scenario = built(FOLDER)
    server = start(scenario.release("1"), DAEMON="1")
    started, server.pid = server.pid, int(server.ask("pid"))
    assert server.pid != started
    helper_of(server)
    for version in ("2", "3"):
        assert server.update(scenario.release(version)).committed
        assert server.ask("pid") == str(server.pid)


def test_children_finish_in_their_own_version(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """A child never updates, however its parent fares, whose waits see only its own children."""
    scenario = built(FOLDER)
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    server.ask("child")
    plan.write_text("migrated abrt\n", encoding="ascii")
    assert server.update(scenario.release("2")).code == "K354"
    server.ask("child")
    plan.unlink()
    assert server.update(scenario.release("2")).committed
    server.ask("child")
    assert server.update(scenario.release("3")).committed
    assert server.ask("finish").split(" | ") == [
        "child of 2 with 2 jobs ends with 12",
        "child of 1 with 1 jobs ends with 11",
        "child of 1 with 0 jobs ends with 11",
        "0 left",
    ]
    assert settled_children(server) == ["kitsune-helper"]


def test_handler_of_faults_stays_the_programs(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """On the alternate stack, before and after a rollback and a commit."""
    scenario = built(FOLDER)
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    assert server.ask("fault") == "1 faults caught by 1"
    for place in ("main", "migrated"):
        plan.write_text(f"{place} overflow\n", encoding="ascii")
        assert server.update(scenario.release("2")).code == "K355"
    assert server.ask("fault") == "2 faults caught by 1"
    plan.unlink()
    assert server.update(scenario.release("2")).committed
    assert server.ask("fault") == "3 faults caught by 2"
    assert server.update(scenario.release("3")).committed
    assert server.ask("fault") == "4 faults caught by 1"
