"""Make the model's types of pycparser's trees.

In: syntax trees of declarations (parse.py) and the `Index` that finds the declarations of the names
that they use. Out: a list of `model` types; types that are named but not yet declared are pulled in
from the index, so that exactly what is reached gets parsed. extract.py calls it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from pycparser import c_ast

from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.index import Entry, Index
from kitsune_tool.model import (
    UNKNOWN,
    UNKNOWN_TYPE,
    Annotation,
    AnnotationKind,
    Annotations,
    Array,
    Enum,
    Field,
    Function,
    Parameter,
    Pointer,
    Record,
    Scalar,
    Type,
    Typedef,
    TypeIndex,
    TypeParameter,
)
from kitsune_tool.normalise import (
    BUILTIN_TYPES,
    EXPRESSION,
    Misunderstood,
    Normalised,
    integer,
)
from kitsune_tool.parse import parse

_ARGUMENTS: dict[str, re.Pattern[str]] = {
    "ptr": re.compile(r"\Z"),
    "opaque": re.compile(r"\Z"),
    "sz": re.compile(r"\Z"),
    "ignore": re.compile(r"\Z"),
    "auto_migrate": re.compile(r"\Z"),
    "manual_migrate": re.compile(r"\Z"),
    "notelocals": re.compile(r"\Z"),
    "ptrarray": re.compile(r"(?s:.+)\Z"),
    "array": re.compile(r"(?s:.+)\Z"),
    "g": re.compile(r"(?s:.+)\Z"),
    "t": re.compile(r"@[\w$]+\Z"),
    "generic": re.compile(r"@[\w$]+(?:\s*,\s*@[\w$]+)*\Z"),
    "custom": re.compile(r"[\w$]+\s*,\s*[\w$]+\Z"),
}
_WANTED = {
    "ptrarray": "a length: E_PTRARRAY(self.count)",
    "array": "a length: E_ARRAY(self.count)",
    "g": "the bindings of the type's parameters: E_G(int, struct s)",
    "t": "the name of a type parameter: E_T(@t)",
    "generic": "names of type parameters: E_GENERIC(@k, @v)",
    "custom": "the names of two functions: E_CUSTOM(allocate, release)",
}
_PRAGMA_PACK = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+pack[ \t]*\(([^)\n]*)\)", re.MULTILINE)
_MODES = {
    "QI": ("char", 0), "byte": ("char", 0), "HI": ("short", 0), "SI": ("int", 0),
    "DI": ("long", 0), "word": ("long", 0), "pointer": ("long", 0), "TI": ("__int128", 0),
    "SF": ("float", 1), "DF": ("double", 1), "XF": ("long double", 1), "TF": ("_Float128", 1),
}  # fmt: skip
_KINDS: dict[str, Any] = {
    "void": "void", "_Bool": "bool", "float": "float", "double": "float", "long double": "float",
    "char": "signed", "short": "signed", "int": "signed", "long": "signed",
    "long long": "signed", "signed char": "signed", "unsigned char": "unsigned",
    "unsigned short": "unsigned", "unsigned int": "unsigned", "unsigned long": "unsigned",
    "unsigned long long": "unsigned",
}  # fmt: skip
_WIDE = {"long", "unsigned long", "long long", "unsigned long long", "double"}


@dataclass(eq=False, slots=True)
class Scope:
    """A block; the outermost one, without a parent, is the file. `label` is the function.

    `locals` are the variables declared in it, by numbers that frames.py gives them; they hide
    typedefs of their names.
    """

    parent: Scope | None = None
    label: str = ""
    tags: dict[str, TypeIndex] = field(default_factory=dict)
    typedefs: dict[str, TypeIndex] = field(default_factory=dict)
    locals: dict[str, int] = field(default_factory=dict)

    def is_typedef(self, name: str) -> bool | None:
        """Tell whether `name` is a typedef's, None if no block says so or otherwise."""
        inner: Scope | None = self
        while inner is not None:
            if name in inner.typedefs:
                return True
            if name in inner.locals:
                return False
            inner = inner.parent
        return None

    def local(self, name: str) -> int | None:
        """Return the number of the variable that `name` means here, None if there is none."""
        inner: Scope | None = self
        while inner is not None:
            if name in inner.locals:
                return inner.locals[name]
            inner = inner.parent
        return None


