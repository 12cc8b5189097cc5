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
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import redis_load as load  # type: ignore[import-not-found]  # mypy finds one example's only
import redis_releases as releases  # type: ignore[import-not-found]
import yaml

NOT_HERE = 3
TIMEOUT_S = 600
BUSY = "local began = os.clock() while os.clock() - began < 1.5 do end"
OLD, NEW, SAME, BROKEN = "8.0.2", "8.0.6", "8.0.6+same", "8.0.6+broken"


@dataclass(slots=True)
class Result:
    """What an update did, as the server and its clients tell."""

    what: str
    answer: dict[str, Any]
    seen: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def check(self, what: str, is_right: bool) -> None:
        """Note whether something came out as it must."""
        self.seen[what] = "as it must be" if is_right else "LOST"
        if not is_right:
            self.lost.append(what)


def main(arguments: Sequence[str]) -> int:
    """Build, then run the scenario; return the exit status."""
    parser = argparse.ArgumentParser(description="Redis is updated while it serves")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=25, help="there and back, two updates each")
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    options = parser.parse_args(arguments)
    print(f"== fetching and building Redis {OLD} and {NEW}", flush=True)
    try:
        if not options.built:
            releases.build_all()
    except releases.SourceUnavailable as error:
        print(f"redis: {error}", file=sys.stderr)
        return NOT_HERE
    except releases.BuildFailed as error:
        print(f"redis: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="redis-") as place, contextlib.ExitStack() as stack:
        os.environ["KITSUNE_RUNTIME_DIR"] = f"{place}/run"
        Path(place, "run").mkdir(mode=0o700)
        world = World(stack, Path(place))
        print(f"== filling {OLD} with {options.keys} keys", flush=True)
        load.fill(world.port, options.keys)
        world.attach_replica()
        results = [world.update(NEW)]
        results += [
            world.refuse_broken(),
            world.refuse_while_busy(),
            world.go_round(options.rounds),
        ]
        world.save_and_restart(results[-1])
    print_results(results)
    return 1 if any(result.lost for result in results) else 0


class World:
    """A server, its replica and its clients."""

    def __init__(self, stack: contextlib.ExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self.port = free_port()
        command = [*releases.KITSUNE, "run", str(releases.release(OLD))]
        self.pid = stack.enter_context(server(command, self.port, directory / "server"))
        self.client = load.connect(self.port, TIMEOUT_S)
        self._replica: Any = None

    def attach_replica(self) -> None:
        """Start a plain server and have it follow this one."""
        port = free_port()
        command = [str(releases.server(OLD))]
        follow = ("--replicaof", "127.0.0.1", str(self.port))
        where = self._directory / "replica"
        self._stack.enter_context(server(command, port, where, *follow))
        self._replica = load.connect(port, TIMEOUT_S)
        wait_until(self._is_attached, "the replica does not follow")

    def _is_attached(self) -> bool:
        return bool(self._replica.info("replication")["master_link_status"] == "up")

    def update(self, version: str) -> Result:
        """Become a version amid all that goes on."""
        print(f"== {OLD} to {version}", flush=True)
        with load.Traffic(self.port) as traffic:
            before = self._digest(traffic)
            half = load.HalfDone(self.port, version)
            traffic.wait_for(300)
            traffic.longest_s = 0
            memory = memory_kb(self.pid)
            result = Result(f"{OLD} to {version}", self._request(version))
            traffic.wait_for(300)
            waited = traffic.longest_s
            for what, is_right in half.finish().items():
                result.check(what, is_right)
            result.check("digest of all keys", self._digest(traffic) == before)
        result.check("requests meanwhile", not traffic.complaints)
        result.seen["requests"] = f"{traffic.sent} sent, {len(traffic.complaints)} failed"
        result.seen["longest three requests"] = f"{waited * 1000:.0f} ms"
        self._note_memory(result, memory)
        self._look_at_replica(result)
        version_told = self.client.info("server")["redis_version"]
        result.check("the version that it tells", version_told == version)
        new = self.client.config_get("lua-enable-deprecated-api")
        result.check("a directive that is new", new == {"lua-enable-deprecated-api": "no"})
        result.lost += traffic.complaints
        return result

    def _note_memory(self, result: Result, before: tuple[int, int]) -> None:
        after, peak = memory_kb(self.pid)
        result.seen["memory"] = f"{before[0]} kB before, {peak} kB at peak, {after} kB after"
        # The images of both versions and the engine's tables are a matter of some megabytes.
        result.check("peak at most 1.1 times", peak <= 1.1 * before[0] + 16_384)

    def _look_at_replica(self, result: Result) -> None:
        self.client.set("for the replica", 1)
        result.check("the replica gets what is written", self.client.wait(1, 20_000) == 1)
        self.client.delete("for the replica")
        self.client.wait(1, 20_000)
        digests = [each.execute_command("DEBUG DIGEST") for each in (self.client, self._replica)]
        result.check("digest of the replica", digests[0] == digests[1])
        result.check("the replica stayed attached", self.client.info("stats")["sync_full"] == 1)

    def _digest(self, traffic: load.Traffic) -> Any:
        """Return the digest of all keys but those of clients that come and go."""
        with traffic.paused():
            for pattern in ("traffic:*", "queue:*", "later:*", "in:*", "watched:*", "counter"):
                for key in self.client.scan_iter(pattern, count=10_000):
                    self.client.delete(key)
            return self.client.execute_command("DEBUG DIGEST")

    def _request(self, version: str, *more: str, outcome: str = "updated") -> dict[str, Any]:
        words = ("update", "--json", *more, str(self.pid), str(releases.release(version)))
        return answer_of(words, outcome)

    def refuse_broken(self) -> Result:
        """Try a release whose rule ruins the keys and crashes; the server must go on."""
        print(f"== a broken release, {BROKEN}", flush=True)
        with load.Traffic(self.port) as traffic:
            before = self._digest(traffic)
            half = load.HalfDone(self.port, "broken")
            result = Result(
                f"{NEW} to {BROKEN}, undone", self._request(BROKEN, outcome="rolled-back")
            )
            traffic.wait_for(300)
            for what, is_right in half.finish().items():
                result.check(what, is_right)
            result.check("digest of all keys", self._digest(traffic) == before)
        result.lost += traffic.complaints
        return result

    def refuse_while_busy(self) -> Result:
        """Ask for an update while a command runs that takes long: it is given up."""
        print("== a server that does not come to its update point", flush=True)
        busy = load.connect(self.port, TIMEOUT_S)
        working = threading.Thread(target=busy.eval, args=(BUSY, 0))
        working.start()
        time.sleep(0.5)
        answer = self._request(SAME, "--wait-ms", "500", outcome="withdrawn")
        result = Result("an update that nobody takes, given up", answer)
        working.join()
        result.check("it answers", self.client.ping())
        return result

    def go_round(self, rounds: int) -> Result:
        """Update to the same version and back, as often as is said."""
        print(f"== {NEW} to itself and back, {rounds} times", flush=True)
        pauses, memory = [], []
        with load.Traffic(self.port) as traffic:
            before = self._digest(traffic)
            for _ in range(rounds):
                answer = self._request(SAME)
                back = answer_of(("rollback", "--json", str(self.pid)), "updated")
                pauses += [each["pause_ns"] / 1e6 for each in (answer, back)]
                traffic.wait_for(30)
                memory.append(memory_kb(self.pid)[0])
            result = Result(f"{NEW} to itself and back, {rounds} times", back)
            result.check("digest of all keys", self._digest(traffic) == before)
        pauses.sort()
        result.seen["pauses"] = f"median {pauses[rounds]:.1f} ms, worst {pauses[-1]:.1f} ms"
        result.seen["memory"] = f"{memory[0]} kB after the first, {memory[-1]} kB after the last"
        result.check("memory stays", memory[-1] <= 1.05 * memory[0] + 4096)
        result.seen["requests"] = f"{traffic.sent} sent, {len(traffic.complaints)} failed"
        result.lost += traffic.complaints
        return result

    def save_and_restart(self, result: Result) -> None:
        """Save, and read what was saved with a plain server of the new version."""
        digest = self.client.execute_command("DEBUG DIGEST")
        self.client.save()
        command = [str(releases.server(NEW))]
        port = free_port()
        with server(command, port, self._directory / "server"):
            plain = load.connect(port, TIMEOUT_S)
            found = plain.execute_command("DEBUG DIGEST")
        result.check("digest of a plain server that reads what was saved", found == digest)


def answer_of(words: Sequence[str], outcome: str) -> dict[str, Any]:
    """Run a command of kitsune; another outcome ends the scenario."""
    done = subprocess.run(
        [*releases.KITSUNE, *words],
        cwd=releases.HERE,  # where the manifest is, by which 'rollback' finds the store
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        answer = {}
    if answer.get("outcome") != outcome:
        raise SystemExit(f"not {outcome}:\n{done.stdout}{done.stderr}")
    return answer


@contextlib.contextmanager
def server(command: Sequence[str], port: int, where: Path, *more: str) -> Iterator[int]:
    """Run a server; yield its process id when it answers."""
    where.mkdir(exist_ok=True)
    settings = ("--port", str(port), "--dir", str(where), "--save", "", *more)
    settings += ("--enable-debug-command", "yes", "--bind", "127.0.0.1")
    with (where / f"log.{port}").open("wb") as log:
        process = subprocess.Popen([*command, *settings], stdout=log, stderr=log)
    client = load.connect(port, 5)

    def answers() -> bool:
        if process.poll() is not None:
            raise SystemExit((where / f"log.{port}").read_text(errors="replace")[-3000:])
        with contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    try:
        wait_until(answers, "the server does not answer")
        yield int(client.info("server")["process_id"])
    except BaseException:
        print((where / f"log.{port}").read_text(errors="replace")[-3000:], file=sys.stderr)
        raise
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def memory_kb(pid: int) -> tuple[int, int]:
    """Return what a process holds of memory that is its own, and what it held at most."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    lines = dict(line.split(":", 1) for line in text.splitlines())
    return int(lines["VmRSS"].split()[0]), int(lines["VmHWM"].split()[0])


def wait_until(is_true: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so; that it never is ends the scenario."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_true():
        if time.monotonic() > deadline:
            raise SystemExit(otherwise)
        time.sleep(0.05)


def print_results(results: Sequence[Result]) -> None:
    """Print what happened."""
    for result in results:
        print(f"\n{result.what}")
        answer = result.answer
        if answer["outcome"] == "updated":
            pause_ms, objects = answer["pause_ns"] / 1e6, answer["objects"]
            print(f"  pause {pause_ms:.1f} ms, {objects} objects visited or transformed")
        else:
            print(f"  {answer['code']}: {answer['reason'].splitlines()[0]}")
        for what, seen in result.seen.items():
            print(f"  {what}: {seen}")
        for line in result.lost:
            print(f"  LOST: {line}")
    manifest = yaml.safe_load((releases.HERE / "kitsune.yaml").read_text(encoding="utf-8"))
    sections = [manifest["standing"], *(v for v in manifest["versions"] if "+" not in v["version"])]
    counts = (
        f"{sum(len(section.get(what, ())) for section in sections)} {what}"
        for what in ("annotations", "edits", "rules")
    )
    print("\nthe manifest has " + ", ".join(counts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
