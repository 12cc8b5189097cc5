"""Generated C in pieces: which functions and tables were made for a type, a variable, a rule.

In: the generated files and the views that they were printed from. Out: `Pieces`. Called by
release.py, for report.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kitsune_tool.definitions import place_text
from kitsune_tool.pairs import Coded, Fields, Pair, Tagged, Words
from kitsune_tool.rules import Rule
from kitsune_tool.viewdata import KEEP_INITIAL, Views

_KINDS = ("move", "patch", "visit", "map", "type", "parts", "old_tail", "new_tail")
_PIECE = re.compile(
    r"^(?:/\*[^\n]*\*/\n)?"
    r"(?:static |const |inline |extern |void |int |enum |struct |uint64_t )[^\n;]*?"
    r"\b(_kitsune_\w+)(?:\(|\[\]| =)[^\n;]*\{\n.*?^\}[^\n]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A function or table: `text` begins at `line` of `file`."""

    name: str
    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Pieces:
    """All pieces of a release, and what each belongs to."""

    all: tuple[Piece, ...] = ()
    idents: Mapping[int, str] = field(default_factory=dict)
    """By the numbers of pairs."""
    migrations: Mapping[str, str] = field(default_factory=dict)
    """Names of functions by keys of variables."""
    rules: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Names of functions by labels and places of rules."""

    def of_pair(self, pair: Pair) -> tuple[str, ...]:
        """Return the names of what was made for a pair, rules of its members included."""
        ident = self.idents.get(pair.number)
        wanted = [f"_kitsune_{kind}_{ident}" for kind in _KINDS] if ident is not None else []
        return self._known([*wanted, *self._of_rules(_rules_of(pair))])

    def of_variable(self, key: str, rule: Rule | None) -> tuple[str, ...]:
        """Return the names of what was made for a variable."""
        names = [self.migrations.get(key, "")]
        return self._known([*names, *self._of_rules([rule] if rule is not None else [])])

    def _of_rules(self, rules: Iterable[Rule]) -> list[str]:
        return [self.rules.get((rule.label, place_text(rule.at)), "") for rule in rules]

    def _known(self, names: Iterable[str]) -> tuple[str, ...]:
        have = {piece.name for piece in self.all}
        return tuple(name for name in dict.fromkeys(names) if name in have)


def take_apart(files: Mapping[str, str], views: Views) -> Pieces:
    """Return the pieces of the generated files."""
    return Pieces(
        all=tuple(piece for name, text in files.items() for piece in _split(name, text)),
        idents=views.idents,
        migrations={
            each.new_key: each.migrate
            for each in views.migrations
            if each.new_key and each.migrate != KEEP_INITIAL
        },
        rules={(each.label, each.at): each.name for each in views.rules},
    )


def _split(file: str, text: str) -> Iterable[Piece]:
    for found in _PIECE.finditer(text):
        yield Piece(found[1], file, text.count("\n", 0, found.start()) + 1, found[0])


def _rules_of(pair: Pair) -> Iterable[Rule]:
    match pair.op:
        case Coded(rule=placed):
            yield placed.rule
        case Tagged(cases=cases):
            steps = [step for case in cases for step in case.steps]
            yield from (step.rule.rule for step in steps if step.rule is not None)
        case Fields(steps=steps) | Words(members=steps):
            yield from (step.rule.rule for step in steps if step.rule is not None)
        case _:
            return
