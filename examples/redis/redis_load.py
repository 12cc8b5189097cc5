"""What Redis's clients do: keys of all types, traffic without pause, and everything half done.

In: a port. Out: what the clients see. Used by scenario.py.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

_BATCH = 5000
_SMALL, _LARGE = 6, 200
"""Members of most collections, and of one in a hundred, which Redis keeps in another encoding."""
_KEPT = 100
"""Members of a set that traffic changes."""
SCRIPT = "return redis.call('incr', KEYS[1]) + tonumber(ARGV[1])"
LIBRARY = """#!lua name=counting
local function twice(keys, arguments) return 2 * tonumber(arguments[1]) end
redis.register_function('twice', twice)
"""


def connect(port: int, timeout_s: float = 60) -> Any:
    """Return a client; what a command answers has no type that could be told."""
    return redis.Redis(port=port, socket_timeout=timeout_s)


def fill(port: int, keys: int) -> None:
    """Make so many keys, of all types."""
    client = connect(port)
    pipeline = client.pipeline(transaction=False)
    for number in range(keys):
        _add(pipeline, number)
        if number % _BATCH == _BATCH - 1:
            pipeline.execute()
    pipeline.execute()
    client.close()


def _add(pipeline: Any, number: int) -> None:
    members = _LARGE if number // 10 % 100 == 0 else number // 10 % _SMALL + 1
    match number % 10:
        case 0 | 1 | 2 | 3:
            pipeline.set(f"string:{number}", f"value of {number}")
        case 4:
            pipeline.set(f"expires:{number}", number, ex=86400)
        case 5:
            pipeline.rpush(f"list:{number}", *range(members))
        case 6:
            pipeline.sadd(f"set:{number}", *(f"member {each}" for each in range(members)))
        case 7:
            pipeline.zadd(f"sorted:{number}", {f"member {each}": each for each in range(members)})
        case 8:
            pipeline.hset(f"hash:{number}", mapping={f"field {n}": n for n in range(members)})
            pipeline.hexpire(f"hash:{number}", 86400, "field 0")
        case _ if number // 10 % 10:
            pipeline.set(f"counter:{number}", number)
        case _:  # Redis reserves 4 KiB for each
            for each in range(members % _SMALL + 1):
                pipeline.xadd(f"stream:{number}", {"number": each}, id=f"{each + 1}-1")


@dataclass(slots=True)
class Traffic:
    """Threads that write and read keys of their own and compare; a context manager."""

    port: int
    threads: int = 2
    sent: int = 0
    longest_s: float = 0.0
    complaints: list[str] = field(default_factory=list)
    _ends: threading.Event = field(default_factory=threading.Event)
    _turns: list[threading.Lock] = field(default_factory=list)
    _running: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Traffic:
        self._turns += [threading.Lock() for _ in range(self.threads)]
        self._running += [
            threading.Thread(target=self._ask, args=(number,)) for number in range(self.threads)
        ]
        for each in self._running:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for each in self._running:
            each.join()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Have the threads wait between two turns."""
        with contextlib.ExitStack() as stack:
            for turn in self._turns:
                stack.enter_context(turn)
            yield

    def wait_for(self, count: int) -> None:
        """Wait until so many more requests have been answered, or one was not."""
        enough, complaints = self.sent + count, len(self.complaints)
        while self.sent < enough and len(self.complaints) == complaints:
            time.sleep(0.01)

    def _ask(self, number: int) -> None:
        try:
            with connect(self.port) as client:
                self._ask_all(client, number)
        except redis.RedisError as error:
            self.complaints.append(f"{type(error).__name__}: {error}")

    def _ask_all(self, client: Any, number: int) -> None:
        turn = 0
        while not self._ends.is_set():
            turn += 1
            with self._turns[number]:
                self._take(client, number, turn)
            time.sleep(0.001)

    def _take(self, client: Any, number: int, turn: int) -> None:
        began = time.monotonic()
        client.set(f"traffic:{number}", turn)
        answer = client.get(f"traffic:{number}")
        added = client.sadd(f"traffic:set:{number}", turn)
        # What they keep must not grow, since the server's memory is compared. Nor is it there when
        # all keys of theirs were deleted meanwhile.
        client.srem(f"traffic:set:{number}", turn - _KEPT)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.sent += 4
        if (int(answer), added) != (turn, 1):
            self.complaints.append(f"turn {turn}: {answer!r}, {added!r}")


class HalfDone:
    """Clients in the middle of something, of which the end comes after the update."""

    def __init__(self, port: int, name: str) -> None:
        self._name = name
        self._clients = [connect(port) for _ in range(5)]
        self._other, self._blocked, self._reader, self._queued, self._watching = self._clients
        self._subscription = self._other.pubsub(ignore_subscribe_messages=True)
        self._subscription.subscribe(f"channel:{name}")
        self._subscription.psubscribe(f"pattern:{name}:*")
        for _ in range(2):
            self._subscription.get_message(timeout=10)
        self._popped: list[Any] = []
        self._waiting = [
            threading.Thread(target=self._pop),
            threading.Thread(target=self._read_group),
        ]
        self._other.xgroup_create(f"queue:{name}", "group", mkstream=True)
        for each in self._waiting:
            each.start()
        while self._other.info("clients")["blocked_clients"] < len(self._waiting):
            time.sleep(0.01)
        self._script = self._other.script_load(SCRIPT)
        self._other.function_load(LIBRARY, replace=True)
        self._transaction = self._queued.connection_pool.get_connection()
        for words in (("MULTI",), ("SET", f"in:{name}", "1"), ("INCR", f"in:{name}")):
            self._send(self._transaction, *words)
        self._guarded = self._watching.connection_pool.get_connection()
        self._send(self._guarded, "WATCH", f"watched:{name}")
        self._send(self._guarded, "MULTI")
        self._send(self._guarded, "SET", f"watched:{name}", "mine")

    @staticmethod
    def _send(connection: Any, *words: str) -> Any:
        connection.send_command(*words)
        return connection.read_response()

    def _pop(self) -> None:
        self._popped.append(self._blocked.blpop([f"later:{self._name}"], timeout=60))

    def _read_group(self) -> None:
        found = self._reader.xreadgroup("group", "c", {f"queue:{self._name}": ">"}, block=60000)
        self._popped.append(found[0][1][0][1])

    def finish(self) -> dict[str, bool]:
        """Bring everything to its end; return whether each came out as it must."""
        other, name = self._other, self._name
        other.rpush(f"later:{name}", "it")
        other.xadd(f"queue:{name}", {"a": "b"})
        for each in self._waiting:
            each.join(20)
        other.publish(f"channel:{name}", "one")
        other.publish(f"pattern:{name}:x", "two")
        heard = [self._subscription.get_message(timeout=10) for _ in range(2)]
        other.set(f"watched:{name}", "another's")
        other.delete("counter")
        seen = {
            "what blocked clients waited for": (f"later:{name}".encode(), b"it") in self._popped
            and {b"a": b"b"} in self._popped,
            "messages of subscriptions": [m and m["data"] for m in heard] == [b"one", b"two"],
            "a transaction that was half queued": self._send(self._transaction, "EXEC")
            == [b"OK", 2],
            "a watched key that was changed": self._send(self._guarded, "EXEC") is None,
            "a script by its digest": other.evalsha(self._script, 1, "counter", 4) == 5,
            "a new script": other.eval("return #redis.call('keys', 'no such')", 0) == 0,
            "a function": other.fcall("twice", 0, 21) == 42,
        }
        for client in self._clients:
            client.close()
        return seen
