"""What being updateable costs while nothing is updated: instructions executed by the server itself.

In: the shipped example's newest version and a server with none or eight threads (served/), each as
a plain executable and as a release under the launcher, as started and after a hundred updates. Out:
instructions for each request of a fixed workload. All run under callgrind with the same requests on
one connection, one after the other, so that the counts repeat (all but for what threads do that
meet: hence several rounds); what comes before the first counted request, updates too, and after the
last one is left out. The small server's requests cost little more than the calls that they need:
what those cost more shows most there.
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
from statistics import median
from typing import BinaryIO

import callgrind
from update import stamps

from kitsune_tool import launcher

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ROOT / "build/kvd/kvd"
RELEASE = ROOT / "build/kvd/releases/kvd/3.0/kvd.so"
SERVED = Path(__file__).parent / "served"
FIRST, COUNTED = 500, 4000
"""Requests that warm the server up, and those behind them."""
UPDATES = 100
ROUNDS = 3

KVD_EDITS = """
standing:
  edits:
    # PING asks for an update to the release that it names: nobody else can under valgrind.
    - insert: |
        if (client->count > 1) {
            kitsune_set_next_version(strdup(argument(client, 1)->bytes));
            kitsune_signal_update();
        }
      function: commands.c/run_ping
      at: start
