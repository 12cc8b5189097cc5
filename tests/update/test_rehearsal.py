"""Rehearsals: an update is carried out in a copy of the process; the world does not notice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import channel
from kitsune_tool.errors import KitsuneError

HERE = Path(__file__).parent
PATIENCE_S = 60
ITEMS = 1000
FAILURES = {
    "main segv": ("K354", "SIGSEGV", "in the new main"),
    "rule overflow": ("K355", "stack overflow", "while state was transformed"),
    "main loop": ("K356", "time limit", "in the new main"),
    "migrated exit": ("K357", "exit", "in the new main"),
    "constructor abrt": ("K354", "SIGABRT", "in a constructor"),
    "main spoil": ("K354", "SIGSEGV", "in the new main"),
    "mainupdate _exit": ("K357", "_exit", "in the hook"),
    "main return": ("K358", "main", ""),
    "main other": ("K356", "time limit", ""),
}


def rehearse(server: Any, release: Path, *options: str) -> dict[str, Any]:
    """Have an update rehearsed and return the answer."""
    text = server.update(release, "--rehearse", *options).text
    answer: dict[str, Any] = json.loads(text.splitlines()[-1])
    return answer


WITHOUT_FILTERS = """
import ctypes, os, struct, sys
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
steps = ((0x20, 0, 0, 0), (0x15, 0, 1, 317), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7fff0000))
code = b"".join(struct.pack("HBBI", *step) for step in steps)
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(steps), code))) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command in which seccomp(2) is refused."""


def children(pid: int) -> set[int]:
    """Return the children of a process, the dead ones that nobody has reaped among them."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return {int(word) for word in text.split()}


def await_children(server: Any, expected: set[int]) -> None:
    """Wait until the copies are reaped, which happens at update points."""
    deadline = time.monotonic() + PATIENCE_S
    while children(server.pid) != expected:
        assert time.monotonic() < deadline, children(server.pid)
        server.ask("idle")
        time.sleep(0.01)


