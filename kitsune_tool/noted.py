"""The blocks of a noted function: where its locals come to life, and where a frame can hold them.

In: the text of a function's body. Out: `walk`, its blocks and statements in order, so that
frames.py can tell declarations from expressions with the types that are in scope at each place;
each block says whether a frame (insert.py) may stand at its start. A block that a jump enters past
its start (a `case` of a switch outside of it, a `goto`) has none: the frame's end would be seen,
its beginning not. Nothing here knows a type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kitsune_tool.bodies import hand_calls
from kitsune_tool.statements import Statement, Token, matching, parse_body, tokenize

_MIGRATE = "kitsune__migrate_local"
_MIGRATE_BY_PARTS = "kitsune_migrate_var"
_BY_PARTS = frozenset({_MIGRATE_BY_PARTS})
_HAND_CALLS = (_MIGRATE, "stackvars_note_")
"""What the macros that note or migrate a local by hand call (kitsune.h, stackvars.h)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something met in a body, in order.

    `open`: a block, whose frame would stand at `start`; `end` is where it closes. `wrapped` is a
    loop's body without braces: a frame needs them at `start` and `end`. `close`: its end.
    `statement`: one that may be a declaration, `[start, end)`. `head`: the first clause of a
    `for`, which holds for the block that follows. `scope` opens a block that is no place for a
    frame: names are declared in it. `note` and `migrate`: a call by hand at `start` that names the
    local `name`.
    """

    kind: Literal["open", "wrapped", "scope", "close", "statement", "head", "note", "migrate"]
    start: int
    end: int
    name: str = ""


def is_noted_by_hand(text: str, start: int, end: int) -> bool:
    """Tell whether a body asks for its locals by itself."""
    if any(text.find(call, start, end) >= 0 for call in _HAND_CALLS):
        return True
    calls = hand_calls(text, start, end, _BY_PARTS)
    return any(call.is_local for call in calls)


def walk(text: str, start: int, end: int) -> Iterator[Part]:
    """Yield the parts of the body at `text[start:end]`, the outermost block first."""
    tokens = tokenize(text, start, end)
    root = parse_body(tokens)
    return _Walk(text, tokens, _entered(tokens, root)).block(root)


class _Walk:
    def __init__(self, text: str, tokens: Sequence[Token], entered: set[int]) -> None:
        self._source = text
        self._tokens = tokens
        self._entered = entered

    def block(self, block: Statement) -> Iterator[Part]:
        first, last = block.first + 1, block.end - 1
        while self._text(first) == "__label__":  # these come before everything else
            while self._text(first) not in {";", ""}:
                first += 1
            first += 1
        start = self._tokens[first - 1].end
        kind: Literal["open", "scope"] = "scope" if block.first in self._entered else "open"
        yield Part(kind, start, self._tokens[last].start)
        for statement in block.inner:
            yield from self._statement(statement)
        yield Part("close", self._tokens[last].start, self._tokens[last].end)

    def _statement(self, statement: Statement) -> Iterator[Part]:
        if statement.kind == "block":
            yield from self.block(statement)
        elif statement.kind == "for":
            yield from self._loop(statement)
        else:
            yield from self._hand(*statement.head, statement.inner)
            for inner in statement.inner:
                yield from self._statement(inner)
            if statement.kind == "simple" and statement.end > statement.first:
                start = self._tokens[statement.first].start
                yield Part("statement", start, self._tokens[statement.end - 1].end)

    def _loop(self, loop: Statement) -> Iterator[Part]:
        first, last = loop.head
        body = loop.inner[-1]
        yield Part("scope", self._tokens[loop.first].start, self._tokens[loop.end - 1].end)
        for inner in loop.inner[:-1]:
            yield from self._statement(inner)
        opening = first + 1
        clause_end = self._clause_end(opening + 1, last)
        if clause_end:
            yield Part("head", self._tokens[opening].end, self._tokens[clause_end - 1].end)
        yield from self._hand(first, last, loop.inner[:-1])
        if body.kind == "block" or body.first in self._entered or body.end <= body.first:
            yield from self._statement(body)
        else:
            start, end = self._tokens[body.first].start, self._tokens[body.end - 1].end
            yield Part("wrapped", start, end)
            yield from self._statement(body)
            yield Part("close", end, end)
        yield Part("close", self._tokens[loop.end - 1].end, self._tokens[loop.end - 1].end)

    def _clause_end(self, first: int, last: int) -> int:
        """Return the index behind the `;` of the first clause, 0 if nothing is declared there."""
        depth = 0
        for index in range(first, last):
            text = self._text(index)
            if text == ";" and not depth:
                return index + 1 if index > first else 0
            depth += (text in "([{") - (text in ")]}")
        return 0

    def _hand(self, first: int, last: int, inner: Sequence[Statement]) -> Iterator[Part]:
        """Yield the locals that are named by hand between two tokens, outside of inner blocks."""
        skipped = {index for each in inner for index in range(each.first, each.end)}
        for index in range(first, last):
            token = self._tokens[index]
            if index in skipped or self._text(index + 1) != "(":
                continue
            name = self._named(index)
            if name:
                migrates = token.text in {_MIGRATE, _MIGRATE_BY_PARTS}
                yield Part("migrate" if migrates else "note", token.start, token.end, name)

    def _named(self, index: int) -> str:
        """Return the local that the call at `index` names, "" if it names none."""
        text = self._text(index)
        arguments = self._tokens[index + 2 : index + 5]
        if text == _MIGRATE:
            return arguments[-1].text.strip('"')
        if text in {"stackvars_note_local", "stackvars_note_formal"}:
            return arguments[0].text.strip('"') if arguments[0].text.startswith('"') else ""
        if text == _MIGRATE_BY_PARTS:
            end = self._tokens[matching(self._tokens, index + 1) - 1].end
            for call in hand_calls(self._source, self._tokens[index].start, end, _BY_PARTS):
                return call.name or "" if call.is_local else ""
        return ""

    def _text(self, index: int) -> str:
        return self._tokens[index].text if 0 <= index < len(self._tokens) else ""


# -- jumps ------------------------------------------------------------------------------------


def _entered(tokens: Sequence[Token], root: Statement) -> set[int]:
    """Return the first tokens of the blocks and loop bodies that a jump enters from outside."""
    places: dict[str, list[int]] = {}
    for index, token in enumerate(tokens):
        places.setdefault(token.text, []).append(index)
    found: set[int] = set()
    stack: list[tuple[Statement, tuple[Statement, ...]]] = [(root, ())]
    while stack:
        statement, chain = stack.pop()
        if statement.kind == "label":
            found |= _entered_by(tokens[statement.first].text, statement, chain, places)
        outer = (*chain, statement)
        stack += [(inner, outer) for inner in statement.inner]
    return found - {root.first}


def _entered_by(
    label: str, at: Statement, chain: tuple[Statement, ...], places: dict[str, list[int]]
) -> set[int]:
    """Return the first tokens of what a jump to a label enters past its beginning."""
    found = set()
    for each in reversed(chain):
        if label in {"case", "default"}:
            if each.kind == "switch":
                break
        elif all(each.first <= p < each.end for p in places[label] if p != at.first):
            continue
        found.add(each.first)
    return found
