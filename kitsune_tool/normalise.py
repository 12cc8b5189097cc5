"""Turn one declaration of GNU C into ready tokens for pycparser.

In: a stretch of preprocessed text. Out: `tokens`, the plain lexical ones, and `normalise`, a
`Normalised` declaration: GNU C gone, what is left of it in the order that pycparser's C23 grammar
takes. Annotations and the attributes that change a layout become C23 attribute tokens
(`[[kt_opaque]]`, `[[kt_layout(packed)]]`), placed where pycparser hangs them on the pointer,
declarator, member or tag that they belong to. Initialisers are gone; constant expressions that are
no plain number stand as a name whose text is in `Normalised.expressions`, since the compiler
computes them, not we. index.py and extract.py call it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from kitsune_tool.model import UNKNOWN_TYPE

_IDENTIFIER = "A-Za-z0-9_$\x80-\xff"
_LEXER = re.compile(
    rf"""(?P<skip>(?:\s++|\#[^\n]*+|/\*(?s:.*?)\*/|//[^\n]*+)++)
    |(?P<string>(?:u8|[LuU])?"(?:[^"\\\n]|\\.)*+")
    |(?P<char>(?:u8|[LuU])?'(?:[^'\\\n]|\\.)*+')
    |(?P<id>(?:[A-Za-z_$\x80-\xff]|\\[uU][0-9a-fA-F]{{4}})(?:[{_IDENTIFIER}]|\\[uU][0-9a-fA-F]{{4}})*+)
    |(?P<number>\.?[0-9](?:[eEpP][+-]|'?[{_IDENTIFIER}.])*+)
    |(?P<punct>\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A token of C: kind `id` (keywords too), `number`, `string`, `char` or `punct`."""

    kind: str
    text: str
    offset: int


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """Yield the tokens of `text[start:end]`; directives, pragmas and comments are left out."""
    for match in _LEXER.finditer(text, start, len(text) if end is None else end):
        kind = match.lastgroup
        if kind != "skip":
            yield Token(kind or "", match.group(), match.start())


class Misunderstood(Exception):
    """A declaration that is not understood; it costs only itself, so this is no error yet."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset


class Ready(NamedTuple):
    """A token as pycparser takes it: its type's name, its text, and its offset in the unit."""

    type: str
    value: str
    offset: int


@dataclass(slots=True)
class Declared:
    """A name that a declaration declares.

    `is_function` tells that its own declarator is a function's (a name whose typedef is a
    function's is not). `end` is where its declarator ends, and `is_labelled` tells that the
    assembler knows it by another name. `initializer` is the place of the initialiser's tokens,
    `(start, end)`.
    """

    name: str
    offset: int
    is_function: bool = False
    end: int = -1
    is_labelled: bool = False
    initializer: tuple[int, int] | None = None


@dataclass(slots=True)
class Normalised:
    """A declaration made ready. `storage` has `inline`, `gnu_inline` and the storage classes."""

    ready: list[Ready] = field(default_factory=list)
    storage: set[str] = field(default_factory=set)
    declared: list[Declared] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    """`struct s`, `union u`, `enum e` of what is defined in it, inner ones too."""
    has_constants: bool = False
    """It defines enumerators of an enumeration without a tag."""
    names: set[str] = field(default_factory=set)
    """Identifiers used as a type's name."""
    expressions: dict[int, str] = field(default_factory=dict)
    """By offset: the text of a constant expression that only the compiler can compute."""
    attributes: set[str] = field(default_factory=set)
    """Names of all attributes met, without underscores."""
    marked: bool = False
    """There are annotations in it."""
    old_style: int = -1
    """Where the declarations of an old-style definition's parameters begin."""

    @property
    def is_typedef(self) -> bool:
        """Tell whether it declares typedefs."""
        return "typedef" in self.storage


EXPRESSION = "__kt_expression"
"""Stands for a constant expression whose text is in `Normalised.expressions`."""

_FLOATS = ("_Float16", "_Float32", "_Float64", "_Float128", "_Float32x", "_Float64x", "_Float128x")
BUILTIN_TYPES = {
    "__builtin_va_list": "__builtin_va_list",
    "__builtin_ms_va_list": "__builtin_ms_va_list",
    "__int128_t": "__int128",
    "__uint128_t": "unsigned __int128",
    "__float128": "_Float128",
    "__float80": "long double",
    "__fp16": "__fp16",
    "__bf16": "__bf16",
    **{name: name for name in _FLOATS},
    **{f"{name} _Complex": f"{name} _Complex" for name in (*_FLOATS, "__float128")},
    "_Decimal32": "_Decimal32",
    "_Decimal64": "_Decimal64",
    "_Decimal128": "_Decimal128",
    "bool": "_Bool",
    "nullptr_t": "nullptr_t",
    UNKNOWN_TYPE: "",
}
"""Names that are types without a declaration, unless the program declares them."""

_BASE = {
    "void": "VOID", "char": "CHAR", "short": "SHORT", "int": "INT", "long": "LONG",
    "float": "FLOAT", "double": "DOUBLE", "signed": "SIGNED", "__signed": "SIGNED",
    "__signed__": "SIGNED", "unsigned": "UNSIGNED", "_Bool": "_BOOL", "_Complex": "_COMPLEX",
    "__complex": "_COMPLEX", "__complex__": "_COMPLEX", "__int128": "__INT128",
}  # fmt: skip
_QUALIFIERS = {
    "const": "CONST", "__const": "CONST", "__const__": "CONST", "volatile": "VOLATILE",
    "__volatile": "VOLATILE", "__volatile__": "VOLATILE", "restrict": "RESTRICT",
    "__restrict": "RESTRICT", "__restrict__": "RESTRICT", "_Atomic": "_ATOMIC",
}  # fmt: skip
_SPELLING = {
    "SIGNED": "signed", "_COMPLEX": "_Complex", "CONST": "const", "VOLATILE": "volatile",
    "RESTRICT": "restrict",
}  # fmt: skip
_STORAGE = {
    "typedef": "TYPEDEF", "extern": "EXTERN", "static": "STATIC", "_Thread_local": "_THREAD_LOCAL",
    "__thread": "_THREAD_LOCAL",
}  # fmt: skip
INLINE_WORDS = {"inline", "__inline", "__inline__"}
_DROPPED = {"__extension__", "_Noreturn", "register", "auto"}
_ATTRIBUTE = {"__attribute__", "__attribute"}
_ASM = {"asm", "__asm", "__asm__"}
_TYPEOF = {"typeof", "__typeof", "__typeof__", "typeof_unqual", "__typeof_unqual__"}
_ALIGNAS = {"_Alignas", "alignas"}
_ASSERT = {"_Static_assert", "static_assert"}
_RECORDS = {"struct": "STRUCT", "union": "UNION"}
_LAYOUT = {
    "packed", "aligned", "mode", "vector_size", "transparent_union", "ms_struct", "gcc_struct",
    "scalar_storage_order",
}  # fmt: skip
MARKER = "__kt__"
_OPEN = {"(": ")", "[": "]", "{": "}"}
_PLAIN_INTEGER = re.compile(r"(?:0[xX][0-9a-fA-F']+|0[bB][01']+|[0-9'][0-9']*)[uUlL]*\Z")

TYPE_WORDS = frozenset(
    {*_BASE, *_QUALIFIERS, *_STORAGE, *INLINE_WORDS, *_DROPPED, *_ATTRIBUTE, *_TYPEOF, *_ALIGNAS}
    | {*_RECORDS, "enum", "_BitInt", "__auto_type"}
)
"""Keywords with which a declaration or a type's name can start."""

KEYWORDS = TYPE_WORDS | _ASM | _ASSERT | {
    "break", "case", "continue", "default", "do", "else", "for", "goto", "if", "return", "sizeof",
    "switch", "while", "_Alignof", "__alignof__", "__alignof", "alignof", "_Generic",
    "__builtin_va_arg", "__builtin_offsetof", "__label__", "__real__", "__imag__",
}  # fmt: skip


def integer(text: str) -> int | None:
    """Return the value of a plain integer constant, None if `text` is none."""
    if not _PLAIN_INTEGER.match(text):
        return None
    digits = text.rstrip("uUlL").replace("'", "")
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        return int(digits, 8) if digits.strip("01234567") == "" else None
    return int(digits, 0)


def normalise(
    text: str, start: int, end: int, is_typedef: Callable[[str], bool] | Container[str] = ()
) -> Normalised:
    """Make the declaration (or a function definition's head) at `text[start:end]` ready.

    `is_typedef` tells the typedef names that are visible; it decides only what C's grammar leaves
    open. Raises `Misunderstood`.
    """
    known = is_typedef if callable(is_typedef) else is_typedef.__contains__
    walker = _Walker(text, list(tokens(text, start, end)), end, known)
    walker.external()
    return walker.result


class _Attribute(NamedTuple):
    name: str  # kt_layout or kt_<kind of annotation>
    arguments: str
    offset: int


class _Walker:
    """Walks over one declaration's tokens and writes the ready ones, by C's own grammar."""

    def __init__(
        self, text: str, raw: list[Token], end: int, is_typedef: Callable[[str], bool]
    ) -> None:
        self.text = text
        self.raw = raw
        self.raw.append(Token("end", "", end))
        self.texts = [token.text for token in raw] + [""] * 3
        self.at = 0
        self.is_typedef = is_typedef
        self.result = Normalised()
        self.out = self.result.ready
        self.pending: list[_Attribute] = []
        """Attributes met where they can only belong to the next declarator's name."""

    # -- moving -------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> str:
        return self.texts[self.at + ahead]

    def take(self) -> Token:
        token = self.raw[self.at]
        if token.kind == "end":
            raise Misunderstood(token.offset, "the declaration ends too early")
        self.at += 1
        return token

    def emit(self, kind: str, value: str = "") -> None:
        token = self.take()
        self.out.append(Ready(kind, value or token.text, token.offset))

    def expect(self, text: str) -> Token:
        if self.peek() != text:
            raise self.surprise()
        return self.take()

    def surprise(self) -> Misunderstood:
        token = self.raw[self.at]
        return Misunderstood(token.offset, f"'{token.text}' is not expected here")

    def group(self) -> tuple[int, int]:
        """Step over a bracketed group; return the indices of the tokens between its brackets."""
        if self.peek() not in _OPEN:
            raise self.surprise()
        stack = [_OPEN[self.take().text]]
        first = self.at
        while stack:
            token = self.take()
            if token.text == stack[-1] and token.kind == "punct":
                stack.pop()
            elif token.kind == "punct" and token.text in _OPEN:
                stack.append(_OPEN[token.text])
        return first, self.at - 1

    def source(self, first: int, last: int) -> str:
        """Return the text of the tokens from index `first` up to `last`, in one line."""
        if first >= last:
            return ""
        return " ".join(token.text for token in self.raw[first:last])

    # -- attributes ---------------------------------------------------------------------------

    def at_attribute(self) -> bool:
        text = self.peek()
        return (
            text in _ATTRIBUTE
            or text == MARKER
            or (text in _ALIGNAS and self.peek(1) == "(")
            or text == "__extension__"
            or (text == "[" and self.peek(1) == "[")
        )

    def attributes(self) -> list[_Attribute]:
        """Take all attributes and annotations that stand here."""
        found: list[_Attribute] = []
        while self.at_attribute():
            text = self.peek()
            if text == MARKER:
                found.append(self.marker())
            elif text in _ALIGNAS:
                found.append(self.alignas())
            elif text == "__extension__":
                self.take()
            else:
                self.at += text != "["
                found += self.attribute_list(*self.double_group())
        return found

    def double_group(self) -> tuple[int, int]:
        first, last = self.group()
        if last - first < 2:
            raise self.surprise()
        return first + 1, last - 1

    def attribute_list(self, first: int, last: int) -> list[_Attribute]:
        after, self.at = self.at, first
        found = []
        while self.at < last:
            token = self.take()
            if token.kind != "id":
                continue
            if self.peek() == ":" and self.peek(1) == ":":  # gnu::packed
                self.at += 2
                continue
            arguments = self.source(*self.group()) if self.peek() == "(" else ""
            name = token.text.strip("_")
            self.result.attributes.add(name)
            if name in _LAYOUT:
                text = f"{name}({arguments})" if arguments else name
                found.append(_Attribute("kt_layout", text, token.offset))
        self.at = after
        return found

    def marker(self) -> _Attribute:
        """Take `__kt__(kind, "text")`."""
        start = self.take()
        first, last = self.group()
        parts = self.raw[first:last]
        if not parts:
            raise self.surprise()
        strings = [unquote(token.text) for token in parts if token.kind == "string"]
        self.result.marked = True
        return _Attribute(f"kt_{parts[0].text}", "".join(strings).strip(), start.offset)

    def alignas(self) -> _Attribute:
        start = self.take()
        first, last = self.group()
        text = self.source(first, last)
        if self.starts_type(first):
            text = f"_Alignof({text})"
        return _Attribute("kt_layout", f"aligned({text})", start.offset)

    def put(self, found: list[_Attribute], index: int | None = None) -> int:
        """Write attributes at `index` of the output (default: its end); return how many tokens."""
        ready = []
        for name, arguments, offset in found:
            ready.append(Ready("ATTRIBUTE_BEGIN", "[[", offset))
            ready.append(Ready("ID", name, offset))
            ready.append(Ready("ATTRIBUTE_ARGUMENTS", arguments, offset))
            ready.append(Ready("ATTRIBUTE_END", "]]", offset))
        place = len(self.out) if index is None else index
        self.out[place:place] = ready
        return len(ready)

    # -- declarations -------------------------------------------------------------------------

    def external(self) -> None:
        """Walk over an external declaration, or the head of a function definition."""
        if self.peek() in _ASM | _ASSERT:
            self.out.append(Ready("SEMI", ";", self.raw[self.at].offset))
            return
        self.specifiers(self.result.storage)
        self.declarators(member=False)
        if self.peek() in {";", "{"} or self.raw[self.at].kind == "end":
            self.out.append(Ready("SEMI", ";", self.raw[self.at].offset))
            return
        if self.result.declared and self.result.declared[-1].is_function:
            self.out.append(Ready("SEMI", ";", self.raw[self.at].offset))
            self.result.old_style = self.raw[self.at].offset
            return
        raise self.surprise()

    def starts_type(self, index: int) -> bool:
        token = self.raw[index]
        if token.kind != "id":
            return False
        return token.text in TYPE_WORDS or self.is_typedef(token.text)

    def specifiers(self, storage: set[str]) -> None:
        """Write the specifiers; attributes among them go to their end."""
        found: list[_Attribute] = []
        typed = False
        begin = len(self.out)
        while self.raw[self.at].kind != "end":
            if self.at_attribute():
                found += self.attributes()
                continue
            if self.plain_specifier(storage):
                continue
            if self.raw[self.at].kind != "id" or (
                typed and self.peek() not in _BASE and self.peek() != "_BitInt"
            ):
                break
            if not self.type_specifier(found, storage):
                break
            typed = True
        if not typed and (self.raw[self.at].kind == "id" or self.peek() in {"*", "("}):
            self.out.append(Ready("INT", "int", self.raw[self.at].offset))  # the type is left out
        if len(self.out) == begin:
            self.pending += found
        else:
            self.put(found)

    def plain_specifier(self, storage: set[str]) -> bool:
        """Write a storage class, a qualifier, or nothing; False if a type may stand here."""
        text = self.peek()
        if text in _DROPPED:
            storage.add(text)
            self.take()
        elif text in INLINE_WORDS:
            storage.add("inline")
            self.take()
        elif text in _STORAGE:
            kind = _STORAGE[text]
            storage.add("_Thread_local" if kind == "_THREAD_LOCAL" else text)
            self.emit(kind, "_Thread_local" if kind == "_THREAD_LOCAL" else "")
        elif text in {"thread_local", "constexpr"} and self.raw[self.at + 1].kind == "id":
            self.modern(storage)
        elif text in _QUALIFIERS and not (text == "_Atomic" and self.peek(1) == "("):
            self.emit(_QUALIFIERS[text], _SPELLING.get(_QUALIFIERS[text], ""))
        else:
            return False
        return True

    def modern(self, storage: set[str]) -> None:
        if self.peek() == "thread_local":
            storage.add("_Thread_local")
            self.emit("_THREAD_LOCAL", "_Thread_local")
        else:
            storage.add("constexpr")
            self.take()
            self.out.append(Ready("CONST", "const", self.raw[self.at].offset))

    def type_specifier(self, found: list[_Attribute], storage: set[str]) -> bool:
        """Write one type specifier; False if what stands here is the declared name."""
        text = self.peek()
        if f"{self.peek(1)} _Complex" in BUILTIN_TYPES and _BASE.get(text) == "_COMPLEX":
            self.take()
            self.result.names.add(f"{self.peek()} _Complex")
            self.emit("ID", f"{self.peek()} _Complex")
        elif text in _BASE:
            self.emit(_BASE[text], _SPELLING.get(_BASE[text], ""))
        elif f"{text} _Complex" in BUILTIN_TYPES and _BASE.get(self.peek(1)) == "_COMPLEX":
            self.result.names.add(f"{text} _Complex")
            self.emit("ID", f"{text} _Complex")
            self.take()
        elif text in _RECORDS:
            self.record(found)
        elif text == "enum":
            self.enum(found)
        elif text in _TYPEOF and self.peek(1) == "(":
            self.typeof()
        elif text == "_Atomic":
            self.emit("_ATOMIC")
            self.out.append(Ready("LPAREN", "(", self.expect("(").offset))
            self.type_name()
            self.out.append(Ready("RPAREN", ")", self.expect(")").offset))
        elif text == "_BitInt":
            self.emit("_BITINT")
            self.out.append(Ready("LPAREN", "(", self.raw[self.at].offset))
            self.constant(*self.group())
            self.out.append(Ready("RPAREN", ")", self.raw[self.at - 1].offset))
        elif text == "__auto_type" or ("auto" in storage and self.peek(1) == "="):
            self.unknown_type(self.raw[self.at].offset)
            self.at += text == "__auto_type"
        elif not self.is_typedef(text) and self.peek(1) in {"(", ";", "=", "[", ",", ":", ""}:
            return False  # the type is left out: `static x;`, `main() {…}`
        else:
            self.named_type()
        return True

    def named_type(self) -> None:
        self.result.names.add(self.peek())
        self.emit("ID")

    def unknown_type(self, offset: int) -> None:
        self.result.names.add(UNKNOWN_TYPE)
        self.out.append(Ready("ID", UNKNOWN_TYPE, offset))

    def typeof(self) -> None:
        start = self.raw[self.at].offset
        if self.starts_type(self.at + 2):
            self.emit("TYPEOF", "typeof")
            self.emit("LPAREN")
            self.type_name()
            self.out.append(Ready("RPAREN", ")", self.expect(")").offset))
            return
        self.take()
        first, last = self.group()
        inside = self.raw[first:last]
        if len(inside) == 1 and inside[0].kind == "id":
            self.out.append(Ready("TYPEOF", "typeof", start))
            self.out.append(Ready("LPAREN", "(", start))
            self.out.append(Ready("ID", inside[0].text, inside[0].offset))
            self.out.append(Ready("RPAREN", ")", start))
        else:
            self.unknown_type(start)

    def type_name(self) -> None:
        self.specifiers(set())
        self.declarator(abstract=True)

    # -- records and enumerations -------------------------------------------------------------

    def record(self, found: list[_Attribute]) -> None:
        keyword = self.peek()
        self.emit(_RECORDS[keyword])
        place = len(self.out)
        own = self.attributes()
        tag = ""
        if self.raw[self.at].kind == "id":
            tag = self.peek()
            self.emit("ID")
        later = self.attributes()
        if self.peek() != "{":
            found += [a for a in (*own, *later) if a.name != "kt_layout"]
            return
        own += later
        if tag:
            self.result.tags.append(f"{keyword} {tag}")
        self.emit("LBRACE")
        self.members()
        self.emit("RBRACE")
        for attribute in self.attributes():
            is_own = attribute.name in {"kt_layout", "kt_generic"}
            (own if is_own else found).append(attribute)
        self.put(own, place)

    def members(self) -> None:
        while self.peek() != "}":
            if self.peek() == ";":
                self.take()
            elif self.peek() in _ASSERT:
                self.take()
                self.group()
            else:
                self.specifiers(set())
                self.declarators(member=True)
                self.out.append(Ready("SEMI", ";", self.raw[self.at].offset))
                if self.peek() != "}":  # GNU C takes a last member without its semicolon
                    self.expect(";")

    def enum(self, found: list[_Attribute]) -> None:
        self.emit("ENUM")
        place = len(self.out)
        own = self.attributes()
        tag = ""
        if self.raw[self.at].kind == "id":
            tag = self.peek()
            self.emit("ID")
        later = self.attributes()
        if self.peek() == ":" and self.starts_type(self.at + 1):
            self.emit("COLON")
            self.specifiers(set())
        if self.peek() != "{":
            found += [a for a in (*own, *later) if a.name != "kt_layout"]
            return
        if tag:
            self.result.tags.append(f"enum {tag}")
        else:
            self.result.has_constants = True
        self.emit("LBRACE")
        while self.peek() != "}":
            self.emit("ID")
            self.attributes()
            if self.peek() == "=":
                self.skip_to({",", "}"})
            if self.peek() == ",":
                self.emit("COMMA")
        self.emit("RBRACE")
        for attribute in self.attributes():
            (own if attribute.name == "kt_layout" else found).append(attribute)
        self.put([*own, *later], place)

    def skip_to(self, ends: set[str]) -> tuple[int, int]:
        """Step over everything up to one of `ends` outside brackets; return the tokens' indices."""
        first = self.at
        while self.raw[self.at].kind != "end":
            token = self.raw[self.at]
            if token.text in ends:
                break
            if token.kind == "punct" and token.text in _OPEN:
                self.group()
            else:
                self.at += 1
        return first, self.at

    def constant(self, first: int, last: int) -> None:
        """Write a constant expression: its number, or a name that stands for it."""
        offset = self.raw[first].offset
        if last - first == 1 and integer(self.raw[first].text) is not None:
            self.out.append(Ready("INT_CONST_DEC", self.raw[first].text, offset))
        else:
            self.result.expressions[offset] = self.source(first, last)
            self.out.append(Ready("ID", EXPRESSION, offset))

    # -- declarators --------------------------------------------------------------------------

    def declarators(self, *, member: bool) -> None:
        while self.peek() not in {";", "{", "}", ""}:
            self.pending += self.attributes()
            place = -1
            if self.peek() != ":":
                place = self.declarator(abstract=False, record=None if member else self.result)
                if self.result.declared and not member:
                    self.result.declared[-1].end = self._previous_end()
            self.after_declarator(place)
            if self.peek() != ",":
                break
            self.emit("COMMA")
        self.pending.clear()

    def _previous_end(self) -> int:
        token = self.raw[self.at - 1]
        return token.offset + len(token.text)

    def after_declarator(self, place: int) -> None:
        """Take what follows a declarator: asm label, attributes, width, initialiser."""
        while True:
            text = self.peek()
            if self.at_attribute():
                place = self.name_attributes(self.attributes(), place)
            elif text in _ASM:
                if self.result.declared:
                    self.result.declared[-1].is_labelled = True
                self.take()
                while self.peek() != "(":
                    self.take()
                self.group()
            elif text == ":":
                self.emit("COLON")
                self.constant(*self.skip_to({",", ";", "}"} | _ATTRIBUTE | {MARKER}))
                self.width_attributes(place)
            elif text == "=":
                self.take()
                first, last = self.skip_to({",", ";", MARKER})
                if self.result.declared:
                    ends = (self.raw[first].offset, self.raw[last].offset)
                    self.result.declared[-1].initializer = ends
            else:
                return

    def width_attributes(self, place: int) -> None:
        if self.at_attribute():
            self.name_attributes(self.attributes(), place)

    def name_attributes(self, found: list[_Attribute], place: int) -> int:
        """Write attributes behind the declarator's name at `place`; return the new place."""
        if place < 0:
            return place
        return place + self.put(found, place)

    def declarator(self, *, abstract: bool, record: Normalised | None = None) -> int:
        """Write a declarator; return the place just behind its name in the output, or -1."""
        declared: list[Declared] = []
        place = self.inner_declarator(abstract, declared)
        if record is not None and declared:
            record.declared.append(declared[0])
        return place

    def inner_declarator(self, abstract: bool, declared: list[Declared]) -> int:
        while self.peek() == "*":
            self.emit("TIMES")
            self.pointer()
        self.pending += self.attributes()
        place = -1
        if self.peek() == "(" and not (abstract and self.starts_parameters()):
            self.emit("LPAREN")
            self.pending += self.attributes()
            place = self.inner_declarator(abstract, declared)
            self.pending += self.attributes()
            if place >= 0:
                place = self.flush_pending(place)
            self.out.append(Ready("RPAREN", ")", self.expect(")").offset))
            is_plain = self.out[-2].type == "ID" and self.out[-3].type == "LPAREN"
            self.suffixes(declared if is_plain else [], place)
            return place
        if self.raw[self.at].kind == "id" and self.peek() not in _ASM:
            token = self.raw[self.at]
            declared.append(Declared(token.text, token.offset))
            self.emit("ID")
            place = self.flush_pending(len(self.out))
        elif not abstract:
            raise self.surprise()
        self.suffixes(declared, place)
        return place

    def flush_pending(self, place: int) -> int:
        found, self.pending = self.pending, []
        return self.name_attributes(found, place)

    def pointer(self) -> None:
        """Behind a `*`: attributes first, then qualifiers, whatever their order was."""
        place = len(self.out)
        while True:
            if self.at_attribute():
                place += self.put(self.attributes(), place)
            elif self.peek() in _QUALIFIERS:
                kind = _QUALIFIERS[self.peek()]
                self.emit(kind, _SPELLING.get(kind, ""))
            else:
                return

    def starts_parameters(self) -> bool:
        return self.peek(1) in {")", "..."} or self.starts_type(self.at + 1)

    def suffixes(self, declared: list[Declared], place: int) -> None:
        first = True
        while True:
            if self.peek() == "[" and self.peek(1) != "[":
                self.array()
            elif self.peek() == "(":
                if declared and first:
                    declared[0].is_function = True
                self.parameters()
            elif self.at_attribute() and self.out[-1].type in {"RBRACKET", "RPAREN"} and not first:
                self.put(self.attributes())
                first = False
                continue
            else:
                return
            first = False

    def array(self) -> None:
        self.emit("LBRACKET")
        outer = self.raw
        inside = self.at
        self.at -= 1
        _, last = self.group()
        after = self.at
        self.at = inside
        found: list[_Attribute] = []
        kept: list[int] = []
        while self.at < last:
            if self.at_attribute():
                found += self.attributes()
            else:
                if self.peek() not in _QUALIFIERS and self.peek() != "static":
                    kept.append(self.at)
                self.at += 1
        if kept and not (len(kept) == 1 and outer[kept[0]].text == "*"):
            self.constant(kept[0], kept[-1] + 1)
        self.at = after
        self.out.append(Ready("RBRACKET", "]", outer[last].offset))
        self.put(found)

    def parameters(self) -> None:
        self.emit("LPAREN")
        if self.peek() == ")":
            self.emit("RPAREN")
            return
        saved, self.pending = self.pending, []
        while True:
            if self.peek() == "...":
                self.emit("ELLIPSIS")
            else:
                self.parameter()
            if self.peek() != ",":
                break
            self.emit("COMMA")
        self.pending = saved
        self.out.append(Ready("RPAREN", ")", self.expect(")").offset))

    def parameter(self) -> None:
        if self.raw[self.at].kind != "id" and not self.at_attribute():
            raise self.surprise()
        if self.peek(1) in {",", ")"} and not self.starts_type(self.at):
            self.emit("ID")  # old style: names only
            return
        self.specifiers(set())
        place = self.declarator(abstract=True)
        self.after_declarator(place)
        self.pending.clear()


def unquote(literal: str) -> str:
    """Return the characters of a narrow string literal."""
    return _STRING_ESCAPE.sub(_escaped, literal[literal.index('"') + 1 : -1])


_STRING_ESCAPE = re.compile(
    r"\\([0-7]{1,3}|x[0-9a-fA-F]+|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL
)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b"}


def _escaped(match: re.Match[str]) -> str:
    escape = match.group(1)
    if escape[0] in "01234567":
        return chr(int(escape, 8) & 255)
    if escape[0] == "x" and len(escape) > 1:
        return chr(int(escape[1:], 16) & 255)
    if escape[0] in "uU" and len(escape) > 1:  # the bytes of UTF-8, as all text is held
        code = min(int(escape[1:], 16), sys.maxunicode)
        return chr(code).encode("utf-8", "surrogatepass").decode("latin-1")
    return _SIMPLE.get(escape, escape)
