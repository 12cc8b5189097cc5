"""Clients that keep a key-value server busy, check every answer and note how long each took.

In: a port and the keys that are there. Out: per phase, how many requests were sent, how many failed
and the longest that a client waited. Used by demo.py and by the tests. Each client is a process of
its own, so that one's work does not look like another's pause.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from ctypes import c_int, c_longlong
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

MAX_PHASES = 256
_SPAWN = multiprocessing.get_context("spawn")


def key_of(number: int) -> str:
    """Return the name of the `number`-th key."""
    return f"key:{number}"


def value_of(number: int) -> bytes:
    """Return the value of the `number`-th key, as loaded."""
    return f"value-{number * 2654435761 % 4294967296:08x}".encode()


def load(port: int, count: int, progress: Callable[[int], None]) -> None:
    """Set `count` keys, in pipelines of a few thousand."""
    with redis.Redis(port=port, protocol=2) as client:
        for first in range(0, count, 5000):
            last = min(first + 5000, count)
            pipe = client.pipeline(transaction=False)
            for number in range(first, last):
                pipe.set(key_of(number), value_of(number))
            pipe.execute()
            progress(last)


def wrong_values(port: int, count: int) -> int:
    """Return how many of the loaded keys have not the value that they were given."""
    wrong = 0
    with redis.Redis(port=port, protocol=2) as client:
        for first in range(0, count, 5000):
            numbers = range(first, min(first + 5000, count))
            found = client.mget([key_of(number) for number in numbers])
            wrong += sum(
                got != value_of(number) for got, number in zip(found, numbers, strict=True)
            )
    return wrong


@dataclass(frozen=True, slots=True)
class Phase:
    """What all clients together saw of a stretch of time."""

    sent: int
    failed: int
    longest_wait_ns: int


class Traffic:
    """Client processes, as a context: started on entry, stopped on exit."""

    def __init__(self, port: int, keys: int, clients: int = 4) -> None:
        self._phase: Synchronized[int] = _SPAWN.Value(c_int, 0)
        self._stopping: Synchronized[int] = _SPAWN.Value(c_int, 0)
        self._complaints: Any = _SPAWN.SimpleQueue()
        self._counts = [_SPAWN.Array(c_longlong, 3 * MAX_PHASES) for _ in range(clients)]
        self._processes = [
            _SPAWN.Process(
                target=_client_main,
                args=(
                    port,
                    keys,
                    index,
                    _Wires(self._phase, self._stopping, counts, self._complaints),
                ),
                daemon=True,
            )
            for index, counts in enumerate(self._counts)
        ]

    def __enter__(self) -> Traffic:
        for process in self._processes:
            process.start()
        self.wait_for_requests(100)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.value = 1
        for process in self._processes:
            process.join(10)
            process.kill()

    def next_phase(self) -> int:
        """Begin a phase and return its number; a request counts where it ends."""
        self._phase.value += 1
        return int(self._phase.value)

    def wait_for_requests(self, count: int, timeout_s: float = 30) -> None:
        """Wait until every client has sent `count` requests in this phase.

        Raises `TimeoutError` if one does not.
        """
        index = 3 * int(self._phase.value)
        deadline = time.monotonic() + timeout_s
        while any(counts[index] < count for counts in self._counts):
            if time.monotonic() > deadline:
                raise TimeoutError(f"a client is not served: {'; '.join(self.complaints())}")
            time.sleep(0.005)

    def seen(self, phase: int) -> Phase:
        """Return what was seen of a phase."""
        at = 3 * phase
        return Phase(
            sum(counts[at] for counts in self._counts),
            sum(counts[at + 1] for counts in self._counts),
            max(counts[at + 2] for counts in self._counts),
        )

    def total(self) -> Phase:
        """Return what was seen of all phases together."""
        phases = [self.seen(phase) for phase in range(int(self._phase.value) + 1)]
        return Phase(
            sum(phase.sent for phase in phases),
            sum(phase.failed for phase in phases),
            max(phase.longest_wait_ns for phase in phases),
        )

    def complaints(self) -> list[str]:
        """Return what failed, in words, since this was last asked."""
        found = []
        while not self._complaints.empty():
            found.append(str(self._complaints.get()))
        return found


@dataclass(frozen=True, slots=True)
class _Wires:
    """What a client process shares with the one that started it."""

    phase: Synchronized[int]
    stopping: Synchronized[int]
    counts: Any
    complaints: Any


def _requests(keys: int, index: int) -> Iterator[tuple[tuple[str | bytes, ...], object]]:
    """Yield commands without end, each with the answer that it must get."""
    chance = random.Random(index)
    counter, own = f"counter:{index}", f"own:{index}"
    for count in itertools.count(1):
        number = chance.randrange(keys)
        text = f"{index}-{count}".encode() * chance.randrange(1, 200)
        yield ("GET", key_of(number)), value_of(number)
        yield ("INCR", counter), count
        yield ("SET", own, text), True
        yield ("GET", own), text
        yield ("MGET", key_of(number), own), [value_of(number), text]


def _client_main(port: int, keys: int, index: int, wires: _Wires) -> None:
    once = Retry(NoBackoff(), 0)  # a request that would succeed only later has failed
    with redis.Redis(port=port, protocol=2, retry=once, socket_timeout=30) as client:
        client.delete(f"counter:{index}")
        shared = wires.counts.get_obj()
        for command, right in _requests(keys, index):
            if wires.stopping.value:
                return
            started = time.monotonic_ns()
            failure = _ask(client, command, right)
            waited = time.monotonic_ns() - started
            at = 3 * int(wires.phase.value)
            shared[at] += 1
            shared[at + 1] += bool(failure)
            shared[at + 2] = max(shared[at + 2], waited)
            if failure:
                wires.complaints.put(f"client {index}: {failure}")
                time.sleep(0.1)


def _ask(client: redis.Redis, command: tuple[str | bytes, ...], right: object) -> str:
    """Return what is wrong with the answer, or an empty text."""
    try:
        answer = client.execute_command(*command)  # type: ignore[no-untyped-call]
    except redis.RedisError as error:
        return f"{type(error).__name__}: {error}"
    return "" if answer == right else f"wrong answer to {command[0]!r}: {answer!r:.60}"
