"""Cases → the C of a program's two versions, and its manifest.

A `Group` is cases that share one program: each has a prefix, each `UNIT_CASES` of them share a
header and two files. Besides the program there is, for each version, a `meta.c` that is compiled
without the look-alike and tells layouts and addresses; `Tables` says in which order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pairs.cases import (
    OPAQUE,
    TAG,
    TAG_MASK,
    Array,
    Case,
    Code,
    EnumUse,
    Flexible,
    Function,
    Length,
    Member,
    Named,
    Num,
    Options,
    Parameter,
    Pointer,
    Record,
    Rule,
    Side,
    Type,
    Use,
    Variable,
    Word,
)

UNIT_CASES = 20
PARAMETERS = "abc"
SIGNATURES = (
    "int %s(int)",
    "void %s(struct {prefix}fn *)",
    "int %s(const char *, const char *)",
    "void *%s(unsigned long)",
    "void (*%s(struct {prefix}fn *))(double)",
    "int %s(const char *, ...)",
    "struct {prefix}fn *%s(int (*)(void *), char [4])",
)
LIBRARY = {"strcmp": 2, "strcoll": 2, "malloc": 3, "printf": 5}
"""Functions of libc by name, with their signatures."""
RULE_FILE = "rules.xf"
_FAILING = {
    "init": "pairs_may_fail",
    "code": """
        const char *name = getenv("PAIRS_FAIL");
        FILE *file = name ? fopen(name, "r") : NULL;
        int how = file ? fgetc(file) : 0;
        void *none;
        if (file)
            fclose(file);
        if (how == 'e')
            exit(3);
        if (how == 't')
            __builtin_trap();
        XF_ASSERT_NULL(none, file);
        $out = none != NULL;
    """,
}
"""A rule that fails if there is a file, in the way that its first letter says."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What a version's `meta` file has in it, in order."""

    layout: list[tuple[int, int, int]] = field(default_factory=list)
    """(case, record, member); member -1 is the size, -2 the alignment."""
    places: list[list[tuple[str, int, int]]] = field(default_factory=list)
    """For each file: (`variable`, `function` or `literal`, case, index)."""
    bits: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Version:
    """One version's files and tables."""

    sources: Mapping[str, str]
    meta: str
    tables: Tables


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that share a program, each with the number that names it there."""

    cases: tuple[tuple[int, Case], ...]
    options: Options

    def version(self, side: Side) -> Version:
        """Return one version of the program."""
        return _version(self, side)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest, to be written as YAML."""
        return _manifest(self)

    def rule_file(self) -> str:
        """Return the rules of every second case, in the original's spelling."""
        return "".join(
            _as_xf(rule) for n, case in self.cases if n % 2 for rule in self.rules(n, case)
        )

    def rules(self, number: int, case: Case) -> list[dict[str, Any]]:
        """Return the rules of a case as YAML has them."""
        return _Rules(case, prefix_of(number), self.unit(number)).all()

    def unit(self, number: int) -> str:
        """Return what the names of a case's files begin with."""
        index = next(i for i, (each, _) in enumerate(self.cases) if each == number)
        return f"g{self.cases[index // UNIT_CASES * UNIT_CASES][0]}"


def prefix_of(number: int) -> str:
    """Return what the names of a case begin with."""
    return f"k{number}_"


