"""A Tor network of its own on the loopback device: an authority, relays, a client.

In: a directory, the programs. Out: processes that know one another, and a client whose circuits are
built hop by hop as is said. Nothing leaves 127.0.0.1. Callers: scenario.py, check.py.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 300
HOST = "127.0.0.1"

EVERYBODY = """
TestingTorNetwork 1
DataDirectory {directory}
Log notice file {directory}/log
SafeLogging 0
ShutdownWaitLength 0
AssumeReachable 1
PathsNeededToBuildCircuits 0.25
TestingEnableCellStatsEvent 0
"""
AUTHORITY = """
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo nobody@localhost
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
V3AuthNIntervalsValid 3
TestingV3AuthInitialVotingInterval 10
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 20
V3AuthVoteDelay 3
V3AuthDistDelay 3
"""
RELAY = """
Nickname {name}
Address 127.0.0.1
ORPort 127.0.0.1:{or_port}
SocksPort 0
NumCPUs 2
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept 127.0.0.0/8:*
ExitPolicy reject *:*
"""
CONTROL = """
ControlPort 127.0.0.1:{control_port}
CookieAuthentication 0
"""
CLIENT = """
SocksPort 127.0.0.1:{socks_port}
ClientOnly 1
UseEntryGuards 0
__DisablePredictedCircuits 1
__LeaveStreamsUnattached 1
"""


class NetworkFailed(Exception):
    """The network did not come to be; the text says what was waited for."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What is run: a plain tor, the maker of an authority's keys, and how the relay is started."""

    tor: Path
    gencert: Path
    relay: Sequence[str]
    others: Sequence[str] = ("other",)
    """Names of plain relays beside the authority, which is one, too."""


