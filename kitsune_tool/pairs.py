"""Pairs of an old and a new type, and what is done to turn a value of one into one of the other.

Made by plan.py, analysed by closed.py, printed by views.py, told by report.py. A `Pair` is a node
of a graph that has cycles (a list's entry leads to itself), so its `op` is filled in after it is
made, and the results of the analysis after that; nothing changes it once plan.py has returned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kitsune_tool.allocators import Allocator
from kitsune_tool.compare import PlacedRule
from kitsune_tool.errors import Location
from kitsune_tool.resolve import Instance, Member


@dataclass(frozen=True, slots=True)
class Where:
    """How a pair is reached first, for messages.

    `path` leads from the root variable to it. The places are those a rule or annotation would name.
    """

    root: str
    path: str
    old_place: str
    new_place: str
    old_at: Location | None = None
    new_at: Location | None = None
    root_at: Location | None = None
    """Where the root variable is declared, or where the rule is that asks for it."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The bits are kept. `assumed` says what is taken for granted, if anything is."""

    assumed: str = ""


@dataclass(frozen=True, slots=True)
class Convert:
    """A lossless conversion of arithmetic types, as C does it."""


@dataclass(frozen=True, slots=True)
class MapEnum:
    """Enumerators whose values moved: (name, old value, new value), all of the old ones."""

    cases: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A pointer. `length` (of `array`) is C text over the old object.

    `text` is a pointer to bytes (`char *`) that no annotation calls an array.
    """

    style: Literal["one", "array", "terminated", "function", "word"]
    target: Pair | None = None
    length: str = ""
    at: Location | None = None
    text: bool = False


@dataclass(frozen=True, slots=True)
class Each:
    """An array, element by element; `count` of them, or what `length` says (a flexible member)."""

    of: Pair
    count: int
    old_count: int
    length: str = ""
    at: Location | None = None
    flexible: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One member of the new struct and where its value comes from.

    `pair` for a value that is carried over, `rule` for one that code gives; neither for one that
    keeps its initial value (zero in a new object). `source` names the old members that a rule's
    `$in` is; empty: the whole old struct.
    """

    new: Member
    old: Member | None = None
    pair: Pair | None = None
    rule: PlacedRule | None = None
    source: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Extent:
    """How many bytes an old object has, where that is not its type's size: C text over it."""

    length: str
    at: Location | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """A struct, member by member; `dropped` are old members that nothing asks for.

    `extent`: its objects end somewhere in the last member, or behind it. `pooled`: several of them
    may lie in one block of the allocator.
    """

    steps: tuple[Step, ...]
    dropped: tuple[Member, ...] = ()
    same_layout: bool = True
    extent: Extent | None = None
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """A union: its bytes are copied; pointers among its `members` are looked at as `words` do.

    `offsets` are those of the pointers; `functions` tells that every member is a function pointer.
    """

    members: tuple[Step, ...]
    size: int
    offsets: tuple[int, ...] = ()
    functions: bool = False
    grows: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """What is in use if the tag is one of `labels` (C text over the old object; none: any other).

    `steps` are the members of a union, `value` is what a pointer is then; neither: bits to keep.
    `refused`: no object of the old version can be it, so one that is stops the update.
    """

    labels: tuple[str, ...]
    text: str
    steps: tuple[Step, ...] = ()
    value: Pair | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Tagged:
    """A union, or a pointer, of which a tag tells what it is. `by` is C text over the old object,
    empty if the labels are conditions.
    """

    by: str
    cases: tuple[Case, ...]
    old_size: int
    new_size: int
    at: Location | None = None

    @property
    def has_default(self) -> bool:
        """Whether no tag is unknown."""
        return any(not case.labels for case in self.cases)


@dataclass(frozen=True, slots=True)
class Coded:
    """A rule for the whole value."""

    rule: PlacedRule


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A rule or annotation says that the value is not migrated."""

    reason: str


Op: TypeAlias = (
    Copy | Convert | MapEnum | Point | Each | Fields | Words | Tagged | Coded | LeftAlone
)  # fmt: skip


@dataclass(slots=True, eq=False)
class Pair:
    """An old and a new type of values, and what is done.

    `moved`: the bytes of a value change, so that each object needs a new block. `visited`: it
    holds a pointer that must be looked at. `embedded`: it is a member or element somewhere, so that
    a pointer to it may point into the middle of something. `into_moved`: of something that moves.
    """

    number: int
    old: Instance
    new: Instance
    where: Where
    op: Op = field(default_factory=Copy)
    moved: bool = False
    visited: bool = False
    embedded: bool = False
    into_moved: bool = False
    pointed: bool = False
    """A pointer leads to it, so that it is an object of its own."""
    allocator: Allocator | None = None
    """Where a new object's block comes from; None: malloc."""


def parts(op: Op) -> tuple[Pair, ...]:
    """Return the pairs of the values inside a value."""
    match op:
        case Each(of=of):
            return (of,)
        case Fields(steps=steps) | Words(members=steps):
            return tuple(step.pair for step in steps if step.pair is not None)
        case Tagged(cases=cases):
            values = tuple(case.value for case in cases if case.value is not None)
            steps = tuple(step for case in cases for step in case.steps)
            return values + tuple(step.pair for step in steps if step.pair is not None)
        case _:
            return ()