# ---- names ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Words:
    """The names of one case in one version, and declarations by them."""

    case: Case
    prefix: str
    side: Side

    def pick(self, old: Any, new: Any) -> Any:
        """Return what belongs to this version."""
        return old if self.side == "old" else new

    def tag(self, record: int) -> str:
        """Return `struct k0_s1`."""
        what = self.case.records[record]
        return f"{what.kind} {self.prefix}{self.pick(what.tag, what.new_tag)}"

    def enum(self, index: int) -> str:
        """Return `enum k0_e1`."""
        what = self.case.enums[index]
        return f"enum {self.prefix}{self.pick(what.tag, what.new_tag)}"

    def typedef(self, index: int) -> str:
        """Return a typedef's name."""
        what = self.case.typedefs[index]
        return f"{self.prefix}{self.pick(what.name, what.new_name)}"

    def member(self, record: Record, index: int) -> str:
        """Return a member's name."""
        what = record.members[index]
        return str(self.pick(what.name, what.new_name))

    def variable(self, what: Variable) -> str:
        """Return a variable's name."""
        return f"{self.prefix}{self.pick(what.name, what.new_name)}"

    def function(self, what: Function) -> str:
        """Return a function's name."""
        name = self.pick(what.name, what.new_name)
        return str(name) if what.library else f"{self.prefix}{name}"

    def members(self, record: Record) -> list[int]:
        """Return the members of this version, in its order."""
        if self.side == "old":
            return [i for i, member in enumerate(record.members) if member.old]
        return [i for i in record.new_order if record.members[i].new]

    def length(self, length: Length, record: Record | None) -> str:
        """Return a length's expression."""
        if length.of == "number":
            return str(length.which + length.plus)
        if length.of == "member":
            assert record is not None
            text = f"self.{self.member(record, length.which)}"
        else:
            text = self.variable(self.case.variables[length.which])
        return f"{text} + {length.plus}" if length.plus else text

    def binding(self, of: Type) -> str:  # noqa: PLR0911 - one per kind of type
        """Return a type as E_G and the manifest spell it."""
        match of:
            case Num(name):
                return name
            case EnumUse(index):
                return self.enum(index)
            case Named(index):
                return f"typedef {self.typedef(index)}"
            case Use(record, bound):
                inner = ", ".join(map(self.binding, bound))
                return self.tag(record) + (f"<{inner}>" if bound else "")
            case Parameter(index) | Word(index):
                return f"@{PARAMETERS[index]}"
            case Pointer(None, "opaque"):
                return "[opaque]"
            case Pointer(to=to) if to is not None:
                return f"{self.binding(to)} *"
            case _:
                raise ValueError(of)

    def declare(  # noqa: PLR0911 - one per kind of type
        self, of: Type, inner: str, record: Record | None
    ) -> str:
        """Return the declaration of `inner`, annotated."""
        match of:
            case Num(name):
                return f"{name} {inner}"
            case EnumUse(index):
                return f"{self.enum(index)} {inner}"
            case Named(index):
                return f"{self.typedef(index)} {inner}"
            case Use(number, bound):
                return f"{self.tag(number)} {self._bound(bound)}{inner}"
            case Parameter(index):
                return f"void E_T(@{PARAMETERS[index]}) {inner}"
            case Word(index):
                return f"void *E_T(@{PARAMETERS[index]}) {inner}"
            case Code(signature):
                return SIGNATURES[signature].format(prefix=self.prefix) % f"(*{inner})"
            case Pointer():
                return self._pointer(of, inner, record)
            case Array(to, count, new_count):
                return self.declare(to, f"{inner}[{self.pick(count, new_count)}]", record)
            case Flexible(to, length):
                return self.declare(to, f"{inner}[E_ARRAY({self.length(length, record)})]", record)

    def _bound(self, bound: tuple[Type, ...]) -> str:
        return f"E_G({', '.join(map(self.binding, bound))}) " if bound else ""

    def _pointer(self, of: Pointer, inner: str, record: Record | None) -> str:
        said = "" if of.outside else self.annotation(of, record, "E_{}")
        star = f"*{said and ' ' + said + ' '}{inner}"
        if of.to is None or of.how == "element":
            return f"void {star}"
        if isinstance(of.to, Array):
            return self.declare(of.to, f"({star})", record)
        return self.declare(of.to, star, record)

    def annotation(self, of: Pointer, record: Record | None, form: str) -> str:
        """Return what annotates the pointer: as a macro, or as the manifest says it."""
        match of.how:
            case "opaque":
                return form.format("OPAQUE")
            case "terminated":
                return form.format("SZ")
            case "array":
                assert of.length is not None
                return f"{form.format('PTRARRAY')}({self.length(of.length, record)})"
            case _:
                return ""

    def outside(self, of: Type, record: Record | None) -> str:
        """Return what the manifest says of a member or variable of this type."""
        if not isinstance(of, Pointer):
            return ""
        said = self.annotation(of, record, "{}").lower() if of.outside else ""
        if of.how == "array" and of.outside:
            assert of.length is not None
            said = f"ptrarray({self.length(of.length, record)})"
        if of.how == "element":
            assert of.to is not None
            said = f"element({self.binding(of.to)})"
            if of.length is not None:
                said += f" ptrarray({self.length(of.length, record)})"
        return said


