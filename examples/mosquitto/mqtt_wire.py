"""A client of MQTT 3.1.1 that sends and reads packets when it is told to.

In: a broker's port. So an update can come in the middle of a handshake, of a packet, or of a
silence; mqtt_clients.py and check.py do that.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

TIMEOUT_S = 60
_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = range(1, 8)
_SUBSCRIBE, _SUBACK, _UNSUBSCRIBE, _UNSUBACK, _PINGREQ, _PINGRESP, _DISCONNECT = range(8, 15)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a subscriber has received it."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    mid: int
    repeated: bool


class Wire:
    """A client of MQTT 3.1.1 that does nothing by itself."""

    def __init__(
        self,
        port: int,
        name: str,
        *,
        clean: bool = True,
        keepalive_s: int = 0,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._buffer = b""
        self._mids = itertools.count(1)
        self._received: list[Message] = []
        flags = (2 if clean else 0) | (0x04 | 0x08 if will else 0)  # a will has QoS 1
        body = _text("MQTT") + bytes([4, flags]) + struct.pack("!H", keepalive_s) + _text(name)
        if will is not None:
            body += _text(will[0]) + struct.pack("!H", len(will[1])) + will[1]
        self._send(_CONNECT, 0, body)
        answer = self._expect(_CONNACK)
        if answer[1] != 0:
            raise SystemExit(f"{name}: the broker refuses the connection ({answer[1]})")
        self.session_present = bool(answer[0] & 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def subscribe(self, *filters: str, qos: int = 0) -> None:
        """Subscribe to filters, and wait for the answer."""
        body = b"".join(_text(each) + bytes([qos]) for each in filters)
        self._send(_SUBSCRIBE, 2, struct.pack("!H", next(self._mids)) + body)
        if answer := self._expect(_SUBACK)[2:].count(0x80):
            raise SystemExit(f"{answer} of {filters} are refused")

    def unsubscribe(self, filter_: str) -> None:
        """Give up a subscription, and wait for the answer."""
        self._send(_UNSUBSCRIBE, 2, struct.pack("!H", next(self._mids)) + _text(filter_))
        self._expect(_UNSUBACK)

    def publish(self, topic: str, payload: bytes, qos: int = 0, *, retain: bool = False) -> int:
        """Send a message; return its identifier, which the answers name."""
        packet, mid = self._publication(topic, payload, qos, retain=retain)
        self._socket.sendall(packet)
        return mid

    def publish_half(self, topic: str, payload: bytes) -> Callable[[], None]:
        """Send the first half of a message's packet; return what sends the rest."""
        packet, _ = self._publication(topic, payload, 0, retain=False)
        half = len(packet) // 2
        self._socket.sendall(packet[:half])
        return lambda: self._socket.sendall(packet[half:])

    def _publication(
        self, topic: str, payload: bytes, qos: int, *, retain: bool
    ) -> tuple[bytes, int]:
        mid = next(self._mids) if qos else 0
        body = _text(topic) + (struct.pack("!H", mid) if qos else b"") + payload
        return _packet(_PUBLISH, qos << 1 | int(retain), body), mid

    def answer(self, kind: int, mid: int) -> None:
        """Send one of the answers of a handshake."""
        self._send(kind, 2 if kind == _PUBREL else 0, struct.pack("!H", mid))

    def received_of(self, mid: int) -> None:
        """Wait for PUBREC of a message of QoS 2."""
        self._expect_mid(_PUBREC, mid)

    def release(self, mid: int) -> None:
        """Do the second half of the handshake of a message that was sent with QoS 2."""
        self.answer(_PUBREL, mid)
        self._expect_mid(_PUBCOMP, mid)

    def acknowledged(self, mid: int) -> None:
        """Wait for PUBACK of a message of QoS 1."""
        self._expect_mid(_PUBACK, mid)

    def accept(self, mid: int) -> None:
        """Do the whole handshake of a message that was received with QoS 2."""
        self.answer(_PUBREC, mid)
        self._expect_mid(_PUBREL, mid)
        self.answer(_PUBCOMP, mid)

    def acknowledge(self, mid: int) -> None:
        """Answer a message that was received with QoS 1."""
        self.answer(_PUBACK, mid)

    def next_message(self) -> Message:
        """Return the next message; answers are the caller's to send."""
        while not self._received:
            kind, flags, body = self._read()
            if kind != _PUBLISH:
                raise SystemExit(f"a message was expected, and packet {kind} came: {body!r}")
            self._keep(flags, body)
        return self._received.pop(0)

    def messages_until_quiet(self) -> list[Message]:
        """Return all messages that come before the answer to a ping."""
        self._send(_PINGREQ, 0, b"")
        self._expect(_PINGRESP)
        messages, self._received = self._received, []
        return messages

    def is_closed_by_broker(self) -> bool:
        """Tell whether the broker ends the connection while nothing is sent on it."""
        try:
            return self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    def drop(self) -> None:
        """Close the connection without a word."""
        self._socket.close()

    def disconnect(self) -> None:
        """Close the connection as one should."""
        self._send(_DISCONNECT, 0, b"")
        self.drop()

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._socket.sendall(_packet(kind, flags, body))

    def _expect_mid(self, kind: int, mid: int) -> None:
        if (found := struct.unpack("!H", self._expect(kind)[:2])[0]) != mid:
            raise SystemExit(f"answer {kind} to message {found}, not to {mid}")

    def _expect(self, expected: int) -> bytes:
        while True:
            kind, flags, body = self._read()
            if kind == expected:
                return body
            if kind != _PUBLISH:
                raise SystemExit(f"packet {kind} came, not {expected}: {body!r}")
            self._keep(flags, body)

    def _keep(self, flags: int, body: bytes) -> None:
        length = struct.unpack("!H", body[:2])[0]
        rest, mid, qos = body[2 + length :], 0, flags >> 1 & 3
        if qos:
            mid, rest = struct.unpack("!H", rest[:2])[0], rest[2:]
        topic = body[2 : 2 + length].decode()
        message = Message(topic, rest, qos, bool(flags & 1), mid, bool(flags & 8))
        self._received.append(message)

    def _read(self) -> tuple[int, int, bytes]:
        head = self._take(1)[0]
        length = shift = 0
        while True:
            byte = self._take(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return head >> 4, head & 15, self._take(length)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not (more := self._socket.recv(65536)):
                raise SystemExit("the broker has closed a connection")
            self._buffer += more
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def _packet(kind: int, flags: int, body: bytes) -> bytes:
    length, left = b"", len(body)
    while True:
        length += bytes([left & 0x7F | (0x80 if left > 0x7F else 0)])
        left >>= 7
        if not left:
            return bytes([kind << 4 | flags]) + length + body
