"""What an operator sees of a running program: its status, the changes of that, its log."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PATIENCE_S = 60
STATUS = [sys.executable, "-m", "kitsune_tool.cli", "status"]


@pytest.fixture
def scenario(built: Callable[..., Any]) -> Any:
    return built(HERE / "idle")


def running(server: Any) -> Any:
    """Wait until the server is in its loop."""
    server.ask("add 1")
    return server


def status_of(server: Any) -> dict[str, Any]:
    done = subprocess.run(
        [*STATUS, "--json", str(server.pid)],
        env=server.environment(), capture_output=True, text=True, check=True, timeout=PATIENCE_S,
    )  # fmt: skip
    (program,) = json.loads(done.stdout)["programs"]
    return dict(program)


def test_status_tells_threads_images_and_memory(scenario: Any, start: Callable[..., Any]) -> None:
    server = running(start(scenario.release("1")))
    (thread,) = status_of(server)["threads"]
    assert (thread["tid"], thread["state"]) == (server.pid, "sleeping")
    assert "point" not in thread
    assert server.update(scenario.release("2")).committed
    server.ask("list")
    program = status_of(server)
    assert program["thread_count"] == 1
    assert program["threads"][0]["point"] == "serve"
    assert abs(program["threads"][0]["seen"] - time.time()) < 3600
    assert program["images"][0]["version"] == "2"
    assert program["images"][0]["file"] == str(scenario.release("2"))
    assert program["images"][0]["build_id"] == program["build_id"]
    assert program["memory"]["resident_kb"] > program["memory"]["own_kb"] > 0


class Watcher:
    """`kitsune status --watch`, whose output is read as it comes."""

    def __init__(self, server: Any, output: int, source: int) -> None:
        self._source = source
        self.text = ""
        # What starts the tests may have ^C ignored, which is inherited.
        command = [
            "env",
            "--default-signal=INT",
            *STATUS,
            "--watch",
            "--interval-ms",
            "20",
            str(server.pid),
        ]
        self.process = subprocess.Popen(command, env=server.environment(), stdout=output)
        os.close(output)

    def until(self, text: str) -> None:
        """Read until `text` was printed."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.text:
            ready = select.select([self._source], [], [], deadline - time.monotonic())[0]
            assert ready, self.text
            with contextlib.suppress(OSError):  # of a terminal that nobody has open any more
                self.text += os.read(self._source, 65536).decode(errors="replace")
            assert self.process.poll() is None, self.text

    def interrupt(self) -> int:
        """End it as ^C does; return its exit status."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(PATIENCE_S)
        os.close(self._source)
        return status


def test_changes_are_printed_until_interrupted(scenario: Any, start: Callable[..., Any]) -> None:
    server = running(start(scenario.release("1")))
    source, output = os.pipe()
    watcher = Watcher(server, output, source)
    watcher.until(f"scenario ({server.pid}): version 1 since ")
    assert server.update(scenario.release("2")).committed
    watcher.until("1 → 2: updated, ")
    assert "\x1b" not in watcher.text
    assert watcher.interrupt() == 0


def test_a_terminal_shows_a_view(scenario: Any, start: Callable[..., Any]) -> None:
    server = running(start(scenario.release("1")))
    master, slave = pty.openpty()
    watcher = Watcher(server, slave, master)
    watcher.until("version 1 since ")
    assert server.update(scenario.release("2")).committed
    watcher.until("version 2 since ")
    assert "\x1b[H" in watcher.text
    assert watcher.interrupt() == 0


# -- the log -------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "journal"))
        receiver.settimeout(PATIENCE_S)
        yield receiver


def entry(receiver: socket.socket) -> dict[str, str]:
    """Read an entry as systemd-journald does: a line per field, of which the name has a form."""
    fields = {}
    for line in receiver.recv(65536).decode().splitlines():
        name, equals, value = line.partition("=")
        assert equals, line
        assert name.isascii(), line
        assert name.replace("_", "").isalnum() and name == name.upper() and name[0] != "_", line
        fields[name] = value
    return fields


def test_the_journal_gets_fields(
    scenario: Any, start: Callable[..., Any], journal: socket.socket, tmp_path: Path
) -> None:
    server = running(start(scenario.release("1"), KITSUNE_LOG=f"journal:{tmp_path / 'journal'}"))
    assert server.update(scenario.release("2")).committed
    fields = entry(journal)
    assert fields["MESSAGE"].startswith("scenario 1 became 2: ")
    assert (fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"]) == ("5", "scenario")
    assert (fields["KITSUNE_EVENT"], fields["KITSUNE_FROM"], fields["KITSUNE_TO"]) == (
        "updated",
        "1",
        "2",
    )
    assert int(fields["KITSUNE_PAUSE_NS"]) > 0
    assert server.errors() == ""


@pytest.mark.parametrize("socket_is", ["missing", "full"])
def test_a_journal_that_takes_nothing_does_not_hold_the_program_up(
    socket_is: str, scenario: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        if socket_is == "full":
            receiver.bind(str(path))
            fill(path)
        server = running(start(scenario.release("1"), KITSUNE_LOG=f"journal:{path}"))
        assert server.update(scenario.release("2")).committed
        assert server.ask("list") == "1 0"


def fill(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.sendto(b"x", str(path))


@pytest.mark.parametrize("form", ["json", "keys"])
def test_a_log_file_has_one_line_per_event_in_the_chosen_form(
    form: str, scenario: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    server = running(start(scenario.release("1"), KITSUNE_LOG=str(log), KITSUNE_LOG_FORMAT=form))
    assert server.update(scenario.release("2")).committed
    line = log.read_text().splitlines()[0]
    if form == "json":
        facts = json.loads(line)
    else:
        found = subprocess.run(
            ["sh", "-c", f"for word in {line.replace('$', '')}; do echo \"$word\"; done"],
            capture_output=True, text=True, check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        facts = dict(word.split("=", 1) for word in found.stdout.splitlines())
    assert (facts["event"], facts["from"], facts["to"]) == ("updated", "1", "2")
    assert facts["program"] == "scenario"
    assert int(facts["pid"]) == server.pid
    assert facts["message"].startswith("scenario 1 became 2: ")
    assert abs(float(facts["time"]) - time.time()) < 3600
