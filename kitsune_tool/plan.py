"""What is done with each variable and type between two versions.

In: the old and the new `Program` (annotated), the rules between them, options. Out: a `Plan`, or
`KitsuneErrors` with a diagnosis for everything that needs a word from the user. Called by
release.py; views.py and report.py read the plan. Pure: no file is read here.

The planner walks from the new version's variables through pairs of types (pairs.py), then has
closed.py find out what moves and what must be visited.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kitsune_tool import closed, expressions, sample
from kitsune_tool.allocators import find_allocator
from kitsune_tool.annotate import case_notes
from kitsune_tool.byhand import find_transformers
from kitsune_tool.code import closure_uses
from kitsune_tool.compare import (
    Comparison,
    PlacedRule,
    compare,
    record_places,
    type_place,
    type_places,
)
from kitsune_tool.diagnose import Diagnoses, SourceLine, no_source
from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location, Note
from kitsune_tool.identity import identity
from kitsune_tool.likely import Guess, Likely
from kitsune_tool.model import (
    UNKNOWN,
    UNKNOWN_TYPE,
    Annotations,
    Enum,
    FunctionSymbol,
    Pointer,
    Program,
    Record,
    Scalar,
    Variable,
)
from kitsune_tool.pairs import (
    Case,
    Coded,
    Convert,
    Copy,
    Each,
    Extent,
    Fields,
    LeftAlone,
    MapEnum,
    Op,
    Pair,
    Point,
    Step,
    Tagged,
    Where,
    Words,
    parts,
)
from kitsune_tool.paths import matches_key
from kitsune_tool.program import layout_digest
from kitsune_tool.resolve import (
    POINTER_BYTES,
    Atom,
    Bindings,
    Bits,
    Choice,
    Compound,
    Ignored,
    Instance,
    Member,
    Ref,
    Vector,
    View,
    World,
    with_note,
)
from kitsune_tool.rules import Rule, RuleSet
from kitsune_tool.switches import DEFAULT, Switches
from kitsune_tool.unions import Tags

_NOT_ASKED_FOR = "keeps its initial value: no MIGRATE_* asks for it"
_NEW = "new; keeps its initial value"
_MOST_COUNTS = 3
_MAX_WORDS = 64
"""Pointers looked at in one union; a bigger one is copied."""


@dataclass(frozen=True, slots=True)
class Options:
    """Choices of the manifest.

    `switches`: which variables without annotation are migrated. `added_variables`: whether a
    variable that is new needs a rule, or keeps its initial value. `widen`: integers may grow
    without a rule. `grow`: so may arrays. `strict`: a rule that matches nothing is an error.
    """

    switches: Switches = DEFAULT
    added_variables: Literal["rule", "initial"] = "rule"
    widen: bool = False
    grow: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Migration:
    """A variable and what is done with it.

    `new` is None for one that is dropped, `old` for one that is made afresh. `address`: its value
    is not migrated, but pointers to the old one become pointers to the new one. `rule`, or the
    program's own function `by_hand`, gives the value; without these and `pair` the initial value is
    kept. `late`: after those that are not.
    """

    new: Variable | None
    old: Variable | None
    pair: Pair | None = None
    rule: PlacedRule | None = None
    auto: bool = False
    address: bool = False
    reason: str = ""
    by_hand: FunctionSymbol | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class FunctionChange:
    """An old function whose pointers do not just go to the namesake.

    `new` is None for one that is gone: a pointer to it stops the update.
    """

    old: FunctionSymbol
    new: FunctionSymbol | None
    reason: str


ClosureKey: TypeAlias = tuple[str, Bindings, Bindings]
"""A closure in a rule's code, without blanks, and what type parameters stand for around it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions about one step from version to version."""

    old: World
    new: World
    rules: RuleSet
    migrations: tuple[Migration, ...]
    pairs: tuple[Pair, ...]
    functions: tuple[FunctionChange, ...]
    update_point_renames: tuple[tuple[str, str], ...]
    into_moved: frozenset[closed.Key]
    discover: bool
    nothing_moves: bool
    old_layout_digest: int
    closures: Mapping[ClosureKey, Pair | None] = field(default_factory=dict)
    """What rules' `$xform` and `$gen` ask for; None for an opaque word."""
    unused_rules: tuple[tuple[Rule, str], ...] = ()
    replaced_rules: tuple[tuple[Rule, str], ...] = ()
    former_names: Mapping[str, str] = field(default_factory=dict)
    """What the rules' renames say: old places by the new ones."""
    likely_renames: tuple[tuple[str, tuple[Guess, ...]], ...] = ()
    """New variables that keep their initial values, and what they may have been."""


def make_plan(
    old: Program,
    new: Program,
    rules: RuleSet,
    options: Options | None = None,
    source_line: SourceLine = no_source,
) -> Plan:
    """Decide everything between `old` and `new`.

    Raises `KitsuneErrors` with all diagnoses (K1xx) of this step.
    """
    options = options or Options()
    old_world, new_world = World(old), World(new)
    comparison = compare(old_world, new_world, rules, strict=options.strict)
    requested = frozenset(new.requests)
    planner = _Planner(comparison, rules, options, Diagnoses(source_line), requested=requested)
    return planner.run()


@dataclass(frozen=True, slots=True)
class _Both:
    """An old and a new type that meet, and what they mean."""

    old: Instance
    new: Instance
    old_view: View
    new_view: View


@dataclass(slots=True)
class _Records:
    """Two structs or unions that meet. `taken` are the old members that something asks for."""

    pair: Pair
    old: Compound
    new: Compound
    members: tuple[Member, ...]
    sites: tuple[str, ...]
    taken: set[int] = field(default_factory=set)
    tags: Tags | None = None
    """What tells which member of a union is in use."""

    @property
    def is_known(self) -> bool:
        """Whether each member that is looked at is in use."""
        return self.new.node.kind == "struct" or self.tags is not None

    def find(self, name: str) -> int | None:
        """Return the index of the old member; a lone anonymous union corresponds to its like."""
        found = [i for i, m in enumerate(self.members) if m.name == name]
        return found[0] if len(found) == 1 else None


