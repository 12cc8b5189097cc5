"""What is no memory: the old version's again after a rollback, the new one's after a commit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PATIENCE_S = 60
OLD = (
    "mask 1 own handler 1 usr2 ignored altstack 1 timer 1000 locale C.UTF-8 env one umask 27 "
    "in /usr nproc 101 name kept-1 nice 1 cpu 1 reaper 1 death 9 slack 50001 "
    "dumpable 1 group 1001"
)
NEW = (
    "mask 2 own handler 1 usr2 default altstack 2 timer 2000 locale C env two umask 77 "
    "in / nproc 102 name kept-2 nice 2 cpu 2 reaper 0 death 15 slack 50002 "
    "dumpable 0 group 1002"
)


def differences(now: str, expected: str) -> list[str]:
    """Return the words that differ."""
    return [f"{a} {b}" for a, b in zip(now.split(), expected.split(), strict=True) if a != b]


def await_thread(server: Any, expected: str) -> None:
    """Wait until the thread, which shows itself again and again, is this."""
    deadline = time.monotonic() + PATIENCE_S
    while server.ask("thread") != expected:
        assert time.monotonic() < deadline, server.ask("thread")
        time.sleep(0.01)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take its priority back")
def test_each_is_the_old_ones_after_a_rollback_and_the_new_ones_after_a_commit(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    scenario = built(HERE / "kept")
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    assert not differences(server.ask("kept"), OLD)
    await_thread(server, "worker-1 nice 3")
    for who, code in (("main", "K354"), ("thread", "K354"), ("user", "K356"), ("main", "K354")):
        plan.write_text(who, encoding="ascii")
        answer = server.update(scenario.release("2"), "--limit-ms", "2000")
        assert (answer.committed, answer.code) == (False, code), answer.text
        assert not differences(server.ask("kept"), OLD)
        assert server.ask("raise") == "USR1 in 1"
        await_thread(server, "worker-1 nice 3")
    plan.write_text("keep", encoding="ascii")
    answer = server.update(scenario.release("2"))
    assert answer.committed, answer.text
    assert not differences(server.ask("kept"), NEW)
    assert server.ask("raise") == "USR1 in 2"
    await_thread(server, "worker-2 nice 4")
    server.close_input()
    assert [server.line(), server.line()] == ["on_exit of 2: 4", "end of 2"]
