"""What the manifest's `unions:` says: which member of a union is in use, by a tag.

In: a `UnionSource` (config.py reads it from the manifest). Out: an annotation of kind `union`,
which annotate.py puts onto a program, and `Tags`, which resolve.py reads from it and plan.py
follows. A pointer of which a tag tells to what it points is treated as a union of pointers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.model import Annotation


@dataclass(frozen=True, slots=True)
class CaseSource:
    """An entry of `cases:`. `what` is None if nothing behind the bits is to be looked at."""

    label: str
    what: str | None
    at: Location


@dataclass(frozen=True, slots=True)
class UnionSource:
    """An entry of the manifest's `unions:`. Without `by` each label is a condition of its own.

    The entry with an empty label is the default.
    """

    path: str
    by: str
    cases: tuple[CaseSource, ...]
    at: Location


@dataclass(frozen=True, slots=True)
class Tags:
    """How to tell what is in use: the first case of which a label is `by`, or is true.

    Each case is a label (C over the old object; empty: any) and a member, or for a pointer what
    holds of it; None: the bits are kept and nothing is looked at.
    """

    by: str
    cases: tuple[tuple[str, str | None], ...]


def read_tags(source: UnionSource) -> Tags:
    """Return what an entry of the manifest says. Raises K141."""
    known: dict[str, CaseSource] = {}
    for case in source.cases:
        for label in _labels(case, has_tag=bool(source.by)):
            other = known.setdefault(label, case)
            if other is not case:
                raise KitsuneError(
                    "K141",
                    f"two cases of '{source.path}' are for '{label}'",
                    at=case.at,
                    hint=f"the other one is in line {other.at.line}: keep one of them",
                )
    return Tags(source.by, tuple((label, case.what) for label, case in known.items()))


def _labels(case: CaseSource, *, has_tag: bool) -> list[str]:
    """Return the labels of a case: a tag's values may stand side by side."""
    return [" ".join(each.split()) for each in case.label.split(",")] if has_tag else [case.label]


def annotation_of(tags: Tags, at: Location | None) -> Annotation:
    """Return the annotation that says the same."""
    return Annotation("union", json.dumps([tags.by, tags.cases]), at)


def tags_of(annotation: Annotation) -> Tags:
    """Return what an annotation of kind `union` or `case` says."""
    if annotation.kind == "case":
        return Tags("", (("", annotation.text),))
    by, cases = json.loads(annotation.text)
    return Tags(by, tuple((label, what) for label, what in cases))
