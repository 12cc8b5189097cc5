"""Numbered bytes through circuits, there and back, and a server at their end that echoes them.

In: connections. Out: how much went through, and what came out otherwise than it went in.
Callers: scenario.py, check.py.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from types import TracebackType

CHUNK_WORDS = 512
CHUNK_BYTES = 8 * CHUNK_WORDS
AHEAD = 8
"""Chunks that are on their way at any moment: an update finds cells in every queue."""
PACE_S = 0.005
"""Between two of them, if it were for one stream alone."""
TIMEOUT_S = 120


class Echo:
    """A server on 127.0.0.1 that sends back what it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=_echo, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        self._listener.close()


def _echo(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        while data := connection.recv(65536):
            connection.sendall(data)


class Stream:
    """Sends numbers, always some chunks ahead, and compares what comes back."""

    def __init__(self, name: str, connection: socket.socket, beside: int = 0) -> None:
        """So many others beside it go through the same circuit, which they share."""
        self.name = name
        self.complaints: list[str] = []
        self.received = 0
        """Chunks that came back as they were sent."""
        self.longest_s = 0.0
        """The longest time between two of them."""
        self._connection = connection
        self._connection.settimeout(TIMEOUT_S)
        self._pace_s = PACE_S * (1 + beside)
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()

    def _run(self) -> None:
        try:
            sent = 0
            last = time.monotonic()
            while not self._stop or self.received < sent:
                while sent < self.received + AHEAD and not self._stop:
                    self._connection.sendall(_chunk(sent))
                    sent += 1
                if self.received < sent:
                    self._take(_chunk(self.received))
                time.sleep(self._pace_s)
                now = time.monotonic()
                self.longest_s = max(self.longest_s, now - last)
                last = now
        except (OSError, EOFError) as error:
            self.complaints.append(f"{self.name}, after {self.received} chunks: {error!r}")

    def _take(self, expected: bytes) -> None:
        got = b""
        while len(got) < len(expected):
            more = self._connection.recv(len(expected) - len(got))
            if not more:
                raise EOFError(f"the stream was closed amid chunk {self.received}")
            got += more
        if got != expected:
            self.complaints.append(f"{self.name}: chunk {self.received} is another one")
        self.received += 1

    def wait_for(self, chunks: int) -> None:
        """Wait until so many more came back, or something is wrong."""
        until = self.received + chunks
        while self.received < until and not self.complaints and self._thread.is_alive():
            time.sleep(0.01)

    def finish(self) -> None:
        """Send no more; return when all that was sent is back."""
        self._stop = True
        self._thread.join(TIMEOUT_S)
        if self._thread.is_alive():
            self.complaints.append(f"{self.name}: what was sent did not come back")
        self._connection.close()


def _chunk(number: int) -> bytes:
    first = number * CHUNK_WORDS
    return struct.pack(f"<{CHUNK_WORDS}Q", *range(first, first + CHUNK_WORDS))
