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
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import memcached_clients as clients
import yaml
from pymemcache.client.base import Client

HERE = Path(__file__).resolve().parent
STORE = HERE / "build/releases/memcached"
NOT_HERE = 3
FIRST, *NEXT = VERSIONS = ("1.6.18", "1.6.38", "1.6.45")
LAST = VERSIONS[-1]
SAME = f"{LAST}+same"
BROKEN = {f"{LAST}+broken": "K354", f"{LAST}+stuck": "K356"}
KITSUNE = [sys.executable, "-m", "kitsune_tool.cli"]
TIMEOUT_S = 120
LIMIT_MS = 3000
"""For the release that hangs; others have the default."""


@dataclass(slots=True)
class Result:
    """What an update did, as the server and its clients tell."""

    versions: str
    answer: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def check(self, what: str, seen: int, expected: int) -> None:
        """Note a number, which is a loss if it is not the one that is expected."""
        self.checks[what] = f"{seen} of {expected}"
        if seen != expected:
            self.lost.append(f"{what}: {seen} of {expected}")


def main(arguments: Sequence[str]) -> int:
    """Build, run the scenario; return the exit status."""
    parser = argparse.ArgumentParser(description="memcached is updated while it serves")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=200, help="that ask all the while")
    parser.add_argument("--again", type=int, default=50, help="updates to itself, and back")
    parser.add_argument("--cflags", default="-O2 -g", help="memcached is compiled with")
    options = parser.parse_args(arguments)
    if not Path("/usr/include/event.h").exists():
        print("memcached: libevent's headers are missing (libevent-dev)", file=sys.stderr)
        return NOT_HERE
    shutil.rmtree(STORE, ignore_errors=True)  # nobody runs what an earlier scenario released
    build = [sys.executable, "-m", "SCons", "-C", str(HERE), "-Q", "-s", "-j2", "release-chain"]
    build.append(f"CFLAGS={options.cflags}")
    print(f"== fetching and building memcached {', '.join(VERSIONS)}", flush=True)
    status = subprocess.run(build, check=False).returncode
    if status != 0:
        return status if status == NOT_HERE else 1
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
    command = [*KITSUNE, "run", str(STORE / FIRST / "memcached.so"), "-l", "127.0.0.1", "-p", "-1"]
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
    with clients.Traffic(port, options.connections) as traffic:
        world = World(pid, port, traffic, options.items, clients.look(port, options.items))
        if world.before.wrong:
            raise SystemExit(f"what was stored is not there: {world.before.wrong[:3]}")
        for old, new in zip(VERSIONS, NEXT, strict=False):
            results.append(world.update(old, new))
        results += [world.refuse(version, code) for version, code in BROKEN.items()]
        if options.again:
            results.append(world.go_back_and_forth(options.again))
    print_results(results, traffic)
    return 1 if traffic.complaints or any(result.lost for result in results) else 0


@dataclass(frozen=True, slots=True)
class World:
    """A server that is updated, and what is around it."""

    pid: int
    port: int
    traffic: clients.Traffic
    items: int
    before: clients.Looked

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
        memory = resident_kb(self.pid)
        self.traffic.wait_for(200)
        result.answer = request(self.pid, "update", new)
        if result.answer["outcome"] != "updated":
            raise SystemExit(f"the update failed: {result.answer}")
        self.traffic.wait_for(1000)
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
        result.checks["memory"] = f"{memory} kB before, {resident_kb(self.pid)} kB after"
        return result

    def refuse(self, version: str, code: str) -> Result:
        """Try a release that fails on its way; the server must go on."""
        print(f"== {LAST} to {version}", flush=True)
        result = Result(f"{LAST} to {version}")
        half_sent = clients.HalfSent(self.port)
        result.answer = request(self.pid, "update", version, f"--limit-ms={LIMIT_MS}")
        if (result.answer["outcome"], result.answer.get("code")) != ("rolled-back", code):
            raise SystemExit(f"the release was to be undone with {code}: {result.answer}")
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
            answer = (
                request(self.pid, "rollback") if number % 2 else request(self.pid, "update", SAME)
            )
            if answer["outcome"] != "updated":
                raise SystemExit(f"update {number} failed: {answer}")
            result.answer = answer
            if half_sent.finish() != 3:
                result.lost.append(f"values half sent at update {number}")
            pauses.append(answer["pause_ns"] / 1e6)
            memory.append(resident_kb(self.pid))
        median = sorted(pauses)[len(pauses) // 2]
        result.checks["pause"] = f"median {median:.1f} ms, worst {max(pauses):.1f} ms"
        early = memory[min(9, len(memory) - 1)]
        result.checks["memory"] = f"{early} kB after the first ten, {memory[-1]} kB at the end"
        if memory[-1] > early * 1.02 + 2048:
            result.lost.append(f"memory grows: {memory}")
        self._look(result)
        return result

    def _look(self, result: Result) -> None:
        """Compare all items with what they were."""
        wrong = list(clients.differences(self.before, clients.look(self.port, self.items)))
        result.check("items", self.items - len(wrong), self.items)
        result.lost += wrong[:5]


def request(pid: int, what: str, version: str = "", *options: str) -> dict[str, Any]:
    """Ask the server to become a version, or to go back; return what became of that."""
    release = [str(STORE / version / "memcached.so")] if version else []
    command = [*KITSUNE, what, "--json", *options, str(pid), *release]
    done = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise SystemExit(f"no answer to the request:\n{done.stdout}{done.stderr}") from None
    return answer


def resident_kb(pid: int) -> int:
    """Return how much memory a process has."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) if found else 0


def print_results(results: Sequence[Result], traffic: clients.Traffic) -> None:
    """Print what happened."""
    for result in results:
        pause_ms = result.answer["pause_ns"] / 1e6
        objects = result.answer.get("objects", 0)
        print(f"\n{result.versions}: {objects} objects transformed, pause {pause_ms:.1f} ms")
        for each in result.answer.get("types", []):
            print(f"  {each['type']:28}{each['moved']:6} moved {each['in_place']:6} in place")
        for what, seen in result.checks.items():
            print(f"  {what}: {seen}")
        for line in result.lost:
            print(f"  LOST: {line}")
    print(f"\nrequests: {traffic.sent} sent, {len(traffic.complaints)} failed")
    for complaint in traffic.complaints[:10]:
        print(f"  FAILED: {complaint}")
    print("the manifest has " + ", ".join(f"{n} {what}" for what, n in manifest_counts().items()))


def manifest_counts() -> dict[str, int]:
    """Count what the manifest says, the variants for this scenario left out."""
    manifest = yaml.safe_load((HERE / "kitsune.yaml").read_text(encoding="utf-8"))
    upstream_versions = [v for v in manifest["versions"] if "+" not in v["version"]]
    sections = [manifest["standing"], *upstream_versions]
    return {
        what: sum(len(section.get(what, ())) for section in sections)
        for what in ("annotations", "edits", "rules")
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
