"""What a release changes and how each thing is carried over, as data.

In: a `Plan`, or for a first release its `Program`; the generated C in pieces; what the release is.
Out: plain data, which is `report.json` (docs/report.md describes it). Called by release.py.
reportpage.py prints it as text and as a page: neither knows more than this data.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kitsune_tool import closed
from kitsune_tool.assumed import assumptions
from kitsune_tool.compare import type_place
from kitsune_tool.definitions import place_text
from kitsune_tool.errors import Location
from kitsune_tool.model import (
    OWN_HEADERS,
    UNKNOWN,
    Enum,
    FunctionSymbol,
    Program,
    Record,
    UpdatePoint,
    Variable,
)
from kitsune_tool.pairs import (
    Coded,
    Convert,
    Each,
    Fields,
    LeftAlone,
    MapEnum,
    Pair,
    Step,
    Tagged,
    Words,
)
from kitsune_tool.pieces import Pieces
from kitsune_tool.planned import Migration, Plan
from kitsune_tool.resolve import Compound, Instance, Member, World
from kitsune_tool.rules import Rule
from kitsune_tool.views import describe

FORMAT = 1
"""Increased when a reader of the data would have to be changed; new keys do not count."""

Data: TypeAlias = dict[str, Any]

_SPELLED = re.compile(r"\\U([0-9a-fA-F]{8})")
_DRASTIC = ("rule", "transformed", "left-alone", "in-place", "copied")


@dataclass(frozen=True, slots=True)
class EditText:
    """What the manifest says of an edit: `action` and its text."""

    action: str
    text: str


def first_report(program: Program, edits: Sequence[EditText] = ()) -> Data:
    """Return the report of a release that follows no other."""
    data = _head(program, None) | {
        "variables": [
            {
                "name": v.key,
                "place": place_text(v.at),
                "carried": "start",
                "how": "as the program starts",
                "new": _declared(World(program), v),
            }
            for v in program.variables
            if not v.is_local
        ],
        "update_points": [
            _point(name, "new", (), at) for name, at in _points(program.update_points).items()
        ],
        "edits": _edits(program, edits),
    }
    return {key: _readable(value) for key, value in data.items()}


def report(plan: Plan, pieces: Pieces, edits: Sequence[EditText] = ()) -> Data:
    """Return the report of a release that follows another."""
    data = _Report(plan, pieces).data() | {"edits": _edits(plan.new.program, edits)}
    return {key: _readable(value) for key, value in data.items()}


def identified(data: Data, identity: Data) -> Data:
    """Return the report with what the release is, which is known only when it is linked."""
    return data | {"identity": identity}


def _readable(value: Any) -> Any:
    """Return data with the texts of the program as people write them: records hold bytes, and
    letters beyond ASCII in names as the compiler spells them.
    """
    if isinstance(value, dict):
        return {key: _readable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_readable(each) for each in value]
    return _readable_text(value) if isinstance(value, str) else value


def _readable_text(text: str) -> str:
    text = _SPELLED.sub(lambda found: chr(min(int(found[1], 16), sys.maxunicode)), text)
    with contextlib.suppress(UnicodeError):  # it was no UTF-8, or is the manifest's own text
        return text.encode("latin-1").decode("utf-8") if not text.isascii() else text
    return text


def _head(new: Program, old: Program | None) -> Data:
    return {
        "kitsune_report": FORMAT,
        "program": new.name,
        "version": new.version,
        "follows": old.version if old is not None else None,
        "identity": {},
        "objects_move": False,
        "variables": [],
        "types": [],
        "unchanged_types": [],
        "functions": [],
        "update_points": [],
        "rules": [],
        "assumed": [],
        "likely_renames": [],
        "edits": [],
        "generated": [],
    }


def _declared(world: World, variable: Variable) -> str:
    return world.spell(world.variable_instance(variable), variable.name)


def _edits(program: Program, texts: Sequence[EditText]) -> list[Data]:
    return [
        {
            "place": place_text(match.at),
            "function": match.function,
            "action": texts[match.edit].action if match.edit < len(texts) else "",
            "asked": texts[match.edit].text if match.edit < len(texts) else "",
            "text": match.text,
        }
        for match in program.edits
    ]


def _points(points: Iterable[UpdatePoint]) -> dict[str, list[str]]:
    """Return the places of update points by their names."""
    found: dict[str, list[str]] = {}
    for point in points:
        place = f"{point.function} ({place_text(point.at)})" if point.at else point.function
        found.setdefault(point.name if point.name is not None else "(computed)", []).append(place)
    return found


def _point(name: str, change: str, old: Sequence[str], new: Sequence[str], was: str = "") -> Data:
    data: Data = {"name": name, "change": change, "old_places": [*old], "places": [*new]}
    return data | ({"was": was} if was else {})


class _Report:
    """The report of one plan, part by part."""

    def __init__(self, plan: Plan, pieces: Pieces) -> None:
        self.plan = plan
        self.pieces = pieces
        self.old, self.new = plan.old, plan.new

    def data(self) -> Data:
        old, new = self.old.program, self.new.program
        types = sorted(self._types(), key=lambda each: (each["change"] == "same", each["name"]))
        return _head(new, old) | {
            "objects_move": not self.plan.nothing_moves,
            "variables": [self._variable(each) for each in self.plan.migrations],
            "types": [each for each in types if each["change"] != "same" or "carried" in each],
            "unchanged_types": sorted(
                each["name"] for each in types if each["change"] == "same" and "carried" not in each
            ),
            "functions": list(self._functions()),
            "update_points": list(self._update_points()),
            "rules": list(self._rules()),
            "assumed": list(assumptions(self.plan, _changed(types))),
            "likely_renames": [
                {"name": name, "was": guess.place, "likelihood": guess.likelihood}
                for name, guesses in self.plan.likely_renames
                for guess in guesses
            ],
            "generated": [
                {"name": p.name, "file": p.file, "line": p.line, "text": p.text}
                for p in self.pieces.all
            ],
        }

    # -- variables --------------------------------------------------------------------------------

    def _variable(self, migration: Migration) -> Data:
        known = migration.new or migration.old
        assert known is not None
        data: Data = {"name": known.key, "place": place_text(known.at)}
        if migration.new is not None:
            data["new"] = _declared(self.new, migration.new)
        if migration.old is not None:
            data["old"] = _declared(self.old, migration.old)
            data["old_place"] = place_text(migration.old.at)
            if migration.new is not None and migration.old.key != migration.new.key:
                data["was"] = migration.old.key
        data["carried"], data["how"] = _carried_variable(migration)
        if migration.rule is not None:
            data["rule"] = _rule_name(migration.rule.rule)
        rule = migration.rule.rule if migration.rule is not None else None
        names = self.pieces.of_variable(known.key, rule)
        if migration.new is not None and names:
            data["code"] = list(names)
        return data

    # -- types ------------------------------------------------------------------------------------

    def _types(self) -> Iterable[Data]:
        """Yield all structs, unions and enums of both versions that have a name, each once."""
        pairs = self._pairs_by_place()
        olds, news = _named_types(self.old), _named_types(self.new)
        taken = set()
        for place, new in news.items():
            pair = pairs.get(place)
            was = type_place(self.old, pair.old) if pair is not None else None
            was = was or self._former(place)
            old = pair.old if pair is not None else olds.get(was)
            if old is not None:
                taken.add(was)
            yield self._type(place, was, old, pair.new if pair is not None else new, pair)
        for place, old in olds.items():
            if place not in taken:
                yield self._gone(place, old)

    def _former(self, place: str) -> str:
        return self.plan.former_names.get(place, place)

    def _pairs_by_place(self) -> dict[str, Pair]:
        """Return for each type of the new version the pair in which most happens to it."""
        found: dict[str, Pair] = {}
        for pair in self.plan.pairs:
            place = type_place(self.new, pair.new)
            if place is None or type_place(self.old, pair.old) is None:
                continue
            known = found.get(place)
            if known is None or _rank(pair) < _rank(known):
                found[place] = pair
        return found

    def _type(
        self, place: str, was: str, old: Instance | None, new: Instance, pair: Pair | None
    ) -> Data:
        data: Data = {"name": place, "place": place_text(self.new.place(new))}
        if old is None:
            rows = _rows_of(self.new, new, "new")
            return data | {"change": "added", "bytes": [None, self.new.size(new)], "members": rows}
        if was != place:
            data["was"] = was
        data["old_place"] = place_text(self.old.place(old))
        data["bytes"] = [self.old.size(old), self.new.size(new)]
        rows = self._rows(old, new, pair)
        is_same = was == place and not any(row["change"] for row in rows)
        data["change"] = "same" if is_same and data["bytes"][0] == data["bytes"][1] else "changed"
        if pair is not None and (pair.moved or pair.visited or isinstance(pair.op, _OF_INTEREST)):
            data["carried"], data["how"] = _carried_type(pair)
            data["code"] = list(self.pieces.of_pair(pair))
            if isinstance(pair.op, Coded):
                data["rule"] = _rule_name(pair.op.rule.rule)
        elif pair is not None:
            data |= {"carried": "copied", "how": "copied"} if data["change"] == "changed" else {}
        if data["change"] == "changed":
            data["members"] = rows
        return data

    def _gone(self, place: str, old: Instance) -> Data:
        return {
            "name": place,
            "change": "gone",
            "old_place": place_text(self.old.place(old)),
            "bytes": [self.old.size(old), None],
            "members": _rows_of(self.old, old, "old"),
        }

    def _rows(self, old: Instance, new: Instance, pair: Pair | None) -> list[Data]:
        """Return the members or enumerators of both versions side by side."""
        one, other = self.old.node(old), self.new.node(new)
        if isinstance(one, Enum) and isinstance(other, Enum):
            return _enum_rows(one, other, pair)
        steps = {step.new.name: step for step in _steps(pair)} if pair is not None else {}
        olds, news = _members(self.old, old), _members(self.new, new)
        return _member_rows(self.old, self.new, olds, news, steps)

    # -- functions --------------------------------------------------------------------------------

    def _functions(self) -> Iterable[Data]:
        """Yield the functions that came, went, or have another signature or file."""
        changes = {change.old.key: change for change in self.plan.functions}
        became = {c.new.key for c in changes.values() if c.new is not None}
        for key, old in self.old.functions.items():
            change = changes.get(key)
            new = change.new if change is not None else self.new.functions.get(key)
            data = self._function(old, new)
            if change is not None:
                data["pointers"] = change.reason.removeprefix("gone; ")
            if data["change"] or change is not None:
                yield data | {"change": data["change"] or "kept"}
        for key, new in self.new.functions.items():
            if key not in self.old.functions and key not in became:
                yield {
                    "name": key,
                    "change": "added",
                    "place": place_text(new.at),
                    "new": _signature(self.new, new),
                }

    def _function(self, old: FunctionSymbol, new: FunctionSymbol | None) -> Data:
        before = _signature(self.old, old)
        data: Data = {"name": old.key, "old_place": place_text(old.at), "old": before, "change": ""}
        if new is None:
            return data | {"change": "gone"}
        after = _signature(self.new, new)
        data |= {"place": place_text(new.at), "new": after}
        if new.key != old.key:
            return data | {"change": "renamed", "becomes": new.key}
        is_known = old.type is not None and new.type is not None
        return data | ({"change": "signature"} if is_known and before != after else {})

    # -- update points ----------------------------------------------------------------------------

    def _update_points(self) -> Iterable[Data]:
        olds = _points(self.old.program.update_points)
        news = _points(self.new.program.update_points)
        renames = {after: before for before, after in self.plan.update_point_renames}
        for name, places in news.items():
            was = renames.get(name, "")
            if name in olds:
                change = "kept" if _functions_of(olds[name]) == _functions_of(places) else "moved"
                yield _point(name, change, olds[name], places, was)
            elif was:
                yield _point(name, "renamed", olds.get(was, ()), places, was)
            else:
                yield _point(name, "new", (), places)
        for name, places in olds.items():
            if name not in news and name not in renames.values():
                yield _point(name, "gone", places, ())

    # -- rules ------------------------------------------------------------------------------------

    def _rules(self) -> Iterable[Data]:
        idle = {id(rule): why for rule, why in self.plan.unused_rules}
        replaced = {id(rule): why for rule, why in self.plan.replaced_rules}
        for rule in self.plan.rules.rules:
            data: Data = {"kind": rule.kind, "rule": rule.label, "place": place_text(rule.at)}
            if rule.code and rule.code.strip():
                data["text"] = rule.code.strip("\n")
            if id(rule) in idle:
                data["unused"] = idle[id(rule)]
            if id(rule) in replaced:
                data["replaced"] = replaced[id(rule)]
            yield data


_OF_INTEREST = (Coded, LeftAlone, MapEnum, Tagged)


def _changed(types: Iterable[Data]) -> dict[str, str]:
    """Return the names of the old version's types that are others now, each with its new name."""
    changed = (each for each in types if each["change"] in {"changed", "gone"})
    return {str(each.get("was", each["name"])): str(each["name"]) for each in changed}


