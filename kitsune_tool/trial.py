"""Try the transition between two releases under the program's own test driver.

In: a release, the one before it, and a driver: any shell command that starts `$KITSUNE_SERVER` as
it would start the program, tests it, and tells by its exit status whether all was well. Out: a
`Matrix`, a `Cell` for each update point and arrival at which the update was made. Called by
matrix.py.

First the driver runs with the old release alone, where all arrivals at update points are counted,
and with the new one alone: that is what is legal. Then it runs once for each cell, with the update
at that arrival (runtime/src/trial.h). What was printed stays in two files per cell.

A tree of processes is updated as an operator does it: whoever arrives stands, `kitsune update
--tree` is run beside the driver, and its answer is the outcome.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kitsune_tool import files
from kitsune_tool.errors import KitsuneError

Verdict = Literal["passed", "failed", "not reached"]
Outcome = tuple[int, str, str, int, int]
"""The state of a trial; code and reason of an update that failed; the pause; the objects."""
Compare = Literal["status", "lines"]

# struct kitsune__trial of runtime/src/trial.h
_MAGIC = 0x314C414952544B31
_HEAD = struct.Struct("<QIIQ120s")
_POINT = struct.Struct("<Q120s")
_POINTS = 255
_TAIL = struct.Struct("<QQ8s2048s")
_SIZE = _HEAD.size + _POINTS * _POINT.size + _TAIL.size
_STATE_AT = 8
_COUNTS, _WAITS, _ASKED, _ENDED = range(4)
_LOOK_S = 0.01
_REQUEST_LIMIT_S = 300
_NO_ANSWER = "K303"


@dataclass(frozen=True, slots=True)
class Driver:
    """How the program is tested.

    `command` runs in a shell, in `directory`. With `compare` "lines", what it prints must besides
    be, line by line, that of the old release up to some line and that of the new one from there. It
    is ended after `limit_s` seconds, and so is all that it leaves behind in its session. `tree`:
    the order in which all processes are updated together, "" if only the program itself is.
    """

    command: str
    directory: Path
    compare: Compare = "status"
    limit_s: int = 60
    tree: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the driver. `status` is its exit status, None if its time ran out.

    `lines` are those of its standard output, which is also in a file `.out` beside the `log` of its
    standard error.
    """

    status: int | None
    lines: tuple[str, ...]
    log: Path
    outcome: Outcome | None = None
    """Of a tree, if an update of it was asked for; else it is in the trial's file."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """The `number`-th arrival (from 1) at the update point `point`."""

    point: str
    number: int

    def __str__(self) -> str:
        return f"{self.point}:{self.number}"


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of the update at one arrival.

    `code` and `reason` are those of an update that was refused or rolled back; `why` says what made
    the cell fail. `command` repeats the cell alone.
    """

    arrival: Arrival
    verdict: Verdict
    code: str
    reason: str
    pause_ns: int
    objects: int
    why: str
    log: Path
    command: str

    @property
    def outcome(self) -> str:
        """What became of the update, in a word and a code."""
        if self.verdict == "not reached":
            return "not reached"
        return f"went on as the old ({self.code})" if self.code else "updated"


@dataclass(frozen=True, slots=True)
class Matrix:
    """All cells, and how often the driver came to each update point of the old release."""

    arrivals: tuple[tuple[str, int], ...]
    cells: tuple[Cell, ...]

    @property
    def is_passed(self) -> bool:
        """Whether the update was made at least once, and no cell failed."""
        verdicts = [cell.verdict for cell in self.cells]
        return "passed" in verdicts and "failed" not in verdicts


