"""Write what the compiler gets to see besides the user's own text.

In: a text, insertions and blanks by offset; or a `Unit`. Out: text. frontend.py calls it.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kitsune_tool import layout
from kitsune_tool.extract import Extracted
from kitsune_tool.layout import Namer, Slot
from kitsune_tool.model import FunctionSymbol, Unit, Variable, to_json
from kitsune_tool.scan import Scan

# `flags` of struct kitsune_symbol (runtime/include/kitsune_abi.h).
_VARIABLE = 1
_FUNCTION = 2
_CONST = 4
_THREAD_LOCAL = 8
_LOCAL = 16

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
    lines += [_accessor(local.variable) for local in extracted.locals if local.label >= 0]
    values = [_value(unit, namer, slot) for slot in slots]
    lines.append(namer.take_copies())
    lines.append(layout.segment(unit.digest, 0, values, "kitsune__layouts"))
    end = '\n# 1 "<kitsune>" 3\n' + "".join(f"{line}\n" for line in lines if line)
    insertions = [*_frames(extracted), *_locals(extracted, namer, slots)]
    insertions += _noted(extracted, namer, slots)
    insertions += [Insertion(f.braces, " }") for f in extracted.frames if f.braces >= 0]
    return insertions, end + record_section(unit)


def _outer(variable: Variable) -> bool:
    return not variable.function


def _value(unit: Unit, namer: Namer, slot: Slot) -> str | None:
    if slot.kind == "variable" and not _outer(unit.variables[slot.of]):
        return None
    return namer.expression(slot)


_FRAMES = """\
struct __kt_slot { const void *symbol; const volatile void *address; };
struct __kt_frame { struct __kt_frame *outer, **head; unsigned long long count; };
extern void kitsune__enter(struct __kt_frame *) __attribute__((__weak__, __visibility__("hidden")));
static __inline__ __attribute__((__unused__, __no_instrument_function__)) void *
__kt_enter(struct __kt_frame *frame) {
  frame->head = &frame->outer;
  if (kitsune__enter) kitsune__enter(frame);
  return frame;
}
static __inline__ __attribute__((__unused__, __no_instrument_function__)) void *
__kt_enter_block(struct __kt_frame *frame, struct __kt_frame *outer) {
  frame->head = outer->head;
  frame->outer = outer;
  *frame->head = frame;
  return frame;
}
static __inline__ __attribute__((__unused__, __no_instrument_function__)) void
__kt_leave(void *block) {
  struct __kt_frame *frame = (struct __kt_frame *)block;
  *frame->head = frame->outer;
}
static __inline__ __attribute__((__unused__, __no_instrument_function__)) void *
__kt_note(struct __kt_slot *slot, const void *symbol, const volatile void *address) {
  slot->symbol = symbol;
  slot->address = address;
  return slot;
}
"""
"""What the frames of a unit need, in front of the first function that has one. `struct
kitsune_frame` of kitsune_abi.h is the same. Without a runtime (a plain program that is not linked
with ours) a frame is a list of its own. A block's frame follows that around it, whatever a jump
out of another block has left in the list."""

_UNUSED = "__extension__ __attribute__((__unused__)) void *"


def declarations_in_front(extracted: Extracted, scan: Scan) -> list[Insertion]:
    """Return what functions need to be declared in front of them: frames, and what finds their
    thread-local statics.
    """
    found = []
    if extracted.frames:
        found.append(_in_front(scan, extracted.first_noted, _FRAMES))
    for local in extracted.locals:
        if local.label >= 0:
            declared = f"static const volatile void *kitsune__address_{local.variable}(void);\n"
            found.append(_in_front(scan, local.function, declared))
    return found


def _in_front(scan: Scan, at: int, text: str) -> Insertion:
    """Insert text on lines of its own, as of a system header; the user's line goes on with its
    number and column.
    """
    place = scan.locate(at)
    name = place.file.replace("\\", "\\\\").replace('"', '\\"')
    back = f'# {place.line} "{name}"\n{" " * (place.column - 1)}'
    return Insertion(at, f'\n# 1 "<kitsune>" 3\n{text}{back}')


def _frames(extracted: Extracted) -> list[Insertion]:
    found = []
    for number, frame in enumerate(extracted.frames):
        count = max(frame.count, 1)
        declared = (
            f" __extension__ struct {{ struct __kt_frame frame; struct __kt_slot slots[{count}]; }}"
            f" __kt_frame_{number} __attribute__((__unused__, __cleanup__(__kt_leave))) ="
            f" {{ {{ 0, 0, {frame.count} }}, {{ {{ 0, 0 }} }} }};"
        )
        arguments = f"&__kt_frame_{number}.frame"
        enter = "__kt_enter"
        if frame.outer is not None:
            enter = "__kt_enter_block"
            arguments += f", &__kt_frame_{frame.outer}.frame"
        entered = f" {_UNUSED}__kt_entered_{number} = {enter}({arguments});"
        brace = " {" if frame.braces >= 0 else ""
        found.append(Insertion(frame.start, f"{brace}{declared}{entered}"))
    return found


def _noted(extracted: Extracted, namer: Namer, slots: list[Slot]) -> list[Insertion]:
    """Return, where each noted local is known, its entry, what it can name, and its note."""
    unit = extracted.unit
    places = {slot: place for place, slot in enumerate(slots)}
    found = []
    for local in extracted.noted:
        number, variable = local.variable, unit.variables[local.variable]
        named = set(namer.name_from(variable))
        wanted = [slot for slot in slots if slot.of in named and slot.kind != "variable"]
        wanted.append(Slot("variable", number))
        sized = _constant if local.is_variable_length else _as_it_is
        size = sized(layout.size_of(variable), "0")
        flags = _VARIABLE | _LOCAL | _CONST * variable.const
        entry = _entry(f"kitsune__variable_{number}", variable.key, "0", size, flags)
        segments = _segments(namer, wanted, places, f"kitsune__layout_{number}", sized)
        note = (
            f"{_UNUSED}__kt_noted_{number} = __kt_note(&__kt_frame_{local.frame}"
            f".slots[{local.slot}], &kitsune__variable_{number}, &{variable.name});"
        )
        found.append(Insertion(local.at, f" {entry} {namer.take_copies()}{segments} {note}"))
    return found


def _constant(expression: str, otherwise: str) -> str:
    """Return an expression of C that is constant also where a length is not (`int a[n];`)."""
    known = f"__builtin_constant_p({expression})"
    return f"__builtin_choose_expr({known}, {expression}, {otherwise})"


def _as_it_is(expression: str, otherwise: str) -> str:
    del otherwise
    return expression


def _symbol(
    number: int,
    variable: Variable,
    unsized: frozenset[int],
    *,
    has_alias: bool = False,
    is_labelled: bool = False,
) -> str:
    """Register a variable. One with an alias is registered by that: if its own address were taken,
    the optimiser would have to think that any pointer may point to it. One that is labelled is
    found by what `_accessor` defines.
    """
    address = f"&{variable.name}"
    before = ""
    if is_labelled:
        address = f"(const volatile void *)kitsune__address_{number}"
    elif variable.thread_local:
        accessor = f"kitsune__address_{number}"
        before = (
            "__extension__ static __attribute__((__no_instrument_function__))"
            f" const volatile void *{accessor}(void) {{ return &{variable.name}; }} "
        )
        address = f"(const volatile void *){accessor}"
    elif has_alias:
        before = (
            f"static __typeof__({variable.name}) kitsune__alias_{number}"
            f' __attribute__((__alias__("{variable.name}"))); '
        )
        address = f"&kitsune__alias_{number}"
    size = layout.size_of(variable, is_unsized=number in unsized)
    flags = _VARIABLE | _CONST * variable.const | _THREAD_LOCAL * variable.thread_local
    return before + _entry(f"kitsune__variable_{number}", variable.key, address, size, flags)


def _function(number: int, function: FunctionSymbol, *, weak: bool) -> str:
    """Register a function. One whose code is elsewhere is referred to weakly: a header may declare
    what this program never links, and its address is NULL then.
    """
    name = function.name
    before = ""
    if weak:
        name = f"kitsune__weak_{number}"
        before = f'static void {name}(void) __attribute__((__weakref__("{function.name}"))); '
    address = f"(const volatile void *){name}"
    return before + _entry(f"kitsune__function_{number}", function.key, address, "0", _FUNCTION)


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
        if variable.thread_local and local.label < 0:
            continue
        named = set(namer.name_from(variable))
        wanted = [slot for slot in slots if slot.of in named and slot.kind != "variable"]
        wanted.append(Slot("variable", local.variable))
        text = _symbol(local.variable, variable, extracted.unsized, is_labelled=local.label >= 0)
        if local.label >= 0:
            found.append(Insertion(local.label, _label(local.variable)))
        segments = _segments(namer, wanted, places, f"kitsune__layout_{local.variable}")
        found.append(Insertion(local.end, f" {text} {namer.take_copies()}{segments}"))
    return found


def _label(number: int) -> str:
    """Give a thread-local static a name of the assembler's, and have it kept as it is."""
    return f' __asm__("kitsune.thread_local.{number}") __attribute__((__used__))'


def _accessor(number: int) -> str:
    """Define what returns the address of a function's thread-local static in the calling thread."""
    name = f"kitsune__thread_local_{number}"
    return (
        f'extern __thread char {name}[] __asm__("kitsune.thread_local.{number}")'
        ' __attribute__((__visibility__("hidden")));\n'
        "__extension__ static __attribute__((__unused__, __no_instrument_function__))"
        f" const volatile void *kitsune__address_{number}(void) {{ return {name}; }}"
    )


def _segments(
    namer: Namer,
    wanted: list[Slot],
    places: dict[Slot, int],
    name: str,
    sized: Callable[[str, str], str] = _as_it_is,
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
        values = [_sized(namer.expression(slot), sized) for slot in run]
        parts.append(layout.segment(namer.unit.digest, places[run[0]], values, f"{name}_{number}"))
    return " ".join(parts)


def _sized(expression: str | None, sized: Callable[[str, str], str]) -> str | None:
    return None if expression is None else sized(expression, f"{layout.NOTHING}ull")
