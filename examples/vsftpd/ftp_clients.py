"""vsftpd's clients, of ftplib and curl: each kind is a session in a state, to go on from it.

In: the world that the scenario has made (two users, their files). Out: sessions that are opened,
left in their state, and finished: `finish` returns what is wrong, or "". Called by scenario.py.
"""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
import io
import random
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

PORT = 2121
USER, PASSWORD = "alice", "correct horse"
TIMEOUT_S = 60
STALLED_BYTES = 1 << 17
WRONG = (OSError, EOFError, AssertionError, ftplib.Error)
TEXT = b"".join(b"line %d of a text\n" % number for number in range(1_000_000))


def contents(size: int) -> bytes:
    """Return what is in the large file."""
    return random.Random(size).randbytes(size)


def wait_for_port(limit_s: float) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", PORT)).close()
            return
        if time.monotonic() > deadline:
            raise SystemExit("vsftpd does not listen")
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class World:
    """Where the server's files are."""

    directory: Path

    @property
    def big(self) -> bytes:
        """Return the contents of the large file."""
        return (self.directory / "ftp/big").read_bytes()


def connect() -> ftplib.FTP:
    """Return a session that is connected."""
    ftp = ftplib.FTP()
    ftp.connect("127.0.0.1", PORT, timeout=TIMEOUT_S)
    return ftp


