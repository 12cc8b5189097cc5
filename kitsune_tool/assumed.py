"""What a step from version to version takes for granted, for its report.

In: a `Plan`, and which types are others in the new version. Out: data, as in `report.json`. Called
by report.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from kitsune_tool import closed
from kitsune_tool.compare import type_place
from kitsune_tool.definitions import place_text
from kitsune_tool.errors import Location
from kitsune_tool.model import Array, Cast, Pointer, Typedef
from kitsune_tool.pairs import Copy, Fields, Pair, Point, Words
from kitsune_tool.planned import Plan
from kitsune_tool.resolve import Instance, World

_Data: TypeAlias = dict[str, Any]

_ADDRESSES = frozenset(("uintptr_t", "intptr_t"))
_SHOWN = 4
"""Functions named in the text about casts; the data has all."""


def assumptions(plan: Plan, changed: Mapping[str, str]) -> Iterable[_Data]:
    """Yield what is assumed, each place once. `changed` has the old version's types that are others
    in the new one, whether or not an object of theirs is known, by their new names.
    """
    return _Assumptions(plan, changed).all()


@dataclass(frozen=True, slots=True)
class _Assumptions:
    """What is taken for granted, each with the way to it."""

    plan: Plan
    changed: Mapping[str, str]

    def all(self) -> Iterable[_Data]:
        """Yield them, each place once."""
        seen: set[tuple[str, str]] = set()
        parts = (self._of_pairs, self._sought, self._addresses, self._dropped, self._casts)
        for entry in itertools.chain.from_iterable(part() for part in parts):
            key = (entry["kind"], entry["what"])
            if key not in seen:
                seen.add(key)
                yield entry

    def _of_pairs(self) -> Iterable[_Data]:
        for pair in self.plan.pairs:
            what, at = pair.where.new_place, pair.where.new_at
            if isinstance(pair.op, Fields) and pair.pointed:
                yield from self._of_objects(pair, pair.op)
            match pair.op:
                case Copy(assumed="opaque"):
                    yield _assumed("opaque", what, at, "its bits are copied, nothing behind them")
                case Copy(assumed=text) if text:
                    yield _assumed("library", what, at, f"kept as it is ({text})")
                case Point(style="word"):
                    text = "unexplained pointer; redirected if it is an address that is known"
                    yield _assumed("word", what, at, text)
                case Words(offsets=offsets, functions=False) if offsets:
                    text = "union; its pointers are redirected if they are addresses that are known"
                    yield _assumed("union", what, at, text)
                case _:
                    pass

    def _of_objects(self, pair: Pair, fields: Fields) -> Iterable[_Data]:
        what = self.plan.new.spell(pair.new)
        at = self.plan.new.place(pair.new)
        if fields.extent is not None and (pair.moved or pair.visited):
            text = f"each object is as large as 'bytes({fields.extent.length})' says"
            yield _assumed("bytes", what, at, text)
        if fields.pooled and pair.moved:
            text = "objects share blocks (pooled); their old memory is not given back"
            yield _assumed("pooled", what, at, text)

    def _sought(self) -> Iterable[_Data]:
        if self.plan.seek:
            text = "each word in it that is an address of the old version is taken for a pointer"
            yield _assumed("sought", "heap", None, text)

    def _addresses(self) -> Iterable[_Data]:
        """Yield integers that are wide enough for an address, by the names of their types."""
        for pair in self.plan.pairs:
            found = _ADDRESSES.intersection(self.plan.new.typedefs(pair.new))
            if found and not pair.new.stars:
                text = f"a number to Kitsune, though {min(found)} may hold an address"
                yield _assumed("integer", pair.where.new_place, pair.where.new_at, text)

    def _dropped(self) -> Iterable[_Data]:
        """Yield the dropped variables to which pointers may lead: met, they stop the update."""
        targets = {
            closed.key_of(self.plan.old, pair.old)
            for pair in self.plan.pairs
            if pair.pointed and isinstance(pair.op, Fields)
        }
        for migration in self.plan.migrations:
            old = migration.old
            if migration.new is None and old is not None:
                key = closed.key_of(self.plan.old, self.plan.old.variable_instance(old))
                if key in targets:
                    yield _assumed("dropped", old.key, old.at, "no pointer to it may be met")

    # -- casts ------------------------------------------------------------------------------------

    def _casts(self) -> Iterable[_Data]:
        """Yield the types that are written anew, of which casts may hide an object."""
        found: dict[str, list[_Data]] = {}
        for what, each in sorted(self._hiding(), key=lambda one: one[0]):
            found.setdefault(what, []).append(each)
        for what, casts in found.items():
            shown = ", ".join(dict.fromkeys(map(self._told, casts[:_SHOWN])))
            more = f" and {len(casts) - _SHOWN} more" if len(casts) > _SHOWN else ""
            text = "what is known only as another type is not found"
            if what in _ADDRESSES:
                text = "an address that is kept as a number is not redirected"
            entry = _assumed("cast", what, None, f"cast in {shown}{more}: {text}")
            yield entry | {"casts": casts}

    def _told(self, cast: _Data) -> str:
        is_old = cast["version"] != self.plan.new.program.version
        version = f" of version {cast['version']}" if is_old else ""
        return f"{cast['function']} ({cast['place']}{version})"

    def _hiding(self) -> Iterator[tuple[str, _Data]]:
        """Yield the casts that touch what is written anew, by what that is called now."""
        names = self._anew()
        told: set[tuple[str, str, str]] = set()
        for world, known in ((self.plan.new, set(names.values())), (self.plan.old, set(names))):
            for cast in world.program.casts:
                key = (cast.function, cast.target, cast.source)
                if key in told:
                    continue
                told.add(key)
                touched = [_place_of(world, text) for text in (cast.target, cast.source)]
                hidden = [each for each in touched if each in known]
                if not self.plan.nothing_moves and cast.target in _ADDRESSES and not cast.source:
                    hidden = [cast.target]
                for place in hidden[:1]:
                    yield names.get(place, place), _cast(cast, world.program.version)

    def _anew(self) -> dict[str, str]:
        """Return the types whose objects are written anew, by their old names."""
        names = dict(self.changed)
        for pair in self.plan.pairs:
            old, new = type_place(self.plan.old, pair.old), type_place(self.plan.new, pair.new)
            if pair.moved and old is not None and new is not None:
                names[old] = new
        return names


def _place_of(world: World, text: str) -> str:
    """Return the struct, union or enum that a cast's type leads to, "" for others."""
    index = world.find(text.rstrip(" *")) if text else None
    while index is not None and isinstance(node := world.types[index], Typedef | Pointer | Array):
        index = node.of if isinstance(node, Array) else node.to
    return (type_place(world, Instance(index)) or "") if index is not None else ""


def _cast(cast: Cast, version: str) -> _Data:
    data: _Data = {"function": cast.function, "place": place_text(cast.at), "to": cast.target}
    return data | ({"from": cast.source} if cast.source else {}) | {"version": version}


def _assumed(kind: str, what: str, at: Location | None, text: str) -> _Data:
    return {"kind": kind, "what": what, "place": place_text(at), "text": text}
