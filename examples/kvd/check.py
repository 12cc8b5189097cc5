"""A test driver of the key-value server: starts it, works through its commands, checks each answer.

In: the command that starts the server. Out: a line per answer, and exit status 0 if all were right.
The answers stay right if the server becomes its next version at any moment on the way: `scons
test-update` tries that. It speaks RESP itself, one command at a time: a client library would send a
transaction in one piece.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

_TIMEOUT_S = 30
_SESSION = (
    ("SET greeting hello", "OK"),
    ("APPEND greeting ,world", 11),
    ("MSET one 1 two 2 three 3", "OK"),
    ("INCRBY one 41", 42),
    ("MULTI", "OK"),
    ("INCR one", "QUEUED"),
    ("SET last 9", "QUEUED"),
    ("MGET one last none", "QUEUED"),
    ("EXEC", [43, "OK", ["43", "9", None]]),
    ("MULTI", "OK"),
    ("DEL greeting", "QUEUED"),
    ("DISCARD", "OK"),
    ("GET greeting", "hello,world"),
    ("CLIENT SETNAME checker", "OK"),
    ("CLIENT GETNAME", "checker"),
    ("DEL two three", 2),
    ("EXISTS one two last", 2),
    ("PEXPIRE last 600000", 1),
    ("PERSIST last", 1),
    ("TTL last", -1),
    ("DBSIZE", 3),
)
_Answer = str | int | list["_Answer"] | None


def main(arguments: Sequence[str]) -> int:
    """Check the server that `arguments` start; return 0 if every answer was right."""
    failed = 0
    with _server(arguments) as port, socket.create_connection(("127.0.0.1", port), 30) as client:
        answers = client.makefile("rb")
        for command, wanted in _SESSION:
            client.sendall(f"{command}\r\n".encode())
            found = _answer(answers)
            print(f"{command}: {found!r}")
            if found != wanted:
                failed += 1
                print(f"    should be {wanted!r}")
        client.sendall(b"SHUTDOWN\r\n")  # a signal could come in the middle of an update
        answers.read()
    return min(failed, 1)


def _answer(answers: BinaryIO) -> _Answer:
    line = answers.readline().decode().rstrip("\r\n")
    kind, rest = line[:1], line[1:]
    if kind == ":":
        return int(rest)
    if kind == "*":
        return [_answer(answers) for _ in range(int(rest))]
    if kind == "$":
        return answers.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
    return rest if kind == "+" else line


@contextlib.contextmanager
def _server(command: Sequence[str]) -> Iterator[int]:
    server = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        ready = re.search(r"ready on port (\d+)", server.stdout.readline())
        if ready is None:
            sys.exit("the server did not start")
        yield int(ready[1])
    finally:
        try:
            server.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
