"""Rules of state transformation: from the manifest's text to parsed rules.

In: `RuleSource`s and `Preamble`s (config.py reads them from the manifest, with places). Out: a
`RuleSet` of `Rule`s, which plan.py asks and render.py prints. What a path names is not looked up
here; that a rule's text is malformed is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location
from kitsune_tool.paths import Path, parse_path, split_label


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A rule as written, in the manifest or in a file of rules.

    `labels` are its texts: `old -> new` of a rename or transform, a path of an `init`; among those
    of a `transform` may be `INIT path`. `code` is None for a rename only, `code_at` the place of
    its first line. `places` are those of the labels (else they stand at `at`), `comments` the lines
    of those in front of the rule, without their marks.
    """

    kind: Literal["rename", "transform", "init"]
    labels: tuple[str, ...]
    code: str | None
    at: Location
    code_at: Location | None = None
    places: tuple[Location, ...] = ()
    comments: tuple[str, ...] = ()
    standing: bool = False
    """It holds in every version, so that one of a version's own goes before it."""


@dataclass(frozen=True, slots=True)
class Preamble:
    """C text in front of all rules' code, and where its first line stands."""

    text: str
    at: Location
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A file of rules, whatever its spelling. `comments` are those behind the last rule."""

    preamble: Preamble | None = None
    rules: tuple[RuleSource, ...] = ()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One label of a rule. `old` is None for an `init`; `code` is None for a rename.

    Rules with one `number` share their code; `label` is the text as the user wrote it.
    """

    kind: Literal["rename", "transform", "init"]
    old: Path | None
    new: Path
    code: str | None
    at: Location
    code_at: Location
    number: int
    label: str
    standing: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the code does nothing: the new version's initial value is kept."""
        return self.code is not None and not _COMMENTS.sub("", self.code).strip()


_COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_INIT = re.compile(r"\s*INIT\s+")


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of one step from version to version, in the manifest's order."""

    rules: tuple[Rule, ...] = ()
    preambles: tuple[Preamble, ...] = ()


def parse_rules(sources: Iterable[RuleSource], preambles: Iterable[Preamble] = ()) -> RuleSet:
    """Parse the rules of a manifest.

    Raises `KitsuneErrors` with a K110 for each label that cannot be read.
    """
    rules: list[Rule] = []
    errors: list[KitsuneError] = []
    for number, source in enumerate(sources):
        places = source.places or (source.at,) * len(source.labels)
        for label, at in zip(source.labels, places, strict=True):
            try:
                rules.append(_rule(source, label, at, number))
            except ValueError as error:
                errors.append(KitsuneError("K110", f"rule cannot be read: {error}", at=at))
    if errors:
        raise KitsuneErrors(tuple(errors))
    return RuleSet(tuple(rules), tuple(preambles))


def turned_round(source: RuleSource) -> RuleSource:
    """Return a rename for the step in the other direction; one that cannot be read as it is.

    Like a standing one, it gives way to what is written for that step.
    """
    both = [split_label(label) for label in source.labels]
    turned_labels = (each and f"{each[1]} -> {each[0]}" for each in both)
    pairs = zip(turned_labels, source.labels, strict=True)
    labels = tuple(turned or label for turned, label in pairs)
    return dataclasses.replace(source, labels=labels, standing=True)


def _rule(source: RuleSource, label: str, at: Location, number: int) -> Rule:
    kind = source.kind
    if kind == "transform" and (init := _INIT.match(label)):
        kind, label = "init", label[init.end() :]
    both = split_label(label)
    if kind == "init" and both is not None:
        raise ValueError(f"'{label}': an init names one path, not 'old -> new'")
    if kind != "init" and both is None:
        raise ValueError(f"'{label}' has no '->': write 'OLD -> NEW'")
    return Rule(
        kind=kind,
        old=parse_path(both[0]) if both else None,
        new=parse_path(both[1] if both else label),
        code=None if kind == "rename" else source.code or "",
        at=at,
        code_at=source.code_at or source.at,
        number=number,
        label=label.strip(),
        standing=source.standing,
    )
