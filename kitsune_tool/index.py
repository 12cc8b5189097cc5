"""Find out which declaration of a unit declares what, parsing none of them.

In: a `Scan`. Out: an `Index`: typedef names, tags, variables and functions, each with the entries
(normalised declarations) that declare them. Prototypes and variables of system headers are left
out by their look; everything else is classified by C's grammar, never by pattern. extract.py calls
it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kitsune_tool import bodies
from kitsune_tool.normalise import (
    BUILTIN_TYPES,
    INLINE_WORDS,
    KEYWORDS,
    MARKER,
    Declared,
    Misunderstood,
    Normalised,
    normalise,
)
from kitsune_tool.scan import External, Scan

_TYPEDEF = re.compile(r"(?:__extension__\s++)?+typedef\b")
_SIMPLE_TYPEDEF = re.compile(
    r"(?:__extension__\s++)?+typedef\s(?:[\w$]++[\s*]*+)+?(?<![\w$])([A-Za-z_$][\w$]*+)\s*;\Z"
)
_STATIC_OBJECT = re.compile(r"(?:__extension__\s++)?+(?:static|const)\b[^(;{]*=")
_PLAIN_FUNCTION = re.compile(
    r"(?:[A-Za-z_$][\w$]*[\s*]+)+([A-Za-z_$][\w$]*)\s*\([^(){}=\"]*\)\s*;?\Z"
)
"""Words and stars, a name, one pair of parentheses: by C's grammar this declares a function."""


@dataclass(eq=False, slots=True)
class Entry:
    """A declaration; `normalised` is made when it is first asked for (`Index.normalised`)."""

    external: External
    normalised: Normalised | None = None
    trouble: Misunderstood | None = None
    parsed: bool = False


@dataclass(eq=False, slots=True)
class FunctionInfo:
    """All that the declarations of a function say. `definition` is the entry with its body."""

    name: str
    offset: int
    is_static: bool = False
    is_inline: bool = False
    is_extern: bool = False
    is_gnu_inline: bool = False
    is_kept: bool = False
    """It is called by nobody whom we see (a constructor, `used`)."""
    definition: Entry | None = None
    entries: list[Entry] = field(default_factory=list)
    system: bool = True

    @property
    def is_emitted_here(self) -> bool:
        """Tell whether this unit holds the function's code, if it is called at all.

        An `inline` function without `static` has its code elsewhere; with `extern` it is here
        by C99's rules, and by those of GNU C89 (`gnu_inline`) not.
        """
        if self.definition is None:
            return False
        if not self.is_inline or self.is_static:
            return True
        return not self.is_gnu_inline and self.is_extern


@dataclass(eq=False, slots=True)
class VariableInfo:
    """All declarations of a file-scope variable."""

    name: str
    uses: list[tuple[Entry, Declared]] = field(default_factory=list)
    is_defined: bool = False
    is_static: bool = False
    is_thread_local: bool = False


