"""What each generated transformer must make of an old object, for the self-test of a release.

In: a `Plan` and the `Views` that were made of it, of which only the names of the transformers are
taken. Out: `Expectation`: tables of members, old and new, that render.py prints as C for
templates/self_test.c. Called by selftest.py.

Which member was which before, what a number or an enumerator becomes, where things are and how
large: all that is found here once more, from both programs and the rules' renames, and not from
what views.py prints. From the plan come the pairs of types, what a pointer leads to, whether an
object moves, and which members are left to rules.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kitsune_tool import expressions
from kitsune_tool.compare import record_places, type_place
from kitsune_tool.definitions import Definitions, TypeTable
from kitsune_tool.errors import KitsuneError
from kitsune_tool.model import UNKNOWN, Enum, Scalar
from kitsune_tool.pairs import (
    Case,
    Coded,
    Copy,
    Each,
    Fields,
    LeftAlone,
    Pair,
    Point,
    Step,
    Tagged,
    Words,
)
from kitsune_tool.planned import Plan
from kitsune_tool.resolve import (
    POINTER_BYTES,
    Atom,
    Compound,
    Instance,
    Member,
    Ref,
    Vector,
)
from kitsune_tool.viewdata import Views

Mode: TypeAlias = Literal["MOVE", "PATCH", "VARIABLE"]
_MODES: tuple[tuple[str, Mode], ...] = (("_kitsune_move_", "MOVE"), ("_kitsune_patch_", "PATCH"))
_MOST_DIMENSIONS = 4
_MOST_CONDITIONS = 3
_MOST_COUNT = 5
_MOST_BYTES = 40
"""What a member is filled with from which a count is computed, such as a number of bytes."""
_MOST_TAG = 15
_OF_SELF = re.compile(r"\bself\s*\.\s*(\w+)|^\s*([A-Za-z_]\w*)\s*$")


@dataclass(frozen=True, slots=True)
class DimensionView:
    """An array around a member; `length` is the name of a function, empty for none."""

    count: int
    old_stride: int
    new_stride: int
    length: str = ""
    owner: int = 0
    owner_dimensions: int = 0


@dataclass(frozen=True, slots=True)
class ConditionView:
    """What must hold for a member of a union to be in use; `holds` is the name of a function."""

    holds: str
    owner: int
    owner_dimensions: int


@dataclass(frozen=True, slots=True)
class MemberView:
    """An entry of a `struct kitsune__member` table. Empty texts are NULL, kinds without prefix."""

    path: str
    old_kind: str = "NONE"
    new_kind: str = "NONE"
    flags: str = "0"
    dimensions: tuple[DimensionView, ...] = ()
    conditions: tuple[ConditionView, ...] = ()
    owner_dimensions: int = 0
    most: int = 0
    old_owner: int = 0
    new_owner: int = 0
    old_offset: int = 0
    new_offset: int = 0
    old_size: int = 0
    new_size: int = 0
    enumerators: str = ""
    enumerator_count: int = 0
    get_old: str = ""
    get_new: str = ""
    set_old: str = ""
    length: str = ""
    target: str = ""

    @property
    def is_compared(self) -> bool:
        """Whether something is expected of it."""
        return self.new_kind != "NONE"


@dataclass(frozen=True, slots=True)
class AccessorView:
    """Functions over the bit-field `member` of a record; `pointer` declares `owner`."""

    getter: str
    setter: str
    pointer: str
    constant: str
    member: str
    type: str


@dataclass(frozen=True, slots=True)
class ComputedView:
    """A function that computes a number from the old record that `pointer` declares as `in`."""

    name: str
    pointer: str
    text: str


@dataclass(frozen=True, slots=True)
class EnumerationView:
    """The values that an enum may have, old and new."""

    name: str
    values: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class ShapeView:
    """A `struct kitsune__shape`, and what is not compared of it: members, each with the reason."""

    ident: str
    name: str
    old_size: int
    new_size: int
    moved: bool
    members: tuple[MemberView, ...] = ()
    ruled: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    flexible: bool = False

    @property
    def is_choosy(self) -> bool:
        """Whether some random values may not suit its rules, tags or lengths."""
        conditions = any(member.conditions for member in self.members)
        return bool(self.ruled or self.left_out) or conditions


@dataclass(frozen=True, slots=True)
class CaseView:
    """A transformer that is run."""

    function: str
    mode: Mode
    shape: ShapeView

    @property
    def compared(self) -> tuple[str, ...]:
        """The members that are compared."""
        return tuple(member.path for member in self.shape.members if member.is_compared)


@dataclass(frozen=True, slots=True)
class Expectation:
    """All that is generated for a self-test. `skipped` are types and variables, with the reason."""

    old: Definitions
    new: Definitions
    accessors: tuple[AccessorView, ...]
    computed: tuple[ComputedView, ...]
    enumerations: tuple[EnumerationView, ...]
    shapes: tuple[ShapeView, ...]
    cases: tuple[CaseView, ...]
    skipped: tuple[tuple[str, str], ...]


def make_expectation(plan: Plan, views: Views) -> Expectation:
    """Return what the transformers of a plan must do."""
    return _Maker(plan).run(views)


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a value is: from the start of the object, all indices 0."""

    path: str = ""
    old: int = 0
    new: int = 0
    dimensions: tuple[DimensionView, ...] = ()
    conditions: tuple[ConditionView, ...] = ()
    owner: Compound | None = None
    """The old record around it, for lengths."""
    old_owner: int = 0
    new_owner: int = 0
    owner_dimensions: int = 0

    def within(self, owner: Compound) -> _Spot:
        """Return the spot of the members' record."""
        return dataclasses.replace(
            self,
            owner=owner,
            old_owner=self.old,
            new_owner=self.new,
            owner_dimensions=len(self.dimensions),
        )

    def member(self, name: str, old: int, new: int) -> _Spot:
        """Return the spot of a member of the record that this is."""
        path = ".".join(filter(None, (self.path, name)))
        return dataclasses.replace(self, path=path, old=self.old + old, new=self.new + new)

    def element(self, count: int, old_stride: int, new_stride: int, length: str) -> _Spot:
        """Return the spot of an array's elements."""
        owner = (self.old_owner, self.owner_dimensions)
        dimension = DimensionView(count, old_stride, new_stride, length, *owner)
        dimensions = (*self.dimensions, dimension)
        return dataclasses.replace(self, path=f"{self.path}[]", dimensions=dimensions)

    def view(self) -> MemberView:
        """Return a member here, of which nothing more is said."""
        return MemberView(
            self.path or "(value)",
            dimensions=self.dimensions,
            conditions=self.conditions,
            owner_dimensions=self.owner_dimensions,
            old_owner=self.old_owner,
            new_owner=self.new_owner,
            old_offset=self.old,
            new_offset=self.new,
        )


