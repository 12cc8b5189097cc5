"""The clients that ask a program while it fails: nobody may take for its what they leave behind."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from failures.live import Load

TAKEN_DOWN_AFTER_S = 0.05


class _Late(socketserver.StreamRequestHandler):
    """Counts as the program does; ends a connection a while after its client has."""

    server: _Server

    def handle(self) -> None:
        with self.server.held:
            for number, _ in enumerate(self.rfile, start=1):
                self.wfile.write(b"%d\n" % number)
            time.sleep(TAKEN_DOWN_AFTER_S)


class _Held:
    """How many connections there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def __enter__(self) -> None:
        self._add(1)

    def __exit__(self, *_: object) -> None:
        self._add(-1)

    def _add(self, number: int) -> None:
        with self._lock:
            self.count += number


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Late)
        self.held = _Held()


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_server_holds_nothing_of_a_client_that_went(server: _Server) -> None:
    _, port = server.server_address[:2]
    with Load([("127.0.0.1", int(port))]) as load:
        for _ in range(3):
            load.await_round()
            with load.paused():
                assert server.held.count == 2
