"""The units of a release, merged into one program.

In: `Unit`s as objects.py reads them. Out: a `Program` whose types are unified by structure, and the
digest of its layout. Called by release.py; compare.py and plan.py read what comes out.

Two types are one if no path through them tells them apart (colour refinement: the coarsest
partition in which the members of a class look alike and their children are in like classes).
Places do not count, so that a header seen by a hundred units gives one type; nor do tags alone, so
that each of two units may have its own `struct node`. A type that is incomplete in one unit becomes
the complete one of another if the program has exactly one candidate.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kitsune_tool.errors import KitsuneError, KitsuneErrors, Note
from kitsune_tool.model import (
    Annotations,
    Array,
    EditMatch,
    Enum,
    Function,
    FunctionSymbol,
    Pointer,
    Program,
    Record,
    Scalar,
    Type,
    Typedef,
    TypeIndex,
    TypeParameter,
    Unit,
    Variable,
    children,
    with_children,
)

_T = TypeVar("_T")


def merge(units: Sequence[Unit], name: str, version: str) -> Program:
    """Merge the units of one version; their order decides the order of what comes out.

    Raises `KitsuneErrors` with a K101 for each key that two different variables share.
    """
    graph = _Graph.of(units)
    mapping, types = _unify(graph)
    numbered = list(zip(units, graph.starts, strict=True))
    variables = _merge_variables(numbered, mapping, types)
    return Program(
        name=name,
        version=version,
        types=types,
        variables=variables,
        functions=_merge_functions(numbered, mapping),
        update_points=_unique(point for unit in units for point in unit.update_points),
        edits=_edits(units),
        sources=tuple(unit.source for unit in units),
        type_units=_type_units(graph, mapping, len(types)),
        casts=_unique(cast for unit in units for cast in unit.casts),
        requests=tuple(dict.fromkeys(key for unit in units for key in unit.requests)),
    )


@dataclass(slots=True)
class _Graph:
    """All units' types side by side; `starts` is where each unit's begin."""

    nodes: list[Type] = field(default_factory=list)
    edges: list[tuple[int, ...]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, units: Sequence[Unit]) -> _Graph:
        graph = cls()
        for unit in units:
            start = len(graph.nodes)
            graph.starts.append(start)
            graph.nodes += unit.types
            graph.edges += [tuple(start + to for to in children(node)) for node in unit.types]
        return graph


def _unify(graph: _Graph) -> tuple[list[int], tuple[Type, ...]]:
    """Return for each node of the graph its type's index, and the types."""
    candidates = _candidates(graph)
    while True:
        target = _completions(graph, candidates)
        edges = [tuple(target[to] for to in ends) for ends in graph.edges]
        colours = _refine(graph.nodes, edges)
        split = _split_tags(candidates, colours)
        if not split:
            break
        candidates = {tag: found for tag, found in candidates.items() if tag not in split}
    return _condense(graph.nodes, edges, colours, target)


Tag = tuple[str, str]


def _tag_of(node: Type) -> Tag | None:
    """Return kind and tag of a record or enum at file scope."""
    if isinstance(node, Record) and node.tag and not node.scope:
        return (node.kind, node.tag)
    if isinstance(node, Enum) and node.tag and not node.scope:
        return ("enum", node.tag)
    return None


def _candidates(graph: _Graph) -> dict[Tag, list[int]]:
    """Return the complete definitions of each tag that look alike on their surface."""
    found: dict[Tag, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        tag = _tag_of(node)
        if tag is not None and isinstance(node, Record | Enum) and node.complete:
            found.setdefault(tag, []).append(index)
    return {tag: nodes for tag, nodes in found.items() if _is_alike(graph, nodes)}


def _is_alike(graph: _Graph, nodes: list[int]) -> bool:
    first = _local(graph.nodes[nodes[0]])
    return all(_local(graph.nodes[index]) == first for index in nodes[1:])


def _completions(graph: _Graph, candidates: dict[Tag, list[int]]) -> list[int]:
    """Return for each node itself, or the complete definition that stands for it."""
    target = list(range(len(graph.nodes)))
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Record | Enum) and not node.complete:
            tag = _tag_of(node)
            if tag is not None and tag in candidates:
                target[index] = candidates[tag][0]
    return target


