"""Redis's own Tcl tests, against a plain 8.0.6 and against a server that is updated all the while.

The second server is started as 8.0.2 and updated to 8.0.6; then, as long as the tests run, to
itself and back, again and again. What passes on the plain server must pass there. Exit status: 0
it does, 1 it does not, 3 it cannot be done here at the moment (no source, no tclsh).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis_releases as releases  # type: ignore[import-not-found]  # mypy finds one example's only
import scenarios  # found, since `redis_releases` has said where

SUITES = (
    *(f"unit/type/{name}" for name in ("string", "incr", "list", "list-2", "list-3", "hash")),
    *(f"unit/type/{name}" for name in ("hash-field-expire", "set", "zset", "stream")),
    "unit/type/stream-cgroups",
    *(f"unit/{name}" for name in ("expire", "multi", "pubsub", "scripting", "functions", "sort")),
    *(f"unit/{name}" for name in ("keyspace", "scan", "dump", "bitops", "hyperloglog", "geo")),
)
RUN_TIMEOUT_S = 3600
BETWEEN_S = 1.0
"""From one update to the next."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_VERDICT = re.compile(r"^\[(ok|err|exception|ignore|skip)\]: (.*?)(?: \(\d+ ms\))?$", re.MULTILINE)
ALLOWED = ("--enable-protected-configs", "yes", "--enable-module-command", "yes")
"""What the tests need beside `DEBUG`."""


@dataclass(slots=True)
class Updates:
    """A thread that updates a server to itself and back; a context manager."""

    pid: int
    answers: list[dict[str, object]] = field(default_factory=list)
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
        there = ("update", str(self.pid), str(releases.release(releases.SAME)))
        back = ("rollback", "--store", str(releases.STORE.parent), str(self.pid))
        while not self._ends.is_set():
            words = back if len(self.answers) % 2 else there
            answer = scenarios.ask(*words)
            if answer.get("outcome") == "withdrawn":
                continue  # a test that keeps the server busy, by a script or by DEBUG SLEEP
            self.answers.append(answer)
            if answer.get("outcome") != "updated":
                return
            self._ends.wait(BETWEEN_S)


def main(arguments: Sequence[str]) -> int:
    """Build, run the tests twice; return the exit status."""
    parser = argparse.ArgumentParser(description="Redis's own tests on a server that is updated")
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    parser.add_argument("suites", nargs="*", default=SUITES, metavar="SUITE", help="unit/type/list")
    parser.set_defaults(cflags="-O2")
    options = scenarios.arguments_of(parser, arguments)
    if shutil.which("tclsh") is None:
        print("redis: tclsh is missing (tcl)", file=sys.stderr)
        return scenarios.NOT_HERE
    status = 0 if options.built else releases.build(options.cflags)
    if status != 0:
        return int(status)
    plain = run_plain(options.suites)
    with releases.running(Path(releases.release(releases.OLD)), *ALLOWED) as (_, port, pid, _):
        first = scenarios.ask("update", str(pid), str(releases.release(releases.NEW)))
        with Updates(pid) as updates:
            updated = run(port, options.suites)
    return tell(plain, updated, [first, *updates.answers])


def run_plain(suites: Sequence[str]) -> dict[str, str]:
    """Run the tests against upstream's own server."""
    command = [str(releases.upstream(releases.NEW))]
    port = scenarios.free_port()
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as place,
        releases.server(command, port, Path(place), *ALLOWED),
    ):
        return run(port, suites)


def run(port: int, suites: Sequence[str]) -> dict[str, str]:
    """Run the tests against a server; return what came of each."""
    print(f"== Redis's own tests on port {port}", flush=True)
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port)]
    for suite in suites:
        command += ["--single", suite]
    done = subprocess.run(
        [*command, "--durable"],
        cwd=releases.source(releases.NEW),
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    output = _COLOUR.sub("", done.stdout)
    found = {name: verdict for verdict, name in _VERDICT.findall(output)}
    if "The End" not in output or not found:
        raise SystemExit(f"the tests did not run to their end:\n{output[-3000:]}{done.stderr}")
    return found


def tell(
    plain: dict[str, str], updated: dict[str, str], answers: Sequence[dict[str, object]]
) -> int:
    """Print what came of the tests; return the exit status."""
    passed = [name for name, verdict in plain.items() if verdict == "ok"]
    lost = [name for name in passed if updated.get(name) != "ok"]
    failed = [answer for answer in answers if answer.get("outcome") != "updated"]
    print(f"\n{len(passed)} of {len(plain)} tests pass on a plain server")
    print(f"{len(passed) - len(lost)} of these on one that was updated {len(answers)} times")
    for name in lost:
        print(f"  LOST: {name} ({updated.get(name, 'not run')})")
    for answer in failed:
        print(f"  LOST: an update: {answer.get('code')}: {answer.get('reason')}")
    return 1 if lost or failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
