"""Lengths of arrays: C expressions of annotations, over the old object, turned into generated C.

In: the text of `ptrarray(…)`, `array(…)` or `bytes(…)`. Out: the expression as generated code
writes it. `self` is the old struct; other names are variables of the old version, its enumerators
and its types. Called by views.py, and by plan.py (without a `TypeTable`) for the errors only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kitsune_tool.declare import declare
from kitsune_tool.definitions import TypeTable
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.model import Enum, Typedef, Variable
from kitsune_tool.resolve import Compound, Instance, World

_TOKEN = re.compile(
    r"\s*(?:(?P<tagged>(?:struct|union|enum)\s+\w+)|(?P<word>[A-Za-z_$][\w$]*)"
    r"|(?P<number>\d[\w.]*)|(?P<mark>->|[-+*/%()\[\].,<>=!&|^~?:]))"
)
_CALLS = frozenset(["sizeof", "strlen"])
_KEYWORDS = _CALLS | frozenset(
    ["int", "unsigned", "signed", "long", "short", "char", "void", "float", "double"]
)


@dataclass(frozen=True, slots=True)
class LengthScope:
    """What a length may name: the old struct (None if there is none), and the old program."""

    world: World
    owner: Compound | None
    table: TypeTable | None = None


def translate(text: str, scope: LengthScope, at: Location | None) -> str:
    """Return the expression in generated C, over `in`. Raises K132."""
    parts: list[str] = []
    position, before = 0, ""
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _wrong(text, f"'{text[position:].strip()}' is no C expression", at)
        position = match.end()
        token = match.group().strip()
        if match.group("word") and before in {".", "->"}:
            _check_member(parts, token, text, scope, at)
            parts.append(token)
        elif match.group("word") or match.group("tagged"):
            parts.append(_name(token, text, scope, at))
        else:
            parts.append(token)
        before = token
    if not parts:
        raise _wrong(text, "it is empty", at)
    return _joined(parts)


def _joined(parts: list[str]) -> str:
    """Set blanks as a person would: around operators, none around `.`, `->` and parentheses."""
    text = ""
    for part in parts:
        if part in {"+", "/", "%", "<", ">", "?", ":", "|", "^"} or part in {"*", "-", "&"}:
            text += f" {part} "
        else:
            text += part
    return text.replace("  ", " ").strip().replace("(*in).", "in->")


def _check_member(
    parts: list[str], name: str, text: str, scope: LengthScope, at: Location | None
) -> None:
    if parts[-2:-1] != ["(*in)"] or scope.owner is None:
        return
    names = [member.name for member in scope.world.members(scope.owner)]
    if name not in names:
        record = scope.world.spell(Instance(scope.owner.index))
        raise _wrong(text, f"'{record}' of the old version has no member '{name}'", at)


def _name(token: str, text: str, scope: LengthScope, at: Location | None) -> str:
    if token in _KEYWORDS:
        return token if token in _CALLS else token + " "
    if token == "self":
        if scope.owner is None:
            raise _wrong(text, "'self' is only for a member of a struct", at)
        return "(*in)"
    world = scope.world
    variable = _variable(world, token)
    if variable is not None:
        return _load(variable, scope)
    index = world.find(re.sub(r"\s+", " ", token))
    if index is not None and (" " in token or isinstance(world.types[index], Typedef)):
        if scope.table is None:
            return token
        scope.table.need(index)
        return declare(world.types, index, "", scope.table.name_of)
    for node in world.types:
        if isinstance(node, Enum) and token in dict(node.enumerators):
            return str(dict(node.enumerators)[token])
    raise _wrong(text, f"the old version has no variable, enumerator or type '{token}'", at)


def _variable(world: World, name: str) -> Variable | None:
    """Return the variable of this name: the global, or the only static there is."""
    found = [v for v in world.program.variables if v.key == name]
    found = found or [
        v for v in world.program.variables if v.name == name and v.storage == "static"
    ]
    return found[0] if len(found) == 1 else None


def _load(variable: Variable, scope: LengthScope) -> str:
    if scope.table is None:
        return variable.name
    pointer = scope.table.spell(Instance(variable.type), "*", const=True)
    return f'(*({pointer})kitsune__launcher->lookup_key(0, "{variable.key}"))'


def _wrong(text: str, why: str, at: Location | None) -> KitsuneError:
    return KitsuneError(
        "K132",
        f"length '{text}' cannot be used: {why}",
        at=at,
        hint="write a C expression over 'self' (the old struct), variables and enumerators of the\n"
        "old version and sizeof of its types, as in 'self.used / sizeof(struct item)'",
    )
