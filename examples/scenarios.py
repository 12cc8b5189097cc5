"""What the scenarios of the example programs share: builds, requests to a server, results, figures.

In: a program's directory below examples/, with its manifest and SConstruct. Out: what a scenario
prints and, if it is asked for, the figures of its run as JSON for `programs.py`. Whatever goes
wrong outside the update itself ends a scenario by `SystemExit`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml

NOT_HERE = 3
"""Exit status of a scenario that cannot be run here at the moment (no source, no library)."""
KITSUNE = (sys.executable, "-m", "kitsune_tool.cli")
REQUEST_TIMEOUT_S = 300
_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x1 | 0x40
_VARIANT = "+"
"""Stands in the version of what a scenario adds to upstream's versions: same, broken, a field."""


@dataclass(slots=True)
class Result:
    """What an update did, as the server and its clients tell."""

    versions: str
    answer: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def check(self, what: str, seen: int, expected: int) -> None:
        """Note a number, which is a loss if it is not the one that is expected."""
        self.checks[what] = f"{int(seen)} of {expected}"  # `seen` may be a truth
        if seen != expected:
            self.lost.append(f"{what}: {seen} of {expected}")


@dataclass(slots=True)
class Figures:
    """What the page on the programs says of one run; memory in kB of all the server's processes."""

    heap: str
    """How much state there was, in the program's own terms: "20,000 items"."""
    requests: int = 0
    failed: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    """By update, "1.0 to 2.0": how many objects were transformed."""
    pauses_ms: list[float] = field(default_factory=list)
    memory_before_kb: int = 0
    memory_peak_kb: int = 0
    memory_after_kb: int = 0

    def begin(self, pid: int) -> int:
        """Note that an update comes; return how much memory the server has before it."""
        forget_peak(pid)
        before = resident_kb(pid)
        self.memory_before_kb = self.memory_before_kb or before
        return before

    def end(self, pid: int, result: Result) -> None:
        """Note what the update did, and what memory the server needed for it."""
        self.objects[result.versions] = int(result.answer.get("objects", 0))
        if "pause_ns" in result.answer:  # else it never began: whose result it is tells why
            self.pauses_ms.append(result.answer["pause_ns"] / 1e6)
        self.memory_peak_kb = max(self.memory_peak_kb, peak_kb(pid))
        self.memory_after_kb = resident_kb(pid)

    def end_many(
        self, result: Result, pauses_ms: Sequence[float], memory_kb: Sequence[int]
    ) -> None:
        """Note what was seen at each of many updates; that memory grows is a loss."""
        self.add_pauses(result, pauses_ms)
        result.checks["memory"] = (
            f"{_early(memory_kb)} kB after the first ten, {memory_kb[-1]} kB at the end"
        )
        self.memory_after_kb = memory_kb[-1]
        if grows(memory_kb):
            result.lost.append(f"memory grows: {list(memory_kb)}")

    def add_pauses(self, result: Result, pauses_ms: Sequence[float]) -> None:
        """Note how long many updates have stopped the server."""
        self.pauses_ms += pauses_ms
        seen = f"median {median(pauses_ms):.1f} ms, worst {max(pauses_ms):.1f} ms"
        result.checks["pauses"] = seen

    def write(self, path: Path | None) -> None:
        """Write this as JSON, if the scenario was asked to."""
        if path is not None:
            path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


@dataclass(slots=True)
class OwnTests:
    """What came of a program's own tests, as the page on the programs tells it."""

    tests: int
    passed: int
    """Points that pass on a plain build."""
    same: int
    """Tests of which the same came with updates meanwhile."""
    updates: int
    left_out: dict[str, str] = field(default_factory=dict)
    """Tests, or groups of them, that are not run, and why."""

    def write(self, path: Path | None) -> None:
        """Write this as JSON, if the command was asked to."""
        if path is not None:
            path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def arguments_of(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a scenario's arguments, with those that all of them take."""
    parser.add_argument("--cflags", default="-O2 -g", help="the program is compiled with")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="write the figures as JSON")
    return parser.parse_args(arguments)


