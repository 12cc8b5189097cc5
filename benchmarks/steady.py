"""What being updateable costs while nothing is updated: instructions executed by the server itself.

In: the shipped example's newest version and a server with none or eight threads (served/), each as
a plain executable and as a release under the launcher; without threads also after a hundred updates
(valgrind loses a thread whose stack has changed). Out: instructions for each request of a fixed
workload. All run under callgrind with the same requests on one connection, one after the other, so
that the counts repeat; the difference between a long and a short run leaves out start, updates and
end. The small server's requests cost little more than the calls that they need: what those cost
more shows most there.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from update import stamps

from kitsune_tool import launcher

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ROOT / "build/kvd/kvd"
RELEASE = ROOT / "build/kvd/releases/kvd/3.0/kvd.so"
SERVED = Path(__file__).parent / "served"
SHORT, LONG = 500, 4500
UPDATES = 100
_TIMEOUT_S = 300

Talk = Callable[[socket.socket, BinaryIO, int], None]
"""Makes so many requests on a connection."""


@dataclass(frozen=True, slots=True)
class Steady:
    """Instructions for each request."""

    what: str
    plain: float
    release: float

    @property
    def difference_percent(self) -> float:
        """How much more the release executes."""
        return 100 * (self.release / self.plain - 1)


def measure() -> Iterator[Steady]:
    """Build the servers and count; yield a row for each kind."""
    _scons(ROOT)
    started = [str(launcher.launcher_path()), str(RELEASE)]
    options = ["--port", "0"]
    plain = _per_request([str(PLAIN), *options], _talk_to_kvd)
    yield Steady("kvd", plain, _per_request([*started, *options], _talk_to_kvd))
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "served"
        shutil.copytree(SERVED, place)
        _scons(place)
        yield from _served(place)


def _served(place: Path) -> Iterator[Steady]:
    first = place / "releases/served/1/served.so"
    chain = list(_chain(place))
    for threads in ("0", "8"):
        plain = _per_request([str(place / "build/served"), threads], _add)
        started = [str(launcher.launcher_path()), str(first), threads]
        name = f"{threads} threads" if threads != "0" else "one thread"
        yield Steady(name, plain, _per_request(started, _add))
        if threads != "0":
            continue
        after = _per_request(started, lambda *to: _add_after(chain, *to))
        yield Steady(f"{name}, after {UPDATES} updates", plain, after)


def _chain(place: Path) -> Iterator[Path]:
    """Yield releases, each a child of the one before."""
    stores = [place / f"releases/served/{version}/served.so" for version in (1, 2, 3)]
    parent = stamps.build_id(stores[0])
    for number in range(UPDATES):
        source = stores[1 + number % 2]
        yield stamps.stamped(source, number, parent, place / f"link{number}.so")
        parent = stamps.build_id(place / f"link{number}.so")


def _scons(directory: Path) -> None:
    command = [sys.executable, "-m", "SCons", "-C", str(directory), "-Q", "-s", "-j2"]
    environment = os.environ | {"KITSUNE_SITE_TOOLS": str(ROOT / "site_scons/site_tools")}
    subprocess.run([*command, ".", "release-chain"], check=True, env=environment)


def _per_request(server: Sequence[str], talk: Talk) -> float:
    return (_instructions(server, talk, LONG) - _instructions(server, talk, SHORT)) / (LONG - SHORT)


def _instructions(server: Sequence[str], talk: Talk, requests: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        counts = Path(directory) / "counts"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", *server]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            try:
                ready = re.search(r"ready on port (\d+)", process.stdout.readline())
                if ready is None:
                    raise SystemExit(f"{server[0]} does not start under valgrind")
                port = int(ready[1])
                with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
                    talk(connection, connection.makefile("rb"), requests)
            finally:
                process.terminate()
            process.wait(_TIMEOUT_S)
        total = re.search(r"^(?:summary|totals): (\d+)", counts.read_text(), re.MULTILINE)
    if total is None:
        raise SystemExit(f"callgrind has no count for {server[0]}")
    return int(total[1])


def _talk_to_kvd(connection: socket.socket, answers: BinaryIO, requests: int) -> None:
    for number in range(requests):
        key, value = f"key:{number % 100}", f"value-{number:08}"
        for words in (("SET", key, value), ("GET", key), ("INCR", "counter")):
            connection.sendall(_encoded(words))
            answer = answers.readline()
            if answer.startswith(b"$"):
                answers.readline()
            elif answer[:1] not in (b"+", b":"):
                raise SystemExit(f"wrong answer to {words}: {answer!r}")


def _encoded(words: Sequence[str]) -> bytes:
    parts = [f"*{len(words)}\r\n"] + [f"${len(word)}\r\n{word}\r\n" for word in words]
    return "".join(parts).encode()


def _add(connection: socket.socket, answers: BinaryIO, requests: int) -> None:
    for number in range(requests):
        connection.sendall(b"add key-%d 1\n" % (number % 100))
        if int(answers.readline()) != number // 100 + 1:
            raise SystemExit("the server has lost a request")


def _add_after(
    chain: Sequence[Path], connection: socket.socket, answers: BinaryIO, requests: int
) -> None:
    """Have the server updated before."""
    for number, release in enumerate(chain):
        connection.sendall(b"update %s\n" % os.fsencode(release))
        answers.readline()
        connection.sendall(b"serial\n")
        if int(answers.readline()) != number + 1:
            raise SystemExit(f"update {number + 1} failed")
    _add(connection, answers, requests)