@dataclass(slots=True)
class _Planner:
    comparison: Comparison
    rules: RuleSet
    options: Options
    diagnoses: Diagnoses
    pairs: list[Pair] = field(default_factory=list)
    known: dict[object, Pair] = field(default_factory=dict)
    queue: deque[tuple[Pair, Compound, Compound, tuple[str, ...]]] = field(default_factory=deque)
    customs: list[tuple[Pair, str]] = field(default_factory=list)
    by_hand: dict[str, FunctionSymbol] = field(default_factory=dict)
    """The program's own transformers, by the keys of their variables."""
    requested: frozenset[str | None] = frozenset()
    """Keys, or ends of keys, that the new version's `MIGRATE_*` ask for."""
    nested: set[int] = field(default_factory=set)
    """Numbers of anonymous unions in unions: one tag tells of both."""
    closures: dict[ClosureKey, Pair | None] = field(default_factory=dict)
    values_only: bool = False
    """Pointers are not followed: only what lies inside a value is asked for."""

    @property
    def old(self) -> World:
        return self.comparison.old

    @property
    def new(self) -> World:
        return self.comparison.new

    @property
    def likely(self) -> Likely:
        """What is offered where something may only have a new name."""
        return Likely(self.comparison)

    def run(self) -> Plan:
        self._find_by_hand()
        migrations = [self._variable(each) for each in self.new.program.variables]
        self._drain()
        kept = tuple(self._with_parts(m) for m in migrations if m is not None)
        into_moved = closed.analyse(self.pairs, self.old, _locals_of(kept))
        self._fill_unions()
        moves = any(_gets_new_objects(pair) for pair in self.pairs)
        self._check_moving(moves)
        kept = tuple(self._with_order(m) for m in kept)
        self._check_expressions()
        functions = self._functions()
        renames = self._update_points()
        if self.diagnoses.errors:
            raise KitsuneErrors(self.diagnoses.errors)
        if self.options.strict:
            self._refuse_idle_rules()
        return Plan(
            old=self.old,
            new=self.new,
            rules=self.rules,
            migrations=kept + self._dropped(kept),
            pairs=tuple(self.pairs),
            functions=functions,
            update_point_renames=renames,
            into_moved=into_moved,
            discover=self._needs_discovery(into_moved, self._has_rounds(kept)),
            nothing_moves=not moves,
            old_layout_digest=layout_digest(self.old.program),
            closures=self.closures,
            unused_rules=tuple(self.comparison.unused_rules()),
            replaced_rules=tuple(self.comparison.replaced),
            former_names={
                new: placed.old for new, placed in self.comparison.renames.items() if placed.old
            },
            likely_renames=tuple(self._likely_renames(kept)),
        )

    # -- variables --------------------------------------------------------------------------------

    def _find_by_hand(self) -> None:
        try:
            self.by_hand = find_transformers(self.new)
        except KitsuneError as error:
            self.diagnoses.keep(error)

    def _variable(self, new: Variable) -> Migration | None:
        old = self.comparison.old_variable(new)
        if new.is_local:  # none but a MIGRATE_LOCAL reaches it, which the front-end resolves
            return self._asked_for(new, old, False) if new.key in self.requested else None
        auto = self._is_auto(new)
        if _is_nameless(new):
            if old is not None and auto and not new.const and not _has(new, "ignore"):
                self.diagnoses.thread_local_in_function(new)
            return None
        if not auto and not self._is_requested(new):
            return Migration(new, old, address=True, reason=_NOT_ASKED_FOR) if old else None
        return self._asked_for(new, old, auto)

    def _asked_for(  # noqa: PLR0911 - one way out per way to carry a value over
        self, new: Variable, old: Variable | None, auto: bool
    ) -> Migration | None:
        rule = self.comparison.value_rule((new.key,))
        function = self.by_hand.get(new.key)
        if rule is not None:
            if function is not None:
                self._two_ways(rule.rule, new, function)
            return self._ruled_variable(new, old, rule, auto)
        if function is not None:
            return Migration(new, old, auto=auto, by_hand=function)
        if _has(new, "ignore"):
            return Migration(new, old, address=True, reason="E_IGNORE")
        if new.const and not new.is_local:
            return Migration(new, old, address=True, reason="constant") if old else None
        if old is None:
            return self._added(new, auto)
        try:
            pair = self._variable_pair(old, new)
        except KitsuneError as error:
            self.diagnoses.keep(error)
            return None
        return Migration(new, old, pair, None, auto)

    def _two_ways(self, rule: Rule, new: Variable, function: FunctionSymbol) -> None:
        self.diagnoses.keep(
            KitsuneError(
                "K113",
                f"'{new.key}' gets its value by a rule and by '{function.name}'",
                at=rule.at,
                notes=(Note(function.at, "the program's own transformer is here"),),
                hint="keep one of them",
            )
        )

    def _is_auto(self, variable: Variable) -> bool:
        if _has(variable, "auto_migrate"):
            return True
        if _has(variable, "manual_migrate"):
            return False
        return self.options.switches.of(variable.at.file if variable.at else "").is_auto

    def _is_requested(self, variable: Variable) -> bool:
        """Tell whether a `MIGRATE_*` asks for it; a computed key may be anybody's."""
        requested = self.requested
        return (
            None in requested
            or variable.key in requested
            or any(key is not None and matches_key(key, variable.key) for key in requested)
        )

    def _added(self, new: Variable, auto: bool) -> Migration | None:
        if auto and self.options.added_variables == "rule":
            instance = self.new.variable_instance(new)
            declared = self.new.spell(instance, new.name)
            self.diagnoses.variable_added(new, declared, self.likely.variables(new))
        return Migration(new, None, None, None, auto, False, _NEW) if auto else None

    def _ruled_variable(
        self, new: Variable, old: Variable | None, rule: PlacedRule, auto: bool
    ) -> Migration:
        if rule.rule.kind == "transform":
            old = self.old.variables.get(rule.old or "", old)
        if rule.rule.is_empty:
            reason = f"rule '{rule.rule.label}': initial value"
            return Migration(new, old, address=True, reason=reason)
        before = self.old.variable_instance(old) if old is not None else None
        self._ask(rule.rule, before, self.new.variable_instance(new))
        return Migration(new, old, None, rule, auto)

    def _with_parts(self, migration: Migration) -> Migration:
        """Give a variable whose value is not carried over what pointers to it need."""
        if migration.pair is not None or migration.old is None or migration.new is None:
            return migration
        pair = self._parts_only(migration.old, migration.new)
        return dataclasses.replace(migration, pair=pair)

    def _likely_renames(
        self, migrations: Iterable[Migration]
    ) -> Iterable[tuple[str, tuple[Guess, ...]]]:
        """Yield the guesses for variables that keep their initial values without a rule's word."""
        for migration in migrations:
            new = migration.new
            if new is not None and migration.reason == _NEW:
                guesses = self.likely.variables(new)
                if guesses:
                    yield new.key, guesses

    def _with_order(self, migration: Migration) -> Migration:
        """Have what leads to objects of an allocator of its own migrated after the rest, in which
        the allocator's state is.
        """
        pair = migration.pair
        is_late = bool(self.customs) and pair is not None and _leads_to_allocator(pair)
        return dataclasses.replace(migration, late=is_late)

    def _parts_only(self, old: Variable, new: Variable) -> Pair | None:
        """Return a pair that tells which parts of two variables correspond, without a diagnosis.

        Called when all else is known, so that a type has one pair however it is reached.
        """
        silent = _Planner(
            Comparison(
                self.old,
                self.new,
                renames=self.comparison.renames,
                spoken=self.comparison.spoken,
            ),
            self.rules,
            self.options,
            Diagnoses(no_source),
            known=dict(self.known),
            values_only=True,
        )
        try:
            pair = silent._variable_pair(_not_ignored(old), _not_ignored(new))
            silent._drain()
        except KitsuneError:
            return None
        closed.spread_moved(silent.pairs)
        return pair

    def _variable_pair(self, old: Variable, new: Variable) -> Pair:
        where = Where(new.key, new.name, old.key, new.key, old.at, new.at, new.at)
        instances = self.old.variable_instance(old), self.new.variable_instance(new)
        return self._value(*instances, where, (new.key,), alone=True)

    def _dropped(self, kept: Iterable[Migration]) -> tuple[Migration, ...]:
        taken = {m.old.key for m in kept if m.old is not None}
        return tuple(
            Migration(None, old, reason="nothing of the new version asks for it")
            for old in self.old.program.variables
            if old.key not in taken and not _is_nameless(old) and not old.is_local
        )

    # -- values -----------------------------------------------------------------------------------

    def _pair(self, old: Instance, new: Instance, where: Where, op: Op) -> Pair:
        pair = Pair(len(self.pairs), old, new, where, op)
        self.pairs.append(pair)
        return pair

    def _value(
        self,
        old: Instance,
        new: Instance,
        where: Where,
        places: tuple[str, ...],
        *,
        alone: bool = False,
    ) -> Pair:
        """Return the pair for a value; `places` are what rules may call it. `alone`: no struct is
        known around it.
        """
        old_view, new_view = self.old.resolve(old), self.new.resolve(new)
        rule = self._type_rule(old, new)
        if rule is not None:
            op = LeftAlone(f"rule '{rule.rule.label}'") if rule.rule.is_empty else Coded(rule)
            self._ask(rule.rule, old, new)
            return self._pair(old, new, where, op)
        both = _Both(old, new, old_view, new_view)
        if isinstance(old_view, Compound) and isinstance(new_view, Compound):
            if alone and self._needs_owner(old_view.tags or new_view.tags):
                untagged = [dataclasses.replace(v, tags=None) for v in (old_view, new_view)]
                both = _Both(old, new, *untagged)
            return self._compound(both, where, places)
        return self._pair(old, new, where, self._simple(both, where, places))

    def _type_rule(self, old: Instance, new: Instance) -> PlacedRule | None:
        """Return the rule for values of these types, by tag or by a typedef."""
        rule = self.comparison.value_rule(type_places(self.new, new))
        if rule is None or rule.old is None or rule.old in type_places(self.old, old):
            return rule
        return None

    def _simple(  # noqa: PLR0911 - one case per kind of value
        self, both: _Both, where: Where, places: tuple[str, ...]
    ) -> Op:
        match both.old_view, both.new_view:
            case (Ignored(), _) | (_, Ignored()):
                return LeftAlone("E_IGNORE")
            case (Choice(), _) | (_, Choice()):
                return self._choice(both, where)
            case (Bits(), _) | (_, Bits()):
                if self.old.size(both.old) != self.new.size(both.new):
                    self._changed(both, where)
                return Copy("opaque")
            case Atom(), Atom():
                return self._atom(both, where)
            case Ref(), Ref():
                return self._ref(both, where, places)
            case Vector() as old, Vector() as new:
                return self._vector(old, new, where, places)
            case _:
                self._changed(both, where)
                return Copy()

    def _other_type(self, old: Instance, new: Instance, where: Where) -> None:
        before, after = self.old.spell(old), self.new.spell(new)
        self.diagnoses.other_type(where, before, after, self.likely.types(old, new))

    def _changed(self, both: _Both, where: Where) -> None:
        old, new = both.old_view, both.new_view
        self.diagnoses.type_changed(
            where,
            self.old.spell(both.old),
            self.new.spell(both.new),
            sample.value(self.old, self.new, both.old, both.new, where),
            widens=isinstance(old, Atom)
            and isinstance(new, Atom)
            and _is_widening(old.node, new.node),
        )

    # -- arithmetic -------------------------------------------------------------------------------

    def _atom(self, both: _Both, where: Where) -> Op:
        assert isinstance(both.old_view, Atom) and isinstance(both.new_view, Atom)
        one, other = both.old_view.node, both.new_view.node
        if isinstance(one, Enum) and isinstance(other, Enum):
            return self._enum(both, one, other, where)
        if UNKNOWN in (one.size, other.size) or _is_unknown(one) or _is_unknown(other):
            self.diagnoses.not_understood(where, self.new.spell(both.new))
        elif self.options.widen and _is_widening(one, other):
            return Convert()
        elif not _is_same_representation(one, other):
            self._changed(both, where)
        return Copy()

    def _enum(self, both: _Both, one: Enum, other: Enum, where: Where) -> Op:
        if not (one.complete and other.complete):
            return Copy()
        place, before = type_place(self.new, both.new), type_place(self.old, both.old)
        if place is not None and before is not None and self.comparison.old_name(place) != before:
            self._other_type(both.old, both.new, where)
        names = self._enumerator_names(other, place)
        values = dict(other.enumerators)
        cases = []
        for name, value in one.enumerators:
            to = names.get(name)
            if to is not None:
                cases.append((name, value, values[to]))
            else:
                at = self._at_types(_named(where, before, place), both.old, both.new)
                guesses = self.likely.enumerators(place, one, other, name) if place else ()
                self.diagnoses.enumerator_gone(at, name, value, guesses)
        if all(old_value == new_value for _, old_value, new_value in cases):
            return Copy() if one.size == other.size else Convert()
        return MapEnum(tuple(cases))

    def _enumerator_names(self, new: Enum, place: str | None) -> dict[str, str]:
        """Return the new names by the old ones."""
        names = {name: name for name, _ in new.enumerators}
        for name, _ in new.enumerators:
            rename = self.comparison.rename((f"{place}.{name}",)) if place else None
            if rename is not None:
                names[rename.old_fields[-1]] = name
        return names

    # -- pointers ---------------------------------------------------------------------------------

    def _ref(self, both: _Both, where: Where, places: tuple[str, ...]) -> Op:
        old, new = both.old_view, both.new_view
        assert isinstance(old, Ref) and isinstance(new, Ref)
        if self.values_only:
            return Copy()
        if {old.style, new.style} & {"function", "word"}:
            if old.style != new.style:
                self._changed(both, where)
            return Point(old.style)
        old, new = self._without_rows(old, new)
        assert old.target is not None and new.target is not None
        said = old if old.style != "one" else new
        if self._is_bytes(old.target, self.old) and self._is_bytes(new.target, self.new):
            return Point(said.style, None, said.length, said.at, text=True)
        complete = self._is_complete(self.old, old.target)
        if not complete or not self._is_complete(self.new, new.target):
            return self._incomplete(old.target, new.target, where)
        is_array = said.style != "one"
        target = self._target(old.target, new.target, where, places, array=is_array)
        if new.custom or old.custom:
            self.customs.append((target, new.custom or old.custom))
        return Point(said.style, target, said.length, said.at)

    def _without_rows(self, old: Ref, new: Ref) -> tuple[Ref, Ref]:
        """Take a pointer to an array for one to its first element, of which there are so many.

        So it is the same object as one that a pointer to an element leads to.
        """
        while old.target is not None and new.target is not None:
            one, other = self.old.resolve(old.target), self.new.resolve(new.target)
            if not isinstance(one, Vector) or not isinstance(other, Vector):
                break
            if (
                not one.length
                or one.length != other.length
                or "terminated" in {old.style, new.style}
            ):
                break
            old, new = _to_elements(old, one), _to_elements(new, other)
        return old, new

    def _is_bytes(self, target: Instance, world: World) -> bool:
        view = world.resolve(target)
        is_byte = isinstance(view, Atom) and isinstance(view.node, Scalar) and view.node.size == 1
        if world is self.old or not is_byte:
            return is_byte
        return self.comparison.value_rule(type_places(world, target)) is None

    def _is_complete(self, world: World, target: Instance) -> bool:
        view = world.resolve(target)
        return not (isinstance(view, Compound | Atom) and not getattr(view.node, "complete", True))

    def _incomplete(self, old: Instance, new: Instance, where: Where) -> Op:
        """A pointer to what no unit knows: a library's object, which no pointer of ours is in.

        If several units know it, each differently, it may be one of those: a word then.
        """
        before, after = self.old.spell(old), self.new.spell(new)
        if self.comparison.old_name(after) != before:
            self._other_type(old, new, where)
        if self.old.is_defined(before):
            return Point("word")
        return Copy(f"'{before}' is a library's own type")

    def _target(
        self, old: Instance, new: Instance, where: Where, places: tuple[str, ...], *, array: bool
    ) -> Pair:
        """Return the pair for what a pointer points to, made once for all pointers to it."""
        follow = tuple(place for place in places if place in self.comparison.borders)
        path = where.path.removesuffix("->") + ("[]" if array else "->")
        inner = dataclasses.replace(
            where,
            path=path,
            old_at=self.old.place(old) or where.old_at,
            new_at=self.new.place(new) or where.new_at,
        )
        key = ("target", old, new, follow)
        if key not in self.known:
            self.known[key] = self._value(old, new, inner, follow, alone=True)
        return self.known[key]

    # -- arrays -----------------------------------------------------------------------------------

    def _vector(self, old: Vector, new: Vector, where: Where, places: tuple[str, ...]) -> Op:
        path = where.path.removesuffix("->") + "[]"
        of = self._value(old.of, new.of, dataclasses.replace(where, path=path), places)
        if not old.length and not new.length:
            length, at = (old.expression, old.at) if old.expression else (new.expression, new.at)
            return Each(of, 0, 0, length, at, flexible=True)
        old_count, new_count = old.length or 0, new.length or 0
        grows = self.options.grow and 0 < old_count < new_count
        if old_count != new_count and not grows:
            code = sample.elements(self.old, self.new, old, new, where)
            self.diagnoses.length_changed(where, old_count, new_count, code)
        return Each(of, new_count, old_count, old.expression or new.expression, old.at or new.at)

    # -- records ----------------------------------------------------------------------------------

    def _compound(self, both: _Both, where: Where, places: tuple[str, ...]) -> Pair:
        follow = tuple(place for place in places if place in self.comparison.borders)
        return self._records(both, where, follow)

    def _records(self, both: _Both, where: Where, follow: tuple[str, ...]) -> Pair:
        old_view, new_view = both.old_view, both.new_view
        assert isinstance(old_view, Compound) and isinstance(new_view, Compound)
        spoken = self.comparison.spoken
        one = identity(self.old, old_view, spoken)
        key = (one, identity(self.new, new_view, spoken), follow)
        pair = self.known.get(key)
        if pair is not None:
            return pair
        pair = self.known[key] = self._pair(both.old, both.new, where, Copy())
        before, after = type_place(self.old, both.old), type_place(self.new, both.new)
        renamed = self.comparison.old_name(after) if after else None
        if old_view.node.kind != new_view.node.kind:
            self._changed(both, where)
        elif before is not None and renamed is not None and renamed != before:
            self._other_type(both.old, both.new, where)
        elif old_view.node.complete and new_view.node.complete:
            self.queue.append((pair, old_view, new_view, follow))
        else:
            self.diagnoses.not_understood(where, self.new.spell(both.new))
        return pair

    def _drain(self) -> None:
        """Fill in the records met so far; a queue, because types may lead far."""
        while self.queue:
            pair, old, new, follow = self.queue.popleft()
            try:
                pair.op = self._record(pair, old, new, follow)
            except KitsuneError as error:
                self.diagnoses.keep(error)

    def _record(self, pair: Pair, old: Compound, new: Compound, follow: tuple[str, ...]) -> Op:
        sites = (*follow, *record_places(self.new, pair.new))
        records = _Records(pair, old, new, tuple(self.old.members(old)), sites)
        if new.node.kind == "union":
            records.tags = old.tags or new.tags or self._alike(old, new)
        if records.tags is not None:
            return self._tagged(records, records.tags)
        steps = tuple(self._step(records, each) for each in self.new.members(new))
        dropped = tuple(m for i, m in enumerate(records.members) if i not in records.taken)
        if new.node.kind == "union":
            return self._union(pair, steps, dropped)
        same = not dropped and _is_same_layout(old.node, new.node, steps)
        said = next((a for a in _notes(old, new) if a.kind == "bytes"), None)
        extent = Extent(said.text, said.at) if said is not None and steps else None
        pooled = any(a.kind == "pooled" for a in _notes(old, new))
        return Fields(steps, dropped, same, extent, pooled)

    def _step(self, records: _Records, member: Member) -> Step:
        name = member.name
        places = tuple(f"{site}.{name}" for site in records.sites) if name else ()
        rule = self.comparison.value_rule(places)
        if rule is not None:
            return self._ruled_step(records, rule, member)
        rename = self.comparison.rename(places)
        found = records.find(rename.old_fields[-1] if rename is not None else name)
        if rename is None and self._has_moved_away(records, name):
            found = None
        if found is not None:
            records.taken.add(found)
        if isinstance(self.new.resolve(member.instance), Ignored):
            return Step(member, reason="E_IGNORE: not migrated")
        before = records.members[found] if found is not None else None
        where = self._member_where(records.pair, before, member)
        if before is None:
            if records.is_known:
                self._field_added(records, member, where)
            return Step(member, reason="new")
        if not records.is_known:
            return Step(member, before, self._union_member(records, before, member, where))
        return Step(member, before, self._member_value(records, before, member, where, places))

    def _has_moved_away(self, records: _Records, name: str) -> bool:
        """Tell whether a rename gave the old member of this name to another one."""
        return f"{type_place(self.old, records.pair.old)}.{name}" in self.comparison.removed

    def _field_added(self, records: _Records, member: Member, where: Where) -> None:
        before = type_place(self.old, records.pair.old)
        news = tuple(self.new.members(records.new))
        guesses = self.likely.members(before, records.members, news, member) if before else ()
        self.diagnoses.field_added(
            where,
            self.new.spell(member.instance, member.name),
            sample.first_value(self.new, member.instance),
            guesses,
        )

    def _union_member(
        self, records: _Records, before: Member, member: Member, where: Where
    ) -> Pair:
        """Return the pair of a union's member; what is wrong with it is the union's fault."""
        outer, self.diagnoses = self.diagnoses, Diagnoses(no_source)
        try:
            value = self._member_value(records, before, member, where, ())
            wrong = self.diagnoses.errors
        finally:
            self.diagnoses = outer
        if wrong:
            self._union_changed(records.pair, member.name, "a member changed")
        return value

    def _ruled_step(self, records: _Records, rule: PlacedRule, member: Member) -> Step:
        self._ask(rule.rule, records.pair.old, records.pair.new)
        if rule.rule.kind == "init":
            found = records.find(member.name)
            if found is not None:
                records.taken.add(found)
            if rule.rule.is_empty:
                return Step(member, reason=f"rule '{rule.rule.label}': initial value")
            return Step(member, rule=rule)
        source = rule.old_fields[len(rule.new_fields) - 1 :]
        found = records.find(source[0]) if source else None
        if source and found is None:
            raise KitsuneError(
                "K112",
                f"rule '{rule.rule.label}': '{rule.old}' is not in the object that"
                f" '{rule.new}' is made from",
                at=rule.rule.at,
                hint=f"write '{type_place(self.old, records.pair.old)} -> {rule.new}' and use $in"
                " as the whole old object",
            )
        if found is not None:
            records.taken.add(found)
        return Step(member, rule=rule, source=source)

    def _member_where(self, pair: Pair, old: Member | None, new: Member) -> Where:
        joint = "" if pair.where.path.endswith("->") else "."
        old_head = type_place(self.old, pair.old) or pair.where.old_place
        new_head = type_place(self.new, pair.new) or pair.where.new_place
        name = new.name or "(anonymous union)"
        return Where(
            pair.where.root,
            f"{pair.where.path}{joint}{name}",
            f"{old_head}.{old.name}" if old is not None else old_head,
            f"{new_head}.{name}",
            (old.field.at if old is not None else None) or self.old.place(pair.old),
            new.field.at or self.new.place(pair.new),
            pair.where.root_at,
        )

    def _member_value(
        self,
        records: _Records,
        before: Member,
        after: Member,
        where: Where,
        places: tuple[str, ...],
    ) -> Pair:
        if self._are_other_bits(before, after):
            op = self._bits(before, after, where)
            return self._pair(before.instance, after.instance, where, op)
        new = records.new
        if new.node.system and not after.field.annotations and not new.pending:
            kept = self._of_library(new, after)
            if kept is not None:
                return self._pair(before.instance, after.instance, where, kept)
        if not after.name:
            return self._anonymous_union(records, before, after, where)
        return self._value(before.instance, after.instance, where, places)

    def _anonymous_union(
        self, records: _Records, before: Member, after: Member, where: Where
    ) -> Pair:
        """Return the pair of an anonymous union: its members are called as those around it."""
        views = self.old.resolve(before.instance), self.new.resolve(after.instance)
        both = _Both(before.instance, after.instance, *views)
        pair = self._records(both, where, records.sites)
        if records.new.node.kind == "union":
            self.nested.add(pair.number)
        return pair

    def _are_other_bits(self, before: Member, after: Member) -> bool:
        """Tell whether a bit-field changed: its width, or the type that it has the width of."""
        if before.field.bits is None or before.field.bits != after.field.bits:
            return before.field.bits != after.field.bits
        return self.old.spell(before.instance) != self.new.spell(after.instance)

    def _bits(self, before: Member, after: Member, where: Where) -> Op:
        old_bits, new_bits = before.field.bits, after.field.bits
        one, other = self.old.node(before.instance), self.new.node(after.instance)
        if self.options.widen and isinstance(one, Scalar | Enum) and isinstance(other, type(one)):
            old_width = old_bits if old_bits is not None else one.size * 8
            new_width = new_bits if new_bits is not None else other.size * 8
            if isinstance(one, Enum) and isinstance(other, Enum) and old_width <= new_width:
                views = self.old.resolve(before.instance), self.new.resolve(after.instance)
                both = _Both(before.instance, after.instance, *views)
                mapped = self._enum(both, one, other, where)
                return mapped if isinstance(mapped, MapEnum) else Convert()
            if _holds(one, old_width, other, new_width):
                return Convert()
        self.diagnoses.type_changed(
            where,
            self.old.spell(before.instance) + (f" : {old_bits}" if old_bits else ""),
            self.new.spell(after.instance) + (f" : {new_bits}" if new_bits else ""),
            sample.value(self.old, self.new, before.instance, after.instance, where),
        )
        return Copy()

    def _of_library(self, record: Compound, member: Member) -> Op | None:
        """Return what is done with a member of a system header's type, None for the usual.

        What a library keeps behind its own pointers is its own. A `void *` beside callbacks is the
        user's, so it is treated as one of the program's.
        """
        view = self.new.resolve(member.instance)
        if isinstance(view, Ref) and view.style != "function":
            if view.style == "word" and self._has_callback(record):
                return None
            if view.target is not None and self._is_bytes(view.target, self.new):
                return None
            return Copy("a pointer inside a library's own type")
        if isinstance(view, Compound) and view.node.kind == "union":
            inner = [self.new.resolve(m.instance) for m in self.new.members(view)]
            if not all(isinstance(each, Ref) and each.style == "function" for each in inner):
                return Copy("a union inside a library's own type")
        return None

    def _has_callback(self, record: Compound) -> bool:
        views = (self.new.resolve(m.instance) for m in self.new.members(record))
        return any(isinstance(view, Ref) and view.style == "function" for view in views)

    def _union(self, pair: Pair, steps: tuple[Step, ...], dropped: tuple[Member, ...]) -> Op:
        old_size, new_size = self.old.size(pair.old), self.new.size(pair.new)
        if dropped:
            self._union_changed(pair, dropped[0].name, "a member is gone")
        if new_size < old_size:
            self._union_changed(pair, "size", f"{old_size} bytes became {new_size}")
        for step in steps:
            if step.rule is not None or step.reason.startswith("rule"):
                self._union_changed(pair, step.new.name, "a rule for one member cannot be followed")
        return Words(steps, old_size, grows=new_size != old_size)

    def _union_changed(self, pair: Pair, member: str, why: str) -> None:
        code = sample.union(self.old, self.new, pair.old, pair.new)
        self.diagnoses.union_changed(self._union_where(pair), member, why, code)

    # -- unions whose member in use is known ------------------------------------------------------

    def _tagged(self, records: _Records, tags: Tags) -> Op:
        pair, at = records.pair, records.old.tags_at or records.new.tags_at
        cases = []
        for labels, what in self._cases(tags):
            text = f"{', '.join(labels)}: {what}" if labels and what else what or "bits"
            if what is None:
                cases.append(Case(labels, text))
                continue
            members = self._in_use(records, what, ", ".join(labels) or "default", at)
            if members is None:
                cases.append(Case(labels, text, refused=True))
            else:
                steps = tuple(self._step(records, member) for member in members)
                cases.append(Case(labels, text, steps))
        sizes = self.old.size(pair.old), self.new.size(pair.new)
        return Tagged(tags.by, tuple(cases), *sizes, at)

    def _alike(self, old: Compound, new: Compound) -> Tags | None:
        """Return tags for a union of which any member tells what it holds."""
        names = self._names_of(self.old, old)
        found = [m.name for m in self.new.members(new) if m.name in names]
        both = _has_one_meaning(self.old, old) and _has_one_meaning(self.new, new)
        return Tags("", (("", found[0]),)) if found and both else None

    def _cases(self, tags: Tags) -> Iterable[tuple[tuple[str, ...], str | None]]:
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
        if not label.isidentifier() or expressions.enumerator(self.old, label) is not None:
            return label
        if expressions.enumerator(self.new, label) is None:
            return label
        for placed in self.comparison.renames.values():
            if placed.new.startswith("enum ") and placed.new_fields[-1:] == (label,):
                return placed.old_fields[-1]
        return None

    def _in_use(
        self, records: _Records, what: str, labels: str, at: Location | None
    ) -> tuple[Member, ...] | None:
        """Return the new members for the case `what`, None if an old value cannot be it."""
        old_names = self._names_of(self.old, records.old)
        for members in self.new.alternatives(records.new):
            names = [name for m in members for name in self._names_in(self.new, m)]
            before = [self._old_member(records, name) for name in names]
            if what in names or what in before:
                known = any(name in old_names for name in before)
                return members if known else None
        where = self._union_where(records.pair)
        if what in old_names:
            code = sample.union(self.old, self.new, records.pair.old, records.pair.new)
            self.diagnoses.case_gone(where, what, labels, code)
        elif records.pair.number not in self.nested:
            names = sorted(old_names | self._names_of(self.new, records.new))
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

    def _old_member(self, records: _Records, name: str) -> str:
        """Return the old name of a member of the new union, or what its rule makes it from."""
        places = tuple(f"{site}.{name}" for site in records.sites)
        placed = self.comparison.rename(places) or self.comparison.value_rule(places)
        return placed.old_fields[-1] if placed is not None and placed.old_fields else name

    def _needs_owner(self, tags: Tags | None) -> bool:
        """Tell whether a union's member can only be known from the struct around it."""
        if tags is None:
            return False
        texts = [tags.by] if tags.by else [label for label, _ in tags.cases]
        return any(expressions.needs_owner(self.old, text) for text in texts if text)

    def _choice(self, both: _Both, where: Where) -> Op:
        """A pointer of which a tag tells to what it points."""
        said = both.old_view if isinstance(both.old_view, Choice) else both.new_view
        assert isinstance(said, Choice)
        old = both.old_view.of if isinstance(both.old_view, Choice) else both.old
        new = both.new_view.of if isinstance(both.new_view, Choice) else both.new
        cases = []
        for labels, what in self._cases(said.tags):
            text = f"{', '.join(labels)}: {what}" if labels and what else what or "bits"
            if what is None:
                cases.append(Case(labels, text))
                continue
            notes = case_notes(what, said.at, to_union=self._points_to_union(new))
            value = self._value(with_note(old, *notes), with_note(new, *notes), where, ())
            cases.append(Case(labels, text, (), value))
        return Tagged(said.tags.by, tuple(cases), POINTER_BYTES, POINTER_BYTES, said.at)

    def _points_to_union(self, pointer: Instance) -> bool:
        view = self.new.resolve(pointer)
        inner = self.new.resolve(view.target) if isinstance(view, Ref) and view.target else None
        return isinstance(inner, Compound) and inner.node.kind == "union"

    def _union_where(self, pair: Pair) -> Where:
        place, before = type_place(self.new, pair.new), type_place(self.old, pair.old)
        return self._at_types(_named(pair.where, before, place), pair.old, pair.new)

    def _at_types(self, where: Where, old: Instance, new: Instance) -> Where:
        """Return `where` with the places where the types are defined."""
        return dataclasses.replace(
            where,
            old_at=self.old.place(old) or where.old_at,
            new_at=self.new.place(new) or where.new_at,
        )

    # -- after the walk ---------------------------------------------------------------------------

    def _fill_unions(self) -> None:
        """Find out where in each union the pointers are."""
        for pair in self.pairs:
            if isinstance(pair.op, Words) and pair.visited:
                members = [step.pair for step in pair.op.members if step.pair is not None]
                offsets = sorted({o for each in members for o in _pointer_offsets(self.new, each)})
                functions = all(
                    isinstance(each.op, Point) and each.op.style == "function" for each in members
                )
                pair.op = dataclasses.replace(
                    pair.op, offsets=tuple(offsets[:_MAX_WORDS]), functions=functions
                )

    def _check_moving(self, moves: bool) -> None:
        """Diagnose what cannot be done once something moves, or with what moves."""
        for pair in self.pairs:
            match pair.op:
                case Words(members=members, functions=functions):
                    self._check_union(pair, members, functions, moves)
                case Point(style="word") if moves:
                    self.diagnoses.unexplained(pair.where, *self._meant(pair))
                case Fields(steps=steps):
                    self._check_flexible(pair, steps)
        self._find_allocators()

    def _find_allocators(self) -> None:
        """Give what moves the allocators that annotations name; one for all objects of a type."""
        said: dict[int, str] = {}
        for target, text in self.customs:
            if not target.moved:
                continue
            found = find_allocator(self.new, text)
            known = said.setdefault(target.number, text)
            if known != text:
                found = f"another pointer to the same type says custom({known})"
            if isinstance(found, str):
                self.diagnoses.custom_allocator(target.where, text, found)
            else:
                target.allocator = found

    def _check_expressions(self) -> None:
        """Diagnose expressions here, so that one build tells them together with all else."""
        seen: set[int] = set()
        for pair in self.pairs:
            view = self.old.resolve(pair.old) if isinstance(pair.op, Fields) else None
            if isinstance(view, Compound):
                if isinstance(pair.op, Fields) and pair.op.extent is not None:
                    self._translate(pair.op.extent.length, "length", pair.op.extent.at, view)
                    self._check_extent(pair, pair.op, pair.op.extent, view)
                for part in parts(pair.op):
                    self._check_expression(part, view, seen)
        for pair in self.pairs:
            if pair.number not in seen:
                self._check_expression(pair, None, seen)

    def _check_expression(self, pair: Pair, owner: Compound | None, seen: set[int]) -> None:
        op = pair.op
        seen.add(pair.number)
        if isinstance(op, Each | Words | Tagged):
            for part in parts(op):
                self._check_expression(part, owner, seen)
        for text, what in expressions.texts_of(op):
            self._translate(text, what, getattr(op, "at", None), owner)

    def _check_extent(self, pair: Pair, fields: Fields, extent: Extent, old: Compound) -> None:
        """Refuse an extent where what goes on behind the struct would not be the last member's."""
        *_, before = self.old.members(old)
        after = fields.steps[-1]
        source = after.old.name if after.old is not None else (*after.source, after.new.name)[0]
        if source == before.name and UNKNOWN not in (before.offset, after.new.offset):
            return
        spelled = self.new.spell(pair.new)
        why = "is a bit-field" if source == before.name else f"was not '{after.new.name}' before"
        message = f"'bytes' cannot be used for '{spelled}': its last member {why}"
        hint = (
            "only the last member may end early or go on behind the struct, so it must stay the\n"
            f'last; else write a rule for the whole of it: transform: "{spelled} -> {spelled}"'
        )
        self.diagnoses.keep(KitsuneError("K132", message, at=extent.at, hint=hint))

    def _translate(self, text: str, what: str, at: Location | None, owner: Compound | None) -> None:
        macros: set[str] | None = set() if self.rules.preambles else None
        is_bare = what != "length"
        scope = expressions.Scope(self.old, owner, None, what, "(*in)", is_bare, macros)
        try:
            expressions.translate(text, scope, at)
        except KitsuneError as error:
            self.diagnoses.keep(error)

    def _meant(self, pair: Pair) -> tuple[str, tuple[str, ...]]:
        """Return what an unexplained pointer is declared to point to, and which units define it."""
        view = None if pair.new.stars else self.new.node(pair.new)
        name = self.new.spell(Instance(view.to)) if isinstance(view, Pointer) else "void"
        return name, self.new.candidates(name) if name != "void" else ()

    def _check_union(
        self, pair: Pair, members: tuple[Step, ...], functions: bool, moves: bool
    ) -> None:
        for step in members:
            if step.pair is None or (functions and not step.pair.moved):
                continue
            if step.pair.moved:
                why = "a member changed"
            elif step.pair.visited and moves:
                why = "a member holds a pointer, and objects move in this release"
            else:
                continue
            self._union_changed(pair, step.new.name, why)

    def _check_flexible(self, pair: Pair, steps: tuple[Step, ...]) -> None:
        for step in steps:
            inner = step.pair
            if inner is None or not isinstance(inner.op, Each) or not inner.op.flexible:
                continue
            if (pair.moved or inner.visited) and not inner.op.length:
                self.diagnoses.length_unknown(inner.where, self._counts(steps))

    def _counts(self, steps: tuple[Step, ...]) -> tuple[str, ...]:
        """Return the numbers of the old struct that may count something."""
        olds = [step.old for step in steps if step.old is not None and step.old.name]
        views = [(old.name, self.old.resolve(old.instance)) for old in olds]
        return tuple(
            name
            for name, view in views
            if isinstance(view, Atom)
            and isinstance(view.node, Scalar)
            and view.node.kind in {"signed", "unsigned"}
        )[:_MOST_COUNTS]

    def _has_rounds(self, migrations: Iterable[Migration]) -> bool:
        """Tell whether some pointers may be rewritten before all objects are met: by a call that
        asks for one variable, a rule or function that needs finished objects, each thread's own
        variables, or those that wait for an allocator's state.
        """
        if self.requested or self.closures or self.by_hand or self.customs:
            return True
        return any(m.new is not None and m.new.thread_local for m in migrations)

    def _needs_discovery(self, into_moved: frozenset[closed.Key], has_rounds: bool) -> bool:
        """Tell whether all objects must be met before any is transformed: a pointer may lead into
        the middle of one that moves, or of one that is met when that middle has been rewritten.
        """
        rewritten = closed.inside_visited(self.pairs, self.old) if has_rounds else frozenset()
        for pair in self.pairs:
            if not isinstance(pair.op, Point):
                continue
            target = pair.op.target
            if pair.op.text and closed.BYTE in into_moved:
                return True
            if target and (target.into_moved or self._is_rewritten(target, rewritten)):
                return True
        return False

    def _is_rewritten(self, target: Pair, inside: frozenset[closed.Key]) -> bool:
        return target.visited and closed.key_of(self.old, target.old) in inside

    # -- functions and update points --------------------------------------------------------------

    def _functions(self) -> tuple[FunctionChange, ...]:
        types = self._function_types()
        changes = (
            self._function(old, types)
            for old in self.old.program.functions
            if old.registered and old.defined
        )
        return tuple(change for change in changes if change is not None)

    def _function(self, old: FunctionSymbol, types: set[int] | None) -> FunctionChange | None:
        """Return what replaces `old`, None if the runtime finds it by its key."""
        accepted = self.comparison.value_rule((old.key,))
        renamed = next((p for p in self.comparison.renames.values() if p.old == old.key), None)
        if renamed is not None:
            self.comparison.rename((renamed.new,))
        key = renamed.new if renamed is not None else old.key
        new = self.new.functions.get(key)
        if new is not None and (new.registered or new.storage == "global"):
            if new.registered and renamed is None:
                return None
            reason = f"rule '{renamed.rule.label}'" if renamed else "by its name"
            return FunctionChange(old, new, reason)
        if accepted is None and self._may_be_met(old, types):
            guesses = self.likely.functions(old) if new is None else ()
            self.diagnoses.function_gone(old, new, guesses)
        return FunctionChange(old, None, "gone; a pointer to it stops the update")

    def _function_types(self) -> set[int]:
        """Return the old function types to which a pointer is looked at."""
        found = set()
        for pair in self.pairs:
            if isinstance(pair.op, Point) and pair.op.style == "function":
                node = self.old.node(pair.old)
                if isinstance(node, Pointer):
                    found.add(self.old.stripped(Instance(node.to)))
        return found

    def _may_be_met(self, function: FunctionSymbol, types: set[int] | None) -> bool:
        if function.type is None or not types:
            return bool(types)
        return self.old.stripped(Instance(function.type)) in types

    def _update_points(self) -> tuple[tuple[str, str], ...]:
        points = self.new.program.update_points
        names = tuple(dict.fromkeys(p.name for p in points if p.name is not None))
        renames = self.comparison.point_renames
        is_open = any(p.name is None for p in points)
        for point in self.old.program.update_points:
            if point.name not in (None, *names, *renames) and not is_open:
                guesses = self.likely.update_points(point)
                self.diagnoses.update_point_gone(point, names, guesses)
        return tuple(renames.items())

    def _refuse_idle_rules(self) -> None:
        idle = self.comparison.unused_rules()
        if idle:
            raise KitsuneErrors(
                tuple(
                    KitsuneError(
                        "K111",
                        f"rule '{rule.label}' matches nothing: {why}",
                        at=rule.at,
                        hint="take it out, or set 'strict: false' to have it reported only",
                    )
                    for rule, why in idle
                )
            )

    # -- what rules ask for -----------------------------------------------------------------------

    def _ask(self, rule: Rule, old: Instance | None, new: Instance) -> None:
        """Make the pairs that closures in a rule's code name, where it holds for these types."""
        before = self.old.bindings_of(old) if old is not None else ()
        after = self.new.bindings_of(new)
        try:
            for use in closure_uses(rule.code or ""):
                key = (use.text, before, after)
                if key not in self.closures:
                    self.closures[key] = None
                    self.closures[key] = self._closure(rule, key, use.old, use.new)
        except (ValueError, KitsuneError) as error:
            message = error.message if isinstance(error, KitsuneError) else str(error)
            message = f"rule '{rule.label}': {message}"
            self.diagnoses.keep(KitsuneError("K112", message, at=rule.code_at))

    def _closure(self, rule: Rule, key: ClosureKey, before: str, after: str) -> Pair | None:
        old, new = self.old.bind(before, key[1]), self.new.bind(after, key[2])
        if old is None or new is None:
            return None
        shown = f"$xform({before}, {after})"
        where = Where(rule.label, shown, before, after, rule.at, rule.at, rule.at)
        pair = self._target(old, new, where, (), array=False)
        pair.pointed = True
        return pair


