"""One column of the matrix: all ways to fail, one after the other, in one running program.

In: the releases and the column; out: a cell for each way. A cell is good if the old version serves
on: nobody's request was lost, the processes see in themselves what they saw before, the kernel
shows the same threads, descriptors and children, and the answer named the cause.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from failures import act
from failures.build import Built, spoilt
from failures.live import Load, Server, Trouble
from failures.ways import WAYS, Way
from kitsune_tool.errors import KitsuneError

CHAIN = 10
SETTLING = 10
"""So many cells are tried before memory and mappings are looked at for the first time."""
GROWTH_ALLOWED_KB = 1024
KEPT_BY_LIBC_KB = 8192 + 1024
SETTLING_S = 5
"""So long may it take until the kernel has taken down what a client left."""

Seen = dict[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """A kind of program, and how often it was updated before."""

    kind: str
    updates: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.updates + 1}"


KINDS = ("one", "threads", "children", "child")
COLUMNS = tuple(Column(kind, n) for kind in KINDS for n in (0, CHAIN))


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of a way in a column; `wrong` is empty if all is well."""

    way: str
    wrong: str
    answer: str = ""


class _Run:
    """A server under load that fails to become its next version, again and again."""

    def __init__(self, built: Built, column: Column, directory: Path) -> None:
        self._built = built
        self._directory = directory
        self.server = Server(built.release(1), column.kind, directory)
        self.candidate = directory / "candidate.so"
        self._running = built.release(1)
        self._plan = self.server.plan
        self.load: Load = self.server.load()
        self._column = column
        self._turns = itertools.cycle(self.server.targets)

    def prepare(self) -> None:
        """Update it as often as its column says, and look at it."""
        for number in range(self._column.updates):
            self._commit(2 if number % 2 == 0 else 3, number)
        self._built.following(2, self._running, 1000, self.candidate)
        self.load.await_round()
        self.look()

    def look(self) -> None:
        """Note what must be the same from now on."""
        self._base = self._seen()
        self.version = self.server.version()

    def _commit(self, version: int, number: int) -> None:
        release = self._directory / f"link{number % 3}.so"
        self._built.following(version, self._running, number, release)
        for target in self.server.take_turns():
            answer = self.server.request(*self.server.update_words(release, 0, 60000))
            if answer.get("outcome") != "updated":
                raise Trouble(f"update {number} of {target} failed: {answer}")
        self._running = release

    def _seen(self) -> Seen:
        with self.load.paused():
            return self.server.sums() | self.server.outside()

    def attempt(self, way: Way) -> str:
        """Let it fail in one way; return the answer. Raises Trouble if it is not as it must be."""
        self.server.target = next(self._turns)
        before = self._base
        if way.before:
            self.server.ask(way.before)
            before = self._seen()
        if way.place:
            self._plan.write_text(f"{way.place} {way.what}\n", encoding="ascii")
        try:
            answer = self._ask(way)
        finally:
            self._plan.unlink(missing_ok=True)
        self._compare(before)
        if way.after:
            self.server.ask(way.after)
            self._compare(self._base)
        return _checked(way, answer)

    def _ask(self, way: Way) -> act.Answer:
        release = self.candidate
        if way.spoil is not None:
            release = spoilt(release, way.spoil, self._directory / "spoilt.so")
        action: Callable[..., act.Answer] | None = getattr(act, way.act, None)
        if action is not None:
            return action(self.server, way, release, self._built)
        return act.ask(self.server, way, release)

    def _compare(self, before: Seen) -> None:
        self.load.await_round()
        deadline = time.monotonic() + SETTLING_S
        while differences := "; ".join(_differences(before, self._seen())):
            if time.monotonic() > deadline:
                raise Trouble(differences)
            time.sleep(0.002)

    def holdings(self) -> tuple[int, int]:
        """Return own and mapped memory, always of the same process, in KiB."""
        self.server.target = self.server.targets[0]
        return self.server.holdings()

    def finish(self) -> None:
        """Check that it takes the very release that failed so often."""
        for target in self.server.take_turns():
            answer = self.server.request(*self.server.update_words(self.candidate, 0, 60000))
            if answer.get("outcome") != "updated":
                raise Trouble(f"the release that failed is not taken by {target}: {answer}")
            self.load.await_round()
            if self.server.version() != "2":
                raise Trouble(f"the release that was taken by {target} does not run")


def _checked(way: Way, answer: act.Answer) -> str:
    """Return an answer's text; Trouble unless it names the cause."""
    told = f"{answer.get('code', '')} {answer.get('reason', '')}".strip()
    if answer.get("outcome") in {"updated", "already-running"}:
        raise Trouble(f"the update succeeded: {answer}")
    if answer.get("code") not in way.codes or not re.search(way.reason, told):
        raise Trouble(f"the answer does not name the cause: {answer}")
    note = str(answer.get("not_undone", ""))
    if bool(note) != bool(way.note) or not re.search(way.note, note):
        raise Trouble(f"not undone: {note or 'nothing'}")
    return told


def _differences(before: Seen, after: Seen) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name} was {before.get(name)} and is {after.get(name)}"


@contextmanager
def _running(built: Built, column: Column, directory: Path) -> Iterator[_Run]:
    run = _Run(built, column, directory)
    try:
        with run.load:
            run.prepare()
            yield run
    finally:
        run.server.stop()


def try_column(
    built: Built,
    column: Column,
    directory: Path,
    ways: Sequence[Way] = WAYS,
    progress: Callable[[Cell], None] = lambda cell: None,
) -> list[Cell]:
    """Try all ways in a column. If the program is lost in one, another is started for the rest."""
    cells: list[Cell] = []
    left = [way for way in ways if column.kind in way.kinds]
    starts = 0
    while left:
        starts += 1
        with _running(built, column, directory / str(starts)) as run:
            for cell in _cells(run, left):
                cells.append(cell)
                progress(cell)
    return cells


def _cells(run: _Run, left: list[Way]) -> Iterator[Cell]:
    held = (0, 0)
    number = 0
    while left:
        way = left.pop(0)
        cell = _tried(run, way)
        yield cell
        if cell.wrong and not _is_usable(run):
            return
        number += 1
        if number == SETTLING:
            held = run.holdings()
    if number > SETTLING:
        yield Cell("(nothing is left behind)", _growth(held, run.holdings()))
    yield _taken(run)


def _tried(run: _Run, way: Way) -> Cell:
    try:
        return Cell(way.name, "", run.attempt(way))
    except (Trouble, OSError, KitsuneError) as error:
        return Cell(way.name, str(error) or repr(error))


def _taken(run: _Run) -> Cell:
    name = "(the same release, not failing, is taken)"
    try:
        run.finish()
    except (Trouble, OSError, KitsuneError) as error:
        return Cell(name, str(error) or repr(error))
    return Cell(name, "")


def _is_usable(run: _Run) -> bool:
    """Tell whether the program can go on after a bad cell; what is different then stays so."""
    try:
        run.server.ask("set nothing")
        run.load.await_round()
        is_idle = run.server.status()["state"] == "idle"
        if not is_idle or run.server.version() != run.version:
            return False
        run.look()
    except (Trouble, OSError, KitsuneError):
        return False
    return run.server.is_running()


def _growth(before: tuple[int, int], after: tuple[int, int]) -> str:
    """Compare memory; libc keeps the stack of a thread that ended."""
    if after[0] > before[0] + GROWTH_ALLOWED_KB or after[1] > before[1] + KEPT_BY_LIBC_KB:
        return f"{before[0]} KiB, {before[1]} mapped, have become {after[0]} and {after[1]}"
    return ""