@dataclass(slots=True)
class _Found:
    """What was found of one shape."""

    members: list[MemberView] = field(default_factory=list)
    ruled: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    flexible: bool = False


@dataclass(frozen=True, slots=True)
class _Limits:
    """What members of a record may be: counts up to a limit, tags one of some values."""

    most: dict[str, int]
    tags: dict[str, tuple[int, ...]]


_NO_LIMITS = _Limits({}, {})


class _Maker:
    """Collects what is needed while it is needed; one per plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.old = TypeTable(plan.old, "old")
        self.new = TypeTable(plan.new, "new")
        self.shapes: dict[object, ShapeView] = {}
        self.accessors: dict[object, AccessorView] = {}
        self.computed: dict[object, ComputedView] = {}
        self.enumerations: dict[tuple[tuple[int, int], ...], EnumerationView] = {}
        self.limits = _NO_LIMITS

    def run(self, views: Views) -> Expectation:
        skipped: list[tuple[str, str]] = []
        cases = [*self._of_types(views, skipped), *self._of_variables(views, skipped)]
        return Expectation(
            old=self.old.definitions(),
            new=self.new.definitions(),
            accessors=tuple(self.accessors.values()),
            computed=tuple(self.computed.values()),
            enumerations=tuple(self.enumerations.values()),
            shapes=tuple(self.shapes.values()),
            cases=tuple(cases),
            skipped=tuple(dict.fromkeys(skipped)),
        )

    # -- which transformers there are -------------------------------------------------------------

    def _of_types(self, views: Views, skipped: list[tuple[str, str]]) -> Iterator[CaseView]:
        pairs: dict[str, Pair] = {}
        for pair in self.plan.pairs:
            if pair.number in views.idents:
                pairs.setdefault(views.idents[pair.number], pair)
        for function in (f.name for unit in views.units for f in unit.functions):
            for prefix, mode in _MODES:
                found = pairs.get(function.removeprefix(prefix))
                if function.startswith(prefix) and found is not None:
                    yield from self._case(function, mode, found, skipped)

    def _of_variables(self, views: Views, skipped: list[tuple[str, str]]) -> Iterator[CaseView]:
        made = {f.name for unit in views.units for f in unit.migrations}
        names = {m.new_key: m.migrate for m in views.migrations if m.migrate in made}
        for migration in self.plan.migrations:
            function = names.get(migration.new.key) if migration.new is not None else None
            if function is None or migration.new is None:
                continue
            if migration.by_hand is not None:
                skipped.append((migration.new.key, f"by the program's {migration.by_hand.name}"))
            elif migration.rule is not None:
                skipped.append((migration.new.key, f"by rule '{migration.rule.rule.label}'"))
            elif migration.pair is not None:
                shape = self.shape(migration.pair, migration.new.key)
                yield from self._shaped(function, "VARIABLE", shape, migration.new.key, skipped)

    def _case(
        self, function: str, mode: Mode, pair: Pair, skipped: list[tuple[str, str]]
    ) -> Iterator[CaseView]:
        name = self.plan.new.spell(pair.new)
        yield from self._shaped(function, mode, self.shape(pair), name, skipped)

    def _shaped(
        self,
        function: str,
        mode: Mode,
        shape: ShapeView | None,
        name: str,
        skipped: list[tuple[str, str]],
    ) -> Iterator[CaseView]:
        if shape is None:
            skipped.append((name, "objects that are shorter or longer than their type"))
            return
        made = CaseView(function, mode, shape)
        if made.compared:
            yield made
            return
        reasons = [why for _, why in (*shape.ruled, *shape.left_out)]
        skipped.append((name, reasons[0] if reasons else "it has no members"))

    # -- shapes ---------------------------------------------------------------------------------

    def shape(self, pair: Pair, variable: str = "") -> ShapeView | None:
        """Return the shape of a pair, None if its objects are not as large as their type."""
        if isinstance(pair.op, Fields) and pair.op.extent is not None:
            return None
        key = (pair.number, variable)
        if key in self.shapes:
            return self.shapes[key]
        sizes = self.plan.old.size(pair.old), self.plan.new.size(pair.new)
        moved = pair.moved and not isinstance(pair.op, LeftAlone)
        name = variable or self.plan.new.spell(pair.new)
        made = self._new_shape(key, name, sizes, moved=moved)
        found = _Found()
        self._value(pair, _Spot(), found)
        self._fill_in(made, found)
        return made

    def _old_shape(self, instance: Instance) -> ShapeView:
        """Return the shape of old objects that nothing new corresponds to."""
        if instance in self.shapes:
            return self.shapes[instance]
        size = self.plan.old.size(instance)
        made = self._new_shape(instance, self.plan.old.spell(instance), (size, size), moved=False)
        found = _Found()
        self._old_value(instance, _Spot(), found)
        self._fill_in(made, found)
        return made

    def _new_shape(
        self, key: object, name: str, sizes: tuple[int, int], *, moved: bool
    ) -> ShapeView:
        ident = f"shape_{len(self.shapes) + 1}"
        made = self.shapes[key] = ShapeView(ident, name, max(sizes[0], 0), max(sizes[1], 0), moved)
        return made

    def _fill_in(self, shape: ShapeView, found: _Found) -> None:
        shape.members = tuple(found.members)
        shape.ruled, shape.left_out = tuple(found.ruled), tuple(found.left_out)
        shape.flexible = found.flexible

    # -- values ---------------------------------------------------------------------------------

    def _value(self, pair: Pair, spot: _Spot, found: _Found) -> None:
        match pair.op:
            case Coded(rule=rule):
                found.ruled.append((spot.path or "(value)", rule.rule.label))
                self._old_value(pair.old, spot, found)
            case LeftAlone():
                self._old_value(pair.old, spot, found)
                self._initial(self.plan.new.size(pair.new), spot, found)
            case Tagged():
                self._tagged(pair.op, spot, found)
            case Words(size=size, functions=True, offsets=offsets) if offsets:
                for offset in offsets:
                    self._function(spot.member("", offset, offset), found)
            case Words(size=size):
                self._bytes(size, spot, found)
            case Point():
                self._pointer(pair, pair.op, spot, found)
            case Each():
                self._array(pair, pair.op, spot, found)
            case Fields():
                self._record(pair, pair.op, spot, found)
            case _:
                self._plain(pair, spot, found)

    def _initial(self, size: int, spot: _Spot, found: _Found) -> None:
        if size > 0:
            flags = "KITSUNE__INITIAL"
            member = dataclasses.replace(spot.view(), new_kind="BYTES", new_size=size, flags=flags)
            found.members.append(member)

    def _bytes(self, size: int, spot: _Spot, found: _Found) -> None:
        if size > 0:
            found.members.append(_of_kind(spot.view(), "BYTES", size))

    def _plain(self, pair: Pair, spot: _Spot, found: _Found) -> None:
        """Add a value that is copied or converted."""
        old, new = self.plan.old.resolve(pair.old), self.plan.new.resolve(pair.new)
        if isinstance(old, Atom) and isinstance(new, Atom):
            member = self._number(
                old.node, new.node, spot, self._pairs_of(old.node, new.node, pair)
            )
            if member is not None:
                found.members.append(member)
                return
        if isinstance(old, Ref) and isinstance(pair.op, Copy):
            found.members.append(_of_kind(spot.view(), "WORD", POINTER_BYTES))
            return
        sizes_of = self.plan.old.size(pair.old), self.plan.new.size(pair.new)
        if sizes_of[0] == sizes_of[1]:
            self._bytes(sizes_of[0], spot, found)
        else:
            found.left_out.append((spot.path, "not understood"))

    # -- numbers --------------------------------------------------------------------------------

    def _number(
        self,
        old: Scalar | Enum,
        new: Scalar | Enum,
        spot: _Spot,
        pairs: tuple[tuple[int, int], ...],
    ) -> MemberView | None:
        kinds = _kind(old), _kind(new)
        if "BYTES" in kinds or UNKNOWN in (old.size, new.size):
            return None
        name = spot.path.rpartition(".")[2]
        pairs = self._as_tag(name, pairs)
        return dataclasses.replace(
            spot.view(),
            old_kind=kinds[0],
            new_kind=kinds[1],
            old_size=old.size,
            new_size=new.size,
            most=0 if pairs else self.limits.most.get(name, 0),
            enumerators=self._enumeration(pairs),
            enumerator_count=len(pairs),
        )

    def _as_tag(self, name: str, pairs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        """Return the values of a member that tells what a union is."""
        tags = self.limits.tags.get(name, ())
        if not tags:
            return pairs
        known = dict(pairs)
        return tuple((v, known.get(v, v)) for v in tags if not known or v in known)

    def _pairs_of(
        self, old: Scalar | Enum, new: Scalar | Enum, pair: Pair
    ) -> tuple[tuple[int, int], ...]:
        """Return what the old enumerators' values become, by their names."""
        if not isinstance(old, Enum) or not isinstance(new, Enum):
            return ()
        place = type_place(self.plan.new, pair.new)
        names = {self._old_name(f"{place}.{name}", name): value for name, value in new.enumerators}
        values: dict[int, set[int]] = {}
        for name, value in old.enumerators:
            if name in names:
                values.setdefault(value, set()).add(names[name])
        return tuple((value, to.pop()) for value, to in values.items() if len(to) == 1)

    def _old_name(self, place: str, name: str) -> str:
        """Return what a member or enumerator was called before."""
        before = self.plan.former_names.get(place)
        return before.rpartition(".")[2] if before is not None else name

    def _enumeration(self, pairs: tuple[tuple[int, int], ...]) -> str:
        if not pairs:
            return ""
        if pairs not in self.enumerations:
            name = f"values_{len(self.enumerations) + 1}"
            self.enumerations[pairs] = EnumerationView(name, pairs)
        return self.enumerations[pairs].name

    # -- pointers -------------------------------------------------------------------------------

    def _pointer(self, pair: Pair, point: Point, spot: _Spot, found: _Found) -> None:
        length = self._length(point.length, spot)
        if point.length and not length:
            found.left_out.append((spot.path, f"its length, '{point.length}'"))
            return
        kind = _pointer_kind(point)
        shape = None
        if kind in {"OBJECT", "TERMINATED"} and point.target is not None:
            shape = self.shape(point.target)
        visited = pair.visited or kind in {"FUNCTION", "WORD"}
        found.members.append(
            dataclasses.replace(
                _of_kind(spot.view(), kind, POINTER_BYTES),
                flags="KITSUNE__VISITED" if visited else "0",
                length=length,
                target=shape.ident if shape is not None else "",
            )
        )

    def _length(self, text: str, spot: _Spot) -> str:
        """Return the name of the function that computes a length, "" for none."""
        if not text:
            return ""
        translated = self._translated(text, spot.owner, "length")
        return "" if translated is None else self._computed(translated, spot.owner).name

    def _translated(self, text: str, owner: Compound | None, what: str) -> str | None:
        """Return an expression of an annotation in C over `in`, None for one that a self-test does
        not know: with macros, or the value itself.
        """
        macros: set[str] = set()
        bare = what != "length"
        scope = expressions.Scope(self.plan.old, owner, self.old, what, bare=bare, macros=macros)
        try:
            translated = expressions.translate(text, scope, None)
        except KitsuneError:
            return None
        return None if macros else translated

    def _computed(self, text: str, owner: Compound | None) -> ComputedView:
        """Return the function that computes an expression over a record."""
        key = (owner.index if owner else None, text)
        if key not in self.computed:
            pointer = "const void *in"
            if owner is not None:
                pointer = self.old.spell(Instance(owner.index), "*in", const=True)
            name = f"computed_{len(self.computed) + 1}"
            self.computed[key] = ComputedView(name, pointer, text)
        return self.computed[key]

    def _function(self, spot: _Spot, found: _Found) -> None:
        made = _of_kind(spot.view(), "FUNCTION", POINTER_BYTES)
        found.members.append(dataclasses.replace(made, flags="KITSUNE__VISITED"))

    # -- what a tag tells -----------------------------------------------------------------------

    def _tagged(self, op: Tagged, spot: _Spot, found: _Found) -> None:
        texts = [self._condition(op, case, spot.owner) for case in op.cases]
        is_deep = len(spot.conditions) == _MOST_CONDITIONS
        if is_deep or any(text is None for text in texts):
            found.left_out.append(
                (spot.path or "(value)", f"its tag, '{op.by or op.cases[0].text}'")
            )
            return
        earlier = ""
        for case, text in zip(op.cases, texts, strict=True):
            assert text is not None
            holds = f"{earlier}{text or '1'}"
            earlier += f"!{text} && " if text else ""
            self._case_in_use(case, spot if holds == "1" else self._under(holds, spot), found)

    def _under(self, holds: str, spot: _Spot) -> _Spot:
        """Return the same spot for what is there if a condition holds."""
        name = self._computed(holds, spot.owner).name
        condition = ConditionView(name, spot.old_owner, spot.owner_dimensions)
        return dataclasses.replace(spot, conditions=(*spot.conditions, condition))

    def _condition(self, op: Tagged, case: Case, owner: Compound | None) -> str | None:
        """Return the condition of a case as C, "" for all that remains, None for an unknown one."""
        by = self._translated(op.by, owner, "tag") if op.by else ""
        what = "label" if op.by else "condition"
        labels = [self._translated(label, owner, what) for label in case.labels]
        if by is None or None in labels:
            return None
        texts = [f"(long long)({by}) == (long long)({x})" if by else f"({x})" for x in labels]
        return f"({' || '.join(texts)})" if texts else ""

    def _case_in_use(self, case: Case, spot: _Spot, found: _Found) -> None:
        if case.value is not None:
            self._value(case.value, spot, found)
        for step in case.steps:
            name = step.new.name
            if step.rule is not None:
                found.ruled.append((spot.member(name, 0, 0).path, step.rule.rule.label))
            elif step.pair is None or step.old is None or step.new.field.bits is not None:
                found.left_out.append((spot.member(name, 0, 0).path, "a member of a union"))
            else:
                inner = spot.member(name, step.old.offset, step.new.offset)
                self._value(step.pair, inner, found)

    # -- arrays ---------------------------------------------------------------------------------

    def _array(self, pair: Pair, each: Each, spot: _Spot, found: _Found) -> None:
        old, new = self.plan.old.resolve(pair.old), self.plan.new.resolve(pair.new)
        if not isinstance(old, Vector) or not isinstance(new, Vector):
            found.left_out.append((spot.path, "not understood"))
            return
        length = self._length(each.length, spot)
        count = min(old.length or 0, new.length or 0)
        is_deep = len(spot.dimensions) == _MOST_DIMENSIONS
        if is_deep or (not count and not length):
            why = "arrays in too many arrays" if is_deep else "its length is not known"
            found.left_out.append((spot.path, why))
            return
        strides = self.plan.old.size(each.of.old), self.plan.new.size(each.of.new)
        found.flexible = found.flexible or not count
        self._value(each.of, spot.element(count, *strides, length), found)

    # -- records --------------------------------------------------------------------------------

    def _record(self, pair: Pair, fields: Fields, spot: _Spot, found: _Found) -> None:
        old, new = self.plan.old.resolve(pair.old), self.plan.new.resolve(pair.new)
        if not isinstance(old, Compound) or not isinstance(new, Compound):
            self._plain(pair, spot, found)
            return
        outer, self.limits = self.limits, self._limits_of(old, fields)
        inner = spot.within(old)
        members = {member.name: member for member in self.plan.old.members(old)}
        taken: set[str] = set()
        for step in fields.steps:
            before = self._before(pair, step, members)
            if step.rule is not None:
                found.ruled.append((inner.member(step.new.name, 0, 0).path, step.rule.rule.label))
            elif step.pair is None or before is None:
                self._kept_initial(step.new, inner, new, found)
            else:
                taken.add(before.name)
                self._member(step.pair, before, step.new, (old, new), inner, found)
        for name, member in members.items():
            if name not in taken:
                self._old_member(member, old, inner, found)
        self.limits = outer

    def _before(self, pair: Pair, step: Step, members: dict[str, Member]) -> Member | None:
        """Return what the new member was, by names. Of a rename in one variable the plan tells."""
        name = step.new.name
        for place in record_places(self.plan.new, pair.new):
            name = self._old_name(f"{place}.{name}", name)
        if name != step.new.name or step.old is None or step.old.name == name:
            return members.get(name)
        return step.old

    def _member(  # noqa: PLR0913, PLR0917 - two members, and where they are
        self,
        pair: Pair,
        old: Member,
        new: Member,
        owners: tuple[Compound, Compound],
        inner: _Spot,
        found: _Found,
    ) -> None:
        if old.field.bits is None and new.field.bits is None:
            self._value(pair, inner.member(new.name, old.offset, new.offset), found)
            return
        spot = inner.member(new.name, max(old.offset, 0), max(new.offset, 0))
        if isinstance(pair.op, Coded):
            found.ruled.append((spot.path, pair.op.rule.rule.label))
            self._old_member(old, owners[0], inner, found)
            return
        one, other = self.plan.old.node(old.instance), self.plan.new.node(new.instance)
        if not isinstance(one, Scalar | Enum) or not isinstance(other, Scalar | Enum):
            found.left_out.append((spot.path, "not understood"))
            return
        made = self._number(one, other, spot, self._pairs_of(one, other, pair))
        if made is not None:
            found.members.append(self._with_bits(made, old, new, owners))

    def _with_bits(
        self, view: MemberView, old: Member, new: Member, owners: tuple[Compound, Compound]
    ) -> MemberView:
        if old.field.bits is not None:
            accessor = self._accessor(self.old, owners[0], old)
            view = dataclasses.replace(view, get_old=accessor.getter, set_old=accessor.setter)
        if new.field.bits is not None:
            view = dataclasses.replace(
                view, get_new=self._accessor(self.new, owners[1], new).getter
            )
        return view

    def _accessor(self, table: TypeTable, owner: Compound, member: Member) -> AccessorView:
        key = (table.version, owner.index, member.name)
        if key not in self.accessors:
            number = len(self.accessors) + 1
            record = Instance(owner.index)
            self.accessors[key] = AccessorView(
                f"get_{number}",
                f"set_{number}",
                table.spell(record, "*owner"),
                table.spell(record, "*owner", const=True),
                member.name,
                table.spell(member.instance),
            )
        return self.accessors[key]

    def _kept_initial(self, new: Member, inner: _Spot, owner: Compound, found: _Found) -> None:
        spot = inner.member(new.name, 0, max(new.offset, 0))
        if new.field.bits is None:
            self._initial(self.plan.new.size(new.instance), spot, found)
            return
        getter = self._accessor(self.new, owner, new).getter
        node = self.plan.new.node(new.instance)
        kind = _kind(node) if isinstance(node, Scalar | Enum) else "UNSIGNED"
        flags = "KITSUNE__INITIAL"
        made = dataclasses.replace(spot.view(), new_kind=kind, flags=flags, get_new=getter)
        found.members.append(made)

    # -- what only the old object has -------------------------------------------------------------

    def _old_member(self, member: Member, owner: Compound, inner: _Spot, found: _Found) -> None:
        spot = inner.member(member.name, max(member.offset, 0), 0)
        if member.field.bits is None:
            self._old_value(member.instance, spot, found)
            return
        node = self.plan.old.node(member.instance)
        if member.name and isinstance(node, Scalar | Enum):
            made = self._number(node, node, spot, _values_of(node))
            accessor = self._accessor(self.old, owner, member)
            if made is not None:
                made = dataclasses.replace(
                    made, new_kind="NONE", get_old=accessor.getter, set_old=accessor.setter
                )
                found.members.append(made)

    def _old_value(self, instance: Instance, spot: _Spot, found: _Found) -> None:
        """Add what is only filled, for the code of rules; a union stays zero."""
        view = self.plan.old.resolve(instance)
        match view:
            case Atom(node=node):
                made = self._number(node, node, spot, _values_of(node))
                if made is not None:
                    found.members.append(dataclasses.replace(made, new_kind="NONE"))
            case Ref():
                self._old_pointer(view, spot, found)
            case Vector() if len(spot.dimensions) < _MOST_DIMENSIONS and view.length:
                stride = self.plan.old.size(view.of)
                length = self._length(view.expression, spot)
                self._old_value(view.of, spot.element(view.length, stride, 0, length), found)
            case Compound(node=node) if node.kind == "struct" and node.complete:
                outer, self.limits = self.limits, self._limits_of(view, None)
                inner = spot.within(view)
                for member in self.plan.old.members(view):
                    self._old_member(member, view, inner, found)
                self.limits = outer
            case _:
                pass

    def _old_pointer(self, view: Ref, spot: _Spot, found: _Found) -> None:
        length = self._length(view.length, spot)
        if view.length and not length:
            return
        kind = {"function": "FUNCTION", "word": "WORD", "terminated": "TERMINATED"}.get(
            view.style, "OBJECT"
        )
        target = ""
        if view.target is not None:
            inner = self.plan.old.resolve(view.target)
            is_byte = isinstance(inner, Atom) and inner.node.size == 1
            if is_byte:
                kind = "TEXT"
            elif isinstance(inner, Compound) and not inner.node.complete:
                return
            else:
                target = self._old_shape(view.target).ident
        size = POINTER_BYTES
        made = dataclasses.replace(
            spot.view(), old_kind=kind, old_size=size, length=length, target=target
        )
        found.members.append(made)

    # -- what a record's members may be filled with -----------------------------------------------

    def _limits_of(self, old: Compound, fields: Fields | None) -> _Limits:
        """Return the limits of members that count something, or tell what something is."""
        most: dict[str, int] = {}
        told: dict[str, list[Tagged]] = {}
        values = [member.instance for member in self.plan.old.members(old)]
        for text, limit in (each for value in values for each in self._counts(value)):
            _limit(most, text, limit)
        for op in _ops(fields):
            if isinstance(op, Point | Each):
                count = op.old_count if isinstance(op, Each) else 0
                _limit(most, op.length, min(count or _MOST_COUNT, _MOST_COUNT))
            elif match := _OF_SELF.fullmatch(op.by):
                told.setdefault(match[1] or match[2], []).append(op)
            elif not op.by:
                for label in (label for case in op.cases for label in case.labels):
                    _limit(most, f"{label} ", _MOST_TAG)
        return _Limits(most, {name: self._tag_values(ops) for name, ops in told.items()})

    def _counts(self, instance: Instance) -> Iterator[tuple[str, int]]:
        view = self.plan.old.resolve(instance)
        if isinstance(view, Ref):
            yield view.length, _MOST_COUNT
        elif isinstance(view, Vector):
            yield view.expression, min(view.length or _MOST_COUNT, _MOST_COUNT)
            yield from self._counts(view.of)

    def _tag_values(self, ops: list[Tagged]) -> tuple[int, ...]:
        """Return the values of a member for which each of these knows what is in use."""
        known = [self._labels(op) for op in ops]
        values = dict.fromkeys(value for each in known for value in each)
        if values and all(op.has_default for op in ops):
            values[max(values) + 1] = None
        both = list(zip(ops, known, strict=True))
        return tuple(v for v in values if all(op.has_default or v in its for op, its in both))

    def _labels(self, op: Tagged) -> tuple[int, ...]:
        labels = [label for case in op.cases if not case.refused for label in case.labels]
        found = [self._label(label) for label in labels]
        return tuple(value for value in found if value is not None)

    def _label(self, text: str) -> int | None:
        if re.fullmatch(r"-?\d+", text):
            return int(text)
        return expressions.enumerator(self.plan.old, text)


