"""Give one normalised declaration to pycparser and return its syntax tree.

In: the ready tokens of a `Normalised` and the typedef names that it uses. Out: pycparser's nodes;
the `line` of a node's coordinate is the offset in the unit's text. typegraph.py calls it and is the
only other module that sees the nodes.

The coupling to pycparser is its documented lexer hook (`CParser(lexer=…)`: a class with `input` and
`token`), the names of its token types, and its tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from pycparser import c_ast
from pycparser.c_lexer import Token
from pycparser.c_parser import CParser, ParseError

from kitsune_tool.normalise import Misunderstood, Ready


class _ReadyLexer:
    """Hands out ready tokens; the text that pycparser would lex is ignored."""

    filename = ""

    def __init__(self, error_func: Any, *, dialect: str = "c23") -> None:
        self._ready: list[Token] = []
        self._next = 0

    def feed(self, ready: list[Token]) -> None:
        """Take the tokens that `token` will hand out."""
        self._ready = ready
        self._next = 0

    def input(self, text: str, filename: str = "") -> None:
        """Start at the first token."""
        self._next = 0

    def token(self) -> Token | None:
        """Return the next token, None behind the last."""
        if self._next == len(self._ready):
            return None
        self._next += 1
        return self._ready[self._next - 1]


_parser = CParser(lexer=_ReadyLexer, dialect="c23")


def parse(ready: Sequence[Ready], typedefs: Iterable[str]) -> list[c_ast.Node]:
    """Parse one declaration, with `typedefs` as names of types.

    Raises `Misunderstood`.
    """
    names = sorted(typedefs)
    tokens = _prelude(names)
    tokens += [Token(kind, value, offset, 0, "") for kind, value, offset in ready]
    cast(_ReadyLexer, _parser.clex).feed(tokens)
    try:
        tree = _parser.parse("")
    except ParseError as error:
        raise Misunderstood(_offset(str(error), ready), str(error)) from None
    except (AssertionError, AttributeError, TypeError) as error:
        # What pycparser's parser does to some declarations that are no C.
        raise Misunderstood(ready[0].offset if ready else 0, repr(error)) from None
    return list(tree.ext[len(names) :])


def _prelude(names: list[str]) -> list[Token]:
    tokens = []
    for name in names:
        kinds = (("TYPEDEF", "typedef"), ("INT", "int"), ("ID", name), ("SEMI", ";"))
        tokens += [Token(kind, value, 0, 0, "") for kind, value in kinds]
    return tokens


def _offset(message: str, ready: Sequence[Ready]) -> int:
    parts = message.split(":", 2)
    if len(parts) > 1 and parts[1].isdigit():
        return int(parts[1])
    return ready[0].offset if ready else 0
