"""A test driver of Icecast: starts it, streams to it, listens, reads its pages, ends a stream.

In: the command that starts Icecast. Out: a line per thing that was tried, and exit status 0 if all
went as it must. What is checked stays true if Icecast becomes its next version at any moment on the
way: `kitsune test-update` tries that.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import radio_clients as clients
import radio_server

RATE = 16000
"""Bytes per second of the streams that go on all the while."""
BLOCKS = 12
MOUNT, OTHER = "/short.mp3", "/stream.mp3"
FIRST = 1_000_000
"""Blocks of the stream that comes and goes have numbers from here on."""


def main(arguments: Sequence[str]) -> int:
    """Check the server that `arguments` start; return 0 if all was right."""
    with (
        tempfile.TemporaryDirectory(prefix="icecast-") as place,
        clients.Radio(1, RATE) as radio,
        radio_server.started(arguments, Path(place), radio.serve_others()) as (_, *ports),
    ):
        radio.begin(*ports)
        radio.wait_for(BLOCKS)
        failed = 0
        for what, is_right in session(ports[0]):
            print(f"{what}: {'as it must be' if is_right else 'WRONG'}")
            failed += not is_right
        radio.wait_for(BLOCKS)
        for complaint in radio.complaints:
            print(f"FAILED: {complaint}")
        return min(failed + len(radio.complaints), 1)


def session(port: int) -> Iterator[tuple[str, bool]]:
    """Yield what was tried, and whether it is right: a source comes, is heard, is ended."""
    refused = answer(port, f"PUT {MOUNT} HTTP/1.0", clients.authorization("nobody"))
    yield "a wrong name", b" 401 " in refused.splitlines()[0]
    yield "no such stream", b" 404 " in answer(port, "GET /none HTTP/1.0").splitlines()[0]
    with source(port) as streaming:
        yield "a source comes", is_known(port, True)
        with asked(port, f"GET {MOUNT} HTTP/1.0") as heard:
            is_let_in = b" 200 " in head(heard)
            streaming.sendall(blocks(20, 100))
            yield "it is heard", is_let_in and hears(heard, FIRST)
            listed = admin(port, f"listclients?mount={MOUNT}")
            yield "its listener is listed", listed.count(b"<listener>") == 1
            moved = admin(port, f"moveclients?mount={MOUNT}&destination={OTHER}")
            yield "the listener is moved", b"<return>1</return>" in moved
            yield "and hears the other stream", hears(heard, 0)
        killed = admin(port, f"killsource?mount={MOUNT}")
        yield "the source is ended", b"<return>1</return>" in killed
        yield "and is told", is_closed(streaming)
    yield "nobody knows it any more", is_known(port, False)
    with source(port):
        yield "it comes again", is_known(port, True)
    yield "and goes", is_known(port, False)
    yield "a request in two parts", clients.HalfSent(port).finish()


@contextlib.contextmanager
def asked(port: int, *lines: str) -> Iterator[socket.socket]:
    """Send a request; yield the connection, and close it."""
    with socket.create_connection(("127.0.0.1", port), clients.TIMEOUT_S) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        yield connection


def answer(port: int, *lines: str) -> bytes:
    """Return all of the answer to a request."""
    with asked(port, *lines) as connection:
        return connection.makefile("rb").read()


def admin(port: int, command: str) -> bytes:
    """Return what the administrator is told."""
    return answer(port, f"GET /admin/{command} HTTP/1.0", clients.authorization("admin"))


def head(connection: socket.socket) -> bytes:
    """Read the head of an answer, and not more."""
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        text += connection.recv(1) or _ended()
    return text


@contextlib.contextmanager
def source(port: int) -> Iterator[socket.socket]:
    """Be a source that has begun to stream; yield its connection, and close it."""
    kind = f"Content-Type: {clients.Mpeg.content_type}"
    login = clients.authorization("source")
    with asked(port, f"PUT {MOUNT} HTTP/1.0", login, kind) as connection:
        if b" 200 " not in head(connection):
            raise SystemExit("the source is not let in")
        connection.sendall(blocks(0, 20))
        yield connection


def blocks(first: int, end: int) -> bytes:
    """Return blocks of the stream that comes and goes."""
    return b"".join(map(clients.Mpeg(MOUNT).block, range(FIRST + first, FIRST + end)))


def hears(connection: socket.socket, first: int) -> bool:
    """Read until so many whole blocks of a stream have come; its numbers begin with `first`."""
    stream, data, heard = clients.Mpeg(MOUNT), b"", 0
    while heard < BLOCKS:
        data += connection.recv(4096) or _ended()
        while (at := data.find(stream.mark)) >= 0 and len(data) - at >= stream.size:
            block, number = data[at : at + stream.size], data[at + 4 : at + 16]
            is_whole = number.isdigit() and block == stream.block(int(number))
            heard += is_whole and first <= int(number) < first + FIRST
            data = data[at + (stream.size if is_whole else 1) :]
    return True


def is_known(port: int, wanted: bool) -> bool:
    """Wait until the statistics, which a thread of their own writes, have the stream or not."""
    deadline = time.monotonic() + clients.TIMEOUT_S
    while (f'mount="{MOUNT}"'.encode() in admin(port, "stats")) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(clients.TICK_S)
    return True


def is_closed(connection: socket.socket) -> bool:
    """Wait for the other side to close a connection."""
    with contextlib.suppress(ConnectionError):
        return not connection.recv(1)
    return True


def _ended() -> bytes:
    raise SystemExit("a connection ended too early")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
