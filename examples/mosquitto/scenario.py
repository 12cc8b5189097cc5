"""mosquitto becomes its next version while it serves: 2.0.11, 2.0.21, itself, broken ones.

Fetches and builds all with SCons, starts 2.0.11, keeps messages and sessions in it, and updates it
while numbered messages of all QoS go from publishers to subscribers, and others are in the middle
of whatever MQTT has a middle of. Each message must come once and in order, each handshake, session,
will, shared subscription and retained message must go on. Then it is updated to a release that
crashes half way, to one that hangs, and to itself and back, again and again. Prints what was
transformed, how long the broker paused, messages and memory. Exit status: 0 done, 1 something was
lost, 3 it cannot be done here now (no source, no OpenSSL).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mqtt_clients as clients
from mqtt_wire import Message, Wire

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
from scenarios import NOT_HERE, Figures, Result, expected, go_back  # noqa: E402

FIRST, LAST = VERSIONS = ("2.0.11", "2.0.21")
SAME = f"{LAST}+same"
BROKEN = {f"{LAST}+broken": "K354", f"{LAST}+stuck": "K356"}
TIMEOUT_S = 60
LIMIT_MS = 3000
"""For the release that hangs; others have the default."""
CONFIGURATION = """
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
log_dest file {directory}/log
log_type error
log_type warning
log_type information
pid_file {directory}/pid
persistence true
persistence_location {directory}/
user root
"""


def main(arguments: Sequence[str]) -> int:
    """Build, run the scenario; return the exit status."""
    parser = argparse.ArgumentParser(description="mosquitto is updated while it serves")
    parser.add_argument("--retained", type=int, default=10_000, help="messages that are kept")
    parser.add_argument("--publishers", type=int, default=12, help="at work all the while")
    parser.add_argument("--idle", type=int, default=200, help="clients that wait for a message")
    parser.add_argument("--again", type=int, default=50, help="updates to itself, and back")
    options = scenarios.arguments_of(parser, arguments)
    if not Path("/usr/include/openssl/ssl.h").exists():
        print("mosquitto: OpenSSL's headers are missing (libssl-dev)", file=sys.stderr)
        return NOT_HERE
    status = scenarios.build_chain(HERE, VERSIONS, options.cflags)
    if status != 0:
        return status
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as place:
        os.environ["KITSUNE_RUNTIME_DIR"] = f"{place}/run"
        with server(Path(place)) as (pid, port):
            return serve(pid, port, options)


@contextlib.contextmanager
def server(directory: Path) -> Iterator[tuple[int, int]]:
    """Run the first version; yield its process id and port."""
    port = scenarios.free_port()
    configuration = directory / "mosquitto.conf"
    configuration.write_text(CONFIGURATION.format(port=port, directory=directory), encoding="utf-8")
    command = [*scenarios.KITSUNE, "run", str(scenarios.release(HERE, FIRST))]
    with (directory / "output").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, "-c", str(configuration)], stdout=output, stderr=output
        )
    try:
        scenarios.wait_for_port(port)
        yield process.pid, port
    except BaseException:
        for name in ("output", "log"):
            print((directory / name).read_text(encoding="utf-8")[-3000:], file=sys.stderr)
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)


def serve(pid: int, port: int, options: argparse.Namespace) -> int:
    """Fill the broker, update it again and again; return the exit status."""
    what = f"{options.retained:,} retained messages, {options.idle} idle clients"
    print(f"== {what}, {options.publishers} publishers", flush=True)
    clients.retain(port, options.retained)
    results: list[Result] = []
    figures = Figures(what)
    idle = [Wire(port, f"idle-{number}") for number in range(options.idle)]
    for number, client in enumerate(idle):
        client.subscribe(f"idle/{number}/+", "idle/all", qos=number % 3)
    with clients.Traffic(port, options.publishers) as traffic:
        world = World(pid, port, traffic, options.retained, idle, figures)
        results.append(world.update(FIRST, LAST))
        results += [world.refuse(version, code) for version, code in BROKEN.items()]
        if options.again:
            results.append(world.go_back_and_forth(options.again))
    scenarios.print_results(results)
    scenarios.print_requests("messages", traffic.sent, traffic.complaints)
    print(scenarios.manifest_of(HERE))
    figures.requests, figures.failed = traffic.sent, len(traffic.complaints)
    figures.write(options.figures)
    return 1 if traffic.complaints or any(result.lost for result in results) else 0


class Amid:
    """Clients in the middle of things: made before an update, asked to go on after it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stack = contextlib.ExitStack()
        self._open = self._stack.enter_context
        self._reader = self._client("reader")
        self._reader.subscribe("amid/#", qos=2)
        self._sender = self._client("sender")
        # QoS 2: one of which the second half is to be sent, one of which it is to be received.
        self._sent = self._sender.publish("amid/sent", b"sent", qos=2)
        self._sender.received_of(self._sent)
        self._acceptor = self._client("acceptor")
        self._acceptor.subscribe("accepted", "acknowledged", qos=2)
        self._sender.publish("accepted", b"2", qos=0)  # as it was sent: of QoS 0
        self._unanswered = self._unanswered_messages()
        self._rest = self._client("half").publish_half("amid/half", b"whole" * 3000)
        self._away()
        self._dying = self._client("dying", will=("amid/will", b"gone"))
        self._silent = self._client("silent", keepalive_s=1)
        self._sharing = [self._client(f"sharing-{number}") for number in range(2)]
        for client in self._sharing:
            client.subscribe("$share/them/shared/#", "own/+", qos=1)

    def _client(self, name: str, **how: Any) -> Wire:
        return self._open(Wire(self._port, f"amid-{name}", **how))

    def _unanswered_messages(self) -> list[Message]:
        """Have messages of QoS 1 and 2 sent to a client that has not answered them yet."""
        assert self._acceptor.next_message().qos == 0
        for topic, qos in (("accepted", 2), ("acknowledged", 1)):
            mid = self._sender.publish(topic, topic.encode(), qos=qos)
            if qos == 1:
                self._sender.acknowledged(mid)
            else:
                self._sender.received_of(mid)
                self._sender.release(mid)
        return [self._acceptor.next_message() for _ in range(2)]

    def _away(self) -> None:
        """Leave a session behind for which messages are kept."""
        with Wire(self._port, "amid-away", clean=False) as client:
            client.subscribe("away/#", qos=1)
            client.disconnect()
        for number in range(50):
            mid = self._sender.publish(f"away/{number}", b"%d" % number, qos=1)
            self._sender.acknowledged(mid)

    def go_on(self, result: Result) -> None:
        """Do the other half of everything."""
        checks: dict[str, Callable[[], bool]] = {
            "messages of which half was sent": self._half_is_whole,
            "handshakes of QoS 2, by who publishes": self._sent_is_released,
            "handshakes, by who has subscribed": self._received_are_answered,
            "sessions with messages that were kept": self._is_back,
            "shared subscriptions": self._are_shared,
            "subscriptions that are given up": self._are_given_up,
            "wills": self._will_is_sent,
            "silent clients whose time is over": self._silent.is_closed_by_broker,
        }
        for what, is_right in checks.items():
            result.check(what, int(is_right()), 1)
        self._stack.close()

    def _half_is_whole(self) -> bool:
        self._rest()
        message = self._reader.next_message()
        return (message.topic, message.payload) == ("amid/half", b"whole" * 3000)

    def _sent_is_released(self) -> bool:
        before = self._reader.messages_until_quiet()
        self._sender.release(self._sent)
        message = self._reader.next_message()
        self._reader.accept(message.mid)
        return not before and (message.payload, message.repeated) == (b"sent", False)

    def _received_are_answered(self) -> bool:
        second, first = self._unanswered
        self._acceptor.accept(second.mid)
        self._acceptor.acknowledge(first.mid)
        return (
            (first.qos, second.qos) == (1, 2)
            and (first.payload, second.payload) == (b"acknowledged", b"accepted")
            and not self._acceptor.messages_until_quiet()
        )

    def _is_back(self) -> bool:
        with Wire(self._port, "amid-away", clean=False) as client:
            numbers = []
            for _ in range(50):
                message = client.next_message()
                client.acknowledge(message.mid)
                numbers.append(int(message.payload))
            present = client.session_present and not client.messages_until_quiet()
        Wire(self._port, "amid-away").disconnect()  # a clean one: nothing is kept any more
        return present and numbers == list(range(50))

    def _are_shared(self) -> bool:
        for number in range(20):
            self._publish(f"shared/{number % 4}/x")
        came = [client.messages_until_quiet() for client in self._sharing]
        for client, messages in zip(self._sharing, came, strict=True):
            for message in messages:
                client.acknowledge(message.mid)
        return all(came) and sum(map(len, came)) == 20

    def _are_given_up(self) -> bool:
        for filter_ in ("$share/them/shared/#", "own/+"):
            self._sharing[0].unsubscribe(filter_)
        for _ in range(4):
            self._publish("shared/5")
            self._publish("own/5")
        came = [len(client.messages_until_quiet()) for client in self._sharing]
        return came == [0, 8]

    def _publish(self, topic: str) -> None:
        self._sender.acknowledged(self._sender.publish(topic, b"", qos=1))

    def _will_is_sent(self) -> bool:
        self._dying.drop()
        message = self._reader.next_message()
        return (message.topic, message.payload) == ("amid/will", b"gone")


