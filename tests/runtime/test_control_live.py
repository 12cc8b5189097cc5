"""Control from end to end: `kitsune run`, `update` and `status` with the real launcher."""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from control_harness import build_id, is_alive, until

from kitsune_tool import launcher, resources, seal
from kitsune_tool.channel import Answer, Channel, ask, find
from kitsune_tool.errors import KitsuneError

SOURCE = Path(__file__).parent / "control_release.c"
COMPILER = ("gcc",)
CALLS = ["select", "pselect", "poll", "ppoll", "epoll_wait", "epoll_pwait"]
KITSUNE = [sys.executable, "-m", "kitsune_tool.cli"]
NOBODY = 65534
PATIENCE_S = 60
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users: needs root")


def build_release(target: Path, version: str, number: int, parent: int) -> Path:
    """Compile a release with the checked variants of the wrapped calls."""
    parent_bytes = ",".join([f"0x{parent:02x}"] * 20)
    command = [
        *COMPILER,
        *("-O2", "-D_FORTIFY_SOURCE=2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"),
        *("-fvisibility=hidden", f"-I{resources.include_dir()}"),
        f"-DPARENT={parent_bytes}",
        f'-DVERSION="{version}"',
        *("-o", str(target), str(SOURCE)),
        *map(str, launcher.release_objects(COMPILER)),
        *launcher.wrap_flags(),
        f"-Wl,-Bsymbolic,-z,now,-z,defs,--build-id=0x{build_id(number)}",
    ]
    subprocess.run(command, check=True, timeout=120)
    seal.seal(target)
    return target


@dataclass(frozen=True, slots=True)
class Pair:
    """Two releases that follow each other, and one that follows neither."""

    even: Path
    odd: Path
    stranger: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    directory = tmp_path_factory.mktemp("sleeper")
    return Pair(
        build_release(directory / "even.so", "even", 2, 1),
        build_release(directory / "odd.so", "odd", 1, 2),
        build_release(directory / "stranger.so", "stranger", 3, 4),
    )


