"""Mistakes planted in a copy of the tool or of the engine, each of which random cases must find.

A fault is a piece of text of one file and what it becomes. It is found by a case that has a wrong
heap, or misses a diagnosis, and has neither with the tool as it is. A build that fails, or an
update that does, is no such case: there the mistake is found by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pairs.build import ROOT, Compiler, Tool
from pairs.draw import FLAVOURS, Flavour, drawn
from pairs.oracle import refusals
from pairs.run import Failure, Numbered, try_group

SEED = 1
GROUP_CASES = 4
MOST_CASES = 100
_PARTS = ("kitsune_tool", "runtime", "templates")
_COMPILER = Compiler("gcc", "-O0")
_MISSING = "the build must say "
_NOT_FOUND = ("compile: ", "build: ", "update: ")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the copy.

    `flavour`: of which cases it is to be found by. `first`: the one to begin with, so that one that
    finds it is near. `quick`: it is tried with every run of the tests.
    """

    name: str
    file: str
    right: str
    wrong: str
    flavour: str = "open"
    first: int = 0
    quick: bool = False


FAULTS = (
    Fault(
        "a member of the wrong offset",
        "kitsune_tool/views.py",
        'new = f"offsetof({self.new.spell(pair.new)}, {step.new.name})"',
        'new = f"offsetof({self.old.spell(pair.old)}, {source.name})"',
        first=11,
    ),
    Fault(
        "signed integers are widened without their sign",
        "kitsune_tool/views.py",
        'return Statement("assign", place.new, self._as_new(pair.new, place.old))',
        'size, kind = self.plan.old.size(pair.old), getattr(node, "kind", "")\n'
        '                is_cut = kind == "signed" and size < self.plan.new.size(pair.new)\n'
        '                mask = f" & {(1 << 8 * size) - 1}u" if is_cut else ""\n'
        '                return Statement("assign", place.new, place.old + mask)',
        "lenient",
        first=29,
    ),
    Fault(
        "bit-fields lose their highest bit",
        "kitsune_tool/views.py",
        'return Statement("assign", new, self._as_new(step.new.instance, old))',
        "low = (1 << max(step.new.field.bits or 0, 1) - 1) - 1\n"
        '            return Statement("assign", new, f"{old} & {low}")',
        first=12,
    ),
    Fault(
        "an array's last element is left out",
        "kitsune_tool/views.py",
        "count = str(min(each.count, each.old_count))",
        "count = str(max(min(each.count, each.old_count) - 1, 1))",
        first=3,
    ),
    Fault(
        "a flexible array's last element is left out",
        "kitsune_tool/views.py",
        "count = self.length(each.length, each, place.owner)",
        "count = self.length(each.length, each, place.owner)\n"
        '            count = f"({count} ? {count} - 1 : 0)"',
        first=133,
    ),
    Fault(
        "pointers into the image need no look",
        "kitsune_tool/closed.py",
        "if key in self.special and key != BYTE:",
        "if False:",
        "still",
        first=13,
    ),
    Fault(
        "every record moves",
        "kitsune_tool/closed.py",
        "return not same_layout or any(",
        "return True or any(",
        first=3,
        quick=True,
    ),
    Fault(
        "enumerators keep their old value",
        "kitsune_tool/plan.py",
        "cases.append((name, value, values[to]))",
        "cases.append((name, value, value))",
        first=5,
    ),
    Fault(
        "of a member's rule no code is run",
        "kitsune_tool/plan.py",
        "if rule.rule.is_empty:\n                return Step(",
        "if True:\n                return Step(",
        quick=True,
    ),
    Fault(
        "variables that nobody asks for are migrated",
        "kitsune_tool/plan.py",
        'if _has(variable, "manual_migrate"):\n            return False',
        'if _has(variable, "manual_migrate"):\n            return True',
        first=1,
    ),
    Fault(
        "an array of another length needs no rule",
        "kitsune_tool/plan.py",
        "grows = self.options.grow and 0 < old_count < new_count",
        "grows = 0 < old_count < new_count",
        "wrong",
        first=17,
    ),
    Fault(
        "an added member needs no rule",
        "kitsune_tool/plan.py",
        "self.diagnoses.field_added(",
        "_ = (",
        "wrong",
        first=13,
    ),
    Fault(
        "an enumerator that is gone needs no rule",
        "kitsune_tool/plan.py",
        "self.diagnoses.enumerator_gone(at, name, value, guesses)",
        "_ = (at, guesses)",
        "wrong",
        first=2,
    ),
    Fault(
        "a function that is gone does not matter",
        "kitsune_tool/entries.py",
        "self.diagnoses.function_gone(old, new, guesses)",
        "_ = guesses",
        "wrong",
        first=7,
    ),
    Fault(
        "pointers into a variable lead to its start",
        "runtime/src/transform.c",
        "return new + new_offset;",
        "return new;",
        first=29,
    ),
    Fault(
        "pointers to an element lead to the first one",
        "runtime/src/claims.c",
        "*new_offset = index * type->new_size;",
        "*new_offset = 0;",
        first=137,
    ),
    Fault(
        "pointers to a member lead to the record",
        "runtime/src/claims.c",
        "        *new_offset += at;\n        return 1;",
        "        return 1;",
        first=72,
    ),
    Fault(
        "what is met again is made again",
        "runtime/src/transform.c",
        "    if (claim->new)\n"
        "        return (void *)claim->new;\n"
        "    if (xf->phase == DISCOVERING)\n"
        "        return (void *)claim->old;\n",
        "    if (claim->new && !(claim->flags & KITSUNE__CLAIM_MOVES))\n"
        "        return (void *)claim->new;\n"
        "    if (xf->phase == DISCOVERING)\n"
        "        return (void *)claim->old;\n"
        "    if (claim->new) {\n"
        "        uint64_t bytes = kitsune__claim_type(&xf->claims, claim)->new_size;\n"
        "        return memcpy(kitsune__xf_allocate(xf, bytes, 16), (void *)claim->new, bytes);\n"
        "    }\n",
        first=3,
    ),
    Fault(
        "literals are left where they are",
        "runtime/src/transform.c",
        "const void *text = kitsune__texts_intern((const void *)address, size_bytes, &added);",
        "const void *text = (added = 0, (const void *)address);",
        first=15,
    ),
    Fault(
        "every fourth pointer of what stays is not stored",
        "runtime/src/transform.c",
        "if (xf->phase == DISCOVERING || *(void **)where == value)",
        "if (xf->phase == DISCOVERING || *(void **)where == value || xf->steps % 4 == 3)",
        first=10,
    ),
    Fault(
        "the first case of a union is taken whatever the tag",
        "kitsune_tool/views.py",
        'return " || ".join(f"tag == {_number(text)}" if op.by else text for text in texts)',
        'return " || ".join("1" if op.by else text for text in texts)',
        "told",
        first=19,
    ),
    Fault(
        "what is in a union is copied, whichever member it is",
        "kitsune_tool/unioncases.py",
        "found.setdefault(what, []).append(old)",
        "found.setdefault(None, []).append(old)",
        "told",
        first=19,
    ),
    Fault(
        "function pointers need no look",
        "kitsune_tool/closed.py",
        'if op.style in {"function", "word"}:',
        'if op.style == "word":',
        "told",
        first=48,
    ),
    Fault(
        "what is behind a pointer is not looked for in what stays",
        "kitsune_tool/closed.py",
        "return not isinstance(op.target.op, LeftAlone) and (op.target.moved or op.target.visited)",
        "return not isinstance(op.target.op, LeftAlone) and op.target.moved",
        "told",
        first=48,
    ),
    Fault(
        "literals of one length are one",
        "runtime/src/texts.c",
        """        hash = (hash ^ bytes[i]) * 1099511628211ull;
    return hash ^ hash >> 32;
}

static struct text *find_slot(struct text *table, uint64_t mask, const void *bytes,
                              uint64_t size_bytes, uint64_t hash) {
    uint64_t at = hash & mask;
    for (; table[at].bytes; at = (at + 1) & mask)
        if (table[at].hash == hash && table[at].size_bytes == size_bytes &&
            memcmp(table[at].bytes, bytes, size_bytes) == 0)""",
        """        hash = (hash ^ *bytes) * 1099511628211ull;
    return hash ^ hash >> 32;
}

static struct text *find_slot(struct text *table, uint64_t mask, const void *bytes,
                              uint64_t size_bytes, uint64_t hash) {
    uint64_t at = hash & mask;
    for (; table[at].bytes; at = (at + 1) & mask)
        if (table[at].hash == hash && table[at].size_bytes == size_bytes &&
            memcmp(table[at].bytes, bytes, 1) == 0)""",
        "told",
        first=25,
    ),
    Fault(
        "rules of an .xf file have no code",
        "kitsune_tool/xf.py",
        "code = self.code()\n        ",
        'code = (self.code(), "")[1]\n        ',
        first=3,
    ),
)


