"""Paths of state specs and bindings of generic types, from text to data.

In: the text of a path (`struct item.next`, `typedef t`, `conn.c/My_Array.mem`) or of a binding
(`list<struct client *>`, `[opaque]`, `@t`). Out: `Path`, `Binding`. Called by rules.py, annotate.py
and resolve.py. Nothing here knows a program: whether a path names anything is found out later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["struct", "union", "enum", "typedef", "key", "point"]

_KEY = re.compile(r"[$_A-Za-z](?:[$_A-Za-z0-9#/@.]|-(?!>))*")
_NAME = re.compile(r"[$_A-Za-z][$_A-Za-z0-9]*")
_TAGGED = re.compile(r"(?:((?:[\w.+-]+/)*[\w.+-]+)/)?(struct|union|enum|typedef)\s+")
_TAG_WORDS = frozenset(["struct", "union", "enum", "typedef"])
_LABEL = re.compile(r"\s*('[^']*'|[^']*?)\s*->\s*(.*?)\s*", re.DOTALL)
_ANONYMOUS = re.compile(r"__anon(?:struct|union|enum)_(\w+)_\d+")


@dataclass(frozen=True, slots=True)
class Path:
    """A type (`kind` and its name) or a key, with the members below it; or an update point.

    In a key the file may hold dots, so `a.c/v.f` is not cut here: `name` is the whole text then
    and `key_splits` offers the ways to cut it. `unit` is the file whose type is meant, where
    several have one of that name.
    """

    kind: Kind
    name: str
    fields: tuple[str, ...] = ()
    unit: str = ""

    def __str__(self) -> str:
        if self.kind == "point":
            return f"'{self.name}'"
        head = self.name if self.kind == "key" else f"{self.kind} {self.name}"
        head = f"{self.unit}/{head}" if self.unit else head
        return ".".join((head, *self.fields))

    def parent(self) -> Path:
        """Return the path without its last member."""
        return Path(self.kind, self.name, self.fields[:-1], self.unit)


def parse_path(text: str) -> Path:
    """Parse a path; raises `ValueError` with what is wrong."""
    text = text.strip()
    if len(text) > 2 and text[0] == text[-1] == "'":
        return Path("point", text[1:-1])
    tagged = _TAGGED.match(text)
    if tagged is None:
        if not _KEY.fullmatch(text) or text.endswith(".") or text in _TAG_WORDS:
            raise ValueError(f"'{text}' is no name of a variable, function or type")
        return Path("key", text)
    name, *fields = re.split(r"\s*\.\s*", text[tagged.end() :])
    for part in (name, *fields):
        if not _NAME.fullmatch(part):
            raise ValueError(f"'{part}' in '{text}' is no name")
    unit = tagged.group(1)
    kind: Kind = tagged.group(2)  # type: ignore[assignment]
    if unit and kind == "typedef":
        raise ValueError(f"'{text}': a file goes in front of struct, union and enum only")
    return Path(kind, original_name(name), tuple(fields), unit or "")


def split_label(text: str) -> tuple[str, str] | None:
    """Return the two paths of `OLD -> NEW`, None if there is no arrow outside of quotes."""
    match = _LABEL.fullmatch(text)
    return (match.group(1), match.group(2)) if match else None


def original_name(name: str) -> str:
    """Return the field's name of the original's `__anonstruct_field_7`, else `name`."""
    match = _ANONYMOUS.fullmatch(name)
    return match.group(1) if match else name


def key_splits(path: Path) -> tuple[Path, ...]:
    """Return the ways to read a key's path, the longest key (fewest members) first.

    `a.c/v.f.g` is the key `a.c/v.f.g`, or `a.c/v.f` with member `g`, or `a.c/v` with `f.g`: the cut
    is behind the last slash only. An ordinal (`f#v.2`) stays with the key, being no member's name.
    """
    assert path.kind == "key"
    head, slash, tail = path.name.rpartition("/")
    parts = tail.split(".")
    cuts = range(len(parts), 0, -1)
    return tuple(
        Path("key", head + slash + ".".join(parts[:cut]), tuple(parts[cut:]))
        for cut in cuts
        if all(_NAME.fullmatch(part) for part in parts[cut:])
    )


def matches_key(pattern: str, key: str) -> bool:
    """Tell whether `pattern` is `key`, or its end at the border of a path component.

    A namespace in front (`ns@`) must be written in both or in none.
    """
    if pattern == key:
        return True
    pattern_space, _, pattern_rest = pattern.rpartition("@")
    space, _, rest = key.rpartition("@")
    return "/" in pattern_rest and space == pattern_space and rest.endswith("/" + pattern_rest)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a type parameter stands for.

    `kind` is "opaque" (a word to keep), "parameter" (`name` has its @), "record" or "enum" (`name`
    is `struct s`, `union u`, `enum e`) or "named" (a typedef or an arithmetic type). `stars` counts
    the pointers around it. `unit` is the file whose type is meant, if several have one.
    """

    kind: Literal["opaque", "parameter", "record", "enum", "named"]
    name: str = ""
    arguments: tuple[Binding, ...] = ()
    stars: int = 0
    unit: str = ""


