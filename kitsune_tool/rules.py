"""Rules of state transformation: from the manifest's text to parsed rules.

In: `RuleSource`s and `Preamble`s (config.py reads them from the manifest, with places). Out: a
`RuleSet` of `Rule`s, which plan.py asks and render.py prints. What a path names is not looked up
here; that a rule's text is malformed is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location
from kitsune_tool.paths import Path, parse_path


@dataclass(frozen=True, slots=True)
class RuleSource:
    """An item of the manifest's `rules:`.

    `labels` are its texts: `old -> new` of a rename or transform, a path of an `init`. `code` is
    None if there is none, `code_at` the place of its first line.
    """

    kind: Literal["rename", "transform", "init"]
    labels: tuple[str, ...]
    code: str | None
    at: Location
    code_at: Location | None = None


@dataclass(frozen=True, slots=True)
class Preamble:
    """C text in front of all rules' code, and where its first line stands."""

    text: str
    at: Location


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

    @property
    def is_empty(self) -> bool:
        """Whether the code does nothing: the new version's initial value is kept."""
        return self.code is not None and not _COMMENTS.sub("", self.code).strip()


_COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


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
        for label in source.labels:
            try:
                rules.append(_rule(source, label, number))
            except ValueError as error:
                errors.append(KitsuneError("K110", f"rule cannot be read: {error}", at=source.at))
    if errors:
        raise KitsuneErrors(tuple(errors))
    return RuleSet(tuple(rules), tuple(preambles))


def _rule(source: RuleSource, label: str, number: int) -> Rule:
    old, arrow, new = label.partition("->")
    if source.kind == "init":
        if arrow:
            raise ValueError(f"'{label}': an init names one path, not 'old -> new'")
        old, new = "", label
    elif not arrow:
        raise ValueError(f"'{label}' has no '->': write 'OLD -> NEW'")
    return Rule(
        kind=source.kind,
        old=parse_path(old) if old else None,
        new=parse_path(new),
        code=None if source.kind == "rename" else source.code or "",
        at=source.at,
        code_at=source.code_at or source.at,
        number=number,
        label=label.strip(),
    )
