"""What a release changes and how each thing is carried over, to be read by people and programs.

In: a `Plan`, or for a first release its `Program`. Out: text, and data for JSON. For release.py.
Both tell the same: `as_data` collects, `as_text` only prints what that collected.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kitsune_tool import closed
from kitsune_tool.definitions import place_text
from kitsune_tool.model import Program, UpdatePoint
from kitsune_tool.pairs import (
    Coded,
    Convert,
    Copy,
    Each,
    Fields,
    LeftAlone,
    MapEnum,
    Pair,
    Point,
    Step,
    Tagged,
    Words,
)
from kitsune_tool.plan import Migration, Plan
from kitsune_tool.rules import Rule
from kitsune_tool.views import describe

_Data = dict[str, Any]


def first_data(program: Program) -> _Data:
    """Return the report of a release that follows no other."""
    return {
        "program": program.name,
        "version": program.version,
        "follows": None,
        "variables": [
            {"name": v.key, "place": place_text(v.at), "how": "as the program starts"}
            for v in program.variables
        ],
        "update_points": {"kept": _point_names(program.update_points)},
        "edits": _edits(program),
    }


def as_data(plan: Plan) -> _Data:
    """Return the report of a release that follows another."""
    old, new = plan.old.program, plan.new.program
    names = set(_point_names(old.update_points))
    return {
        "program": new.name,
        "version": new.version,
        "follows": old.version,
        "objects": "none gets a new block" if plan.nothing_moves else "some get new blocks",
        "variables": [_variable(each) for each in plan.migrations],
        "types": list(_types(plan)),
        "functions": [_function(plan, change) for change in plan.functions],
        "update_points": {
            "kept": [n for n in _point_names(new.update_points) if n in names],
            "new": [n for n in _point_names(new.update_points) if n not in names],
            "renamed": [f"{before} -> {after}" for before, after in plan.update_point_renames],
        },
        "assumed": list(_assumptions(plan)),
        "unused_rules": [
            {"rule": rule.label, "place": _rule_place(rule), "why": why}
            for rule, why in plan.unused_rules + plan.replaced_rules
        ],
        "edits": _edits(new),
    }


def first_text(program: Program) -> str:
    """Return the report of a first release as text."""
    return _print(first_data(program))


def as_text(plan: Plan) -> str:
    """Return the report as text."""
    return _print(as_data(plan))


# -- collecting -----------------------------------------------------------------------------------


def _rule_place(rule: Rule) -> str:
    return place_text(rule.at)


def _point_names(points: Iterable[UpdatePoint]) -> list[str]:
    return list(dict.fromkeys(p.name or "(computed)" for p in points))


def _edits(program: Program) -> list[_Data]:
    return [
        {"place": place_text(e.at), "function": e.function, "text": e.text} for e in program.edits
    ]


def _variable(migration: Migration) -> _Data:
    known = migration.new or migration.old
    assert known is not None
    data: _Data = {"name": known.key, "place": place_text(known.at)}
    if migration.new is None:
        return data | {"how": "dropped", "why": migration.reason}
    if migration.old is not None and migration.old.key != migration.new.key:
        data["was"] = migration.old.key
    data["how"] = describe(migration)
    if not migration.auto and not migration.address:
        data["how"] += ", when the program asks for it"
    return data


def _types(plan: Plan) -> Iterable[_Data]:
    """Yield the structs, unions and enums that are not just copied, and each lost member."""
    seen: set[tuple[str, str]] = set()
    for pair in plan.pairs:
        if not isinstance(pair.op, Fields | Words | Tagged | MapEnum | Coded | LeftAlone):
            continue
        name, was = plan.new.spell(pair.new), plan.old.spell(pair.old)
        if (name, was) in seen or not (pair.moved or pair.visited):
            continue
        seen.add((name, was))
        data: _Data = {
            "name": name,
            "place": place_text(plan.new.place(pair.new)),
            "how": _type_how(pair),
            "bytes": [plan.old.size(pair.old), plan.new.size(pair.new)],
        }
        if was != name:
            data["was"] = was
        if isinstance(pair.op, Fields) and pair.moved:
            data["members"] = list(_members(pair.op))
        yield data


def _type_how(pair: Pair) -> str:
    match pair.op:
        case Coded(rule=placed):
            return f"by rule '{placed.rule.label}' ({_rule_place(placed.rule)})"
        case LeftAlone(reason=reason):
            return f"left alone: {reason}"
        case MapEnum():
            return "enumerators mapped by name"
        case _ if pair.moved and not pair.pointed:
            return "transformed"
        case _ if pair.moved:
            return "transformed: each object gets a new block"
        case _:
            return "kept in place, pointers rewritten"


def _members(fields: Fields) -> Iterable[str]:
    for step in fields.steps:
        text = _member(step)
        if text:
            yield f"{step.new.name or '(anonymous union)'}: {text}"
    for gone in fields.dropped:
        yield f"{gone.name or '(anonymous union)'}: dropped"


def _member(step: Step) -> str:
    """Return what is said of a member, "" for one that is only carried over."""
    if step.rule is not None:
        rule = step.rule.rule
        verb = "initialised" if rule.kind == "init" else "transformed"
        return f"{verb} by rule '{rule.label}' ({_rule_place(rule)})"
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


def _function(plan: Plan, change: Any) -> _Data:
    return {
        "name": change.old.key,
        "becomes": change.new.key if change.new is not None else None,
        "why": change.reason,
    }


def _assumptions(plan: Plan) -> Iterable[str]:
    """Yield what is taken for granted, each with the way to it."""
    seen: set[str] = set()
    for pair in plan.pairs:
        text = ""
        if isinstance(pair.op, Copy) and pair.op.assumed:
            text = f"{pair.where.new_place}: kept as it is ({pair.op.assumed})"
        elif isinstance(pair.op, Point) and pair.op.style == "word":
            text = f"{pair.where.new_place}: unexplained; translated if it is an address known"
        elif isinstance(pair.op, Words) and pair.op.offsets and not pair.op.functions:
            text = f"{pair.where.new_place}: union; its pointers are taken for addresses if known"
        if text and text not in seen:
            seen.add(text)
            yield text
    yield from _dropped(plan)


def _dropped(plan: Plan) -> Iterable[str]:
    """Yield the dropped variables to which pointers may lead: met, they stop the update."""
    targets = {
        closed.key_of(plan.old, pair.old)
        for pair in plan.pairs
        if pair.pointed and isinstance(pair.op, Fields)
    }
    for migration in plan.migrations:
        if migration.new is None and migration.old is not None:
            key = closed.key_of(plan.old, plan.old.variable_instance(migration.old))
            if key in targets:
                yield f"{migration.old.key}: dropped, so no pointer to it may be met"


# -- printing -------------------------------------------------------------------------------------


def _print(data: _Data) -> str:
    head = f"{data['program']} {data['version']}"
    lines = [f"{head}, follows {data['follows']}" if data["follows"] else f"{head}, first release"]
    if "objects" in data:
        lines.append(f"Objects: {data['objects']}.")
    for title, key, show in _SECTIONS:
        entries = list(show(data.get(key) or []))
        if entries:
            lines += ["", title, *(f"  {entry}" for entry in entries)]
    return "\n".join(lines) + "\n"


def _show_named(entries: list[_Data]) -> Iterable[str]:
    for entry in entries:
        was = f" (was {entry['was']})" if "was" in entry else ""
        place = f" [{entry['place']}]" if entry["place"] else ""
        why = f": {entry['why']}" if "why" in entry else ""
        yield f"{entry['name']}{was}{place}: {entry['how']}{why}"
        yield from (f"    {member}" for member in entry.get("members", ()))


def _show_functions(entries: list[_Data]) -> Iterable[str]:
    for entry in entries:
        yield f"{entry['name']} -> {entry['becomes'] or 'nothing'}: {entry['why']}"


def _show_points(points: dict[str, list[str]]) -> Iterable[str]:
    for kind, names in points.items():
        if names:
            yield f"{kind}: {', '.join(names)}"


def _show_rules(entries: list[_Data]) -> Iterable[str]:
    for entry in entries:
        yield f"{entry['rule']} [{entry['place']}]: {entry['why']}"


def _show_edits(entries: list[_Data]) -> Iterable[str]:
    for entry in entries:
        yield f"{entry['place']} in {entry['function'] or 'the file'}: {entry['text']}"


_SECTIONS: tuple[tuple[str, str, Any], ...] = (
    ("Variables", "variables", _show_named),
    ("Types", "types", _show_named),
    ("Functions", "functions", _show_functions),
    ("Update points", "update_points", _show_points),
    ("Assumed", "assumed", iter),
    ("Rules that match nothing", "unused_rules", _show_rules),
    ("Edits", "edits", _show_edits),
)
