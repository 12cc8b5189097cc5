"""A test driver of Redis: starts a server, leaves clients amid things, checks each answer.

In: the command that starts the server. Out: a line per answer, and exit status 0 if all were right.
The answers stay right if the server becomes its next version at any moment on the way: `kitsune
test-update` tries that. It speaks RESP itself: a client library would send a command in one piece.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_TIMEOUT_S = 30
_SCRIPT = "return redis.call('incr', KEYS[1]) + tonumber(ARGV[1])"
_LIBRARY = """#!lua name=counting
redis.register_function('twice', function(_, numbers) return 2 * numbers[1] end)
"""
_Answer = str | int | list["_Answer"] | None


def main(arguments: Sequence[str]) -> int:
    """Check the server that `arguments` start; return 0 if every answer was right."""
    with _server(arguments) as path, contextlib.ExitStack() as stack:
        session = _Session(path, stack)
        session.fill()
        session.begin()
        session.read()
        session.finish()
        session.clients[0].send("SHUTDOWN", "NOSAVE")  # a signal could come amid an update
        session.clients[0].answers.read()
    return min(session.failed, 1)


class _Client:
    """A connection."""

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self._socket = stack.enter_context(socket.socket(socket.AF_UNIX))
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.connect(str(path))
        self.answers = stack.enter_context(self._socket.makefile("rb"))

    def send(self, *words: object) -> None:
        self.send_text(_request(*words))

    def send_text(self, text: str) -> None:
        self._socket.sendall(text.encode())

    def answer(self) -> _Answer:
        line = self.answers.readline().decode().rstrip("\r\n")
        kind, rest = line[:1], line[1:]
        if kind == ":":
            return int(rest)
        if kind == "*":
            return None if rest == "-1" else [self.answer() for _ in range(int(rest))]
        if kind == "$":
            return self.answers.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
        return rest if kind == "+" else line


def _request(*words: object) -> str:
    texts = [str(word) for word in words]
    return f"*{len(texts)}\r\n" + "".join(f"${len(text)}\r\n{text}\r\n" for text in texts)


class _Session:
    """What is done with the server."""

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self.failed = 0
        self.clients = [_Client(path, stack) for _ in range(7)]
        self._main, self._half, self._queued, self._watching = self.clients[:4]
        self._blocked, self._reader, self._listener = self.clients[4:]

    def _see(self, what: str, found: _Answer, wanted: _Answer) -> None:
        print(f"{what}: {found!r}")
        if found != wanted:
            self.failed += 1
            print(f"    should be {wanted!r}")

    def _ask(self, wanted: _Answer, *words: object, client: _Client | None = None) -> None:
        client = client or self._main
        client.send(*words)
        self._see(" ".join(map(str, words[:2])), client.answer(), wanted)

    def fill(self) -> None:
        """Make keys of all types, small and large ones."""
        self._ask("OK", "SET", "string", "text")
        self._ask("OK", "SET", "expires", "soon", "EX", 1000)
        for size in (3, 400):
            members = [f"member {number}" for number in range(size)]
            pairs = [word for number in range(size) for word in (f"field {number}", number)]
            scored = [word for number in range(size) for word in (number, f"member {number}")]
            self._ask(size, "RPUSH", f"list {size}", *members)
            self._ask(size, "SADD", f"set {size}", *members)
            self._ask(size, "HSET", f"hash {size}", *pairs)
            self._ask(size, "ZADD", f"sorted {size}", *scored)
        self._ask("1-1", "XADD", "stream", "1-1", "number", 1)
        self._ask("OK", "XGROUP", "CREATE", "stream", "group", "$")

    def begin(self) -> None:
        """Leave each client in the middle of something."""
        pipeline = _request("SET", "half", "sent") + _request("APPEND", "half", " and the rest")
        self._half.send_text(pipeline[:-12])
        self._see("the first of a pipeline", self._half.answer(), "OK")
        self._ask("OK", "MULTI", client=self._queued)
        self._ask("QUEUED", "INCR", "queued", client=self._queued)
        self._ask("OK", "WATCH", "watched", client=self._watching)
        self._ask("OK", "MULTI", client=self._watching)
        self._ask("QUEUED", "SET", "watched", "mine", client=self._watching)
        self._blocked.send("BLPOP", "later", 0)
        group = ("XREADGROUP", "GROUP", "group", "me", "BLOCK", 0)
        self._reader.send(*group, "STREAMS", "stream", ">")
        self._ask(["subscribe", "news", 1], "SUBSCRIBE", "news", client=self._listener)
        self._main.send("SCRIPT", "LOAD", _SCRIPT)
        self._digest = self._main.answer()
        self._ask("counting", "FUNCTION", "LOAD", _LIBRARY)
        self._ask(8, "EVALSHA", self._digest, 1, "counter", 7)

    def read(self) -> None:
        """Read what was made."""
        self._ask("text", "GET", "string")
        for size in (3, 400):
            last = f"member {size - 1}"
            self._ask([last], "LRANGE", f"list {size}", -1, -1)
            self._ask([1, 0], "SMISMEMBER", f"set {size}", last, "none")
            self._ask(str(size - 1), "HGET", f"hash {size}", f"field {size - 1}")
            self._ask([last, str(size - 1)], "ZRANGE", f"sorted {size}", -1, -1, "WITHSCORES")
        self._ask(0, "UNLINK", "none")
        self._ask(1, "UNLINK", "set 400")  # freed by a thread
        self._ask(1, "PERSIST", "expires")
        self._ask(-1, "TTL", "expires")

    def finish(self) -> None:
        """Bring to its end what was begun."""
        self._half.send_text(_request("APPEND", "half", " and the rest")[-12:])
        self._see("the second of it", self._half.answer(), 17)
        self._ask("QUEUED", "GET", "half", client=self._queued)
        self._ask([1, "sent and the rest"], "EXEC", client=self._queued)
        self._ask("OK", "SET", "watched", "another's")
        self._ask(None, "EXEC", client=self._watching)
        self._ask(1, "RPUSH", "later", "it")
        self._see("what was waited for", self._blocked.answer(), ["later", "it"])
        self._ask("2-1", "XADD", "stream", "2-1", "number", 2)
        entry: _Answer = [["stream", [["2-1", ["number", "2"]]]]]
        self._see("what a group waited for", self._reader.answer(), entry)
        self._ask(1, "PUBLISH", "news", "one")
        self._see("what was heard", self._listener.answer(), ["message", "news", "one"])
        self._ask(9, "EVALSHA", self._digest, 1, "counter", 7)
        self._ask(3, "EVAL", "return #ARGV[1]", 0, "new")
        self._ask(42, "FCALL", "twice", 0, 21)


@contextlib.contextmanager
def _server(command: Sequence[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="redis-") as place:
        path = Path(place) / "socket"
        options = ("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", place)
        server = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        try:
            _wait_for(server, path)
            yield path
        finally:
            try:
                server.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_for(server: subprocess.Popen[bytes], path: Path) -> None:
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(0.02)
    sys.exit("the server did not start")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
