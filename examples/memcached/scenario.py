"""memcached becomes its next versions while it serves: 1.6.18, 1.6.38, 1.6.45, itself, broken ones.

Fetches and builds all with SCons, starts 1.6.18 with four workers, stores the items, and updates it
while many connections ask in all three protocols, with values that are half sent and answers that
are half read. After each update every item must be what it was: value, flags, expiry, CAS. Then it
is updated to a release that crashes half way, to one with a thread that hangs, and to itself and
back, again and again. Prints what was transformed, how long the server paused, requests and memory.
Exit status: 0 done, 1 something was lost, 3 it cannot be done here now (no source, no libevent).
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import memcached_clients as clients
from pymemcache.client.base import Client

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
from scenarios import NOT_HERE, Figures, Result, expected, go_back  # noqa: E402

FIRST, *NEXT = VERSIONS = ("1.6.18", "1.6.38", "1.6.45")
LAST = VERSIONS[-1]
SAME = f"{LAST}+same"
BROKEN = {f"{LAST}+broken": "K354", f"{LAST}+stuck": "K356"}
TIMEOUT_S = 120
LIMIT_MS = 3000
"""For the release that hangs; others have the default."""


def main(arguments: Sequence[str]) -> int:
    """Build, run the scenario; return the exit status."""
    parser = argparse.ArgumentParser(description="memcached is updated while it serves")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=200, help="that ask all the while")
    parser.add_argument("--again", type=int, default=50, help="updates to itself, and back")
    options = scenarios.arguments_of(parser, arguments)
    if not Path("/usr/include/event.h").exists():
        print("memcached: libevent's headers are missing (libevent-dev)", file=sys.stderr)
        return NOT_HERE
    status = scenarios.build_chain(HERE, VERSIONS, options.cflags)
    if status != 0:
        return status
    with tempfile.TemporaryDirectory(prefix="memcached-") as place:
        os.environ["KITSUNE_RUNTIME_DIR"] = f"{place}/run"
        with server(Path(place), options) as (pid, port):
            return serve(pid, port, options)


@contextlib.contextmanager
def server(directory: Path, options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Run the first version; yield its process id and port."""
    (directory / "run").mkdir(mode=0o700)
    ports = directory / "ports"
    directory.chmod(0o755)
    release = scenarios.release(HERE, FIRST)
    command = [*scenarios.KITSUNE, "run", str(release), "-l", "127.0.0.1", "-p", "-1"]
    megabytes = 64 + options.items * 300 // 1_000_000
    command += ["-t", "4", "-m", str(megabytes * 2), *(["-u", "root"] if os.geteuid() == 0 else [])]
    environment = os.environ | {"MEMCACHED_PORT_FILENAME": str(ports)}
    with (directory / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not ports.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"memcached does not start: {(directory / 'log').read_text()}")
            time.sleep(0.02)
        found = re.search(r"TCP INET: (\d+)", ports.read_text(encoding="ascii"))
        assert found is not None
        yield process.pid, int(found[1])
    except BaseException:
        print((directory / "log").read_text(encoding="utf-8")[-3000:], file=sys.stderr)
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)


def serve(pid: int, port: int, options: argparse.Namespace) -> int:
    """Store the items, update the server again and again; return the exit status."""
    print(f"== {options.items} items, {options.connections} connections", flush=True)
    clients.fill(port, options.items)
    results: list[Result] = []
    figures = Figures(f"{options.items:,} items")
    with clients.Traffic(port, options.connections) as traffic:
        before = clients.look(port, options.items)
        world = World(pid, port, traffic, options.items, before, figures)
        if world.before.wrong:
            raise SystemExit(f"what was stored is not there: {world.before.wrong[:3]}")
        for old, new in zip(VERSIONS, NEXT, strict=False):
            results.append(world.update(old, new))
        results += [world.refuse(version, code) for version, code in BROKEN.items()]
        if options.again:
            results.append(world.go_back_and_forth(options.again))
    scenarios.print_results(results)
    scenarios.print_requests("requests", traffic.sent, traffic.complaints)
    print(scenarios.manifest_of(HERE))
    figures.requests, figures.failed = traffic.sent, len(traffic.complaints)
    figures.write(options.figures)
    return 1 if traffic.complaints or any(result.lost for result in results) else 0


@dataclass(frozen=True, slots=True)
class World:
    """A server that is updated, and what is around it."""

    pid: int
    port: int
    traffic: clients.Traffic
    items: int
    before: clients.Looked
    figures: Figures

    def update(self, old: str, new: str) -> Result:
        """Update the server amid all that it does, and look whether it goes on."""
        print(f"== {old} to {new}", flush=True)
        result = Result(f"{old} to {new}")
        library = Client(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        library.set("library", b"before", flags=9)
        _, token = library.gets("library")
        sent, half_sent, half_read = (
            self.traffic.sent,
            clients.HalfSent(self.port),
            clients.HalfRead(self.port),
        )
        self.traffic.wait_for(200)
        memory = self.figures.begin(self.pid)
        result.answer = expected(self._ask_for(new))
        self.traffic.wait_for(1000)
        self.figures.end(self.pid, result)
        result.check("values whose first half was sent before", half_sent.finish(), 3)
        result.check("answers that were read later", half_read.finish(), len(half_read))
        library_is_right = (
            library.version() == new.encode()
            and library.get("library") == b"before"
            and library.cas("library", b"after", token) is True
            and library.cas("library", b"never", token) is False
        )
        library.close()
        result.check("connections of pymemcache, and its CAS token", int(library_is_right), 1)
        self._look(result)
        result.checks["requests meanwhile"] = str(self.traffic.sent - sent)
        result.checks["memory"] = f"{memory} kB before, {scenarios.resident_kb(self.pid)} kB after"
        return result

    def refuse(self, version: str, code: str) -> Result:
        """Try a release that fails on its way; the server must go on."""
        print(f"== {LAST} to {version}", flush=True)
        result = Result(f"{LAST} to {version}")
        half_sent = clients.HalfSent(self.port)
        answer = self._ask_for(version, f"--limit-ms={LIMIT_MS}")
        result.answer = expected(answer, "rolled-back", code)
        result.versions += f", undone ({code})"
        self.traffic.wait_for(1000)
        result.check("values whose first half was sent before", half_sent.finish(), 3)
        self._look(result)
        return result

    def go_back_and_forth(self, times: int) -> Result:
        """Update to the same version and back, again and again."""
        print(f"== {LAST} to itself and back, {times} updates", flush=True)
        result = Result(f"{LAST} to itself and back, {times} updates")
        pauses, memory = [], []
        for number in range(times):
            half_sent = clients.HalfSent(self.port)
            answer = expected(go_back(self.pid, HERE) if number % 2 else self._ask_for(SAME))
            result.answer = answer
            if half_sent.finish() != 3:
                result.lost.append(f"values half sent at update {number}")
            pauses.append(answer["pause_ns"] / 1e6)
            memory.append(scenarios.resident_kb(self.pid))
        self.figures.end_many(result, pauses, memory)
        self._look(result)
        return result

    def _look(self, result: Result) -> None:
        """Compare all items with what they were."""
        wrong = list(clients.differences(self.before, clients.look(self.port, self.items)))
        result.check("items", self.items - len(wrong), self.items)
        result.lost += wrong[:5]

    def _ask_for(self, version: str, *options: str) -> dict[str, Any]:
        return scenarios.update(self.pid, scenarios.release(HERE, version), *options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