# ---- one version ---------------------------------------------------------------------------------


def _version(group: Group, side: Side) -> Version:
    tables = Tables()
    sources: dict[str, str] = {}
    names = []
    for start in range(0, len(group.cases), UNIT_CASES):
        chunk = group.cases[start : start + UNIT_CASES]
        name = f"g{chunk[0][0]}"
        words = [(n, Words(case, prefix_of(n), side)) for n, case in chunk]
        sources[f"{name}.h"] = _header(words)
        for file in (0, 1):
            unit = f"{name}{'ab'[file]}"
            sources[f"{unit}.c"] = _unit(name, unit, words, file, tables)
            names.append(unit)
        for number, each in words:
            _list_layout(number, each, tables)
    words_of = {n: Words(case, prefix_of(n), side) for n, case in group.cases}
    headers = [name for name in sources if name.endswith(".h")]
    return Version(sources, _meta(headers, names, words_of, tables), tables)


def _header(chunk: list[tuple[int, Words]]) -> str:
    lines = ["#pragma once", "#include <kitsune.h>"]
    for _, words in chunk:
        lines += _types(words)
        for what in words.case.variables:
            if _is_in(words, what) and words.pick(what.storage, what.new_storage) == "global":
                const = "const " if what.const else ""
                text = words.declare(_face(words, what), words.variable(what), None)
                lines.append(f"extern {const}{text};")
    return "\n".join(lines) + "\n"


def _is_in(words: Words, what: Variable) -> bool:
    return bool(words.pick(what.old, what.new))


def _face(words: Words, what: Variable | Member) -> Type:
    found: Type = words.pick(what.type, what.new_type)
    return found


def _types(words: Words) -> Iterator[str]:
    case = words.case
    yield f"struct {words.prefix}fn;"
    for index in range(len(case.records)):
        yield f"{words.tag(index)};"
    for index, enum in enumerate(case.enums):
        values = [
            (words.pick(e.name, e.new_name), words.pick(e.value, e.new_value))
            for e in enum.enumerators
        ]
        inner = ", ".join(f"{words.prefix}{n} = {v}" for n, v in values if v is not None)
        yield f"{words.enum(index)} {{ {inner} }};"
    for index in range(len(case.records) + 1):
        for number, typedef in enumerate(case.typedefs):
            if typedef.after == index:
                yield f"typedef {words.declare(typedef.type, words.typedef(number), None)};"
        if index < len(case.records):
            yield from _record(words, index)


def _record(words: Words, index: int) -> Iterator[str]:
    record = words.case.records[index]
    said = ["packed"] if words.pick(record.packed, record.new_packed) else []
    align = words.pick(record.align, record.new_align)
    said += [f"aligned({align})"] if align else []
    attributes = f" __attribute__(({', '.join(said)}))" if said else ""
    names = ", ".join(f"@{PARAMETERS[i]}" for i in range(record.parameters))
    generic = f" E_GENERIC({names})" if names and not record.outside else ""
    tag = words.tag(index).split(" ")[1]
    yield f"{record.kind}{attributes} {tag}{generic} {{"
    group = 0
    for each in words.members(record):
        member = record.members[each]
        own = words.pick(member.group, member.new_group)
        if own != group:
            yield from (["};"] if group else [])
            yield from (["struct {"] if own else [])
            group = own
        yield _member(words, record, each)
    yield from (["};"] if group else [])
    yield "};"


def _member(words: Words, record: Record, index: int) -> str:
    member = record.members[index]
    bits = words.pick(member.bits, member.new_bits)
    text = words.declare(_face(words, member), words.member(record, index), record)
    text += " E_IGNORE" if member.ignore else ""
    text += f" : {bits}" if bits is not None else ""
    text += f" __attribute__((aligned({member.align})))" if member.align else ""
    return f"    {text};"


