"""dnsmasq becomes its next versions while it serves: 2.90, 2.91, 2.93, broken ones and itself.

Fetches and builds all with SCons, and starts 2.90 as a daemon in a network namespace of its own.
Names are cached, addresses leased, then for each update: the upstream server goes silent, questions
wait for its answer, a file is half fetched by TFTP, a TCP connection is open; afterwards all of it
must go on, and what was cached must be answered from the cache. Then it is updated to releases that
fail, is asked while it waits for a file, and becomes the same 2.93 and is that again, many times.
Prints what was transformed, how long the server paused, and how many queries were sent and failed.
Exit status: 0 done, 1 something was lost, 3 it cannot be done here at the moment (no source, no
namespaces).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import clients
import upstream
from clients import Question

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
from scenarios import (  # noqa: E402
    NOT_HERE,
    Figures,
    Result,
    expected,
    go_back,
    release,
    update,
    wait_until,
)

UPDATES = (("2.90", "2.91"), ("2.91", "2.93"))
LAST = UPDATES[-1][1]
SAME = f"{LAST}+same"
BROKEN = {f"{LAST}+wrong": "K353", f"{LAST}+broken": "K354", f"{LAST}+stuck": "K356"}
LIMIT_MS = 2000
"""For releases that fail: one of them does not come to an end. Others have the default."""
TIMEOUT_S = 30
LONG = ".a-label-that-makes-it-longer-than-dnsmasq-has-room-for-in-2-90"
LONGER = f"{LONG}.and-one-that-makes-it-longer-than-2-93-has-room-for"
HOSTS = f"""
10.5.0.1 alpha.home.example
10.5.0.2 beta{LONGER}.home.example beta.home.example
fd00::5 gamma.home.example
"""
LEASES = "4070908800 02:00:00:00:00:c8 127.77.0.200 printer 01:02:00:00:00:00:c8\n"
CONFIGURATION = """
interface=lo
bind-interfaces
listen-address=127.0.0.1
user=root
group=
pid-file={directory}/dnsmasq.pid
log-facility={directory}/log
no-resolv
no-hosts
addn-hosts={directory}/hosts
server=127.1.1.1
server=/nobody.example/
address=/blocked.example/10.9.9.9
cname=www.home.example,alpha.home.example
txt-record=text.home.example,hello
srv-host=_ldap._tcp.home.example,ldap.home.example,389
cache-size=2000
cache-rr=TXT
fast-dns-retry
domain=lan.example
dhcp-range=127.77.0.10,127.77.0.50,255.255.255.0,1h
dhcp-leasefile={directory}/leases
dhcp-authoritative
no-ping
enable-tftp
tftp-root={directory}
"""
LOCAL = (
    Question("alpha.home.example", "A", ("10.5.0.1",)),
    Question(f"beta{LONGER}.home.example", "A", ("10.5.0.2",)),
    Question("gamma.home.example", "AAAA", ("fd00::5",)),
    Question("home.example", "A"),
    Question("1.0.5.10.in-addr.arpa", "PTR", ("alpha.home.example.",)),
    Question("www.home.example", "A", ("alpha.home.example.", "10.5.0.1")),
    Question("anything.blocked.example", "A", ("10.9.9.9",)),
    Question("anything.nobody.example", "A", (), "NXDOMAIN"),
    Question("text.home.example", "TXT", ('"hello"',)),
    Question("_ldap._tcp.home.example", "SRV", ("0 0 389 ldap.home.example.",)),
    Question("printer.lan.example", "A", ("127.77.0.200",)),
    Question("200.0.77.127.in-addr.arpa", "PTR", ("printer.lan.example.",)),
)


def main(arguments: Sequence[str]) -> int:
    """Build, then run the scenario in a network namespace; return the exit status."""
    parser = argparse.ArgumentParser(description="dnsmasq is updated while it serves")
    parser.add_argument("--names", type=int, default=100, help="cached of each kind")
    parser.add_argument("--in-flight", type=int, default=20, help="queries, at each update")
    parser.add_argument("--again", type=int, default=50, help="updates to itself, and back")
    parser.add_argument("--plain", action="store_true", help="without fast-dns-retry")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = scenarios.arguments_of(parser, arguments)
    if options.inside:
        scenarios.bring_loopback_up()
        return serve(options)
    if subprocess.run([*namespace(), "true"], capture_output=True, check=False).returncode != 0:
        print("dnsmasq: this machine gives no network namespaces (unshare --net)", file=sys.stderr)
        return NOT_HERE
    status = scenarios.build_chain(
        HERE, [UPDATES[0][0], *(new for _, new in UPDATES)], options.cflags
    )
    if status != 0:
        return status
    inside = [sys.executable, __file__, "--inside", *arguments]
    return subprocess.run([*namespace(), *inside], check=False).returncode


def namespace() -> list[str]:
    """Return what runs a command in a network namespace of its own."""
    return ["unshare", "--net", *(["--map-root-user"] if os.geteuid() != 0 else [])]


def serve(options: argparse.Namespace) -> int:
    """Run the server and update it; return the exit status."""
    cached = [*cached_questions(options.names), *LOCAL]
    with tempfile.TemporaryDirectory(prefix="dnsmasq-") as place, upstream.Upstream() as above:
        directory = Path(place)
        os.environ["KITSUNE_RUNTIME_DIR"] = str(directory / "run")
        with server(directory, options.plain) as pid:
            for question in cached:
                expect(question)
            relay = clients.Relay()
            leases = {1: relay.lease(1, "laptop")}
            figures = Figures(f"{len(cached)} answers")
            with clients.Traffic(cached) as traffic:
                around = (above, traffic, relay, leases, cached, directory, options.in_flight)
                world = World(pid, *around, figures)
                results = [world.update(old, new) for old, new in UPDATES]
                results += [world.refuse(version, code) for version, code in BROKEN.items()]
                results.append(world.wait_in_vain())
                if options.again:
                    results.append(world.become_itself(options.again))
            reload_configuration(pid, directory)
            relay.close()
    scenarios.print_results(results)
    scenarios.print_requests("queries", traffic.sent, traffic.complaints)
    print(scenarios.manifest_of(HERE))
    figures.requests, figures.failed = traffic.sent, len(traffic.complaints)
    figures.write(options.figures)
    return 1 if any(result.lost for result in results) or traffic.complaints else 0


def cached_questions(names: int) -> Iterator[Question]:
    """Yield questions of all kinds that dnsmasq caches, with the right answers."""
    kinds = ("A", "AAAA")
    for number in range(names):
        for kind in kinds:
            yield known(f"host{number}.up.example", kind)
        yield known(f"nothing{number}.up.example", "A")
        yield known(f"{number}.100.51.198.in-addr.arpa", "PTR")
    for number in range(max(names // 10, 1)):
        yield known(f"alias{number}.up.example", "A")
        yield known(f"only4-{number}.up.example", "AAAA")
        yield known(f"host{number}{LONG}.up.example", "A")
        yield known(f"host{number}{LONGER}.up.example", "A")
    for name in upstream.TEXTS:
        yield known(f"{name}.up.example", "TXT")


def known(name: str, kind: str) -> Question:
    """Return a question with the answer that the upstream server gives."""
    response = upstream.answer(Question(name, kind).wire())
    records = (record.to_text() for rrset in response.answer for record in rrset)
    code = "NXDOMAIN" if response.rcode() else "NOERROR"
    return Question(name, kind, tuple(records), code)


def expect(question: Question) -> None:
    """Ask; a wrong answer ends the scenario."""
    response = clients.ask(question)
    if response is None or not question.is_answered_by(response):
        raise SystemExit(f"{question.name} {question.kind} is not answered rightly: {response}")


def is_answered(question: Question) -> bool:
    """Tell whether the right answer comes."""
    response = clients.ask(question)
    return response is not None and question.is_answered_by(response)


@contextlib.contextmanager
def server(directory: Path, is_plain: bool) -> Iterator[int]:
    """Run 2.90 as a daemon; yield its process id."""
    (directory / "run").mkdir(mode=0o700)
    config = configure(directory, is_plain)
    command = [*scenarios.KITSUNE, "run", str(release(HERE, UPDATES[0][0])), "-C", str(config)]
    subprocess.run(command, check=True, timeout=60)
    pid = int((directory / "dnsmasq.pid").read_text(encoding="ascii"))
    try:
        yield pid
    except BaseException:
        print((directory / "log").read_text(encoding="utf-8")[-3000:], file=sys.stderr)
        raise
    finally:
        scenarios.end_daemon(pid)


def configure(directory: Path, is_plain: bool = False) -> Path:
    """Write all that dnsmasq reads into a directory; return the configuration."""
    (directory / "hosts").write_text(HOSTS, encoding="ascii")
    (directory / "leases").write_text(LEASES, encoding="ascii")
    (directory / "boot.img").write_bytes(bytes(i * i % 251 for i in range(20 * 512 + 100)))
    config = directory / "dnsmasq.conf"
    text = CONFIGURATION.replace("fast-dns-retry\n", "") if is_plain else CONFIGURATION
    config.write_text(text.format(directory=directory), encoding="ascii")
    return config


def expect_version(version: str) -> None:
    """Check what the server says that it is."""
    expect(Question("version.bind", "TXT", (f'"dnsmasq-{version}"',), of_server=True))


@dataclass(frozen=True, slots=True)
class World:
    """Everything around a server that is updated."""

    pid: int
    above: upstream.Upstream
    traffic: clients.Traffic
    relay: clients.Relay
    leases: dict[int, str]
    cached: Sequence[Question]
    directory: Path
    in_flight: int
    figures: Figures

    def update(self, old: str, new: str) -> Result:
        """Update the server amid all that it does, and look whether it goes on."""
        print(f"== {old} to {new}", flush=True)
        expect_version(old)
        result = Result(f"{old} to {new}")
        tcp = clients.OverTcp()
        result.check("answers on an open TCP connection", tcp.is_answered(self.cached[0]), 1)
        transfer = clients.Transfer(self.directory / "boot.img")
        transfer.fetch(8)
        pending = self._leave_pending(new)
        hits, sent = clients.statistic("hits"), self.traffic.sent
        complaints = len(self.traffic.complaints)
        self.traffic.wait_for(100, TIMEOUT_S)
        self.figures.begin(self.pid)
        result.answer = expected(self._ask_for(new))
        self.traffic.wait_for(100, TIMEOUT_S)
        self.figures.end(self.pid, result)
        expect_version(new)
        self._ask_cached(result)
        failed = len(self.traffic.complaints) - complaints
        result.checks["queries meanwhile"] = f"{self.traffic.sent - sent} sent, {failed} failed"
        result.checks["cache hits"] = f"{hits} before, {clients.statistic('hits')} after"
        self.above.mode = upstream.Mode.ANSWER
        self.above.release()
        answered = sum(each.is_answered() for each in pending)
        result.check("answers to queries in flight", answered, len(pending))
        repeated = sum(each.tries > 1 for each in pending)
        result.checks["of which the client had to ask again for"] = str(repeated)
        result.check("files that were half fetched", transfer.finish(), 1)
        more = known("host0.up.example", "A")
        result.check("answers on the TCP connection after it", tcp.is_answered(more), 1)
        tcp.close()
        self._look_at_leases(result, new)
        for kind in ("A", "AAAA"):
            expect(known(f"host-{kind}-after-{new}.up.example".lower(), kind))
        return result

    def _leave_pending(self, version: str) -> list[clients.Pending]:
        """Have questions wait at the upstream server."""
        self.above.mode = upstream.Mode.HOLD
        pending = [
            clients.Pending(known(f"host{n}-asked-before-{version}.up.example", "A"))
            for n in range(self.in_flight)
        ]
        if not self.above.wait_for_held(self.in_flight, TIMEOUT_S):
            raise SystemExit("questions are not forwarded")
        return pending

    def _ask_cached(self, result: Result) -> None:
        """Ask all that was cached; nobody else may be asked for it now."""
        before = dict(self.above.asked)
        good = sum(map(is_answered, self.cached))
        again = [q.name for q in self.cached if self._asked(q) != before.get(f"{q.name}.", 0)]
        result.check("answers without the upstream server", good - len(again), len(self.cached))

    def _asked(self, question: Question) -> int:
        count: int = self.above.asked.get(f"{question.name}.", 0)
        return count

    def _look_at_leases(self, result: Result, version: str) -> None:
        kept = sum(self.relay.renew(n, address) == address for n, address in self.leases.items())
        result.check("leases renewed", kept, len(self.leases))
        number = len(self.leases) + 1
        address = self.relay.lease(number, f"guest{number}")
        fresh = address not in self.leases.values()
        self.leases[number] = address
        result.check("addresses that were free", fresh, 1)
        expect(Question("laptop.lan.example", "A", (self.leases[1],)))
        expect(Question(f"guest{number}.lan.example", "A", (address,)))
        written = (self.directory / "leases").read_text(encoding="ascii")
        kept = sum(f" {each} " in written for each in (*self.leases.values(), "127.77.0.200"))
        result.check("leases in the file", kept, len(self.leases) + 1)

    def refuse(self, version: str, code: str) -> Result:
        """Try a release that fails on its way; the server must go on."""
        print(f"== {LAST} to {version}", flush=True)
        result = Result(f"{LAST} to {version}, undone ({code})")
        with self._around(result):
            answer = self._ask_for(version, f"--limit-ms={LIMIT_MS}")
            result.answer = expected(answer, "rolled-back", code)
        result.checks["reason"] = scenarios.reason(result.answer)
        return result

    def wait_in_vain(self) -> Result:
        """Ask while the server reads a file that does not end, and so comes to no update point."""
        print(f"== {LAST} to {SAME}, while the main loop stands still", flush=True)
        result = Result(f"{LAST} to {SAME}, given up (K361)")

        def ask_to_read() -> None:
            os.kill(self.pid, signal.SIGHUP)

        with self._around(result):
            with scenarios.withheld(self.directory / "hosts", ask_to_read):
                answer = self._ask_for(SAME, "--wait-ms=1000")
            result.answer = expected(answer, "withdrawn", "K361")
            wait_until(lambda: is_answered(LOCAL[0]), "dnsmasq does not read its hosts to the end")
            for question in self.cached:  # the signal has emptied the cache
                expect(question)
        result.checks["reason"] = scenarios.reason(result.answer)
        return result

    def become_itself(self, times: int) -> Result:
        """Update to the same version and back, again and again; no object is copied."""
        what = f"{LAST} to itself and back, {times} updates"
        print(f"== {what}", flush=True)
        result = Result(what)
        pauses, memory, copied = [], [], 0
        with self._around(result):
            for number in range(times):
                answer = go_back(self.pid, HERE) if number % 2 else self._ask_for(SAME)
                result.answer = expected(answer)
                copied += sum(each["moved"] for each in result.answer["types"])
                self.traffic.wait_for(20, TIMEOUT_S)
                pauses.append(result.answer["pause_ns"] / 1e6)
                memory.append(scenarios.resident_kb(self.pid))
        result.check("objects copied", copied, 0)
        self.figures.end_many(result, pauses, memory)
        return result

    def _ask_for(self, version: str, *options: str) -> dict[str, Any]:
        return update(self.pid, release(HERE, version), *options)

    @contextlib.contextmanager
    def _around(self, result: Result) -> Iterator[None]:
        """Have things in the middle, and look afterwards whether they go on."""
        tcp, transfer = clients.OverTcp(), clients.Transfer(self.directory / "boot.img")
        result.check("answers on an open TCP connection", tcp.is_answered(self.cached[0]), 1)
        transfer.fetch(8)
        sent, complaints = self.traffic.sent, len(self.traffic.complaints)
        yield
        self.traffic.wait_for(100, TIMEOUT_S)
        self._ask_cached(result)
        result.check("files that were half fetched", transfer.finish(), 1)
        result.check("answers on the TCP connection after it", tcp.is_answered(self.cached[1]), 1)
        tcp.close()
        kept = sum(self.relay.renew(n, address) == address for n, address in self.leases.items())
        result.check("leases renewed", kept, len(self.leases))
        failed = len(self.traffic.complaints) - complaints
        result.checks["queries meanwhile"] = f"{self.traffic.sent - sent} sent, {failed} failed"


def reload_configuration(pid: int, directory: Path) -> None:
    """Have the server free what it has of the hosts file and read that again, twice."""
    for number in (1, 2):
        hosts = f"{HOSTS}10.5.0.{10 + number} delta{number}.home.example\n"
        (directory / "hosts").write_text(hosts, encoding="ascii")
        os.kill(pid, signal.SIGHUP)
        question = Question(f"delta{number}.home.example", "A", (f"10.5.0.{10 + number}",))

        wait_until(partial(is_answered, question), "dnsmasq does not read its hosts again")
        for each in LOCAL:
            expect(each)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