def _locals_of(migrations: Iterable[Migration]) -> tuple[Variable, ...]:
    """Return the old locals that go on living, so that pointers to them are worth a look."""
    return tuple(m.old for m in migrations if m.old is not None and m.old.is_local)


def _leads_to_allocator(pair: Pair) -> bool:
    """Tell whether objects with an allocator of their own are met behind a value."""
    stack, seen = [pair], {id(pair)}
    while stack:
        at = stack.pop()
        if at.allocator is not None:
            return True
        target = at.op.target if isinstance(at.op, Point) else None
        new = [p for p in (*parts(at.op), target) if p is not None and id(p) not in seen]
        seen.update(map(id, new))
        stack += new
    return False


def _has_one_meaning(world: World, union: Compound) -> bool:
    """Tell whether all members of a union are values of one kind.

    Those that are callbacks count as different: each function that may be met is looked for.
    """
    members = [m for each in world.alternatives(union) for m in each]
    views = {world.resolve(m.instance) for m in members if m.field.bits is None}
    known = all(m.name and m.field.bits is None for m in members)
    return known and len(views) == 1 and Ref("function", None) not in views


def _to_elements(pointer: Ref, row: Vector) -> Ref:
    count = f"({pointer.length}) * {row.length}" if pointer.length else str(row.length)
    return dataclasses.replace(pointer, style="array", target=row.of, length=count)