class Control:
    """A connection to a tor's control port."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), TIMEOUT_S)
        self._lines = self._socket.makefile("rb")
        self._events: list[str] = []
        self.ask("AUTHENTICATE")

    def close(self) -> None:
        """End the connection."""
        self._lines.close()
        self._socket.close()

    def ask(self, words: str) -> list[str]:
        """Send a command and return the lines of its answer. Raises `NetworkFailed`."""
        self._socket.sendall(words.encode() + b"\r\n")
        answer: list[str] = []
        while True:
            line = self._line()
            if line.startswith("650"):
                self._events.append(line[4:])
                continue
            answer.append(line[4:])
            if line[3] == "+":
                while (text := self._line()) != ".":
                    answer.append(text)
            elif line[3] == " ":
                if not line.startswith("2"):
                    raise NetworkFailed(f"{words}: {line}")
                return answer

    def event(self, wanted: Callable[[str], bool]) -> str:
        """Return the first event, of those not given yet, that is wanted."""
        while True:
            for number, line in enumerate(self._events):
                if wanted(line):
                    del self._events[: number + 1]
                    return line
            line = self._line()
            if line.startswith("650"):
                self._events.append(line[4:])

    def _line(self) -> str:
        line = self._lines.readline()
        if not line:
            raise NetworkFailed("the control port was closed")
        return line.decode().rstrip("\r\n")


class Network:
    """The processes, and circuits through them."""

    def __init__(self, stack: contextlib.ExitStack, directory: Path, programs: Programs) -> None:
        self._stack = stack
        self._directory = directory
        self._programs = programs
        self._everybody = ""
        self.fingerprints: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.socks_port = free_port()
        self._start()

    def _start(self) -> None:
        plain = [str(self._programs.tor)]
        self._make_authority()
        self._run("authority", plain)
        for name in self._programs.others:
            self._make_relay(name)
            self._run(name, plain)
        relay_port = free_port()
        self._make_relay("live", CONTROL.format(control_port=relay_port))
        self._run("live", self._programs.relay)
        control_port = free_port()
        ports = CONTROL.format(control_port=control_port)
        self._settings("client", CLIENT.format(socks_port=self.socks_port) + ports)
        self._run("client", plain)
        self.control = self._controlled(control_port)
        self.relay_control = self._controlled(relay_port)
        self.control.ask("SETEVENTS CIRC STREAM")
        wait_until(self._is_known, "the client does not know all relays")

    def _controlled(self, port: int) -> Control:
        wait_until(lambda: _listens(port), "a process has no control port")
        control = Control(port)
        self._stack.callback(control.close)
        return control

    @property
    def pids(self) -> dict[str, int]:
        """Return the process of each."""
        return {name: process.pid for name, process in self.processes.items()}

    def _settings(self, name: str, text: str) -> Path:
        directory = self._directory / name
        directory.mkdir(mode=0o700, exist_ok=True)
        settings = directory / "torrc"
        common = EVERYBODY.format(directory=directory)
        settings.write_text(common + self._everybody + text, encoding="ascii")
        return settings

    def _make_authority(self) -> None:
        directory_port, or_port = free_port(), free_port()
        keys = self._directory / "authority/keys"
        keys.mkdir(mode=0o700, parents=True)
        keys.parent.chmod(0o700)
        words = [str(self._programs.gencert), "--create-identity-key", "-m", "12"]
        words += ["-a", f"{HOST}:{directory_port}", "--passphrase-fd", "0"]
        subprocess.run(
            words, cwd=keys, input=b"none\n", capture_output=True, check=True, timeout=TIMEOUT_S
        )
        certificate = (keys / "authority_certificate").read_text(encoding="ascii")
        identity = re.search(r"^fingerprint ([0-9A-F]+)", certificate, re.M)
        text = RELAY.format(name="authority", or_port=or_port) + AUTHORITY
        text += f"DirPort 127.0.0.1:{directory_port}\n"
        placeholder = (
            f"DirAuthority authority orport={or_port} {HOST}:{directory_port} {'F' * 40}\n"
        )
        fingerprint = self._fingerprint("authority", text + placeholder)
        if identity is None:
            raise NetworkFailed("the authority's certificate has no fingerprint")
        self._everybody = (
            f"DirAuthority authority orport={or_port} v3ident={identity[1]} "
            f"{HOST}:{directory_port} {fingerprint}\n"
        )
        self._settings("authority", text)

    def _make_relay(self, name: str, more: str = "") -> None:
        text = RELAY.format(name=name, or_port=free_port()) + more
        self._fingerprint(name, text)
        self._settings(name, text)

    def _fingerprint(self, name: str, text: str) -> str:
        settings = self._settings(name, text)
        words = [str(self._programs.tor), "-f", str(settings), "--list-fingerprint", "--quiet"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        found = re.search(
            rf"^{name} ([0-9A-F]{{40}})$",
            done.stdout.replace(" ", "").replace(name, f"{name} "),
            re.M,
        )
        if found is None:
            raise NetworkFailed(f"{name} tells no fingerprint:\n{done.stdout}{done.stderr}")
        self.fingerprints[name] = found[1]
        return found[1]

    def _run(self, name: str, command: Sequence[str]) -> None:
        directory = self._directory / name
        with (directory / "output").open("wb") as output:
            process = subprocess.Popen(
                [*command, "-f", str(directory / "torrc")], stdout=output, stderr=output
            )
        self._stack.callback(_end, process)
        self.processes[name] = process

    def _is_known(self) -> bool:
        with contextlib.suppress(NetworkFailed):
            for name in self.fingerprints:
                self.control.ask(f"GETINFO md/id/{self.fingerprints[name]}")
            return True
        return False

    def log(self, name: str) -> str:
        """Return what a process has logged."""
        file = self._directory / name / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def circuit(self, *names: str) -> str:
        """Build a circuit through these relays; return its name."""
        path = ",".join("$" + self.fingerprints[name] for name in names)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            circuit = self.control.ask(f"EXTENDCIRCUIT 0 {path}")[0].split()[1]
            event = self.control.event(_tells_end_of(circuit))
            if event.split()[2] == "BUILT":
                return circuit
            if time.monotonic() > deadline:
                raise NetworkFailed(f"no circuit through {', '.join(names)}: {event}")
            time.sleep(0.5)

    def connect(self, circuit: str, port: int) -> socket.socket:
        """Return a connection to a port of this machine, through a circuit."""
        opened = socket.create_connection((HOST, self.socks_port), TIMEOUT_S)
        address = socket.inet_aton(HOST) + port.to_bytes(2, "big")
        opened.sendall(b"\x05\x01\x00" + b"\x05\x01\x00\x01" + address)
        # The client has streams of its own, to ask the authority for what is new.
        ours = re.compile(rf"STREAM \d+ NEW \d+ \S+:{port} ")
        event = self.control.event(lambda line: ours.match(line) is not None)
        stream = event.split()[1]
        self.control.ask(f"ATTACHSTREAM {stream} {circuit}")
        told = re.compile(rf"STREAM {stream} (SUCCEEDED|DETACHED|FAILED|CLOSED)\b")
        event = self.control.event(lambda line: told.match(line) is not None)
        answer = b""
        while event.split()[2] == "SUCCEEDED" and len(answer) < 12:
            got = opened.recv(12 - len(answer))
            if not got:
                break
            answer += got
        if answer[:4] != b"\x05\x00\x05\x00":
            opened.close()
            raise NetworkFailed(f"no stream through circuit {circuit}: {event}, {answer!r}")
        return opened

    def wait_for_streams(self, circuit: str, port: int) -> None:
        """Wait until streams go through: a last hop refuses them before it knows all others."""

        def goes_through() -> bool:
            with contextlib.suppress(NetworkFailed), self.connect(circuit, port):
                return True
            return False

        wait_until(goes_through, f"no stream through circuit {circuit}")

    def circuits(self) -> set[str]:
        """Return the names of those that are built."""
        lines = self.control.ask("GETINFO circuit-status")
        lines = [line.removeprefix("circuit-status=") for line in lines]
        return {line.split()[0] for line in lines if " BUILT " in line}


def _tells_end_of(circuit: str) -> Callable[[str], bool]:
    return lambda line: re.match(rf"CIRC {circuit} (BUILT|FAILED|CLOSED)\b", line) is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on, another one each time."""
    while True:
        with socket.socket() as found:
            found.bind((HOST, 0))
            port: int = found.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def wait_until(is_true: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so. Raises `NetworkFailed`."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_true():
        if time.monotonic() > deadline:
            raise NetworkFailed(otherwise)
        time.sleep(0.1)


@contextlib.contextmanager
def network(directory: Path, programs: Programs) -> Iterator[Network]:
    """Start a network, and end its processes."""
    with contextlib.ExitStack() as stack:
        yield Network(stack, directory, programs)
