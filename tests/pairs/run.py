"""Groups of cases, from their build to a verdict for each.

`Failure` says of a case what is not as the oracle has it. A case that keeps the others from being
tried (the build refuses it, the update is rolled back because of it) is found by its name in the
message, noted, and the rest is tried without it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pairs.build import BuildError, Built, Compiler, Tool, build
from pairs.cases import Case, Options
from pairs.compare import Comparison
from pairs.emit import Group
from pairs.live import Ended, Live
from pairs.memory import Layout
from pairs.oracle import refusals

_ERROR = re.compile(r"error\[(K\d+)\]")
_NAME = re.compile(r"(?<![A-Za-z0-9])k(\d+)_")
Numbered = tuple[int, Case]
_STOPS = "update: "
_FAILURES = {"a": "is not NULL", "e": "K357", "t": "K354"}
"""Ways in which a rule may fail, and what is said of them."""
_KINDS = ("compile", "build", "update", "the build must say")
_CODE = re.compile(r"K\d+")


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that is not as it must be."""

    number: int
    case: Case
    what: str

    @property
    def kind(self) -> str:
        """Return what sort of failure it is, so that smaller cases can be said to fail alike."""
        head = self.what.split(":")[0]
        code = _CODE.search(self.what)
        return f"{head} {code[0] if code else ''}" if head in _KINDS else "state"


def try_group(
    cases: Sequence[Numbered], options: Options, compiler: Compiler, tool: Tool
) -> list[Failure]:
    """Build and update the cases in one program; return what failed."""
    refused = [each for each in cases if refusals(each[1], options)]
    accepted = [each for each in cases if not refusals(each[1], options)]
    failures = _try_refused(refused, options, compiler, tool) if refused else []
    while accepted:
        with _Directory() as name:
            built = _built(accepted, options, Path(name), compiler, tool)
            if isinstance(built, Built):
                return failures + _update_all(built, accepted)
        failures += built
        lost = {failure.number for failure in built}
        accepted = [each for each in accepted if each[0] not in lost]
    return failures


def _try_refused(
    cases: Sequence[Numbered], options: Options, compiler: Compiler, tool: Tool
) -> list[Failure]:
    with _Directory() as name:
        try:
            built = build(Group(tuple(cases), options), Path(name), compiler, tool)
        except BuildError as error:
            return _blamed(cases, "compile: " + str(error))
        said = codes(built.complaints)
        failures = []
        for number, case in cases:
            wanted, got = refusals(case, options), said.get(number, frozenset())
            if wanted != got:
                text = f"the build must say {sorted(wanted)}, says {sorted(got)}"
                failures.append(
                    Failure(number, case, f"{text}\n{_about(built.complaints, number)}")
                )
        return failures


def codes(complaints: str) -> dict[int, frozenset[str]]:
    """Return the codes of errors by the cases that they name."""
    found: dict[int, frozenset[str]] = {}
    for text in _messages(complaints):
        code, name = _ERROR.search(text), _NAME.search(text)
        if code and name:
            number = int(name[1])
            found[number] = found.get(number, frozenset()) | {code[1]}
    return found


def _messages(complaints: str) -> list[str]:
    """Return the errors, each with what belongs to it."""
    lines = complaints.splitlines()
    starts = [i for i, line in enumerate(lines) if "error[" in line]
    ends = [*starts, len(lines)][1:]
    return ["\n".join(lines[a:b]) for a, b in zip(starts, ends, strict=True)]


def _about(complaints: str, number: int) -> str:
    return "\n".join(text for text in _messages(complaints) if f"k{number}_" in text)


def _blamed(cases: Sequence[Numbered], text: str) -> list[Failure]:
    """Return failures of the cases that a message names; of all, if it names none."""
    named = {int(found) for found in _NAME.findall(text)}
    blamed = [each for each in cases if each[0] in named] or list(cases)
    return [Failure(number, case, text[:3000]) for number, case in blamed]