@dataclass(slots=True)
class _Found:
    """What is said on the declaration itself while its type is converted."""

    annotations: list[Annotation] = field(default_factory=list)
    binding: list[Annotation] = field(default_factory=list)
    """`E_G` on the base type, until a `*` or `[]` around it takes it."""
    layout: list[str] = field(default_factory=list)
    is_const: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredType:
    """A declared name with its type. `storage` is pycparser's list (`static`, `extern`, …)."""

    name: str
    type: TypeIndex
    annotations: Annotations
    const: bool
    offset: int
    is_typedef: bool


class TypeGraph:
    """The types of one unit, growing as declarations are converted."""

    def __init__(self, index: Index, locate: Callable[[int], Location]) -> None:
        self.index = index
        self.locate = locate
        self.types: list[Type] = []
        self.file = Scope()
        self.errors: list[KitsuneError] = []
        self.widths: dict[tuple[TypeIndex, int], str] = {}
        """By record and place of the field: the width of a bit-field that the compiler computes."""
        self.attached: set[int] = set()
        """Offsets of the annotations that found their place."""
        self.aligned: dict[TypeIndex, str] = {}
        """Layout attributes of typedefs, which their uses as fields inherit."""
        self.packs = _pack_states(index.scan.text)
        self._interned: dict[Any, TypeIndex] = {}
        self._waiting: list[Entry] = []
        self._expressions: dict[int, str] = {}
        self._nodes: dict[int, TypeIndex] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._const_typedefs: set[TypeIndex] = set()
        self._measured: set[str] = set()
        """Variables whose `typeof` is being found: `typeof(x) x;` is no C, but hangs nobody."""

    # -- entries ------------------------------------------------------------------------------

    def declare(self, entry: Entry) -> list[DeclaredType]:
        """Convert a file-scope declaration once; later calls return nothing."""
        if entry.parsed:
            return []
        entry.parsed = True
        try:
            found = self.index.normalised(entry)
            return self.convert(found, self.file)
        except Misunderstood as trouble:
            self.index.troubles.append((entry, trouble))
            return []

    def convert(self, found: Normalised, scope: Scope) -> list[DeclaredType]:
        """Convert a normalised declaration that stands in `scope`. Raises `Misunderstood`."""
        nodes = parse(found.ready, self._prelude(found, scope))
        self._expressions = found.expressions
        self._nodes = {}
        return [declared for node in nodes for declared in self._declaration(node, scope)]

    def settle(self) -> None:
        """Pull in everything that is named and not yet declared."""
        while self._waiting:
            self.declare(self._waiting.pop())
        for at, node in enumerate(self.types):
            if isinstance(node, Typedef) and node.to == UNKNOWN:
                self.types[at] = dataclasses.replace(node, to=self.unknown())

    def unknown(self, name: str = "") -> TypeIndex:
        """Return a new type of which nothing is known but what the compiler says of its uses."""
        return self._add(Scalar(name or UNKNOWN_TYPE, "other"))

    def is_function(self, type_index: TypeIndex) -> bool:
        """Tell whether a type is a function's, behind typedefs too."""
        node = self.types[type_index]
        while isinstance(node, Typedef) and node.to != UNKNOWN:
            node = self.types[node.to]
        return isinstance(node, Function)

    def _prelude(self, found: Normalised, scope: Scope) -> set[str]:
        return {name for name in found.names if self.is_typedef(name, scope)}

    def is_typedef(self, name: str, scope: Scope) -> bool:
        """Tell whether `name` is a typedef's at a place in `scope`."""
        found = scope.is_typedef(name)
        return self.index.is_typedef(name) if found is None else found

    # -- declarations -------------------------------------------------------------------------

    def _declaration(self, node: c_ast.Node, scope: Scope) -> Iterator[DeclaredType]:
        if isinstance(node, c_ast.Typedef):
            yield self._typedef(node, scope)
        elif isinstance(node, c_ast.Decl):
            found = _Found()
            self._attributes(node.attributes, found)
            type_index = self._type(node.type, scope, found)
            type_index = self._apply_layout(type_index, found)
            if node.name is not None:
                annotations = (*found.annotations, *found.binding)
                offset = self._offset(node)
                yield DeclaredType(
                    node.name, type_index, annotations, found.is_const, offset, False
                )

    def _typedef(self, node: c_ast.Typedef, scope: Scope) -> DeclaredType:
        found = _Found()
        self._attributes(node.attributes, found)
        to = self._apply_layout(self._type(node.type, scope, found), found)
        annotations = (*found.annotations, *found.binding)
        offset = self._offset(node)
        index = scope.typedefs.get(node.name)
        if index is None:
            index = self._new_typedef(node.name, scope)
        old = cast(Typedef, self.types[index])
        if old.to != UNKNOWN:
            to = old.to
            annotations = (*old.annotations, *(a for a in annotations if a not in old.annotations))
        self.types[index] = dataclasses.replace(
            old,
            to=to,
            annotations=annotations,
            at=self.locate(offset),
            system=self.index.scan.in_system(offset),
        )
        self._name_anonymous(to, node.name)
        layout = [text for text in found.layout if text.startswith("aligned")]
        if layout:
            self.aligned[index] = ", ".join(layout)
        if found.is_const:
            self._const_typedefs.add(index)
        return DeclaredType(node.name, index, annotations, found.is_const, offset, True)

    def _new_typedef(self, name: str, scope: Scope) -> TypeIndex:
        index = self._add(Typedef(name, UNKNOWN, scope=scope.label))
        scope.typedefs[name] = index
        return index

    def _name_anonymous(self, index: TypeIndex, name: str) -> None:
        node = self.types[index]
        if isinstance(node, Record | Enum) and not node.tag and not node.typedef_name:
            self.types[index] = dataclasses.replace(node, typedef_name=name)

    def _offset(self, node: Any) -> int:
        """Return the offset of the name that `node` declares."""
        inner = node
        while inner is not None and not isinstance(inner, c_ast.TypeDecl):
            inner = getattr(inner, "type", None)
        for each in (inner, node):
            if each is not None and getattr(each, "coord", None) is not None:
                return int(each.coord.line)
        return 0

    # -- attributes ---------------------------------------------------------------------------

    def _attributes(self, groups: Any, found: _Found, own: list[Annotation] | None = None) -> None:
        """Sort attributes: layouts, and annotations into `own` or those of the declaration."""
        for group in groups or ():
            for attribute in group.attributes:
                if attribute.name == "kt_layout":
                    found.layout.append(attribute.arguments)
                else:
                    annotation = self._annotation(attribute)
                    (found.annotations if own is None else own).append(annotation)

    def _annotation(self, attribute: c_ast.Attribute) -> Annotation:
        kind = attribute.name.removeprefix("kt_")
        offset = int(attribute.coord.line)
        self.attached.add(offset)
        at = self.locate(offset)
        text = attribute.arguments or ""
        pattern = _ARGUMENTS.get(kind)
        if pattern is None or not pattern.match(text):
            self.errors.append(_bad_arguments(kind, text, at))
        return Annotation(cast(AnnotationKind, kind), text, at)

    # -- types --------------------------------------------------------------------------------

    def _type(self, node: Any, scope: Scope, found: _Found) -> TypeIndex:
        match node:
            case c_ast.TypeDecl():
                self._attributes(node.attributes, found)
                return self._qualified(node, scope, found)
            case c_ast.PtrDecl():
                return self._pointer(node, scope, found)
            case c_ast.ArrayDecl():
                return self._array(node, scope, found)
            case c_ast.FuncDecl():
                return self._function(node, scope, found)
            case c_ast.AttributedType():
                return self._attributed(node, scope, found)
            case _:
                return self._base(node, scope, found)

    def _qualified(self, node: c_ast.TypeDecl, scope: Scope, found: _Found) -> TypeIndex:
        index = self._type(node.type, scope, found)
        quals = node.quals or []
        found.is_const = "const" in quals or found.is_const or index in self._const_typedefs
        if "_Atomic" in quals:
            return self._atomic(index)
        return index

    def _atomic(self, index: TypeIndex) -> TypeIndex:
        node = self.types[index]
        if isinstance(node, Scalar) and not node.name.startswith("_Atomic"):
            return self.intern(Scalar(f"_Atomic {node.name}", node.kind))
        return index

    def _pointer(self, node: c_ast.PtrDecl, scope: Scope, found: _Found) -> TypeIndex:
        own: list[Annotation] = []
        self._attributes(node.attributes, found, own)
        to = self._type(node.type, scope, found)
        own += found.binding
        found.binding = []
        const_target = found.is_const
        found.is_const = "const" in (node.quals or [])
        return self.intern(Pointer(to, tuple(own), const_target))

    def _array(self, node: c_ast.ArrayDecl, scope: Scope, found: _Found) -> TypeIndex:
        own: list[Annotation] = []
        self._attributes(node.attributes, found, own)
        of = self._type(node.type, scope, found)
        found.annotations += [a for a in own if a.kind not in {"array", "g"}]
        kept = [a for a in own if a.kind in {"array", "g"}] + found.binding
        found.binding = []
        if node.dim is None:
            return self.intern(Array(of, None, tuple(kept)))
        length = _number(node.dim)
        if length is None:
            return self._add(Array(of, UNKNOWN, tuple(kept)))
        return self.intern(Array(of, length, tuple(kept)))

    def _function(self, node: c_ast.FuncDecl, scope: Scope, found: _Found) -> TypeIndex:
        self._attributes(node.attributes, found)
        own = _Found()
        result = self._type(node.type, scope, own)
        found.annotations += own.annotations
        found.layout += own.layout
        found.is_const = False
        if node.args is None:
            return self.intern(Function(result, (), prototype=False))
        # A type that is defined among the parameters cannot be named behind them.
        inner = Scope(scope, scope.label or "parameters")
        parameters = []
        variadic = False
        prototype = True
        for parameter in node.args.params:
            if isinstance(parameter, c_ast.EllipsisParam):
                variadic = True
            elif isinstance(parameter, c_ast.ID):
                prototype = False
            else:
                parameters.append(self._parameter(parameter, inner))
        if [self.types[p.type] for p in parameters] == [Scalar("void", "void")]:
            parameters = []
        return self.intern(Function(result, tuple(parameters), variadic, prototype))

    def _parameter(self, node: Any, scope: Scope) -> Parameter:
        found = _Found()
        self._attributes(node.attributes, found)
        index = self._type(node.type, scope, found)
        declared = self.types[index]
        if isinstance(declared, Array):
            kept = tuple(a for a in declared.annotations if a.kind == "g")
            index = self.intern(Pointer(declared.of, kept, found.is_const))
        elif isinstance(declared, Function):
            index = self.intern(Pointer(index))
        return Parameter(node.name or "", index)

    def _attributed(self, node: c_ast.AttributedType, scope: Scope, found: _Found) -> TypeIndex:
        """Attributes among the specifiers: on the base type (`E_T`, `E_G`) or the declaration."""
        own: list[Annotation] = []
        self._attributes(node.attributes, found, own)
        parameter = next((a for a in own if a.kind == "t" and a.text.startswith("@")), None)
        bindings = [a for a in own if a.kind == "g"]
        found.annotations += [a for a in own if a is not parameter and a.kind != "g"]
        index = self._type(node.type, scope, found)
        found.binding += bindings
        if parameter:
            return self.intern(TypeParameter(parameter.text))
        return index

    def _base(self, node: Any, scope: Scope, found: _Found) -> TypeIndex:
        match node:
            case c_ast.IdentifierType(names=names):
                return self._named(names, scope)
            case c_ast.Struct() | c_ast.Union():
                return self._record(node, scope)
            case c_ast.Enum():
                return self._enum(node, scope)
            case c_ast.Typename():
                self._attributes(node.attributes, found)
                return self._type(node.type, scope, found)
            case c_ast.TypeOf():
                return self._type_of(node.expr, scope, found)
            case _:
                return self._bit_int(node)

    def _bit_int(self, node: Any) -> TypeIndex:
        width = _number(node.width) if isinstance(node, c_ast.BitIntType) else None
        if width is None:
            return self.unknown()
        sign = "unsigned " if node.signedness == "unsigned" else ""
        return self.intern(Scalar(f"{sign}_BitInt({width})", "other"))

    def _type_of(self, operand: Any, scope: Scope, found: _Found) -> TypeIndex:
        """Return the type of `typeof`; of expressions, only a variable's is known to us."""
        if isinstance(operand, c_ast.Typename):
            return self._type(operand, scope, found)
        variable = self.index.variables.get(operand.name)
        if variable is None or variable.name in self._measured:
            return self.unknown()
        self._measured.add(variable.name)
        saved = (self._expressions, self._nodes)
        declared = [d for entry, _ in variable.uses for d in self._again(entry)]
        self._expressions, self._nodes = saved
        self._measured.remove(variable.name)
        return next((d.type for d in declared if d.name == variable.name), self.unknown())

    def _again(self, entry: Entry) -> list[DeclaredType]:
        try:
            return self.convert(self.index.normalised(entry), self.file)
        except Misunderstood:
            return []

    def _named(self, names: list[str], scope: Scope) -> TypeIndex:
        name = names[0]
        if len(names) == 1 and name not in _KINDS:
            found = self._find_typedef(name, scope)
            if found is not None:
                return found
        if any(each in BUILTIN_TYPES for each in names):  # `_Complex _Float64`
            return self.intern(Scalar(" ".join(names), "other"))
        return self.intern(_scalar(names))

    def _find_typedef(self, name: str, scope: Scope) -> TypeIndex | None:
        inner: Scope | None = scope
        while inner is not None:
            if name in inner.typedefs:
                return inner.typedefs[name]
            inner = inner.parent
        entry = self.index.typedefs.get(name)
        if entry is not None:
            self._waiting.append(entry)
            return self._new_typedef(name, self.file)
        builtin = BUILTIN_TYPES.get(name)
        if builtin is None:
            return None
        if not builtin:
            return self.unknown()
        kind = _KINDS.get(builtin, "other")
        return self.intern(Scalar(builtin, kind))

    # -- records and enumerations -------------------------------------------------------------

    def _tag(self, keyword: str, tag: str, scope: Scope, *, defines: bool) -> TypeIndex:
        """Return the type of a tag: of this very block if it is defined here, else the visible."""
        key = f"{keyword} {tag}"
        inner: Scope | None = scope
        while inner is not None:
            if key in inner.tags:
                return inner.tags[key]
            inner = None if defines else inner.parent
        where = scope if defines else self.file
        empty: Type = (
            Enum(tag, (), complete=False, scope=self._label(where, key))
            if keyword == "enum"
            else Record(cast(Any, keyword), tag, (), False, scope=self._label(where, key))
        )
        index = self._add(empty)
        where.tags[key] = index
        if where is self.file and not defines and key in self.index.tags:
            self._waiting.append(self.index.tags[key])
        return index

    def _label(self, scope: Scope, key: str) -> str:
        """Return the scope's label: the function, with an ordinal from its second such type on."""
        if not scope.label:
            return ""
        count = self._counts[scope.label, key] = self._counts.get((scope.label, key), 0) + 1
        return scope.label if count == 1 else f"{scope.label}#{count}"

    def _record(self, node: c_ast.Struct | c_ast.Union, scope: Scope) -> TypeIndex:
        if id(node) in self._nodes:
            return self._nodes[id(node)]
        keyword = "struct" if isinstance(node, c_ast.Struct) else "union"
        found = _Found()
        self._attributes(node.attributes, found)
        if node.name:
            index = self._tag(keyword, node.name, scope, defines=node.decls is not None)
        else:
            label = self._label(scope, f"{keyword} ")
            index = self._add(Record(cast(Any, keyword), "", (), False, scope=label))
        self._nodes[id(node)] = index
        known = cast(Record, self.types[index])
        if node.decls is None or known.complete:
            return index
        offset = int(node.coord.line)
        pack = self.packs.at(offset)
        fields = self._fields(node, scope, index, pack)
        layout = [*found.layout, *(["packed"] if pack == 1 else [])]
        self.types[index] = dataclasses.replace(
            cast(Record, self.types[index]),
            fields=tuple(fields),
            complete=True,
            attributes=_attribute_text(layout),
            annotations=tuple(found.annotations),
            at=self.locate(offset),
            system=self.index.scan.in_system(offset),
        )
        return index

    def _fields(self, node: Any, scope: Scope, record: TypeIndex, pack: int) -> list[Field]:
        fields: list[Field] = []
        for declaration in node.decls:
            if isinstance(declaration, c_ast.Decl):
                fields.append(self._field(declaration, scope, (record, len(fields)), pack))
        return fields

    def _field(
        self, node: c_ast.Decl, scope: Scope, place: tuple[TypeIndex, int], pack: int
    ) -> Field:
        found = _Found()
        self._attributes(node.attributes, found)
        index = self._apply_layout(self._type(node.type, scope, found), found)
        bits = None
        if node.bitsize is not None:
            bits = _number(node.bitsize)
            if bits is None:
                bits = UNKNOWN
                self.widths[place] = self._expressions[int(node.bitsize.coord.line)]
        layout = [t for t in found.layout if not t.startswith(("mode", "vector_size"))]
        if index in self.aligned:
            layout.append(self.aligned[index])
        if pack > 1 and not layout and self._alignment(index) > pack:
            layout = ["packed", f"aligned({pack})"]
        return Field(
            node.name or "",
            index,
            bits=bits,
            annotations=(*found.annotations, *found.binding),
            at=self.locate(self._offset(node)),
            align_as=_attribute_text(layout),
        )

    def _alignment(self, index: TypeIndex) -> int:
        """Return the least alignment that a type surely has."""
        node = self.types[index]
        while isinstance(node, Array):
            node = self.types[node.of]
        if isinstance(node, Pointer) or (isinstance(node, Scalar) and node.name in _WIDE):
            return 8
        return 1

    def _enum(self, node: c_ast.Enum, scope: Scope) -> TypeIndex:
        if id(node) in self._nodes:
            return self._nodes[id(node)]
        if node.name:
            index = self._tag("enum", node.name, scope, defines=node.values is not None)
        else:
            index = self._add(Enum("", (), complete=False, scope=self._label(scope, "enum ")))
        self._nodes[id(node)] = index
        if node.underlying_type is not None:
            self._type(node.underlying_type, scope, _Found())
        known = cast(Enum, self.types[index])
        if node.values is None or known.complete:
            return index
        names = [e.name for e in node.values.enumerators if isinstance(e, c_ast.Enumerator)]
        self.types[index] = dataclasses.replace(
            known,
            enumerators=tuple((name, UNKNOWN) for name in names),
            complete=True,
            at=self.locate(int(node.coord.line)),
        )
        return index

    # -- attributes that change a type --------------------------------------------------------

    def _apply_layout(self, index: TypeIndex, found: _Found) -> TypeIndex:
        for text in found.layout:
            name, _, arguments = text.partition("(")
            argument = arguments.rstrip(")").strip()
            if name == "mode":
                index = self._mode(index, argument.strip("_"))
            elif name == "vector_size":
                index = self._vector(index, argument)
        return index

    def _mode(self, index: TypeIndex, mode: str) -> TypeIndex:
        node = self.types[index]
        name, is_float = _MODES.get(mode, ("", 0))
        if not isinstance(node, Scalar) or not name:
            return self.unknown()
        if is_float:
            return self.intern(Scalar(name, _KINDS.get(name, "other")))
        if name == "char" and node.kind == "signed":
            name = "signed char"
        elif node.kind == "unsigned":
            name = f"unsigned {name}"
        return self.intern(_scalar(name.split()))

    def _vector(self, index: TypeIndex, size: str) -> TypeIndex:
        node = self.types[index]
        name = node.name if isinstance(node, Scalar | Typedef) else ""
        if not name:
            return self.unknown()
        return self.intern(Scalar(f"{name} __attribute__((vector_size({size})))", "other"))

    # -- the list -----------------------------------------------------------------------------

    def _add(self, node: Type) -> TypeIndex:
        self.types.append(node)
        return len(self.types) - 1

    def intern(self, node: Type) -> TypeIndex:
        """Return the index of a type that is known by its content alone."""
        key = (type(node), node)
        if key not in self._interned:
            self._interned[key] = self._add(node)
        return self._interned[key]


