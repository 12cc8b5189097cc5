"""Copies of the process, of which the program must notice nothing."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import channel
from kitsune_tool.errors import KitsuneError

HERE = Path(__file__).parent
PATIENCE_S = 60


@pytest.fixture
def server(built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path) -> Any:
    scenario = built(HERE / "closed_for_all")
    server = start(scenario.release("1"))
    server.scenario = scenario
    server.channel = channel.Channel(tmp_path / "run", server.pid)
    assert missed(server) == 0
    return server


def missed(server: Any) -> int:
    """Return how often the program saw no end of a connection that it had closed."""
    return int(server.ask("missed").split()[0])


def status(server: Any) -> dict[str, Any]:
    """Return what the program's channel tells; empty while there is no helper."""
    try:
        found: dict[str, Any] = channel.ask(server.channel, ["status"], PATIENCE_S)
    except KitsuneError:
        return {}
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_what_the_program_closes_is_closed(server: Any) -> None:
    """The copies for rehearsal, snapshot and scan, and that which becomes a helper hold nothing."""
    for version in ("2", "3"):
        rehearsed = server.update(server.scenario.release(version), "--rehearse")
        assert '"rehearsed"' in rehearsed.text, rehearsed.text
        assert missed(server) == 0
        assert server.update(server.scenario.release(version)).committed
        until(lambda: len(status(server)["images"]) == 1, "the old image's end")
        assert missed(server) == 0
    helper = status(server)["helper"]
    os.kill(helper, signal.SIGKILL)
    until(lambda: status(server).get("helper", helper) != helper, "another helper")
    assert missed(server) == 0


def test_few_descriptors_are_enough_for_a_rehearsal(server: Any) -> None:
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (64, 64))
    rehearsed = server.update(server.scenario.release("2"), "--rehearse")
    assert '"rehearsed"' in rehearsed.text, rehearsed.text
    assert missed(server) == 0
