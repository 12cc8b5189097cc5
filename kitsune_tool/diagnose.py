"""What is wrong between two versions, told so that the user can mend it.

In: the two types and `Where` they meet. Out: `KitsuneError`s with both definitions, the way from
the root variable, and the rule or annotation to paste. Called by plan.py, which collects them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from kitsune_tool.errors import KitsuneError, Location, Note, Remedy
from kitsune_tool.likely import Guess
from kitsune_tool.model import FunctionSymbol, UpdatePoint, Variable
from kitsune_tool.pairs import Where

SourceLine: TypeAlias = Callable[[Literal["old", "new"], Location], str | None]
"""Reads the line at a place in the sources of a version; None if it cannot be had."""

Remedies: TypeAlias = tuple[Remedy, ...]
_PROBABLE = 0.75
_MOST_POINTS = 3


def no_source(version: Literal["old", "new"], at: Location) -> None:
    """Be the `SourceLine` that knows no source."""


class Diagnoses:
    """Collects errors; two alike (message and place) count once."""

    def __init__(self, source_line: SourceLine) -> None:
        self._source_line = source_line
        self._found: dict[tuple[str, str, Location | None], KitsuneError] = {}

    @property
    def errors(self) -> tuple[KitsuneError, ...]:
        """The errors so far, in the order in which they were met."""
        return tuple(self._found.values())

    def keep(self, error: KitsuneError) -> None:
        """Add an error made elsewhere."""
        self._found.setdefault((error.code, error.message, error.at), error)

    def _add(  # noqa: PLR0913, PLR0917 - all that an error has
        self,
        code: str,
        message: str,
        where: Where,
        remedies: Remedies,
        hint: str | None = None,
        notes: tuple[Note, ...] = (),
    ) -> None:
        """Add an error at the new definition, with the old one and the way to it as notes."""
        notes = (*self._old_note(where.old_at), *notes, *self._way(where))
        self._add_in("new", code, message, where.new_at, remedies, hint, notes)

    def _add_in(  # noqa: PLR0913, PLR0917 - all that an error has
        self,
        version: Literal["old", "new"],
        code: str,
        message: str,
        at: Location | None,
        remedies: Remedies,
        hint: str | None = None,
        notes: tuple[Note, ...] = (),
    ) -> None:
        line = self._source_line(version, at) if at is not None else None
        self.keep(
            KitsuneError(
                code, message, at=at, hint=hint, source_line=line, notes=notes, remedies=remedies
            )
        )

    def _old_note(self, at: Location | None) -> tuple[Note, ...]:
        if at is None:
            return ()
        return (Note(at, "the old definition is here", self._source_line("old", at)),)

    def _way(self, where: Where) -> tuple[Note, ...]:
        """Tell how the root leads to it, unless it is the root itself."""
        if not re.search(r"\W", where.path):
            return ()
        path, at = where.path.removesuffix("->"), where.root_at
        if path.startswith("$"):
            return (Note(at, f"it matters because rule '{where.root}' asks for it: {path}"),)
        line = self._source_line("new", at) if at is not None else None
        return (Note(at, f"it matters because variable '{where.root}' leads to it: {path}", line),)

    def type_changed(
        self, where: Where, old: str, new: str, code: str, *, widens: bool = False
    ) -> None:
        """K120: a value of another type; `widens` tells that an option would accept it."""
        widen = Remedy("options", "widen: true", "to let all integers grow")
        self._add(
            "K120",
            f"'{where.new_place}' was '{old}' and is '{new}' now",
            where,
            (_transform(where, code), *([widen] if widens else [])),
        )

    def field_added(
        self, where: Where, type_text: str, code: str, guesses: Sequence[Guess]
    ) -> None:
        """K121: a member that the old version had not."""
        self._add(
            "K121",
            f"'{where.new_place}' is new ('{type_text}'): nothing says what it is in an object"
            " of the old version",
            where,
            _with_renames((_init(where.new_place, code),), guesses, where.new_place),
        )

    def variable_added(self, variable: Variable, type_text: str, guesses: Sequence[Guess]) -> None:
        """K122: a variable that the old version had not."""
        initial = Remedy("rules", f'- init: "{variable.key}"', "to keep its initial value")
        every = Remedy("options", "added_variables: initial", "to do so for all")
        self._add_in(
            "new",
            "K122",
            f"variable '{variable.key}' is new ('{type_text}'): nothing says what it is in a"
            " process of the old version",
            variable.at,
            _with_renames((initial, every), guesses, variable.key),
        )

    def enumerator_gone(
        self, where: Where, name: str, value: int, guesses: Sequence[Guess]
    ) -> None:
        """K123: an enumerator that a value may still have."""
        code = f"$out = (int)$in; /* but what is {name} ({value}) now? */"
        renames = _renames(guesses, f"{where.old_place}.{name}", is_old=True)
        self._add(
            "K123",
            f"'{where.new_place}' has no enumerator '{name}' any more, but a value of the old"
            f" version may be {name} ({value})",
            where,
            (*renames, _transform(where, code)),
        )

    def union_changed(self, where: Where, member: str, why: str, code: str) -> None:
        """K124: a union that cannot be copied."""
        self._add(
            "K124",
            f"union '{where.new_place}': {why} ('{member}'), and which member is in use is not"
            " known",
            where,
            (_transform(where, code),),
            _tag_hint(where, member),
        )

    def case_gone(self, where: Where, member: str, labels: str, code: str) -> None:
        """K124: a member of a tagged union that the new version has not."""
        self._add(
            "K124",
            f"union '{where.new_place}' has no member '{member}' any more, which a value of the old"
            f" version may be in use as ({labels})",
            where,
            (_transform(where, code),),
            "if nothing reads its bits any more, say 'null' for this case under 'unions'; a\n"
            f"'transform' of '{where.old_place}.{member}' makes another member of it",
        )

    def unexplained(self, where: Where, name: str, units: tuple[str, ...]) -> None:
        """K125: a `void *`, or one to a struct that several units define, while objects move."""
        opaque = Remedy(
            "annotations",
            f'"{where.new_place}": opaque',
            "if what it points to never changes and is none of this program's objects",
        )
        why, example = "nothing says what it points to", "TYPE"
        if len(units) > 1:
            why = f"{' and '.join(units)} have a '{name}' of their own each"
            example = f"{units[0]}/{name}"
        self._add(
            "K125",
            f"'{where.new_place}' is a '{name} *' and objects move in this release: {why}",
            where,
            (opaque,),
            f'annotate it with the type that it points to: "{where.new_place}": element({example})',
        )

    def length_changed(self, where: Where, old: int, new: int, code: str) -> None:
        """K126: an array of another length."""
        grow = Remedy("options", "grow: true", "to let all arrays grow")
        self._add(
            "K126",
            f"'{where.new_place}' had {old} elements and has {new} now",
            where,
            (_transform(where, code), *([grow] if 0 < old < new else [])),
        )

    def other_type(self, where: Where, old: str, new: str, guesses: Sequence[Guess]) -> None:
        """K127: a struct, union or enum of another name."""
        clear = "memset(&$out, 0, sizeof $out); /* make it from $in */"
        likely = f" ({guesses[0].likelihood:.0%} likely)" if guesses else ""
        rename = Remedy(
            "rules",
            f'- rename: "{_path(old)} -> {_path(new)}"',
            f"if it is the same thing under a new name{likely}",
        )
        self._add(
            "K127",
            f"'{where.new_place}' is or points to '{new}', which was '{old}'",
            where,
            (rename, _transform(where, clear, "if it is another thing")),
        )

    def function_gone(
        self, old: FunctionSymbol, new: FunctionSymbol | None, guesses: Sequence[Guess]
    ) -> None:
        """K128: a function that a pointer of the old version may hold."""
        why = "has it no more" if new is None else "does not take its address"
        notes = self._old_note(old.at) if new is not None else ()
        forgotten = Remedy(
            "rules",
            f'- init: "{old.key}"',
            "if no pointer to it is kept across an update point (one that is met stops the update)",
        )
        self._add_in(
            "old" if new is None else "new",
            "K128",
            f"a pointer of the old version may point to function '{old.key}', but the new version"
            f" {why}",
            old.at if new is None else new.at,
            (*_renames(guesses, old.key, is_old=True), forgotten),
            f'rename it to what replaces it: - rename: "{old.key} -> OTHER_FUNCTION"',
            notes,
        )

    def update_point_gone(
        self, old: UpdatePoint, known: tuple[str, ...], guesses: Sequence[Guess]
    ) -> None:
        """K129: an update point that the new version has not."""
        places = {guess.place for guess in guesses}
        others = tuple(
            Remedy("rules", f"- rename: \"'{old.name}' -> '{name}'\"", "if this one serves for it")
            for name in known[:_MOST_POINTS]
            if name not in places
        )
        quoted = [Guess(f"'{guess.place}'", guess.likelihood) for guess in guesses]
        self._add_in(
            "old",
            "K129",
            f"update point '{old.name}' is not in the new version: a process that stands at it"
            " could never be updated",
            old.at,
            (*_renames(quoted, f"'{old.name}'", is_old=True), *others),
            None if known else "call kitsune_update where such a process would go on",
        )

    def length_unknown(self, where: Where, counts: Sequence[str]) -> None:
        """K130: an array whose length nothing tells; `counts` are the numbers beside it."""
        self._add(
            "K130",
            f"'{where.new_place}' is an array whose type does not tell its length, and its"
            " elements must be looked at",
            where,
            tuple(
                Remedy(
                    "annotations",
                    f'"{where.new_place}": array(self.{name})',
                    f"if '{name}' counts them",
                )
                for name in counts
            ),
            None if counts else f'annotate it: "{where.new_place}": array(self.LENGTH)',
        )

    def not_understood(self, where: Where, type_text: str) -> None:
        """K131: a type that the front-end could not read."""
        clear = "memset(&$out, 0, sizeof $out); /* make it from $in */"
        opaque = Remedy("annotations", f'"{where.new_place}": opaque', "if its bytes may be copied")
        self._add(
            "K131",
            f"'{where.new_place}' has the type '{type_text}', which could not be understood",
            where,
            (_transform(where, clear), opaque),
        )

    def custom_allocator(self, where: Where, text: str, why: str) -> None:
        """K134: an object that moves and comes from an allocator of its own."""
        self._add(
            "K134",
            f"'{where.new_place}' points to an object of custom({text}) that must move, but {why}",
            where,
            (_transform(where, "$out = 0; /* allocate it, and fill it from *$in */"),),
        )

    def thread_local_in_function(self, variable: Variable) -> None:
        """K136: a thread-local variable that only its function can name."""
        ignore = Remedy(
            "annotations",
            f'"{variable.key}": ignore',
            "if each version may begin with its initial value",
        )
        self._add_in(
            "new",
            "K136",
            f"'{variable.key}' is thread-local and declared in a function, where nothing else can"
            " name it: its value cannot be migrated",
            variable.at,
            (ignore,),
            "declare it outside of the function, or take -flto or its name for the assembler away",
        )


def _tag_hint(where: Where, member: str) -> str:
    place = where.new_place.removesuffix(".(anonymous union)")
    return (
        "if something tells which member is in use, say so under 'unions':\n"
        f'  "{place}": {{by: self.TAG, cases: {{VALUE: {member}}}}}\n'
        "or, of a pointer to what is always this member, under 'annotations':\n"
        f'  "POINTER": case({member})'
    )


def _transform(where: Where, code: str, why: str = "") -> Remedy:
    """Return a rule for the place; one without a name is made with the struct around it."""
    old, new = (re.sub(r"\.(\(.*)?$", "", place) for place in (where.old_place, where.new_place))
    return Remedy("rules", f'- transform: "{old} -> {new}"\n  code: "{code}"', why)


def _init(place: str, code: str) -> Remedy:
    return Remedy("rules", f'- init: "{place}"' + (f'\n  code: "{code}"' if code else ""))


def _with_renames(remedies: Remedies, guesses: Sequence[Guess], place: str) -> Remedies:
    """Return the remedies with the renames among them: before the others if they are probable."""
    renames = _renames(guesses, place)
    if guesses and guesses[0].likelihood >= _PROBABLE:
        return (renames[0], *remedies, *renames[1:])
    return (*remedies, *renames)


def _renames(guesses: Sequence[Guess], place: str, *, is_old: bool = False) -> Remedies:
    return tuple(
        Remedy(
            "rules",
            f'- rename: "{place} -> {guess.place}"'
            if is_old
            else f'- rename: "{guess.place} -> {place}"',
            f"if it {'is' if is_old else 'was'} {guess.place} ({guess.likelihood:.0%} likely)",
        )
        for guess in guesses
    )


def _path(type_text: str) -> str:
    head = type_text.split(maxsplit=1)[0]
    return type_text if head in {"struct", "union", "enum"} else f"typedef {type_text}"