@dataclass(slots=True)
class Sleeper:
    """A started sleeper; `pid` is the process that serves, after any daemonising."""

    process: subprocess.Popen[str]
    directory: Path
    pid: int = 0

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, question: str = "who") -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.line()

    def kitsune(self, *words: object) -> tuple[int, Any]:
        """Run a command of the client; return its exit status and its last JSON answer."""
        result = subprocess.run(
            [*KITSUNE, *map(str, words), "--json"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={**os.environ, "KITSUNE_RUNTIME_DIR": str(self.directory)},
        )
        assert result.stdout, result.stderr
        return result.returncode, json.loads(result.stdout.splitlines()[-1])

    def channel(self) -> Channel:
        place = Channel(self.directory, self.pid)
        until((self.directory / place.name).exists, "the control socket")
        return place

    def update(self, release: Path) -> Answer:
        """Ask without the time that a Python process takes to start."""
        words = ["update", str(release), "0", "20000"]
        return ask(self.channel(), words, PATIENCE_S)

    def helper(self) -> int:
        return int(ask(self.channel(), ["status"], PATIENCE_S)["helper"])


def has_ended(pid: int) -> bool:
    return not is_alive(pid)


@pytest.fixture
def sleepers(tmp_path: Path, pair: Pair) -> Iterator[Any]:
    """Start sleepers; they end when their standard input does."""
    started: list[Sleeper] = []

    def start(*arguments: str) -> Sleeper:
        process = subprocess.Popen(
            [*KITSUNE, "run", str(pair.even), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KITSUNE_RUNTIME_DIR": str(tmp_path / "run")},
        )
        sleeper = Sleeper(process, tmp_path / "run")
        started.append(sleeper)
        word, pid = sleeper.line().split()
        assert word == "ready"
        sleeper.pid = int(pid)
        return sleeper

    yield start
    for sleeper in started:
        assert sleeper.process.stdin is not None and sleeper.process.stdout is not None
        sleeper.process.stdin.close()
        sleeper.process.stdout.close()
        sleeper.process.wait(PATIENCE_S)
        until(functools.partial(has_ended, sleeper.pid), "the program's end")


@pytest.mark.parametrize("call", CALLS)
def test_a_server_asleep_is_updated_100_times(call: str, sleepers: Any, pair: Pair) -> None:
    sleeper = sleepers(call)
    for i in range(100):
        answer = sleeper.update(pair.even if i % 2 else pair.odd)
        assert answer["outcome"] == "updated", answer
    assert sleeper.ask() == f"even {sleeper.pid}"
    assert Path(f"/proc/{sleeper.pid}/task").is_dir()
    assert len(list(Path(f"/proc/{sleeper.pid}/task").iterdir())) == 1


def test_each_command_has_its_exit_status(sleepers: Any, pair: Pair) -> None:
    sleeper = sleepers("poll")
    assert sleeper.kitsune("update", sleeper.pid, pair.odd)[0] == 0
    assert sleeper.kitsune("update", "sleeper", pair.odd)[0] == 0
    status, answer = sleeper.kitsune("update", "sleeper", pair.stranger)
    assert (status, answer["outcome"], answer["code"]) == (10, "rejected", "K345")
    assert sleeper.kitsune("update", 999999999, pair.even)[0] == 13
    assert sleeper.kitsune("update", "sleeper", "/nowhere.so")[0] == 1
    os.kill(sleeper.pid, signal.SIGSTOP)
    status, answer = sleeper.kitsune("update", "sleeper", pair.even, "--wait-ms", "300")
    os.kill(sleeper.pid, signal.SIGCONT)
    assert (status, answer["code"]) == (12, "K361")
    assert "it is stopped" in answer["reason"]
    status, answer = sleeper.kitsune("status", "sleeper")
    assert status == 0
    (program,) = answer["programs"]
    assert (program["version"], program["pid"]) == ("odd", sleeper.pid)
    assert [update["outcome"] for update in program["updates"]] == ["updated", "failed", "failed"]
    assert sleeper.ask() == f"odd {sleeper.pid}"


def test_the_helper_may_die_between_any_two_updates(sleepers: Any, pair: Pair) -> None:
    sleeper = sleepers("epoll_wait", "locale")
    for release in (pair.odd, pair.even, pair.odd):
        helper = sleeper.helper()
        os.kill(helper, signal.SIGKILL)
        until(functools.partial(channel_of_other, sleeper, helper), "another helper")
        assert sleeper.update(release)["outcome"] == "updated"
    assert sleeper.ask("wait") == "children -1"


def channel_of_other(sleeper: Sleeper, helper: int) -> bool:
    try:
        return sleeper.helper() != helper
    except KitsuneError:
        return False


def test_a_program_that_closes_all_descriptors(sleepers: Any, pair: Pair) -> None:
    sleeper = sleepers("select", "closefrom")
    assert sleeper.update(pair.odd)["outcome"] == "updated"
    assert sleeper.ask() == f"odd {sleeper.pid}"


_MADE, _MOVED_HERE = 0x100, 0x80
_EVENT = struct.Struct("iIII")


def test_a_socket_has_its_name_when_one_can_connect(sleepers: Any, tmp_path: Path) -> None:
    """Between bind and listen connections are refused: who sees the file must not meet that."""
    (directory := tmp_path / "run").mkdir(mode=0o700)
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    assert libc.inotify_add_watch(watch, os.fsencode(directory), _MADE | _MOVED_HERE) >= 0
    sleeper = sleepers("poll")
    assert sleeper.directory == directory and sleeper.helper()
    seen, how = os.read(watch, 65536), {}
    os.close(watch)
    while seen:
        _, event, _, length = _EVENT.unpack_from(seen)
        how[seen[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode()] = event
        seen = seen[_EVENT.size + length :]
    assert how[f"{sleeper.pid}.sock"] == _MOVED_HERE, how


@pytest.mark.parametrize("how", ["fork", "fork2", "daemon"])
def test_a_daemon_is_updated_under_its_new_number(how: str, sleepers: Any, pair: Pair) -> None:
    sleeper = sleepers("poll", how)
    assert sleeper.process.wait(PATIENCE_S) == 0
    assert sleeper.pid != sleeper.process.pid
    for release in (pair.odd, pair.even):
        assert sleeper.update(release)["outcome"] == "updated"
    assert sleeper.ask() == f"even {sleeper.pid}"
    assert sleeper.kitsune("status")[1]["programs"][0]["pid"] == sleeper.pid


@needs_root
def test_a_server_that_dropped_its_rights(sleepers: Any, pair: Pair) -> None:
    sleeper = sleepers("poll", "drop")
    for release in (pair.odd, pair.even):
        assert sleeper.update(release)["outcome"] == "updated"
    assert sleeper.ask() == f"even {sleeper.pid}"


@needs_root
def test_a_daemon_that_dropped_its_rights(sleepers: Any, pair: Pair) -> None:
    """Its helper is of the daemon's user then, and lies where that user may write."""
    sleeper = sleepers("poll", "daemon", "drop")
    found = until(lambda: found_by_root(sleeper.pid), "its channel")
    for path in (pair.odd, *pair.odd.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o055)
    pair.odd.chmod(0o755)
    answer = ask(found, ["update", str(pair.odd)], PATIENCE_S)
    assert answer["outcome"] == "updated", answer
    assert sleeper.ask() == f"odd {sleeper.pid}"


def found_by_root(pid: int) -> Channel | None:
    try:
        found = find(str(pid))
        ask(found, ["status"], PATIENCE_S)
    except KitsuneError:
        return None
    return found


def test_a_program_with_threads_is_updated_when_they_have_ended(sleepers: Any, pair: Pair) -> None:
    """The thread has no update point, and takes EINTR for an error: it is left alone."""
    sleeper = sleepers("poll", "thread")
    answer = ask(sleeper.channel(), ["update", str(pair.odd), "0", "300"], PATIENCE_S)
    assert (answer["outcome"], answer["code"]) == ("refused", "K361")
    assert re.search(
        r"^thread \d+ '.*' did not reach an update point: it sits in read\(\d+\) \(the program has "
        r"no signal handler that could end that",
        answer["reason"],
    )
    assert sleeper.ask("join") == "joined 0"
    assert sleeper.update(pair.odd)["outcome"] == "updated"
    assert sleeper.ask() == f"odd {sleeper.pid}"


def test_a_user_who_may_start_no_process_has_no_snapshot(sleepers: Any, pair: Pair) -> None:
    """Root may always start one, so the server is somebody else then."""
    is_root = os.geteuid() == 0
    others = [
        subprocess.Popen(["sleep", "600"], user=NOBODY if is_root else None) for _ in range(8)
    ]
    try:
        _check_without_processes(sleepers("poll", "alone", *(["drop"] if is_root else [])), pair)
    finally:
        for each in others:
            each.kill()
            each.wait()


def _check_without_processes(sleeper: Any, pair: Pair) -> None:
    answer = sleeper.update(pair.odd)
    assert (answer["outcome"], answer["code"]) == ("refused", "K352")
    assert f"the process could not be cloned: error {errno.EAGAIN}" in answer["reason"]
    assert sleeper.ask() == f"even {sleeper.pid}"
    assert sleeper.ask("company") == "limit 0"
    assert sleeper.update(pair.odd)["outcome"] == "updated"
