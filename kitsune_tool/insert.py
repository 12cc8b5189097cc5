"""Write what the compiler gets to see besides the user's own text.

In: a text, insertions and blanks by offset; or a `Unit`. Out: text. frontend.py calls it.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from kitsune_tool import layout
from kitsune_tool.extract import Extracted
from kitsune_tool.layout import Namer, Slot
from kitsune_tool.model import FunctionSymbol, Unit, Variable, to_json

# `flags` of struct kitsune_symbol (runtime/include/kitsune_abi.h).
_VARIABLE = 1
_FUNCTION = 2
_CONST = 4
_THREAD_LOCAL = 8

_SYMBOL = (
    "struct { const char *key; const volatile void *address; unsigned long long size;"
    " unsigned int flags, reserved; }"
)
"""struct kitsune_symbol, declared anew by each entry: the program's includes do not matter. Its
members lie without padding, so that no `#pragma pack` changes it."""
_SYMBOL_ATTRIBUTES = (
    '__attribute__((__section__("kitsune_symbols"), __used__, __retain__, __aligned__(8)))'
)


@dataclass(frozen=True, slots=True)
class Insertion:
    """Text to be put in front of the character at `offset`, in one line."""

    offset: int
    text: str


def apply(
    text: str, insertions: Iterable[Insertion], blanks: Iterable[tuple[int, int]] = ()
) -> str:
    """Return `text` with insertions made and each span of `blanks` turned into spaces.

    Line ends and directives in a blanked span stay. Insertions at one offset keep their order; none
    may lie inside a blanked span.
    """
    changes = [(i.offset, i.offset, i.text) for i in insertions]
    changes += [(start, end, _blank(text[start:end])) for start, end in blanks]
    parts = []
    done = 0
    for start, end, new in sorted(changes, key=lambda change: change[:2]):
        parts += [text[done:start], new]
        done = end
    parts.append(text[done:])
    return "".join(parts)


def _blank(span: str) -> str:
    if "\n" not in span:
        return " " * len(span)
    first, *rest = span.split("\n")
    kept = [line if line.startswith("#") else " " * len(line) for line in rest]
    return "\n".join([" " * len(first), *kept])


def record(unit: Unit) -> str:
    """Return the unit's record: `KITSUNE1 <digest> <length>`, a line end, that many characters.

    Those are base64 of zlib of the unit's JSON; a line end follows them.
    """
    data = json.dumps(to_json(unit), separators=(",", ":"), ensure_ascii=True)
    packed = base64.b64encode(zlib.compress(data.encode(), 9)).decode()
    return f"KITSUNE1 {unit.digest} {len(packed)}\n{packed}\n"


_ROW = 4096
"""Characters of the record in one `.ascii`; assemblers and compilers have limits on lines."""


def record_section(unit: Unit) -> str:
    """Return top-level `asm` that puts the record into its section."""
    header, body, _ = record(unit).split("\n")
    rows = [f'".ascii \\"{header}\\\\n\\"\\n"']
    starts = range(0, len(body), _ROW)
    rows += [f'".ascii \\"{body[start : start + _ROW]}\\"\\n"' for start in starts]
    rows.append('".ascii \\"\\\\n\\"\\n"')
    lines = "\n".join(rows)
    return (
        '__asm__(".pushsection .kitsune,\\"\\",%progbits\\n"\n' + lines + '\n".popsection\\n");\n'
    )


# -- tables -----------------------------------------------------------------------------------


_LABELLED = re.compile(
    r"\bstatic\b[^;{}=()]*?\b([A-Za-z_$][\w$]*)\s*(?:\[[^]]*\]\s*)*+(?:__asm__|__asm|asm)\s*\("
)


def labelled_statics(text: str) -> frozenset[str]:
    """Return the static variables that have another name for the assembler (`… x asm("y")`)."""
    return frozenset(_LABELLED.findall(text))


def tables(
    extracted: Extracted, labelled: frozenset[str] = frozenset()
) -> tuple[list[Insertion], str]:
    """Return the insertions behind statics of functions, and the text for the unit's end.

    The unit in `extracted` has its digest. The text for the end starts on a new line and carries a
    line marker of its own, as of a system header: the user sees no warning about it. `labelled` are
    static variables that the assembler knows by another name.
    """
    unit = extracted.unit
    namer = Namer(unit, extracted.widths, extracted.unsized)
    namer.name_file()
    slots = layout.slots(unit)
    lines = [
        _symbol(n, v, extracted.unsized, has_alias=v.storage == "static" and v.name not in labelled)
        for n, v in enumerate(unit.variables)
        if _outer(v)
    ]
    lines += [
        _function(n, f, weak=f.name in extracted.weak)
        for n, f in enumerate(unit.functions)
        if f.registered
    ]
    values = [_value(unit, namer, slot) for slot in slots]
    lines.append(namer.take_copies())
    lines.append(layout.segment(unit.digest, 0, values, "__kt_layouts"))
    end = '\n# 1 "<kitsune>" 3\n' + "".join(f"{line}\n" for line in lines if line)
    return _locals(extracted, namer, slots), end + record_section(unit)


def _outer(variable: Variable) -> bool:
    return variable.storage != "local_static"


def _value(unit: Unit, namer: Namer, slot: Slot) -> str | None:
    if slot.kind == "variable" and not _outer(unit.variables[slot.of]):
        return None
    return namer.expression(slot)


def _symbol(
    number: int, variable: Variable, unsized: frozenset[int], *, has_alias: bool = False
) -> str:
    """Register a variable. One with an alias is registered by that: if its own address were taken,
    the optimiser would have to think that any pointer may point to it.
    """
    address = f"&{variable.name}"
    before = ""
    if variable.thread_local:
        accessor = f"__kt_address_{number}"
        before = (
            "__extension__ static __attribute__((__no_instrument_function__))"
            f" const volatile void *{accessor}(void) {{ return &{variable.name}; }} "
        )
        address = f"(const volatile void *){accessor}"
    elif has_alias:
        before = (
            f"static __typeof__({variable.name}) __kt_alias_{number}"
            f' __attribute__((__alias__("{variable.name}"))); '
        )
        address = f"&__kt_alias_{number}"
    size = f"sizeof({variable.name}[0])" if number in unsized else f"sizeof({variable.name})"
    flags = _VARIABLE | _CONST * variable.const | _THREAD_LOCAL * variable.thread_local
    return before + _entry(f"__kt_variable_{number}", variable.key, address, size, flags)


def _function(number: int, function: FunctionSymbol, *, weak: bool) -> str:
    """Register a function. One whose code is elsewhere is referred to weakly: a header may declare
    what this program never links, and its address is NULL then.
    """
    name = function.name
    before = ""
    if weak:
        name = f"__kt_weak_{number}"
        before = f'static void {name}(void) __attribute__((__weakref__("{function.name}"))); '
    address = f"(const volatile void *){name}"
    return before + _entry(f"__kt_function_{number}", function.key, address, "0", _FUNCTION)


def _entry(name: str, key: str, address: str, size: str, flags: int) -> str:
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"__extension__ static const {_SYMBOL} {name} {_SYMBOL_ATTRIBUTES} ="
        f' {{ "{quoted}", {address}, {size}, {flags}u, 0u }};'
    )


def _locals(extracted: Extracted, namer: Namer, slots: list[Slot]) -> list[Insertion]:
    """Return, behind each static of a function, its entry and what only its block can name."""
    unit = extracted.unit
    places = {slot: place for place, slot in enumerate(slots)}
    found = []
    for local in extracted.locals:
        variable = unit.variables[local.variable]
        if variable.thread_local:
            continue
        named = set(namer.name_from(variable))
        wanted = [slot for slot in slots if slot.of in named and slot.kind != "variable"]
        wanted.append(Slot("variable", local.variable))
        text = _symbol(local.variable, variable, extracted.unsized)
        segments = _segments(unit, namer, wanted, places, f"__kt_layout_{local.variable}")
        found.append(Insertion(local.end, f" {text} {namer.take_copies()}{segments}"))
    return found


def _segments(
    unit: Unit, namer: Namer, wanted: list[Slot], places: dict[Slot, int], name: str
) -> str:
    """Return one segment for each run of slots that follow each other."""
    runs: list[list[Slot]] = []
    for slot in wanted:
        if runs and places[slot] == places[runs[-1][-1]] + 1:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    parts = []
    for number, run in enumerate(runs):
        values = [namer.expression(slot) for slot in run]
        parts.append(layout.segment(unit.digest, places[run[0]], values, f"{name}_{number}"))
    return " ".join(parts)
