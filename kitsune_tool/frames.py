"""The parameters and locals of a noted function, and the frames that say where they are.

In: a function's definition and the types in scope. Out: a `NotedFunction`: its variables in order,
those of static storage too, and the blocks that get a frame (insert.py writes them). A variable
whose address cannot be taken or kept (`register`, one in a block that a jump enters) is left out
with the reason. extract.py calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from kitsune_tool.model import Function
from kitsune_tool.normalise import MARKER, TYPE_WORDS, Declared, Normalised, Token, tokens
from kitsune_tool.noted import Part, walk
from kitsune_tool.typegraph import DeclaredType, Scope, TypeGraph

_NOTELOCALS = re.compile(rf"\b{MARKER}\s*\(\s*notelocals\b")
_NAKED = re.compile(r"\b_*naked_*\b")
_OPENING = "([{"
_CLOSING = ")]}"


@dataclass(eq=False, slots=True)
class LocalVariable:
    """A variable declared in a function at `offset`; its declaration ends at `end`.

    `frame` is the index of the frame that holds it, -1 if it is of static storage. `label` is where
    a name for the assembler can be put behind the declarator, -1 if it has one.
    """

    offset: int
    end: int
    function: str
    declared: DeclaredType
    is_thread_local: bool = False
    is_parameter: bool = False
    frame: int = -1
    label: int = -1


@dataclass(eq=False, slots=True)
class Frame:
    """A block whose locals are noted: its declaration goes to `start`.

    `parent` is the index of the frame around it, -1 for the function's own. `braces` is where a
    brace has to close it that is not in the text, -1 for a block. `count` is how many variables it
    holds so far.
    """

    start: int
    parent: int
    braces: int = -1
    count: int = 0


@dataclass(frozen=True, slots=True)
class HandNote:
    """A local that a macro names: the variable, or why none that can be noted has that name."""

    offset: int
    name: str
    meaning: LocalVariable | str
    migrates: bool


@dataclass(eq=False, slots=True)
class NotedFunction:
    """What was found in one function."""

    name: str
    variables: list[LocalVariable] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    hand: list[HandNote] = field(default_factory=list)


Declare = Callable[[Scope, int, int], tuple[Normalised, list[DeclaredType]] | None]
"""Converts the declaration at a place of the text; None if it was not understood."""


def is_annotated(head: str) -> bool:
    """Tell whether `E_NOTELOCALS` stands in a declaration or a definition's head."""
    return _NOTELOCALS.search(head) is not None


def can_hold(head: str) -> bool:
    """Tell whether a function of this head can have a frame at all."""
    return _NAKED.search(head) is None


@dataclass(slots=True)
class _Open:
    """A block being walked through. `frame` is where its variables go, -1: nowhere."""

    scope: Scope
    frame: int
    part: Part


