"""What is done with each variable, type and function between two versions (data).

Made by plan.py, printed by views.py, told by report.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from kitsune_tool import closed
from kitsune_tool.compare import PlacedRule
from kitsune_tool.likely import Guess
from kitsune_tool.model import FunctionSymbol, Variable
from kitsune_tool.pairs import Pair
from kitsune_tool.resolve import Bindings, World
from kitsune_tool.rules import Rule, RuleSet


@dataclass(frozen=True, slots=True)
class Migration:
    """A variable and what is done with it.

    `new` is None for one that is dropped, `old` for one that is made afresh. `address`: its value
    is not migrated, but pointers to the old one become pointers to the new one. `rule`, or the
    program's own function `by_hand`, gives the value; without these and `pair` the initial value is
    kept. `late`: after those that are not.
    """

    new: Variable | None
    old: Variable | None
    pair: Pair | None = None
    rule: PlacedRule | None = None
    auto: bool = False
    address: bool = False
    reason: str = ""
    by_hand: FunctionSymbol | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class FunctionChange:
    """An old function whose pointers do not just go to the namesake.

    `new` is None for one that is gone: a pointer to it stops the update.
    """

    old: FunctionSymbol
    new: FunctionSymbol | None
    reason: str


ClosureKey: TypeAlias = tuple[str, Bindings, Bindings]
"""A closure in a rule's code, without blanks, and what type parameters stand for around it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions about one step from version to version."""

    old: World
    new: World
    rules: RuleSet
    migrations: tuple[Migration, ...]
    pairs: tuple[Pair, ...]
    functions: tuple[FunctionChange, ...]
    update_point_renames: tuple[tuple[str, str], ...]
    into_moved: frozenset[closed.Key]
    discover: bool
    nothing_moves: bool
    seek: bool
    old_layout_digest: int
    closures: Mapping[ClosureKey, Pair | None] = field(default_factory=dict)
    """What rules' `$xform` and `$gen` ask for; None for an opaque word."""
    unused_rules: tuple[tuple[Rule, str], ...] = ()
    replaced_rules: tuple[tuple[Rule, str], ...] = ()
    former_names: Mapping[str, str] = field(default_factory=dict)
    """What the rules' renames say: old places by the new ones."""
    likely_renames: tuple[tuple[str, tuple[Guess, ...]], ...] = ()
    """New variables that keep their initial values, and what they may have been."""
