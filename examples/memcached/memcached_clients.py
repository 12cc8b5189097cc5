"""memcached's clients: who stores and reads all items, and connections that ask all the while.

In: the port of a running memcached. Out: what it answers, and how often not what it should. The
three protocols (text, meta, binary) are spoken by hand, to know of every byte. Used by scenario.py.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

TIMEOUT_S = 60
BATCH = 500
DAY_S = 86400
LARGE_EVERY = 20_000
LARGE_BYTES = 700_000
"""More than half a page: memcached keeps such a value in chunks."""


@dataclass(frozen=True, slots=True)
class Item:
    """The item of a number: all of it but CAS follows from that."""

    number: int

    @property
    def key(self) -> bytes:
        """Return its key."""
        return b"item:%d" % self.number

    @property
    def flags(self) -> int:
        """Return its flags; of some items none, which memcached stores without."""
        return self.number * 2654435761 % (1 << 32) if self.number % 5 else 0

    @property
    def lives_s(self) -> int:
        """Return after how many seconds it expires, -1: never."""
        return DAY_S + self.number % 1000 if self.number % 3 == 0 else -1

    @property
    def value(self) -> bytes:
        """Return what it holds."""
        large = self.number % LARGE_EVERY == 7
        length = LARGE_BYTES + self.number % 1000 if large else 8 + self.number * 7919 % 150
        text = b"%d." % self.number
        return (text * (length // len(text) + 1))[:length]


class Connection:
    """A TCP connection with a buffer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.sendall(data)

    def line(self) -> bytes:
        """Return the next line, without its end."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._fill()
        found, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return found

    def exactly(self, count: int) -> bytes:
        """Return so many bytes."""
        pieces, have = [self._buffer], len(self._buffer)
        while have < count:
            pieces.append(self._receive())
            have += len(pieces[-1])
        data = b"".join(pieces)
        self._buffer = data[count:]
        return data[:count]

    def ask(self, request: bytes) -> bytes:
        """Return the one line that is answered."""
        self.send(request)
        return self.line()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _fill(self) -> None:
        self._buffer += self._receive()

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server has closed the connection")
        return data


# ---- all items -----------------------------------------------------------------------------------


def fill(port: int, count: int) -> None:
    """Store all items, by the meta protocol."""
    connection = Connection(port)
    for first in range(0, count, BATCH):
        request = []
        for item in map(Item, range(first, min(first + BATCH, count))):
            value = item.value
            lives = item.lives_s if item.lives_s > 0 else 0
            request.append(
                b"ms %b %d F%d T%d q\r\n%b\r\n" % (item.key, len(value), item.flags, lives, value)
            )
        answer = connection.ask(b"".join(request) + b"mn\r\n")
        if answer != b"MN":
            raise SystemExit(f"an item is not stored: {answer!r}")
    connection.close()


@dataclass(slots=True)
class Looked:
    """What a look at all items has shown."""

    cas: array[int]
    expires_s: array[float]
    """By the clock of this machine; below 0: never."""
    wrong: list[str]


def look(port: int, count: int) -> Looked:
    """Read all items; what follows from their numbers is compared, CAS and expiry are returned."""
    looked = Looked(array("Q"), array("d"), [])
    connection = Connection(port)
    for first in range(0, count, BATCH):
        items = [Item(number) for number in range(first, min(first + BATCH, count))]
        connection.send(b"".join(b"mg %b v f c t\r\n" % item.key for item in items))
        for item in items:
            _read(connection, item, looked)
    connection.close()
    return looked


def _read(connection: Connection, item: Item, looked: Looked) -> None:
    word, *rest = connection.line().split()
    if word != b"VA":
        looked.wrong.append(f"{item.key!r}: {word!r}")
        looked.cas.append(0)
        looked.expires_s.append(-1)
        return
    size, flags, cas, lives = int(rest[0]), int(rest[1][1:]), int(rest[2][1:]), int(rest[3][1:])
    value = connection.exactly(size + 2)[:-2]
    if (value, flags, lives > 0) != (item.value, item.flags, item.lives_s > 0):
        looked.wrong.append(f"{item.key!r}: {value[:40]!r} {flags} {lives}")
    looked.cas.append(cas)
    looked.expires_s.append(time.time() + lives if lives > 0 else -1)


def differences(before: Looked, after: Looked) -> Iterator[str]:
    """Yield each item whose CAS or expiry is another one."""
    yield from after.wrong
    for number, (old, new) in enumerate(zip(before.cas, after.cas, strict=True)):
        if old != new:
            yield f"item {number}: CAS {old} is {new}"
    for number, (was, now) in enumerate(zip(before.expires_s, after.expires_s, strict=True)):
        if abs(was - now) > 3:  # seconds are counted from where the server's clock ticks
            yield f"item {number}: expires at {was}, now at {now}"


# ---- traffic -------------------------------------------------------------------------------------

Step = tuple[bytes, Callable[[Connection], bytes], bytes]
"""A request, how its answer is read, and what that must be."""


def _text(key: bytes) -> Iterator[Step]:
    for turn in itertools.count(1):
        value = b"%d" % turn * (turn % 40 + 1)
        flags = turn % 1000
        yield (
            b"set %b %d 0 %d\r\n%b\r\n" % (key, flags, len(value), value),
            Connection.line,
            b"STORED",
        )
        expected = b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (key, flags, len(value), value)
        yield b"get %b\r\n" % key, _exactly(len(expected)), expected
        yield b"append %b 0 0 1\r\n+\r\n" % key, Connection.line, b"STORED"
        yield b"set %b.n 0 0 %d\r\n%d\r\n" % (key, len(str(turn)), turn), Connection.line, b"STORED"
        yield b"incr %b.n 5\r\n" % key, Connection.line, b"%d" % (turn + 5)
        yield b"touch %b 100\r\n" % key, Connection.line, b"TOUCHED"
        yield b"delete %b\r\n" % key, Connection.line, b"DELETED"
        yield b"get %b\r\n" % key, Connection.line, b"END"


def _meta(key: bytes) -> Iterator[Step]:
    for turn in itertools.count(1):
        value = b"%d/" % turn * (turn % 60 + 1)
        yield b"ms %b %d F7\r\n%b\r\n" % (key, len(value), value), Connection.line, b"HD"
        expected = b"VA %d f7 t-1\r\n%b\r\n" % (len(value), value)
        yield b"mg %b v f t\r\n" % key, _exactly(len(expected)), expected
        counter = b"VA %d\r\n%d\r\n" % (len(str(turn)), turn)
        yield b"ma %b.n N0 J%d v\r\n" % (key, turn), _exactly(len(counter)), counter
        yield b"md %b.n\r\n" % key, Connection.line, b"HD"
        yield b"mg %b.n v\r\n" % key, Connection.line, b"EN"


def _binary(key: bytes) -> Iterator[Step]:
    for turn in itertools.count(1):
        value = b"%d:" % turn * (turn % 50 + 1)
        stored = struct.pack("!II", turn, 0)
        yield packed(1, key, stored, value, turn), packet, _answer(1, b"", turn)
        flags = struct.pack("!I", turn)
        yield packed(0, key, b"", b"", turn), packet, _answer(0, flags + value, turn)
        yield packed(4, key, b"", b"", turn), packet, _answer(4, b"", turn)


def _exactly(count: int) -> Callable[[Connection], bytes]:
    return lambda connection: connection.exactly(count)


def packed(code: int, key: bytes, extras: bytes, value: bytes, opaque: int) -> bytes:
    """Return a request of the binary protocol."""
    length = len(extras) + len(key) + len(value)
    head = struct.pack("!BBHBBHIIQ", 0x80, code, len(key), len(extras), 0, 0, length, opaque, 0)
    return head + extras + key + value


def packet(connection: Connection) -> bytes:
    """Return an answer, but for its CAS."""
    head = connection.exactly(24)
    return head[:16] + connection.exactly(struct.unpack_from("!I", head, 8)[0])


def _answer(code: int, body: bytes, opaque: int) -> bytes:
    extras = 4 if code == 0 else 0
    return struct.pack("!BBHBBHII", 0x81, code, 0, extras, 0, 0, len(body), opaque) + body


class Traffic:
    """Threads with many connections each, which ask on all of them; a context manager."""

    def __init__(self, port: int, connections: int, threads: int = 2) -> None:
        self.sent = 0
        self.complaints: list[str] = []
        self._lock = threading.Lock()
        self._ends = threading.Event()
        speakers = itertools.cycle((_text, _meta, _binary))
        users = [
            (Connection(port), speaker(b"load:%d" % number))
            for number, speaker in zip(range(connections), speakers, strict=False)
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(users[number::threads],))
            for number in range(threads)
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int) -> None:
        """Wait until so many more requests have been answered."""
        target = self.sent + count
        deadline = time.monotonic() + TIMEOUT_S
        while self.sent < target and time.monotonic() < deadline:
            time.sleep(0.01)

    def _run(self, users: Sequence[tuple[Connection, Iterator[Step]]]) -> None:
        alive = list(users)
        while alive and not self._ends.wait(0.001):
            steps = [(user, next(user[1])) for user in alive]
            for (connection, _), step in steps:
                connection.send(step[0])
            for user, (request, read, expected) in steps:
                try:
                    answer = read(user[0])
                except OSError as error:
                    answer = repr(error).encode()
                    alive.remove(user)
                with self._lock:
                    self.sent += 1
                    if answer != expected:
                        self.complaints.append(f"{request[:60]!r}: {answer[:80]!r}")


# ---- requests that are half done when an update comes --------------------------------------------


class HalfSent:
    """Commands of which the server has the first half of the value."""

    VALUE = b"0123456789" * 1000

    def __init__(self, port: int) -> None:
        heads = {
            b"half.text": b"set half.text 3 0 10000\r\n",
            b"half.quiet": b"set half.quiet 3 0 10000 noreply\r\n",
            b"half.meta": b"ms half.meta 10000 F3 c\r\n",
        }
        self._open = {key: Connection(port) for key in heads}
        for key, connection in self._open.items():
            connection.send(b"version\r\n")
            connection.line()
            connection.send(heads[key] + self.VALUE[:5000])

    def finish(self) -> int:
        """Send the rest; return how many of the values are stored whole."""
        good = 0
        for key, connection in self._open.items():
            connection.send(self.VALUE[5000:] + b"\r\n")
            stored = b"" if key == b"half.quiet" else connection.line().split()[0]
            expected = b"VALUE %b 3 10000\r\n%b\r\nEND\r\n" % (key, self.VALUE)
            connection.send(b"get %b\r\n" % key)
            good += (
                stored in (b"", b"STORED", b"HD") and connection.exactly(len(expected)) == expected
            )
            connection.close()
        return good


class HalfRead:
    """A client that has asked for much more than fits into its socket, and reads it later."""

    def __init__(self, port: int) -> None:
        self._item = Item(7)
        self._times = 30
        self._connection = Connection(port)
        self._connection.send(b"get %b\r\n" % self._item.key * self._times)

    def finish(self) -> int:
        """Read all; return how many answers are right."""
        item = self._item
        value = item.value
        expected = b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (item.key, item.flags, len(value), value)
        answers = [self._connection.exactly(len(expected)) for _ in range(self._times)]
        self._connection.close()
        return sum(answer == expected for answer in answers)

    def __len__(self) -> int:
        return self._times
