"""A running server with its clients: started, asked, loaded, and looked at from outside.

`Server` is the process and a connection to it that lasts; `Load` has clients in a thread of its
own, each with one request at a time whose answer must be the next number: a request that is lost,
done twice, or answered by somebody else gives another one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kitsune_tool import channel, launcher

PATIENCE_S = 60
OWN_CHILDREN = "kitsune-"
"""How the names of the launcher's own processes begin."""


class Trouble(Exception):
    """Something is not as it must be."""


class Connection:
    """A client: one request at a time."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self.address = address
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(address)
        except OSError as error:
            raise Trouble(f"{address}: {error}") from error
        self._served = 0

    def send(self, line: str) -> None:
        """Send a request."""
        self.socket.sendall(line.encode() + b"\n")

    def receive(self) -> str:
        """Return the answer."""
        got = b""
        while not got.endswith(b"\n"):
            part = self.socket.recv(65536)
            if not part:
                raise Trouble(f"{self.address} ended the connection")
            got += part
        return got.decode().rstrip("\n")

    def ask(self, line: str) -> str:
        """Send a request and return its answer."""
        self.send(line)
        return self.receive()

    def check(self) -> None:
        """Receive the answer to `incr`."""
        self._served += 1
        if (got := self.receive()) != str(self._served):
            raise Trouble(f"{self.address} counts {got} requests instead of {self._served}")

    def leave(self) -> None:
        """End the connection, and wait until the server has ended it as well."""
        self.socket.shutdown(socket.SHUT_WR)
        if left := self.socket.recv(65536):
            raise Trouble(f"{self.address} answers {left!r} to nothing")
        self.close()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()


class Load:
    """Clients that last, and one that comes and goes; rounds of a request by each.

    Between two rounds the server holds nothing of the one that went.
    """

    def __init__(self, addresses: Sequence[str | tuple[str, int]]) -> None:
        self._addresses = addresses
        self._lasting = [Connection(address) for address in addresses for _ in range(2)]
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._trouble = ""
        self.rounds = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for each in self._lasting:
            each.close()

    def await_round(self) -> None:
        """Wait until each client was served once more by a request begun from now on."""
        wanted = self.rounds + 2
        deadline = time.monotonic() + PATIENCE_S
        while self.rounds < wanted:
            if self._trouble:
                raise Trouble(self._trouble)
            if time.monotonic() > deadline:
                raise Trouble("the clients are not served any more")
            time.sleep(0.0005)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the clients from asking."""
        with self._lock:
            yield

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                with self._lock:
                    self._round()
                self.rounds += 1
                time.sleep(0.0005)
        except (OSError, Trouble) as error:
            self._trouble = f"a client: {error}"

    def _round(self) -> None:
        passing = Connection(self._addresses[self.rounds % len(self._addresses)])
        clients = [*self._lasting, passing]
        for each in clients:
            each.send("incr")
        for each in clients:
            each.check()
        passing.leave()


