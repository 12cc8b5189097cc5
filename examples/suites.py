"""Programs' own tests, run on the plain build and on a release that is updated meanwhile.

In: names of tests and the commands that run them, releases. Out: what came of each test, and how
many updates its servers went through. Used by the own_tests.py of the examples.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

import scenarios

_TEST_TIMEOUT_S = 900
_REQUEST_TIMEOUT_S = 120
_LIMIT_MS, _WAIT_MS = 20_000, 5_000
_ENDING_S = 10
_ENDED = "of a server that ended"
_FULL = "refused for want of descriptors"
_HARMLESS = frozenset({"updated", "withdrawn", "refused K361", _FULL, _ENDED})
"""What may become of one: a test keeps a thread busy, uses up descriptors, ends its server."""
_OF_AN_END = frozenset({"error", "rolled-back K358"})
"""What becomes of one if the server was told to end before, and has not come to that yet."""
_POINT = re.compile(r"^\s*(not ok|ok) \d+(?: - (.*))?$", re.MULTILINE)
_SKIPPED = re.compile(r"^1\.\.0 # SKIP (.*)$", re.MULTILINE)


@dataclass(slots=True)
class Updates:
    """Updates each server that appears in a runtime directory, again and again.

    How many updates there were is in the file `updates` there, for tests that wait for the next.
    """

    directory: Path
    releases: Sequence[Path]
    """What a server becomes, in turn: from the last of them the first can be reached."""
    between_s: float = 0
    first: Sequence[Path] = ()
    """What it becomes before, once each."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How many requests came to which end; with the code of a failure."""
    reasons: list[str] = field(default_factory=list)
    """Of those that came to an end that is not to be expected."""
    _made: Counter[Path] = field(default_factory=Counter)
    _ends: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        assert self._thread is not None
        self._thread.join()

    @property
    def made(self) -> int:
        """Return how many updates there were."""
        return self.outcomes["updated"]

    def _run(self) -> None:
        pause_s = 0.01  # many a test is over in no time
        while not self._ends.wait(pause_s):
            pause_s = self.between_s if self.update_all() else 0.01

    def update_all(self) -> int:
        """Update each server that is there, once; return how many there are."""
        servers = sorted(self.directory.glob("*.sock"))
        for path in servers:
            self._update(path)
        return len(servers)

    def _update(self, path: Path) -> None:
        made = self._made[path]
        again = self.releases[(made - len(self.first)) % len(self.releases)]
        release = self.first[made] if made < len(self.first) else again
        answer = _request(path, f"update {quote(str(release))} {_LIMIT_MS} {_WAIT_MS}")
        outcome = str(answer["outcome"])
        if outcome in ("refused", "rolled-back", "rejected"):
            outcome += f" {answer['code']}"
        if outcome == "refused K366" and os.strerror(errno.EMFILE) in str(answer["reason"]):
            outcome = _FULL
        if outcome in _OF_AN_END and _ends(int(path.stem)):
            outcome = _ENDED
        self._made[path] += outcome == "updated"
        self.outcomes[outcome] += 1
        _write_whole(self.directory / "updates", str(self.made))
        if outcome not in _HARMLESS:
            self.reasons.append(f"{outcome}: {answer.get('reason')}")


def _request(path: Path, line: str) -> dict[str, object]:
    """Ask the server with this control socket; return its last answer."""
    with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as control:
        control.settimeout(_REQUEST_TIMEOUT_S)
        control.connect(str(path))
        control.sendall(f"{line}\n".encode())
        for answered in control.makefile("r", encoding="utf-8"):
            answer: dict[str, object] = json.loads(answered)
            if answer.get("event") == "done":
                return answer
    return {"outcome": _ENDED}


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody reads a part of it."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="ascii")
    new.replace(path)


