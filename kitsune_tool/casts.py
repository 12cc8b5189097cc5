"""Casts in function bodies that take a pointer for one to another type, or for a number.

In: the text of a function. Out: each cast with its type and, where that can be seen, its operand's
type. extract.py calls it, and keeps those that have to do with the program's own structs.

Nothing is parsed: one regular expression goes through the body, past strings and comments. What
cannot be told from tokens (the type of `f(x)->y`) is left open. The result of an allocator, and of
zero, is nobody's yet, so a cast of it hides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_STARS = r"(?:\s*\*(?:\s*(?:const|volatile|restrict|__restrict)\b)*)*"
_CAST = rf"\(\s*+([A-Za-z_$][\w$]*+(?:\s++[A-Za-z_$][\w$]*+)*+)({_STARS})\s*\)(?=\s*[\w$(&*\"])"
_INNER = re.compile(rf"\s*{_CAST}")
_TOKEN = re.compile(
    r'"(?:[^"\\\n]|\\.)*+"'
    r"|'(?:[^'\\\n]|\\.)*+'"
    r"|/\*.*?\*/|//[^\n]*"
    rf"|{_CAST}",
    re.DOTALL,
)
_BEFORE = re.compile(r"([\w$]+|\])\s*\Z")
_OPERAND = re.compile(r"[\s(]*(&?)\s*([A-Za-z_$][\w$]*|\d\w*)(?:[\s)]*(\(|\[|\.|->))?")
_ALONE = re.compile(r"\s*(?:&?\s*[A-Za-z_$][\w$]*|\([\s(&]*[A-Za-z_$][\w$]*\s*\))")
_DECLARED = re.compile(
    r"\b((?:struct|union)\s+[\w$]+|[A-Za-z_$][\w$]*)\s*(\*[\s*]*)?"
    r"\b([A-Za-z_$][\w$]*)\s*(?=[,;=)\[])"
)
_QUALIFIERS = frozenset(("const", "volatile", "restrict", "__restrict", "__extension__"))
_STATEMENTS = frozenset(("return", "else", "do", "case", "__extension__"))
_NUMBERS = frozenset(("unsigned", "signed", "long", "int"))
_SCALARS = _NUMBERS | {"char", "short", "void", "float", "double"}
_ADDRESSES = frozenset(("uintptr_t", "intptr_t"))
_ALLOCATORS = frozenset(
    ("malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "memalign", "alloca", "strdup",
     "__builtin_alloca", "__builtin_malloc", "__builtin_calloc", "__builtin_realloc", "mmap")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundCast:
    """A cast at `offset`. A type is a text like `struct item *`; that of the operand is empty if it
    is not known. `is_address`: the operand is one for sure, whatever its type.
    """

    offset: int
    target: str
    source: str
    is_address: bool = False

    @property
    def makes_number(self) -> bool:
        """Tell whether an address becomes a number, or may: what else is `uintptr_t` for."""
        is_for_addresses = self.target in _ADDRESSES
        return is_for_addresses or (self.is_address and _NUMBERS.issuperset(self.target.split()))


def find_casts(
    text: str, start: int, body: tuple[int, int], is_typedef: Callable[[str], bool]
) -> Iterator[FoundCast]:
    """Yield the casts of the function that begins at `start`, in order: those to pointers, and
    those of pointers to numbers.
    """
    declared: dict[str, str] | None = None
    for match in _TOKEN.finditer(text, *body):
        target = _target(text, match, is_typedef)
        if not target:
            continue
        inner = _INNER.match(text, match.end())
        source = _target(text, inner, is_typedef) if inner is not None else ""
        operand = _OPERAND.match(text, match.end())
        if source or operand is None:
            yield FoundCast(match.start(), target, source, source.endswith("*"))
            continue
        taken, name, follows = operand.groups()
        if name[0].isdigit() or (name in _ALLOCATORS and follows == "("):
            continue
        if follows is None and _ALONE.match(text, match.end()):
            if declared is None:
                declared = _declarations(text, start, body[1], is_typedef)
            source = _with_star(declared.get(name, "")) if taken else declared.get(name, "")
        yield FoundCast(match.start(), target, source, bool(taken) or source.endswith("*"))


def _target(text: str, match: re.Match[str], is_typedef: Callable[[str], bool]) -> str:
    """Return the type that stands in the parentheses, "" if they are no cast."""
    if match[1] is None:
        return ""
    before = _BEFORE.search(text, max(0, match.start() - 40), match.start())
    if before is not None and before[1] not in _STATEMENTS:
        return ""  # a call, `sizeof`, or a declaration's parameters
    words = [word for word in match[1].split() if word not in _QUALIFIERS]
    if not words:
        return ""
    stars = match[2].count("*")
    is_tagged = len(words) == 2 and words[0] in {"struct", "union"}
    is_name = len(words) == 1 and (stars > 0 or is_typedef(words[0]))
    if not is_tagged and not is_name and not _SCALARS.issuperset(words):
        return ""
    if not stars and not is_tagged and not is_name and "long" not in words:
        return ""  # too short for an address
    return f"{' '.join(words)} {'*' * stars}".rstrip()


def _declarations(
    text: str, start: int, end: int, is_typedef: Callable[[str], bool]
) -> dict[str, str]:
    """Return the types of the parameters and locals that have simple ones."""
    found: dict[str, str] = {}
    for written, stars, name in _DECLARED.findall(text, start, end):
        base = " ".join(written.split())
        if " " in base or base in _SCALARS or is_typedef(base):
            found.setdefault(name, f"{base} {'*' * stars.count('*')}".rstrip())
    return found


def _with_star(of: str) -> str:
    if not of:
        return ""
    return f"{of}*" if of.endswith("*") else f"{of} *"
