"""Redis's own Tcl tests, on plain servers of 8.0.6 and on ones that are updated all the while.

Most suites run against one server that lives through all of them: it is started as 8.0.2, updated
to 8.0.6, and then, as long as the tests run, to itself and back, again and again. The others start
servers of their own, with replicas, restarts and files; each of these is found by its control
socket, and is updated to itself and back as well. What passes with plain servers must pass with
these. Exit status: 0 it does, 1 it does not, 3 it cannot be done here at the moment (no source, no
tclsh).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis_releases as releases  # type: ignore[import-not-found]  # mypy finds one example's only
import scenarios  # found, since `redis_releases` has said where

ONE_SERVER = (
    *(f"unit/type/{name}" for name in ("string", "incr", "list", "list-2", "list-3", "hash")),
    *(f"unit/type/{name}" for name in ("hash-field-expire", "set", "zset", "stream")),
    "unit/type/stream-cgroups",
    *(f"unit/{name}" for name in ("expire", "multi", "pubsub", "scripting", "functions", "sort")),
    *(f"unit/{name}" for name in ("keyspace", "scan", "dump", "bitops", "hyperloglog", "geo")),
    *(f"unit/{name}" for name in ("acl", "auth", "bitfield", "introspection-2", "protocol")),
    *(f"unit/{name}" for name in ("pubsubshard", "quit", "slowlog", "tracking", "latency-monitor")),
)
"""One server lives through these; what needs another is left out by the tests themselves."""
OWN_SERVERS = (
    *(f"unit/{name}" for name in ("acl-v2", "aofrw", "pause", "networking", "wait", "shutdown")),
    *(f"integration/{name}" for name in ("block-repl", "rdb", "aof", "replication-2")),
    *(f"integration/convert-{name}-on-load" for name in ("ziplist-hash", "ziplist-zset")),
    *(f"integration/{name}" for name in ("convert-zipmap-hash-on-load", "shutdown")),
)
"""These start their own."""
ONLY_IF_ALL = (
    *(f"unit/{name}" for name in ("info", "info-command", "info-keysizes", "introspection")),
    *(f"unit/{name}" for name in ("lazyfree", "obuf-limits", "querybuf", "other", "violations")),
    *(f"integration/{name}" for name in ("aof-multi-part", "aof-race", "dismiss-mem", "failover")),
    *(f"integration/psync2{name}" for name in ("", "-reg", "-pingoff", "-master-restart")),
    *(f"integration/replication{name}" for name in ("", "-3", "-4", "-buffer", "-psync")),
    *(f"integration/{name}" for name in ("replication-rdbchannel", "redis-benchmark")),
)
"""These, too, start their own, and take long."""
LEFT_OUT = {
    "unit/tls": "Redis is built without TLS here",
    "unit/printver": "it prints a version, and tests nothing",
    "unit/cluster/*": "no cluster was tried",
    "unit/moduleapi/*": "no modules are built",
    "unit/memefficiency": "it compares how much memory is used",
    "unit/client-eviction": "it compares how much memory is used",
    "unit/maxmemory": "it compares how much memory is used",
    "unit/replybufsize": "it compares sizes of buffers, by the second",
    "unit/limits": "it needs a shell's limits of its own",
    "unit/oom-score-adj": "it compares what /proc says of processes that are not Kitsune's",
    "integration/logging": "it compares what a crash prints of a server without a launcher",
    "integration/corrupt-dump": "its servers crash on purpose",
    "integration/corrupt-dump-fuzzer": "its servers crash on purpose, by chance",
    "integration/redis-cli": "it tests another program",
    "tests that kill a server's child": "they take Kitsune's helper for it",
}
CHILDREN = (
    "failed bgsave prevents writes",
    "Temp rdb will be deleted if we use bg_unlink when shutdown",
    "BGREWRITEAOF is refused if already in progress",
    "AOF multiple rewrite failures will open multiple INCR AOFs",
    "AOF enable during BGSAVE will not write data util AOFRW finish",
    "AOF will trigger limit when AOFRW fails many times",
    "/AOF will open a temporary INCR AOF to accumulate data",
    "diskless replication child being killed is collected",
    "/replication child dies when parent is killed",
)
"""Tests that are left out: they take the first child that `ps` shows for the one that saves, and
kill it. With the launcher it is Kitsune's helper, and what is to be killed goes on for hours."""
RUN_TIMEOUT_S = 1800
BETWEEN_S = 1.0
"""From one update to the next."""
ENDING_S = 20
PROGRAMS = ("redis-server", "redis-cli", "redis-benchmark")
_CHECKS = ("redis-check-aof", "redis-check-rdb")
"""The server itself, by other names."""
_TREES = Path(releases.HERE) / "build/own_tests"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_VERDICT = re.compile(r"^\[(ok|err|exception|ignore|skip)\]: (.*?)(?: \(\d+ ms\))?$", re.MULTILINE)
ALLOWED = ("--enable-protected-configs", "yes", "--enable-module-command", "yes")
"""What the tests need beside `DEBUG`."""