def _is_nameless(variable: Variable) -> bool:
    """Tell whether nothing outside its function can name it, so that it is in no symbol table."""
    is_inside = variable.thread_local and variable.storage == "local_static"
    return is_inside and variable.size_bytes == UNKNOWN


def _not_ignored(variable: Variable) -> Variable:
    """Return the variable as if its value were wanted: pointers into it are, whatever it holds."""
    kept = tuple(a for a in variable.annotations if a.kind != "ignore" or a.path)
    return dataclasses.replace(variable, annotations=kept)


def _has(variable: Variable, kind: str) -> bool:
    return any(a.kind == kind and not a.path for a in variable.annotations)


def _notes(old: Compound, new: Compound) -> Annotations:
    """Return what is said of a struct itself, of the old version first."""
    return tuple(a for view in (old, new) for a in view.node.annotations if not a.path)


def _gets_new_objects(pair: Pair) -> bool:
    return pair.pointed and pair.moved and not isinstance(pair.op, LeftAlone)


def _named(where: Where, old_place: str | None, new_place: str | None) -> Where:
    """Return `where` with the type's own name, if it has one: a rule for it holds everywhere."""
    return dataclasses.replace(
        where,
        old_place=old_place or where.old_place,
        new_place=new_place or where.new_place,
    )


