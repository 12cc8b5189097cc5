"""The C code of rules: what its `$` words ask for, and what is put in their place.

In: the code as written in the manifest. Out: the uses of closures and of types, and the expanded
code, line for line as it was. Called by plan.py and views.py. Words in strings, character constants
and comments are left alone.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from kitsune_tool.errors import KitsuneError
from kitsune_tool.rules import Rule

_BY_KEY = re.compile(r'\bkitsune_lookup_key_new\s*\(\s*"([^"\n]+)"\s*\)')
_BY_PARTS = re.compile(r'\bGET_NEW_(?:GLOBAL\s*\(|STATIC\s*\(\s*"?([^",\n]+?)"?\s*,)\s*(\w+)\s*\)')
_DEEPEST = 32
_CALL = re.compile(r"(\w*)\s*\((.*)\)", re.DOTALL)
_PIECE = re.compile(
    r'"(?:\\\r?\n|\\.|[^"\\\n])*"|//(?:\\\r?\n|[^\n])*|/\*.*?\*/'
    r"|(?<![\w$])\.?\d(?:'?[\w.])*"  # a number, whose ' may part its digits
    r"|'(?:\\.|[^'\\\n])*'"
    r"|\$(?P<word>\w+)|_kitsune_(?P<version>old|new)_rename_(?P<name>\w+)",
    re.DOTALL,
)


class CodeError(ValueError):
    """Code that cannot be understood; `start` is where in it."""

    def __init__(self, message: str, start: int) -> None:
        super().__init__(message)
        self.start = start


def wrong_code(rule: Rule, error: ValueError | KitsuneError, start: int) -> KitsuneError:
    """Return the diagnosis (K112) of what is wrong in a rule's code, at `start` unless the error
    knows better: with the line inside the code.
    """
    start = error.start if isinstance(error, CodeError) else start
    message = error.message if isinstance(error, KitsuneError) else str(error)
    lines = (rule.code or "").count("\n", 0, start)
    at = dataclasses.replace(rule.code_at, line=rule.code_at.line + lines)
    return KitsuneError("K112", f"rule '{rule.label}': {message}", at=at)


@dataclass(frozen=True, slots=True)
class Use:
    """A `$` word, its arguments (none without parentheses) and where it stands in the code."""

    word: str
    arguments: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ClosureUse:
    """A closure that code asks for: its text without blanks, the types that it is between."""

    text: str
    old: str
    new: str
    start: int = field(default=0, compare=False)


def uses(code: str) -> Iterator[Use]:
    """Yield the `$` words. Raises `CodeError` for an argument list that does not end."""
    position = 0
    while match := _PIECE.search(code, position):
        position = match.end()
        word = match.group("word")
        if word is None:
            continue
        if word in {"oldtype", "newtype", "xform", "gen"}:
            arguments, position = _arguments(code, position, word)
            yield Use(word, arguments, match.start(), position)
        else:
            yield Use(word, (), match.start(), position)


def _arguments(code: str, position: int, word: str) -> tuple[tuple[str, ...], int]:
    start = position + len(code[position:]) - len(code[position:].lstrip())
    if code[start : start + 1] != "(":
        raise CodeError(f"'${word}' needs arguments in parentheses", position)
    depth, cuts = 0, [start]
    for index in range(start, len(code)):
        letter = code[index]
        if letter in "([<":
            depth += 1
        elif letter in ")]>":
            depth -= 1
        if (letter == "," and depth == 1) or depth == 0:
            cuts.append(index)
        if depth == 0:
            return tuple(code[a + 1 : b].strip() for a, b in pairwise(cuts)), index + 1
    raise CodeError(f"the parentheses of '${word}' do not end", position)


def closure_uses(code: str) -> list[ClosureUse]:
    """Return each `$xform(…)` and `$gen(…)`, those in arguments left out; raises `CodeError`."""
    return [_closure_use(code, use) for use in uses(code) if use.word in {"xform", "gen"}]


def _closure_use(code: str, use: Use) -> ClosureUse:
    text = code[use.start : use.end]
    try:
        return ClosureUse(squeezed(text), *_bindings(text), use.start)
    except ValueError as error:
        raise CodeError(str(error), use.start) from error


def squeezed(text: str) -> str:
    """Return code without blanks: how the same use is known again."""
    return re.sub(r"\s+", "", text)


def _bindings(text: str, depth: int = 0) -> tuple[str, str]:
    """Return the old and the new type that a closure stands for, as bindings are written."""
    text = text.strip()
    if depth > _DEEPEST:
        raise ValueError(f"closures lie in each other more than {_DEEPEST} deep")
    if text.startswith("$"):
        use = next(uses(text))
        if use.end == len(text):
            return _words_bindings(use, depth + 1)
    call = _CALL.fullmatch(text)
    if call is not None:
        name, inside = call.groups()
        match name:
            case "":
                return _bindings(inside, depth + 1)
            case "XF_PTR":
                old, new = _bindings(inside, depth + 1)
                return (old, new) if "[opaque]" in {old, new} else (f"{old} *", f"{new} *")
            case "XF_RAW":
                return ("[opaque]", "[opaque]")
            case "XF_NTSTR":
                return ("char *", "char *")
    raise ValueError(
        f"the closure '{text}' cannot be told when the release is built:"
        " write XF_PTR, XF_RAW, XF_NTSTR, $xform or $gen"
    )


def _words_bindings(use: Use, depth: int) -> tuple[str, str]:
    if use.word == "gen":
        (name,) = use.arguments if len(use.arguments) == 1 else ("",)
        name = "@" + name.strip().removeprefix("@")
        if name == "@":
            raise ValueError("'$gen' takes the name of one type parameter")
        return name, name
    if use.word != "xform":
        raise ValueError(f"'${use.word}' is no closure")
    if len(use.arguments) < 2:
        raise ValueError("'$xform' takes an old and a new type, and closures for type parameters")
    old, new, *closures = use.arguments
    both = [_bindings(closure, depth) for closure in closures]
    if not both:
        return old, new
    return tuple(  # type: ignore[return-value]
        f"{text}<{', '.join(each[side] for each in both)}>" for side, text in enumerate((old, new))
    )


def type_uses(code: str) -> list[tuple[str, str, int]]:
    """Return ("old" or "new", type, where) for each type that code names; raises `CodeError`."""
    found = [
        (use.word[:3], use.arguments[0], use.start)
        for use in uses(code)
        if use.word in {"oldtype", "newtype"} and use.arguments
    ]
    spelled = re.finditer(r"(struct|union|enum)?\s*_kitsune_(old|new)_rename_(\w+)", code)
    found += [(m[2], f"{m[1] or ''} {m[3]}".strip(), m.start(2)) for m in spelled]
    return found


def looked_up(code: str) -> list[str]:
    """Return the keys of the new version that code looks up by a literal."""
    found = [match.group(1) for match in _BY_KEY.finditer(code)]
    for match in _BY_PARTS.finditer(code):
        file, name = match.group(1), match.group(2)
        found.append(f"{file}/{name}" if file else name)
    return found


def expand(code: str, replace: Callable[[Use], str]) -> str:
    """Return `code` with each `$` word replaced; raises `CodeError`."""
    parts: list[str] = []
    position = 0
    for use in uses(code):
        try:
            parts += [code[position : use.start], replace(use)]
        except (ValueError, KitsuneError) as error:
            message = error.message if isinstance(error, KitsuneError) else str(error)
            raise CodeError(message, use.start) from error
        position = use.end
    return "".join(parts) + code[position:]