@dataclass(frozen=True, slots=True)
class Trial:
    """A transition to be tried; everything that is written goes into `directory`."""

    old: Path
    new: Path
    launcher: Path
    driver: Driver
    directory: Path
    repeat: str
    """The command that tries one arrival again, but for `--at POINT:N`."""

    def run(self, chosen: Sequence[Arrival], most: int, show: Callable[[str], None]) -> Matrix:
        """Try `chosen` arrivals, or at most `most` at each update point.

        `show` gets a line as each step begins. Raises K250 if the driver fails with a release
        alone, and K251 if it leads to no update point.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        show(f"the driver with {self.old.parent.name} alone")
        before, file = self._alone("old", self.old)
        arrivals = tuple(file.arrivals())
        show(f"the driver with {self.new.parent.name} alone")
        after, _ = self._alone("new", self.new)
        cells = list(chosen) or [a for point in arrivals for a in _spread(*point, most)]
        if not cells:
            raise KitsuneError(
                "K251",
                f"the driver leads {self.old.parent.name} to no update point",
                hint=f"its log is {files.shown(before.log)}; is the server started as"
                " $KITSUNE_SERVER, and is there a call of kitsune_update in the loop that serves?",
            )
        made = []
        for number, arrival in enumerate(cells, 1):
            show(f"{number} of {len(cells)}: the update at {arrival}")
            made.append(self._cell(arrival, before, after))
        return Matrix(arrivals, tuple(made))

    def _alone(self, name: str, release: Path) -> tuple[Run, _File]:
        run, file = self._drive(name, release, None)
        if run.status != 0:
            raise KitsuneError(
                "K250",
                f"the driver fails with {files.shown(release)} alone: {_status_text(run.status)}",
                hint=f"its log is {files.shown(run.log)}; first it must pass with no update at all",
            )
        return run, file

    def _cell(self, arrival: Arrival, before: Run, after: Run) -> Cell:
        name = f"{_file_name(arrival.point)}-{arrival.number}"
        run, file = self._drive(name, self.old, arrival)
        state, code, reason, pause_ns, objects = run.outcome or file.outcome()
        why = "" if code == "" else f"{code}: {reason}"
        if run.status != 0:
            why = "; ".join(filter(None, [_status_text(run.status), why]))
        elif self.driver.compare == "lines" and not is_legal(run.lines, before.lines, after.lines):
            why = "; ".join(filter(None, ["its lines are of neither release", why]))
        verdict: Verdict = "failed" if why else "passed"
        if state == _ASKED and not why:
            verdict, why = "failed", "the update never ended"
        elif state == _WAITS and not why:
            verdict = "not reached"
        command = f"{self.repeat} --at {shlex.quote(str(arrival))}"
        return Cell(arrival, verdict, code, reason, pause_ns, objects, why, run.log, command)

    def _drive(self, name: str, release: Path, at: Arrival | None) -> tuple[Run, _File]:
        file = _File.made(self.directory / f"{name}.trial", at)
        server = self.directory / f"{name}.server"
        server.write_text(self._server_text(file, release, at), encoding="utf-8")
        server.chmod(0o755)
        log = self.directory / f"{name}.log"
        environment = os.environ | {"KITSUNE_SERVER": str(server)}
        output = log.with_suffix(".out")
        outcome = None
        if self.driver.tree:
            # The path of a socket must be short.
            with tempfile.TemporaryDirectory(prefix="kitsune-") as place:
                environment["KITSUNE_RUNTIME_DIR"] = place
                operator = _Operator(file, self.new, self.driver.tree, Path(place))
                status = _run(self.driver, environment, output, log, operator)
            outcome = operator.outcome
        else:
            status = _run(self.driver, environment, output, log, contextlib.nullcontext())
        lines = tuple(output.read_text(encoding="utf-8", errors="replace").splitlines())
        return Run(status, lines, log, outcome), file

    def _server_text(self, file: _File, release: Path, at: Arrival | None) -> str:
        """Return a script that takes the place of the program."""
        settings = [f"KITSUNE_TRIAL={shlex.quote(str(file.path))}"]
        if self.driver.tree:
            settings.append("KITSUNE_TRIAL_TREE=1")
        elif at is not None:
            settings.append(f"KITSUNE_TRIAL_RELEASE={shlex.quote(str(self.new.resolve()))}")
        words = [str(self.launcher), "--", str(release.resolve())]
        command = " ".join(map(shlex.quote, words))
        return f'#!/bin/sh\n{" ".join(settings)} exec {command} "$@"\n'


@dataclass(frozen=True, slots=True)
class _File:
    """The file that a trial's processes share."""

    path: Path

    @classmethod
    def made(cls, path: Path, at: Arrival | None) -> _File:
        """Make the file anew. Raises K252 for a name that is too long to be told apart."""
        point = at.point.encode() if at is not None else b""
        if len(point) > 119:
            raise KitsuneError("K252", f"the update point's name is too long: '{at}'")
        state, number = (_WAITS, at.number) if at is not None else (_COUNTS, 0)
        head = _HEAD.pack(_MAGIC, state, 0, number, point)
        path.write_bytes(head.ljust(_SIZE, b"\0"))
        return cls(path)

    def arrivals(self) -> Iterator[tuple[str, int]]:
        """Yield each update point with the number of arrivals, in the order of the first ones."""
        data = self.path.read_bytes()
        found: dict[str, int] = {}
        for index in range(_POINTS):
            count, name = _POINT.unpack_from(data, _HEAD.size + index * _POINT.size)
            if count:
                text = _text(name)
                found[text] = found.get(text, 0) + count
        yield from found.items()

    def is_asked(self) -> bool:
        """Tell whether a process stands at the arrival."""
        return bool(_HEAD.unpack_from(self.path.read_bytes())[1] == _ASKED)

    def end(self) -> None:
        """Let the process go on that stands there, if it does."""
        with self.path.open("r+b") as file:
            file.seek(_STATE_AT)
            file.write(struct.pack("<I", _ENDED))

    def outcome(self) -> Outcome:
        """Return what the program has noted."""
        data = self.path.read_bytes()
        state = _HEAD.unpack_from(data)[1]
        pause_ns, objects, code, reason = _TAIL.unpack_from(data, _SIZE - _TAIL.size)
        return state, _text(code), _text(reason), pause_ns, objects


