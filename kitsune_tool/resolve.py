"""What a type means, once typedefs, annotations and bindings of type parameters are taken in.

In: an annotated `Program` and an `Instance` (a type with what its surroundings say of it). Out: a
`View`: arithmetic, pointer to something in some manner, array, record, union, or bits to be kept.
Called by compare.py and plan.py, which never look at annotations themselves.

Errors in annotations (K102, K103) are raised where the type is first resolved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kitsune_tool import paths
from kitsune_tool.basic import add_basic
from kitsune_tool.declare import declare, strip, user_name
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.model import (
    UNKNOWN,
    Annotation,
    Annotations,
    Array,
    Enum,
    Field,
    Function,
    Pointer,
    Program,
    Record,
    Scalar,
    Type,
    Typedef,
    TypeIndex,
    TypeParameter,
    Variable,
)
from kitsune_tool.nearest import did_you_mean
from kitsune_tool.unions import Tags, annotation_of, tags_of

POINTER_BYTES = 8
"""Of the machines that the runtime knows (x86-64 and AArch64, LP64)."""

_MAX_BINDING_DEPTH = 16

Bindings: TypeAlias = "tuple[tuple[str, Instance | None], ...]"
"""What type parameters stand for, None for an opaque word."""
_FOLLOWED = frozenset({"ptr", "ptrarray", "sz", "element", "t"})
"""Annotations of a pointer that leads somewhere."""

Pending: TypeAlias = tuple[tuple[tuple[str, ...], Annotation], ...]
"""Annotations for members further down, each with the members' names that lead to it."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A type in its surroundings.

    `stars` are pointers around the type that only a binding wrote. `bindings` say what the type
    parameters in it stand for, None for an opaque word. `outside` are annotations of the field or
    variable that has this type; they go before those of the type itself.
    """

    type: TypeIndex
    stars: int = 0
    bindings: tuple[tuple[str, Instance | None], ...] = ()
    outside: Annotations = ()
    pending: Pending = ()


@dataclass(frozen=True, slots=True)
class Atom:
    """An arithmetic value, or one that is copied whole (`Scalar` of kind `other`)."""

    index: TypeIndex
    node: Scalar | Enum


@dataclass(frozen=True, slots=True)
class Ref:
    """A pointer. `length` is C text over `self`, of `array` only; `at` is the annotation's."""

    style: Literal["one", "array", "terminated", "function", "word"]
    target: Instance | None
    length: str = ""
    at: Location | None = None
    custom: str = ""


@dataclass(frozen=True, slots=True)
class Vector:
    """An array. Without a `length`, `expression` (C text over `self`) gives it, if not empty."""

    of: Instance
    length: int | None
    expression: str = ""
    at: Location | None = None


@dataclass(frozen=True, slots=True)
class Compound:
    """A struct or union. `bindings` are those of its own parameters; `tags` (of a union) tell which
    member is in use, `tags_at` is where the manifest says so.
    """

    index: TypeIndex
    node: Record
    bindings: tuple[tuple[str, Instance | None], ...] = ()
    pending: Pending = ()
    tags: Tags | None = None
    tags_at: Location | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Choice:
    """A pointer of which a tag tells to what it points; `of` is the same pointer without it."""

    tags: Tags
    of: Instance
    at: Location | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Bits:
    """Something that is copied and not looked into; `size` in bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that is not migrated."""


