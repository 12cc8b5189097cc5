"""The statements of a function's body, as ranges of tokens with their places in the text.

In: a piece of preprocessed C. Out: its tokens and the tree of its statements. No more is understood
than where statements begin and end: expressions and declarations stay token lists. Called by
edits.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["block", "if", "for", "while", "do", "switch", "label", "simple"]

_TOKEN = re.compile(
    r"""(?P<skip>\s++|^[ \t]*\#[^\n]*|/\*(?s:.*?)\*/|//[^\n]*)
    |(?:u8|[uUL])?"(?:[^"\\\n]|\\.)*+"
    |[uUL]?'(?:[^'\\\n]|\\.)*+'
    |\.?[0-9](?:[eEpP][+-]|'?[\w.])*+
    |[A-Za-z_$][\w$]*+
    |\.\.\.|->|\+\+|--|<<=|>>=|[-+*/%&|^<>=!]=|<<|>>|&&|\|\||.""",
    re.X | re.M,
)
_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")
_WITH_HEAD: dict[str, Kind] = {"if": "if", "for": "for", "while": "while", "switch": "switch"}


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the text: `text[start:end]`."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement: the tokens `[first, end)`.

    `head` is what stands before the inner statements: `if (…)`, `case 1:`; of a `do` it is the
    `while (…)` behind them; of a simple statement all of it. `inner` are the statements inside,
    those of statement expressions included.
    """

    kind: Kind
    first: int
    end: int
    head: tuple[int, int]
    inner: tuple[Statement, ...] = ()

    def walk(self) -> Iterator[Statement]:
        """Yield this statement and all inside it, in the order of the text."""
        yield self
        for statement in self.inner:
            yield from statement.walk()


def tokenize(text: str, start: int = 0, end: int | None = None) -> tuple[Token, ...]:
    """Return the tokens of `text[start:end]`; comments, line markers and pragmas are skipped."""
    return tuple(
        Token(match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(text, start, len(text) if end is None else end)
        if match.lastgroup != "skip"
    )


def parse_body(tokens: Sequence[Token]) -> Statement:
    """Return the block that `tokens`, from `{` to `}`, make up."""
    return _Parser(tokens).block(0)


def matching(tokens: Sequence[Token], opening: int) -> int:
    """Return the index just past the bracket that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(tokens)):
        if tokens[index].text in _OPENING:
            depth += 1
        elif tokens[index].text in _CLOSING:
            depth -= 1
            if depth == 0:
                return index + 1
    return len(tokens)


class _Parser:
    """Recursive descent; every method takes an index and returns what ends at or behind it.

    It never fails: text that is no C gives some tree, and the compiler says what is wrong with it.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens

    def block(self, first: int) -> Statement:
        end = matching(self._tokens, first)
        inner = []
        index = first + 1
        while index < end - 1:
            statement = self._statement(index)
            inner.append(statement)
            index = statement.end
        return Statement("block", first, end, (first, first + 1), tuple(inner))

    def _statement(self, first: int) -> Statement:
        text = self._text(first)
        if text == "{":
            return self.block(first)
        if text in _WITH_HEAD:
            return self._controlled(_WITH_HEAD[text], first)
        if text == "do":
            return self._do(first)
        label_end = self._label_end(first)
        if label_end:
            return self._labelled(first, label_end)
        return self._simple(first)

    def _controlled(self, kind: Kind, first: int) -> Statement:
        opening = first + 1
        while self._text(opening) not in ("(", ""):
            opening += 1
        head_end = matching(self._tokens, opening)
        body = self._statement(head_end)
        inner = [*self._expression_blocks(first, head_end), body]
        if kind == "if" and self._text(body.end) == "else":
            inner.append(self._statement(body.end + 1))
        return Statement(kind, first, inner[-1].end, (first, head_end), tuple(inner))

    def _do(self, first: int) -> Statement:
        body = self._statement(first + 1)
        end = self._semicolon(body.end)
        blocks = self._expression_blocks(body.end, end)
        head = (body.end, max(end - 1, body.end))
        return Statement("do", first, end, head, (body, *blocks))

    def _labelled(self, first: int, label_end: int) -> Statement:
        if self._text(label_end) in ("}", ""):
            return Statement("label", first, label_end, (first, label_end))
        statement = self._statement(label_end)
        return Statement("label", first, statement.end, (first, label_end), (statement,))

    def _label_end(self, first: int) -> int:
        """Return the index behind the colon of the label at `first`, or 0 if there is none."""
        text = self._text(first)
        if text == "case":
            return self._colon(first)
        is_name = re.match(r"[A-Za-z_$]", text) is not None
        return first + 2 if is_name and self._text(first + 1) == ":" else 0

    def _colon(self, first: int) -> int:
        questions = 0
        index = first
        while index < len(self._tokens):
            text = self._text(index)
            if text == ":" and questions == 0:
                return index + 1
            questions += (text == "?") - (text == ":")
            index = matching(self._tokens, index) if text in _OPENING else index + 1
        return index

    def _simple(self, first: int) -> Statement:
        end = max(self._semicolon(first), first + 1)
        blocks = tuple(self._expression_blocks(first, end))
        return Statement("simple", first, end, (first, end), blocks)

    def _semicolon(self, index: int) -> int:
        while index < len(self._tokens):
            text = self._text(index)
            if text == ";":
                return index + 1
            if text in _CLOSING:
                return index
            index = matching(self._tokens, index) if text in _OPENING else index + 1
        return index

    def _expression_blocks(self, first: int, end: int) -> Iterator[Statement]:
        """Yield the blocks of the statement expressions between two indices."""
        index = first
        while index < end:
            if self._text(index) == "{" and self._text(index - 1) == "(":
                block = self.block(index)
                yield block
                index = block.end
            else:
                index += 1

    def _text(self, index: int) -> str:
        return self._tokens[index].text if 0 <= index < len(self._tokens) else ""