class _Operator:
    """Asks for the update of a tree as soon as a process stands at the arrival.

    A context manager, which is not left before there is an outcome of what was asked for.
    """

    def __init__(self, file: _File, release: Path, order: str, place: Path) -> None:
        self.outcome: Outcome | None = None
        self._file = file
        self._release = release
        self._order = order
        self._place = place
        self._is_over = threading.Event()
        self._watches = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._watches.start()

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._watches.join()

    def _watch(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._is_over.wait(_LOOK_S)
            if self._file.is_asked():
                try:
                    self.outcome = _outcome_of(self._ask())
                finally:
                    self._file.end()
                return

    def _ask(self) -> str:
        """Return the answer to the request, or else what was said."""
        pids = sorted(int(each.stem) for each in self._place.glob("*.sock") if each.stem.isdigit())
        if len(pids) != 1:
            return f"the driver has {len(pids)} programs that can be updated, not one"
        command = [sys.executable, "-m", "kitsune_tool.cli", "update", "--json", "--tree"]
        command += ["--order", self._order, str(pids[0]), str(self._release.resolve())]
        try:
            done = subprocess.run(
                command,
                env=os.environ | {"KITSUNE_RUNTIME_DIR": str(self._place)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_REQUEST_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            return f"no answer to 'kitsune update' within {_REQUEST_LIMIT_S} s"
        return (done.stdout.splitlines() or [done.stderr.strip()])[-1]


def _outcome_of(said: str) -> Outcome:
    """Return what an answer to the request for a tree says; the pause is the longest of any."""
    try:
        answer = json.loads(said)
    except ValueError:
        return _ENDED, _NO_ANSWER, said, 0, 0
    updated = [each for each in answer.get("processes", ()) if "pause_ns" in each]
    code = "" if answer["outcome"] == "updated" else str(answer.get("code", _NO_ANSWER))
    pause_ns = max((each["pause_ns"] for each in updated), default=0)
    objects = sum(each["objects"] for each in updated)
    return _ENDED, code, str(answer.get("reason", "")), pause_ns, objects


def is_legal(lines: Sequence[str], old: Sequence[str], new: Sequence[str]) -> bool:
    """Tell whether `lines` are those of `old` up to some line and those of `new` from there."""
    if lines == old:
        return True
    pairs = enumerate(zip(lines, old, strict=False))
    switch = next((i for i, (line, other) in pairs if line != other), min(len(lines), len(old)))
    return len(lines) == len(new) and lines[switch:] == new[switch:]


def _spread(point: str, count: int, most: int) -> list[Arrival]:
    """Return at most `most` arrivals, evenly spread, the first and the last among them."""
    wanted = min(count, max(most, 1))
    if wanted == 1:
        return [Arrival(point, 1)]
    steps = (1 + round(i * (count - 1) / (wanted - 1)) for i in range(wanted))
    return [Arrival(point, number) for number in dict.fromkeys(steps)]


def _run(
    driver: Driver,
    environment: dict[str, str],
    output: Path,
    log: Path,
    beside: contextlib.AbstractContextManager[None],
) -> int | None:
    """Run the driver in a session of its own, all of which is ended with it, and with `beside`."""
    with output.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(
            ["/bin/sh", "-c", driver.command],
            cwd=driver.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        with beside:
            return process.wait(driver.limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _status_text(status: int | None) -> str:
    if status is None:
        return "the driver's time ran out"
    if status < 0:
        return f"the driver was ended by {signal.Signals(-status).name}"
    return f"the driver ended with status {status}"


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", errors="replace")


def _file_name(point: str) -> str:
    return urllib.parse.quote(point, safe=" ").replace(" ", "_") or "_"
