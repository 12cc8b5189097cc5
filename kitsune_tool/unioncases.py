"""Unions of two versions: which member is in use, and what is wrong with those that changed.

In: two unions that meet, what tells which of their members is in use. Out: the cases that an old
value can be, the members that each concerns; diagnoses. Called by plan.py and moving.py.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from kitsune_tool import expressions, sample
from kitsune_tool.compare import Comparison, type_place
from kitsune_tool.diagnose import Diagnoses
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.pairs import Pair, Where
from kitsune_tool.resolve import Compound, Instance, Member, Ref, World
from kitsune_tool.unions import Tags


@dataclass(slots=True)
class Records:
    """Two structs or unions that meet. `taken` are the old members that something asks for."""

    pair: Pair
    old: Compound
    new: Compound
    members: tuple[Member, ...]
    sites: tuple[str, ...]
    taken: set[int] = field(default_factory=set)
    tags: Tags | None = None
    """What tells which member of a union is in use."""
    is_nested: bool = False
    """It is an anonymous union in a union: one tag tells of both."""

    @property
    def is_known(self) -> bool:
        """Whether each member that is looked at is in use."""
        return self.new.node.kind == "struct" or self.tags is not None

    def find(self, name: str) -> int | None:
        """Return the index of the old member; a lone anonymous union corresponds to its like."""
        found = [i for i, m in enumerate(self.members) if m.name == name]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Unions:
    """The unions of a comparison."""

    comparison: Comparison
    diagnoses: Diagnoses

    def cases(self, tags: Tags) -> Iterable[tuple[tuple[str, ...], str | None]]:
        """Yield the cases that an old value can be, each with its labels in terms of the old
        version: a label that is only an enumerator of the new version cannot occur.
        """
        found: dict[str | None, list[str]] = {}
        for label, what in tags.cases:
            old = self._old_label(label)
            if not tags.by and old is not None:
                yield ((old,) if old else ()), what
            elif label and old is not None:
                found.setdefault(what, []).append(old)
        yield from ((tuple(labels), what) for what, labels in found.items())
        if tags.by:
            yield from (((), what) for label, what in tags.cases if not label)

    def _old_label(self, label: str) -> str | None:
        """Return a label as the old version would write it, None if it has none like it."""
        if (
            not label.isidentifier()
            or expressions.enumerator(self.comparison.old, label) is not None
        ):
            return label
        if expressions.enumerator(self.comparison.new, label) is None:
            return label
        for placed in self.comparison.renames.values():
            if placed.rule.new.kind == "enum" and placed.new_fields[-1:] == (label,):
                return placed.old_fields[-1]
        return None

    def alike(self, old: Compound, new: Compound) -> Tags | None:
        """Return tags for a union of which any member tells what it holds."""
        names = self._names_of(self.comparison.old, old)
        found = [m.name for m in self.comparison.new.members(new) if m.name in names]
        both = _has_one_meaning(self.comparison.old, old) and _has_one_meaning(
            self.comparison.new, new
        )
        return Tags("", (("", found[0]),)) if found and both else None

    def in_use(
        self, records: Records, what: str, labels: str, at: Location | None
    ) -> tuple[Member, ...] | None:
        """Return the new members for the case `what`, None if an old value cannot be it."""
        old_names = self._names_of(self.comparison.old, records.old)
        for members in self.comparison.new.alternatives(records.new):
            names = [name for m in members for name in self._names_in(self.comparison.new, m)]
            before = [self._old_member(records, name) for name in names]
            if what in names or what in before:
                known = any(name in old_names for name in before)
                return members if known else None
        where = self.where(records.pair)
        if what in old_names:
            code = sample.union(
                self.comparison.old, self.comparison.new, records.pair.old, records.pair.new
            )
            self.diagnoses.case_gone(where, what, labels, code)
        elif not records.is_nested:
            names = sorted(old_names | self._names_of(self.comparison.new, records.new))
            near = difflib.get_close_matches(what, names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(names)}"
            message = f"union '{where.new_place}' has no member '{what}', old or new"
            self.diagnoses.keep(KitsuneError("K141", message, at=at, hint=hint))
        return None

    def _names_of(self, world: World, union: Compound) -> set[str]:
        return {name for m in world.members(union) for name in self._names_in(world, m)}

    def _names_in(self, world: World, member: Member) -> Iterable[str]:
        """Yield the names by which a member can be called: those in it, if it has none."""
        view = None if member.name else world.resolve(member.instance)
        if isinstance(view, Compound):
            for inner in world.members(view):
                yield from self._names_in(world, inner)
        else:
            yield member.name

    def _old_member(self, records: Records, name: str) -> str:
        """Return the old name of a member of the new union, or what its rule makes it from."""
        places = tuple(f"{site}.{name}" for site in records.sites)
        placed = self.comparison.rename(places) or self.comparison.value_rule(places)
        return placed.old_fields[-1] if placed is not None and placed.old_fields else name

    def needs_owner(self, tags: Tags | None) -> bool:
        """Tell whether a union's member can only be known from the struct around it."""
        if tags is None:
            return False
        texts = [tags.by] if tags.by else [label for label, _ in tags.cases]
        return any(expressions.needs_owner(self.comparison.old, text) for text in texts if text)

    def points_to_union(self, pointer: Instance) -> bool:
        """Tell whether what a pointer of the new version points to is a union."""
        view = self.comparison.new.resolve(pointer)
        inner = (
            self.comparison.new.resolve(view.target)
            if isinstance(view, Ref) and view.target
            else None
        )
        return isinstance(inner, Compound) and inner.node.kind == "union"

    def changed(self, pair: Pair, member: str, why: str) -> None:
        """Diagnose a union that cannot be carried over without a word."""
        code = sample.union(self.comparison.old, self.comparison.new, pair.old, pair.new)
        self.diagnoses.union_changed(self.where(pair), member, why, code)

    def where(self, pair: Pair) -> Where:
        """Return where a union is, by its own name if it has one."""
        place, before = (
            type_place(self.comparison.new, pair.new),
            type_place(self.comparison.old, pair.old),
        )
        return self.at_types(named(pair.where, before, place), pair.old, pair.new)

    def at_types(self, where: Where, old: Instance, new: Instance) -> Where:
        """Return `where` with the places where the types are defined."""
        return dataclasses.replace(
            where,
            old_at=self.comparison.old.place(old) or where.old_at,
            new_at=self.comparison.new.place(new) or where.new_at,
        )


def named(where: Where, old_place: str | None, new_place: str | None) -> Where:
    """Return `where` with the type's own name, if it has one: a rule for it holds everywhere."""
    return dataclasses.replace(
        where,
        old_place=old_place or where.old_place,
        new_place=new_place or where.new_place,
    )


def _has_one_meaning(world: World, union: Compound) -> bool:
    """Tell whether all members of a union are values of one kind.

    Those that are callbacks count as different: each function that may be met is looked for.
    """
    members = [m for each in world.alternatives(union) for m in each]
    views = {world.resolve(m.instance) for m in members if m.field.bits is None}
    known = all(m.name and m.field.bits is None for m in members)
    return known and len(views) == 1 and Ref("function", None) not in views