def _carried_variable(  # noqa: PLR0911 - one way out per word
    migration: Migration,
) -> tuple[str, str]:
    """Return in one word and in a few how a variable is carried over."""
    if migration.new is None:
        return "dropped", migration.reason
    asked = "" if migration.auto or migration.address else ", when the program asks for it"
    how = describe(migration) + asked
    pair = migration.pair
    if migration.rule is not None:
        return ("initialised" if migration.rule.rule.kind == "init" else "rule"), how
    if migration.by_hand is not None:
        return "by-hand", how
    if migration.new.const:
        return "constant", how
    if migration.address or pair is None:
        return "initial", how
    if pair.moved:
        return "transformed", how
    return ("redirected" if closed.has_pointers(pair) else "copied"), how


def _carried_type(pair: Pair) -> tuple[str, str]:
    """Return in one word and in a few how objects of a type are carried over."""
    match pair.op:
        case Coded(rule=placed):
            return "rule", f"by rule '{placed.rule.label}' ({place_text(placed.rule.at)})"
        case LeftAlone(reason=reason):
            return "left-alone", f"left alone: {reason}"
    word, how = "copied", "copied"
    if pair.moved:
        word, how = "transformed", "transformed"
        how += ": each object gets a new block" if pair.pointed else ""
    elif pair.visited:
        word, how = "in-place", "kept in place, pointers rewritten"
    if isinstance(pair.op, MapEnum):
        how = "enumerators mapped by name"
    elif isinstance(pair.op, Tagged):
        how = "the member that its tag tells"
    return word, how


