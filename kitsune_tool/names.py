"""Names in generated C, one for all pairs of types for which the same C would be made.

In: pairs. Out: what is in the names of functions and tables made for each. Called by views.py and
rulecode.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from kitsune_tool.definitions import TypeTable
from kitsune_tool.pairs import Coded, Convert, Copy, Each, MapEnum, Pair, Point
from kitsune_tool.planned import Plan
from kitsune_tool.resolve import Compound


class Names:
    """The names given so far; one per plan."""

    def __init__(self, plan: Plan, new: TypeTable) -> None:
        self.plan = plan
        self.new = new
        self._taken: set[str] = set()
        self._made: dict[Any, str] = {}

    def made(self, pairs: Iterable[Pair]) -> dict[int, str]:
        """Return the names that pairs were given, by their numbers."""
        shapes = {pair.number: self.shape(pair) for pair in pairs}
        return {number: self._made[s] for number, s in shapes.items() if s in self._made}

    def shape(self, pair: Pair) -> Any:  # noqa: PLR0911 - one case per kind of pair
        """Return a key that pairs share for which the same C would be generated."""
        sizes = (self.plan.old.size(pair.old), self.plan.new.size(pair.new))
        match pair.op:
            case Point(style=style, target=target, length=length, text=text):
                inner = self.shape(target) if target is not None else None
                return ("point", style, inner, length, text)
            case Each(of=of, count=count, old_count=old_count, length=length):
                return ("each", self.shape(of), count, old_count, length)
            case Copy() if not isinstance(self.plan.new.resolve(pair.new), Compound):
                return ("copy", *sizes)
            case Convert():
                return ("convert", self.plan.old.spell(pair.old), self.plan.new.spell(pair.new))
            case MapEnum(cases=cases):
                return ("enum", cases, *sizes)
            case Coded(rule=rule):
                return ("coded", id(rule))
            case _:
                return ("pair", pair.number, id(pair))

    def types_of(self, pair: Pair) -> tuple[int, int, int, int]:
        """Return the types of a pair, whatever annotations say of them."""
        old, new = pair.old, pair.new
        stripped = self.plan.old.stripped(old), self.plan.new.stripped(new)
        return (*stripped, old.stars, new.stars)

    def ident(self, pair: Pair) -> str:
        """Return the name that is in the names of all that is generated for a pair."""
        key = self.shape(pair)
        if key not in self._made:
            text = self.new.spell(pair.new).replace(self.new.prefix, "").replace("*", " ptr ")
            text = re.sub(r"\b(struct|union|enum)\b", "", text)
            self._made[key] = self.unique(re.sub(r"\W+", "_", text).strip("_") or "value")
        return self._made[key]

    def unique(self, base: str) -> str:
        """Return a name that begins with `base` and is no other thing\'s."""
        name, count = base, 1
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name
