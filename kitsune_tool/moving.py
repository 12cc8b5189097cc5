"""What must be known of the pairs of types once it is known which of them move.

In: the pairs, as plan.py found and closed.py analysed them. Out: the pointers in unions and the
allocators of what moves filled in, whether all objects must be met first; diagnoses of what cannot
be done with what moves, and of expressions. Called by plan.py when its walk is over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kitsune_tool import closed, expressions
from kitsune_tool.allocators import find_allocator
from kitsune_tool.compare import Comparison
from kitsune_tool.diagnose import Diagnoses
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.model import UNKNOWN, Pointer, Scalar
from kitsune_tool.pairs import (
    Each,
    Extent,
    Fields,
    Pair,
    Point,
    Step,
    Tagged,
    Words,
    parts,
)
from kitsune_tool.resolve import Atom, Compound, Instance, World
from kitsune_tool.rules import RuleSet
from kitsune_tool.unioncases import Unions

_MOST_COUNTS = 3
_MAX_WORDS = 64
"""Pointers looked at in one union; a bigger one is copied."""


@dataclass(frozen=True, slots=True)
class Moving:
    """The pairs of a plan. `customs` are those for which an annotation names an allocator."""

    comparison: Comparison
    rules: RuleSet
    diagnoses: Diagnoses
    pairs: Sequence[Pair]
    customs: Sequence[tuple[Pair, str]]

    def fill_unions(self) -> None:
        """Find out where in each union the pointers are."""
        for pair in self.pairs:
            if isinstance(pair.op, Words) and pair.visited:
                members = [step.pair for step in pair.op.members if step.pair is not None]
                offsets = sorted(
                    {o for each in members for o in _pointer_offsets(self.comparison.new, each)}
                )
                functions = all(
                    isinstance(each.op, Point) and each.op.style == "function" for each in members
                )
                pair.op = dataclasses.replace(
                    pair.op, offsets=tuple(offsets[:_MAX_WORDS]), functions=functions
                )

    def check(self, moves: bool) -> None:
        """Diagnose what cannot be done once something moves, or with what moves."""
        for pair in self.pairs:
            match pair.op:
                case Words(members=members, functions=functions):
                    self._check_union(pair, members, functions, moves)
                case Point(style="word") if moves:
                    self.diagnoses.unexplained(pair.where, *self._meant(pair))
                case Fields(steps=steps):
                    self._check_flexible(pair, steps)
        self._find_allocators()

    def _find_allocators(self) -> None:
        """Give what moves the allocators that annotations name; one for all objects of a type."""
        said: dict[int, str] = {}
        for target, text in self.customs:
            if not target.moved:
                continue
            found = find_allocator(self.comparison.new, text)
            known = said.setdefault(target.number, text)
            if known != text:
                found = f"another pointer to the same type says custom({known})"
            if isinstance(found, str):
                self.diagnoses.custom_allocator(target.where, text, found)
            else:
                target.allocator = found

    def check_expressions(self) -> None:
        """Diagnose expressions here, so that one build tells them together with all else."""
        seen: set[int] = set()
        for pair in self.pairs:
            view = self.comparison.old.resolve(pair.old) if isinstance(pair.op, Fields) else None
            if isinstance(view, Compound):
                if isinstance(pair.op, Fields) and pair.op.extent is not None:
                    self._translate(pair.op.extent.length, "length", pair.op.extent.at, view)
                    self._check_extent(pair, pair.op, pair.op.extent, view)
                for part in parts(pair.op):
                    self._check_expression(part, view, seen)
        for pair in self.pairs:
            if pair.number not in seen:
                self._check_expression(pair, None, seen)

    def _check_expression(self, pair: Pair, owner: Compound | None, seen: set[int]) -> None:
        op = pair.op
        seen.add(pair.number)
        if isinstance(op, Each | Words | Tagged):
            for part in parts(op):
                self._check_expression(part, owner, seen)
        for text, what in expressions.texts_of(op):
            self._translate(text, what, getattr(op, "at", None), owner)

    def _check_extent(self, pair: Pair, fields: Fields, extent: Extent, old: Compound) -> None:
        """Refuse an extent where what goes on behind the struct would not be the last member's."""
        *_, before = self.comparison.old.members(old)
        after = fields.steps[-1]
        source = after.old.name if after.old is not None else (*after.source, after.new.name)[0]
        if source == before.name and UNKNOWN not in (before.offset, after.new.offset):
            return
        spelled = self.comparison.new.spell(pair.new)
        why = "is a bit-field" if source == before.name else f"was not '{after.new.name}' before"
        message = f"'bytes' cannot be used for '{spelled}': its last member {why}"
        hint = (
            "only the last member may end early or go on behind the struct, so it must stay the\n"
            f'last; else write a rule for the whole of it: transform: "{spelled} -> {spelled}"'
        )
        self.diagnoses.keep(KitsuneError("K132", message, at=extent.at, hint=hint))

    def _translate(self, text: str, what: str, at: Location | None, owner: Compound | None) -> None:
        macros: set[str] | None = set() if self.rules.preambles else None
        is_bare = what != "length"
        scope = expressions.Scope(self.comparison.old, owner, None, what, "(*in)", is_bare, macros)
        try:
            expressions.translate(text, scope, at)
        except KitsuneError as error:
            self.diagnoses.keep(error)

    def _meant(self, pair: Pair) -> tuple[str, tuple[str, ...]]:
        """Return what an unexplained pointer is declared to point to, and which units define it."""
        view = None if pair.new.stars else self.comparison.new.node(pair.new)
        name = self.comparison.new.spell(Instance(view.to)) if isinstance(view, Pointer) else "void"
        return name, self.comparison.new.candidates(name) if name != "void" else ()

    def _check_union(
        self, pair: Pair, members: tuple[Step, ...], functions: bool, moves: bool
    ) -> None:
        for step in members:
            if step.pair is None or (functions and not step.pair.moved):
                continue
            if step.pair.moved:
                why = "a member changed"
            elif step.pair.visited and moves:
                why = "a member holds a pointer, and objects move in this release"
            else:
                continue
            Unions(self.comparison, self.diagnoses).changed(pair, step.new.name, why)

    def _check_flexible(self, pair: Pair, steps: tuple[Step, ...]) -> None:
        for step in steps:
            inner = step.pair
            if inner is None or not isinstance(inner.op, Each) or not inner.op.flexible:
                continue
            if (pair.moved or inner.visited) and not inner.op.length:
                self.diagnoses.length_unknown(inner.where, self._counts(steps))

    def _counts(self, steps: tuple[Step, ...]) -> tuple[str, ...]:
        """Return the numbers of the old struct that may count something."""
        olds = [step.old for step in steps if step.old is not None and step.old.name]
        views = [(old.name, self.comparison.old.resolve(old.instance)) for old in olds]
        return tuple(
            name
            for name, view in views
            if isinstance(view, Atom)
            and isinstance(view.node, Scalar)
            and view.node.kind in {"signed", "unsigned"}
        )[:_MOST_COUNTS]

    def needs_discovery(self, into_moved: frozenset[closed.Key], has_rounds: bool) -> bool:
        """Tell whether all objects must be met before any is transformed: a pointer may lead into
        the middle of one that moves, or of one that is met when that middle has been rewritten.
        """
        rewritten = (
            closed.inside_visited(self.pairs, self.comparison.old) if has_rounds else frozenset()
        )
        for pair in self.pairs:
            if not isinstance(pair.op, Point):
                continue
            target = pair.op.target
            if pair.op.text and closed.BYTE in into_moved:
                return True
            if target and (target.into_moved or self._is_rewritten(target, rewritten)):
                return True
        return False

    def _is_rewritten(self, target: Pair, inside: frozenset[closed.Key]) -> bool:
        return target.visited and closed.key_of(self.comparison.old, target.old) in inside


def _pointer_offsets(world: World, pair: Pair, base: int = 0) -> Iterable[int]:
    """Yield where in a value the pointers are that must be looked at."""
    match pair.op:
        case Point() if pair.visited:
            yield base
        case Tagged(cases=cases):
            for case in cases:
                if case.value is not None and case.value.visited:
                    yield base
                yield from _step_offsets(world, case.steps, base)
        case Fields(steps=steps) | Words(members=steps):
            yield from _step_offsets(world, steps, base)
        case Each(of=of, count=count) if pair.visited:
            size = world.size(of.new)
            for index in range(min(count, _MAX_WORDS)):
                yield from _pointer_offsets(world, of, base + index * size)
        case _:
            return


def _step_offsets(world: World, steps: Iterable[Step], base: int) -> Iterable[int]:
    for step in steps:
        if step.pair is not None and step.pair.visited:
            yield from _pointer_offsets(world, step.pair, base + max(step.new.offset, 0))
