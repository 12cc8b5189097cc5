"""Annotations of the manifest, put onto a merged program.

In: a `Program`, `AnnotationSource`s and `UnionSource`s (config.py reads them from the manifest).
Out: the `Program` with the annotations in place, before those that stood in the source. Called by
release.py before a program is stored in its release, and again on the parent's, so that what the
manifest says now explains the old version too.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kitsune_tool.compare import all_places, find_instance, find_place, record_at, record_places
from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location
from kitsune_tool.model import (
    Annotation,
    AnnotationKind,
    Annotations,
    Program,
    Record,
    Typedef,
    TypeIndex,
)
from kitsune_tool.paths import Path, parse_path
from kitsune_tool.resolve import Choice, Compound, Instance, Ref, Vector, World, anonymous_name
from kitsune_tool.unions import UnionSource, annotation_of, read_tags

_KINDS: dict[str, tuple[AnnotationKind, bool]] = {
    "ptr": ("ptr", False),
    "opaque": ("opaque", False),
    "ptrarray": ("ptrarray", True),
    "array": ("array", True),
    "sz": ("sz", False),
    "generic": ("generic", True),
    "t": ("t", True),
    "g": ("g", True),
    "ignore": ("ignore", False),
    "custom": ("custom", True),
    "element": ("element", True),
    "bytes": ("bytes", True),
    "pooled": ("pooled", False),
    "case": ("case", True),
    "auto": ("auto_migrate", False),
    "manual": ("manual_migrate", False),
    "notelocals": ("notelocals", False),
}
"""The manifest's words, their kind, and whether an argument follows in parentheses."""

_WORD = re.compile(r"\s*([a-z]\w*)\s*")


@dataclass(frozen=True, slots=True)
class AnnotationSource:
    """An entry of the manifest's `annotations:`: a path, the text behind it, its place."""

    path: str
    text: str
    at: Location