def _of_kind(view: MemberView, kind: str, size: int) -> MemberView:
    """Return a member that is the same, old and new."""
    return dataclasses.replace(view, old_kind=kind, new_kind=kind, old_size=size, new_size=size)


def _ops(fields: Fields | None) -> Iterable[Point | Each | Tagged]:
    """Yield what is done with the members of a record, elements of arrays included."""
    for step in fields.steps if fields is not None else ():
        op = step.pair.op if step.pair is not None else None
        while isinstance(op, Each):
            yield op
            op = op.of.op
        if isinstance(op, Point | Tagged):
            yield op
        if isinstance(op, Tagged):
            inner = (step.pair.op for case in op.cases for step in case.steps if step.pair)
            yield from (each for each in inner if isinstance(each, Point | Each | Tagged))


def _limit(most: dict[str, int], text: str, limit: int) -> None:
    """Note what the members in the expression of a length may be."""
    names = [match[1] or match[2] for match in _OF_SELF.finditer(text)]
    is_alone = _OF_SELF.fullmatch(text.strip()) is not None
    for name in names:
        wanted = limit if is_alone or limit > _MOST_COUNT else _MOST_BYTES
        most[name] = min(most.get(name, wanted), wanted)


def _kind(node: Scalar | Enum) -> str:
    if isinstance(node, Enum):
        return "SIGNED" if node.signed else "UNSIGNED"
    if node.kind == "other" and node.name.endswith("__int128"):
        return "UNSIGNED" if node.name.startswith("unsigned") else "SIGNED"
    known = {"signed": "SIGNED", "unsigned": "UNSIGNED", "bool": "BOOL", "float": "FLOAT"}
    return known.get(node.kind, "BYTES")


def _values_of(node: Scalar | Enum) -> tuple[tuple[int, int], ...]:
    """Return the values of an enum that nothing new corresponds to."""
    if not isinstance(node, Enum):
        return ()
    return tuple((value, value) for value in dict.fromkeys(v for _, v in node.enumerators))


def _pointer_kind(point: Point) -> str:
    if point.style == "function":
        return "FUNCTION"
    if point.style == "word":
        return "WORD"
    if point.text or point.target is None:
        return "TEXT"
    return "TERMINATED" if point.style == "terminated" else "OBJECT"