class Server:
    """The program, of one of the kinds `one`, `threads`, `children` and `child`.

    `target` is the process that is updated: the one that was started, or of the kind `child` one of
    its children, which take turns.
    """

    def __init__(self, release: Path, kind: str, directory: Path) -> None:
        self.directory = directory
        for name in ("run", "sockets"):
            (directory / name).mkdir(mode=0o700, parents=True)
        self.plan = directory / "fail"
        self._errors = (directory / "server.err").open("wb+")
        variables = {
            "KITSUNE_RUNTIME_DIR": str(directory / "run"),
            "FAIL_SOCKETS": str(directory / "sockets"),
            "FAIL_FILE": str(self.plan),
        }
        self._process = subprocess.Popen(
            [str(launcher.launcher_path()), str(release), "children" if kind == "child" else kind],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | variables,
            text=True,
        )
        self.pid = self._process.pid
        self.channel = channel.Channel(directory / "run", self.pid)
        self._connections: dict[int, Connection] = {}
        try:
            said = list(self._until_ready())
            self.port = int(said[0])
            self.children = [int(each) for each in said[1:]]
            self.targets = self.children if kind == "child" else [self.pid]
            self.target = self.targets[0]
            self._connections |= {pid: Connection(self.address(pid)) for pid in self.processes}
        except BaseException:
            self.stop()
            raise

    @property
    def processes(self) -> list[int]:
        """All processes of the program; the one that was started comes first."""
        return [self.pid, *self.children]

    def address(self, pid: int) -> str:
        """Return the path of a process's own socket."""
        return str(self.directory / f"sockets/{pid}")

    def load(self) -> Load:
        """Return clients of all its sockets."""
        own = [self.address(pid) for pid in self.processes]
        return Load([("127.0.0.1", self.port), *own])

    def ask(self, line: str) -> str:
        """Ask the process that is updated."""
        return self._connections[self.target].ask(line)

    def request(self, *words: str) -> dict[str, Any]:
        """Ask for something by the control channel."""
        return channel.ask(self.channel, words, PATIENCE_S)

    def update_words(self, release: Path, limit_ms: int, wait_ms: int) -> list[str]:
        """Return the words that ask for an update of the process."""
        words = ["update", str(release), str(limit_ms), str(wait_ms)]
        return [*words, str(self.target)] if self.target != self.pid else words

    def status(self) -> dict[str, Any]:
        """Return the status of the process that is updated."""
        return self.request("status", *([str(self.target)] if self.target != self.pid else []))

    def version(self) -> str:
        """Return the version that the process says it is."""
        return self.sums()[f"version of {self.target}"]

    def take_turns(self) -> Iterator[int]:
        """Make each process that is to be updated the one that is, and return it."""
        for target in self.targets:
            self.target = target
            yield target

    def sums(self) -> dict[str, str]:
        """Return what the processes see of themselves."""
        found = {}
        for pid, connection in self._connections.items():
            for word in connection.ask("sum").split():
                name, _, value = word.partition("=")
                found[f"{name} of {pid}"] = value
        return found

    def outside(self) -> dict[str, str]:
        """Return what the kernel shows of the processes and of what they hold."""
        found = {}
        for pid in self.processes:
            proc = Path(f"/proc/{pid}")
            found[f"threads of {pid}"] = " ".join(sorted(self._threads(proc)))
            found[f"descriptors of {pid}"] = " ".join(sorted(self._descriptors(proc)))
        found["children"] = " ".join(sorted(self._children()))
        return found

    def holdings(self) -> tuple[int, int]:
        """Return own memory and mapped memory, in KiB."""
        status = Path(f"/proc/{self.target}/status").read_text(encoding="ascii")
        own, mapped = (
            int(status.partition(name)[2].split()[0]) for name in ("RssAnon:", "VmSize:")
        )
        return own, mapped

    def is_running(self) -> bool:
        """Tell whether the process is still there."""
        return self._process.poll() is None

    def errors(self) -> str:
        """Return the end of what it has written to its standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:]

    def stop(self) -> None:
        """End it."""
        for connection in self._connections.values():
            connection.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def _until_ready(self) -> Iterator[str]:
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()) != "ready\n":
            if not line:
                raise Trouble(f"the server does not start: {self.errors()}")
            yield line

    @staticmethod
    def _threads(proc: Path) -> Iterator[str]:
        for task in (proc / "task").iterdir():
            yield f"{task.name}:{(task / 'comm').read_text(encoding='utf-8').strip()}"

    @staticmethod
    def _descriptors(proc: Path) -> Iterator[str]:
        for each in (proc / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                yield f"{each.name}:{each.readlink()}"

    def _children(self) -> Iterator[str]:
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            for pid in (task / "children").read_text(encoding="ascii").split():
                with contextlib.suppress(OSError):
                    name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
                    if not name.startswith(OWN_CHILDREN):
                        yield f"{pid}:{name}"