def _ends(pid: int) -> bool:
    """Tell whether a process ends, if it has some seconds for it."""
    deadline = time.monotonic() + _ENDING_S
    while not scenarios.has_ended(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a test."""

    status: int
    """Its exit status; below 0: it had to be ended."""
    passed: int
    failed: tuple[str, ...]
    """Its points, as it prints them (in TAP), and what it says of those that failed."""
    skipped: str = ""
    """Why the test has left all out, as it says itself."""
    updates: Updates | None = None

    def same(self, other: Ran) -> bool:
        """Tell whether the same came of another run, whatever updates there were.

        A test that is short of points fails by itself, unless their number is left to chance.
        """
        return (self.status, self.failed) == (other.status, other.failed)

    def __str__(self) -> str:
        points = f"{self.passed} points passed" + "".join(f", not: {each}" for each in self.failed)
        return points if self.status == 0 else f"{points}, exit status {self.status}"


def run(command: Sequence[str], directory: Path, log: Path) -> Ran:
    """Run a test in a directory; what it prints goes to the log."""
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            status = process.wait(_TEST_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = min(process.wait(), -1)
    text = log.read_text(encoding="utf-8", errors="replace")
    points, skipped = _POINT.findall(text), _SKIPPED.search(text)
    failed = tuple(name for verdict, name in points if verdict == "not ok")
    return Ran(status, len(points) - len(failed), failed, skipped[1] if skipped else "")


def log(example: Path, name: str, place: Path) -> Path:
    """Return where what a test prints in a place is kept, below the example."""
    kept = example / "build/own_tests" / place.name
    kept.mkdir(parents=True, exist_ok=True)
    return kept / f"{name}.log"


def up_to(tries: int, one: Callable[[int], Ran]) -> Ran:
    """Run a test that may fail by chance, until it passes, or so often."""
    for left in reversed(range(1, tries)):
        if (ran := one(left)).status == 0:
            return ran
    return one(0)


def run_all(tests: Sequence[str], jobs: int, one: Callable[[str], Ran]) -> dict[str, Ran]:
    """Run tests, so many at once; say of each when it is over."""

    def told(name: str) -> Ran:
        began = time.monotonic()
        ran = one(name)
        updates = "" if ran.updates is None else f", {ran.updates.made} updates"
        print(f"  {name}: {ran}{updates} ({time.monotonic() - began:.1f} s)", flush=True)
        return ran

    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(tests, pool.map(told, tests), strict=True))


def tell(plain: Mapping[str, Ran], updated: Mapping[str, Ran], left_out: Mapping[str, str]) -> int:
    """Print what came of the tests; return 1 if something else came of one with updates."""
    print()
    for name, reason in left_out.items():
        print(f"{name}: not run: {reason}")
    for name, ran in plain.items():
        if ran.skipped:
            print(f"{name}: leaves itself out: {ran.skipped}")
        elif ran.status != 0:
            print(f"{name}: fails on the plain build: {ran}")
    lost = list(_lost(plain, updated))
    outcomes: Counter[str] = Counter()
    for ran in updated.values():
        outcomes += ran.updates.outcomes if ran.updates is not None else Counter()
    count, points = len(plain), sum(ran.passed for ran in plain.values())
    same = sum(plain[name].same(updated[name]) for name in plain)
    print(f"{count} tests with {points} points that pass; with updates the same of {same}")
    print("requests: " + ", ".join(f"{times} {what}" for what, times in sorted(outcomes.items())))
    for line in lost:
        print(f"LOST: {line}")
    return 1 if lost else 0


def figures(
    plain: Mapping[str, Ran], updated: Mapping[str, Ran], left_out: dict[str, str]
) -> scenarios.OwnTests:
    """Return what came of the tests, for the page on the programs."""
    return scenarios.OwnTests(
        tests=len(plain),
        passed=sum(ran.passed for ran in plain.values()),
        same=sum(ran.same(updated[name]) for name, ran in plain.items()),
        updates=sum(ran.updates.made for ran in updated.values() if ran.updates is not None),
        left_out=left_out,
    )


def _lost(plain: Mapping[str, Ran], updated: Mapping[str, Ran]) -> Iterator[str]:
    for name, ran in updated.items():
        if not plain[name].same(ran):
            yield f"{name}: plain {plain[name]}; with updates {ran}"
        if ran.updates is not None and not ran.skipped:
            if ran.updates.made == 0:
                yield f"{name}: there was no update: {dict(ran.updates.outcomes)}"
            for reason in ran.updates.reasons:
                yield f"{name}: {reason}"