def _built(
    cases: Sequence[Numbered], options: Options, directory: Path, compiler: Compiler, tool: Tool
) -> Built | list[Failure]:
    """Build cases that must be accepted; return those that keep the others from being built."""
    try:
        built = build(Group(tuple(cases), options), directory, compiler, tool)
    except BuildError as error:
        return _blamed(cases, "compile: " + str(error))
    if not built.complaints:
        return built
    said = codes(built.complaints)
    refused = [
        Failure(n, case, f"build: refused\n{_about(built.complaints, n)}")
        for n, case in cases
        if n in said
    ]
    return refused or _blamed(cases, "build: " + built.complaints)


def _update_all(built: Built, cases: Sequence[Numbered]) -> list[Failure]:
    """Update with the heaps of all cases; what stops the update is tried without."""
    failures: list[Failure] = []
    while cases:
        found = _update(built, cases)
        failures += found
        if not any(each.what.startswith(_STOPS) for each in found):
            break
        lost = {each.number for each in found}
        cases = [each for each in cases if each[0] not in lost]
    return failures


def _update(built: Built, cases: Sequence[Numbered]) -> list[Failure]:
    with Live(built) as live:
        try:
            old = live.meta(built.old.tables)
            layouts = [Layout(case, number, "old", old) for number, case in cases]
            places = live.make(
                [(case, each) for (_, case), each in zip(cases, layouts, strict=True)]
            )
            undone = _undo(live, cases, layouts, places)
            if undone:
                return undone
            answer = live.update()
            if answer.get("outcome") != "updated":
                reason = f"{answer.get('code')} {answer.get('reason')}"
                return _blamed(cases, f"update: {reason}")
            new = live.meta(built.new.tables)
            comparisons = [
                Comparison(live, each, Layout(case, number, "new", new), before)
                for (number, case), each, before in zip(cases, layouts, places, strict=True)
            ]
            failures = [
                Failure(number, case, "\n".join(said))
                for (number, case), each in zip(cases, comparisons, strict=True)
                if (said := each.run())
            ]
            if not failures:
                blocks = [block for each in comparisons for block in each.blocks()]
                live.touch(blocks)
                live.free([address for address, _ in blocks])
                live.meta(built.new.tables)
            return failures
        except Ended as error:
            return _blamed(cases, f"update: {error}")


def _undo(
    live: Live,
    cases: Sequence[Numbered],
    layouts: Sequence[Layout],
    places: Sequence[Sequence[int]],
) -> list[Failure]:
    """Let an update fail at its end; every byte of every object must be as it was."""
    kinds = sorted(_FAILURES)
    how = kinds[sum(number for number, _ in cases) % len(kinds)]
    before = [_contents(live, *each) for each in zip(layouts, places, strict=True)]
    answer = live.fail(how)
    said = f"{answer.get('outcome')} {answer.get('code')} {answer.get('reason')}"
    if answer.get("outcome") != "rolled-back":
        return _blamed(cases, f"undone: a rule failed ({how}), and yet: {said}")
    if not re.search(_FAILURES[how], said):
        return _blamed(cases, f"update: {said}")
    failures = []
    for (number, case), layout, at, was in zip(cases, layouts, places, before, strict=True):
        now = _contents(live, layout, at)
        changed = [index for index, data in enumerate(was) if data != now[index]]
        if changed:
            text = f"undone: objects {changed} are not as before the update that failed ({how})"
            failures.append(Failure(number, case, text))
    return failures


def _contents(live: Live, layout: Layout, places: Sequence[int]) -> list[bytes | None]:
    """Return the bytes of a case's objects."""
    sizes = [len(layout.image(thing).data) for thing in layout.case.objects]
    return [live.read(at, size) for at, size in zip(places, sizes, strict=True)]


class _Directory:
    """A directory that goes when all is done with it."""

    def __enter__(self) -> str:
        self._name = tempfile.mkdtemp(prefix="pairs-")
        return self._name

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._name, ignore_errors=True)
