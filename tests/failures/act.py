"""What is done from outside so that an update fails, beyond asking for it.

Each function gets the server, the way and the release, and returns the answer to the request, or
what the program's history says of it if nobody was there to be answered.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from update import stamps

from failures.build import Built, spoilt
from failures.live import PATIENCE_S, Server, Trouble
from failures.ways import Way
from kitsune_tool import channel
from kitsune_tool.errors import KitsuneError

Answer = dict[str, Any]

FEWEST = 8
"""Descriptors: the program has more; fewer would be taken for none allowed (own_limits.c)."""


def ask(server: Server, way: Way, release: Path) -> Answer:
    """Ask for the update."""
    return server.request(*server.update_words(release, way.limit_ms, way.wait_ms))


# ---- files that are no good ------------------------------------------------------------------


def first_release(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask for one that follows nothing."""

    def orphan(data: bytearray, identity: int) -> None:
        struct.pack_into("<I", data, identity + stamps.PARENT_COUNT, 0)

    copy = server.directory / "first.so"
    stamps.stamped(built.release(1), 99, bytes(stamps.ID_SIZE), copy)
    return ask(server, way, spoilt(copy, orphan, copy))


def wrong_layout(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask for one whose parent is this one by name, but was another when it was built."""
    running = bytes.fromhex(server.status()["build_id"])
    copy = stamps.stamped(built.release(3), 98, running, server.directory / "layout.so")
    return ask(server, way, copy)


def missing_file(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask for a file that is not there."""
    return ask(server, way, release.with_name("none.so"))


def directory(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask for a directory."""
    return ask(server, way, server.directory)


def writable_file(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask for one that everybody can write."""
    copy = Path(shutil.copyfile(release, server.directory / "writable.so"))
    copy.chmod(0o666)
    return ask(server, way, copy)


def pipe(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask for a pipe into which nobody writes."""
    path = server.directory / "pipe.so"
    if not path.exists():
        os.mkfifo(path)
    return ask(server, way, path)


def malformed_request(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Forget the path."""
    return server.request("update")


def unknown_request(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask for what there is not."""
    return server.request("upgrade", str(release))


def oversized_request(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask at length."""
    return server.request("update", "x" * 70_000)


# ---- what there is too little of -------------------------------------------------------------


@contextlib.contextmanager
def _limited(server: Server, which: int, limit: int) -> Iterator[None]:
    former = resource.prlimit(server.target, which)
    resource.prlimit(server.target, which, (limit, former[1]))
    try:
        yield
    finally:
        resource.prlimit(server.target, which, former)


def _with_memory(server: Server, way: Way, release: Path, spare: int) -> Answer:
    pages = int(Path(f"/proc/{server.target}/statm").read_text(encoding="ascii").split()[0])
    with _limited(server, resource.RLIMIT_AS, pages * 4096 + spare):
        return ask(server, way, release)


def little_memory(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Leave enough for the update, but not for what the new version wants."""
    return _with_memory(server, way, release, 64 << 20)


def no_memory(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Leave too little for the update."""
    return _with_memory(server, way, release, 64 << 10)


def no_descriptors(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Leave no descriptor; a limit of next to nothing would be lifted for the update."""
    with _limited(server, resource.RLIMIT_NOFILE, FEWEST):
        return ask(server, way, release)


def no_room(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Leave the helper no room for its copy of the release."""
    helper = _helper_of(server)
    former = resource.prlimit(helper, resource.RLIMIT_FSIZE)
    resource.prlimit(helper, resource.RLIMIT_FSIZE, (4096, former[1]))
    try:
        return ask(server, way, release)
    finally:
        resource.prlimit(helper, resource.RLIMIT_FSIZE, former)


# ---- programs that do not arrive -------------------------------------------------------------


@contextlib.contextmanager
def _stalled(server: Server) -> Iterator[None]:
    """Keep the main thread in a call that no request ends."""
    path = server.directory / "lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        server.ask(f"stall {path}")
        yield


def stall(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask while the main thread waits for a lock of a file."""
    with _stalled(server):
        return ask(server, way, release)


def spin(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask while the main thread is busy."""
    path = server.directory / "spin"
    path.touch()
    server.ask(f"spin {path}")
    try:
        return ask(server, way, release)
    finally:
        path.unlink()


# ---- somebody disturbs -----------------------------------------------------------------------


def client_leaves(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask, and go away before the program has taken the request."""
    with _stalled(server):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_S)
            client.connect(str(server.channel.directory / server.channel.name))
            words = server.update_words(release, way.limit_ms, way.wait_ms)
            client.sendall(" ".join(words).encode() + b"\n")
            got = b""
            while b'"requested"' not in got:
                got += client.recv(65536)
        return _last_of_history(server)


def kill_helper(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Kill the helper process while the request waits."""
    answer: Answer = {}
    with _stalled(server):
        try:
            answer = _ask_and_then(server, way, release, _kill_helper)
        except KitsuneError as error:
            answer = {"code": error.code, "outcome": "error", "reason": str(error)}
    _await_helper(server)
    return answer


def kill_helper_during(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Kill it while the program is being updated."""

    def kill_when_updating(of: Server) -> None:
        _await_state(of, "updating")
        _kill_helper(of)

    with contextlib.suppress(KitsuneError):
        _ask_and_then(server, way, release, kill_when_updating)
    _await_helper(server)
    return _last_of_history(server)


def kill_snapshot(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Kill the copy of the process that keeps what it was."""

    def kill_when_updating(of: Server) -> None:
        _await_state(of, "updating")
        _await(lambda: bool(_copies_of(of)), "there is no snapshot")
        for copy in _copies_of(of):
            os.kill(copy, signal.SIGKILL)

    return _ask_and_then(server, way, release, kill_when_updating)


def second_request(server: Server, way: Way, release: Path, built: Built) -> Answer:
    """Ask again while the first request is under way."""
    second: Answer = {}

    def ask_again(of: Server) -> None:
        second.update(ask(of, way, release))

    first = _ask_and_then(server, way, release, ask_again)
    if first.get("code") != "K356":
        raise Trouble(f"the first request ended otherwise: {first}")
    return second


def _ask_and_then(
    server: Server, way: Way, release: Path, then: Callable[[Server], None]
) -> Answer:
    def progress(answer: Answer) -> None:
        if answer.get("event") == "requested":
            then(server)

    words = server.update_words(release, way.limit_ms, way.wait_ms)
    return channel.ask(server.channel, words, PATIENCE_S, progress)


def _helper_of(server: Server) -> int:
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        for pid in (task / "children").read_text(encoding="ascii").split():
            with contextlib.suppress(OSError):
                if "kitsune-helper" in Path(f"/proc/{pid}/comm").read_text(encoding="ascii"):
                    return int(pid)
    return 0


def _copies_of(server: Server) -> list[int]:
    """Return the process's children that are copies of it."""
    others = {*server.children, _helper_of(server)}
    tasks = Path(f"/proc/{server.target}/task").iterdir()
    children = [(task / "children").read_text(encoding="ascii").split() for task in tasks]
    return [int(pid) for found in children for pid in found if int(pid) not in others]


def _kill_helper(server: Server) -> None:
    os.kill(_helper_of(server), signal.SIGKILL)


def _await_helper(server: Server) -> None:
    def is_back() -> bool:
        with contextlib.suppress(KitsuneError):
            return server.request("status").get("pid") == server.pid
        return False

    _await(is_back, "there is no helper")


def _await_state(server: Server, state: str) -> None:
    _await(lambda: server.status()["state"] == state, f"it is never {state}")


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Trouble(otherwise)
        time.sleep(0.002)


def _last_of_history(server: Server) -> Answer:
    """Return what became of the request of which nobody was told."""
    _await(lambda: server.status()["state"] in {"idle", "updated"}, "it does not end")
    updates: list[Answer] = server.status()["updates"]
    return updates[-1]
