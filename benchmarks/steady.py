"""What being updateable costs while nothing is updated: instructions executed by the server itself.

In: the shipped example's newest version, as a plain executable and as a release under the launcher.
Out: instructions for each request of a fixed workload. Both run under callgrind with the same
requests on one connection, one after the other, so that the counts repeat; the difference between a
long and a short run leaves out start and end.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kitsune_tool import launcher

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ROOT / "build/kvd/kvd"
RELEASE = ROOT / "build/kvd/releases/kvd/3.0/kvd.so"
SHORT, LONG = 500, 4500
_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Steady:
    """Instructions for each request."""

    plain: float
    release: float

    @property
    def difference_percent(self) -> float:
        """How much more the release executes."""
        return 100 * (self.release / self.plain - 1)


def measure() -> Steady:
    """Build the example and count."""
    command = [sys.executable, "-m", "SCons", "-C", str(ROOT), "-Q", "-s", "-j2"]
    subprocess.run([*command, ".", "release-chain"], check=True)
    started = [str(launcher.launcher_path()), str(RELEASE)]
    return Steady(_per_request([str(PLAIN)]), _per_request(started))


def _per_request(server: Sequence[str]) -> float:
    return (_instructions(server, LONG) - _instructions(server, SHORT)) / (LONG - SHORT)


def _instructions(server: Sequence[str], requests: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        counts = Path(directory) / "counts"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", *server]
        with subprocess.Popen(
            [*command, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                ready = re.search(r"ready on port (\d+)", process.stdout.readline())
                if ready is None:
                    raise SystemExit(f"{server[0]} does not start under valgrind")
                _ask(int(ready[1]), requests)
            finally:
                process.terminate()
            process.wait(_TIMEOUT_S)
        total = re.search(r"^(?:summary|totals): (\d+)", counts.read_text(), re.MULTILINE)
    if total is None:
        raise SystemExit(f"callgrind has no count for {server[0]}")
    return int(total[1])


def _ask(port: int, requests: int) -> None:
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
        answers = connection.makefile("rb")
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
