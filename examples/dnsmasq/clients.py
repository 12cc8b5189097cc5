"""dnsmasq's clients: a resolver that asks all the while, DHCP through a relay, TFTP.

In: a running dnsmasq in this network namespace. Out: what it answers, and how often it did not.
Used by scenario.py.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype

SERVER = "127.0.0.1"
RELAY = "127.77.0.1"
TRY_TIMEOUT_S = 5
TRIES = 4
PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what must be in the answer; nothing: that there is none."""

    name: str
    kind: str
    expected: tuple[str, ...] = ()
    code: str = "NOERROR"
    of_server: bool = False
    """It is about the server itself, in the class CH."""

    def wire(self) -> dns.message.Message:
        """Return the question as a message."""
        of_class = dns.rdataclass.CH if self.of_server else dns.rdataclass.IN
        return dns.message.make_query(self.name, self.kind, of_class)

    def is_answered_by(self, response: dns.message.Message) -> bool:
        """Tell whether an answer says what is expected."""
        found = {record.to_text() for rrset in response.answer for record in rrset}
        return dns.rcode.to_text(response.rcode()) == self.code and found == set(self.expected)


def ask(question: Question) -> dns.message.Message | None:
    """Ask as a resolver does, again after some seconds; None if there is no answer at all."""
    for _ in range(TRIES):
        try:
            return dns.query.udp(question.wire(), SERVER, timeout=TRY_TIMEOUT_S)
        except dns.exception.Timeout:
            continue
    return None


def statistic(name: str) -> int:
    """Return a number that dnsmasq tells of itself: `hits`, `misses`, `insertions`, …."""
    response = ask(Question(f"{name}.bind", "TXT", of_server=True))
    assert response is not None
    return int(response.answer[0][0].to_text().strip('"'))


class Traffic:
    """Threads that ask the same questions again and again; a context manager."""

    def __init__(self, questions: Sequence[Question], threads: int = 2) -> None:
        self.sent = 0
        self.complaints: list[str] = []
        self._questions = questions
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(threads)
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int, timeout_s: float) -> None:
        """Wait until so many more questions have been answered."""
        target = self.sent + count
        deadline = time.monotonic() + timeout_s
        while self.sent < target and time.monotonic() < deadline:
            time.sleep(0.01)

    def _run(self, number: int) -> None:
        choice = random.Random(number)
        while not self._ends.wait(PAUSE_S):
            question = choice.choice(self._questions)
            response = ask(question)
            with self._lock:
                self.sent += 1
                if response is None or not question.is_answered_by(response):
                    self.complaints.append(f"{question.name} {question.kind}: {response}")


