"""A server under load and the releases it is attacked with: for the tests of trust.

A `Fortress` is a running ledger (ledger/ledger.c) with clients that count along all the time; after
each attack `unharmed` tells that it is the same process with the same state, that no request of the
clients was lost, and that the version is the one it should be.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kitsune_tool import channel, seal
from kitsune_tool.channel import Answer

HERE = Path(__file__).parent
PATIENCE_S = 60.0
_KITSUNE = (sys.executable, "-m", "kitsune_tool.cli")
_CC = (sys.executable, "-m", "kitsune_tool.cc", "gcc", "-O1", "-fPIC", "-fvisibility=hidden")


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return done.stdout


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair of minisign."""

    public: Path
    secret: Path

    @classmethod
    def made(cls, directory: Path, name: str) -> Key:
        """Make a key without a password."""
        key = cls(directory / f"{name}.pub", directory / f"{name}.key")
        run("minisign", "-G", "-W", "-f", "-p", key.public, "-s", key.secret)
        return key

    def sign(self, file: Path, *options: str) -> Path:
        """Sign a file with the tool; return the signature's path."""
        run("minisign", "-S", "-W", "-s", self.secret, "-m", file, *options)
        return Path(f"{file}.minisig")


def identity_of(data: bytes | bytearray) -> int:
    """Return where the identity lies in a release."""
    return data.index(b"1ENUSTIK")  # its magic number, little-endian


def reseal(data: bytes) -> bytes:
    """Return a release with the checksum that its bytes have, as an attacker would."""
    return seal.sealed(data, identity_of(data))


def build_ledger(directory: Path) -> tuple[Path, Path]:
    """Build both versions' releases, the second chained to the first."""
    shutil.copytree(HERE / "ledger", directory, dirs_exist_ok=True)
    for version in ("1", "2"):
        run(*_CC, f"-DLEDGER={version}", "-c", "ledger.c", "-o", f"{version}.o", cwd=directory)
        words = ("release", "--version", version, "--publish", "-o", f"{version}/ledger.so")
        run(*_KITSUNE, *words, "--objects", f"{version}.o", cwd=directory)
    stored = directory / "releases" / "ledger"
    return stored / "1" / "ledger.so", stored / "2" / "ledger.so"


@dataclass(slots=True)
class _Counter(threading.Thread):
    """A client that counts along: an answer that is lost or given twice is seen."""

    path: Path
    name_: str
    count: int = 0
    trouble: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread.__init__(self, daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Count until it is stopped."""
        try:
            with Line(self.path) as line:
                while not self.stopped.is_set():
                    got = line.ask(f"add {self.name_}")
                    self.count += 1
                    if got != str(self.count):
                        self.trouble = f"{got} instead of {self.count}"
                        return
                    time.sleep(0.002)  # the machine is for the attacks, too
        except OSError as error:
            self.trouble = str(error)


class Line:
    """A connection to the ledger."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, command: str) -> str:
        """Send a command, return its answer."""
        self._file.write(command + "\n")
        self._file.flush()
        return self._file.readline().rstrip("\n")


class Fortress:
    """A running ledger; see the module."""

    def __init__(
        self, release: Path, directory: Path, options: Sequence[str] = (), **variables: str
    ) -> None:
        self.directory = directory
        self.runtime = directory / "run"
        self.socket = directory / "ledger.sock"
        self.process = subprocess.Popen(
            [*_KITSUNE, "run", *options, str(release), str(self.socket)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KITSUNE_RUNTIME_DIR": str(self.runtime), **variables},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.pid = self.process.pid
        self.channel = channel.Channel(self.runtime, self.pid)
        self.counters = [_Counter(self.socket, f"load{index}") for index in range(2)]
        with self.line() as line:
            self.sum = line.ask("sum")
        self.helper = int(self.status()["helper"])
        self.threads = self._threads()
        self.maps = self._images()
        for counter in self.counters:
            counter.start()

    def line(self) -> Line:
        """Connect to the server itself."""
        return Line(self.socket)

    def status(self) -> Answer:
        """Ask the helper how things are."""
        return channel.ask(self.channel, ["status"], PATIENCE_S)

    def update(self, release: Path | str) -> Answer:
        """Ask for an update."""
        return channel.ask(self.channel, ["update", os.fspath(release), "0", "20000"], PATIENCE_S)

    def connect(self) -> socket.socket:
        """Connect to the control socket as any program may."""
        connection = socket.socket(socket.AF_UNIX)
        # Not settimeout(): a full queue would be an error at once instead of being waited for.
        limit = struct.pack("@ll", int(PATIENCE_S), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(str(self.runtime / self.channel.name))
        connection.settimeout(PATIENCE_S)
        return connection

    def unharmed(self, version: str = "1") -> None:
        """Check that it is as it was."""
        assert self.process.poll() is None, f"the server ended: {self.process.returncode}"
        before = [counter.count for counter in self.counters]
        deadline = time.monotonic() + PATIENCE_S
        while not all(c.count > b for c, b in zip(self.counters, before, strict=True)):
            assert not [c.trouble for c in self.counters if c.trouble]
            assert time.monotonic() < deadline, "the clients are not served"
            time.sleep(0.002)
        with self.line() as line:
            assert line.ask("who") == f"{version} {self.pid}"
            assert line.ask("sum") == self.sum
        status = self.status()
        assert (status["version"], status["state"]) == (version, "idle")
        assert status["helper"] == self.helper, "the helper had to be replaced"
        assert self._threads() == self.threads
        if version == "1":
            assert self._images() == self.maps, "something was loaded"

    def _threads(self) -> list[str]:
        return sorted(path.name for path in Path(f"/proc/{self.pid}/task").iterdir())

    def _images(self) -> list[str]:
        """Return which code the process has mapped."""
        lines = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        return sorted({line.split(maxsplit=5)[-1] for line in lines if " r-xp " in line})

    def close(self) -> None:
        """End the server."""
        for counter in self.counters:
            counter.stopped.set()
            counter.join(PATIENCE_S)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def fortress(
    release: Path, directory: Path, options: Sequence[str] = (), **variables: str
) -> Iterator[Fortress]:
    """Run a ledger; it ends with the block, in which nothing may have harmed it."""
    directory.mkdir(parents=True, exist_ok=True)
    server = Fortress(release, directory, options, **variables)
    try:
        yield server
        assert not [counter.trouble for counter in server.counters if counter.trouble]
    finally:
        server.close()
