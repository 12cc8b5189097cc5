"""MQTT clients that would see a message lost, repeated or out of order, and a connection dropped.

In: a broker's port. Out: what was sent, and complaints. `Traffic` are clients of paho-mqtt in
threads of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import paho.mqtt.client as paho
from mqtt_wire import TIMEOUT_S, Wire
from paho.mqtt.enums import CallbackAPIVersion

_WINDOW = 20
"""So many messages of a publisher are under way at most: none is dropped for want of room."""


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