class Index:
    """What a unit's declarations declare."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.typedefs: dict[str, Entry] = {}
        self.tags: dict[str, Entry] = {}
        self.variables: dict[str, VariableInfo] = {}
        self.functions: dict[str, FunctionInfo] = {}
        self.roots: list[Entry] = []
        """Declarations of types in the user's own files, in order."""
        self.troubles: list[tuple[Entry, Misunderstood]] = []
        for external in scan.externals:
            self._add(external)

    def is_typedef(self, name: str) -> bool:
        """Tell whether `name` is a typedef's at file scope."""
        return name in self.typedefs or name in BUILTIN_TYPES

    def normalised(self, entry: Entry) -> Normalised:
        """Return the entry's declaration made ready. Raises `Misunderstood`."""
        if entry.trouble:
            raise entry.trouble
        if entry.normalised is None:
            external = entry.external
            end = external.body[0] if external.body else external.end
            try:
                entry.normalised = normalise(self.scan.text, external.start, end, self.is_typedef)
            except Misunderstood as trouble:
                entry.trouble = trouble
                self.troubles.append((entry, trouble))
                raise
        return entry.normalised

    def is_marked(self, entry: Entry) -> bool:
        """Tell whether an annotation stands in the declaration (or a definition's head)."""
        external = entry.external
        end = external.body[0] if external.body else external.end
        return self.scan.text.find(MARKER, external.start, end) >= 0

    def note(self, external: External, trouble: Misunderstood) -> None:
        """Remember a declaration that was not understood."""
        self.troubles.append((Entry(external), trouble))

    def _add(self, external: External) -> None:
        entry = Entry(external)
        text = self.scan.text
        if external.body:
            if not external.system or bodies.has_statics(text, *external.body):
                self._add_declaration(entry)
            return
        if _TYPEDEF.match(text, external.start):
            declaration = text[external.start : external.end]
            simple = _SIMPLE_TYPEDEF.match(declaration) if len(declaration) < 200 else None
            if simple and external.system:
                self.typedefs.setdefault(simple.group(1), entry)
                return
        elif external.system and not self._may_define(external):
            return
        self._add_declaration(entry)

    def _add_plain(self, entry: Entry) -> bool:
        """Take a function whose declaration can be read without its tokens, as most can."""
        external = entry.external
        end = external.body[0] if external.body else external.end
        match = _PLAIN_FUNCTION.match(self.scan.text[external.start : end].rstrip())
        if match is None or match.group(1) in KEYWORDS:
            return False
        words = match.string[: match.start(1)].replace("*", " ").split()
        if "typedef" in words:
            return False
        storage = {"inline" if word in INLINE_WORDS else word for word in words}
        declared = Declared(match.group(1), external.start + match.start(1), True)
        self._add_function(entry, storage, set(), declared)
        return True

    def _may_define(self, external: External) -> bool:
        """Tell whether a system header's declaration can define a type or an object."""
        text = self.scan.text
        return (
            text.find("{", external.start, external.end) >= 0
            or _STATIC_OBJECT.match(text, external.start, external.end) is not None
        )

    def _add_declaration(self, entry: Entry) -> None:
        if self._add_plain(entry):
            return
        try:
            found = self.normalised(entry)
        except Misunderstood:
            return
        for tag in found.tags:
            self.tags.setdefault(tag, entry)
        if found.is_typedef:
            for declared in found.declared:
                self.typedefs.setdefault(declared.name, entry)
        else:
            for declared in found.declared:
                self._add_name(entry, found, declared)
        is_type = bool(found.tags) or found.is_typedef or found.has_constants
        if is_type and not entry.external.system:
            self.roots.append(entry)

    def _add_name(self, entry: Entry, found: Normalised, declared: Declared) -> None:
        if declared.is_function:
            self._add_function(entry, found.storage, found.attributes, declared)
        elif entry.external.body is None and "register" not in found.storage:
            self._add_variable(entry, found, declared)

    def _add_function(
        self, entry: Entry, storage: set[str], attributes: set[str], declared: Declared
    ) -> None:
        info = self.functions.setdefault(
            declared.name, FunctionInfo(declared.name, declared.offset)
        )
        info.entries.append(entry)
        info.system &= entry.external.system
        info.is_static |= "static" in storage
        info.is_inline |= "inline" in storage
        info.is_gnu_inline |= "gnu_inline" in attributes
        info.is_kept |= not attributes.isdisjoint({"constructor", "destructor", "used"})
        # A declaration without `inline`, or with `extern`, makes C99 emit the function here.
        info.is_extern |= "extern" in storage or "inline" not in storage
        if entry.external.body:
            info.definition = entry
            info.offset = declared.offset

    def _add_variable(self, entry: Entry, found: Normalised, declared: Declared) -> None:
        info = self.variables.setdefault(declared.name, VariableInfo(declared.name))
        info.uses.append((entry, declared))
        info.is_static |= not found.storage.isdisjoint({"static", "constexpr"})  # as C23 has it
        info.is_thread_local |= "_Thread_local" in found.storage
        is_definition = declared.initializer is not None or "extern" not in found.storage
        info.is_defined |= is_definition and "alias" not in found.attributes


def live(index: Index, wanted: frozenset[str] = frozenset()) -> set[str]:
    """Return the functions whose code the compiler may emit: what anything emitted mentions.

    Static and inline functions that nobody mentions are left out, those of headers above all;
    `wanted` are the names of some that are registered nevertheless.
    """
    text = index.scan.text
    waiting = [f for f in index.functions.values() if _is_root(f) or f.name in wanted]
    found = {function.name for function in waiting}
    candidates = {f.name for f in index.functions.values() if f.definition} - found
    pending = [f.definition.external for f in waiting if f.definition]
    pending += [
        entry.external
        for variable in index.variables.values()
        if variable.is_defined
        for entry, declared in variable.uses
        if declared.initializer
    ]
    while pending and candidates:
        external = pending.pop()
        mentioned = bodies.words(text, external.start, external.end) & candidates
        candidates -= mentioned
        found |= mentioned
        for name in mentioned:
            definition = index.functions[name].definition
            if definition:
                pending.append(definition.external)
    return found


def _is_root(function: FunctionInfo) -> bool:
    if function.definition is None:
        return False
    return function.is_kept or not (function.is_static or function.is_inline)
