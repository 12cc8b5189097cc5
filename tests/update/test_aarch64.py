"""Releases for AArch64, built by a cross compiler and updated under a user-mode emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kvd_chain
import pytest

HERE = Path(__file__).parent
COMPILER = "aarch64-linux-gnu-gcc"
KINDS = ("read", "poll", "epoll_wait", "cond_wait", "sem_wait", "futex", "nanosleep", "pause")
WITHOUT_EVENTS = {"nanosleep", "pause"}
KEYS = 500
PATIENCE_S = 60


@pytest.fixture
def threads(built: Callable[..., Any]) -> Any:
    return built(HERE / "threads", COMPILER)


def await_counts(server: Any, expected: int) -> None:
    """Wait until each thread that gets events has seen so many, in each of its variables."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        told = [line.split() for line in server.ask("counts").split(" | ")]
        counts = [int(word) for kind, *rest in told if kind not in WITHOUT_EVENTS for word in rest]
        assert max(counts) <= expected, told
        if min(counts) == expected:
            return
        assert time.monotonic() < deadline, told
        time.sleep(0.01)


def test_threads_become_the_next_version_or_go_on(threads: Any, start: Callable[..., Any]) -> None:
    """Each in another call; a crash of one in the new version is undone in all."""
    server = start(threads.release("1"), COMPILER)
    for kind in KINDS:
        server.ask(f"spawn {kind}")
    for number, (how, code) in enumerate((("crash", "K354"), ("overflow", "K355"))):
        server.ask(f"fail {how}")
        server.ask("poke")
        answer = server.update(threads.release("2"))
        assert (answer.committed, answer.code) == (False, code), answer.text
        assert "in the new version's thread 'serve_worker'" in answer.reason
        assert server.ask("version") == "1"
        await_counts(server, number + 1)
    server.ask("fail nothing")
    server.ask("poke")
    answer = server.update(threads.release("2"))
    assert answer.committed, answer.text
    assert server.ask("version") == "2"
    await_counts(server, 3)
    assert server.ask("stop") == f"{len(KINDS)} of {len(KINDS)}"
    assert server.stop() == 0


def test_a_stuck_thread_is_told_as_far_as_it_is_known(
    threads: Any, start: Callable[..., Any]
) -> None:
    """The emulator's own thread is none of the program's, nor are its machine's system calls."""
    server = start(threads.release("1"), COMPILER)
    server.ask("spawn read")
    server.ask("hold")
    server.ask("spawn mutex")
    status = json.loads(kitsune(server, "status", "--json", str(server.pid)).stdout)
    (program,) = status["programs"]
    assert len(program["threads"]) == 3
    assert not any("call" in thread for thread in program["threads"])
    answer = server.update(threads.release("2"), "--wait-ms", "300")
    assert (answer.committed, answer.code) == (False, "K361"), answer.text
    assert "it runs, or waits: an emulator does not tell, in " in answer.reason
    assert "wait_for+0x" in answer.reason
    assert server.ask("version") == "1"


def test_what_the_emulator_cannot_do_is_said(threads: Any, start: Callable[..., Any]) -> None:
    server = start(threads.release("1"), COMPILER)
    assert server.ask("version") == "1"
    assert "an emulator of another machine runs this program" in server.errors()
    done = kitsune(server, "update", "--rehearse", str(server.pid), str(threads.release("2")))
    assert done.returncode != 0
    assert "error[K372]" in done.stderr
    assert "the kernel takes no filter (seccomp)" in done.stderr
    assert server.ask("version") == "1"


def test_a_release_for_another_machine_is_refused(
    threads: Any, built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """By a program of either machine."""
    here = built(HERE / "threads")
    server = start(here.release("1"))
    assert server.ask("version") == "1"
    answer = server.update(threads.release("2"))
    assert (answer.committed, answer.code) == (False, "K341"), answer.text
    assert "not a release for this machine: it is for AArch64" in answer.reason
    other = start(threads.release("1"), COMPILER)
    assert other.ask("version") == "1"
    answer = other.update(here.release("2"))
    assert (answer.committed, answer.code) == (False, "K341"), answer.text
    assert "not a release for this machine: it is for x86-64" in answer.reason


def test_larger_pages_are_refused(threads: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    server = start(threads.release("1"), COMPILER)
    assert server.ask("version") == "1"
    emulator, *rest = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")[:-1]
    words = [emulator, "-p", "65536", *rest]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 127
    assert done.stderr == (
        "kitsune: error[K404]: this kernel has pages of 65536 bytes; "
        "updates need one that has pages of 4096\n"
    )


def test_the_shipped_server_is_updated_under_load(
    built: Callable[..., Any], kvd_server: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "back_and_forth"
    folder.mkdir()
    (folder / "kitsune.yaml").write_text(kvd_chain.BACK_AND_FORTH, encoding="utf-8")
    scenario = built(folder, COMPILER)
    server = kvd_server(scenario.release("1"), COMPILER)
    server.traffic.load(server.port, KEYS, lambda _: None)
    with server.traffic.Traffic(server.port, KEYS) as traffic:
        for version in ("2", "3"):
            answer = server.update(scenario.release(version))
            assert answer.committed, answer.text
            assert answer.objects > KEYS
            traffic.next_phase()
            traffic.wait_for_requests(50)
        assert traffic.total().failed == 0, traffic.complaints()
    assert server.traffic.wrong_values(server.port, KEYS) == 0


def kitsune(server: Any, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that finds the server."""
    return subprocess.run(
        [sys.executable, "-m", "kitsune_tool.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **server.environment()},
    )
