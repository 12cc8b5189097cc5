"""Rules' code as functions of generated C.

In: a rule where it holds, and the types that it is between. Out: the function's name; all functions
as views. A rule has one for each set of type parameters that its code asks for. Called by views.py.
"""

from __future__ import annotations

import re
from typing import Any

from kitsune_tool.code import Use, closure_uses, expand, squeezed, type_uses, wrong_code
from kitsune_tool.compare import PlacedRule
from kitsune_tool.definitions import TypeTable, place_text
from kitsune_tool.errors import KitsuneError
from kitsune_tool.names import Names
from kitsune_tool.nearest import did_you_mean
from kitsune_tool.planned import Plan
from kitsune_tool.resolve import Instance
from kitsune_tool.viewdata import RuleView

_DOLLAR_WORDS = ("$in", "$out", "$base", "$oldtype", "$newtype", "$xform", "$gen")


class RuleCode:
    """The functions that were asked for so far; one per plan."""

    def __init__(self, plan: Plan, old: TypeTable, new: TypeTable, names: Names) -> None:
        self.plan = plan
        self.old = old
        self.new = new
        self.names = names
        self.made: dict[Any, RuleView] = {}

    def name(
        self,
        placed: PlacedRule,
        base: Instance | None,
        old: Instance | None,
        new: Instance,
        around: tuple[Instance | None, Instance],
    ) -> str:
        """Return the name of a rule's function, which is made at its first use.

        `around` has the type parameters that its code names: each instance has its own function.
        """
        closures = self._closures_of(placed, around)
        key = (id(placed), tuple(closures.values()))
        if key not in self.made:
            rule = placed.rule
            text = re.sub(r"\W+", "_", placed.new.replace(".c/", "_")).strip("_")
            name = self.names.unique(f"_kitsune_rule_{text}")
            whole = base if base is not None else old
            for table, seen in ((self.old, whole), (self.old, old), (self.new, new)):
                if seen is not None:
                    table.need_reachable(seen.type)
            self.made[key] = RuleView(
                name,
                rule.label,
                place_text(rule.at),
                self.old.pointer_to(whole, "local_base") if whole else "void *local_base",
                self.old.pointer_to(old, "local_in") if old else "void *local_in",
                self.new.pointer_to(new, "local_out"),
                rule.code_at.file,
                rule.code_at.line,
                self._code(placed, closures, has_input=old is not None),
            )
        return self.made[key].name

    def _closures_of(
        self, placed: PlacedRule, around: tuple[Instance | None, Instance]
    ) -> dict[str, str]:
        """Return the C of each closure in a rule's code, by its text."""
        old, new = around
        before = self.plan.old.bindings_of(old) if old is not None else ()
        after = self.plan.new.bindings_of(new)
        found = {}
        for use in closure_uses(placed.rule.code or ""):
            pair = self.plan.closures[use.text, before, after]
            name = (
                f"(&_kitsune_closure_{self.names.ident(pair)})"
                if pair
                else "XF_RAW(sizeof(void *))"
            )
            found[use.text] = name
        return found

    def _code(self, placed: PlacedRule, closures: dict[str, str], *, has_input: bool) -> str:
        """Return a rule's code with its `$` words replaced. Raises K112."""
        code, start = placed.rule.code or "", 0
        try:
            for version, text, at in type_uses(code):
                start = at
                self._need_type(version, text)
            return expand(code, lambda use: self._word(use, closures, has_input=has_input))
        except (ValueError, KitsuneError) as error:
            raise wrong_code(placed.rule, error, start) from error

    def _need_type(self, version: str, text: str) -> None:
        table = self.old if version == "old" else self.new
        if table.need_typedef(text.strip("* ")) or table.need_generated(text):
            return
        instance = table.world.bind(text)
        if instance is not None:
            table.need(instance.type)

    def _word(self, use: Use, closures: dict[str, str], *, has_input: bool) -> str:
        match use.word, use.arguments:
            case "out", ():
                return "(*local_out)"
            case (("in" | "base"), ()) if has_input:
                return f"(*local_{use.word})"
            case (("oldtype" | "newtype"), (text,)):
                table = self.old if use.word == "oldtype" else self.new
                instance = table.world.bind(text)
                if instance is not None:
                    return table.spell(instance)
            case (("xform" | "gen"), arguments):
                text = squeezed(f"${use.word}({','.join(arguments)})")
                if text in closures:
                    return closures[text]
            case _:
                pass
        near = did_you_mean(f"${use.word}", _DOLLAR_WORDS)
        raise ValueError(f"'${use.word}' has no meaning here{near}")
