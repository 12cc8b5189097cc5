"""What the tests of updates share: a scenario's releases, and a server that becomes them.

In: a folder with a manifest and the sources of its versions. Out: `Scenario` (its releases, built
by SCons as a user would) and `Server` (a process under the launcher that answers lines, see
common/serve.h).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import channel, launcher

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ANSWER_TIMEOUT_S = 30
CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
CROSS_ROOT = "/usr/aarch64-linux-gnu"
_KITSUNE = [sys.executable, "-m", "kitsune_tool.cli"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A built scenario; `directory` is a copy of its folder."""

    directory: Path
    program: str = "scenario"

    def release(self, version: str) -> Path:
        """Return the path of a version's release."""
        return self.directory / "releases" / self.program / version / f"{self.program}.so"

    def report(self, version: str) -> str:
        """Return the readable report of a version's release."""
        return self.release(version).with_name("report.txt").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an update request; `text` is all that was printed."""

    committed: bool
    code: str
    reason: str
    objects: int
    pause_ns: int
    text: str
    types: dict[str, int]
    last: dict[str, Any]


class Server:
    """A release that runs under the launcher, spoken to by lines."""

    def __init__(
        self,
        release: Path,
        directory: Path,
        arguments: Sequence[str] = (),
        command: Sequence[str] = (*_KITSUNE, "run"),
        **variables: str,
    ) -> None:
        self._directory = directory
        self._errors = (directory / "server.err").open("wb+")
        self._process = subprocess.Popen(
            [*command, str(release), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(directory) | variables,
        )
        self._rest = b""
        self.pid = self._process.pid

    def ask(self, line: str) -> str:
        """Send a command and return the lines of its answer, joined by ` | `."""
        self.send(line)
        return " | ".join(self._lines_to_full_stop())

    def send(self, line: str) -> None:
        """Send a command; its answer is left to be read."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def update(self, release: Path, *options: str) -> Answer:
        """Ask for an update and wait for the answer."""
        command = [*_KITSUNE, "update", "--json", *options, str(self.pid), str(release)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=environment(self._directory),
        )
        return answer_of(done)

    def update_now(self, release: Path) -> Answer:
        """The same without the start of a command: for tests that look at times."""
        who = channel.Channel(self._directory / "run", self.pid)
        last = channel.ask(who, ["update", str(release), "0", "10000"], 60)
        return answer_from(last, json.dumps(last))

    def environment(self) -> dict[str, str]:
        """Return the environment of commands that are to find the server."""
        return environment(self._directory)

    def wait(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        return self._process.wait(ANSWER_TIMEOUT_S)

    def is_running(self) -> bool:
        """Tell whether the process that was started is still there."""
        return self._process.poll() is None

    def errors(self) -> str:
        """Return what the server has written to its standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def resident_kb(self) -> int:
        """Return the resident memory that is the process's own."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(text.partition("RssAnon:")[2].split()[0])

    def close_input(self) -> None:
        """Have the server end by itself; what it prints then is still to be read."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def stop(self) -> int:
        """End the server by closing its input; return its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            return self._process.wait(ANSWER_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process.stdout.close()
            self._errors.close()

    def line(self) -> str:
        """Return the next line that it prints."""
        return self._line(time.monotonic() + ANSWER_TIMEOUT_S)

    def _lines_to_full_stop(self) -> Iterator[str]:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while (line := self._line(deadline)) != ".":
            yield line

    def _line(self, deadline: float) -> str:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            ready = select.select([output], [], [], max(0, deadline - time.monotonic()))[0]
            got = os.read(output, 65536) if ready else b""
            if not got:
                what = "ended" if ready else "does not answer"
                raise AssertionError(f"the server {what}:\n{self.errors()}")
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


class KvdServer(Server):
    """A key-value server; `traffic` is the demo's module of clients."""

    def __init__(self, release: Path, directory: Path, **options: Any) -> None:
        super().__init__(release, directory, ("--port", "0"), **options)
        self.port = int(self.line().rpartition(" ")[2])
        self.traffic = importlib.import_module("traffic")

    def stop(self) -> int:
        """End the server by a signal; return its exit status."""
        if self.is_running():
            os.kill(self.pid, signal.SIGTERM)
        return super().stop()


def answer_of(done: subprocess.CompletedProcess[str]) -> Answer:
    """Return the last answer that `kitsune update --json` printed."""
    text = done.stdout + done.stderr
    try:
        last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise AssertionError(f"no answer to the request:\n{text}") from None
    return answer_from(last, text)


def answer_from(last: dict[str, Any], text: str) -> Answer:
    """Return an answer from its JSON object."""
    return Answer(
        last.get("outcome") == "updated",
        str(last.get("code", "")),
        str(last.get("reason", "")),
        int(last.get("objects", 0)),
        int(last.get("pause_ns", 0)),
        text,
        {each["type"]: each["moved"] + each["in_place"] for each in last.get("types", [])},
        last,
    )


def environment(directory: Path) -> dict[str, str]:
    """Return the environment in which everything of a scenario runs."""
    runtime = directory / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {
        **os.environ,
        "KITSUNE_RUNTIME_DIR": str(runtime),
        "KITSUNE_SITE_TOOLS": str(ROOT / "site_scons/site_tools"),
    }


def build(folder: Path, directory: Path, compiler: str = "gcc") -> Scenario:
    """Copy a scenario's folder and build its releases there, wholly by this compiler, behind which
    may stand flags.
    """
    shutil.copytree(folder, directory, dirs_exist_ok=True)
    shutil.copytree(HERE / "common", directory / "common", dirs_exist_ok=True)
    name, _, flags = compiler.partition(" ")
    chosen = {"KITSUNE_TEST_CC": name, "KITSUNE_TEST_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-m", "SCons", "-Q", "-j2", "-f", "common/SConstruct", "release-chain"],
        cwd=directory,
        env=environment(directory) | chosen,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Scenario(directory)


def need_emulator() -> None:
    """Skip the test where no program for AArch64 can be built or run."""
    missing = [name for name in (EMULATOR, CROSS_COMPILER) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if not Path(CROSS_ROOT, "lib/libc.so.6").exists():
        pytest.skip(f"not installed: AArch64's libc in {CROSS_ROOT}")


def emulated(compiler: str) -> list[str]:
    """Return the command that runs a release for AArch64 here."""
    need_emulator()
    return [EMULATOR, "-L", CROSS_ROOT, str(launcher.launcher_path(compiler.split()))]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Scenario]:
    """Return what builds a scenario's folder, once per session, also if it fails."""
    scenarios: dict[tuple[Path, str], Scenario | AssertionError] = {}

    def get(folder: Path, compiler: str = "gcc") -> Scenario:
        if "aarch64" in compiler:
            need_emulator()
        key = (folder, compiler)
        if key not in scenarios:
            try:
                scenarios[key] = build(folder, tmp_path_factory.mktemp(folder.name), compiler)
            except AssertionError as error:
                scenarios[key] = error
        found = scenarios[key]
        if isinstance(found, AssertionError):
            raise found
        return found

    return get


@pytest.fixture
def kvd_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., KvdServer]]:
    """Return what starts a release of the key-value server; it ends with the test."""
    monkeypatch.syspath_prepend(ROOT / "examples/kvd")
    with contextlib.ExitStack() as servers:

        def go(release: Path, compiler: str = "gcc") -> KvdServer:
            options = {"command": emulated(compiler)} if "aarch64" in compiler else {}
            server = KvdServer(release, tmp_path, **options)
            servers.callback(server.stop)
            return server

        yield go


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return what starts a release; the servers end with the test."""
    with contextlib.ExitStack() as servers:

        def go(release: Path, compiler: str = "gcc", **options: Any) -> Server:
            if "aarch64" in compiler:
                options = {"command": emulated(compiler)} | options
            server = Server(release, tmp_path, **options)
            servers.callback(server.stop)
            return server

        yield go