View: TypeAlias = Atom | Ref | Vector | Compound | Choice | Bits | Ignored


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct, those of its anonymous structs included.

    `name` is empty for an anonymous union. `offset` is unknown for a bit-field.
    """

    name: str
    field: Field
    instance: Instance
    offset: int


class World:
    """A program, ready to be asked what its types mean."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.types, self._basic = add_basic(program.types)
        self.variables = {variable.key: variable for variable in program.variables}
        self.functions = {f.key: f for f in program.functions if f.defined}
        self._named: dict[str, list[TypeIndex]] = {}
        self._resolved: dict[Instance, View] = {}
        self._nameless: dict[TypeIndex, dict[str, None]] | None = None
        for index, node in enumerate(program.types):
            for name in _names(node):
                self._named.setdefault(name, []).append(index)

    def is_basic(self, index: TypeIndex) -> bool:
        """Tell whether a type is one of C's that the program's record lacks."""
        return index >= len(self.program.types)

    def variable_instance(self, variable: Variable) -> Instance:
        """Return the instance of a variable's type."""
        here, below = _split(variable.annotations)
        return self._instance(variable.type, (), here, below)

    def bindings_of(self, instance: Instance) -> Bindings:
        """Return what the type parameters stand for inside of a value of this type."""
        view = self.resolve(instance)
        return view.bindings if isinstance(view, Compound) else instance.bindings

    def find(self, name: str) -> TypeIndex | None:
        """Return the type called `struct s`, `union u`, `enum e`, `t` or `unsigned long`."""
        return next(iter(self.find_all(name)), None)

    def find_all(self, name: str) -> Sequence[TypeIndex]:
        """Return all types of that name: each unit may have its own `struct s`."""
        return self._named.get(name, ())

    def nameless(self, index: TypeIndex) -> tuple[str, ...]:
        """Return the names of a record without tag and typedef: those of what has its type."""
        node = self.types[index]
        if not isinstance(node, Record) or node.tag or node.typedef_name:
            return ()
        if self._nameless is None:
            self._nameless = self._name_nameless()
        return tuple(f"{node.kind} {name}" for name in self._nameless.get(index, ()))

    def _name_nameless(self) -> dict[TypeIndex, dict[str, None]]:
        found: dict[TypeIndex, dict[str, None]] = {}
        members = ((f.name, f.type) for t in self.types if isinstance(t, Record) for f in t.fields)
        variables = ((v.name, v.type) for v in self.program.variables)
        for name, index in (*members, *variables):
            if name:
                found.setdefault(self._innermost(index), {})[name] = None
        return found

    def _innermost(self, index: TypeIndex) -> TypeIndex:
        """Return the type behind typedefs, arrays and pointers."""
        while isinstance(node := self.types[index], Typedef | Array | Pointer):
            index = node.of if isinstance(node, Array) else node.to
        return index

    def is_mentioned(self, name: str) -> bool:
        """Tell whether there is a struct or union called `name`, be it incomplete."""
        kind, _, tag = name.partition(" ")
        return any(
            isinstance(node, Record) and (node.kind, node.tag) == (kind, tag) for node in self.types
        )

    def is_defined(self, name: str) -> bool:
        """Tell whether some unit knows the definition of the struct or union called `name`."""
        index = self.find(name)
        return index is not None and isinstance(self.types[index], Record)

    def resolve(self, instance: Instance) -> View:
        """Return what `instance` means. Raises `KitsuneError`."""
        view = self._resolved.get(instance)
        if view is None:
            view = self._resolved[instance] = self._resolve(instance)
        return view

    def typedefs(self, instance: Instance) -> tuple[str, ...]:
        """Return the typedefs' names through which the type is written, outermost first."""
        names = []
        index = instance.type
        while not instance.stars and isinstance(node := self.types[index], Typedef):
            names.append(node.name)
            index = node.to
        return tuple(names)

    def stripped(self, instance: Instance) -> TypeIndex:
        """Return the type behind the typedefs, whatever is around it."""
        return strip(self.types, instance.type)

    def node(self, instance: Instance) -> Type:
        """Return the type behind the typedefs; not for an instance with stars."""
        return self.types[self.stripped(instance)]

    def size(self, instance: Instance) -> int:
        """Return the size in bytes, `UNKNOWN` for what has none."""
        if instance.stars:
            return POINTER_BYTES
        node = self.node(instance)
        match node:
            case Pointer():
                return POINTER_BYTES
            case Array(size=size, length=length, of=of):
                if size == UNKNOWN and length is not None:
                    return length * self.size(Instance(of))
                return 0 if size == UNKNOWN else size
            case Scalar(size=size) | Record(size=size) | Enum(size=size):
                return size
            case _:
                return UNKNOWN

    def align(self, instance: Instance) -> int:
        """Return the alignment in bytes; 1 for what has none."""
        if instance.stars:
            return POINTER_BYTES
        node = self.node(instance)
        match node:
            case Pointer():
                return POINTER_BYTES
            case Array(of=of):
                return self.align(Instance(of))
            case Scalar(align=align) | Record(align=align) | Enum(align=align):
                return align if align > 0 else 1
            case _:
                return 1

    def spell(self, instance: Instance, inner: str = "") -> str:
        """Return the type as the user would write it."""
        stars = "*" * instance.stars
        return declare(self.types, instance.type, stars + inner, self._user_name)

    def _user_name(self, index: TypeIndex) -> str:
        return user_name(self.types, index)

    def place(self, instance: Instance) -> Location | None:
        """Return where the record, enum or typedef is defined."""
        index = instance.type
        while True:
            node = self.types[index]
            match node:
                case Record(at=at) | Enum(at=at):
                    return at
                case Typedef(to=to, at=at):
                    if not isinstance(self.types[strip(self.types, to)], Record | Enum):
                        return at
                    index = to
                case Pointer(to=to):
                    index = to
                case Array(of=of):
                    index = of
                case _:
                    return None

    def members(self, compound: Compound) -> Iterator[Member]:
        """Yield the members, anonymous structs opened, unnamed bit-fields left out."""
        return self._members(compound, compound.node, 0)

    def member(self, compound: Compound, name: str) -> Member | None:
        """Return the member `name`, also one of an anonymous union; its offset is that in it."""
        for member in self.members(compound):
            if member.name == name:
                return member
            inner = None if member.name else self.resolve(member.instance)
            found = self.member(inner, name) if isinstance(inner, Compound) else None
            if found is not None:
                return found
        return None

    def outer_member(self, index: TypeIndex, name: str) -> tuple[Instance, int] | None:
        """Return the member `name` of the structs around the nameless struct `index`: its type, and
        how many bytes behind the start of that struct it is. None if it has no one place.
        """
        node = self.types[index]
        if not isinstance(node, Record) or node.tag or node.typedef_name:
            return None
        found = {self._beside(outer, offset, name) for outer, offset in self._places_of(index)}
        return found.pop() if len(found) == 1 else None

    def _places_of(self, index: TypeIndex) -> Iterator[tuple[TypeIndex, int]]:
        """Yield the records that have a member of this type, and where."""
        for outer, node in enumerate(self.types):
            if isinstance(node, Record):
                for each in node.fields:
                    if strip(self.types, each.type) == index:
                        yield outer, each.offset_bytes

    def _beside(self, outer: TypeIndex, offset: int, name: str) -> tuple[Instance, int] | None:
        view = self.resolve(Instance(outer))
        members = self.members(view) if isinstance(view, Compound) else ()
        for member in members:
            if member.name == name and member.offset != UNKNOWN:
                return member.instance, member.offset - offset
        further = self.outer_member(outer, name)
        return None if further is None else (further[0], further[1] - offset)

    def alternatives(self, union: Compound) -> tuple[tuple[Member, ...], ...]:
        """Return the members of a union that are in use together: those of one anonymous struct."""
        found: list[tuple[Member, ...]] = []
        for each in union.node.fields:
            one = dataclasses.replace(union.node, fields=(each,))
            found.append(tuple(self._members(union, one, 0)))
        return tuple(members for members in found if members)

    def _members(self, compound: Compound, record: Record, base: int) -> Iterator[Member]:
        for each in record.fields:
            offset = UNKNOWN if each.offset_bytes == UNKNOWN else base + each.offset_bytes
            inner = self.types[strip(self.types, each.type)]
            if each.name:
                here, below = _below(compound.pending, each.name)
                notes, deeper = _split(each.annotations)
                instance = self._instance(
                    each.type, compound.bindings, here + notes, below + deeper
                )
                yield Member(each.name, each, instance, offset)
            elif isinstance(inner, Record) and inner.kind == "struct":
                yield from self._members(compound, inner, max(offset, 0))
            elif isinstance(inner, Record):
                here, _ = _below(compound.pending, anonymous_name(self.types, inner))
                if compound.tags is not None:  # a union in a union: the same tag tells of both
                    here += (annotation_of(compound.tags, compound.tags_at),)
                instance = Instance(each.type, 0, compound.bindings, here, compound.pending)
                yield Member("", each, instance, offset)

    def _instance(
        self,
        index: TypeIndex,
        bindings: tuple[tuple[str, Instance | None], ...],
        outside: Annotations,
        pending: Pending,
    ) -> Instance:
        """Make an instance in its canonical form, so that equal ones are found equal."""
        node = self.types[strip(self.types, index)]
        if isinstance(node, Scalar | Enum):
            bindings = ()
            outside = tuple(a for a in outside if a.kind in {"opaque", "ignore"})
        return Instance(index, 0, bindings, outside, pending)

    def _resolve(self, instance: Instance) -> View:  # noqa: PLR0911 - one case per kind of type
        notes, index = self._peel(instance)
        own = notes if instance.stars else notes + _own_annotations(self.types[index])
        own = _nearest_said(own)
        if _note(own, "ignore"):
            return Ignored()
        if _note(own, "opaque"):
            return Bits(self.size(instance))
        tagged = _note(notes, "union")
        if tagged is not None and (instance.stars or isinstance(self.types[index], Pointer)):
            rest = tuple(a for a in notes if a.kind != "union")
            of = dataclasses.replace(instance, type=index, outside=rest)
            return Choice(tags_of(tagged), of, tagged.at)
        if instance.stars:
            target = Instance(instance.type, instance.stars - 1, instance.bindings)
            return self._ref(instance, target, notes)
        node = self.types[index]
        match node:
            case Scalar() | Enum():
                return Atom(index, node)
            case Pointer(to=to):
                target = self._instance(to, instance.bindings, (), instance.pending)
                return self._pointer(instance, target, notes + node.annotations)
            case Array():
                return self._vector(instance, node, notes + node.annotations)
            case Record():
                return self._compound(instance, index, node, notes + node.annotations)
            case TypeParameter(name=name):
                return self._parameter(instance, name, notes)
            case Function() | Typedef():
                return Bits(0)

    def _peel(self, instance: Instance) -> tuple[Annotations, TypeIndex]:
        """Return the annotations from outside and of the typedefs, and the type behind these."""
        notes = instance.outside
        index = instance.type
        while not instance.stars and isinstance(node := self.types[index], Typedef):
            notes += tuple(a for a in node.annotations if not a.path)
            index = node.to
        return notes, index

    def _pointer(self, instance: Instance, target: Instance, notes: Annotations) -> View:
        parameter = _note(notes, "t")
        if parameter is None:
            return self._ref(instance, target, notes)
        bound = self._parameter(instance, parameter.text, notes)
        return bound if isinstance(bound, Ref) else Bits(POINTER_BYTES)

    def _ref(self, instance: Instance, target: Instance, notes: Annotations) -> View:
        element = _note(notes, "element")
        if element is not None:
            bound = self.bind(element.text, instance.bindings, element.at, instance.type)
            if bound is None:
                return Bits(POINTER_BYTES)
            target = bound
        inward = tuple(_here(a) for a in notes if a.kind in {"g", "case"} and not a.path)
        if inward:
            target = Instance(target.type, target.stars, target.bindings, inward, target.pending)
        if not target.stars:
            node = self.node(target)
            if isinstance(node, Function):
                return Ref("function", None)
            if isinstance(node, Scalar) and node.kind == "void":
                return Ref("word", None)
            if isinstance(node, TypeParameter):
                bound_to = self._lookup(instance, node.name)
                if bound_to is None:
                    return Bits(POINTER_BYTES)
                if isinstance(bound_to, str):
                    return Ref("word", None)
                target = bound_to
        return _in_style(target, notes)

    def _parameter(self, instance: Instance, name: str, notes: Annotations) -> View:
        """Return what a value is whose type is the parameter itself."""
        bound = self._lookup(instance, name)
        if bound is None:
            return Bits(POINTER_BYTES)
        if isinstance(bound, str):
            return Ref("word", None)
        kept = tuple(a for a in notes if a.kind in {"ptrarray", "sz", "custom", "element"})
        return self.resolve(
            Instance(bound.type, bound.stars, bound.bindings, kept + bound.outside, bound.pending)
        )

    def _lookup(self, instance: Instance, name: str) -> Instance | str | None:
        """Return what a parameter stands for; its own name if nothing binds it."""
        name = name if name.startswith("@") else "@" + name
        for parameter, bound in instance.bindings:
            if parameter == name:
                return bound
        return name

    def _vector(self, instance: Instance, node: Array, notes: Annotations) -> Vector:
        length_note = _note(notes, "array")
        rest = tuple(a for a in notes if a.kind not in {"array"} and a.kind != "ptr")
        of = self._instance(node.of, instance.bindings, rest, instance.pending)
        if length_note is not None:
            return Vector(of, node.length or None, length_note.text, length_note.at)
        return Vector(of, node.length)

    def _compound(
        self, instance: Instance, index: TypeIndex, node: Record, notes: Annotations
    ) -> Compound:
        below = tuple((tuple(a.path.split(".")), a) for a in node.annotations if a.path)
        pending = instance.pending + below
        said = (a for a in notes if a.kind in {"union", "case"} and not a.path)
        tagged = next(said, None) if node.kind == "union" else None
        tags = tags_of(tagged) if tagged is not None else None
        tags_at = tagged.at if tagged is not None else None
        generic = _note(notes, "generic") or self._typedef_generic(instance)
        if generic is None:
            anonymous = not node.tag and not node.typedef_name
            bindings = instance.bindings if anonymous else ()
            return Compound(index, node, bindings, pending, tags, tags_at)
        names = [each.strip() for each in generic.text.split(",")]
        use = _note(notes, "g")
        if use is None:
            return Compound(index, node, (), pending, tags, tags_at)
        bound = self.bind_all(use.text, instance.bindings, use.at)
        if len(bound) != len(names):
            raise KitsuneError(
                "K103",
                f"{self.spell(Instance(index))} has {len(names)} type parameters"
                f" ({', '.join(names)}), but '{use.text}' binds {len(bound)}",
                at=use.at,
            )
        pairs = zip((n if n.startswith("@") else "@" + n for n in names), bound, strict=True)
        return Compound(index, node, tuple(pairs), pending, tags, tags_at)

    def _typedef_generic(self, instance: Instance) -> Annotation | None:
        """Return the `generic` of a typedef through which the record is written."""
        notes, _ = self._peel(instance)
        return _note(notes, "generic")

    def bind_all(
        self,
        text: str,
        bindings: tuple[tuple[str, Instance | None], ...],
        at: Location | None,
        context: TypeIndex | None = None,
    ) -> list[Instance | None]:
        """Return what the bindings in `text` mean, None for an opaque one. `context` is the type
        that is annotated: if several units have a type of a name, its units' is meant. Raises K103.
        """
        try:
            parsed = paths.parse_bindings(text)
        except ValueError as error:
            raise KitsuneError("K103", f"binding cannot be read: {error}", at=at) from error
        return [self._bound(each, bindings, at, context) for each in parsed]

    def bind(
        self,
        text: str,
        bindings: tuple[tuple[str, Instance | None], ...] = (),
        at: Location | None = None,
        context: TypeIndex | None = None,
    ) -> Instance | None:
        """Return what one binding means, None for an opaque one. Raises K103."""
        bound = self.bind_all(text, bindings, at, context)
        if len(bound) != 1:
            raise KitsuneError("K103", f"'{text}' is not one type", at=at)
        return bound[0]

    def _find_bound(
        self, binding: paths.Binding, at: Location | None, context: TypeIndex | None
    ) -> TypeIndex:
        """Return the type that a binding names, where several units may have one of that name."""
        name = binding.name
        found = [i for i in self._shared(name) if self.is_in(i, binding.unit)]
        if not found and not binding.unit and name in self._basic:
            return self._basic[name]
        if not found:
            where = f"'{binding.unit}' has" if binding.unit else "this program has"
            near = did_you_mean(name, [*self._named, *self._basic])
            raise KitsuneError("K103", f"{where} no type '{name}'{near}", at=at)
        if len(found) > 1 and context is not None:
            units = set(self._units(context))
            found = [i for i in found if units.issuperset(self._units(i))] or found
        if len(found) > 1 and isinstance(self.types[found[0]], Record):
            files = sorted({self.source_of(i) for i in found})
            if len(files) == len(found):
                raise KitsuneError(
                    "K103",
                    f"{len(found)} units have a '{name}' of their own: {', '.join(files)}",
                    at=at,
                    hint=f"name the one that is meant: {files[0]}/{name}",
                )
        return found[0]

    def _units(self, index: TypeIndex) -> tuple[int, ...]:
        known = self.program.type_units
        return known[index] if index < len(known) else ()

    def source_of(self, index: TypeIndex) -> str:
        """Return the first unit that knows a type."""
        units = self._units(index)
        return self.program.sources[units[0]] if units else ""

    def is_in(self, index: TypeIndex, unit: str) -> bool:
        """Tell whether the unit `unit`, or one whose path ends like that, knows a type."""
        names = [self.program.sources[each] for each in self._units(index)]
        return not unit or any(name == unit or name.endswith("/" + unit) for name in names)

    def is_shared(self, name: str) -> bool:
        """Tell whether several types of the program have this name."""
        return len(self._shared(name)) > 1

    def candidates(self, name: str) -> tuple[str, ...]:
        """Return the units that have a struct or union of their own of this name."""
        return tuple(dict.fromkeys(self.source_of(i) for i in self._shared(name)))

    def _shared(self, name: str) -> list[TypeIndex]:
        """Return the types of that name, those of functions left out if there are others."""
        found = list(self.find_all(name))
        return [i for i in found if not getattr(self.types[i], "scope", "")] or found

    def _bound(
        self,
        binding: paths.Binding,
        bindings: tuple[tuple[str, Instance | None], ...],
        at: Location | None,
        context: TypeIndex | None,
    ) -> Instance | None:
        if binding.kind == "opaque":
            return None
        if binding.kind == "parameter":
            known = dict(bindings)
            if binding.name not in known:
                raise KitsuneError("K103", f"type parameter {binding.name} is not bound", at=at)
            found = known[binding.name]
            if found is None:
                return None
            return Instance(found.type, found.stars + binding.stars, found.bindings, found.outside)
        index = self._find_bound(binding, at, context)
        outside: Annotations = ()
        if binding.arguments:
            outside = (Annotation("g", ", ".join(map(_text, binding.arguments)), at),)
            instance = Instance(index, binding.stars, bindings, outside)
            if _depth(instance) > _MAX_BINDING_DEPTH:
                raise KitsuneError("K103", f"'{binding.name}' is bound without end", at=at)
            return instance
        return Instance(index, binding.stars)