def test_the_world_does_not_notice(
    built: Callable[..., Any],
    start: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The new version does harm in every way that it can; nothing of it reaches anybody."""
    scenario = built(HERE / "rehearsed")
    world = tmp_path / "world"
    world.mkdir()
    server = start(scenario.release("1"), KT_DIR=str(world))
    port, child = map(int, server.ask("port").split())
    server.ask(f"add {ITEMS}")
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert server.ask("accept") == "1"
        client.sendall(b"hello")
        with socket.create_connection(("127.0.0.1", port)):
            before = server.ask("look")
            assert before == (
                "offset 3 size 10 log 4 shared 41 client 2 0 timer 1 epoll 1 child 1 umask 22"
            )
            files = {path.name: path.read_bytes() for path in world.iterdir()}
            family = children(server.pid)
            (world / "act").touch()
            answer = rehearse(server, scenario.release("2"))
            (world / "act").unlink()
            assert answer["outcome"] == "rehearsed", answer
            assert server.ask("look") == before
            assert {path.name: path.read_bytes() for path in world.iterdir()} == files
            os.kill(child, 0)
            await_children(server, family)
            check_withheld(answer["withheld"])
            assert server.update(scenario.release("2")).committed
            assert server.ask("look") == before
            assert server.ask("take") == "hello piped 5 1"
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(16)
    assert server.ask("version") == f"2 {3 * ITEMS}"
    assert "noise" not in server.errors()


def check_withheld(text: str) -> None:
    """Each kind is told of."""
    for kind in ("writes", "reads", "files opened for writing", "connection", "signals"):
        assert kind in text, text


def test_the_forecast_is_what_the_update_does(
    built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """The same objects, by type; and memory, of which there is at least what is moved."""
    scenario = built(HERE / "rehearsed")
    server = start(scenario.release("1"))
    server.ask(f"add {ITEMS}")
    before = server.ask("sum")
    for _ in range(3):
        foretold = rehearse(server, scenario.release("2"))
        assert foretold["outcome"] == "rehearsed", foretold
        assert server.ask("sum") == before
    answer = server.update(scenario.release("2"))
    assert answer.committed
    counts = {each["type"]: each["moved"] + each["in_place"] for each in foretold["types"]}
    assert counts == answer.types
    assert foretold["objects"] == answer.objects
    assert foretold["memory_bytes"] >= foretold["growth_bytes"] >= foretold["bytes"]
    assert 0 < foretold["load_ns"] + foretold["migrate_ns"] <= foretold["pause_ns"]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_foretold(
    failure: str, built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """With the reason that the update would have; the process is not touched."""
    scenario = built(HERE / "rehearsed")
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    server.ask(f"add {ITEMS}")
    before, family = server.ask("sum"), children(server.pid)
    plan.write_text(f"{failure}\n", encoding="ascii")
    answer = rehearse(server, scenario.release("2"), "--limit-ms", "400")
    assert answer["outcome"] == "rehearsal-failed"
    code, *texts = FAILURES[failure]
    assert answer["code"] == code
    for text in texts:
        assert text in answer["reason"]
    assert server.ask("sum") == before
    await_children(server, family)
    status = json.loads(command(server, "status", "--json", str(server.pid)).stdout)
    assert not status["programs"][0]["updates"], "a rehearsal is no update"
    plan.unlink()
    assert server.update(scenario.release("2")).committed


def test_nothing_is_rehearsed_where_the_world_cannot_be_kept_out(
    built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    scenario = built(HERE / "rehearsed")
    kitsune = (sys.executable, "-m", "kitsune_tool.cli", "run")
    command = (sys.executable, "-c", WITHOUT_FILTERS, *kitsune)
    server = start(scenario.release("1"), command=command)
    server.ask("idle")
    answer = rehearse(server, scenario.release("2"))
    assert (answer["outcome"], answer["code"]) == ("rehearsal-failed", "K372"), answer
    assert "seccomp" in answer["reason"]
    assert server.update(scenario.release("2")).committed


def command(server: Any, *words: str) -> subprocess.CompletedProcess[str]:
    """Run kitsune for a server."""
    return subprocess.run(
        [sys.executable, "-m", "kitsune_tool.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={**os.environ, "KITSUNE_RUNTIME_DIR": str(server._directory / "run")},
    )


def test_rehearse_first(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """The update follows only a rehearsal that went well; exit statuses and texts tell."""
    scenario = built(HERE / "rehearsed")
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    server.ask(f"add {ITEMS}")
    words = ("update", "--rehearse-first", str(server.pid), str(scenario.release("2")))
    plan.write_text("main segv\n", encoding="ascii")
    failed = command(server, *words)
    assert failed.returncode == 19
    assert "the update would fail; version 1 runs on" in failed.stderr
    assert "(at fail_at" in failed.stderr, "the function is named"
    plan.unlink()
    done = command(server, *words)
    assert done.returncode == 0
    assert "1 → 2: rehearsed" in done.stdout
    assert "foretold: " in done.stdout
    assert "1 → 2: updated" in done.stdout


THREAD_FAILURES = {
    "crash": ("K354", "SIGSEGV at address 0x10 in the new version's thread 'serve_worker'"),
    "loop": ("K356", "the time limit ran out in the new version's thread 'serve_worker'"),
    "exit": ("K357", "called exit(3) in the new version's thread 'serve_worker'"),
    "pthread_exit": ("K357", "called pthread_exit() in the new version's thread"),
    "return": ("K358", "start function returned before the thread reached its update point"),
}
KINDS = ("read", "poll", "epoll_wait", "cond_wait", "sem_wait", "futex", "sleep")


def test_other_threads_are_rehearsed(built: Callable[..., Any], start: Callable[..., Any]) -> None:
    """Each runs its way to its update point in the copy, which has one thread."""
    scenario = built(HERE / "threads")
    server = start(scenario.release("1"))
    for kind in KINDS:
        server.ask(f"spawn {kind}")
    for how, (code, reason) in THREAD_FAILURES.items():
        server.ask(f"fail {how}")
        answer = rehearse(server, scenario.release("2"), "--limit-ms", "1500")
        assert (answer["outcome"], answer["code"]) == ("rehearsal-failed", code), answer
        assert reason in answer["reason"]
    server.ask("fail nothing")
    foretold = rehearse(server, scenario.release("2"))
    assert (foretold["outcome"], foretold["thread_count"]) == ("rehearsed", len(KINDS)), foretold
    server.ask("poke")
    await_one_event(server)
    answer = server.update(scenario.release("2"))
    assert answer.committed
    assert answer.objects == foretold["objects"]
    server.ask("hook add now")
    foretold = rehearse(server, scenario.release("3"))
    assert foretold["outcome"] == "rehearsed", foretold
    assert foretold["thread_count"] == len(KINDS) + 1, "the hook added one"
    server.ask("hook nothing")
    assert server.ask("stop") == f"{len(KINDS)} of {len(KINDS)}"


def await_one_event(server: Any) -> None:
    """Wait until each thread has had the one event; a change of its ids shows as a word."""
    deadline = time.monotonic() + PATIENCE_S
    while any(
        not line.endswith(" 1 1")
        for line in server.ask("counts").split(" | ")
        if not line.startswith("sleep")
    ):
        assert time.monotonic() < deadline, server.ask("counts")
        time.sleep(0.01)


class Endless:
    """A rehearsal under way that does not end by itself."""

    def __init__(self, server: Any, release: Path, plan: Path) -> None:
        self.server = server
        self.plan = plan
        plan.write_text("main loop\n", encoding="ascii")
        self.who = channel.Channel(server._directory / "run", server.pid)
        self.family = children(server.pid)
        self.answer: dict[str, Any] = {}
        self.begun = threading.Event()
        self.words = ["rehearse", str(release), "50000", "10000"]
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()
        assert self.begun.wait(PATIENCE_S)

    def _ask(self) -> None:
        try:
            self.answer = channel.ask(self.who, self.words, PATIENCE_S, self._progress)
        except KitsuneError as error:  # the helper is gone
            self.answer = {"code": error.code}

    def _progress(self, answer: dict[str, Any]) -> None:
        if answer["event"] == "rehearsing":
            self.begun.set()

    def copy(self) -> int:
        """Return the copy's process id."""
        (found,) = children(self.server.pid) - self.family
        return found

    def end(self) -> dict[str, Any]:
        """Wait for the answer; what comes then does not loop."""
        self.thread.join(PATIENCE_S)
        self.plan.unlink()
        return self.answer


@pytest.fixture
def endless(built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path) -> Endless:
    scenario = built(HERE / "rehearsed")
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    server.ask(f"add {ITEMS}")
    return Endless(server, scenario.release("2"), plan)


def test_the_program_serves_while_a_copy_rehearses(endless: Endless) -> None:
    """Another request is busy; a copy that is killed is told of, and the next update goes well."""
    server = endless.server
    before = server.ask("sum")
    second = channel.ask(endless.who, ["update", *endless.words[1:]], PATIENCE_S)
    assert (second["outcome"], second["code"]) == ("busy", "K350")
    status = channel.ask(endless.who, ["status"], PATIENCE_S)
    assert status["state"] == "rehearsing"
    os.kill(endless.copy(), signal.SIGKILL)
    answer = endless.end()
    assert (answer["outcome"], answer["code"]) == ("rehearsal-failed", "K373")
    assert server.ask("sum") == before
    await_children(server, endless.family)
    assert server.update(Path(endless.words[1])).committed


def test_a_client_that_goes_away_ends_the_rehearsal(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    scenario = built(HERE / "rehearsed")
    plan = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(plan))
    server.ask(f"add {ITEMS}")
    family = children(server.pid)
    plan.write_text("main loop\n", encoding="ascii")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "run" / f"{server.pid}.sock"))
        client.sendall(f"rehearse {scenario.release('2')} 50000\n".encode())
        got = b""
        while b'"rehearsing"' not in got:
            got += client.recv(65536)
    await_children(server, family)
    plan.unlink()
    assert server.update(scenario.release("2")).committed


def test_the_helper_is_replaced_during_a_rehearsal(endless: Endless) -> None:
    """Nobody waits for the copy any more: it is ended."""
    server = endless.server
    helper = channel.ask(endless.who, ["status"], PATIENCE_S)["helper"]
    copy = endless.copy()
    os.kill(helper, signal.SIGKILL)
    assert endless.end()["code"] == "K303"
    deadline = time.monotonic() + PATIENCE_S
    while copy in children(server.pid):
        server.ask("idle")
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert server.update(Path(endless.words[1])).committed


def test_the_copy_ends_with_the_program(endless: Endless) -> None:
    copy = endless.copy()
    os.kill(endless.server.pid, signal.SIGKILL)
    assert endless.end()["code"] == "K363"
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{copy}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{copy}").exists()
