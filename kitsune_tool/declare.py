"""How a type of a program is spelled in C.

In: a `Program`'s types, an index, and what the declared thing is called. Out: C text. Called by
resolve.py for messages (the user's own names) and by views.py for generated code (names of either
version). Typedefs are spelled out, so that a declaration needs no more than the tags it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from kitsune_tool.model import (
    Array,
    Enum,
    Function,
    Pointer,
    Record,
    Scalar,
    Type,
    Typedef,
    TypeIndex,
    TypeParameter,
)

NameOf: TypeAlias = Callable[[TypeIndex], str]
"""The spelling of a record, enum or other type that has no parts to spell."""


def strip(types: Sequence[Type], index: TypeIndex) -> TypeIndex:
    """Return the type behind all typedefs."""
    node = types[index]
    while isinstance(node, Typedef):
        index = node.to
        node = types[index]
    return index


def user_name(types: Sequence[Type], index: TypeIndex) -> str:
    """Return the name under which the user knows a record, enum or arithmetic type."""
    node = types[index]
    match node:
        case Record(kind=kind, tag=tag, typedef_name=typedef_name):
            return f"{kind} {tag}" if tag else typedef_name or f"anonymous {kind}"
        case Enum(tag=tag, typedef_name=typedef_name):
            return f"enum {tag}" if tag else typedef_name or "anonymous enum"
        case Scalar(name=name) | Typedef(name=name):
            return name
        case TypeParameter():
            return "void"
        case _:
            raise TypeError(f"{type(node).__name__} has no name of its own")


def declare(
    types: Sequence[Type], index: TypeIndex, inner: str, name_of: NameOf, *, const: bool = False
) -> str:
    """Return the C declaration of `inner`, which may be empty or a declarator such as `(*in)[4]`.

    `const` qualifies the type itself (of an array: its elements).
    """
    while True:
        index = strip(types, index)
        node = types[index]
        match node:
            case Pointer(to=to, const_target=const_target):
                inner = ("*const " if const else "*") + inner
                const = const_target
                if isinstance(types[strip(types, to)], Array | Function):
                    inner = f"({inner.rstrip()})"
                index = to
            case Array(of=of, length=length):
                inner += "[]" if length is None else f"[{length}]"
                index = of
            case Function(result=result):
                inner += f"({_parameters(types, node, name_of)})"
                index, const = result, False
            case _:
                base = ("const " if const else "") + name_of(index)
                return f"{base} {inner}".rstrip()


def _parameters(types: Sequence[Type], node: Function, name_of: NameOf) -> str:
    if not node.prototype:
        return ""
    texts = [declare(types, each.type, "", name_of) for each in node.parameters]
    if node.variadic:
        texts.append("...")
    return ", ".join(texts) or "void"