def _rank(pair: Pair) -> int:
    return _DRASTIC.index(_carried_type(pair)[0])


def _rule_name(rule: Rule) -> Data:
    return {"rule": rule.label, "place": place_text(rule.at)}


def _is_ours(at: Location) -> bool:
    """Tell whether a type is of Kitsune's own headers, and so nobody's state."""
    return at.file.startswith(OWN_HEADERS)


def _named_types(world: World) -> dict[str, Instance]:
    """Return the program's own records and enums by their places, the first of a name."""
    found: dict[str, Instance] = {}
    for index, node in enumerate(world.types):
        if isinstance(node, Record | Enum) and node.complete and not getattr(node, "system", False):
            place = type_place(world, Instance(index))
            if place is not None and node.at is not None and not _is_ours(node.at):
                found.setdefault(place, Instance(index))
    return found


def _members(world: World, instance: Instance) -> tuple[Member, ...]:
    view = world.resolve(instance)
    return tuple(world.members(view)) if isinstance(view, Compound) else ()


def _rows_of(world: World, instance: Instance, side: str) -> list[Data]:
    """Return the members or enumerators of a type that only one version has."""
    node = world.node(instance)
    if isinstance(node, Enum):
        return [{side: f"{name} = {value}", "change": ""} for name, value in node.enumerators]
    return [
        {side: _member_text(world, member), f"{side}_offset": _offset(member), "change": ""}
        for member in _members(world, instance)
    ]


