"""Look into function bodies without parsing them.

In: the place of a body. Out: where its statics and local types are declared and in which blocks,
which functions it mentions other than by calling them, where its update points are, which variables
it migrates by hand. extract.py calls it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kitsune_tool.normalise import KEYWORDS, MARKER, TYPE_WORDS, Token, tokens, unquote

_STATIC = re.compile(r"\b(?:static|_Thread_local|__thread|thread_local)\b")
_NAME = re.compile(r"[A-Za-z_$][\w$]*+")
_MENTION = re.compile(r"(?<![\w$.])[A-Za-z_$][\w$]*+(?!\s*\()")
_MIGRATE = "kitsune__migrate_variable"
"""What the `MIGRATE_*` of kitsune.h call."""
_STATEMENT_ENDS = {";", "{", "}", ":"}
_OPENING = {"(", "[", "{"}
_CLOSING = {")", "]", "}"}
_NO_TYPE = {"return", "else", "goto", "case", "sizeof", "do", "typeof", "__typeof__"}


@dataclass(frozen=True, slots=True)
class Event:
    """Something met in a body, in order: a block's start or end, a declaration of a static or of a
    local type at `[start, end)`; that of a static ends behind its `;`.
    """

    kind: Literal["open", "close", "static", "type"]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of `kitsune_update`; `name` is None unless the argument is a string literal."""

    offset: int
    name: str | None


def has_statics(text: str, start: int, end: int) -> bool:
    """Tell whether the body may declare an object of static storage."""
    return _STATIC.search(text, start, end) is not None


def events(text: str, start: int, end: int) -> list[Event]:
    """Return the blocks, statics and local types of a body, in order."""
    return list(_Walk(text, start, end).events())


class _Walk:
    def __init__(self, text: str, start: int, end: int) -> None:
        self.all = list(tokens(text, start, end))
        self.length = len(self.all)
        self.end = end

    def events(self) -> Iterator[Event]:
        index = statement = brackets = 0
        while index < self.length:
            token = self.all[index]
            kind, text, offset = token
            if kind == "punct":
                if text in {"{", "}"}:
                    yield Event("open" if text == "{" else "close", offset, offset + 1)
                brackets += (text == "[") - (text == "]")
                if text in _STATEMENT_ENDS:
                    statement = index + 1
            elif text in {"static", "typedef"} and not brackets:
                last = self.until_semicolon(index)
                start, end = self.all[statement].offset, self.all[last].offset + 1
                yield Event("static" if text == "static" else "type", start, end)
                index = last
                statement = index + 1
            elif text in {"struct", "union", "enum"} and (brace := self.brace(index)):
                last = self.matching(brace)
                yield Event("type", offset, self.all[last].offset + 1)
                index = last
            index += 1

    def until_semicolon(self, index: int) -> int:
        depth = 0
        while index < self.length - 1:
            text = self.all[index].text if self.all[index].kind == "punct" else ""
            if text == ";" and not depth:
                return index
            depth += (text in _OPENING) - (text in _CLOSING)
            index += 1
        return index

    def brace(self, index: int) -> int:
        """Return the index of the `{` of the type that is defined here, 0 if none is."""
        index += 1
        while index < self.length:
            token = self.all[index]
            if token.text == "{":
                return index
            if token.kind == "id" and token.text not in KEYWORDS | {MARKER}:
                index += 1
            elif token.text in {"__attribute__", "__attribute", MARKER, "_Alignas"}:
                index = self.matching(index + 1) + 1
            elif token.text == "[":
                index = self.matching(index) + 1
            else:
                return self.typed_enum(index)
        return 0

    def typed_enum(self, index: int) -> int:
        """Step over `: type` of an enumeration."""
        if self.all[index].text != ":":
            return 0
        index += 1
        while index < self.length and self.all[index].kind == "id":
            index += 1
        return index if index < self.length and self.all[index].text == "{" else 0

    def matching(self, index: int) -> int:
        depth = 0
        while index < self.length:
            text = self.all[index].text if self.all[index].kind == "punct" else ""
            depth += (text in _OPENING) - (text in _CLOSING)
            if depth == 0:
                return index
            index += 1
        return self.length - 1


def words(text: str, start: int, end: int) -> set[str]:
    """Return every identifier in the text, those in strings and comments too."""
    return set(_NAME.findall(text, start, end))


def addresses(text: str, start: int, end: int, functions: set[str], head: int = -1) -> list[Token]:
    """Return where a function of `functions` is named other than to call it.

    `head` is where the declaration begins whose body this is, so that parameters are known to
    hide functions. A name that the body itself declares is none of them.
    """
    if functions.isdisjoint(_MENTION.findall(text, start, end)):
        return []
    body = list(tokens(text, start if head < 0 else head, end))
    found: dict[str, list[Token]] = {}
    hidden = set()
    for index, token in enumerate(body):
        if token.kind != "id" or token.text not in functions:
            continue
        if head >= 0 and index and _declares(body, index):
            hidden.add(token.text)
        elif token.offset >= start and _is_address(body, index):
            found.setdefault(token.text, []).append(token)
    return [token for name, each in found.items() if name not in hidden for token in each]