def anonymous_name(types: Sequence[Type], record: Record) -> str:
    """Return what stands for an anonymous union in an annotation's path: its first member."""
    for each in record.fields:
        inner = types[strip(types, each.type)]
        if each.name:
            return f"{{{each.name}}}"
        if isinstance(inner, Record) and (name := anonymous_name(types, inner)):
            return name
    return ""


def with_note(instance: Instance, *notes: Annotation) -> Instance:
    """Return the instance with annotations in front of those that it has."""
    said = {note.kind for note in notes}
    rest = tuple(a for a in instance.outside if a.kind not in said or a.path)
    return dataclasses.replace(instance, outside=(*notes, *rest))


def _in_style(target: Instance, notes: Annotations) -> Ref:
    custom = _note(notes, "custom")
    text = custom.text if custom else ""
    if _note(notes, "sz"):
        return Ref("terminated", target, custom=text)
    length = _note(notes, "ptrarray") or _note(notes, "array")
    if length is not None:
        return Ref("array", target, length.text, length.at, text)
    return Ref("one", target, custom=text)


def _own_annotations(node: Type) -> Annotations:
    """Return what is written on a type itself, such as on the `*` of a pointer."""
    if isinstance(node, Pointer | Array | Record):
        return tuple(a for a in node.annotations if not a.path)
    return ()


