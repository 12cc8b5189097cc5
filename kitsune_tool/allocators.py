"""Allocators of the program's own, from which objects that move get their new blocks.

In: the text of `custom(ALLOC, FREE)` and the new version. Out: an `Allocator`, or why there is
none. Called by plan.py; views.py prints what it takes to call the two functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from kitsune_tool.model import Function, Pointer, Scalar
from kitsune_tool.resolve import Instance, World

_PLAIN = ("malloc", "free")


@dataclass(frozen=True, slots=True)
class Allocator:
    """`allocate` takes the size as a `size_type` and returns a block, `release` takes one back."""

    allocate: str
    release: str
    size_type: str


def find_allocator(world: World, text: str) -> Allocator | str | None:
    """Return the allocator, None for malloc's, or a text that says why it cannot be used."""
    names = [each.strip() for each in text.split(",")]
    if len(names) != 2:
        return "it must name two functions"
    if tuple(names) == _PLAIN:
        return None
    allocate, release = (_function(world, name) for name in names)
    if isinstance(allocate, str) or isinstance(release, str):
        return next(each for each in (allocate, release) if isinstance(each, str))
    size = _only_parameter(world, allocate)
    is_size = isinstance(size, Scalar) and size.kind in {"signed", "unsigned"} and size.size >= 4
    if not (is_size and isinstance(world.node(Instance(allocate.result)), Pointer)):
        return _unlike(world, names[0], allocate, "void *(size_t)")
    assert isinstance(size, Scalar)
    if not isinstance(_only_parameter(world, release), Pointer):
        return _unlike(world, names[1], release, "void (void *)")
    return Allocator(names[0], names[1], size.name)


def _function(world: World, name: str) -> Function | str:
    found = world.functions.get(name)
    if found is None:
        near = [f.key for f in world.functions.values() if f.name == name]
        if near:
            return f"'{near[0]}' is static: only what is global can be called"
        return f"the new version defines no function '{name}'"
    node = None if found.type is None else world.node(Instance(found.type))
    if isinstance(node, Function):
        return node
    return f"'{name}' is not like 'void *(size_t)' or 'void (void *)'"


def _only_parameter(world: World, function: Function) -> object:
    if function.variadic or len(function.parameters) != 1:
        return None
    return world.node(Instance(function.parameters[0].type))


def _unlike(world: World, name: str, function: Function, wanted: str) -> str:
    parameters = ", ".join(world.spell(Instance(p.type)) for p in function.parameters)
    found = f"{world.spell(Instance(function.result))} ({parameters})"
    return f"'{name}' is a '{found}', not like '{wanted}'"
