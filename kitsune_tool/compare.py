"""What of the new version corresponds to what of the old one.

In: two annotated programs (as `World`s) and the rules between them. Out: a `Comparison`, which
plan.py asks: by which name a variable, type, field or function was known before, and which rule, if
any, makes its value. Names decide; a rename changes the name. Whether corresponding things *differ*
is plan.py's question.

Paths are looked up here (K104 for one that fits several files, K111 for one that fits nothing, an
error in strict mode only) and brought into one spelling, their *place*: `struct s.f`, `typedef t`
only for a type without a tag, and the full key of a variable or function.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location, Note
from kitsune_tool.model import Enum, Record, Typedef, Variable
from kitsune_tool.nearest import did_you_mean
from kitsune_tool.paths import Path, key_splits, matches_key
from kitsune_tool.resolve import Choice, Compound, Instance, Ref, Vector, World
from kitsune_tool.rules import Rule, RuleSet


@dataclass(frozen=True, slots=True)
class PlacedRule:
    """A rule whose paths were found: `old` and `new` are places."""

    rule: Rule
    old: str | None
    new: str
    old_fields: tuple[str, ...] = ()
    new_fields: tuple[str, ...] = ()

    @property
    def is_value(self) -> bool:
        """Whether the rule itself gives the value, and not the comparison."""
        return self.rule.code is not None


@dataclass(slots=True)
class Comparison:
    """Rules by the places of the new version, with a record of which of them were asked for."""

    old: World
    new: World
    values: dict[str, PlacedRule] = field(default_factory=dict)
    renames: dict[str, PlacedRule] = field(default_factory=dict)
    unmatched: list[tuple[Rule, str]] = field(default_factory=list)
    replaced: list[tuple[Rule, str]] = field(default_factory=list)
    """Standing rules in whose place one of the version's own stands."""
    used: set[int] = field(default_factory=set)
    point_renames: dict[str, str] = field(default_factory=dict)
    """New names of update points by the old ones."""
    borders: frozenset[str] = frozenset()
    """Places that lead to the place of a rule further down."""
    removed: frozenset[str] = frozenset()
    """Old keys and places that a rename took away from their namesakes."""
    spoken: frozenset[str] = frozenset()
    """Places that rules give values for, in both versions."""

    def value_rule(self, places: Iterable[str]) -> PlacedRule | None:
        """Return the rule that gives the value at one of `places` of the new version."""
        for place in places:
            found = self.values.get(place)
            if found is not None:
                self.used.add(id(found.rule))
                return found
        return None

    def rename(self, places: Iterable[str]) -> PlacedRule | None:
        """Return the rename of one of `places` of the new version."""
        for place in places:
            found = self.renames.get(place)
            if found is not None:
                self.used.add(id(found.rule))
                return found
        return None

    def old_name(self, new_place: str) -> str:
        """Return the place that `new_place` (of a type, variable or function) had before."""
        found = self.rename((new_place,))
        return found.old if found is not None and found.old is not None else new_place

    def is_other_type(self, old: Instance, new: Instance) -> bool:
        """Tell whether two types have names that do not correspond."""
        before, after = record_places(self.old, old), record_places(self.new, new)
        if type_place(self.old, old) is None or type_place(self.new, new) is None:
            return False
        renamed = self.rename(after)
        return (renamed.old if renamed is not None else after[-1]) not in before

    def old_variable(self, new: Variable) -> Variable | None:
        """Return the variable that `new` was before."""
        renamed = self.rename((new.key,))
        if renamed is not None and renamed.old is not None:
            return self.old.variables.get(renamed.old)
        return None if new.key in self.removed else self.old.variables.get(new.key)

    def unused_rules(self) -> list[tuple[Rule, str]]:
        """Return the rules that nothing asked for, with the reason."""
        asked = [*self.values.values(), *self.renames.values()]
        idle = [
            (placed.rule, "nothing that is migrated leads to it")
            for placed in asked
            if id(placed.rule) not in self.used
        ]
        return self.unmatched + idle


def compare(old: World, new: World, rules: RuleSet, *, strict: bool = False) -> Comparison:
    """Find what the rules speak of.

    Raises `KitsuneErrors`: K104 (ambiguous path), K113 (two rules for one place), and in strict
    mode K111 (a rule that matches nothing).
    """
    comparison = Comparison(old, new)
    errors: list[KitsuneError] = []
    for rule in rules.rules:
        try:
            _place(comparison, rule)
        except KitsuneError as error:
            errors.append(error)
    if strict:
        errors += [_matches_nothing(rule, why) for rule, why in comparison.unmatched]
    if errors:
        raise KitsuneErrors(tuple(errors))
    comparison.borders = _borders(comparison)
    comparison.spoken = frozenset(
        place for p in comparison.values.values() for place in (p.old, p.new) if place is not None
    )
    comparison.removed = frozenset(p.old for p in comparison.renames.values() if p.old is not None)
    return comparison


