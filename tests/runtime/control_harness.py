"""Releases that pass control's checks, and a program under control: for the tests of both."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import launcher, seal

RUNTIME = Path(__file__).parents[2] / "runtime"
SOURCES = [path for path in launcher.launcher_sources() if path.name != "main.c"]
INCLUDES = [f"-I{RUNTIME / 'include'}", f"-I{RUNTIME / 'src'}"]
PATIENCE_S = 20.0

RELEASE_C = """
#include "kitsune_abi.h"
const struct kitsune_identity identity
    __attribute__((used, section("{section}"))) = {{
    .magic = {magic}, .abi = {abi}, .size = {size},
    .program = "{program}", .version = "{version}",
    .parent_count = {parent_count}, .parents = {{ {parents} }},
}};
"""


def build_id(number: int) -> str:
    """Return the build-id that these tests give to release `number`, as hex digits."""
    return f"{number:02x}" * 20


@dataclass(frozen=True, slots=True)
class Releases:
    """Makes shared objects with a chosen identity; they hold nothing else."""

    directory: Path

    def make(
        self,
        version: str,
        number: int,
        parents: tuple[int, ...] = (),
        *,
        program: str = "kvd",
        abi: str = "KITSUNE_ABI",
        magic: str = "KITSUNE_MAGIC",
        size: str = "sizeof identity",
        parent_count: int | None = None,
        section: str = "kitsune_identity",
        build: str | None = None,
    ) -> Path:
        """Compile a release; each argument can be set wrongly on purpose."""
        source = self.directory / f"release-{number}.c"
        target = source.with_suffix(".so")
        ids = ["{" + ", ".join([f"0x{parent:02x}"] * 20) + "}" for parent in parents]
        source.write_text(
            RELEASE_C.format(
                section=section,
                magic=magic,
                abi=abi,
                size=size,
                program=program,
                version=version,
                parents=", ".join(ids),
                parent_count=len(parents) if parent_count is None else parent_count,
            )
        )
        build = f"-Wl,--build-id=0x{build_id(number)}" if build is None else build
        run("gcc", "-shared", "-fPIC", INCLUDES[0], build, str(source), "-o", str(target))
        if section == "kitsune_identity":
            seal.seal(target)
        target.chmod(0o755)
        return target


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, timeout=120)


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until `condition` returns something true, and return that."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not in time: {what}")
        time.sleep(0.005)
    return value


def is_alive(pid: int) -> bool:
    """Return whether the process exists and has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@dataclass(slots=True)
class Channel:
    """A client's connection to a control socket."""

    connection: socket.socket
    rest: bytes = b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def answer(self) -> dict[str, Any]:
        """Return the next answer; an empty one if the connection has ended."""
        while b"\n" not in self.rest:
            try:
                got = self.connection.recv(65536)
            except ConnectionResetError:  # it was closed before it had read all that we sent
                got = b""
            if not got:
                return {}
            self.rest += got
        line, _, self.rest = self.rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def answers(self) -> list[dict[str, Any]]:
        """Return the answers up to the last one of a request."""
        answers = [self.answer()]
        while answers[-1] and answers[-1]["event"] != "done":
            answers.append(self.answer())
        return answers

    def ask(self, line: str) -> dict[str, Any]:
        """Send one request and return its last answer."""
        self.send(line.encode() + b"\n")
        return self.answers()[-1]


@dataclass(slots=True)
class Program:
    """A started control_program: commands go in, lines come out."""

    process: subprocess.Popen[str]
    directory: Path
    channels: list[Channel] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self.process.pid

    def line(self) -> str:
        """Return the next line that the program says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def tell(self, command: str) -> None:
        """Give the program a command, without waiting for what it says."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def do(self, command: str) -> str:
        """Give the program a command and return the line that it says."""
        self.tell(command)
        return self.line()

    def number(self, command: str) -> int:
        """Give a command that is answered "word NUMBER" and return the number."""
        return int(self.do(command).split()[1])

    def socket_of(self, pid: int | None = None) -> Path:
        """Return the path of a process' control socket."""
        return self.directory / f"{pid or self.pid}.sock"

    def channel(self, path: Path | None = None) -> Channel:
        """Connect to the control socket; it may be just about to be made."""
        path = path or self.socket_of()

        def attempt() -> socket.socket | None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE_S)
            try:
                connection.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                connection.close()
                return None
            except OSError:
                connection.close()
                raise
            return connection

        self.channels.append(Channel(until(attempt, f"a socket at {path}")))
        return self.channels[-1]

    def ask(self, line: str, path: Path | None = None) -> dict[str, Any]:
        """Send one request on a connection of its own."""
        channel = self.channel(path)
        answer = channel.ask(line)
        channel.connection.close()
        return answer

    def helper(self) -> int:
        """Return the helper's process id."""
        return int(self.ask("status")["helper"])

    def close(self) -> None:
        """End the program, and what it left."""
        for channel in self.channels:
            channel.connection.close()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream and stream.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def control_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server that is linked with control and waking only."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    directory = tmp_path_factory.mktemp("control")
    directory.chmod(0o755)
    target = directory / "control_program"
    flags = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]
    source = Path(__file__).parent / "control_program.c"
    run("gcc", *flags, *INCLUDES, str(source), *map(str, SOURCES), "-o", str(target))
    return target


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    """Where a test makes its releases."""
    return Releases(tmp_path)


StartProgram = Callable[..., Program]


@pytest.fixture
def start(control_program: Path, tmp_path: Path) -> Iterator[StartProgram]:
    """Start control programs; they and their children end with the test."""
    started: list[Program] = []

    def start_program(call: str = "poll", *, wrapper: tuple[str, ...] = (), **env: str) -> Program:
        directory = tmp_path / "run"
        command = [*wrapper, str(control_program), call, "kvd", "1.0", build_id(1)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "KITSUNE_RUNTIME_DIR": str(directory), **env},
            start_new_session=True,
        )
        program = Program(process, directory)
        started.append(program)
        return program

    yield start_program
    for program in started:
        program.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal.SIGKILL)
