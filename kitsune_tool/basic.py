"""The types that every C program has, whether or not its record mentions them.

In: nothing. Out: C's arithmetic types, and the typedefs of <stdint.h> and <stddef.h>, as model
types. Called by resolve.py for bindings: the record of a program has the types that its own
variables and structs reach, but a `void *` may be said to point to any.

The sizes are those of the machines that the runtime knows (LP64); generated code asserts those that
are used, so that an option that changes one (`-mlong-double-64`) stops the build.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from kitsune_tool.model import UNKNOWN, Scalar, Type, Typedef, TypeIndex

_Kind: TypeAlias = Literal["void", "bool", "signed", "unsigned", "float", "complex", "other"]

_SCALARS: tuple[tuple[str, _Kind, int], ...] = (
    ("void", "void", UNKNOWN),
    ("_Bool", "bool", 1),
    ("char", "signed", 1),
    ("signed char", "signed", 1),
    ("unsigned char", "unsigned", 1),
    ("short", "signed", 2),
    ("unsigned short", "unsigned", 2),
    ("int", "signed", 4),
    ("unsigned int", "unsigned", 4),
    ("long", "signed", 8),
    ("unsigned long", "unsigned", 8),
    ("long long", "signed", 8),
    ("unsigned long long", "unsigned", 8),
    ("float", "float", 4),
    ("double", "float", 8),
    ("long double", "float", 16),
    ("__int128", "other", 16),
    ("unsigned __int128", "other", 16),
)
_OF_BITS = {8: "char", 16: "short", 32: "int", 64: "long"}
_FAST = {8: "char", 16: "long", 32: "long", 64: "long"}
_OTHERS = {
    "bool": "_Bool",
    "intptr_t": "long",
    "uintptr_t": "unsigned long",
    "intmax_t": "long",
    "uintmax_t": "unsigned long",
    "size_t": "unsigned long",
    "ssize_t": "long",
    "ptrdiff_t": "long",
    "wchar_t": "int",
}


def add_basic(types: Sequence[Type]) -> tuple[tuple[Type, ...], dict[str, TypeIndex]]:
    """Return `types` and behind them those of C's that they lack, with the indices of these by
    name. A program's own type of a name is the one that it means.
    """
    known = {t.name: at for at, t in enumerate(types) if isinstance(t, Scalar | Typedef)}
    grown, added = list(types), dict[str, TypeIndex]()

    def add(name: str, node: Type) -> None:
        if name not in known:
            known[name] = added[name] = len(grown)
            grown.append(node)

    for name, kind, size in _SCALARS:
        add(name, Scalar(name, kind, size, size))
    for name, to in _typedefs():
        add(name, Typedef(name, known[to], system=True))
    return tuple(grown), added


def _typedefs() -> Iterator[tuple[str, str]]:
    for bits, base in _OF_BITS.items():
        for stem, of in (("int", base), ("int_least", base), ("int_fast", _FAST[bits])):
            yield f"{stem}{bits}_t", "signed char" if of == "char" else of
            yield f"u{stem}{bits}_t", f"unsigned {of}"
    yield from _OTHERS.items()
