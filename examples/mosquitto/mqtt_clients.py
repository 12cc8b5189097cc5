"""MQTT clients that would see a message lost, repeated or out of order, and a connection dropped.

In: a broker's port. Out: what was sent, and complaints. `Traffic` are clients of paho-mqtt in
threads of its own; `Wire` is one that sends and reads packets when it is told to, so that an update
can come in the middle of a handshake, of a packet, or of a silence.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

TIMEOUT_S = 60
_WINDOW = 20
"""So many messages of a publisher are under way at most: none is dropped for want of room."""
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


@dataclass(slots=True)
class _Flow:
    """A publisher and how far its messages have come; each subscriber has a count of its own."""

    topic: str
    qos: int
    client: paho.Client
    sent: int = 0
    came: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Traffic:
    """Publishers of each QoS that number their messages, and subscribers by all kinds of filters.

    Whoever publishes waits until all subscribers have what was sent some messages ago.
    """

    port: int
    publishers: int
    complaints: list[str] = field(default_factory=list)
    _flows: dict[str, _Flow] = field(default_factory=dict)
    _clients: list[paho.Client] = field(default_factory=list)
    _subscribers: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _ends: bool = False

    @property
    def sent(self) -> int:
        """How many messages were published."""
        return sum(flow.sent for flow in self._flows.values())

    def __enter__(self) -> Self:
        filters = {"all": "load/#", "each": "load/+/messages", "qos1": "load/1-0/messages"}
        for name, filter_ in filters.items():
            subscribed = threading.Event()
            client = self._client(f"subscriber-{name}", name)
            client.on_subscribe = lambda *_, done=subscribed: done.set()
            client.subscribe(filter_, qos=2)
            if not subscribed.wait(TIMEOUT_S):
                raise SystemExit(f"no answer to the subscription of {filter_}")
            self._subscribers.append(name)
        for number in range(self.publishers):
            qos, topic = number % 3, f"load/{number % 3}-{number // 3}/messages"
            names = ["all", "each", *(["qos1"] if topic == filters["qos1"] else [])]
            client = self._client(f"publisher-{number}", "")
            self._flows[topic] = _Flow(topic, qos, client, came=dict.fromkeys(names, 0))
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        assert self._thread is not None
        self._thread.join(TIMEOUT_S)
        self._wait(lambda: all(flow.sent == min(flow.came.values()) for flow in self._each()))
        for client in self._clients:
            client.on_disconnect = None
            client.disconnect()
            client.loop_stop()

    def wait_for(self, messages: int) -> None:
        """Wait until so many messages more have come to all their subscribers."""
        wanted = self._came() + messages
        self._wait(lambda: self._came() >= wanted)

    def _came(self) -> int:
        return sum(min(flow.came.values()) for flow in self._each())

    def _each(self) -> Sequence[_Flow]:
        return list(self._flows.values())

    def _wait(self, is_so: Callable[[], bool]) -> None:
        with self._changed:
            if not self._changed.wait_for(is_so, TIMEOUT_S):
                behind = [f"{f.topic}: {f.sent} sent, {f.came}" for f in self._each()]
                self.complaints.append(f"messages did not come: {behind}")

    def _client(self, name: str, subscriber: str) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=True)
        connected = threading.Event()
        client.max_inflight_messages_set(_WINDOW)
        client.on_connect = lambda *_: connected.set()
        client.on_disconnect = lambda *about: self._complain(f"{name} was disconnected: {about[3]}")
        if subscriber:
            client.on_message = lambda _, __, message: self._note(subscriber, message)
        client.connect("127.0.0.1", self.port, keepalive=20)
        client.loop_start()
        if not connected.wait(TIMEOUT_S):
            raise SystemExit(f"{name} gets no connection")
        self._clients.append(client)
        return client

    def _complain(self, text: str) -> None:
        with self._changed:
            self.complaints.append(text)

    def _note(self, subscriber: str, message: Any) -> None:
        number, length, padding = message.payload.partition(b" ")
        with self._changed:
            flow = self._flows[message.topic]
            expected = flow.came[subscriber] + 1
            if int(number) != expected or padding != _padding(expected) or not length:
                text = f"{subscriber}: {message.topic}: {number!r} came, not {expected}"
                self.complaints.append(text)
            if message.dup or message.retain or message.qos != flow.qos:
                self.complaints.append(f"{subscriber}: {message.topic} {expected}: wrong flags")
            flow.came[subscriber] = max(int(number), flow.came[subscriber])
            self._changed.notify_all()

    def _publish(self) -> None:
        """Publish on each flow that is not too far ahead, in turn."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ends or any(self._ready()), TIMEOUT_S)
                if self._ends:
                    return
                ready = list(self._ready())
                for flow in ready:
                    flow.sent += 1
            for flow in ready:
                payload = b"%d %s" % (flow.sent, _padding(flow.sent))
                flow.client.publish(flow.topic, payload, qos=flow.qos)
            time.sleep(0.001)

    def _ready(self) -> Iterator[_Flow]:
        return (f for f in self._each() if f.sent - min(f.came.values()) < _WINDOW)


def _padding(number: int) -> bytes:
    """Return what fills a message: some are larger than what is read at once."""
    return b"x" * (20000 if number % 97 == 0 else number % 50)


def retain(port: int, count: int) -> None:
    """Publish so many retained messages, of all QoS and depths of topics."""
    with Wire(port, "keeper") as client:
        for number in range(count):
            qos = number % 2
            mid = client.publish(*_retained(number), qos, retain=True)
            if qos:
                client.acknowledged(mid)


def wrong_retained(port: int, count: int) -> list[str]:
    """Return which of the retained messages are not what they were."""
    with Wire(port, "looker") as client:
        client.subscribe("retained/#", qos=0)
        seen = {m.topic: m.payload for m in client.messages_until_quiet() if m.retained}
    expected = dict(_retained(number) for number in range(count))
    wrong = [topic for topic, payload in expected.items() if seen.get(topic) != payload]
    return wrong + [topic for topic in seen if topic not in expected]


def _retained(number: int) -> tuple[str, bytes]:
    return f"retained/{number % 100}/{number}", b"value of %d" % number
