"""C expressions of annotations, over the old object, turned into generated C.

In: the text of `ptrarray(…)`, `array(…)`, `bytes(…)`, a union's `by:` or a label. Out: the
expression as generated code writes it. `self` is the old struct around the value, `$in` the value
itself; other names are variables of the old version, its enumerators and types, and macros that the
manifest's preamble brings. Called by views.py, and by plan.py (without a `TypeTable`) for the
errors only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from kitsune_tool.declare import declare
from kitsune_tool.definitions import TypeTable
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.model import Array, Enum, Typedef, Variable
from kitsune_tool.nearest import did_you_mean
from kitsune_tool.pairs import Each, Op, Point, Tagged
from kitsune_tool.resolve import Compound, Instance, World

_TOKEN = re.compile(
    r"\s*(?:(?P<tagged>(?:struct|union|enum)\s+\w+)|(?P<word>[A-Za-z_$][\w$]*)"
    r"|(?P<number>\d[\w.]*|'(?:\\.|[^'\\\n])')|(?P<mark>->|<<|>>|[=!<>]=|&&|\|\||[-+*/%()\[\].,<>=!&|^~?:]))"
)
_CALLS = frozenset(["sizeof", "strlen"])
_KEYWORDS = _CALLS | frozenset(
    ["int", "unsigned", "signed", "long", "short", "char", "void", "float", "double"]
)
_SPACED = frozenset("+/%<>?:|^*-&") | {"&&", "||", "==", "!=", "<=", ">=", "<<", ">>"}
MACRO_PREFIX = "_kitsune_macro_"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may name.

    `owner` is the old struct that `self` is, None if there is none; `value` is how generated code
    writes the value itself, empty if it cannot be named. `bare`: a member of `owner` that is the
    whole expression needs no `self.` in front. `macros`: words that are nothing else may be macros;
    those met are collected.
    """

    world: World
    owner: Compound | None
    table: TypeTable | None = None
    what: str = "length"
    value: str = ""
    bare: bool = False
    macros: set[str] | None = None


def translate(text: str, scope: Scope, at: Location | None) -> str:
    """Return the expression in generated C, over `in`. Raises K132."""
    parts: list[str] = []
    position, before = 0, ""
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _wrong(text, f"'{text[position:].strip()}' is no C expression", scope, at)
        position = match.end()
        token = match.group().strip()
        if match.group("word") and before in {".", "->"}:
            if not _is_outer(parts, token, scope):
                _check_member(parts, token, text, scope, at)
                parts.append(token)
        elif match.group("word") or match.group("tagged"):
            known = _name(token, text, scope, at)
            if known.startswith(MACRO_PREFIX) and text[position:].lstrip().startswith("("):
                why = f"'{token}' is called, but a macro must be a number, without arguments"
                raise _wrong(text, why, scope, at)
            parts.append(known)
        else:
            parts.append(token)
        before = token
    if not parts:
        raise _wrong(text, "it is empty", scope, at)
    if scope.table and scope.owner and "->" in text:
        scope.table.need_reachable(scope.owner.index)
    return _joined(parts)


def texts_of(op: Op) -> list[tuple[str, str]]:
    """Return the expressions of an operation and what each is: a length, tag, label, condition."""
    if isinstance(op, Point | Each):
        return [(op.length, "length")] if op.length else []
    if not isinstance(op, Tagged):
        return []
    labels = [label for case in op.cases for label in case.labels]
    if not op.by:
        return [(label, "condition") for label in labels]
    return [(op.by, "tag"), *((label, "label") for label in labels)]


def needs_owner(world: World, text: str) -> bool:
    """Tell whether an expression asks for the struct around the value."""
    if re.fullmatch(r"\w+", text) and not text.isdigit():
        return _of_program(text, Scope(world, None)) is None
    return re.search(r"\bself\b", text) is not None


def _joined(parts: list[str]) -> str:
    """Set blanks as a person would: around operators, none around `.`, `->` and parentheses."""
    text = ""
    for part in parts:
        text += f" {part} " if part in _SPACED else part
    return text.replace("  ", " ").strip().replace("(*in).", "in->")