def _place(comparison: Comparison, rule: Rule) -> None:
    if _renames_point(comparison, rule):
        assert rule.old is not None
        comparison.point_renames[rule.old.name] = rule.new.name
        return
    new = find_place(comparison.new, rule.new, rule.at) or _gone_function(comparison, rule)
    if new is None:
        if rule.old is None and find_place(comparison.old, rule.new, rule.at) is not None:
            comparison.unmatched.append((rule, f"'{rule.new}' is only in the old version"))
        else:
            comparison.unmatched.append((rule, _missing(comparison.new, rule.new, "new")))
        return
    old: tuple[str, tuple[str, ...]] | None = None
    if rule.old is not None:
        old = find_place(comparison.old, rule.old, rule.at)
        if old is None:
            comparison.unmatched.append((rule, _missing(comparison.old, rule.old, "old")))
            return
    placed = PlacedRule(
        rule,
        None if old is None else ".".join((old[0], *old[1])),
        ".".join((new[0], *new[1])),
        () if old is None else old[1],
        new[1],
    )
    if not placed.is_value:
        _check_rename(comparison, placed)
    known = comparison.values.get(placed.new) or comparison.renames.get(placed.new)
    if known is None:
        table = comparison.values if placed.is_value else comparison.renames
        table[placed.new] = placed
    else:
        _add_second(comparison, known, placed)


def _add_second(comparison: Comparison, known: PlacedRule, second: PlacedRule) -> None:
    """Decide between two rules for one place; the version's own come before standing ones.

    Raises K113 if neither goes before the other and they do not say the same.
    """
    rule, first = second.rule, known.rule
    if rule.number == first.number and second.old == known.old:
        return  # one rule names the thing twice, as by its tag and by its typedef
    if rule.standing and not first.standing:
        comparison.replaced.append((rule, f"the version's own rule at {first.at} replaces it"))
    elif second.old == known.old and rule.code == first.code and rule.kind == first.kind:
        comparison.unmatched.append((rule, f"the rule at {first.at} says the same"))
    else:
        raise KitsuneError(
            "K113",
            f"two rules for '{rule.new}'",
            at=rule.at,
            notes=(Note(first.at, "the other one is here"),),
            hint="keep one of them",
        )


def _check_rename(comparison: Comparison, placed: PlacedRule) -> None:
    """Raise K137 for a rename between things of two kinds, such as a struct and a member."""
    kinds = (
        _kind(comparison.old, placed.old or "", placed.old_fields),
        _kind(comparison.new, placed.new, placed.new_fields),
    )
    if kinds[0] != kinds[1]:
        raise KitsuneError(
            "K137",
            f"rule '{placed.rule.label}' renames a {kinds[0]} to a {kinds[1]}",
            at=placed.rule.at,
            hint="a 'transform' rule with code can make one of the other",
        )


def _kind(world: World, place: str, fields: tuple[str, ...]) -> str:
    if fields:
        return "member"
    if place in world.variables:
        return "variable"
    return "function" if place in world.functions else "type"


def _gone_function(comparison: Comparison, rule: Rule) -> tuple[str, tuple[str, ...]] | None:
    """Return the place of a function that is gone, of which an `init` says that nobody has it."""
    if rule.old is not None:
        return None
    old = find_place(comparison.old, rule.new, rule.at)
    return old if old is not None and old[0] in comparison.old.functions else None


def _renames_point(comparison: Comparison, rule: Rule) -> bool:
    """Tell whether a rule renames an update point: its names need no quotes if they are words."""
    if rule.kind != "rename" or rule.old is None:
        return False
    before = {p.name for p in comparison.old.program.update_points}
    after = {p.name for p in comparison.new.program.update_points}
    kinds = {rule.old.kind, rule.new.kind} <= {"key", "point"}
    return kinds and rule.old.name in before and rule.new.name in after


def _matches_nothing(rule: Rule, why: str) -> KitsuneError:
    return KitsuneError(
        "K111",
        f"rule '{rule.label}' matches nothing: {why}",
        at=rule.at,
        hint="take it out, or set 'strict: false' to have it reported only",
    )


def find_place(
    world: World, path: Path, at: Location | None = None
) -> tuple[str, tuple[str, ...]] | None:
    """Return the place of `path`'s head and its members, None if there is no such thing."""
    found = find_instance(world, path, at)
    return None if found is None else found[:2]


def find_instance(
    world: World, path: Path, at: Location | None = None
) -> tuple[str, tuple[str, ...], Instance | None] | None:
    """Return what `find_place` does, and the type of what is there, if it has one that is known."""
    if path.kind == "point":
        return None
    if path.kind != "key":
        return _find_type(world, path)
    for split in key_splits(path):
        key = _find_key(world, split.name, at)
        if key is None:
            continue
        variable = world.variables.get(key)
        there = world.variable_instance(variable) if variable else None
        if not split.fields:
            return key, (), there
        found = _walk(world, there, split.fields) if there is not None else None
        if found is not None:
            return key, split.fields, found
    return None