def _is_address(body: list[Token], index: int) -> bool:
    before = body[index - 1].text if index else ""
    after = body[index + 1].text if index + 1 < len(body) else ""
    if before in {".", "->", "struct", "union", "enum", "goto"}:
        return False
    if after == ":" and before in {";", "{", "}", ":"}:
        return False  # a label
    return after != "("


def _declares(body: list[Token], index: int) -> bool:
    """Tell whether the name at `index` is being declared: a type's name stands before it."""
    before = index - 1
    while before > 0 and body[before].text in {"*", "const", "restrict", "__restrict", "volatile"}:
        before -= 1
    token = body[before]
    if token.kind != "id" or token.text in _NO_TYPE:
        return False
    if index + 1 < len(body) and body[index + 1].text == "(":
        return False  # a block-scope declaration of the function itself
    return token.text in TYPE_WORDS or token.text not in KEYWORDS


def update_points(text: str, start: int, end: int) -> list[Call]:
    """Return the calls of `kitsune_update` in a body."""
    if text.find("kitsune_update", start, end) < 0:
        return []
    body = list(tokens(text, start, end))
    calls = []
    for index, token in enumerate(body[:-2]):
        if token.text == "kitsune_update" and token.kind == "id" and body[index + 1].text == "(":
            calls.append(Call(token.offset, _literal(body, index + 2)))
    return calls


def migrated(text: str, start: int, end: int) -> list[str | None]:
    """Return the keys that the `MIGRATE_*` of a body expand to; None for a computed one.

    Those of locals are left out: noted.py finds them where the names are known.
    """
    found: list[str | None] = []
    if text.find(_MIGRATE, start, end) >= 0:
        body = list(tokens(text, start, end))
        found = [
            _literal(body, index + 2, ",")
            for index, token in enumerate(body[:-2])
            if token.text == _MIGRATE and token.kind == "id" and body[index + 1].text == "("
        ]
    calls = hand_calls(text, start, end, _MIGRATE_BY_PARTS)
    return found + [call.key() for call in calls if not call.is_local]


@dataclass(frozen=True, slots=True)
class HandCall:
    """A call that names a variable by the parts of its key (registervars.h).

    Each part is its text, "" for a null pointer, None for anything else. `func` of `__func__` is
    the function's name only if the caller knows it: it stays `__func__`.
    """

    name: str | None
    func: str | None
    file: str | None
    namespace: str | None

    @property
    def is_local(self) -> bool:
        """Tell whether it names a parameter or local."""
        return self.func != "" and self.file == ""

    def key(self, function: str = "") -> str | None:
        """Return the key, None if a part of it is computed; `function` is what `__func__` is."""
        func = function if self.func == "__func__" and function else self.func
        if None in {self.name, func, self.file, self.namespace} or func == "__func__":
            return None
        space = f"{self.namespace}@" if self.namespace else ""
        file = f"{self.file}/" if self.file else ""
        return f"{space}{file}{f'{func}#' if func else ''}{self.name}"


def hand_calls(text: str, start: int, end: int, names: frozenset[str]) -> list[HandCall]:
    """Return the calls of `names` in a body, all of which begin with the parts of a key."""
    if not any(text.find(name, start, end) >= 0 for name in names):
        return []
    body = list(tokens(text, start, end))
    found = []
    for index, token in enumerate(body[:-2]):
        if token.text in names and token.kind == "id" and body[index + 1].text == "(":
            parts = _arguments(body, index + 2)
            if len(parts) >= _PARTS:
                found.append(HandCall(*map(_part, parts[:_PARTS])))
    return found


_PARTS = 4
_MIGRATE_BY_PARTS = frozenset({"kitsune_migrate_var"})
NOTE_BY_PARTS = frozenset({"kitsune_note_var", "kitsune_register_var"})


def _arguments(body: list[Token], index: int) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in body[index:]:
        mark = token.text if token.kind == "punct" else ""
        if mark == "," and not depth:
            parts.append([])
            continue
        depth += (mark in _OPENING) - (mark in _CLOSING)
        if depth < 0:
            break
        parts[-1].append(token)
    return parts


def _part(argument: list[Token]) -> str | None:
    texts = [token.text for token in argument if token.text not in {"(", ")"}]
    if texts in (["0"], ["void", "*", "0"], ["__null"], ["nullptr"]):
        return ""
    if texts == ["__func__"]:
        return "__func__"
    if argument and all(token.kind == "string" for token in argument):
        return "".join(unquote(token.text) for token in argument)
    return None


def _literal(body: list[Token], index: int, end: str = ")") -> str | None:
    """Return the string literals from `index` on, joined; None if anything else is before `end`."""
    parts = []
    while body[index].kind == "string":
        parts.append(unquote(body[index].text))
        index += 1
    return "".join(parts) if parts and body[index].text == end else None


def markers(text: str, start: int, end: int) -> list[int]:
    """Return where annotations stand in a body, outside of strings."""
    if text.find(MARKER, start, end) < 0:
        return []
    return [t.offset for t in tokens(text, start, end) if t.kind == "id" and t.text == MARKER]