class Pending:
    """A question that was sent, and whose answer is read later."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.tries = 1
        self._query = question.wire()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((SERVER, 53))
        self._socket.send(self._query.to_wire())

    def is_answered(self) -> bool:
        """Tell whether the right answer comes; the question is sent again after some seconds."""
        with self._socket:
            self._socket.settimeout(TRY_TIMEOUT_S)
            for _ in range(TRIES):
                with contextlib.suppress(TimeoutError):
                    response = dns.message.from_wire(self._socket.recv(65536))
                    is_ours = self._query.is_response(response)
                    return is_ours and self.question.is_answered_by(response)
                self.tries += 1
                self._socket.send(self._query.to_wire())
        return False


class OverTcp:
    """A connection on which one question follows the other."""

    def __init__(self) -> None:
        self._socket = socket.create_connection((SERVER, 53), timeout=TRY_TIMEOUT_S * TRIES)

    def is_answered(self, question: Question) -> bool:
        """Tell whether a question is answered on this connection."""
        response = dns.query.tcp(question.wire(), SERVER, sock=self._socket, timeout=20)
        return question.is_answered_by(response)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


# -- DHCP ----------------------------------------------------------------------------------------

_DISCOVER, _OFFER, _REQUEST, _ACK = 1, 2, 3, 5
_MAGIC = b"\x63\x82\x53\x63"
_FIXED_BYTES = 236


class Relay:
    """A DHCP relay on this machine, which speaks for all clients."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((RELAY, 67))
        self._socket.settimeout(TRY_TIMEOUT_S)

    def close(self) -> None:
        """Close the relay's socket."""
        self._socket.close()

    def lease(self, number: int, name: str) -> str:
        """Return the address that a new client gets."""
        offered, options = self._exchange(number, _DISCOVER, _OFFER, {12: name.encode()})
        request = {12: name.encode(), 50: socket.inet_aton(offered), 54: options[54]}
        address, _ = self._exchange(number, _REQUEST, _ACK, request)
        return address

    def renew(self, number: int, address: str) -> str:
        """Return the address that a client keeps when it asks for its own again."""
        return self._exchange(number, _REQUEST, _ACK, {}, address)[0]

    def _exchange(
        self, number: int, kind: int, wanted: int, options: dict[int, bytes], own: str = "0.0.0.0"
    ) -> tuple[str, dict[int, bytes]]:
        transaction = random.getrandbits(32)
        message = struct.pack(
            "!BBBBIHH4s4s4s4s16s192x",
            1, 1, 6, 1, transaction, 0, 0, socket.inet_aton(own), b"", b"",
            socket.inet_aton(RELAY), bytes([2, 0, 0, 0, 0, number]),
        )  # fmt: skip
        fields = {53: bytes([kind]), **options}
        message += _MAGIC + b"".join(bytes([k, len(v)]) + v for k, v in fields.items()) + b"\xff"
        for _ in range(TRIES):
            self._socket.sendto(message, (SERVER, 67))
            answer = self._answer(transaction)
            if answer is not None and answer[1].get(53) == bytes([wanted]):
                return answer
        raise SystemExit(f"DHCP client {number} gets no answer to message {kind}")

    def _answer(self, transaction: int) -> tuple[str, dict[int, bytes]] | None:
        deadline = time.monotonic() + TRY_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return None
            if struct.unpack_from("!I", data, 4)[0] == transaction and data[0] == 2:
                return socket.inet_ntoa(data[16:20]), _options(data[_FIXED_BYTES + 4 :])
        return None


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        length = data[at + 1]
        found[data[at]] = data[at + 2 : at + 2 + length]
        at += 2 + length
    return found


# -- TFTP ----------------------------------------------------------------------------------------

_READ, _DATA, _ACKNOWLEDGE = 1, 3, 4
_BLOCK_BYTES = 512


class Transfer:
    """A file that is fetched block by block, as slowly as one likes."""

    def __init__(self, file: Path) -> None:
        self._expected = file.read_bytes()
        self._got = b""
        self._block = 0
        self._last: tuple[bytes, tuple[str, int]] = (
            struct.pack("!H", _READ) + file.name.encode() + b"\0octet\0",
            (SERVER, 69),
        )
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(TRY_TIMEOUT_S)

    def fetch(self, blocks: int) -> None:
        """Fetch so many more blocks; the last one is acknowledged by the next call."""
        for _ in range(blocks):
            self._fetch_block()

    def finish(self) -> bool:
        """Fetch the rest; tell whether the file is right."""
        while len(self._got) % _BLOCK_BYTES == 0 and len(self._got) <= len(self._expected):
            self._fetch_block()
        self._socket.sendto(*self._last)
        self._socket.close()
        return self._got == self._expected

    def _fetch_block(self) -> None:
        self._socket.sendto(*self._last)
        for _ in range(TRIES * 3):
            try:
                data, server = self._socket.recvfrom(65536)
            except TimeoutError:
                self._socket.sendto(*self._last)
                continue
            kind, block = struct.unpack_from("!HH", data)
            if kind != _DATA:
                raise SystemExit(f"TFTP: {data!r}")
            if block == self._block + 1:
                self._got += data[4:]
                self._block = block
                self._last = (struct.pack("!HH", _ACKNOWLEDGE, block), server)
                return
        raise SystemExit(f"TFTP: block {self._block + 1} does not come")
