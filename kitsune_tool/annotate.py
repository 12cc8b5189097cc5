"""Annotations of the manifest, put onto a merged program.

In: a `Program` and `AnnotationSource`s (config.py reads them from the manifest). Out: the `Program`
with the annotations in place, before those that stood in the source. Called by release.py before a
program is stored in its release, and again on the parent's, so that what the manifest says now
explains the old version too.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kitsune_tool.compare import all_places, find_place
from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location
from kitsune_tool.model import (
    Annotation,
    AnnotationKind,
    Annotations,
    FunctionSymbol,
    Program,
    Record,
    Type,
    Typedef,
    Variable,
)
from kitsune_tool.paths import parse_path
from kitsune_tool.resolve import World

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
    program: Program, sources: Sequence[AnnotationSource], *, lenient: bool = False
) -> Program:
    """Put annotations onto a program.

    Raises `KitsuneErrors`: K102 for a path that names nothing (with `lenient`, of a program that
    the manifest does not speak of now, it is left out), K104 for one that fits several files, K105
    for a text that is no annotation.
    """
    world = World(program)
    errors: list[KitsuneError] = []
    placed: dict[str, list[Annotation]] = {}
    for source in sources:
        try:
            place = _place(world, source)
            if place is not None:
                placed.setdefault(place[0], []).extend(_below(place[1], source))
            elif not lenient:
                errors.append(_unknown(world, source))
        except KitsuneError as error:
            if not lenient:
                errors.append(error)
    if errors:
        raise KitsuneErrors(tuple(errors))
    return _applied(program, placed)


def _place(world: World, source: AnnotationSource) -> tuple[str, tuple[str, ...]] | None:
    try:
        path = parse_path(source.path)
    except ValueError as error:
        raise KitsuneError(
            "K102", f"annotation's path cannot be read: {error}", at=source.at
        ) from error
    if path.kind == "typedef" and not path.fields:
        index = world.find(path.name)
        is_typedef = index is not None and isinstance(world.types[index], Typedef)
        return (f"typedef {path.name}", ()) if is_typedef else None
    return find_place(world, path, source.at)


def _below(fields: tuple[str, ...], source: AnnotationSource) -> Annotations:
    path = ".".join(fields)
    return tuple(dataclasses.replace(a, path=path) for a in parse_annotations(source))


def _unknown(world: World, source: AnnotationSource) -> KitsuneError:
    near = difflib.get_close_matches(source.path, list(all_places(world)), n=1)
    return KitsuneError(
        "K102",
        f"this version has no '{source.path}' to annotate",
        at=source.at,
        hint=f"did you mean '{near[0]}'?" if near else None,
    )


def _applied(program: Program, placed: dict[str, list[Annotation]]) -> Program:
    return dataclasses.replace(
        program,
        types=tuple(_annotated_type(node, placed) for node in program.types),
        variables=tuple(_annotated_variable(v, placed) for v in program.variables),
        functions=tuple(_annotated_function(f, placed) for f in program.functions),
    )


def _annotated_type(node: Type, placed: dict[str, list[Annotation]]) -> Type:
    if not isinstance(node, Record | Typedef):
        return node
    found: Sequence[Annotation] = ()
    if isinstance(node, Typedef):
        found = [a for a in placed.get(f"typedef {node.name}", ()) if not a.path]
    elif node.tag:
        found = placed.get(f"{node.kind} {node.tag}", ())
    elif node.typedef_name:
        found = [a for a in placed.get(f"typedef {node.typedef_name}", ()) if a.path]
    return dataclasses.replace(node, annotations=_joined(found, node.annotations))


def _annotated_variable(variable: Variable, placed: dict[str, list[Annotation]]) -> Variable:
    found = placed.get(variable.key, ())
    return dataclasses.replace(variable, annotations=_joined(found, variable.annotations))


def _annotated_function(
    function: FunctionSymbol, placed: dict[str, list[Annotation]]
) -> FunctionSymbol:
    found = placed.get(function.key, ())
    return dataclasses.replace(function, annotations=_joined(found, function.annotations))


def _joined(first: Sequence[Annotation], rest: Annotations) -> Annotations:
    """Put `first` before `rest`, without what it replaces: the same kind for the same member."""
    said = {(a.kind, a.path) for a in first}
    return (*first, *(a for a in rest if (a.kind, a.path) not in said))
