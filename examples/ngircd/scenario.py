"""ngIRCd becomes its next version with clients connected: 27 to 28, to more fields, to itself.

Then it is updated to releases that fail, is asked while its main loop stands still, and becomes one
with more fields and 27 again, many times, while the clients talk.

Fetches and builds both with SCons, starts 27 as a daemon, lets IRC clients join channels with
topics, keys, limits and bans, updates, and compares everything a client can ask with what was
answered before. Prints what was transformed, how long the server paused and what survived. Exit
status: 0 done, 1 something was lost, 3 the source cannot be had at the moment.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import irc.client

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
from scenarios import Result, expected, go_back, release, update  # noqa: E402

ANSWER_TIMEOUT_S = 20
UPDATES = (("27", "28"), ("27", "27+fields"), ("27", "27+same"))
TO_AND_FRO = ("27", "27+fields")
BROKEN = {"27+wrong": "K353", "27+broken": "K354", "27+stuck": "K356"}
LIMIT_MS = 2000
"""For releases that fail: one of them does not come to an end. Others have the default."""
CONFIGURATION = """
[Global]
Name = irc.example.net
Info = updated while it runs
Listen = 127.0.0.1
Ports = {port}
PidFile = {directory}/ngircd.pid
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
[Channel]
Name = #lobby
Topic = waiting for version 28
Modes = +tn
"""


class Client:
    """An IRC client of the library `irc`; its reactor is shared, lines are kept as they come."""

    sent = 0
    """Lines that all clients have sent."""

    def __init__(self, reactor: irc.client.Reactor, port: int, nick: str) -> None:
        self.nick = nick
        self._reactor = reactor
        self._lines: list[str] = []
        self._connection = reactor.server()
        self._connection.add_global_handler("all_raw_messages", self._keep)
        self._connection.connect("127.0.0.1", port, nick, ircname=f"the {nick}")
        self.wait_for(r" 376 | 422 ")

    def _keep(self, connection: Any, event: Any) -> None:
        if connection is self._connection:
            self._lines.append(event.arguments[0])

    def send(self, line: str) -> None:
        """Send a raw line."""
        self._connection.send_raw(line)
        Client.sent += 1

    def wait_for(self, pattern: str) -> str:
        """Return the next line that matches; those before it are dropped."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while time.monotonic() < deadline:
            while self._lines:
                line = self._lines.pop(0)
                if re.search(pattern, line):
                    return line
            if not self._connection.is_connected():
                raise SystemExit(f"{self.nick} has lost its connection")
            self._reactor.process_once(0.05)
        raise SystemExit(f"{self.nick} waits for {pattern!r} in vain")

    def ask(self, line: str) -> list[str]:
        """Send a command and return all lines of the answer."""
        self._lines.clear()
        self.send(line)
        self.send(f"PING :end-{self.nick}")
        answer = []
        while f"end-{self.nick}" not in (got := self.wait_for(".")):
            answer.append(got)
        return answer

    def local_port(self) -> int:
        """Return the port of this end, by which the server knows the connection."""
        return int(self._connection.socket.getsockname()[1])


def main(arguments: Sequence[str]) -> int:
    """Run the scenario on all updates; return the exit status."""
    parser = argparse.ArgumentParser(description="ngIRCd is updated with clients connected")
    parser.add_argument("--clients", type=int, default=20, help="besides the three that look")
    parser.add_argument("--again", type=int, default=50, help="updates to more fields, and back")
    options = scenarios.arguments_of(parser, arguments)
    status = scenarios.build_chain(HERE, ("27", "28"), options.cflags)
    if status != 0:
        return status
    figures = scenarios.Figures(f"{options.clients + 3} clients")
    results = [run_update(old, new, options.clients, figures) for old, new in UPDATES]
    results += fail(options.clients)
    if options.again:
        results.append(go_back_and_forth(options.again, options.clients, figures))
    scenarios.print_results(results)
    print(scenarios.manifest_of(HERE))
    figures.requests = Client.sent
    figures.write(options.figures)
    return 1 if any(result.lost for result in results) else 0


