"""A test driver of the broker: starts it, goes through what MQTT has, one packet at a time.

In: the command that starts the broker. Out: a line per step, and exit status 0 if all were right.
They stay right if the broker becomes its next version at any moment on the way: `kitsune
test-update` tries that.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mqtt_wire import Message, Wire

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import scenarios

TIMEOUT_S = 30
CONFIGURATION = "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"


def main(arguments: Sequence[str]) -> int:
    """Check the broker that the arguments start; return 0 if every step was right."""
    failed = 0
    with _broker(arguments) as port, Session(port) as session:
        for step in session.steps():
            is_right = step()
            print(f"{step.__name__}: {'right' if is_right else 'WRONG'}", flush=True)
            failed += not is_right
    return min(failed, 1)


@contextlib.contextmanager
def _broker(command: Sequence[str]) -> Iterator[int]:
    port = scenarios.free_port()
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as place:
        configuration = Path(place) / "mosquitto.conf"
        configuration.write_text(CONFIGURATION.format(port=port), encoding="ascii")
        broker = subprocess.Popen([*command, "-c", str(configuration)])
        try:
            scenarios.wait_for_port(port)
            yield port
            broker.terminate()
            if status := broker.wait(TIMEOUT_S):
                sys.exit(f"the broker ended with status {status}")
        finally:
            broker.kill()
            broker.wait()


class Session(contextlib.ExitStack):
    """Clients, each of which does its part of the steps."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._reader = self._client("reader")
        self._sender = self._client("sender", will=("will/sender", b"gone"))

    def steps(self) -> Sequence[Callable[[], bool]]:
        """Return all steps, in their order."""
        return (
            self.wildcards,
            self.retained,
            self.at_least_once,
            self.exactly_once,
            self.half_a_packet,
            self.shared,
            self.unsubscribed,
            self.left_and_taken_up,
            self.will,
        )

    def wildcards(self) -> bool:
        """Have messages come by a filter for one level, and by one for all below."""
        self._reader.subscribe("one/+/x", "all/#", "will/+", qos=2)
        for topic in ("one/a/x", "one/a/y", "one/a/b/x", "all", "all/a/b", "other"):
            self._sender.publish(topic, topic.encode())
        self._sender.messages_until_quiet()  # the broker has had them all
        came = [message.topic for message in self._reader.messages_until_quiet()]
        return came == ["one/a/x", "all", "all/a/b"]

    def retained(self) -> bool:
        """Keep a message, replace it, and clear another one."""
        for topic, payload in (("a", b"1"), ("a", b"2"), ("b", b"3"), ("b", b"")):
            mid = self._sender.publish(f"kept/{topic}", payload, qos=1, retain=True)
            self._sender.acknowledged(mid)
        late = self._client("late")
        late.subscribe("kept/+", qos=1)
        message = late.next_message()
        late.acknowledge(message.mid)
        seen = (message.topic, message.payload, message.retained)
        return seen == ("kept/a", b"2", True) and not late.messages_until_quiet()

    def at_least_once(self) -> bool:
        """Send a message of QoS 1."""
        mid = self._sender.publish("all/qos1", b"1", qos=1)
        self._sender.acknowledged(mid)
        message = self._reader.next_message()
        self._reader.acknowledge(message.mid)
        return self._is_fresh(message, b"1", 1)

    def exactly_once(self) -> bool:
        """Send a message of QoS 2, with a pause in the middle of each handshake."""
        mid = self._sender.publish("all/qos2", b"2", qos=2)
        self._sender.received_of(mid)
        too_early = self._reader.messages_until_quiet()
        self._sender.release(mid)
        message = self._reader.next_message()
        self._sender.messages_until_quiet()
        self._reader.accept(message.mid)
        return not too_early and self._is_fresh(message, b"2", 2)

    def half_a_packet(self) -> bool:
        """Send a packet in two halves, with other traffic between them."""
        half = self._client("half")
        send_rest = half.publish_half("all/half", b"whole" * 1000)
        self._sender.publish("all/between", b"between")
        first = self._reader.next_message()
        send_rest()
        second = self._reader.next_message()
        return (first.payload, second.payload) == (b"between", b"whole" * 1000)

    def shared(self) -> bool:
        """Share a subscription: each message comes to one of two."""
        sharing = [self._client(f"sharing-{number}") for number in range(2)]
        for client in sharing:
            client.subscribe("$share/group/work/#")
        for number in range(6):
            self._sender.publish("work/item", b"%d" % number)
        self._sender.messages_until_quiet()
        came = [client.messages_until_quiet() for client in sharing]
        numbers = sorted(int(message.payload) for messages in came for message in messages)
        return all(came) and numbers == list(range(6))

    def unsubscribed(self) -> bool:
        """Give a subscription up; the others stay."""
        self._reader.unsubscribe("one/+/x")
        self._sender.publish("one/a/x", b"not any more")
        self._sender.publish("all/still", b"still")
        return bool(self._reader.next_message().payload == b"still")

    def left_and_taken_up(self) -> bool:
        """Leave a session, and take it up again with what has come meanwhile."""
        with Wire(self._port, "kept", clean=False) as client:
            client.subscribe("later/#", qos=1)
            client.disconnect()
        for number in range(5):
            mid = self._sender.publish("later/a", b"%d" % number, qos=1)
            self._sender.acknowledged(mid)
        with Wire(self._port, "kept", clean=False) as client:
            messages = [client.next_message() for _ in range(5)]
            for message in messages:
                client.acknowledge(message.mid)
            numbers = [int(message.payload) for message in messages]
            rest = client.messages_until_quiet()
            return bool(client.session_present) and numbers == list(range(5)) and not rest

    def will(self) -> bool:
        """Break a connection: its will is sent."""
        self._sender.drop()
        message = self._reader.next_message()
        return (message.topic, message.payload) == ("will/sender", b"gone")

    def _client(self, name: str, will: tuple[str, bytes] | None = None) -> Wire:
        return self.enter_context(Wire(self._port, name, will=will))

    @staticmethod
    def _is_fresh(message: Message, payload: bytes, qos: int) -> bool:
        seen = (message.payload, message.qos, message.repeated, message.retained)
        return seen == (payload, qos, False, False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