def _is_unknown(node: Scalar | Enum) -> bool:
    """Tell whether a type was not understood: its bits may be those of a pointer."""
    return isinstance(node, Scalar) and node.name == UNKNOWN_TYPE


def _is_same_representation(one: Scalar | Enum, other: Scalar | Enum) -> bool:
    if one.size != other.size:
        return False
    if isinstance(one, Scalar) and isinstance(other, Scalar):
        return one.kind == other.kind and (one.kind != "other" or one.name == other.name)
    number = one if isinstance(one, Scalar) else other
    return isinstance(number, Scalar) and number.kind in {"signed", "unsigned"}


_WIDENING = {
    ("signed", "signed"),
    ("unsigned", "unsigned"),
    ("unsigned", "signed"),
    ("float", "float"),
}


def _holds(one: Scalar | Enum, old_width: int, other: Scalar | Enum, new_width: int) -> bool:
    """Tell whether all values of so many bits of the one type are values of the other."""
    if not isinstance(one, Scalar) or not isinstance(other, Scalar):
        return False
    if one.kind == other.kind:
        return old_width <= new_width
    if one.kind == "bool":
        return other.kind == "unsigned" or (other.kind == "signed" and new_width > 1)
    return (one.kind, other.kind) == ("unsigned", "signed") and old_width < new_width


