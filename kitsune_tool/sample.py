"""C code that a rule can begin with: it compiles, and does what can be done without knowing more.

In: an old and a new type, and where they meet. Out: the text of a rule's code. Called by plan.py
for what its diagnoses propose. A pointer is never copied: what it points to may have moved.
"""

from __future__ import annotations

from kitsune_tool.compare import type_place
from kitsune_tool.model import UNKNOWN_TYPE, Enum, Scalar
from kitsune_tool.pairs import Where
from kitsune_tool.resolve import Atom, Compound, Instance, Ref, Vector, World

_CLEAR = "memset(&$out, 0, sizeof $out); /* make it from $in */"


def value(old: World, new: World, before: Instance, after: Instance, where: Where) -> str:
    """Return code for a whole value."""
    is_below = where.path.endswith(("->", "[]")) or "(" in where.new_place
    if is_below or not _are_numbers(old, new, before, after):
        return _CLEAR
    return f"$out = {_cast(old, before)}$in;"


def elements(old: World, new: World, before: Vector, after: Vector, where: Where) -> str:
    """Return code for an array of another length."""
    count = min(before.length or 0, after.length or 0)
    body = ""
    if _are_numbers(old, new, before.of, after.of):
        body = f"$out[i] = {_cast(old, before.of)}$in[i];"
    elif names := _transformable(old, new, before.of, after.of):
        body = f"XF_INVOKE($xform({names[0]}, {names[1]}), &$in[i], &$out[i]);"
    if not body or not count or where.path.endswith("[]") or "(" in where.new_place:
        return _CLEAR
    return f"for (size_t i = 0; i < {count}; i++) {body}"


def first_value(new: World, after: Instance) -> str:
    """Return code that initialises a value, "" for what is best left at zero."""
    return "$out = 0;" if isinstance(new.resolve(after), Atom | Ref) else ""


def union(old: World, new: World, before: Instance, after: Instance) -> str:
    """Return code for a union whose member in use is not known."""
    size = min(old.size(before), new.size(after))
    return f"memcpy(&$out, &$in, {size}); /* and convert the member in use */"


def _cast(old: World, before: Instance) -> str:
    """Return a cast to a number: an enum of one version is none of the other."""
    return "(int)" if isinstance(old.node(before), Enum) else ""


def _are_numbers(old: World, new: World, before: Instance, after: Instance) -> bool:
    views = old.resolve(before), new.resolve(after)
    return all(
        isinstance(view, Atom)
        and not (isinstance(view.node, Scalar) and view.node.kind in {"other", "void"})
        and getattr(view.node, "name", "") != UNKNOWN_TYPE
        for view in views
    )


def _transformable(
    old: World, new: World, before: Instance, after: Instance
) -> tuple[str, str] | None:
    """Return the names of two types for `$xform`, None if they have none."""
    names = []
    for world, instance in ((old, before), (new, after)):
        view = world.resolve(instance)
        inner = view.target if isinstance(view, Ref) else instance
        if inner is None or (isinstance(view, Ref) and view.style != "one"):
            return None
        place = type_place(world, inner)
        if place is None or not isinstance(world.resolve(inner), Compound):
            return None
        names.append(place.removeprefix("typedef ") + " *" * isinstance(view, Ref))
    return names[0], names[1]