def _split_tags(candidates: dict[Tag, list[int]], colours: list[int]) -> set[Tag]:
    """Return the tags whose definitions turned out to differ further down."""
    return {
        tag
        for tag, nodes in candidates.items()
        if len(nodes) > 1 and len({colours[node] for node in nodes}) > 1
    }


def _refine(nodes: list[Type], edges: list[tuple[int, ...]]) -> list[int]:
    """Return a colour for each node: equal exactly for types of equal structure."""
    colours, count = _number(_local(node) for node in nodes)
    while True:
        keys = (
            (colours[index], *[colours[to] for to in ends]) if ends else colours[index]
            for index, ends in enumerate(edges)
        )
        colours, finer = _number(keys)
        if finer == count:
            return colours
        count = finer


def _number(keys: Iterable[Any]) -> tuple[list[int], int]:
    seen: dict[Any, int] = {}
    numbers = [seen.setdefault(key, len(seen)) for key in keys]
    return numbers, len(seen)


def _local(node: Type) -> tuple[Any, ...]:  # noqa: PLR0911 - one case per kind of type
    """Return what tells `node` from others without looking at its children or places."""
    match node:
        case Record():
            fields = tuple(
                (f.name, f.offset_bytes, f.bits, f.align_as, _texts(f.annotations))
                for f in node.fields
            )
            names = (node.kind, node.tag, node.typedef_name if not node.tag else "", node.scope)
            layout = (node.complete, node.size, node.align, node.attributes)
            return ("record", *names, *layout, fields, _texts(node.annotations))
        case Enum():
            name = (node.tag, node.typedef_name if not node.tag else "", node.scope)
            return ("enum", *name, node.complete, node.size, node.signed, node.enumerators)
        case Typedef():
            return ("typedef", node.name, node.scope, _texts(node.annotations))
        case Pointer():
            return ("pointer", node.const_target, _texts(node.annotations))
        case Array():
            return ("array", node.length, _texts(node.annotations))
        case Function():
            return ("function", node.variadic, node.prototype, len(node.parameters))
        case Scalar():
            return ("scalar", node.name, node.kind, node.size, node.align)
        case TypeParameter():
            return ("parameter", node.name)


def _texts(annotations: Annotations) -> tuple[tuple[str, str, str], ...]:
    return tuple((a.kind, a.text, a.path) for a in annotations)


def _condense(
    nodes: list[Type], edges: list[tuple[int, ...]], colours: list[int], target: list[int]
) -> tuple[list[int], tuple[Type, ...]]:
    """Number the colours that stand for something, in order of first appearance."""
    numbers: dict[int, int] = {}
    first: list[int] = []
    for index in range(len(nodes)):
        colour = colours[target[index]]
        if colour not in numbers:
            numbers[colour] = len(first)
            first.append(target[index])
    mapping = [numbers[colours[target[index]]] for index in range(len(nodes))]
    types = tuple(
        with_children(nodes[index], tuple(mapping[to] for to in edges[index])) for index in first
    )
    return mapping, types


def _type_units(graph: _Graph, mapping: list[int], count: int) -> tuple[tuple[int, ...], ...]:
    seen: list[list[int]] = [[] for _ in range(count)]
    ends = [*graph.starts[1:], len(graph.nodes)]
    for unit, (start, end) in enumerate(zip(graph.starts, ends, strict=True)):
        for number in sorted(set(mapping[start:end])):
            seen[number].append(unit)
    return tuple(tuple(units) for units in seen)


def _merge_variables(
    numbered: Sequence[tuple[Unit, int]], mapping: list[int], types: Sequence[Type]
) -> tuple[Variable, ...]:
    found: dict[str, Variable] = {}
    errors: list[KitsuneError] = []
    ambiguous: set[str] = set()
    requests = {key for unit, _ in numbered for key in unit.requests}
    for unit, start in numbered:
        for each in unit.variables:
            variable = dataclasses.replace(each, type=mapping[start + each.type])
            known = found.setdefault(each.key, variable)
            if known is variable or _is_same_variable(known, variable, types):
                continue
            if known.is_local and variable.is_local and each.key not in requests:
                ambiguous.add(each.key)  # of two static functions of one name; nobody asks
            else:
                errors.append(_clash(known, variable))
    if errors:
        raise KitsuneErrors(tuple(errors))
    return tuple(v for v in found.values() if v.key not in ambiguous)


