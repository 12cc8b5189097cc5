"""What is done with each variable and type between two versions.

In: the old and the new `Program` (annotated), the rules between them, options. Out: a `Plan`, or
`KitsuneErrors` with a diagnosis for everything that needs a word from the user. Called by
release.py; views.py and report.py read the plan. Pure: no file is read here.

The planner walks from the new version's variables through pairs of types (pairs.py), then has
closed.py find out what moves and what must be visited.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from kitsune_tool import closed, sample
from kitsune_tool.annotate import case_notes
from kitsune_tool.arithmetic import holds, is_same_representation, is_unknown, is_widening
from kitsune_tool.byhand import find_transformers
from kitsune_tool.code import closure_uses, wrong_code
from kitsune_tool.compare import (
    Comparison,
    PlacedRule,
    compare,
    record_places,
    type_place,
    type_places,
)
from kitsune_tool.diagnose import Diagnoses, SourceLine, no_source
from kitsune_tool.entries import Entries
from kitsune_tool.errors import KitsuneError, KitsuneErrors, Note
from kitsune_tool.identity import identity
from kitsune_tool.likely import Guess, Likely
from kitsune_tool.model import (
    UNKNOWN,
    Annotations,
    Enum,
    FunctionSymbol,
    Program,
    Record,
    Scalar,
    Variable,
)
from kitsune_tool.moving import Moving
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
from kitsune_tool.planned import ClosureKey, Migration, Plan
from kitsune_tool.program import layout_digest
from kitsune_tool.resolve import (
    POINTER_BYTES,
    Atom,
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
from kitsune_tool.unioncases import Records, Unions, named
from kitsune_tool.unions import Tags

_NOT_ASKED_FOR = "keeps its initial value: no MIGRATE_* asks for it"
_NEW = "new; keeps its initial value"


@dataclass(frozen=True, slots=True)
class Options:
    """Choices of the manifest.

    `switches`: which variables without annotation are migrated. `added_variables`: whether a
    variable that is new needs a rule, or keeps its initial value. `widen`: integers may grow
    without a rule. `grow`: so may arrays. `seek`: the engine looks for addresses of the image in
    all memory, so nothing is visited for their sake. `strict`: a rule that matches nothing is an
    error.
    """

    switches: Switches = DEFAULT
    added_variables: Literal["rule", "initial"] = "rule"
    widen: bool = False
    grow: bool = False
    seek: bool = False
    strict: bool = False


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

    @property
    def unions(self) -> Unions:
        """What is known of unions; their errors go where all do."""
        return Unions(self.comparison, self.diagnoses)

    def run(self) -> Plan:
        self._find_by_hand()
        migrations = [self._variable(each) for each in self.new.program.variables]
        self._drain()
        kept = tuple(self._with_parts(m) for m in migrations if m is not None)
        into_moved = closed.analyse(self.pairs, self.old, _locals_of(kept), seek=self.options.seek)
        moving = Moving(self.comparison, self.rules, self.diagnoses, self.pairs, self.customs)
        moving.fill_unions()
        moves = any(_gets_new_objects(pair) for pair in self.pairs)
        moving.check(moves)
        kept = tuple(self._with_order(m) for m in kept)
        moving.check_expressions()
        entries = Entries(self.comparison, self.diagnoses, self.pairs)
        functions = entries.functions()
        renames = entries.update_points()
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
            discover=moving.needs_discovery(into_moved, self._has_rounds(kept)),
            nothing_moves=not moves,
            seek=self.options.seek,
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
            if alone and self.unions.needs_owner(old_view.tags or new_view.tags):
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
            and is_widening(old.node, new.node),
        )

    # -- arithmetic -------------------------------------------------------------------------------

    def _atom(self, both: _Both, where: Where) -> Op:
        assert isinstance(both.old_view, Atom) and isinstance(both.new_view, Atom)
        one, other = both.old_view.node, both.new_view.node
        if isinstance(one, Enum) and isinstance(other, Enum):
            return self._enum(both, one, other, where)
        if UNKNOWN in (one.size, other.size) or is_unknown(one) or is_unknown(other):
            self.diagnoses.not_understood(where, self.new.spell(both.new))
        elif self.options.widen and is_widening(one, other):
            return Convert()
        elif not is_same_representation(one, other):
            self._changed(both, where)
        return Copy()

    def _enum(self, both: _Both, one: Enum, other: Enum, where: Where) -> Op:
        if not (one.complete and other.complete):
            return Copy()
        place, before = type_place(self.new, both.new), type_place(self.old, both.old)
        if self.comparison.is_other_type(both.old, both.new):
            self._other_type(both.old, both.new, where)
        names = self._enumerator_names(other, record_places(self.new, both.new) if place else ())
        values = dict(other.enumerators)
        cases = []
        for name, value in one.enumerators:
            to = names.get(name)
            if to is not None:
                cases.append((name, value, values[to]))
            else:
                at = self.unions.at_types(named(where, before, place), both.old, both.new)
                guesses = self.likely.enumerators(place, one, other, name) if place else ()
                self.diagnoses.enumerator_gone(at, name, value, guesses)
        if all(old_value == new_value for _, old_value, new_value in cases):
            return Copy() if one.size == other.size else Convert()
        return MapEnum(tuple(cases))

    def _enumerator_names(self, new: Enum, places: tuple[str, ...]) -> dict[str, str]:
        """Return the new names by the old ones."""
        names = {name: name for name, _ in new.enumerators}
        for name, _ in new.enumerators:
            rename = self.comparison.rename(f"{place}.{name}" for place in places)
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
        if old_view.node.kind != new_view.node.kind:
            self._changed(both, where)
        elif self.comparison.is_other_type(both.old, both.new):
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
        records = Records(pair, old, new, tuple(self.old.members(old)), sites)
        records.is_nested = pair.number in self.nested
        if new.node.kind == "union":
            records.tags = old.tags or new.tags or self.unions.alike(old, new)
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

    def _step(self, records: Records, member: Member) -> Step:
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

    def _has_moved_away(self, records: Records, name: str) -> bool:
        """Tell whether a rename gave the old member of this name to another one."""
        places = record_places(self.old, records.pair.old)
        return any(f"{place}.{name}" in self.comparison.removed for place in places)

    def _field_added(self, records: Records, member: Member, where: Where) -> None:
        before = type_place(self.old, records.pair.old)
        news = tuple(self.new.members(records.new))
        guesses = self.likely.members(before, records.members, news, member) if before else ()
        self.diagnoses.field_added(
            where,
            self.new.spell(member.instance, member.name),
            sample.first_value(self.new, member.instance),
            guesses,
        )

    def _union_member(self, records: Records, before: Member, member: Member, where: Where) -> Pair:
        """Return the pair of a union's member; what is wrong with it is the union's fault."""
        outer, self.diagnoses = self.diagnoses, Diagnoses(no_source)
        try:
            value = self._member_value(records, before, member, where, ())
            wrong = self.diagnoses.errors
        finally:
            self.diagnoses = outer
        if wrong:
            self.unions.changed(records.pair, member.name, "a member changed")
        return value

    def _ruled_step(self, records: Records, rule: PlacedRule, member: Member) -> Step:
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
        records: Records,
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
        self, records: Records, before: Member, after: Member, where: Where
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
            if holds(one, old_width, other, new_width):
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
            self.unions.changed(pair, dropped[0].name, "a member is gone")
        if new_size < old_size:
            self.unions.changed(pair, "size", f"{old_size} bytes became {new_size}")
        for step in steps:
            if step.rule is not None or step.reason.startswith("rule"):
                self.unions.changed(pair, step.new.name, "a rule for one member cannot be followed")
        return Words(steps, old_size, grows=new_size != old_size)

    # -- unions whose member in use is known ------------------------------------------------------

    def _tagged(self, records: Records, tags: Tags) -> Op:
        pair, at = records.pair, records.old.tags_at or records.new.tags_at
        cases = []
        for labels, what in self.unions.cases(tags):
            text = f"{', '.join(labels)}: {what}" if labels and what else what or "bits"
            if what is None:
                cases.append(Case(labels, text))
                continue
            members = self.unions.in_use(records, what, ", ".join(labels) or "default", at)
            if members is None:
                cases.append(Case(labels, text, refused=True))
            else:
                steps = tuple(self._step(records, member) for member in members)
                cases.append(Case(labels, text, steps))
        sizes = self.old.size(pair.old), self.new.size(pair.new)
        return Tagged(tags.by, tuple(cases), *sizes, at)

    def _choice(self, both: _Both, where: Where) -> Op:
        """A pointer of which a tag tells to what it points."""
        said = both.old_view if isinstance(both.old_view, Choice) else both.new_view
        assert isinstance(said, Choice)
        old = both.old_view.of if isinstance(both.old_view, Choice) else both.old
        new = both.new_view.of if isinstance(both.new_view, Choice) else both.new
        cases = []
        for labels, what in self.unions.cases(said.tags):
            text = f"{', '.join(labels)}: {what}" if labels and what else what or "bits"
            if what is None:
                cases.append(Case(labels, text))
                continue
            notes = case_notes(what, said.at, to_union=self.unions.points_to_union(new))
            value = self._value(with_note(old, *notes), with_note(new, *notes), where, ())
            cases.append(Case(labels, text, (), value))
        return Tagged(said.tags.by, tuple(cases), POINTER_BYTES, POINTER_BYTES, said.at)

    # -- after the walk ---------------------------------------------------------------------------

    def _has_rounds(self, migrations: Iterable[Migration]) -> bool:
        """Tell whether some pointers may be rewritten before all objects are met: by a call that
        asks for one variable, a rule or function that needs finished objects, each thread's own
        variables, or those that wait for an allocator's state.
        """
        if self.requested or self.closures or self.by_hand or self.customs:
            return True
        return any(m.new is not None and m.new.thread_local for m in migrations)

    # -- functions and update points --------------------------------------------------------------

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
        start = 0
        try:
            for use in closure_uses(rule.code or ""):
                start = use.start
                key = (use.text, before, after)
                if key not in self.closures:
                    self.closures[key] = None
                    self.closures[key] = self._closure(rule, key, use.old, use.new)
        except (ValueError, KitsuneError) as error:
            self.diagnoses.keep(wrong_code(rule, error, start))

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


def _is_same_layout(old: Record, new: Record, steps: tuple[Step, ...]) -> bool:
    if old.size != new.size or len(old.fields) != len(new.fields):
        return False
    for step in steps:
        if step.pair is None or step.old is None or step.old.offset != step.new.offset:
            return False
    shapes = [[(f.offset_bytes, f.bits) for f in record.fields] for record in (old, new)]
    names = [m.old.name == m.new.name for m in steps if m.old is not None and m.new.field.bits]
    return shapes[0] == shapes[1] and all(names)