def build_chain(directory: Path, versions: Sequence[str], cflags: str) -> int:
    """Fetch and build all releases of a program with SCons; return 0, 1 or `NOT_HERE`."""
    name = directory.name
    # Nobody runs what an earlier scenario released; a store never changes what is in it.
    shutil.rmtree(store(directory) / name, ignore_errors=True)
    command = [sys.executable, "-m", "SCons", "-C", str(directory), "-Q", "-s", "-j2"]
    print(f"== fetching and building {name} {', '.join(versions)}", flush=True)
    done = subprocess.run([*command, "release-chain", f"CFLAGS={cflags}"], check=False)
    return done.returncode if done.returncode in (0, NOT_HERE) else 1


def store(directory: Path) -> Path:
    """Return the store in which a program's releases are."""
    return directory / "build/releases"


def release(directory: Path, version: str) -> Path:
    """Return the release of a version in the store of a program."""
    return store(directory) / directory.name / version / f"{directory.name}.so"


def ask(*words: str) -> dict[str, Any]:
    """Run a command of kitsune that answers in JSON; return its answer."""
    done = subprocess.run(
        [*KITSUNE, *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=REQUEST_TIMEOUT_S,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise SystemExit(f"no answer to {words}:\n{done.stdout}{done.stderr}") from None
    return answer


def update(pid: int, to: Path, *options: str) -> dict[str, Any]:
    """Ask a server to become a release; return what became of that."""
    return ask("update", *options, str(pid), str(to))


def go_back(pid: int, directory: Path, *options: str) -> dict[str, Any]:
    """Ask a server of this program to become what it was before; return what became of that."""
    return ask("rollback", *options, "--store", str(store(directory)), str(pid))


def unexpected(answer: dict[str, Any], outcome: str, code: str = "") -> str:
    """Say that an answer has another outcome or code; nothing, if it is as it must be."""
    if (answer.get("outcome"), answer.get("code", "")) == (outcome, code):
        return ""
    return f"the update was to be {outcome} {code}: {answer}"


def expected(answer: dict[str, Any], outcome: str = "updated", code: str = "") -> dict[str, Any]:
    """Return an answer; an unexpected one ends the scenario."""
    if wrong := unexpected(answer, outcome, code):
        raise SystemExit(wrong)
    return answer


def wait_until(is_true: Callable[[], bool], otherwise: str, timeout_s: float = 60) -> None:
    """Wait until something is so; that it never is ends the scenario."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise SystemExit(otherwise)
        time.sleep(0.02)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until somebody listens on a port of 127.0.0.1."""

    def is_open() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        return False

    wait_until(is_open, f"nobody listens on port {port}")


def wait_for_text(path: Path) -> str:
    """Return the text of a file as soon as it has any."""

    def text() -> str:
        with contextlib.suppress(FileNotFoundError):
            return path.read_text(encoding="ascii").strip()
        return ""

    wait_until(lambda: bool(text()), f"the server did not start: there is no {path}")
    return text()


def end_daemon(pid: int) -> None:
    """Ask a daemon to end, and wait until it has; one that does not end is an error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: has_ended(pid), "the server did not end on SIGTERM")


def has_ended(pid: int) -> bool:
    """Tell whether a daemon has ended; it may be that nobody has asked for its status yet."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return True


@contextlib.contextmanager
def withheld(path: Path, ask_to_read: Callable[[], object]) -> Iterator[None]:
    """Have a server read a file whose text does not come before the end of this."""
    text, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    os.mkfifo(path)
    path.chmod(mode)
    ask_to_read()
    opened: list[int] = []

    def is_being_read() -> bool:
        with contextlib.suppress(OSError):  # ENXIO: nobody reads it yet
            opened.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened)

    wait_until(is_being_read, f"nobody reads {path}")
    path.unlink()
    path.write_bytes(text)
    path.chmod(mode)
    try:
        yield
        os.set_blocking(opened[0], True)
        with contextlib.suppress(BrokenPipeError):  # who has ended is missed by others
            os.write(opened[0], text)
    finally:
        os.close(opened[0])


def bring_loopback_up() -> None:
    """Set the one interface of a new network namespace up."""
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


def resident_kb(pid: int) -> int:
    """Return how much memory a process has."""
    return _status_kb(pid, "VmRSS")


def peak_kb(pid: int) -> int:
    """Return the most that a process has had since `forget_peak`."""
    return _status_kb(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Have `peak_kb` begin anew with what the process has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _status_kb(pid: int, line: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{line}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) if found else 0


def grows(memory_kb: Sequence[int]) -> bool:
    """Tell whether memory seen after each of many updates has grown after the first ten."""
    return memory_kb[-1] > _early(memory_kb) * 1.02 + 2048


def _early(memory_kb: Sequence[int]) -> int:
    """Return what was seen after the first ten: by then caches are full, and blocks in use."""
    return memory_kb[min(9, len(memory_kb) - 1)]


def reason(answer: dict[str, Any]) -> str:
    """Return in a line why nothing came of an update; nothing, if something did."""
    return str(answer.get("reason", "")).partition("\n")[0]


def print_results(results: Sequence[Result]) -> None:
    """Print what happened."""
    for result in results:
        answer = result.answer
        pause = f", pause {answer['pause_ns'] / 1e6:.1f} ms" if "pause_ns" in answer else ""
        print(f"\n{result.versions}: {answer.get('objects', 0)} objects transformed{pause}")
        for each in answer.get("types", []):
            print(f"  {each['type']:28}{each['moved']:6} moved {each['in_place']:6} in place")
        for what, seen in result.checks.items():
            print(f"  {what}: {seen}")
        for line in result.lost:
            print(f"  LOST: {line}")


def print_requests(what: str, sent: int, complaints: Sequence[str]) -> None:
    """Print what the clients saw beside the updates."""
    print(f"\n{what}: {sent} sent, {len(complaints)} failed")
    for complaint in complaints[:10]:
        print(f"  FAILED: {complaint}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a program's manifest says for upstream's versions; a scenario's variants left out."""

    annotations: int
    edits: int
    standing_rules: int
    rules: dict[str, int]
    """By version: those for the update to it alone."""
    lines: int
    """That are neither empty nor comments."""

    @property
    def statements(self) -> int:
        """How many things are said."""
        rules = self.standing_rules + sum(self.rules.values())
        return self.annotations + self.edits + rules

    def __str__(self) -> str:
        parts = (
            f"{self.annotations} annotations",
            f"{self.edits} edits",
            f"{self.standing_rules + sum(self.rules.values())} rules",
            f"{self.lines} lines",
        )
        return "the manifest has " + ", ".join(parts)


def manifest_of(directory: Path) -> Manifest:
    """Read and count the manifest of a program."""
    text = (directory / "kitsune.yaml").read_text(encoding="utf-8")
    manifest = yaml.safe_load(text)
    upstream = [v for v in manifest["versions"] if _VARIANT not in str(v["version"])]
    standing = manifest.get("standing", {})
    sections = [standing, *upstream]
    return Manifest(
        annotations=sum(_said(each, ("annotations", "unions")) for each in sections),
        edits=sum(_said(each, ("edits",)) for each in sections),
        standing_rules=_said(standing, ("rules",)),
        rules={str(each["version"]): _said(each, ("rules",)) for each in upstream},
        lines=sum(1 for _ in _lines_without_variants(text)),
    )


def _said(section: dict[str, Any], keys: Sequence[str]) -> int:
    return sum(len(section.get(key, ())) for key in keys)


def _lines_without_variants(text: str) -> Iterator[str]:
    """Yield the lines of a manifest that upstream's own versions need."""
    left_out: set[int] = set()
    root = yaml.compose(text)
    for key, value in root.value if root else ():
        for node in value.value if key.value == "versions" else ():
            version = next(v.value for k, v in node.value if k.value == "version")
            if _VARIANT in version:
                left_out |= set(range(node.start_mark.line, node.end_mark.line))
    for number, line in enumerate(text.splitlines()):
        if number not in left_out and line.strip() and not line.lstrip().startswith("#"):
            yield line