def _is_same_variable(one: Variable, other: Variable, types: Sequence[Type]) -> bool:
    """Tell whether two definitions are one variable: common or weak symbols of one type.

    A pointer that a header defines may be to what each unit has a structure of its own for, as in
    the interface of a program for its plugins. Where macros are expanded otherwise it may stand in
    another column.
    """
    both_global = one.storage == other.storage == "global"
    from_header = one.at == other.at
    are_pointers = isinstance(types[one.type], Pointer) and isinstance(types[other.type], Pointer)
    return (both_global or (one.is_local and other.is_local and from_header)) and (
        one.type == other.type or (both_global and are_pointers and _on_one_line(one, other))
    )


def _on_one_line(one: Variable, other: Variable) -> bool:
    """Tell whether two definitions stand at one place, in whatever column macros put them."""
    places = [(each.at.file, each.at.line) for each in (one, other) if each.at is not None]
    return len(places) == len((one, other)) and places[0] == places[1]


def _clash(known: Variable, other: Variable) -> KitsuneError:
    return KitsuneError(
        "K101",
        f"two variables of this program have the key '{known.key}'",
        at=other.at,
        notes=(Note(known.at, "the other one is here"),),
        hint='give one of the units a file-scope  KT_NAMESPACE = "name";  its keys then begin\n'
        "with 'name@'",
    )


def _merge_functions(
    numbered: Sequence[tuple[Unit, int]], mapping: list[int]
) -> tuple[FunctionSymbol, ...]:
    found: dict[str, FunctionSymbol] = {}
    for unit, start in numbered:
        for each in unit.functions:
            index = None if each.type is None else mapping[start + each.type]
            function = dataclasses.replace(each, type=index)
            known = found.get(each.key)
            found[each.key] = function if known is None else _joined(known, function)
    return tuple(found.values())


def _joined(one: FunctionSymbol, other: FunctionSymbol) -> FunctionSymbol:
    """Return what is known of a function from two units; its definition knows best."""
    best, rest = (one, other) if one.defined or not other.defined else (other, one)
    extra = tuple(a for a in rest.annotations if a not in best.annotations)
    return dataclasses.replace(
        best,
        registered=one.registered or other.registered,
        type=best.type if best.type is not None else rest.type,
        annotations=best.annotations + extra,
    )


def _unique(found: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(found))


def _edits(units: Sequence[Unit]) -> tuple[EditMatch, ...]:
    """Return all edits' places; one in a header that several units include counts once."""
    return tuple(dict.fromkeys(match for unit in units for match in unit.edits))


def layout_digest(program: Program) -> int:
    """Return 64 bits over all variables and the layout of what they reach.

    Equal for two builds of one source. Places and annotations do not count: they do not change
    where a byte lies.
    """
    order: dict[TypeIndex, int] = {}
    body: list[Any] = []
    for variable in sorted(program.variables, key=lambda v: v.key):
        _visit(program, variable.type, order)
        body.append([variable.key, order[variable.type], variable.size_bytes])
    for index in order:
        node = program.types[index]
        body.append([_layout(node), [order[to] for to in children(node)]])
    text = json.dumps(body, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _visit(program: Program, root: TypeIndex, order: dict[TypeIndex, int]) -> None:
    """Number what `root` reaches, depth first, without recursion: types may nest deeply."""
    stack = [root]
    while stack:
        index = stack.pop()
        if index not in order:
            order[index] = len(order)
            stack += reversed(children(program.types[index]))


def _layout(node: Type) -> list[Any]:  # noqa: PLR0911 - one case per kind of type
    match node:
        case Record():
            fields = [[f.name, f.offset_bytes, f.size_bytes, f.bits] for f in node.fields]
            return ["record", node.kind, node.tag, node.size, node.align, fields]
        case Enum():
            return ["enum", node.tag, node.size, [list(pair) for pair in node.enumerators]]
        case Array():
            return ["array", node.length, node.size]
        case Scalar():
            return ["scalar", node.name, node.size]
        case Function():
            return ["function", len(node.parameters), node.variadic]
        case Typedef():
            return ["typedef", node.name]
        case TypeParameter():
            return ["parameter", node.name]
        case Pointer():
            return ["pointer"]