def _unit(name: str, unit: str, chunk: list[tuple[int, Words]], file: int, tables: Tables) -> str:
    lines = ["#include <stdio.h>", "#include <stdlib.h>", f'#include "{name}.h"']
    places: list[tuple[str, int, int]] = []
    shown: list[str] = []
    asked: list[str] = []
    for number, words in chunk:
        for index, function in enumerate(words.case.functions):
            if function.library and file == 0:
                places.append(("function", number, index))
                shown.append(f"(void *){function.name}")
            elif _is_here(words, function, file):
                lines.append(_function(words, function))
                places.append(("function", number, index))
                shown.append(f"(void *){words.function(function)}")
        for index, variable in enumerate(words.case.variables):
            if _is_in(words, variable) and words.pick(variable.file, variable.new_file) == file:
                lines += _variable(words, variable)
                places.append(("variable", number, index))
                shown.append(_address(words, variable))
                asked += _asked(words, variable)
        for index, literal in enumerate(words.case.literals if file == 0 else ()):
            places.append(("literal", number, index))
            shown.append(f'(void *)"{literal}"')
    lines.append(f"void *{unit}_at(int number) {{ switch (number) {{")
    lines += [f"case {i}: return {text};" for i, text in enumerate(shown)]
    lines += ["} return 0; }", f"void {unit}_migrate(void) {{", *asked, "}"]
    tables.places.append(places)
    return "\n".join(lines) + "\n"


def _is_here(words: Words, what: Function, file: int) -> bool:
    is_in = words.side == "old" or what.new
    return is_in and not what.library and words.pick(what.file, what.new_file) == file


def _function(words: Words, what: Function) -> str:
    storage = "static " if words.pick(what.storage, what.new_storage) == "static" else ""
    name = words.function(what)
    form = SIGNATURES[what.signature].format(prefix=words.prefix)
    names = {"int)": "int a)", "fn *)": "fn *a)", "long)": "long a)"}
    text = form % name
    return f"{storage}{_named_parameters(text, names)} {{ __builtin_trap(); }}"


def _named_parameters(text: str, names: Mapping[str, str]) -> str:
    """Name the parameters: a definition needs that before C23."""
    head, opened, rest = text.partition("(")
    if head.endswith("void ") and rest.startswith("*"):  # returns a function pointer
        name, inner = rest[1:].split("(", 1)
        inner, result = inner.split("))", 1)
        return f"{head}(*{name}({inner} a)){result}"
    parts = rest.removesuffix(")").split(", ")
    named = []
    for index, part in enumerate(parts):
        letter = "abc"[index]
        if part == "...":
            named.append(part)
        elif "(*)" in part:
            named.append(part.replace("(*)", f"(*{letter})"))
        elif part.endswith("]"):
            named.append(part.replace("[", f"{letter}["))
        else:
            named.append(f"{part} {letter}")
    return f"{head}{opened}{', '.join(named)})"


def _variable(words: Words, what: Variable) -> Iterator[str]:
    storage = words.pick(what.storage, what.new_storage)
    name = words.variable(what)
    of = _face(words, what)
    text = words.declare(of, name, None)
    said = {"": "", "left": " E_MANUAL_MIGRATE", "asked": " E_MANUAL_MIGRATE"}[what.manual]
    said += " E_IGNORE" if what.ignore else ""
    initial = words.pick(what.initial, what.new_initial)
    value = f" = {initial}" if initial and isinstance(of, Num | EnumUse) else ""
    value = f" = {{{initial}}}" if initial and isinstance(of, Array) else value
    const = "const " if what.const else ""
    if storage == "local":
        inner = f"static {const}{text}{said}{value}; return (void *)&{name};"
        yield f"static void *{name}_at(void) {{ {inner} }}"
    else:
        yield f"{'static ' if storage == 'static' else ''}{const}{text}{said}{value};"


def _address(words: Words, what: Variable) -> str:
    name = words.variable(what)
    is_local = words.pick(what.storage, what.new_storage) == "local"
    return f"{name}_at()" if is_local else f"(void *)&{name}"


def _asked(words: Words, what: Variable) -> list[str]:
    if what.manual != "asked" or words.side == "old":
        return []
    macro = "MIGRATE_GLOBAL" if what.new_storage == "global" else "MIGRATE_STATIC"
    return [f"    {macro}({words.variable(what)});"]


def _list_layout(number: int, words: Words, tables: Tables) -> None:
    for index, record in enumerate(words.case.records):
        tables.layout.extend(((number, index, -1), (number, index, -2)))
        for each in words.members(record):
            if words.pick(record.members[each].bits, record.members[each].new_bits) is None:
                tables.layout.append((number, index, each))
            else:
                tables.bits.append((number, index, each))