def _find_type(world: World, path: Path) -> tuple[str, tuple[str, ...], Instance | None] | None:
    name = path.name if path.kind == "typedef" else f"{path.kind} {path.name}"
    for index in world.find_all(name):
        found = _walk(world, Instance(index), path.fields)
        if found is None or not world.is_in(index, path.unit):
            continue
        if path.kind == "typedef" and not isinstance(world.types[index], Typedef):
            return None
        place = type_place(world, Instance(index)) or f"typedef {path.name}"
        if path.unit:
            place = _unit_place(world, Instance(index)) or place
        return place, path.fields, found
    return None if path.unit else _find_nameless(world, path)


def _find_nameless(world: World, path: Path) -> tuple[str, tuple[str, ...], Instance | None] | None:
    """Return the place of a record that is called after what has it, or that no unit knows."""
    place = f"{path.kind} {path.name}"
    if world.is_mentioned(place) and not path.fields:
        return place, (), None
    for index in range(len(world.types)):
        found = (
            _walk(world, Instance(index), path.fields) if place in world.nameless(index) else None
        )
        if found is not None:
            return place, path.fields, found
    return None


def type_places(world: World, instance: Instance) -> tuple[str, ...]:
    """Return all that a rule may call the type of a value."""
    if instance.stars:
        return ()
    names = tuple(f"typedef {name}" for name in world.typedefs(instance))
    return (*names, *record_places(world, instance))


def record_places(world: World, instance: Instance) -> tuple[str, ...]:
    """Return all that a rule may call a record or enum, typedefs left out; its own first."""
    place, own = type_place(world, instance), _unit_place(world, instance)
    if place is None:
        return world.nameless(world.stripped(instance))
    return (place,) if own is None else (own, place)


def _unit_place(world: World, instance: Instance) -> str | None:
    """Return the place of a tagged type that is one of several of its name: with its unit."""
    place, node = type_place(world, instance), world.node(instance)
    if place is None or not getattr(node, "tag", "") or not world.is_shared(place):
        return None
    return f"{world.source_of(world.stripped(instance))}/{place}"


def _find_key(world: World, text: str, at: Location | None) -> str | None:
    if text in world.variables or text in world.functions:
        return text
    keys = world.variables.keys() | world.functions.keys()
    found = sorted(key for key in keys if matches_key(text, key))
    if len(found) > 1:
        raise KitsuneError(
            "K104",
            f"'{text}' fits several files: {', '.join(found)}",
            at=at,
            hint=f"write more of the path, as in '{found[0]}'",
        )
    return found[0] if found else None


def _walk(world: World, instance: Instance, fields: tuple[str, ...]) -> Instance | None:
    """Return the type of a member further down."""
    for name in fields:
        found = _member(world, instance, name)
        if found is None:
            return None
        instance = found
    return instance


def _member(world: World, instance: Instance, name: str) -> Instance | None:
    """Return the member `name` of the record that `instance` is or leads to."""
    if not instance.stars and isinstance(enum := world.node(instance), Enum):
        return instance if name in dict(enum.enumerators) else None
    record = record_at(world, instance)
    found = None if record is None else world.member(record, name)
    return None if found is None else found.instance


def record_at(world: World, instance: Instance) -> Compound | None:
    """Return the struct or union that `instance` is or leads to."""
    view = world.resolve(instance)
    while isinstance(view, Ref | Vector | Choice):
        inner = view.target if isinstance(view, Ref) else view.of
        if inner is None:
            return None
        view = world.resolve(inner)
    return view if isinstance(view, Compound) else None


def type_place(world: World, instance: Instance) -> str | None:
    """Return the place of the record or enum that `instance` is, None for other types."""
    if instance.stars:
        return None
    node = world.node(instance)
    if isinstance(node, Record | Enum):
        kind = node.kind if isinstance(node, Record) else "enum"
        if node.tag:
            return f"{kind} {node.tag}"
        return f"typedef {node.typedef_name}" if node.typedef_name else None
    return None


def _missing(world: World, path: Path, version: str) -> str:
    near = did_you_mean(str(path), all_places(world))
    return f"the {version} version has no '{path}'{near}"


def all_places(world: World) -> Iterable[str]:
    """Yield every place that a path could name: for "did you mean"."""
    for variable in world.program.variables:
        yield variable.key
    for function in world.program.functions:
        yield function.key
    for index, node in enumerate(world.types):
        head = type_place(world, Instance(index))
        if isinstance(node, Record) and head is not None:
            yield head
            yield from (f"{head}.{each.name}" for each in node.fields if each.name)
        elif isinstance(node, Typedef):
            yield f"typedef {node.name}"
        elif head is not None:
            yield head


def _borders(comparison: Comparison) -> frozenset[str]:
    """Return the places above each rule's place, the type or variable itself excluded for a type.

    A member of a nested record is followed only as long as some rule lies below it.
    """
    found: set[str] = set()
    for placed in (*comparison.values.values(), *comparison.renames.values()):
        head = placed.new.split(".")
        names = len(placed.new_fields)
        found.update(".".join(head[: len(head) - cut]) for cut in range(1, names))
        if names and placed.rule.new.kind == "key":
            found.add(".".join(head[: len(head) - names]))
    return frozenset(found)
