"""The whole error story: a user's mistake, with its place, its reason and its remedy.

`KitsuneError` is raised for what the user can mend and ends in exit status 1; anything else that
escapes is a bug of ours and ends in exit status 70 (`EX_SOFTWARE` of sysexits.h).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EXIT_DONE = 0
EXIT_INPUT_WRONG = 1
EXIT_USAGE = 2
EXIT_BUG = 70


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file that the user wrote; `line` and `column` count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        text = self.file
        if self.line:
            text += f":{self.line}"
            if self.column:
                text += f":{self.column}"
        return text


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that the message speaks of ("the old definition is here")."""

    at: Location | None
    text: str
    source_line: str | None = None


@dataclass(frozen=True, slots=True)
class Remedy:
    """What the user can paste into the manifest.

    `section` is where: `rules`, `annotations` or `options`; `text` is the YAML of one item or
    entry, without indentation. `why` goes in front: when it is right.
    """

    section: Literal["rules", "annotations", "options"]
    text: str
    why: str = ""


Move = Callable[[Location], Location]
ReadLine = Callable[[Location], str | None]


def unmoved(at: Location) -> Location:
    """Be the `Move` that leaves each place as it is."""
    return at


class KitsuneError(Exception):
    """Something that the user can mend.

    `code` is stable (`K` and three digits) and documented in docs/diagnostics.md; `hint` says what
    to write instead; `source_line` is the text of the line at `at`, shown with a caret; `said` are
    the words of another program (a compiler) that the message is about; of `remedies` each alone
    gets the user past the error.
    """

    def __init__(  # noqa: PLR0913
        self,
        code: str,
        message: str,
        *,
        at: Location | None = None,
        hint: str | None = None,
        source_line: str | None = None,
        notes: tuple[Note, ...] = (),
        said: str = "",
        remedies: tuple[Remedy, ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.at = at
        self.hint = hint
        self.source_line = source_line
        self.notes = notes
        self.said = said
        self.remedies = remedies

    def report(self) -> str:
        """Return the text shown to the user, without a final newline."""
        lines = [f"{self.at or 'kitsune'}: error[{self.code}]: {self.message}"]
        lines += [*_quoted(self.at, self.source_line), *self.said.splitlines()]
        for note in self.notes:
            lines.append(f"{note.at or 'kitsune'}: note: {note.text}")
            lines += _quoted(note.at, note.source_line)
        hints = [*(self.hint or "").splitlines(), *_pasteable(self.remedies, bool(self.hint))]
        lines += [("      " if index else "hint: ") + line for index, line in enumerate(hints)]
        return "\n".join(lines)

    def placed(self, move: Move, read: ReadLine) -> KitsuneError:
        """Return the error with `move` applied to its places, and source lines where it has none.

        `read` is given moved places.
        """
        at, line = _placed(self.at, self.source_line, move, read)
        notes = tuple(
            Note(place, note.text, text)
            for note in self.notes
            for place, text in (_placed(note.at, note.source_line, move, read),)
        )
        return KitsuneError(
            self.code,
            self.message,
            at=at,
            hint=self.hint,
            source_line=line,
            notes=notes,
            said=self.said,
            remedies=self.remedies,
        )

    def noted(self, note: Note) -> KitsuneError:
        """Return the error with one more note."""
        error = self.placed(unmoved, lambda _: None)
        error.notes += (note,)
        return error

    def __str__(self) -> str:
        return self.report()


class KitsuneErrors(KitsuneError):
    """Several independent mistakes, reported together so that one build shows them all."""

    def __init__(self, errors: tuple[KitsuneError, ...]) -> None:
        super().__init__(errors[0].code, errors[0].message, at=errors[0].at)
        self.errors = errors

    def placed(self, move: Move, read: ReadLine) -> KitsuneErrors:
        """Return the errors with their places changed, as `KitsuneError.placed` does."""
        return KitsuneErrors(tuple(error.placed(move, read) for error in self.errors))

    def noted(self, note: Note) -> KitsuneErrors:
        """Return the errors, each with one more note."""
        return KitsuneErrors(tuple(error.noted(note) for error in self.errors))

    def report(self) -> str:
        """Return all reports, an empty line between two."""
        return "\n\n".join(error.report() for error in self.errors)


def _pasteable(remedies: tuple[Remedy, ...], follows: bool) -> list[str]:
    lines = []
    for number, remedy in enumerate(remedies):
        words = ["or", remedy.why] if number or follows else [remedy.why]
        lines.append(", ".join([*filter(None, words), f"under '{remedy.section}':"]))
        lines += [f"  {line}" for line in remedy.text.splitlines()]
    return lines


def _placed(
    at: Location | None, line: str | None, move: Move, read: ReadLine
) -> tuple[Location | None, str | None]:
    if at is None:
        return None, line
    at = move(at)
    return at, read(at) if line is None and at.line else line


def _quoted(at: Location | None, source_line: str | None) -> list[str]:
    if at is None or source_line is None:
        return []
    lines = ["    " + source_line.expandtabs(1)]
    if at.column:
        lines.append("    " + " " * (at.column - 1) + "^")
    return lines