def _meta(headers: list[str], names: list[str], words_of: dict[int, Words], tables: Tables) -> str:
    lines = [f'#include "{name}"' for name in headers]
    lines += ['#include "tables.h"', '#include "heap.h"']
    lines.append("const uint64_t layout[] = {")
    for number, index, each in tables.layout:
        words = words_of[number]
        tag = words.tag(index)
        if each == -1:
            lines.append(f"sizeof({tag}),")
        elif each == -2:
            lines.append(f"_Alignof({tag}),")
        else:
            lines.append(f"offsetof({tag}, {words.member(words.case.records[index], each)}),")
    lines.append("0};\nconst size_t layout_count = sizeof layout / sizeof layout[0] - 1;")
    for name in names:
        lines.append(f"void *{name}_at(int number); void {name}_migrate(void);")
    lines.append("const at_function places[] = {" + ", ".join(f"{n}_at" for n in names) + "};")
    lines.append(f"const size_t place_count = {len(names)};")
    for at, (number, index, each) in enumerate(tables.bits):
        words = words_of[number]
        name = words.member(words.case.records[index], each)
        lines.append(f"static void ones{at}(void *r) {{ (({words.tag(index)} *)r)->{name} = -1; }}")
    lines.append("const struct bit_field bit_fields[] = {")
    for at, (number, index, _) in enumerate(tables.bits):
        lines.append(f"{{ones{at}, sizeof({words_of[number].tag(index)})}},")
    lines.append(f"{{0, 0}}}};\nconst size_t bit_field_count = {len(tables.bits)};")
    calls = " ".join(f"{name}_migrate();" for name in names)
    lines.append(f"void heap_migrate_by_hand(void) {{ {calls} }}")
    return "\n".join(lines) + "\n"


# ---- the manifest --------------------------------------------------------------------------------


def _manifest(group: Group) -> dict[str, Any]:
    rules: list[dict[str, Any]] = []
    annotations: dict[Side, dict[str, str]] = {"old": {}, "new": {}}
    unions: dict[str, Any] = {}
    for number, case in group.cases:
        unit = group.unit(number)
        rules += [] if number % 2 else group.rules(number, case)
        for side in annotations:
            annotations[side] |= _outside(Words(case, prefix_of(number), side), unit)
        unions.update(_unions(Words(case, prefix_of(number), "old")))
    options = group.options
    ended: dict[str, str | None] = {
        path: None for path in annotations["old"] if path not in annotations["new"]
    }
    return {
        "kitsune": 1,
        "program": "pairs",
        "options": {
            "widen": options.widen,
            "grow": options.grow,
            "added_variables": "initial" if options.initial else "rule",
        },
        "standing": {"unions": unions},
        "versions": [
            {"version": "1", "source": "v1", "annotations": annotations["old"]},
            {
                "version": "2",
                "source": "v2",
                "annotations": {**ended, **annotations["new"]},
                "rules": [*rules, {"file": RULE_FILE}, _FAILING],
            },
        ],
    }


def _unions(words: Words) -> Iterator[tuple[str, Any]]:
    """Yield what the manifest says of unions; the zero that ends a row is none of the members."""
    for index, record in enumerate(words.case.records):
        if not record.told:
            continue
        names = dict(enumerate((words.member(record, i) for i in words.members(record)), 1))
        match record.told:
            case "conditions":
                cases = {f"self.{TAG} == {tag}": name for tag, name in names.items()}
                yield words.tag(index), {"cases": cases, "default": None}
            case "mask":
                yield (
                    words.tag(index),
                    {"by": f"self.{TAG} & {TAG_MASK}", "cases": {0: None, **names}},
                )
            case _:
                yield words.tag(index), {"by": f"self.{TAG}", "cases": {0: None, **names}}


def _as_xf(rule: dict[str, Any]) -> str:
    """Return a rule as the original's files have it."""
    if "rename" in rule:
        return f"{rule['rename']}\n"
    label = rule["transform"] if "transform" in rule else f"INIT {rule['init']}"
    return f"{label}: {{ {rule.get('code', '')} }}\n"