@dataclass(frozen=True, slots=True)
class _Packs:
    offsets: tuple[int, ...]
    states: tuple[int, ...]

    def at(self, offset: int) -> int:
        """Return the `n` of `#pragma pack(n)` in force at `offset`, 0 if there is none."""
        state = 0
        for place, value in zip(self.offsets, self.states, strict=True):
            if place > offset:
                break
            state = value
        return state


def _pack_states(text: str) -> _Packs:
    if text.find("pragma pack") < 0:
        return _Packs((), ())
    stack: list[tuple[str, int]] = []
    current = 0
    offsets, states = [], []
    for match in _PRAGMA_PACK.finditer(text):
        words = [word.strip() for word in match.group(1).split(",")]
        numbers = [int(word) for word in words if word.isdigit()]
        names = [word for word in words[1:] if word and not word.isdigit()]
        if words[0] == "push":
            stack.append((names[0] if names else "", current))
        elif words[0] == "pop":
            current = _pop(stack, names, current)
        if numbers:
            current = numbers[0]
        elif words == [""]:
            current = 0
        offsets.append(match.end())
        states.append(current)
    return _Packs(tuple(offsets), tuple(states))


def _pop(stack: list[tuple[str, int]], names: list[str], current: int) -> int:
    while stack:
        name, value = stack.pop()
        if not names or name == names[0]:
            return value
    return current