_TOKEN = re.compile(
    r"\s*((?:[\w.+-]+/)+(?=\s*(?:struct|union|enum)\b)|@\w+|\[\s*opaque\s*\]|[A-Za-z_$][\w$]*|[<>,*()])"
)


def parse_bindings(text: str) -> tuple[Binding, ...]:
    """Parse the list between the parentheses of `E_G(…)`; raises `ValueError`."""
    tokens = _tokens(text)
    bindings = [_binding(tokens)]
    while tokens and tokens[0] == ",":
        tokens.pop(0)
        bindings.append(_binding(tokens))
    if tokens:
        raise ValueError(f"'{tokens[0]}' is not expected in the bindings '{text.strip()}'")
    return tuple(bindings)


def parse_binding(text: str) -> Binding:
    """Parse one type as it stands in a binding, `element(…)` or `$oldtype(…)`."""
    bindings = parse_bindings(text)
    if len(bindings) != 1:
        raise ValueError(f"'{text.strip()}' is not one type")
    return bindings[0]


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"'{text[position:]}' is no type or type parameter")
        tokens.append(match.group(1))
        position = match.end()
    return tokens


def _binding(tokens: list[str]) -> Binding:
    if not tokens:
        raise ValueError("a type is missing")
    head = tokens.pop(0)
    unit = ""
    if head.endswith("/") and tokens:
        unit, head = head[:-1], tokens.pop(0)
    if head.startswith("@"):
        found = Binding("parameter", head)
    elif head.startswith("["):
        found = Binding("opaque")
    else:
        found = _named(head, tokens)
    stars = 0
    while tokens and tokens[0] == "*":
        tokens.pop(0)
        stars += 1
    return Binding(found.kind, found.name, found.arguments, stars, unit)


_WORDS = frozenset(
    ["void", "char", "short", "int", "long", "signed", "unsigned", "float", "double", "_Bool"]
)


def _named(head: str, tokens: list[str]) -> Binding:
    while head in {"const", "volatile"} and tokens:
        head = tokens.pop(0)
    if head in {"struct", "union", "enum", "typedef"}:
        if not tokens or not _NAME.fullmatch(tokens[0]):
            raise ValueError(f"a name is missing behind '{head}'")
        name = tokens.pop(0)
        kind = {"enum": "enum", "typedef": "named"}.get(head, "record")
        text = name if head == "typedef" else f"{head} {name}"
        return Binding(kind, text, _arguments(tokens))  # type: ignore[arg-type]
    if not _NAME.fullmatch(head):
        raise ValueError(f"'{head}' is no type")
    words = [head]
    while head in _WORDS and tokens and tokens[0] in _WORDS:
        words.append(tokens.pop(0))
    return Binding("named", canonical_scalar(words), _arguments(tokens))


def _arguments(tokens: list[str]) -> tuple[Binding, ...]:
    if not tokens or tokens[0] != "<":
        return ()
    tokens.pop(0)
    arguments = [_binding(tokens)]
    while tokens and tokens[0] == ",":
        tokens.pop(0)
        arguments.append(_binding(tokens))
    if not tokens or tokens.pop(0) != ">":
        raise ValueError("'>' is missing")
    return tuple(arguments)


def canonical_scalar(words: list[str]) -> str:
    """Return the canonical spelling of an arithmetic type written as `words`, in any order.

    One word that is no arithmetic type (a typedef's name) is returned as it is.
    """
    if not set(words) <= _WORDS:
        return " ".join(words)
    if words == ["signed"]:
        return "int"
    sign = "unsigned " if "unsigned" in words else ""
    rest = [word for word in words if word not in {"signed", "unsigned"}]
    if "char" in rest:
        return "signed char" if "signed" in words else sign + "char"
    longs = rest.count("long")
    if "double" in rest or "float" in rest or rest in (["void"], ["_Bool"]):
        return " ".join(sorted(rest, key=lambda word: word != "long"))
    if "short" in rest:
        return sign + "short"
    return sign + ("long " * longs).strip() if longs else sign + "int"
