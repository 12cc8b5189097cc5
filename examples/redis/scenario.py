"""Redis 8.0.2 becomes 8.0.6 while it serves, and itself as often as one likes.

Fetches and builds all, fills a server with keys of all types, attaches a replica, and updates it
amid traffic, with clients that wait, subscribe, and have half queued transactions. Then a release
that ruins everything and crashes, a server that does not come to its update point, updates there
and back, and a restart from what the updated server has saved. Exit status: 0 done, 1 something was
lost, 3 it cannot be done here at the moment (no source).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis_load as load  # type: ignore[import-not-found]  # mypy finds one example's only
import redis_releases as releases  # type: ignore[import-not-found]
from redis_releases import NEW, OLD, SAME, TIMEOUT_S

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
from scenarios import Figures, Result, expected, go_back  # noqa: E402

BUSY = "local began = os.clock() while os.clock() - began < 1.5 do end"
BROKEN = f"{NEW}+broken"
IMAGES_KB = 16_384
"""The images of both versions and the engine's tables, however large the state is."""


def main(arguments: Sequence[str]) -> int:
    """Build, then run the scenario; return the exit status."""
    parser = argparse.ArgumentParser(description="Redis is updated while it serves")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=25, help="there and back, two updates each")
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    parser.set_defaults(cflags="-O2")
    options = scenarios.arguments_of(parser, arguments)
    status = 0 if options.built else releases.build(options.cflags)
    if status != 0:
        return status
    with releases.running(Path(releases.release(OLD))) as (directory, port, pid, stack):
        print(f"== filling {OLD} with {options.keys} keys", flush=True)
        load.fill(port, options.keys)
        world = World(stack, directory, port, pid, Figures(f"{options.keys:,} keys"))
        world.attach_replica()
        results = [world.update(NEW), world.refuse_broken(), world.refuse_while_busy()]
        results.append(world.go_round(options.rounds))
        world.save_and_restart(results[-1])
    scenarios.print_results(results)
    scenarios.print_requests("requests", world.figures.requests, world.complaints)
    print(scenarios.manifest_of(HERE))
    world.figures.write(options.figures)
    return 1 if any(result.lost for result in results) else 0


def note(result: Result, what: str, is_right: bool) -> None:
    """Note whether something came out as it must."""
    result.checks[what] = "as it must be" if is_right else "LOST"
    if not is_right:
        result.lost.append(what)