Verdicts = dict[tuple[str, str], str]
"""By suite and test: what came of it."""


@dataclass(slots=True)
class Updates:
    """A thread that updates servers to themselves and back; a context manager.

    `servers` tells which there are at the moment.
    """

    servers: Callable[[], Iterable[int]]
    done: int = 0
    failed: list[str] = field(default_factory=list)
    _times: dict[int, int] = field(default_factory=dict)
    _ends: threading.Event = field(default_factory=threading.Event)
    _running: threading.Thread | None = None

    def __enter__(self) -> Updates:
        self._running = threading.Thread(target=self._go)
        self._running.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        if self._running is not None:
            self._running.join()

    def _go(self) -> None:
        while not self._ends.wait(BETWEEN_S):
            for pid in self.servers():
                self._update(pid)

    def _update(self, pid: int) -> None:
        there = ("update", str(pid), str(releases.release(releases.SAME)))
        back = ("rollback", "--store", str(releases.STORE.parent), str(pid))
        answer = scenarios.ask(*(back if self._times.get(pid, 0) % 2 else there))
        if answer.get("outcome") == "updated":
            self.done += 1
            self._times[pid] = self._times.get(pid, 0) + 1
        elif answer.get("outcome") != "withdrawn" and not _ends(pid):
            # Withdrawn: a test keeps the server busy, by a script, DEBUG SLEEP, or a file.
            self.failed.append(f"{answer.get('code')}: {answer.get('reason')}")


def _ends(pid: int) -> bool:
    """Tell whether a process ends now, or has: a test ends its servers, also amid an update."""
    deadline = time.monotonic() + ENDING_S
    while time.monotonic() < deadline:
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text(encoding="ascii"):
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def main(arguments: Sequence[str]) -> int:
    """Build, run the tests twice; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Redis's own tests on servers that are updated", epilog=_left_out()
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    parser.add_argument("--all", action="store_true", help="also the suites that take long")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="unit/type/list")
    parser.set_defaults(cflags="-O2")
    options = scenarios.arguments_of(parser, arguments)
    if shutil.which("tclsh") is None:
        print("redis: tclsh is missing (tcl)", file=sys.stderr)
        return scenarios.NOT_HERE
    status = 0 if options.built else releases.build(options.cflags, PROGRAMS)
    if status != 0:
        return int(status)
    suites = options.suites or [*ONE_SERVER, *OWN_SERVERS, *(ONLY_IF_ALL if options.all else ())]
    shared = [suite for suite in suites if suite in ONE_SERVER]
    others = [suite for suite in suites if suite not in ONE_SERVER]
    plain = {**run_on_plain(shared), **run_on_own("plain", others)}
    updated, done, failed = run_on_updated(shared)
    with updating_all() as updates:
        updated |= run_on_own("updated", others)
        # By the second, and on a machine with much to do: what was lost must be lost again.
        again = sorted({suite for suite, _ in lost(plain, updated) if suite in others})
        once_more = run_on_own("updated", again)
    for key in lost(plain, updated):
        updated[key] = once_more.get(key, updated.get(key, "not run"))
    done += updates.done
    figures_of(plain, updated, done, options.all).write(options.figures)
    return tell(plain, updated, done, [*failed, *updates.failed])


def _left_out() -> str:
    reasons = "\n".join(f"  {suite}: {reason}" for suite, reason in LEFT_OUT.items())
    return f"left out:\n{reasons}"


def run_on_plain(suites: Sequence[str]) -> Verdicts:
    """Run suites against one server of upstream's."""
    command = [str(releases.upstream(releases.NEW))]
    port = scenarios.free_port()
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as place,
        releases.server(command, port, Path(place), *ALLOWED),
    ):
        return run(releases.source(releases.NEW), suites, port)


