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
import dataclasses
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import redis_releases as releases  # type: ignore[import-not-found]  # mypy finds one example's only
import scenarios  # found, since `redis_releases` has said where
import suites

ONE_SERVER = (
    *(f"unit/type/{name}" for name in ("string", "incr", "list", "list-3", "hash", "set")),
    *(f"unit/type/{name}" for name in ("zset", "stream")),
    "unit/type/stream-cgroups",
    *(f"unit/{name}" for name in ("expire", "multi", "pubsub", "scripting", "functions", "sort")),
    *(f"unit/{name}" for name in ("keyspace", "scan", "dump", "bitops", "hyperloglog", "geo")),
    *(f"unit/{name}" for name in ("bitfield", "introspection-2", "protocol", "quit", "slowlog")),
    *(f"unit/{name}" for name in ("tracking", "latency-monitor")),
)
"""One server lives through these; what needs another is left out by the tests themselves."""
OWN_SERVERS = (
    "unit/type/hash-field-expire",
    *(f"unit/{name}" for name in ("acl", "auth", "pubsubshard")),
    *(f"unit/{name}" for name in ("info", "introspection")),
    *(f"unit/{name}" for name in ("acl-v2", "aofrw", "pause", "networking", "wait", "shutdown")),
    *(f"integration/{name}" for name in ("block-repl", "rdb", "aof", "replication-2")),
    "integration/shutdown",
)
"""These start their own, or have no test for a server that is there already."""
ONLY_IF_ALL = (
    "unit/type/list-2",
    *(f"unit/{name}" for name in ("info-keysizes", "lazyfree", "obuf-limits", "querybuf")),
    *(f"unit/{name}" for name in ("other", "violations")),
    *(f"integration/{name}" for name in ("aof-multi-part", "aof-race", "dismiss-mem", "failover")),
    *(f"integration/psync2{name}" for name in ("", "-reg", "-pingoff", "-master-restart")),
    *(f"integration/replication{name}" for name in ("", "-3", "-4", "-buffer", "-psync")),
    *(f"integration/{name}" for name in ("replication-rdbchannel", "redis-benchmark")),
)
"""These, too, start their own, and take long; `list-2` has nothing but what Redis tags slow."""
SLOW = (
    "Fuzzing dense/sparse encoding: Redis should always detect errors",
    "/Stress tester for #3343-alike bugs",
    "/GEOSEARCH fuzzy test",
)
"""Tests that take 20 seconds to a minute, and of which Redis does not say so; see `--skiptest`."""
LEFT_OUT = {
    "unit/tls": "Redis is built without TLS here",
    "unit/printver": "it prints a version, and tests nothing",
    "unit/info-command": "it takes a third of a second, in which no update may come",
    "integration/convert-*": "their servers live too short for an update",
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
    "WAITAOF local if AOFRW was postponed",
    "Don't rehash if redis has child process",
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
TRIES = 2
"""Of a suite that fails, plain or updated: many a test goes by the second."""
BETWEEN_S = 1.0
"""From one update to the next."""
SERVER = "the one server"
"""What is told of the updates of the server that lives through many suites."""
PROGRAMS = ("redis-server", "redis-cli", "redis-benchmark")
_CHECKS = ("redis-check-aof", "redis-check-rdb")
"""The server itself, by other names."""
_KEPT = Path(releases.HERE) / "build/own_tests"
_FIRST_PORT, _PORTS = 21111, 3000
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_VERDICT = re.compile(r"^\[(ok|err|exception|timeout)\]: (.*?)(?: \(\d+ ms\))?$", re.MULTILINE)
_NUMBER = re.compile(r"\d+")
_END = "The End"
ALLOWED = ("--enable-protected-configs", "yes", "--enable-module-command", "yes")
"""What the tests need beside `DEBUG`."""


def main(arguments: Sequence[str]) -> int:
    """Build, run the tests twice; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Redis's own tests on servers that are updated", epilog=_left_out()
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    parser.add_argument("--all", action="store_true", help="also what takes long")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="unit/type/list")
    parser.set_defaults(cflags="-O2")
    options = scenarios.arguments_of(parser, arguments)
    if shutil.which("tclsh") is None:
        print("redis: tclsh is missing (tcl)", file=sys.stderr)
        return scenarios.NOT_HERE
    status = 0 if options.built else releases.build(options.cflags, PROGRAMS)
    if status != 0:
        return int(status)
    names = options.suites or [*ONE_SERVER, *OWN_SERVERS, *(ONLY_IF_ALL if options.all else ())]
    print("== on plain servers", flush=True)
    on_plain = Plain(options.all)
    plain = on_plain.run_all(names)
    print("== with updates", flush=True)
    updated = Updated(options.all, on_plain).run_all(names)
    left_out = LEFT_OUT if options.all else LEFT_OUT | LATER
    suites.figures(plain, updated, left_out).write(options.figures)
    return suites.tell(plain, updated, {} if options.suites else left_out)


def _left_out() -> str:
    reasons = "\n".join(f"  {name}: {why}" for name, why in (LEFT_OUT | LATER).items())
    return f"left out:\n{reasons}"


class Plain:
    """A directory as the tests want it, with upstream's server; what they come to there."""

    kind = "plain"

    def __init__(self, slow: bool) -> None:
        self._slow = slow
        self.place = _KEPT / self.kind
        self.points: dict[str, frozenset[str]] = {}
        """By suite: those that have passed."""
        source = releases.source(releases.NEW)
        shutil.rmtree(self.place, ignore_errors=True)
        (self.place / "src").mkdir(parents=True)
        # Each has its own, for there the tests put their servers' files, and remove all others.
        shutil.copytree(source / "tests", self.place / "tests")
        for name in (*PROGRAMS, *_CHECKS):
            built = name if name in PROGRAMS else "redis-server"
            (self.place / "src" / name).symlink_to(source / "src" / built)

    def run_all(self, names: Sequence[str]) -> dict[str, suites.Ran]:
        """Run suites; return what came of each."""
        shared = [name for name in names if name in ONE_SERVER]
        found = self._on_one_server(shared) if shared else {}
        return found | suites.run_all([n for n in names if n not in ONE_SERVER], 1, self._own)

    def _on_one_server(self, names: Sequence[str]) -> dict[str, suites.Ran]:
        command, port = [str(releases.upstream(releases.NEW))], scenarios.free_port()
        with releases.server(command, port, self.place, *ALLOWED):
            found = self._against(names, port)
        return found | {SERVER: suites.Ran(0, 1, ())}

    def _against(self, names: Sequence[str], port: int) -> dict[str, suites.Ran]:
        return suites.run_all(names, 1, lambda name: self.tried(name, ["--port", str(port)]))

    def _own(self, name: str) -> suites.Ran:
        return self.tried(name, [])

    def tried(self, name: str, server: Sequence[str], *before: str) -> suites.Ran:
        """Run a suite, and once more if it fails; `before` stands before the command."""
        for _ in range(TRIES):
            ran = self._run(name, server, *before)
            if ran.status == 0 and not ran.failed:
                break
        return ran

    def _run(self, name: str, server: Sequence[str], *before: str) -> suites.Ran:
        command = [*before, "tclsh", "tests/test_helper.tcl", "--single", name, "--durable"]
        command += ["--clients", "1", "--baseport", str(_FIRST_PORT), "--portcount", str(_PORTS)]
        command += ["--host", "127.0.0.1", *server] if server else []
        command += [] if self._slow else ["--tags", "-slow"]
        for skipped in CHILDREN if self._slow else (*CHILDREN, *SLOW):
            command += ["--skiptest", skipped]
        log = self.place / f"{name.replace('/', '-')}.log"
        ran = suites.run(command, self.place, log)
        output = _COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace"))
        verdicts = _VERDICT.findall(output)
        passed = [point for verdict, point in verdicts if verdict == "ok"]
        failed = [
            f"{verdict}: {_NUMBER.sub('N', point)}"
            for verdict, point in verdicts
            if verdict != "ok"
        ]
        failed += [] if _END in output else ["it came to no end"]
        self.points[name] = frozenset(passed)
        return suites.Ran(ran.status, len(passed), tuple(failed))


class Updated(Plain):
    """The same with a release in the place of the server, updated all the while."""

    kind = "updated"

    def __init__(self, slow: bool, plain: Plain) -> None:
        super().__init__(slow)
        self._plain = plain
        server = self.place / "src/redis-server"
        server.unlink()
        command = shlex.join([*scenarios.KITSUNE, "run", str(releases.release(releases.NEW))])
        server.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        server.chmod(0o755)

    def _on_one_server(self, names: Sequence[str]) -> dict[str, suites.Ran]:
        with contextlib.ExitStack() as stack:
            old = Path(releases.release(releases.OLD))
            directory, port, pid, _ = stack.enter_context(releases.running(old, *ALLOWED))
            first = [Path(releases.release(releases.NEW))]
            updates = suites.Updates(directory / "run", AGAIN, BETWEEN_S, first)
            stack.enter_context(updates)
            found = self._against(names, port)
            failed: tuple[str, ...] = ()
            if scenarios.has_ended(pid):
                log = shutil.copy(directory / f"server/log.{port}", self.place / "server.log")
                failed = (f"it has ended: see {log}",)
        ran = suites.Ran(len(failed), 1 - len(failed), failed, updates=updates)
        return found | {SERVER: ran}

    def _own(self, name: str) -> suites.Ran:
        runtime = self.place / "run" / name.replace("/", "-")
        runtime.mkdir(mode=0o700, parents=True)
        with suites.Updates(runtime, AGAIN, BETWEEN_S) as updates:
            ran = self.tried(name, [], "env", f"KITSUNE_RUNTIME_DIR={runtime}")
        return dataclasses.replace(ran, updates=updates)

    def _run(self, name: str, server: Sequence[str], *before: str) -> suites.Ran:
        ran = super()._run(name, server, *before)
        missing = self._plain.points[name] - self.points[name]
        lost = tuple(f"passes on a plain server: {point}" for point in sorted(missing))
        return dataclasses.replace(ran, failed=ran.failed + lost)


def _again() -> tuple[Path, Path]:
    there, new = Path(releases.release(releases.SAME)), Path(releases.release(releases.NEW))
    return there, there.parents[1] / "@back" / releases.SAME / releases.NEW / new.name


AGAIN = _again()
"""What a server becomes in turn."""
LATER = {
    **dict.fromkeys(ONLY_IF_ALL, "it takes long, or was not tried to its end (--all)"),
    **{f"tests “{name.lstrip('/')}”": "20 seconds to a minute (--all)" for name in SLOW},
    "tests that Redis tags slow": "they take long (--all)",
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