class World:
    """A server, its replica and its clients."""

    def __init__(
        self, stack: contextlib.ExitStack, directory: Path, port: int, pid: int, figures: Figures
    ) -> None:
        self._stack = stack
        self._directory = directory
        self._port, self._pid = port, pid
        self._client = load.connect(port, TIMEOUT_S)
        self._replica: Any = None
        self.figures = figures
        self.complaints: list[str] = []

    def attach_replica(self) -> None:
        """Start a plain server and have it follow this one."""
        port = scenarios.free_port()
        command = [str(releases.upstream(OLD))]
        follow = ("--replicaof", "127.0.0.1", str(self._port))
        where = self._directory / "replica"
        self._stack.enter_context(releases.server(command, port, where, *follow))
        self._replica = load.connect(port, TIMEOUT_S)
        scenarios.wait_until(self._is_attached, "the replica does not follow", TIMEOUT_S)

    def _is_attached(self) -> bool:
        return bool(self._replica.info("replication")["master_link_status"] == "up")

    @contextlib.contextmanager
    def _traffic(self, result: Result) -> Iterator[load.Traffic]:
        """Have clients write and read all the while; the digest of all other keys must stay."""
        with load.Traffic(self._port) as traffic:
            before = self._digest(traffic)
            yield traffic
            note(result, "digest of all keys", self._digest(traffic) == before)
        self.figures.requests += traffic.sent
        self.figures.failed += len(traffic.complaints)
        self.complaints += traffic.complaints
        result.lost += traffic.complaints

    def _digest(self, traffic: load.Traffic) -> Any:
        """Return the digest of all keys but those of clients that come and go."""
        with traffic.paused():
            for pattern in ("traffic:*", "queue:*", "later:*", "in:*", "watched:*", "counter"):
                for key in self._client.scan_iter(pattern, count=10_000):
                    self._client.delete(key)
            return self._client.execute_command("DEBUG DIGEST")

    def _ask_for(self, version: str, *options: str) -> dict[str, Any]:
        return scenarios.update(self._pid, releases.release(version), *options)

    def update(self, version: str) -> Result:
        """Become a version amid all that goes on."""
        print(f"== {OLD} to {version}", flush=True)
        result = Result(f"{OLD} to {version}")
        with self._traffic(result) as traffic:
            half = load.HalfDone(self._port, version)
            traffic.wait_for(300)
            traffic.longest_s = 0
            memory_kb = self.figures.begin(self._pid)
            result.answer = expected(self._ask_for(version))
            traffic.wait_for(300)
            self.figures.end(self._pid, result)
            result.checks["longest four requests"] = f"{traffic.longest_s * 1000:.0f} ms"
            for what, is_right in half.finish().items():
                note(result, what, is_right)
        self._look_at_memory(result, memory_kb)
        self._look_at_replica(result)
        version_told = self._client.info("server")["redis_version"]
        note(result, "the version that it tells", version_told == version)
        new = self._client.config_get("lua-enable-deprecated-api")
        note(result, "a directive that is new", new == {"lua-enable-deprecated-api": "no"})
        return result

    def _look_at_memory(self, result: Result, before_kb: int) -> None:
        peak_kb, after_kb = self.figures.memory_peak_kb, self.figures.memory_after_kb
        seen = f"{before_kb} kB before, {peak_kb} kB at peak, {after_kb} kB after"
        result.checks["memory"] = seen
        note(result, "peak at most 1.1 times", peak_kb <= 1.1 * before_kb + IMAGES_KB)

    def _look_at_replica(self, result: Result) -> None:
        self._client.set("for the replica", 1)
        note(result, "the replica gets what is written", self._client.wait(1, 20_000) == 1)
        self._client.delete("for the replica")
        self._client.wait(1, 20_000)
        one, other = (c.execute_command("DEBUG DIGEST") for c in (self._client, self._replica))
        note(result, "digest of the replica", one == other)
        note(result, "the replica stayed attached", self._client.info("stats")["sync_full"] == 1)

    def refuse_broken(self) -> Result:
        """Try a release whose rule ruins the keys and crashes; the server must go on."""
        print(f"== a broken release, {BROKEN}", flush=True)
        result = Result("")
        with self._traffic(result) as traffic:
            half = load.HalfDone(self._port, "broken")
            result.answer = expected(self._ask_for(BROKEN), "rolled-back", "K354")
            result.versions = f"{NEW} to {BROKEN}, undone (K354)"
            traffic.wait_for(300)
            for what, is_right in half.finish().items():
                note(result, what, is_right)
        return result

    def refuse_while_busy(self) -> Result:
        """Ask for an update while a command runs that takes long: it is given up."""
        print("== a server that does not come to its update point", flush=True)
        busy = load.connect(self._port, TIMEOUT_S)
        working = threading.Thread(target=busy.eval, args=(BUSY, 0))
        working.start()
        time.sleep(0.5)
        answer = expected(self._ask_for(SAME, "--wait-ms=500"), "withdrawn", "K361")
        working.join()
        result = Result(f"{NEW} to {SAME}, which nobody takes (K361)", answer)
        note(result, "it answers", self._client.ping())
        return result

    def go_round(self, rounds: int) -> Result:
        """Update to the same version and back, as often as is said."""
        what = f"{NEW} to itself and back, {rounds} times"
        print(f"== {what}", flush=True)
        result, pauses_ms, memory_kb = Result(what), [], []
        with self._traffic(result) as traffic:
            for _ in range(rounds):
                for is_back in (False, True):
                    answer = go_back(self._pid, releases.HERE) if is_back else self._ask_for(SAME)
                    result.answer = expected(answer)
                    pauses_ms.append(result.answer["pause_ns"] / 1e6)
                traffic.wait_for(30)
                memory_kb.append(scenarios.resident_kb(self._pid))
        if rounds:
            self.figures.end_many(result, pauses_ms, memory_kb)
        return result

    def save_and_restart(self, result: Result) -> None:
        """Save, and read what was saved with a plain server of the new version."""
        digest = self._client.execute_command("DEBUG DIGEST")
        self._client.save()
        port = scenarios.free_port()
        with releases.server([str(releases.upstream(NEW))], port, self._directory / "server"):
            found = load.connect(port, TIMEOUT_S).execute_command("DEBUG DIGEST")
        note(result, "digest of a plain server that reads what was saved", found == digest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