def _attribute_text(layout: list[str]) -> str:
    return f"__attribute__(({', '.join(dict.fromkeys(layout))}))" if layout else ""


def _number(node: Any) -> int | None:
    if isinstance(node, c_ast.Constant):
        return integer(node.value)
    assert isinstance(node, c_ast.ID) and node.name == EXPRESSION
    return None


def _scalar(names: list[str]) -> Scalar:
    """Return the type of a list of specifiers, spelled in one way."""
    longs = names.count("long")
    if "_Complex" in names:
        real = "float" if "float" in names else "double"
        return Scalar(("long " if longs else "") + real + " _Complex", "complex")
    for name in ("void", "_Bool", "float"):
        if name in names:
            return Scalar(name, _KINDS[name])
    if "double" in names:
        return Scalar("long double" if longs else "double", "float")
    return _integer(names, longs)


def _integer(names: list[str], longs: int) -> Scalar:
    unsigned = "unsigned" in names
    if "__int128" in names:
        return Scalar(("unsigned " if unsigned else "") + "__int128", "other")
    if "char" in names:
        name = "signed char" if "signed" in names else "char"
        return Scalar("unsigned char", "unsigned") if unsigned else Scalar(name, "signed")
    base = "short" if "short" in names else ("int", "long", "long long")[min(longs, 2)]
    return Scalar(f"unsigned {base}", "unsigned") if unsigned else Scalar(base, "signed")


def _bad_arguments(kind: str, text: str, at: Location) -> KitsuneError:
    return KitsuneError(
        "K001",
        f"the argument of E_{kind.upper()} is not understood: '{text}'",
        at=at,
        hint=f"it takes {_WANTED.get(kind, 'none')}",
    )