def run_on_updated(suites: Sequence[str]) -> tuple[Verdicts, int, list[str]]:
    """Run them against one that is updated; return that, how often it was, and what failed."""
    with releases.running(Path(releases.release(releases.OLD)), *ALLOWED) as (_, port, pid, _):
        first = scenarios.ask("update", str(pid), str(releases.release(releases.NEW)))
        if first.get("outcome") != "updated":
            raise SystemExit(f"not updated:\n{first}")
        with Updates(lambda: [pid]) as updates:
            found = run(releases.source(releases.NEW), suites, port)
    return found, 1 + updates.done, updates.failed


def run_on_own(kind: str, suites: Sequence[str]) -> Verdicts:
    """Run suites that start servers of their own: "plain" ones, or "updated"."""
    return run(_tree(kind), suites)


@contextlib.contextmanager
def updating_all() -> Iterator[Updates]:
    """Update every server that is started meanwhile, as its control socket tells."""
    with tempfile.TemporaryDirectory(prefix="redis-") as place:
        os.environ["KITSUNE_RUNTIME_DIR"] = place
        with Updates(lambda: [int(each.stem) for each in Path(place).glob("*.sock")]) as updates:
            yield updates


def _tree(kind: str) -> Path:
    """Make the directory that the tests run in, with what is said to be the server."""
    tree, source = _TREES / kind, releases.source(releases.NEW)
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "src").mkdir(parents=True)
    (tree / "tests").symlink_to(source / "tests")
    for name in PROGRAMS:
        (tree / "src" / name).symlink_to(source / "src" / name)
    for name in _CHECKS:
        (tree / "src" / name).symlink_to(source / "src/redis-server")
    if kind == "updated":
        server = tree / "src/redis-server"
        server.unlink()
        command = shlex.join([*scenarios.KITSUNE, "run", str(releases.release(releases.NEW))])
        server.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        server.chmod(0o755)
    return tree


def run(where: Path, suites: Sequence[str], port: int | None = None) -> Verdicts:
    """Run each suite, against a server or with its own; return what came of each test."""
    found: Verdicts = {}
    for suite in suites:
        print(f"== {suite}, {where.name if port is None else f'port {port}'}", flush=True)
        for name, verdict in _run_suite(where, suite, port):
            found[suite, name] = verdict
    return found


def _run_suite(where: Path, suite: str, port: int | None) -> Iterator[tuple[str, str]]:
    command = ["tclsh", "tests/test_helper.tcl", "--single", suite, "--clients", "1"]
    for name in CHILDREN:
        command += ["--skiptest", name]
    if port is not None:
        command += ["--host", "127.0.0.1", "--port", str(port)]
    done = subprocess.run(
        [*command, "--durable"],
        cwd=where,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    output = _COLOUR.sub("", done.stdout)
    yield from ((name, verdict) for verdict, name in _VERDICT.findall(output))
    yield "all of it", "ok" if "The End" in output else output[-1000:] + done.stderr[-1000:]


def lost(plain: Verdicts, updated: Verdicts) -> list[tuple[str, str]]:
    """Return the tests that pass with plain servers, and not with others."""
    return [key for key in plain if plain[key] == "ok" and updated.get(key) != "ok"]


def figures_of(plain: Verdicts, updated: Verdicts, done: int, are_all: bool) -> scenarios.OwnTests:
    """Return what the page on the programs says of this run."""
    passed = sum(verdict == "ok" for verdict in plain.values())
    same = sum(updated.get(key) == verdict for key, verdict in plain.items())
    later = {} if are_all else dict.fromkeys(ONLY_IF_ALL, "it takes long (--all)")
    return scenarios.OwnTests(len(plain), passed, same, done, LEFT_OUT | later)


def tell(plain: Verdicts, updated: Verdicts, done: int, failed: Sequence[str]) -> int:
    """Print what came of the tests; return the exit status."""
    passed = sum(verdict == "ok" for verdict in plain.values())
    missing = lost(plain, updated)
    print(f"\n{passed} of {len(plain)} tests pass on plain servers")
    print(f"{passed - len(missing)} of these on ones that were updated {done} times")
    for suite, name in missing:
        print(f"  LOST: {suite}: {name} ({updated.get((suite, name), 'not run')})")
    for answer in failed:
        print(f"  LOST: an update: {answer}")
    return 1 if missing or failed or done == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