def _is_outer(parts: list[str], name: str, scope: Scope) -> bool:
    """Put a member of the struct around a nameless struct in the place of `self.`, if it is one."""
    owner = scope.owner
    if parts[-2:] != ["(*in)", "."] or owner is None or scope.world.member(owner, name):
        return False
    found = scope.world.outer_member(owner.index, name)
    if found is None:
        return False
    instance, offset = found
    pointer = scope.table.spell(instance, "*", const=True) if scope.table else ""
    parts[-2:] = [f"(*({pointer})((const char *)in + {offset}))"]
    return True


def _check_member(
    parts: list[str], name: str, text: str, scope: Scope, at: Location | None
) -> None:
    if parts[-2:-1] != ["(*in)"] or scope.owner is None:
        return
    if scope.world.member(scope.owner, name) is None:
        record = scope.world.spell(Instance(scope.owner.index))
        near = did_you_mean(name, (m.name for m in scope.world.members(scope.owner)))
        why = f"'{record}' of the old version has no member '{name}'{near}"
        raise _wrong(text, why, scope, at)


def _name(token: str, text: str, scope: Scope, at: Location | None) -> str:
    if token in _KEYWORDS:
        return token if token in _CALLS else token + " "
    if token == "self":
        if scope.owner is None:
            raise _wrong(text, "'self' is only for a member of a struct", scope, at)
        return "(*in)"
    if token == "$in" and scope.value:
        return scope.value
    is_all = scope.bare and token == text.strip()
    if is_all and scope.owner and scope.world.member(scope.owner, token) is not None:
        return f"in->{token}"
    known = _of_program(token, scope)
    if known is not None:
        return known
    if scope.macros is not None and re.fullmatch(r"\w+", token):
        scope.macros.add(token)
        return MACRO_PREFIX + token
    near = did_you_mean(token, (v.name for v in scope.world.program.variables))
    why = f"the old version has no variable, enumerator or type '{token}'{near}"
    raise _wrong(text, why, scope, at)


def _of_program(token: str, scope: Scope) -> str | None:
    """Return what the program knows under this name, in generated C."""
    world = scope.world
    variable = _variable(world, token)
    if variable is not None:
        return _load(variable, scope)
    functions = world.functions
    function = functions.get(token) or _only(f for f in functions.values() if f.name == token)
    if function is not None and function.registered:
        return f'kitsune__launcher->lookup_key(0, "{function.key}")' if scope.table else token
    index = world.find(re.sub(r"\s+", " ", token))
    if index is not None and (" " in token or isinstance(world.types[index], Typedef)):
        if scope.table is None:
            return token
        scope.table.need(index)
        return declare(world.types, index, "", scope.table.name_of)
    value = enumerator(world, token)
    return None if value is None else str(value)


def enumerator(world: World, name: str) -> int | None:
    """Return the value of an enumerator of the program, None if it has none of that name."""
    for node in world.types:
        if isinstance(node, Enum):
            for each, value in node.enumerators:
                if each == name:
                    return value
    return None


def _only(found: Iterable[_T]) -> _T | None:
    known = list(found)
    return known[0] if len(known) == 1 else None


def _variable(world: World, name: str) -> Variable | None:
    """Return the variable of this name: the global, or the only static there is."""
    variables = world.program.variables
    return _only(v for v in variables if v.key == name) or _only(
        v for v in variables if v.name == name and v.storage == "static"
    )


def _load(variable: Variable, scope: Scope) -> str:
    if scope.table is None:
        return variable.name
    scope.table.need_reachable(variable.type)
    is_array = isinstance(scope.world.node(Instance(variable.type)), Array)
    pointer = scope.table.spell(Instance(variable.type), "(*)" if is_array else "*", const=True)
    return f'(*({pointer})kitsune__launcher->lookup_key(0, "{variable.key}"))'


def _wrong(text: str, why: str, scope: Scope, at: Location | None) -> KitsuneError:
    macros = "" if scope.macros is not None else "; macros need a 'preamble' that includes them"
    example = "'self.used / sizeof(struct item)'" if scope.what == "length" else "'self.kind'"
    return KitsuneError(
        "K132",
        f"{scope.what} '{text}' cannot be used: {why}",
        at=at,
        hint="write a C expression over 'self' (the old struct), variables and enumerators of the\n"
        f"old version and sizeof of its types, as in {example}{macros}",
    )
