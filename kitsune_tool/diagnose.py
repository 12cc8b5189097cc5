"""What is wrong between two versions, told so that the user can mend it.

In: the two types and `Where` they meet. Out: `KitsuneError`s with both definitions, the way from
the root variable, and the rule or annotation to paste. Called by plan.py, which collects them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeAlias

from kitsune_tool.errors import KitsuneError, Location, Note
from kitsune_tool.model import FunctionSymbol, UpdatePoint, Variable
from kitsune_tool.pairs import Where

SourceLine: TypeAlias = Callable[[Literal["old", "new"], Location], str | None]
"""Reads the line at a place in the sources of a version; None if it cannot be had."""


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

    def _add(self, code: str, message: str, where: Where, hint: str, *notes: Note) -> None:
        notes = (*self._old_note(where.old_at), *notes, *_way(where))
        self._add_at(code, message, where.new_at, hint, *notes)

    def _add_at(
        self, code: str, message: str, at: Location | None, hint: str, *notes: Note
    ) -> None:
        self._add_in("new", code, message, at, hint, *notes)

    def _add_in(
        self,
        version: Literal["old", "new"],
        code: str,
        message: str,
        at: Location | None,
        hint: str,
        *notes: Note,
    ) -> None:
        line = self._source_line(version, at) if at is not None else None
        self.keep(KitsuneError(code, message, at=at, hint=hint, source_line=line, notes=notes))

    def _old_note(self, at: Location | None) -> tuple[Note, ...]:
        if at is None:
            return ()
        return (Note(at, "the old definition is here", self._source_line("old", at)),)

    def type_changed(self, where: Where, old: str, new: str) -> None:
        """K120: a value of another type."""
        self._add(
            "K120",
            f"'{where.new_place}' was '{old}' and is '{new}' now",
            where,
            _transform(where.old_place, where.new_place, "$out = $in;"),
        )

    def field_added(self, where: Where, type_text: str) -> None:
        """K121: a member that the old version had not."""
        self._add(
            "K121",
            f"'{where.new_place}' is new ('{type_text}'): nothing says what it is in an object"
            " of the old version",
            where,
            _init(where.new_place) + "\nor, if it only has a new name, a rename:\n"
            f'  - rename: "OLD -> {where.new_place}"',
        )

    def variable_added(self, variable: Variable, type_text: str) -> None:
        """K122: a variable that the old version had not."""
        self._add_at(
            "K122",
            f"variable '{variable.key}' is new ('{type_text}'): nothing says what it is in a"
            " process of the old version",
            variable.at,
            f'  - init: "{variable.key}"\n    code: ""\n'
            "keeps the new version's initial value ('added_variables: initial' does so for all);\n"
            f'or, if it only has a new name:\n  - rename: "OLD -> {variable.key}"',
        )

    def enumerator_gone(self, where: Where, name: str, value: int) -> None:
        """K123: an enumerator that a value may still have."""
        self._add(
            "K123",
            f"'{where.new_place}' has no enumerator '{name}' any more, but a value of the old"
            f" version may be {name} ({value})",
            where,
            _transform(where.old_place, where.new_place, "$out = $in;")
            + f'\nor, if it has a new name:\n  - rename: "{where.old_place}.{name} ->'
            f' {where.new_place}.NEW_NAME"',
        )

    def union_changed(self, where: Where, member: str, why: str) -> None:
        """K124: a union that cannot be copied."""
        self._add(
            "K124",
            f"union '{where.new_place}': {why} ('{member}'), and which member is in use is not"
            " known",
            where,
            _transform(where.old_place, where.new_place, "/* by what tells the member */"),
        )

    def unexplained(self, where: Where) -> None:
        """K125: a `void *` in a release in which objects move."""
        self._add(
            "K125",
            f"'{where.new_place}' is a 'void *' and objects move in this release: nothing says"
            " what it points to",
            where,
            f"under 'annotations':\n  \"{where.new_place}\": element(TYPE)\n"
            "or, if what it points to never changes and is none of this program's objects:\n"
            f'  "{where.new_place}": opaque',
        )

    def length_changed(self, where: Where, old: int, new: int) -> None:
        """K126: an array of another length."""
        self._add(
            "K126",
            f"'{where.new_place}' had {old} elements and has {new} now",
            where,
            _transform(
                where.old_place,
                where.new_place,
                f"for (size_t i = 0; i < {min(old, new)}; i++) $out[i] = $in[i];",
            ),
        )

    def other_type(self, where: Where, old: str, new: str) -> None:
        """K127: a struct, union or enum of another name."""
        self._add(
            "K127",
            f"'{where.new_place}' is or points to '{new}', which was '{old}'",
            where,
            f'  - rename: "{_path(old)} -> {_path(new)}"\nor\n'
            + _transform(where.old_place, where.new_place, "/* … */"),
        )

    def function_gone(self, old: FunctionSymbol, new: FunctionSymbol | None) -> None:
        """K128: a function that a pointer of the old version may hold."""
        why = "has it no more" if new is None else "does not take its address"
        notes = self._old_note(old.at) if new is not None else ()
        self._add_in(
            "old" if new is None else "new",
            "K128",
            f"a pointer of the old version may point to function '{old.key}', but the new version"
            f" {why}",
            old.at if new is None else new.at,
            f'  - rename: "{old.key} -> OTHER_FUNCTION"\n'
            "or, if no pointer to it is kept across an update point (one that is met stops the"
            f' update):\n  - init: "{old.key}"',
            *notes,
        )

    def update_point_gone(self, old: UpdatePoint, known: tuple[str, ...]) -> None:
        """K129: an update point that the new version has not."""
        self._add_in(
            "old",
            "K129",
            f"update point '{old.name}' is not in the new version: a process that stands at it"
            " could never be updated",
            old.at,
            f"  - rename: \"'{old.name}' -> '{known[0] if known else 'NEW_NAME'}'\"",
        )

    def length_unknown(self, where: Where) -> None:
        """K130: an array whose length nothing tells."""
        self._add(
            "K130",
            f"'{where.new_place}' is an array whose type does not tell its length, and its"
            " elements must be looked at",
            where,
            f"under 'annotations':\n  \"{where.new_place}\": array(self.LENGTH)",
        )

    def not_understood(self, where: Where, type_text: str) -> None:
        """K131: a type that the front-end could not read."""
        self._add(
            "K131",
            f"'{where.new_place}' has the type '{type_text}', which could not be understood",
            where,
            _transform(where.old_place, where.new_place, "/* … */")
            + "\nor, if its bytes may be copied, under 'annotations':\n"
            f'  "{where.new_place}": opaque',
        )

    def custom_allocator(self, where: Where, text: str) -> None:
        """K134: an object that moves and comes from an allocator of its own."""
        self._add(
            "K134",
            f"'{where.new_place}' points to an object of custom({text}) that must move; only"
            " objects of malloc can be moved",
            where,
            _transform(where.old_place, where.new_place, "/* allocate and fill $out */"),
        )

    def thread_local_in_function(self, variable: Variable) -> None:
        """K136: a thread-local variable that only its function can name."""
        self._add_at(
            "K136",
            f"'{variable.key}' is thread-local and declared in a function: its value cannot be"
            " migrated",
            variable.at,
            "declare it outside of the function, or, if each version may begin with its initial"
            f"\nvalue, under 'annotations':\n  \"{variable.key}\": ignore",
        )


def _way(where: Where) -> tuple[Note, ...]:
    """Tell how the root leads to it, unless it is the root itself."""
    if not re.search(r"\W", where.path):
        return ()
    path = where.path.removesuffix("->")
    return (Note(None, f"it matters because variable '{where.root}' leads to it: {path}"),)


def _transform(old: str, new: str, code: str) -> str:
    return f'  - transform: "{old} -> {new}"\n    code: "{code}"'


def _init(place: str) -> str:
    return f'  - init: "{place}"\n    code: "$out = 0;"'


def _path(type_text: str) -> str:
    head = type_text.split(maxsplit=1)[0]
    return type_text if head in {"struct", "union", "enum"} else f"typedef {type_text}"
