"""Which records are one and the same, however they are written.

In: a record in its surroundings (resolve.py's `Compound`). Out: a value that is equal for equal
ones. `struct s E_G(t)` and `struct s E_G(struct u)` are one if `t` is a typedef of `struct u`, and
it does not matter where a binding is written, whose other type parameters it does not mention.
Called by plan.py, so that one object is not taken for two kinds of objects.

`spoken` are the typedefs that some rule names: its values are apart from others of their type.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import assert_never

from kitsune_tool.errors import KitsuneError
from kitsune_tool.resolve import (
    Atom,
    Bits,
    Choice,
    Compound,
    Ignored,
    Instance,
    Ref,
    Vector,
    World,
)


def identity(world: World, view: Compound, spoken: frozenset[str]) -> Hashable:
    """Return what is equal for views of the same record."""
    bound = tuple(
        (name, None if each is None else _bound(world, each, spoken))
        for name, each in view.bindings
    )
    below = tuple((path, each.kind, each.text) for path, each in view.pending)
    return ("record", view.index, bound, below, view.tags)


def _bound(world: World, instance: Instance, spoken: frozenset[str]) -> Hashable:
    names = tuple(name for name in world.typedefs(instance) if f"typedef {name}" in spoken)
    return (names, _view(world, instance, spoken))


def _view(  # noqa: PLR0911 - one case per kind of view
    world: World, instance: Instance, spoken: frozenset[str]
) -> Hashable:
    try:
        view = world.resolve(instance)
    except KitsuneError:  # whoever looks at such values says so; perhaps nobody does
        return instance
    match view:
        case Atom(index):
            return ("atom", index)
        case Ref(style, target, length, _, custom):
            inner = None if target is None else _bound(world, target, spoken)
            return ("pointer", style, inner, length, custom)
        case Vector(of, count, expression):
            return ("array", _bound(world, of, spoken), count, expression)
        case Compound():
            return identity(world, view, spoken)
        case Choice(tags, of):
            return ("choice", tags, _bound(world, of, spoken))
        case Bits() | Ignored():
            return view
        case _:
            assert_never(view)