"""

Talk = Callable[[socket.socket, BinaryIO, range], None]
"""Makes the requests of these numbers on a connection."""
Prepare = Callable[[socket.socket, BinaryIO], None]


@dataclass(frozen=True, slots=True)
class Steady:
    """Instructions for each request, in each round."""

    what: str
    plain: tuple[float, ...]
    release: tuple[float, ...]

    @property
    def difference_percent(self) -> float:
        """How much more the release executes, by the medians."""
        return 100 * (median(self.release) / median(self.plain) - 1)

    @property
    def range_percent(self) -> tuple[float, float]:
        """The same between the rounds that are furthest apart."""
        lower, upper = min(self.release) / max(self.plain), max(self.release) / min(self.plain)
        return 100 * (lower - 1), 100 * (upper - 1)


def measure() -> Iterator[Steady]:
    """Build the servers and count; yield a row for each kind."""
    with tempfile.TemporaryDirectory() as directory:
        yield from _kvd(Path(directory) / "kvd")
        yield from _served(Path(directory) / "served")


def _kvd(place: Path) -> Iterator[Steady]:
    """Count the shipped example, built with one more way to ask it for an update."""
    shutil.copytree(ROOT / "examples/kvd", place / "examples/kvd")
    manifest = (ROOT / "kitsune.yaml").read_text(encoding="utf-8")
    (place / "kitsune.yaml").write_text(manifest + KVD_EDITS, encoding="utf-8")
    shutil.copy(ROOT / "SConstruct", place)
    (place / "site_scons").symlink_to(ROOT / "site_scons")
    _scons(ROOT)
    _scons(place)
    store = place / "build/kvd/releases/kvd"
    there_and_back = store / "@back/3.0/2.0/kvd.so", store / "3.0/kvd.so"
    chain = list(_chain(there_and_back[1], there_and_back, place))
    options = ["--port", "0"]
    plain = _per_request([str(PLAIN), *options], _talk_to_kvd)
    launched = str(launcher.launcher_path())
    fresh = _per_request([launched, str(RELEASE), *options], _talk_to_kvd)
    yield Steady("kvd", plain, fresh)
    updated = [launched, str(store / "3.0/kvd.so"), *options]
    after = _per_request(updated, _talk_to_kvd, lambda *to: _update_kvd(chain, *to))
    yield Steady(f"kvd, after {UPDATES} updates", plain, after)


def _served(place: Path) -> Iterator[Steady]:
    shutil.copytree(SERVED, place)
    _scons(place)
    first, *others = (place / f"releases/served/{version}/served.so" for version in (1, 2, 3))
    chain = list(_chain(first, others, place))
    for threads in ("0", "8"):
        plain = _per_request([str(place / "build/served"), threads], _add)
        started = [str(launcher.launcher_path()), str(first), threads]
        name = f"{threads} threads" if threads != "0" else "one thread"
        yield Steady(name, plain, _per_request(started, _add))
        after = _per_request(started, _add, lambda *to: _update(chain, *to))
        yield Steady(f"{name}, after {UPDATES} updates", plain, after)


def _chain(first: Path, releases: Sequence[Path], directory: Path) -> Iterator[Path]:
    """Yield copies of the releases by turns, each a child of the one before."""
    parent = stamps.build_id(first)
    for number in range(UPDATES):
        source = releases[number % len(releases)]
        yield stamps.stamped(source, number, parent, directory / f"link{number}.so")
        parent = stamps.build_id(directory / f"link{number}.so")


def _scons(directory: Path) -> None:
    command = [sys.executable, "-m", "SCons", "-C", str(directory), "-Q", "-s", "-j2"]
    environment = os.environ | {"KITSUNE_SITE_TOOLS": str(ROOT / "site_scons/site_tools")}
    subprocess.run(
        [*command, ".", "release-chain"], check=True, env=environment, stdout=subprocess.DEVNULL
    )


def _do_nothing(_connection: socket.socket, _answers: BinaryIO) -> None:
    pass


def _per_request(
    server: Sequence[str], talk: Talk, prepare: Prepare = _do_nothing
) -> tuple[float, ...]:
    return tuple(_instructions(server, talk, prepare) / COUNTED for _ in range(ROUNDS))


def _instructions(server: Sequence[str], talk: Talk, prepare: Prepare) -> int:
    with callgrind.counting(server) as counted:
        assert counted.process.stdout is not None
        ready = re.search(r"ready on port (\d+)", counted.process.stdout.readline())
        if ready is None:
            raise SystemExit(f"{server[0]} does not start under valgrind")
        port = int(ready[1])
        with socket.create_connection(("127.0.0.1", port), callgrind.TIMEOUT_S) as connection:
            answers = connection.makefile("rb")
            prepare(connection, answers)
            talk(connection, answers, range(FIRST))
            counted.zero()
            talk(connection, answers, range(FIRST, FIRST + COUNTED))
            return counted.total()


def _talk_to_kvd(connection: socket.socket, answers: BinaryIO, numbers: range) -> None:
    for number in numbers:
        key, value = f"key:{number % 100}", f"value-{number:08}"
        for words in (("SET", key, value), ("GET", key), ("INCR", "counter")):
            connection.sendall(_encoded(words))
            answer = answers.readline()
            if answer.startswith(b"$"):
                answers.readline()
            elif answer[:1] not in (b"+", b":"):
                raise SystemExit(f"wrong answer to {words}: {answer!r}")


def _update_kvd(chain: Sequence[Path], connection: socket.socket, answers: BinaryIO) -> None:
    """Have the server updated, in the end to the version that it began with."""
    for number, release in enumerate(chain):
        connection.sendall(_encoded(("PING", str(release))))
        answers.readline()
        answers.readline()
        connection.sendall(_encoded(("INFO",)))
        size = int(answers.readline()[1:])
        version = b"3.0" if number % 2 else b"2.0"
        if b"kvd_version:%s\r\n" % version not in answers.read(size + 2):
            raise SystemExit(f"update {number + 1} of kvd failed")


def _encoded(words: Sequence[str]) -> bytes:
    parts = [f"*{len(words)}\r\n"] + [f"${len(word)}\r\n{word}\r\n" for word in words]
    return "".join(parts).encode()


def _add(connection: socket.socket, answers: BinaryIO, numbers: range) -> None:
    for number in numbers:
        connection.sendall(b"add key-%d 1\n" % (number % 100))
        if int(answers.readline()) != number // 100 + 1:
            raise SystemExit("the server has lost a request")


def _update(chain: Sequence[Path], connection: socket.socket, answers: BinaryIO) -> None:
    for number, release in enumerate(chain):
        connection.sendall(b"update %s\n" % os.fsencode(release))
        answers.readline()
        connection.sendall(b"serial\n")
        if int(answers.readline()) != number + 1:
            raise SystemExit(f"update {number + 1} failed")