def parse_annotations(source: AnnotationSource) -> Annotations:
    """Return the annotations in the text; raises `KitsuneError` K105."""
    found: list[Annotation] = []
    text, position = source.text.strip(), 0
    while position < len(text):
        match = _WORD.match(text, position)
        word = match.group(1) if match else text[position:]
        if match is None or word not in _KINDS:
            near = difflib.get_close_matches(word, list(_KINDS), n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"write one of {', '.join(_KINDS)}"
            raise KitsuneError("K105", f"'{word}' is no annotation", at=source.at, hint=hint)
        kind, takes_argument = _KINDS[word]
        argument, position = _argument(text, match.end())
        if takes_argument != bool(argument):
            what = "needs an argument, as in" if takes_argument else "takes no argument:"
            example = f"{word}(…)" if takes_argument else word
            raise KitsuneError("K105", f"'{word}' {what} '{example}'", at=source.at)
        found.append(Annotation(kind, argument, source.at))
    return tuple(found)


def case_notes(what: str, at: Location | None, *, to_union: bool) -> Annotations:
    """Return the annotations for a case of a pointer: a member of the union that it points to, the
    type of what it points to, or annotations.
    """
    if to_union and what.isidentifier() and what not in {"opaque", "sz"}:
        return (Annotation("case", what, at),)
    word = _WORD.match(what)
    if word is not None and word.group(1) in _KINDS:
        return parse_annotations(AnnotationSource("", what, at or Location("")))
    return (Annotation("element", what, at),)


def _argument(text: str, position: int) -> tuple[str, int]:
    """Return what stands in balanced parentheses at `position`, and where it ends."""
    if text[position : position + 1] != "(":
        return "", position
    depth = 0
    for index in range(position, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return text[position + 1 : index].strip(), index + 1
    return text[position + 1 :].strip(), len(text)


def annotate(
    program: Program,
    sources: Sequence[AnnotationSource],
    unions: Sequence[UnionSource] = (),
    *,
    lenient: bool = False,
    weaker: bool = False,
) -> Program:
    """Put annotations, and what tells the members of unions, onto a program.

    They replace what it has; with `weaker` they add to it.

    Raises `KitsuneErrors`: K102 for a path that names nothing (with `lenient`, of a program that
    the manifest does not speak of now, it is left out), K104 for one that fits several files, K105
    for a text that is no annotation, K140 and K141 for what `unions:` gets wrong.
    """
    world = World(program)
    errors: list[KitsuneError] = []
    placed: dict[str, list[Annotation]] = {}
    both: tuple[AnnotationSource | UnionSource, ...] = (*sources, *unions)
    for source in both:
        try:
            found = _of_union(world, source) if isinstance(source, UnionSource) else None
            found = found or _of_annotation(world, source)
            if found is not None:
                placed.setdefault(found[0], []).extend(found[1])
            elif not lenient:
                errors.append(_unknown(world, source))
        except KitsuneError as error:
            if not lenient:
                errors.append(error)
    if errors:
        raise KitsuneErrors(tuple(errors))
    return _applied(program, placed, weaker)


_Placed: TypeAlias = tuple[str, Annotations]
"""What an entry of the manifest puts where."""


def _path(source: AnnotationSource | UnionSource) -> Path:
    try:
        return parse_path(source.path)
    except ValueError as error:
        raise KitsuneError(
            "K102", f"annotation's path cannot be read: {error}", at=source.at
        ) from error


def _of_annotation(world: World, source: AnnotationSource | UnionSource) -> _Placed | None:
    if isinstance(source, UnionSource):
        return None
    path = _path(source)
    if path.kind == "typedef" and not path.fields:
        index = world.find(path.name)
        is_typedef = index is not None and isinstance(world.types[index], Typedef)
        return (f"typedef {path.name}", _below((), source)) if is_typedef else None
    place = find_place(world, path, source.at)
    return (place[0], _below(place[1], source)) if place is not None else None


def _of_union(world: World, source: UnionSource) -> _Placed | None:
    path = _path(source)
    found = find_instance(world, path, source.at)
    if found is None:
        return None
    head, fields, instance = found
    if path.kind == "typedef" and not fields:
        head = f"typedef {path.name}"
    below = None if instance is None else _union_path(world, found[:2], instance, source)
    if below is None:
        raise KitsuneError(
            "K140",
            f"'{source.path}' is no union, and no pointer",
            at=source.at,
            hint="name a union, a member that is one, a member of an anonymous union, or a pointer",
        )
    note = annotation_of(read_tags(source), source.at)
    inner = ".".join((*fields[: len(fields) - below[0]], *below[1]))
    return head, (dataclasses.replace(note, path=inner),)


def _union_path(
    world: World, place: tuple[str, tuple[str, ...]], instance: Instance, source: UnionSource
) -> tuple[int, tuple[str, ...]] | None:
    """Return how many names at the end of the path to drop, and what to put there instead, so that
    it leads to the union; None if there is none.
    """
    view = world.resolve(instance)
    while isinstance(view, Vector):
        view = world.resolve(view.of)
    if isinstance(view, Compound) and view.node.kind == "union":
        return 0, ()
    head, fields = place
    if fields:
        outer = find_instance(world, parse_path(".".join((head, *fields[:-1]))), source.at)
        around = _anonymous_around(world, outer[2] if outer else None, fields[-1], source)
        if around is not None:
            return 1, (around,)
    if isinstance(view, Compound):
        return (0, (only,)) if (only := _only_anonymous(world, view, source)) else None
    return (0, ()) if isinstance(view, Ref | Choice) else None


def _anonymous_around(
    world: World, outer: Instance | None, name: str, source: UnionSource
) -> str | None:
    """Return the anonymous union that has the member `name` and those that the cases name."""
    record = record_at(world, outer) if outer is not None else None
    for member in world.members(record) if record is not None else ():
        union = None if member.name else world.resolve(member.instance)
        if isinstance(union, Compound) and world.member(union, name) is not None:
            named = [case.what for case in source.cases if case.what is not None]
            if any(world.member(union, each) is not None for each in named):
                return anonymous_name(world.types, union.node)
    return None


def _only_anonymous(world: World, record: Compound, source: UnionSource) -> str | None:
    """Return the anonymous union of a struct. Raises K140 if it has several."""
    unions = [world.resolve(m.instance) for m in world.members(record) if not m.name]
    names = [anonymous_name(world.types, u.node) for u in unions if isinstance(u, Compound)]
    if len(names) > 1:
        members = " or ".join(f"'{source.path}.{name.strip('{}')}'" for name in names)
        raise KitsuneError(
            "K140",
            f"'{source.path}' has {len(names)} anonymous unions",
            at=source.at,
            hint=f"name a member of the one that is meant: {members}",
        )
    return names[0] if names else None


def _below(fields: tuple[str, ...], source: AnnotationSource) -> Annotations:
    path = ".".join(fields)
    return tuple(dataclasses.replace(a, path=path) for a in parse_annotations(source))


def _unknown(world: World, source: AnnotationSource | UnionSource) -> KitsuneError:
    near = difflib.get_close_matches(source.path, list(all_places(world)), n=1)
    return KitsuneError(
        "K102",
        f"this version has no '{source.path}' to annotate",
        at=source.at,
        hint=f"did you mean '{near[0]}'?" if near else None,
    )


def _applied(program: Program, placed: dict[str, list[Annotation]], weaker: bool) -> Program:
    world = World(program)

    def joined(found: Sequence[Annotation], own: Annotations) -> Annotations:
        return _joined(own, found) if weaker else _joined(found, own)

    return dataclasses.replace(
        program,
        types=tuple(
            dataclasses.replace(
                node, annotations=joined(_of_type(world, at, node, placed), node.annotations)
            )
            if isinstance(node, Record | Typedef)
            else node
            for at, node in enumerate(program.types)
        ),
        variables=tuple(
            dataclasses.replace(v, annotations=joined(placed.get(v.key, ()), v.annotations))
            for v in program.variables
        ),
        functions=tuple(
            dataclasses.replace(f, annotations=joined(placed.get(f.key, ()), f.annotations))
            for f in program.functions
        ),
    )


def _of_type(
    world: World, at: TypeIndex, node: Record | Typedef, placed: dict[str, list[Annotation]]
) -> Sequence[Annotation]:
    if isinstance(node, Typedef):
        return [a for a in placed.get(f"typedef {node.name}", ()) if not a.path]
    if node.tag:
        places = record_places(world, Instance(at))
        return [annotation for place in places for annotation in placed.get(place, ())]
    return [a for a in placed.get(f"typedef {node.typedef_name}", ()) if a.path]


def _joined(first: Sequence[Annotation], rest: Sequence[Annotation]) -> Annotations:
    """Put `first` before `rest`, without what it replaces: the same kind for the same member."""
    said = {(a.kind, a.path) for a in first}
    return (*first, *(a for a in rest if (a.kind, a.path) not in said))