@dataclass(frozen=True, slots=True)
class World:
    """A broker that is updated, and what is around it."""

    pid: int
    port: int
    traffic: clients.Traffic
    retained: int
    idle: Sequence[Wire]
    figures: Figures

    def update(self, old: str, new: str) -> Result:
        """Update the broker amid all that it does, and look whether it goes on."""
        print(f"== {old} to {new}", flush=True)
        result = Result(f"{old} to {new}")
        amid, sent = Amid(self.port), self.traffic.sent
        self.traffic.wait_for(200)
        memory = self.figures.begin(self.pid)
        result.answer = expected(self._ask_for(new))
        self.traffic.wait_for(1000)
        self.figures.end(self.pid, result)
        amid.go_on(result)
        self._look(result)
        result.checks["messages meanwhile"] = str(self.traffic.sent - sent)
        result.checks["memory"] = f"{memory} kB before, {scenarios.resident_kb(self.pid)} kB after"
        return result

    def refuse(self, version: str, code: str) -> Result:
        """Try a release that fails on its way; the broker must go on."""
        print(f"== {LAST} to {version}", flush=True)
        result = Result(f"{LAST} to {version}")
        amid = Amid(self.port)
        answer = self._ask_for(version, f"--limit-ms={LIMIT_MS}")
        result.answer = expected(answer, "rolled-back", code)
        result.versions += f", undone ({code})"
        self.traffic.wait_for(1000)
        amid.go_on(result)
        self._look(result)
        return result

    def go_back_and_forth(self, times: int) -> Result:
        """Update to the same version and back, again and again."""
        print(f"== {LAST} to itself and back, {times} updates", flush=True)
        result = Result(f"{LAST} to itself and back, {times} updates")
        amid, pauses, memory = Amid(self.port), [], []
        for number in range(times):
            answer = expected(go_back(self.pid, HERE) if number % 2 else self._ask_for(SAME))
            result.answer = answer
            self.traffic.wait_for(50)
            pauses.append(answer["pause_ns"] / 1e6)
            memory.append(scenarios.resident_kb(self.pid))
        self.figures.end_many(result, pauses, memory)
        amid.go_on(result)
        self._look(result)
        return result

    def _look(self, result: Result) -> None:
        """Compare what is retained with what was, and ask each idle client for its message."""
        wrong = clients.wrong_retained(self.port, self.retained)
        result.check("retained messages", self.retained - len(wrong), self.retained)
        result.lost += wrong[:5]
        with Wire(self.port, "caller") as caller:
            for number in range(len(self.idle)):
                caller.publish(f"idle/{number}/now", b"%d" % number)
            caller.publish("idle/all", b"all")
        heard = sum(
            [client.next_message().payload, client.next_message().payload]
            == [b"%d" % number, b"all"]
            for number, client in enumerate(self.idle)
        )
        result.check("idle clients that are reached", heard, len(self.idle))

    def _ask_for(self, version: str, *options: str) -> dict[str, Any]:
        return scenarios.update(self.pid, scenarios.release(HERE, version), *options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
