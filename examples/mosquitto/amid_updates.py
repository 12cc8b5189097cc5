"""One of mosquitto's tests, with its brokers updated before it sends a packet or waits for one.

In: a test of upstream's, its ports, and what is to be updated to. The brokers are those whose
control sockets are in `$KITSUNE_RUNTIME_DIR`. Out: what became of the updates, as JSON; the exit
status is the test's own. Run by own_tests.py, in the directory of the tests.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import runpy
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import suites

EACH, THEN_EVERY = 20, 25
"""There is an update before so many packets of a test, and then before one in so many."""
BY_HEART = 1888
"""The port that tests fall back to, and that one of them uses whatever port it is told."""


def main() -> None:
    """Run the test; its end is the end of this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--first", action="append", default=[], type=Path, help="what it becomes, once"
    )
    parser.add_argument("--then", action="append", default=[], type=Path, help="then this, in turn")
    parser.add_argument("--outcomes", required=True, type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=600, help="all updates take at most")
    parser.add_argument("test")
    parser.add_argument("ports", nargs=argparse.REMAINDER, help="and what it is told beside them")
    options = parser.parse_args()
    directory = Path(os.environ["KITSUNE_RUNTIME_DIR"])
    updates = suites.Updates(directory, options.then, first=options.first)
    if options.then:
        _update_before_packets(updates, options.seconds)
    _redirect(int(options.ports[0]))
    _amid_updates_too(sys.argv[: sys.argv.index(options.test)])
    sys.argv = [options.test, *options.ports]
    sys.path.insert(0, str(Path.cwd()))
    try:
        runpy.run_path(options.test, run_name="__main__")
    finally:
        text = json.dumps({"outcomes": updates.outcomes, "reasons": updates.reasons})
        with options.outcomes.open("a", encoding="utf-8") as outcomes:
            outcomes.write(text + "\n")


def _update_before_packets(updates: suites.Updates, seconds: float) -> None:
    numbers, took = itertools.count(), 0.0

    def update(sock: socket.socket) -> None:
        nonlocal took
        # Its own requests go through sockets, too: of another family.
        if sock.family == socket.AF_INET and took < seconds:
            number, began = next(numbers), time.monotonic()
            if number < EACH or number % THEN_EVERY == 0:
                updates.update_all()
            took += time.monotonic() - began

    for of_class, name in itertools.product((socket.socket, ssl.SSLSocket), ("send", "recv")):
        setattr(of_class, name, _after(update, getattr(of_class, name)))


def _after(update: Callable[[socket.socket], None], method: Callable[..., Any]) -> Any:
    def with_update(sock: socket.socket, *arguments: Any) -> Any:
        update(sock)
        return method(sock, *arguments)

    return with_update


def _redirect(port: int) -> None:
    """Have connections to the port that is known by heart made to that which was given."""
    connect = socket.socket.connect

    def elsewhere(sock: socket.socket, address: Any) -> None:
        is_by_heart = isinstance(address, tuple) and address[1] == BY_HEART
        connect(sock, (address[0], port) if is_by_heart else address)

    setattr(socket.socket, "connect", elsewhere)  # noqa: B010 - mypy allows no assignment


def _amid_updates_too(this: list[str]) -> None:
    """Have scripts that the test runs run in the same way, and their failure be the test's."""
    run = subprocess.run

    def run_too(command: list[str], **how: Any) -> Any:
        if command[0].endswith(".py"):
            command, how["check"] = [sys.executable, *this, *command], True
        return run(command, **how)

    setattr(subprocess, "run", run_too)  # noqa: B010 - mypy allows no assignment


if __name__ == "__main__":
    main()