def _nearest_said(notes: Annotations) -> Annotations:
    """Return the annotations, nearest first, but no `opaque` behind one that it denies.

    What is said of a member in one place goes before what is said of its type.
    """
    for number, note in enumerate(notes):
        if note.kind in _FOLLOWED and not note.path:
            rest = (a for a in notes[number:] if a.kind != "opaque" or a.path)
            return (*notes[:number], *rest)
    return notes


def _note(notes: Annotations, kind: str) -> Annotation | None:
    return next((note for note in notes if note.kind == kind and not note.path), None)


def _split(annotations: Annotations) -> tuple[Annotations, Pending]:
    """Part what is said of the thing itself from what is said of its members."""
    here = tuple(a for a in annotations if not a.path)
    below = tuple((tuple(a.path.split(".")), _here(a)) for a in annotations if a.path)
    return here, below


def _below(pending: Pending, name: str) -> tuple[Annotations, Pending]:
    here = tuple(_here(a) for path, a in pending if path == (name,))
    deeper = tuple((path[1:], a) for path, a in pending if path[0] == name and len(path) > 1)
    return here, deeper


def _here(annotation: Annotation) -> Annotation:
    return Annotation(annotation.kind, annotation.text, annotation.at)


def _text(binding: paths.Binding) -> str:
    """Return the binding as text again."""
    if binding.kind == "opaque":
        return "[opaque]"
    text = f"{binding.unit}/{binding.name}" if binding.unit else binding.name
    if binding.arguments:
        text += f"<{', '.join(map(_text, binding.arguments))}>"
    return text + "*" * binding.stars


def _depth(instance: Instance) -> int:
    inner = [bound for _, bound in instance.bindings if bound is not None]
    return 1 + max(map(_depth, inner), default=0)


def _names(node: Type) -> tuple[str, ...]:
    match node:
        case Record(kind=kind, tag=tag, complete=complete):
            return (f"{kind} {tag}",) if tag and complete else ()
        case Enum(tag=tag):
            return (f"enum {tag}",) if tag else ()
        case Typedef(name=name) | Scalar(name=name):
            return (name,)
        case _:
            return ()