def _member_text(world: World, member: Member) -> str:
    text = world.spell(member.instance, member.name)
    bits = f" : {member.field.bits}" if member.field.bits is not None else ""
    notes = " ".join(
        f"{a.kind}({a.text})" if a.text else a.kind for a in member.field.annotations if not a.path
    )
    return text + bits + (f"  [{notes}]" if notes else "")


def _offset(member: Member) -> int | None:
    return None if member.offset == UNKNOWN else member.offset


def _member_rows(
    old_world: World,
    new_world: World,
    olds: tuple[Member, ...],
    news: tuple[Member, ...],
    steps: Mapping[str, Step],
) -> list[Data]:
    rows: list[Data] = []
    left = {m.name: m for m in olds}
    for member in news:
        step = steps.get(member.name)
        source = _source(step, member.name)
        before = left.pop(source, None) if source is not None else None
        row: Data = {"new": _member_text(new_world, member), "new_offset": _offset(member)}
        if before is not None:
            row |= {"old": _member_text(old_world, before), "old_offset": _offset(before)}
        rows.append(row | _row_change(row, before, member, step))
    for gone in left.values():
        row = {"old": _member_text(old_world, gone), "old_offset": _offset(gone)}
        rows.append(row | {"change": "gone", "how": "dropped"})
    return rows