def run_update(old: str, new: str, bystanders: int, figures: scenarios.Figures) -> Result:
    """Start `old`, fill it, update it to `new` and compare."""
    print(f"== {old} to {new}", flush=True)
    with server(old) as (pid, port, _):
        reactor = irc.client.Reactor()
        alice, bob, carol = (Client(reactor, port, nick) for nick in ("alice", "bob", "carol"))
        others = [Client(reactor, port, f"guest{n}") for n in range(bystanders)]
        fill(alice, bob, carol, others)
        expect_version(alice, old)
        before = everything(alice, carol)
        figures.begin(pid)
        result = Result(f"{old} to {new}", expected(update(pid, release(HERE, new))))
        after = everything(alice, carol)
        figures.end(pid, result)
        result.lost = [line for line in before if line not in after]
        result.checks["lines of answers compared"] = str(len(before))
        expect_version(alice, new)
        talk(alice, bob, carol, others)
        Client(reactor, port, "newcomer").ask("JOIN #lab secret")
        alice.wait_for(r":newcomer!.* JOIN :?#lab")
    return result


def fail(bystanders: int) -> list[Result]:
    """Try updates that fail, all on one server, which must go on."""
    results: list[Result] = []
    with server("27") as (pid, port, configuration):
        reactor = irc.client.Reactor()
        alice, bob, carol = (Client(reactor, port, nick) for nick in ("alice", "bob", "carol"))
        others = [Client(reactor, port, f"guest{n}") for n in range(bystanders)]
        fill(alice, bob, carol, others)
        before = everything(alice, carol)
        for result in failures(pid, configuration):
            after = everything(alice, carol)
            result.lost = [line for line in before if line not in after]
            result.checks["lines of answers compared"] = str(len(before))
            for client in (alice, *others):
                client.send(f"PRIVMSG bob :number {len(results)}")
                bob.wait_for(rf":{client.nick}!.* PRIVMSG bob :number {len(results)}$")
            results.append(result)
        talk(alice, bob, carol, others)
    return results


def failures(pid: int, configuration: Path) -> Iterator[Result]:
    """Yield what came of each update that fails: releases, and one while nobody comes."""
    for version, code in BROKEN.items():
        print(f"== 27 to {version}", flush=True)
        answer = update(pid, release(HERE, version), f"--limit-ms={LIMIT_MS}")
        yield failed(version, answer, "rolled-back", code)
    print("== 27 to 27+same, while the main loop stands still", flush=True)
    with scenarios.withheld(configuration, lambda: os.kill(pid, signal.SIGHUP)):
        answer = update(pid, release(HERE, "27+same"), "--wait-ms=1000")
    yield failed("27+same", answer, "withdrawn", "K361")


def failed(version: str, answer: dict[str, Any], outcome: str, code: str) -> Result:
    """Return what came of an update that fails; another end of it ends the scenario."""
    result = Result(f"27 to {version}, {outcome} ({code})", expected(answer, outcome, code))
    result.checks["reason"] = scenarios.reason(answer)
    return result


def go_back_and_forth(times: int, bystanders: int, figures: scenarios.Figures) -> Result:
    """Update a server to a version and back so many times, and have its clients talk meanwhile."""
    old, new = TO_AND_FRO
    print(f"== {old} to {new} and back, {times} times", flush=True)
    with server(old) as (pid, port, _):
        reactor = irc.client.Reactor()
        alice, bob, carol = (Client(reactor, port, nick) for nick in ("alice", "bob", "carol"))
        others = [Client(reactor, port, f"guest{n}") for n in range(bystanders)]
        fill(alice, bob, carol, others)
        before = everything(alice, carol)
        result = Result(f"{old} to {new} and back, {times} times")
        memory, pauses_ms = [], []
        for number in range(times):
            answer = go_back(pid, HERE) if number % 2 else update(pid, release(HERE, new))
            result.answer = expected(answer)
            for client in (alice, bob):
                client.send(f"PRIVMSG #lab :number {number}")
                for each in (bob if client is alice else alice, carol, *others):
                    each.wait_for(rf":{client.nick}!.* PRIVMSG #lab :number {number}$")
            pauses_ms.append(result.answer["pause_ns"] / 1e6)
            memory.append(scenarios.resident_kb(pid))
        after = everything(alice, carol)
        talk(alice, bob, carol, others)
    result.lost = [line for line in before if line not in after]
    result.checks["lines of answers compared"] = str(len(before))
    figures.end_many(result, pauses_ms, memory)
    return result