def _is_widening(one: Scalar | Enum, other: Scalar | Enum) -> bool:
    if not isinstance(one, Scalar) or not isinstance(other, Scalar):
        return False
    before, after = _arithmetic_kind(one), _arithmetic_kind(other)
    if before == "bool":
        return after in {"signed", "unsigned"}
    return (before, after) in _WIDENING and one.size < other.size


def _arithmetic_kind(scalar: Scalar) -> str:
    """Return the kind of a number; `__int128` is one of C's only by its name."""
    if scalar.kind == "other" and scalar.name.endswith("__int128"):
        return "unsigned" if scalar.name.startswith("unsigned") else "signed"
    return scalar.kind


def _is_same_layout(old: Record, new: Record, steps: tuple[Step, ...]) -> bool:
    if old.size != new.size or len(old.fields) != len(new.fields):
        return False
    for step in steps:
        if step.pair is None or step.old is None or step.old.offset != step.new.offset:
            return False
    shapes = [[(f.offset_bytes, f.bits) for f in record.fields] for record in (old, new)]
    names = [m.old.name == m.new.name for m in steps if m.old is not None and m.new.field.bits]
    return shapes[0] == shapes[1] and all(names)


def _pointer_offsets(world: World, pair: Pair, base: int = 0) -> Iterable[int]:
    """Yield where in a value the pointers are that must be looked at."""
    match pair.op:
        case Point() if pair.visited:
            yield base
        case Tagged(cases=cases):
            for case in cases:
                if case.value is not None and case.value.visited:
                    yield base
                yield from _step_offsets(world, case.steps, base)
        case Fields(steps=steps) | Words(members=steps):
            yield from _step_offsets(world, steps, base)
        case Each(of=of, count=count) if pair.visited:
            size = world.size(of.new)
            for index in range(min(count, _MAX_WORDS)):
                yield from _pointer_offsets(world, of, base + index * size)
        case _:
            return


def _step_offsets(world: World, steps: Iterable[Step], base: int) -> Iterable[int]:
    for step in steps:
        if step.pair is not None and step.pair.visited:
            yield from _pointer_offsets(world, step.pair, base + max(step.new.offset, 0))
