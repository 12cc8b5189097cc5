"""Which pairs move, which must be visited, and which are closed.

In: the pairs that plan.py made, and what the old image has objects of. Out: their `moved`,
`visited`, `embedded` and `into_moved` filled in. Called by plan.py.

A type is closed if no value reachable from it can hold an address of the image: no function
pointer, no pointer to something of which the image has an object, no unexplained `void *`. What is
closed and has nothing changed below it is copied, and nothing behind it is visited. A pointer to
bytes counts as closed: constants of the old version stay mapped as long as something points there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from kitsune_tool.model import Array, Enum, Pointer, Record, Scalar, Variable
from kitsune_tool.pairs import (
    Coded,
    Convert,
    Each,
    Fields,
    LeftAlone,
    MapEnum,
    Pair,
    Point,
    Tagged,
    Words,
    parts,
)
from kitsune_tool.resolve import Instance, World

Key: TypeAlias = tuple[str, int]
"""Types that C lets alias, put into one: scalars by size, all pointers, each record."""

BYTE: Key = ("scalar", 1)


def key_of(world: World, instance: Instance) -> Key:
    """Return the key of a type."""
    if instance.stars:
        return ("pointer", 0)
    node = world.node(instance)
    match node:
        case Pointer():
            return ("pointer", 0)
        case Scalar(size=size) | Enum(size=size):
            return ("scalar", size)
        case Array(of=of):
            return key_of(world, Instance(of))
        case _:
            return ("record", world.stripped(instance))


def image_keys(world: World) -> frozenset[Key]:
    """Return the keys of all that the image has objects of, members and elements included."""
    return _keys(world, (v for v in world.program.variables if not v.is_local))


def _keys(world: World, variables: Iterable[Variable]) -> frozenset[Key]:
    found: set[Key] = set()
    for variable in variables:
        _add_contents(world, Instance(variable.type), found)
    return frozenset(found)


def _add_contents(world: World, instance: Instance, found: set[Key]) -> None:
    node = world.node(instance)
    if isinstance(node, Array):
        _add_contents(world, Instance(node.of), found)
        return
    key = key_of(world, instance)
    if key in found:
        return
    found.add(key)
    if isinstance(node, Record):
        for field in node.fields:
            _add_contents(world, Instance(field.type), found)


def analyse(
    pairs: Iterable[Pair], old: World, locals_: Iterable[Variable] = (), *, seek: bool = False
) -> frozenset[Key]:
    """Fill in the results; returns the keys of what may be pointed into and moves.

    `locals_` are the old version's locals that are migrated: they too get another address. Bytes
    among them make every text worth a visit: unlike constants, they do not stay where they were.
    `seek`: addresses of the image are found by a look through memory; no visit is made for them.
    """
    pairs = tuple(pairs)
    spread_moved(pairs)
    into_moved = _find_embedded(pairs, old)
    of_locals = _keys(old, locals_)
    special = into_moved | of_locals | (frozenset() if seek else image_keys(old))
    _spread_visited(pairs, _Worth(old, special, texts_move=BYTE in of_locals, seek=seek))
    return into_moved


def spread_moved(pairs: Iterable[Pair]) -> None:
    """Fill in `moved`."""
    pairs = tuple(pairs)
    changed = True
    while changed:
        changed = False
        for pair in pairs:
            if not pair.moved and _moves(pair):
                pair.moved = changed = True


def _moves(pair: Pair) -> bool:
    match pair.op:
        case Convert() | MapEnum() | Coded() | LeftAlone():
            return True
        case Each(of=of, count=count, old_count=old_count):
            return of.moved or count != old_count
        case Fields(steps=steps, same_layout=same_layout):
            return not same_layout or any(
                step.pair is None or step.rule is not None or step.pair.moved for step in steps
            )
        case Words(grows=grows):
            return grows
        case Tagged(old_size=old_size, new_size=new_size):
            return old_size != new_size or _cases_move(pair.op)
        case _:
            return False


def _cases_move(op: Tagged) -> bool:
    """Whether the bytes of some case change: a member that is elsewhere, or made by a rule."""
    steps = [step for case in op.cases for step in case.steps]
    return any(part.moved for part in parts(op)) or any(
        step.pair is None or step.old is None or step.old.offset != step.new.offset
        for step in steps
    )


def _find_embedded(pairs: tuple[Pair, ...], old: World) -> frozenset[Key]:
    into_moved: set[Key] = set()
    for pair in pairs:
        for part in parts(pair.op):
            part.embedded = True
        if isinstance(pair.op, Point) and pair.op.target is not None:
            pair.op.target.pointed = True
            if pair.op.style in {"array", "terminated"}:
                pair.op.target.embedded = True
                if pair.op.target.moved:
                    into_moved.add(key_of(old, pair.op.target.old))
    for pair in pairs:
        if pair.pointed and pair.moved and not isinstance(pair.op, LeftAlone):
            _add_inner(pair, old, into_moved, set())
    for pair in pairs:
        pair.into_moved = key_of(old, pair.old) in into_moved
    return frozenset(into_moved)


def inside_visited(pairs: Iterable[Pair], old: World) -> frozenset[Key]:
    """Return the keys of what lies inside objects whose pointers are rewritten."""
    found: set[Key] = set()
    for pair in pairs:
        if pair.pointed and pair.visited:
            _add_inner(pair, old, found, set())
    return frozenset(found)


def _add_inner(pair: Pair, old: World, found: set[Key], seen: set[int]) -> None:
    """Add the keys of what lies inside objects of `pair`; lone bytes are not pointed to."""
    for part in parts(pair.op):
        if part.number not in seen:
            seen.add(part.number)
            key = key_of(old, part.old)
            if key != BYTE or isinstance(part.op, Each):
                found.add(key)
            _add_inner(part, old, found, seen)


@dataclass(frozen=True, slots=True)
class _Worth:
    """What makes a value worth a visit. `special`: what gets another address by itself."""

    old: World
    special: frozenset[Key]
    texts_move: bool
    seek: bool

    def is_visited(self, pair: Pair) -> bool:
        """Tell whether a value is visited, as far as is known of its parts and targets by now."""
        op = pair.op
        if not isinstance(op, Point):
            return any(part.visited for part in parts(op))
        if op.style in {"function", "word"}:
            return not self.seek
        if op.text or op.target is None:
            return op.text and self.texts_move
        key = key_of(self.old, op.target.old)
        if key in self.special and key != BYTE:
            return True
        return not isinstance(op.target.op, LeftAlone) and (op.target.moved or op.target.visited)


def _spread_visited(pairs: tuple[Pair, ...], worth: _Worth) -> None:
    changed = True
    while changed:
        changed = False
        for pair in pairs:
            if not pair.visited and worth.is_visited(pair):
                pair.visited = changed = True


def has_pointers(pair: Pair) -> bool:
    """Tell whether a value itself holds a pointer that is not opaque."""
    return isinstance(pair.op, Point) or any(map(has_pointers, parts(pair.op)))