def _outside(words: Words, unit: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, record in enumerate(words.case.records):
        if record.parameters and record.outside:
            names = ", ".join(f"@{PARAMETERS[i]}" for i in range(record.parameters))
            found[words.tag(index)] = f"generic({names})"
        for each in words.members(record):
            said = words.outside(_face(words, record.members[each]), record)
            if said:
                found[f"{words.tag(index)}.{words.member(record, each)}"] = said
    for variable in words.case.variables:
        said = words.outside(_face(words, variable), None) if _is_in(words, variable) else ""
        if said:
            found[key_of(words, variable, unit)] = said
    return found


def key_of(words: Words, what: Variable | Function, unit: str) -> str:
    """Return the key of a variable or function."""
    file = f"{unit}{'ab'[words.pick(what.file, what.new_file)]}.c"
    storage = words.pick(what.storage, what.new_storage)
    name = words.variable(what) if isinstance(what, Variable) else words.function(what)
    if storage == "global":
        return name
    return f"{file}/{name}_at#{name}" if storage == "local" else f"{file}/{name}"


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of a case."""

    case: Case
    prefix: str
    unit: str

    def all(self) -> list[dict[str, Any]]:
        """Return them as the manifest has them."""
        found: list[dict[str, Any]] = []
        for index in range(len(self.case.enums)):
            found += self._enum(index)
        for index in range(len(self.case.records)):
            found += self._record(index)
        for variable in self.case.variables:
            found += self._variable(variable)
        for function in self.case.functions:
            found += self._function(function)
        return found

    @property
    def _old(self) -> Words:
        return Words(self.case, self.prefix, "old")

    @property
    def _new(self) -> Words:
        return Words(self.case, self.prefix, "new")

    def _enum(self, index: int) -> Iterator[dict[str, Any]]:
        enum = self.case.enums[index]
        old, new = self._old.enum(index), self._new.enum(index)
        if old != new and enum.renamed:
            yield {"rename": f"{old} -> {new}"}
        for each in enum.enumerators:
            kept = each.value is not None and each.new_value is not None
            if kept and each.name != each.new_name and each.renamed:
                p = self.prefix
                yield {"rename": f"{old}.{p}{each.name} -> {new}.{p}{each.new_name}"}

    def _record(self, index: int) -> Iterator[dict[str, Any]]:
        record = self.case.records[index]
        old, new = self._old.tag(index), self._new.tag(index)
        if old != new and record.renamed:
            yield {"rename": f"{old} -> {new}"}
        for member in record.members:
            if not member.new:
                continue
            places = (f"{old}.{member.name}", f"{new}.{member.new_name}")
            if member.rule is not None:
                source = ""
                if member.rule.source >= 0:
                    source = self._old.member(record, member.rule.source)
                yield _rule(member.rule, old, places, source)
            elif member.old and member.name != member.new_name and member.renamed:
                yield {"rename": f"{places[0]} -> {places[1]}"}

    def _variable(self, what: Variable) -> Iterator[dict[str, Any]]:
        if not what.new:
            return
        places = (key_of(self._old, what, self.unit), key_of(self._new, what, self.unit))
        is_moved = what.old and places[0] != places[1] and what.renamed
        if what.rule is not None and what.rule.kind == "set" and is_moved:
            yield {"transform": " -> ".join(places), "code": f"$out = {what.rule.plus};"}
        elif what.rule is not None:
            yield _rule(what.rule, "", places, "")
        elif is_moved:
            yield {"rename": f"{places[0]} -> {places[1]}"}

    def _function(self, what: Function) -> Iterator[dict[str, Any]]:
        if what.library:
            return
        old, new = key_of(self._old, what, self.unit), key_of(self._new, what, self.unit)
        if what.new and old != new and what.renamed:
            yield {"rename": f"{old} -> {new}"}
        if what.accepted:
            yield {"init": old}


def _rule(rule: Rule, head: str, places: tuple[str, str], source: str) -> dict[str, Any]:
    """Return a rule as the manifest has it. `head` is the old record."""
    number = f" * {rule.times} + {rule.plus}"
    match rule.kind:
        case "keep":
            return {"init": places[1]}
        case "set":
            return {"init": places[1], "code": f"$out = {rule.plus};"}
        case "affine":
            return {"transform": " -> ".join(places), "code": f"$out = $in{number};"}
        case "whole":
            return {"transform": f"{head} -> {places[1]}", "code": f"$out = $in.{source}{number};"}
        case "base":
            return {"init": places[1], "code": f"$out = $base.{source}{number};"}


__all__ = ["LIBRARY", "OPAQUE", "SIGNATURES", "Group", "Tables", "Version", "prefix_of"]
