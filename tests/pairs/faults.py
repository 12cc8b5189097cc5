"""Mistakes planted in a copy of the tool or of the engine, each of which random cases must find.

A fault is a piece of text of one file and what it becomes. The copy has its own cache, so that its
launcher is no one else's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pairs.build import ROOT, Compiler, Tool
from pairs.cases import Case
from pairs.draw import FLAVOURS, Flavour, drawn
from pairs.run import Failure, try_group

SEED = 1
GROUP_CASES = 60
MOST_CASES = 480
_PARTS = ("kitsune_tool", "runtime", "templates")
_COMPILER = Compiler("gcc", "-O0")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the copy. `flavour`: of which cases it is to be found by."""

    name: str
    file: str
    right: str
    wrong: str
    flavour: str = "open"


FAULTS = (
    Fault(
        "opaque pointers of the source are followed",
        "kitsune_tool/resolve.py",
        'if _note(own, "opaque"):',
        'if _note(notes, "opaque"):',
    ),
    Fault(
        "a member of the wrong offset",
        "kitsune_tool/views.py",
        'new = f"offsetof({self.new.spell(pair.new)}, {step.new.name})"',
        'new = f"offsetof({self.old.spell(pair.old)}, {source.name})"',
    ),
    Fault(
        "function pointers need no look",
        "kitsune_tool/closed.py",
        'if op.style in {"function", "word"}:\n            return True',
        'if op.style in {"function", "word"}:\n            return False',
        "still",
    ),
    Fault(
        "pointers into the image need no look",
        "kitsune_tool/closed.py",
        "if key in special and key != BYTE:",
        "if False:",
        "still",
    ),
    Fault(
        "enumerators keep their old value",
        "kitsune_tool/plan.py",
        "cases.append((name, value, values[to]))",
        "cases.append((name, value, value))",
    ),
    Fault(
        "a function's rename is not followed",
        "kitsune_tool/plan.py",
        "key = renamed.new if renamed is not None else old.key",
        "key = old.key",
    ),
    Fault(
        "records with other bit-fields are taken for equal",
        "kitsune_tool/plan.py",
        "[(f.offset_bytes, f.bits) for f in record.fields]",
        "[f.offset_bytes for f in record.fields]",
        "lenient",
    ),
    Fault(
        "pointers into the middle are not looked for first",
        "kitsune_tool/plan.py",
        "if (pair.op.text and closed.BYTE in into_moved) or (target and target.into_moved):",
        "if False:",
    ),
    Fault(
        "wider integers are copied as they are",
        "kitsune_tool/plan.py",
        "elif self.options.widen and _is_widening(one, other):\n            return Convert()",
        "elif self.options.widen and _is_widening(one, other):\n            return Copy()",
        "lenient",
    ),
    Fault(
        "annotations of the new version replace the old one's",
        "kitsune_tool/release.py",
        "annotate.annotate(known, *later, lenient=True, weaker=True)",
        "annotate.annotate(known, *later, lenient=True)",
    ),
    Fault(
        "pointers to ignored variables lead nowhere",
        "kitsune_tool/plan.py",
        "silent._variable_pair(_not_ignored(old), _not_ignored(new))",
        "silent._variable_pair(old, new)",
    ),
    Fault(
        "an added member needs no rule",
        "kitsune_tool/plan.py",
        "self.diagnoses.field_added(",
        "str(",
        "wrong",
    ),
    Fault(
        "the engine finds the element before the one pointed to",
        "runtime/src/claims.c",
        "*new_offset = part->new_offset + index * part->new_size;",
        "*new_offset = part->new_offset + (index ? index - 1 : 0) * part->new_size;",
    ),
    Fault(
        "objects met twice are made twice",
        "runtime/src/transform.c",
        "if (claim->new)\n        return (void *)claim->new;\n    if (xf->phase ==",
        "if (claim->new && xf->steps % 3)\n        return (void *)claim->new;\n    if (xf->phase"
        " ==",
    ),
    Fault(
        "what a rule makes of the end of an array is kept",
        "runtime/src/transform.c",
        "claim->flags |= KITSUNE__CLAIM_ENDED;",
        ";",
    ),
    Fault(
        "a flexible array member gets no room",
        "runtime/src/transform.c",
        "* type->new_size + tail;",
        "* type->new_size + tail / 2;",
    ),
    Fault(
        "literals are left where they are",
        "runtime/src/transform.c",
        "const void *text = kitsune__texts_intern((const void *)address, size_bytes, &added);",
        "const void *text = (added = 0, (const void *)address);",
    ),
    Fault(
        "an array is one element short",
        "runtime/src/transform.c",
        "uint64_t stop = count - first > BATCH ? first + BATCH : count;",
        "uint64_t stop = count - first > BATCH ? first + BATCH : count - (count > 2);",
    ),
    Fault(
        "of an aligned block nothing may be left over",
        "runtime/src/blocks.c",
        "#define SLACK 48u",
        "#define SLACK 40u",
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
    return Tool(directory, directory / "cache", jobs=2)


def flavour_of(fault: Fault) -> Flavour:
    """Return the flavour of the cases that are to find a fault."""
    return next(each for each in FLAVOURS if each.name == fault.flavour)


def found(fault: Fault, directory: Path) -> tuple[int, list[Failure]]:
    """Return how many cases it took to find the fault, and what failed: nothing, if it was not."""
    tool, flavour, tried = planted(fault, directory), flavour_of(fault), 0
    for cases in _groups(flavour):
        numbered = tuple(enumerate(cases, tried))
        failures = try_group(numbered, flavour.options, _COMPILER, tool)
        if failures:
            return min(each.number for each in failures) + 1, failures
        tried += len(cases)
    return tried, []


def _groups(flavour: Flavour) -> Iterator[list[Case]]:
    cases = drawn(flavour, MOST_CASES, SEED)
    for start in range(0, len(cases), GROUP_CASES):
        yield cases[start : start + GROUP_CASES]