class FrameFinder:
    """Walks through one function, `name`."""

    def __init__(self, name: str, text: str, graph: TypeGraph, declare: Declare) -> None:
        self.text = text
        self.graph = graph
        self.declare = declare
        self.function = NotedFunction(name)
        self.known: list[LocalVariable | str] = []
        """What a name means, by the number that `Scope.locals` has for it: a variable, or why it
        cannot be noted."""
        self.stack: list[_Open] = []
        self.head_variables: list[tuple[DeclaredType, str]] = []
        """What the `for` declares whose body comes next."""

    def find(
        self, head: Normalised, signature: DeclaredType | None, body: tuple[int, int]
    ) -> NotedFunction:
        """Return the variables and frames of a function; `signature` is its type as declared."""
        for part in walk(self.text, *body):
            is_outermost = not self.stack
            self._part(part)
            if is_outermost and signature is not None:
                self._parameters(head, signature, body[0])
        return self.function

    def _part(self, part: Part) -> None:
        if part.kind in {"open", "wrapped", "scope"}:
            self._open(part)
        elif part.kind == "close":
            self.stack.pop()
        elif part.kind in {"note", "migrate"}:
            self._hand(part)
        else:
            self._statement(part)

    # -- blocks -------------------------------------------------------------------------------

    def _open(self, part: Part) -> None:
        outer = self.stack[-1].scope if self.stack else Scope(self.graph.file, self.function.name)
        frame = -1
        if part.kind != "scope":
            frame = len(self.function.frames)
            parent = next((each.frame for each in reversed(self.stack) if each.frame >= 0), -1)
            braces = part.end if part.kind == "wrapped" else -1
            self.function.frames.append(Frame(part.start, parent, braces))
        scope = Scope(outer, self.function.name)
        self.stack.append(_Open(scope, frame, part))
        waiting, self.head_variables = self.head_variables, []
        for declared, reason in waiting:  # of the `for` around this block
            self._add(declared, outer, part.start, reason)

    # -- variables ----------------------------------------------------------------------------

    def _add(
        self,
        declared: DeclaredType,
        scope: Scope,
        end: int,
        reason: str,
        *,
        parameter: bool = False,
    ) -> None:
        here = self.stack[-1]
        if not reason and here.frame < 0:
            reason = "its block is entered by a jump (a case of a switch, a goto)"
        if not reason and self.graph.is_function(declared.type):
            return
        if reason:
            self._hide(scope, declared.name, reason)
            return
        variable = LocalVariable(
            declared.offset, end, self.function.name, declared, False, parameter, here.frame
        )
        self.function.frames[here.frame].count += 1
        self.function.variables.append(variable)
        self._hide(scope, declared.name, variable)

    def _hide(self, scope: Scope, name: str, meaning: LocalVariable | str) -> None:
        scope.locals[name] = len(self.known)
        self.known.append(meaning)

    def _parameters(self, head: Normalised, signature: DeclaredType, body: int) -> None:
        here = self.stack[-1]
        node = self.graph.types[signature.type]
        if not isinstance(node, Function):
            return
        if head.old_style >= 0:
            for start, end in _declarations(self.text, head.old_style, body):
                self._declared(start, end, here.part.start, parameter=True)
            return
        in_register = _register_parameters(self.text, signature.offset, body)
        for number, parameter in enumerate(node.parameters):
            if not parameter.name:
                continue
            reason = "it is in a register" if number in in_register else ""
            declared = DeclaredType(
                parameter.name, parameter.type, (), False, signature.offset, False
            )
            self._add(declared, here.scope, here.part.start, reason, parameter=True)

    def _statement(self, part: Part) -> None:
        if not self._is_declaration(part.start, part.end):
            return
        if part.kind == "head":
            self._declared(part.start, part.end, -1)
        else:
            self._declared(part.start, part.end, part.end)

    def _is_declaration(self, start: int, end: int) -> bool:
        first = _first_word(list(tokens(self.text, start, end)))
        if first is None:
            return False
        word, after = first
        if word.text in TYPE_WORDS:
            return True
        return after != ":" and self.graph.is_typedef(word.text, self.stack[-1].scope)

    def _declared(self, start: int, end: int, at: int, *, parameter: bool = False) -> None:
        """Take a declaration; its variables are noted at `at`, in the next block if that is -1."""
        scope = self.stack[-1].scope
        result = self.declare(scope, start, end)
        if result is None:
            return
        normalised, declared = result
        if normalised.is_typedef or "extern" in normalised.storage:
            return
        types = {d.name: d for d in declared}
        reason = "it is in a register" if "register" in normalised.storage else ""
        for name in normalised.declared:
            if name.is_function:
                continue
            found = types.get(name.name) or DeclaredType(
                name.name, self.graph.unknown(), (), False, name.offset, False
            )
            if normalised.storage & {"static", "_Thread_local"}:
                self._static(found, end, name, normalised)
            elif at < 0:
                self.head_variables.append((found, reason))
            else:
                self._add(found, scope, at, reason, parameter=parameter)

    def _static(
        self, declared: DeclaredType, end: int, name: Declared, normalised: Normalised
    ) -> None:
        variable = static_variable(self.function.name, declared, end, name, normalised)
        self.function.variables.append(variable)
        self._hide(self.stack[-1].scope, declared.name, "it is of static storage")

    # -- by hand ------------------------------------------------------------------------------

    def _hand(self, part: Part) -> None:
        number = self.stack[-1].scope.local(part.name)
        meaning = self.known[number] if number is not None else "it has none of that name"
        migrates = part.kind == "migrate"
        self.function.hand.append(HandNote(part.start, part.name, meaning, migrates))


def static_variable(
    function: str, declared: DeclaredType, end: int, name: Declared, normalised: Normalised
) -> LocalVariable:
    """Return a function's static, `declared` as `name` in the declaration that ends at `end`."""
    return LocalVariable(
        name.offset,
        end,
        function,
        declared,
        "_Thread_local" in normalised.storage,
        label=-1 if name.is_labelled else name.end,
    )


def _first_word(words: list[Token]) -> tuple[Token, str] | None:
    """Return the first token of a statement behind its attributes, and what follows it."""
    index = 0
    while index < len(words):
        text = words[index].text
        if text == "__extension__":
            index += 1
        elif text in {"__attribute__", "__attribute", MARKER}:
            index = _behind_group(words, index + 1)
        elif text == "[" and index + 1 < len(words) and words[index + 1].text == "[":
            index = _behind_group(words, index)
        else:
            break
    if index >= len(words) or words[index].kind != "id":
        return None
    return words[index], words[index + 1].text if index + 1 < len(words) else ""


def _behind_group(words: list[Token], index: int) -> int:
    depth = 0
    while index < len(words):
        text = words[index].text if words[index].kind == "punct" else ""
        depth += (text in _OPENING and text != "") - (text in _CLOSING and text != "")
        index += 1
        if depth <= 0:
            break
    return index


def _declarations(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the declarations of an old-style definition's parameters."""
    found = []
    depth = 0
    begin = start
    for token in tokens(text, start, end):
        mark = token.text if token.kind == "punct" else ""
        depth += (mark != "" and mark in _OPENING) - (mark != "" and mark in _CLOSING)
        if mark == ";" and not depth:
            found.append((begin, token.offset + 1))
            begin = token.offset + 1
    return found


def _register_parameters(text: str, name: int, body: int) -> set[int]:
    """Return which parameters of the definition whose name stands at `name` are in registers."""
    found: set[int] = set()
    if text.find("register", name, body) < 0:
        return found
    number, depth = 0, 0
    for token in tokens(text, name, body):
        mark = token.text if token.kind == "punct" else ""
        depth += (mark != "" and mark in _OPENING) - (mark != "" and mark in _CLOSING)
        number += mark == "," and depth == 1
        if token.text == "register" and depth == 1:
            found.add(number)
        if mark == ")" and not depth:
            break
    return found