@contextlib.contextmanager
def server(version: str) -> Iterator[tuple[int, int, Path]]:
    """Run a release as a daemon; yield its process id, port and configuration."""
    with tempfile.TemporaryDirectory(prefix="ngircd-") as name:
        directory = Path(name)
        directory.chmod(0o777)  # as root it becomes `nobody` before it writes its pid file
        port = scenarios.free_port()
        config = directory / "ngircd.conf"
        config.write_text(CONFIGURATION.format(port=port, directory=directory), encoding="utf-8")
        command = [*scenarios.KITSUNE, "run", str(release(HERE, version)), "-f", str(config)]
        subprocess.run(command, check=True, timeout=60)
        pid = int(scenarios.wait_for_text(directory / "ngircd.pid"))
        scenarios.wait_for_port(port)  # the pid file is written before anybody listens
        try:
            yield pid, port, config
        finally:
            scenarios.end_daemon(pid)


def fill(alice: Client, bob: Client, carol: Client, others: Sequence[Client]) -> None:
    """Make channels, topics, modes, bans, operators, away texts."""
    for line in (
        "JOIN #lab",
        "TOPIC #lab :the server is updated under our feet",
        "MODE #lab +kl secret 200",
        "MODE #lab +b *!*@elsewhere.example",
        "MODE #lab +e friend!*@*",
        "MODE alice +i",
    ):
        alice.ask(line)
    for client in (bob, carol, *others):
        client.ask("JOIN #lab secret")
        client.ask("JOIN #lobby")
    alice.ask("MODE #lab +v bob")
    alice.ask("MODE #lab +o carol")
    bob.ask("JOIN #quiet")
    bob.ask("MODE #quiet +imst")
    carol.ask("AWAY :back in version 28")
    carol.ask("NICK carola")
    carol.nick = "carola"
    bob.ask("INVITE carola #quiet")


def everything(alice: Client, carol: Client) -> list[str]:
    """Return all that clients can ask about state that must survive, one line each."""
    questions = (
        "TOPIC #lab",
        "TOPIC #lobby",
        "MODE #lab",
        "MODE #lab b",
        "MODE #lab e",
        "MODE alice",
        "NAMES #lab",
        "NAMES #lobby",
        "WHOIS alice",
        "WHOIS bob",
        "WHOIS carola",
        "WHO #lab",
        "LIST",
        "WHOWAS carol",
    )
    lines = [line for question in questions for line in alice.ask(question)]
    lines += carol.ask("MODE carola")
    numeric = re.compile(r":irc\.example\.net (?!317)\d{3} ")  # 317 tells how long one was idle
    return [line for line in lines if numeric.match(line)]


def expect_version(client: Client, version: str) -> None:
    """Check what VERSION answers."""
    answer = " ".join(client.ask("VERSION"))
    wanted = f"ngIRCd-{version.partition('+')[0]}"
    if not re.search(rf" 351 .*{re.escape(wanted)}\b", answer):
        raise SystemExit(f"VERSION does not answer {wanted}: {answer}")


def talk(alice: Client, bob: Client, carol: Client, others: Sequence[Client]) -> None:
    """Check that messages flow between all, over the same connections as before."""
    alice.send("PRIVMSG #lab :can you all hear me?")
    for client in (bob, carol, *others):
        client.wait_for(r":alice!.* PRIVMSG #lab :can you all hear me\?")
    for client in (bob, *others):
        client.send(f"PRIVMSG alice :{client.nick} hears you")
        alice.wait_for(rf"PRIVMSG alice :{client.nick} hears you")
    bob.send("PRIVMSG carola :are you there?")
    carol.wait_for(r"PRIVMSG carola :are you there\?")
    bob.wait_for(r" 301 bob carola :back in version 28")
    carol.ask("JOIN #quiet")
    bob.wait_for(r":carola!.* JOIN :?#quiet")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
