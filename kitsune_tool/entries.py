"""Where old pointers to functions and old update points lead in the new version.

In: a comparison, and the pairs that tell which functions a pointer is looked at. Out: the functions
whose pointers do not just go to the namesake, renames of update points; diagnoses. plan.py calls
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kitsune_tool.compare import Comparison
from kitsune_tool.diagnose import Diagnoses
from kitsune_tool.likely import Likely
from kitsune_tool.model import FunctionSymbol, Pointer
from kitsune_tool.pairs import Pair, Point
from kitsune_tool.planned import FunctionChange
from kitsune_tool.resolve import Instance


@dataclass(frozen=True, slots=True)
class Entries:
    """The functions and update points of both versions."""

    comparison: Comparison
    diagnoses: Diagnoses
    pairs: Sequence[Pair]

    def functions(self) -> tuple[FunctionChange, ...]:
        """Return the functions of which more is to be known than their names."""
        types = self._function_types()
        changes = (
            self._function(old, types)
            for old in self.comparison.old.program.functions
            if old.registered and old.defined
        )
        return tuple(change for change in changes if change is not None)

    def _function(self, old: FunctionSymbol, types: set[int] | None) -> FunctionChange | None:
        """Return what replaces `old`, None if the runtime finds it by its key."""
        accepted = self.comparison.value_rule((old.key,))
        renamed = next((p for p in self.comparison.renames.values() if p.old == old.key), None)
        if renamed is not None:
            self.comparison.rename((renamed.new,))
        key = renamed.new if renamed is not None else old.key
        new = self.comparison.new.functions.get(key)
        if new is not None and (new.registered or new.storage == "global"):
            if new.registered and renamed is None:
                return None
            reason = f"rule '{renamed.rule.label}'" if renamed else "by its name"
            return FunctionChange(old, new, reason)
        if accepted is None and self._may_be_met(old, types):
            guesses = Likely(self.comparison).functions(old) if new is None else ()
            self.diagnoses.function_gone(old, new, guesses)
        return FunctionChange(old, None, "gone; a pointer to it stops the update")

    def _function_types(self) -> set[int]:
        """Return the old function types to which a pointer is looked at."""
        found = set()
        for pair in self.pairs:
            if isinstance(pair.op, Point) and pair.op.style == "function":
                node = self.comparison.old.node(pair.old)
                if isinstance(node, Pointer):
                    found.add(self.comparison.old.stripped(Instance(node.to)))
        return found

    def _may_be_met(self, function: FunctionSymbol, types: set[int] | None) -> bool:
        if function.type is None or not types:
            return bool(types)
        return self.comparison.old.stripped(Instance(function.type)) in types

    def update_points(self) -> tuple[tuple[str, str], ...]:
        """Return the renames; a point that is gone is diagnosed."""
        points = self.comparison.new.program.update_points
        names = tuple(dict.fromkeys(p.name for p in points if p.name is not None))
        renames = self.comparison.point_renames
        is_open = any(p.name is None for p in points)
        for point in self.comparison.old.program.update_points:
            if point.name not in (None, *names, *renames) and not is_open:
                guesses = Likely(self.comparison).update_points(point)
                self.diagnoses.update_point_gone(point, names, guesses)
        return tuple(renames.items())