def planted(fault: Fault, directory: Path) -> Tool:
    """Return a copy of the tool with the fault in it."""
    for part in _PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, directory / part, ignore=ignored)
    path = directory / fault.file
    text = path.read_text()
    if text.count(fault.right) != 1:
        raise ValueError(f"{fault.file} has {text.count(fault.right)} times {fault.right!r}")
    path.write_text(text.replace(fault.right, fault.wrong))
    # What is built of the engine is kept by its contents: none but a wrong engine needs its own.
    cache = directory / "cache" if fault.file.startswith("runtime/") else None
    return Tool(directory, cache, jobs=2)


def found(fault: Fault, directory: Path) -> tuple[int, Failure | None]:
    """Return how many cases were tried, and the first that finds the fault, if one does."""
    tool, flavour = planted(fault, directory), _flavour_of(fault)
    cases = tuple(enumerate(drawn(flavour, fault.first + MOST_CASES, SEED)))[fault.first :]
    for start in range(0, MOST_CASES, GROUP_CASES):
        group = cases[start : start + GROUP_CASES]
        failures = shown(try_group(group, flavour.options, _COMPILER, tool), group, flavour)
        if not failures:
            continue
        right = try_group(group, flavour.options, _COMPILER, Tool())
        wrong_anyway = {each.number for each in right}
        failures = [each for each in failures if each.number not in wrong_anyway]
        if failures:
            first = min(failures, key=lambda each: each.number)
            return first.number - fault.first + 1, first
    return MOST_CASES, None


def _flavour_of(fault: Fault) -> Flavour:
    return next(each for each in FLAVOURS if each.name == fault.flavour)


def shown(
    failures: Sequence[Failure], group: Sequence[Numbered], flavour: Flavour
) -> list[Failure]:
    """Return the cases that have a wrong heap or miss a diagnosis."""
    missing = [each for each in failures if each.what.startswith(_MISSING)]
    if len(missing) == sum(bool(refusals(case, flavour.options)) for _, case in group):
        missing = []  # no case has its diagnosis: the build ended before there was any
    heaps = [e for e in failures if not e.what.startswith((*_NOT_FOUND, _MISSING))]
    return missing + heaps