def _steps(pair: Pair) -> tuple[Step, ...]:
    match pair.op:
        case Fields(steps=steps) | Words(members=steps):
            return steps
        case Tagged(cases=cases):
            return tuple(step for case in cases for step in case.steps)
        case _:
            return ()


def _source(step: Step | None, name: str) -> str | None:
    """Return the old member from which a new one comes."""
    if step is None:
        return name
    if step.old is not None:
        return step.old.name
    return step.source[0] if len(step.source) == 1 else name


def _row_change(row: Data, before: Member | None, after: Member, step: Step | None) -> Data:
    how = _member_how(step) if step is not None else ""
    if before is None:
        return {"change": "added", "how": how}
    if before.name != after.name:
        return {"change": "renamed", "how": how}
    if row["old"] != row["new"]:
        return {"change": "retyped", "how": how}
    if row["old_offset"] != row["new_offset"]:
        return {"change": "moved", "how": how}
    return {"change": "", "how": how}


def _member_how(step: Step) -> str:
    """Return what is said of a member, "" for one that is only carried over."""
    if step.rule is not None:
        rule = step.rule.rule
        verb = "initialised" if rule.kind == "init" else "transformed"
        return f"{verb} by rule '{rule.label}' ({place_text(rule.at)})"
    if step.pair is None:
        return f"initial value ({step.reason})"
    was = f"was '{step.old.name}'" if step.old and step.old.name != step.new.name else ""
    match step.pair.op:
        case Convert():
            return "widened" + (f", {was}" if was else "")
        case Each(count=count, old_count=old_count) if count != old_count:
            return f"grown from {old_count} to {count} elements"
        case _:
            return was


def _enum_rows(one: Enum, other: Enum, pair: Pair | None) -> list[Data]:
    mapped: dict[str, int] = {}
    if pair is not None and isinstance(pair.op, MapEnum):
        mapped = {name: to for name, _, to in pair.op.cases}
    values, rows = dict(one.enumerators), []
    for name, value in other.enumerators:
        row: Data = {"new": f"{name} = {value}", "change": "added", "how": ""}
        if name in values:
            old = values.pop(name)
            change = "" if old == value else "revalued"
            row |= {"old": f"{name} = {old}", "change": change}
            row["how"] = f"{old} becomes {value}" if change else ""
        rows.append(row)
    for name, value in values.items():
        to = mapped.get(name, value)
        how = f"a value {value} becomes {to}"
        rows.append({"old": f"{name} = {value}", "change": "gone", "how": how})
    return rows


def _signature(world: World, function: FunctionSymbol) -> str:
    if function.type is None:  # nothing takes its address
        return f"{function.name}(…)"
    return world.spell(Instance(function.type), function.name)


def _functions_of(places: Sequence[str]) -> list[str]:
    return sorted(place.partition(" (")[0] for place in places)