class Session:
    """A session in the state that `begin` leaves it in."""

    is_anonymous = True

    def __init__(self, world: World) -> None:
        self.world = world
        self.ftp = connect()
        self._begin()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.ftp.close()

    def login(self) -> None:
        """Log in as who this is."""
        if self.is_anonymous:
            self.ftp.login()
        else:
            self.ftp.login(USER, PASSWORD)

    def _begin(self) -> None:
        """Bring the session into its state."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """Go on from it; what is wrong is an AssertionError."""
        raise NotImplementedError

    def finish(self, knows_of_updates: bool) -> str:
        """Go on, look around, and quit; return what is wrong."""
        try:
            self._go_on()
            status = self.ftp.sendcmd("STAT")
            told = "Updated since it began" in status
            assert told == knows_of_updates, f"STAT tells of an update: {told}"
            self.ftp.quit()
        except (*WRONG, subprocess.TimeoutExpired) as error:
            return f"{type(error).__name__}: {error}"
        return ""


class Connected(Session):
    """Has been greeted, and no more."""

    def _begin(self) -> None:
        pass

    def _go_on(self) -> None:
        self.login()
        assert "big" in self.ftp.nlst()


class HalfLoggedIn(Session):
    """Has given its name, and not its password."""

    def _begin(self) -> None:
        assert self.ftp.sendcmd(f"USER {USER}").startswith("331")

    def _go_on(self) -> None:
        assert self.ftp.sendcmd(f"PASS {PASSWORD}").startswith("230")
        assert self.ftp.pwd() == "/"


class Idle(Session):
    """Is in some directory; the next command is not sent yet."""

    def _begin(self) -> None:
        self.login()
        self.ftp.cwd("sub")
        self.ftp.voidcmd("TYPE I")

    def _go_on(self) -> None:
        assert self.ftp.pwd() == "/sub"
        assert "BINARY" in self.ftp.sendcmd("STAT")
        assert self.ftp.size("/big") == len(self.world.big)


class BetweenTwoCommands(Session):
    """A user who has said what to rename, and not yet how."""

    is_anonymous = False

    def _begin(self) -> None:
        self.login()
        assert self.ftp.sendcmd("RNFR old name").startswith("350")

    def _go_on(self) -> None:
        assert self.ftp.sendcmd("RNTO new name").startswith("250")
        assert "new name" in self.ftp.nlst()
        self.ftp.rename("new name", "old name")


class HalfALine(Session):
    """Has sent a part of a line."""

    def _begin(self) -> None:
        self.login()
        assert self.ftp.sock is not None
        self.ftp.sock.sendall(b"SIZE b")

    def _go_on(self) -> None:
        assert self.ftp.sock is not None
        self.ftp.sock.sendall(b"ig\r\n")
        assert self.ftp.voidresp() == f"213 {len(self.world.big)}"


class Listening(Session):
    """The server listens for the data connection, at an offset of the file."""

    def _begin(self) -> None:
        self.login()
        self.ftp.voidcmd("TYPE I")
        self.address = self.ftp.makepasv()
        self.ftp.sendcmd("REST 1000")

    def _go_on(self) -> None:
        with socket.create_connection(self.address, timeout=TIMEOUT_S) as data:
            self.ftp.sendcmd("RETR big")
            got = read_all(data)
        self.ftp.voidresp()
        assert got == self.world.big[1000:], f"{len(got)} bytes differ"


class Download(Session):
    """Gets a file, and has stopped in the middle of it."""

    def _begin(self) -> None:
        self.login()
        self.ftp.voidcmd("TYPE I")
        self.data = self.ftp.transfercmd("RETR big")
        self.got = read_some(self.data, STALLED_BYTES)

    def _go_on(self) -> None:
        got = self.got + read_all(self.data)
        self.data.close()
        assert self.ftp.voidresp().startswith("226")
        assert got == self.world.big, f"{len(got)} bytes, not the {len(self.world.big)} of the file"


class ActiveDownload(Download):
    """The same, over a connection that the server made."""

    def _begin(self) -> None:
        self.ftp.set_pasv(False)
        super()._begin()


class TextDownload(Session):
    """Gets a file as text, and has stopped in the middle of it."""

    def _begin(self) -> None:
        self.login()
        self.ftp.voidcmd("TYPE A")
        self.data = self.ftp.transfercmd("RETR text")
        self.got = read_some(self.data, STALLED_BYTES)

    def _go_on(self) -> None:
        got = self.got + read_all(self.data)
        self.data.close()
        assert self.ftp.voidresp().startswith("226")
        assert got == TEXT.replace(b"\n", b"\r\n"), f"{len(got)} bytes differ"


class Upload(Session):
    """A user who sends a file, and has stopped in the middle of it."""

    is_anonymous = False

    def _begin(self) -> None:
        self.login()
        self.ftp.voidcmd("TYPE I")
        self.name = f"upload {id(self)}"
        self.contents = self.world.big[: 1 << 20]
        self.data = self.ftp.transfercmd(f"STOR {self.name}")
        self.data.sendall(self.contents[: 1 << 18])

    def _go_on(self) -> None:
        self.data.sendall(self.contents[1 << 18 :])
        self.data.close()
        assert self.ftp.voidresp().startswith("226")
        assert (self.world.directory / "home" / self.name).read_bytes() == self.contents
        self.ftp.delete(self.name)


class UniqueUpload(Upload):
    """The same, under a name that the server chooses; as anybody."""

    is_anonymous = True

    def _begin(self) -> None:
        self.login()
        self.ftp.cwd("incoming")
        self.ftp.voidcmd("TYPE I")
        self.contents = self.world.big[: 1 << 20]
        self.data = self.ftp.transfercmd("STOU something")
        self.data.sendall(self.contents[: 1 << 18])

    def _go_on(self) -> None:
        self.data.sendall(self.contents[1 << 18 :])
        self.data.close()
        assert self.ftp.voidresp().startswith("226")
        found = (self.world.directory / "ftp/incoming").glob("something*")
        assert any(each.read_bytes() == self.contents for each in found)


class Curl(Session):
    """curl gets the file at a rate that makes it last."""

    def _begin(self) -> None:
        url = f"ftp://127.0.0.1:{PORT}/big"
        self.login()
        self.curl = subprocess.Popen(
            ["curl", "-sS", "--noproxy", "*", "--limit-rate", "8M", url], stdout=subprocess.PIPE
        )
        assert self.curl.stdout is not None
        self.first = self.curl.stdout.read(65536)

    def _go_on(self) -> None:
        rest, _ = self.curl.communicate(timeout=TIMEOUT_S)
        assert self.curl.returncode == 0, f"curl ends with {self.curl.returncode}"
        assert self.first + rest == self.world.big

    def __exit__(self, *exception: object) -> None:
        self.curl.kill()
        super().__exit__(*exception)


KINDS = (
    Connected, HalfLoggedIn, Idle, BetweenTwoCommands, HalfALine, Listening, Download,
    ActiveDownload, TextDownload, Upload, UniqueUpload, Curl,
)  # fmt: skip


def read_some(data: socket.socket, size: int) -> bytes:
    """Read at least so many bytes."""
    got = b""
    while len(got) < size:
        more = data.recv(65536)
        assert more, "the transfer ended early"
        got += more
    return got


def read_all(data: socket.socket) -> bytes:
    """Read to the end."""
    parts = []
    while more := data.recv(1 << 20):
        parts.append(more)
    return b"".join(parts)


class Traffic:
    """Others that come, log in, look, get and put files at full speed, and go, all the time."""

    def __init__(self, world: World, count: int = 2) -> None:
        self.world = world
        self.served = 0
        self.complaints: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._digest = hashlib.sha256(world.big).digest()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let those that are there go, and no others come."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, limit_s: float) -> None:
        """Wait until so many more have been served."""
        wanted, deadline = self.served + more, time.monotonic() + limit_s
        while self.served < wanted:
            if time.monotonic() > deadline:
                raise SystemExit("others are not served: " + "; ".join(self.complaints[:3]))
            time.sleep(0.02)

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            try:
                self._visit(number)
            except WRONG as error:
                self.complaints.append(f"another client: {type(error).__name__}: {error}")
                time.sleep(0.1)
            with self._lock:
                self.served += 1

    def _visit(self, number: int) -> None:
        """Be one of them."""
        with connect() as ftp:
            ftp.login(USER, PASSWORD)
            lines: list[str] = []
            ftp.retrlines("LIST", lines.append)
            assert any(line.endswith(" big") for line in lines), lines
            digest = hashlib.sha256()
            ftp.retrbinary("RETR big", digest.update)
            assert digest.digest() == self._digest, "another file came"
            ftp.storbinary(f"STOR of {number}", io.BytesIO(TEXT[:100_000]))
            assert ftp.size(f"of {number}") == 100_000
            ftp.delete(f"of {number}")
