"""Random cases: every choice is made by one source, so that a seed repeats them.

`cases(flavour)` is the strategy of hypothesis, `drawn` gives many at once. A flavour says what the
cases of one program may have in common, so that what one of them does (something moves, something
is pointed into) does not hide what the tool decides for programs in which nobody does.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st

from pairs.cases import (
    OPAQUE,
    TAG,
    TAG_MASK,
    Array,
    Case,
    Code,
    Enumerator,
    EnumType,
    EnumUse,
    Flexible,
    Function,
    In,
    Length,
    Member,
    Named,
    Num,
    Object,
    Options,
    Parameter,
    Pointer,
    Record,
    Row,
    Rule,
    To,
    ToCode,
    ToText,
    Type,
    Typedef,
    Use,
    Value,
    Variable,
    Word,
    member_type,
    plain,
)
from pairs.emit import LIBRARY, SIGNATURES
from pairs.memory import FLOATS, INTEGERS, locations
from pairs.oracle import is_wider

_T = TypeVar("_T")
NUMBERS = (*INTEGERS, *FLOATS)
LONG_LIST = 400
HEAVY = 24
"""Numbers and pointers in one value, so that what is made of it stays small."""


_IN_USE = -1
"""Among what is known of a struct's members: which member of its union is in use."""
STRICT = Options()


@dataclass(frozen=True, slots=True)
class Flavour:
    """What the cases of one program have in common.

    `inside`: pointers into the middle of things. `changes`: types change, so that objects move.
    `wrong`: something is missing that the build must ask for. `told`: there are unions of which a
    tag tells which member is in use, and these may change and have pointers.
    """

    name: str
    options: Options = STRICT
    inside: bool = True
    changes: bool = True
    wrong: bool = False
    told: bool = False


FLAVOURS = (
    Flavour("open"),
    Flavour("lenient", Options(widen=True, grow=True, initial=True)),
    Flavour("outside", inside=False),
    Flavour("still", Options(moves=False), changes=False),
    Flavour("told", Options(widen=True), told=True),
    Flavour("wrong", wrong=True),
)


def cases(flavour: Flavour) -> st.SearchStrategy[Case]:
    """Return the strategy of a flavour's cases."""
    return st.randoms(use_true_random=False).map(lambda r: make_case(r, flavour))


def drawn(flavour: Flavour, count: int, number: int) -> list[Case]:
    """Return `count` cases for the seed `number`; each depends on its own place only."""
    return [
        make_case(random.Random(f"{number}/{flavour.name}/{index}"), flavour)
        for index in range(count)
    ]


def make_case(r: random.Random, flavour: Flavour) -> Case:
    """Return a case whose every choice is made by `r`."""
    maker = _Maker(r, flavour)
    maker.types()
    maker.variables_and_functions()
    case = maker.case()
    case = dataclasses.replace(case, objects=_Heap(r, flavour, case).objects())
    return _spoiled(r, case, flavour) if flavour.wrong else case


def _chance(r: random.Random, percent: int) -> bool:
    return r.randrange(100) >= 100 - percent  # 0, to which hypothesis shrinks, is no


# ---- types ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Maker:
    r: random.Random
    flavour: Flavour
    enums: list[EnumType] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    typedefs: list[Typedef] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    literals: list[str] = field(default_factory=list)
    planned: list[tuple[bool, ...]] = field(default_factory=list)
    """Parameters of each record, also of those that are made later: whether it is a `Word`."""
    flexible: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    """Unions that are told by a tag, and so only members of structs."""

    def case(self) -> Case:
        """Return what was made so far."""
        return Case(
            tuple(self.enums),
            tuple(self.records),
            tuple(self.typedefs),
            tuple(self.functions),
            tuple(self.variables),
            tuple(self.literals),
        )

    def chance(self, percent: int) -> bool:
        """Return whether something that happens so often happens now."""
        return _chance(self.r, percent)

    def changes(self, percent: int) -> bool:
        """Return whether something changes: seldom beside told unions, so that much stays."""
        often = percent // 3 if self.flavour.told else percent
        return self.flavour.changes and self.chance(often)

    def types(self) -> None:
        """Make the enums, records and typedefs."""
        self.literals = [f"literal {i}" for i in range(self.r.randrange(3))]
        for index in range(self.r.randrange(3)):
            self.enums.append(self._enum(index))
        count = self.r.randrange(1, 5)
        for _ in range(count):
            parameters = self.r.choice((0, 0, 0, 0, 1, 2))
            self.planned.append(tuple(self.chance(30) for _ in range(parameters)))
        if self.flavour.told:
            self.literals = [f"literal {i}" for i in range(3)]
            self.planned = [(), *self.planned]
            self.told.add(0)
            count += 1
        for index in range(count):
            if index not in self.told and not self.planned[index] and self.chance(8):
                self.flexible.add(index)
        for index in range(count):
            if self.chance(30):
                self._typedef(index)
            self.records.append(self._record(index))
        if self.chance(30):
            self._typedef(count)

    def _common_number(self) -> str:
        """Return a number's type, often the same one: so pointers find something to lead to."""
        return self.r.choice(("int", "int", "long", self.r.choice(NUMBERS)))

    def _enum(self, index: int) -> EnumType:
        count = self.r.randrange(1, 5)
        values = self._enumerator_values(count)
        moved = self._enumerator_values(count) if self.changes(40) else values
        found = [
            self._enumerator(f"e{index}_{i}", values[i], moved[i], self.changes(15))
            for i in range(count)
        ]
        if self.changes(30):
            free = max(moved) + self.r.choice((1, 5, 1 << 33))
            found.insert(
                self.r.randrange(count + 1), Enumerator(f"e{index}_n", f"e{index}_n", None, free)
            )
        tag = f"e{index}"
        return EnumType(tag, self._renamed(tag, 10), tuple(found))

    def _enumerator(self, name: str, value: int, moved: int, renamed: bool) -> Enumerator:
        return Enumerator(name, f"{name}r" if renamed else name, value, moved)

    def _enumerator_values(self, count: int) -> list[int]:
        start = self.r.choice((0, 1, -3, 100))
        values = [start + i * self.r.choice((1, 1, 2)) for i in range(count)]
        values = sorted(set(values))
        while len(values) < count:
            values.append(values[-1] + 1)
        if self.chance(50):
            self.r.shuffle(values)
        return values

    def _renamed(self, name: str, percent: int) -> str:
        return f"{name}r" if self.changes(percent) else name

    def _typedef(self, after: int) -> None:
        name = f"t{len(self.typedefs)}"
        choices: list[Type] = [Num(self.r.choice(NUMBERS))]
        choices += [Named(i) for i in range(len(self.typedefs))]
        choices += [EnumUse(i) for i in range(len(self.enums))]
        closed = [i for i in self._targets() if not self.planned[i]]
        choices += [Pointer(Use(i)) for i in closed]
        choices += [Use(i) for i in closed if i < after and i not in self.flexible]
        self.typedefs.append(Typedef(name, self._renamed(name, 10), self.r.choice(choices), after))

    # -- records ----------------------------------------------------------------------------------

    def _targets(self) -> list[int]:
        """Return the records that may be anywhere."""
        return [i for i in range(len(self.planned)) if i not in self.told]

    def _record(self, index: int) -> Record:
        if index in self.told:
            return self._told_union(index)
        often = 25 if self.flavour.told else 8
        if not self.planned[index] and index not in self.flexible and self.chance(often):
            return self._union(index)
        count = self.r.randrange(1, 6)
        members: list[Member] = []
        for number in range(count):
            members += self._members(index, number, members)
        for parameter, is_word in enumerate(self.planned[index]):
            members.append(self._parameter_member(parameter, is_word))
        if self.chance(30):
            members.append(self._plain_member("self", Pointer(self._own_use(index))))
        if self.told and self.chance(70):
            union = Use(min(self.told))
            many: Type = Array(union, 1, 1) if self.chance(10) else union
            members.append(Member(TAG, TAG, Num("int"), Num("int")))
            members.append(self._plain_member("told", many))
        if index in self.flexible:
            members = self._with_flexible(index, members)
        return self._changed(index, members)

    def _own_use(self, index: int) -> Use:
        return Use(index, tuple(Parameter(i) for i in range(len(self.planned[index]))))

    def _union(self, index: int) -> Record:
        names = [Num(self.r.choice(NUMBERS)) for _ in range(self.r.randrange(1, 4))]
        members = tuple(Member(f"u{i}", f"u{i}", t, t) for i, t in enumerate(names))
        tag = f"s{index}"
        return Record("union", tag, self._renamed(tag, 10), members, tuple(range(len(members))))

    def _told_union(self, index: int) -> Record:
        """Return a union whose members may be anything."""
        members = []
        for number in range(self.r.randrange(2, 5)):
            name = f"u{number}"
            of = new = self._told_type(index)
            if isinstance(of, Num) and self.chance(50):
                new = Num(self.r.choice([n for n in NUMBERS if is_wider(of.name, n)] or [of.name]))
            members.append(Member(name, name, of, new))
        tag = f"s{index}"
        how: Any = self.r.choice(("value", "mask", "conditions"))
        order = tuple(range(len(members)))
        return Record("union", tag, tag, tuple(members), order, told=how)

    def _told_type(self, index: int) -> Type:
        while True:
            of = self._type(index)
            if not (isinstance(of, Pointer) and of.outside):
                return of

    def _parameter_member(self, parameter: int, is_word: bool) -> Member:
        name = f"p{parameter}"
        of: Type = Pointer(Parameter(parameter))
        if is_word:
            of = Word(parameter)
        elif self.chance(15):
            of = Pointer(Pointer(Parameter(parameter)))
        return self._plain_member(name, of)

    def _plain_member(self, name: str, of: Type) -> Member:
        return Member(name, self._renamed(name, 10), of, of)

    def _members(self, index: int, number: int, before: list[Member]) -> list[Member]:
        name = f"f{number}"
        if self.chance(12):
            of = Num(self.r.choice(("int", "unsigned", "long", "short", "unsigned char", "_Bool")))
            return [self._bits(name, of)]
        if self.chance(15):
            return self._counted(index, name)
        return [self._plain_member(name, self._type(index))]

    def _bits(self, name: str, of: Num) -> Member:
        size = INTEGERS[of.name][0] * 8 if of.name != "_Bool" else 1
        width = self.r.randrange(1, min(size, 20) + 1)
        new_width = width
        if self.flavour.options.widen and self.changes(25):
            new_width = self.r.randrange(width, size + 1)
        return Member(name, self._renamed(name, 10), of, of, bits=width, new_bits=new_width)

    def _counted(self, index: int, name: str) -> list[Member]:
        """Return a pointer to several objects, with its count if it has one."""
        kind = self.r.choice(("member", "number", "terminated"))
        to = self._target(index)
        if _is_flexible_use(to, self.flexible):
            to = Pointer(to)  # there is no array of them
        outside = self.chance(30)
        if kind == "terminated":
            ended: Type = Pointer(to) if self.chance(50) or not self._can_end(to) else to
            return [self._plain_member(name, Pointer(ended, "terminated", None, outside))]
        if self.chance(25):
            to = Pointer(to)
        how: Any = "element" if self.chance(25) and not _has_parameter(to) else "array"
        if kind == "number":
            length = Length("number", self.r.randrange(1, 4))
            return [self._plain_member(name, Pointer(to, how, length, outside))]
        count = self._plain_member(
            f"{name}n", Num(self.r.choice(("int", "unsigned", "unsigned char", "long")))
        )
        # The member's index is known when all are: see _changed.
        length = Length("member", -1, self.r.choice((0, 0, 0, 1)))
        return [count, self._plain_member(name, Pointer(to, how, length, outside))]

    def _can_end(self, to: Type) -> bool:
        """Tell whether objects can be seen not to be zero: by a first member that is a number."""
        found = plain(self.case(), to) if not isinstance(to, Use) else to
        if not isinstance(found, Use) or found.record >= len(self.records):
            return False
        record = self.records[found.record]
        if record.kind == "union" or found.record in self.flexible:
            return False
        return any(m.old and isinstance(m.type, Num) and not m.bits for m in record.members)

    def _with_flexible(self, index: int, members: list[Member]) -> list[Member]:
        of = self.r.choice((Num("int"), Num("char"), self._inline(index)))
        count = Member("n", "n", Num("int"), Num("int"))
        tail = Flexible(of, Length("member", -1))
        return [count, *members, self._plain_member("tail", tail)]

    def _inline(self, index: int) -> Type:
        """Return a type that can be a member's own."""
        choices: list[Type] = [Num(self._common_number()) for _ in range(3)]
        choices += [EnumUse(i) for i in range(len(self.enums))]
        for i, typedef in enumerate(self.typedefs):
            if not isinstance(typedef.type, Use) or typedef.type.record not in self.flexible:
                choices.append(Named(i))
        for i in range(min(index, len(self.records))):
            if i not in self.flexible and i not in self.told:
                choices.append(Use(i, self._bindings(self.planned[i])))
        return self.r.choice([each for each in choices if self._weight(each) <= HEAVY])

    def _weight(self, of: Type) -> int:
        """Return how many numbers and pointers are in a value."""
        match of:
            case Use(record):
                return sum(self._weight(each.type) for each in self.records[record].members)
            case Named(typedef):
                return self._weight(self.typedefs[typedef].type)
            case Array(inner, count):
                return count * self._weight(inner)
            case _:
                return 1

    def _bindings(self, parameters: tuple[bool, ...]) -> tuple[Type, ...]:
        return tuple(self._word() if each else self._binding() for each in parameters)

    def _word(self) -> Type:
        """Return a type that a `void *` can be."""
        to = self._binding()
        return to if to == OPAQUE else Pointer(to)

    def _binding(self) -> Type:
        choices: list[Type] = [Num("int"), Num("long"), OPAQUE]
        choices += [EnumUse(i) for i in range(len(self.enums))]
        for i in self._targets():
            planned = self.planned[i]
            if not planned:
                choices += [Use(i), Use(i), Pointer(Use(i))]
            elif i < len(self.records) and self.chance(20):
                choices.append(Use(i, tuple(OPAQUE for _ in planned)))
        choices += [Named(i) for i in range(len(self.typedefs))]
        return self.r.choice(choices)

    def _target(self, index: int) -> Type:
        """Return a type that a pointer can lead to."""
        i = self.r.choice(self._targets()) if self.told else self.r.randrange(len(self.planned))
        if self.planned[i]:
            if i == index:
                return self._own_use(i)
            if i > index and self.planned[index]:
                return Num("int")  # types must not grow without end
            return Use(i, self._bindings(self.planned[i]))
        return Use(i)

    def _type(self, index: int) -> Type:  # noqa: PLR0911 - one per kind of type
        """Return any type for a member of record `index` or a variable."""
        kind = self.r.randrange(12)
        if kind <= 3:
            return self._inline(index)
        if kind <= 6:
            return Pointer(self._target(index))
        if kind == 7:
            return Pointer(Num("char"), "text")
        if kind == 8:
            return Code(self.r.randrange(2 if self.flavour.told else len(SIGNATURES)))
        if kind == 9:
            return self._array(index)
        if kind == 10:
            to: Type = Pointer(Num(self._common_number()))
            return self.r.choice(
                (
                    Pointer(None, "opaque", None, self.chance(50)),
                    to,
                    Pointer(self._target(index), "opaque"),
                )
            )
        to = self._target(index)
        if _has_parameter(to):
            return Pointer(Pointer(to))
        return self.r.choice((Pointer(Pointer(to)), Pointer(to, "element")))

    def _array(self, index: int) -> Type:
        count = self.r.randrange(1, 5)
        new_count = count
        if self.flavour.options.grow and self.changes(30):
            new_count += self.r.randrange(1, 3)
        of: Type = self._inline(index)
        if self._weight(of) > HEAVY // 4:
            of = Num("int")
        choice = self.r.randrange(4)
        if choice == 1:
            of = Num("char")
        elif choice == 2:
            of = Pointer(self._target(index))
        elif choice == 3 and self._weight(of) <= HEAVY // 4:
            of = Array(of, 2, 2)
        return Array(of, count, new_count)

    # -- what changes in a record -----------------------------------------------------------------

    def _changed(self, index: int, members: list[Member]) -> Record:
        members = _with_lengths(members)
        members = [self._changed_member(each, members) for each in members]
        if self.changes(45):
            members = self._with_added(index, members)
        order = list(range(len(members)))
        if self.changes(30):
            fixed = order[-1:] if index in self.flexible else []
            free = order[: len(order) - len(fixed)]
            self.r.shuffle(free)
            order = free + fixed
        elif members[-1].name.startswith("a") and self.chance(60) and index not in self.flexible:
            order.insert(self.r.randrange(len(order)), order.pop())
        if index in self.flexible:  # whatever was added: the tail stays the last
            tail = next(i for i, m in enumerate(members) if isinstance(m.type, Flexible))
            order = [i for i in order if i != tail] + [tail]
            if members[-1] is not members[tail]:
                members, order = _tail_last(members, order, tail)
        tag = f"s{index}"
        return Record(
            "struct",
            tag,
            self._renamed(tag, 12),
            tuple(self._grouped(members)),
            tuple(order),
            len(self.planned[index]),
            packed=(packed := self.chance(8)),
            new_packed=packed != self.changes(6),
            align=(align := self.r.choice((0, 0, 0, 0, 0, 0, 16, 32))),
            new_align=self.r.choice((align, 0, 64)) if self.changes(8) else align,
            outside=self.chance(30),
        )

    def _changed_member(  # noqa: PLR0911 - one per kind of change
        self, member: Member, members: list[Member]
    ) -> Member:
        if _is_length(member, members) or member.name == TAG:
            return member
        inner = member.type
        if isinstance(inner, Num) and member.bits is None:
            if self.changes(10):
                return self._retyped(member, inner)
            if self.flavour.options.widen and self.changes(25):
                wider = [Num(n) for n in NUMBERS if is_wider(inner.name, n)]
                return dataclasses.replace(member, new_type=self.r.choice(wider or [inner]))
        if not isinstance(inner, Flexible):
            if self.changes(10):
                return dataclasses.replace(member, new=False)
            if self.changes(5):
                return dataclasses.replace(member, ignore=True, name=member.new_name)
        if self.chance(5) and not isinstance(inner, Flexible) and member.bits is None:
            return dataclasses.replace(member, align=16)
        return member

    def _retyped(self, member: Member, inner: Num) -> Member:
        if inner.name in FLOATS:
            names: tuple[str, ...] = tuple(FLOATS)
        else:
            names = ("int", "long", "long long", "double", "unsigned long")
        rule = Rule("affine", self.r.randrange(5), self.r.randrange(1, 4))
        return dataclasses.replace(member, new_type=Num(self.r.choice(names)), rule=rule)

    def _with_added(self, index: int, members: list[Member]) -> list[Member]:
        sources = [
            i
            for i, m in enumerate(members)
            if m.old and isinstance(m.type, Num) and m.type.name not in FLOATS
        ]
        found = list(members)
        for number in range(self.r.randrange(1, 3)):
            name = f"a{number}"
            kind = self.r.randrange(5)
            of: Type = Num(self.r.choice(("int", "long", "double", "unsigned char")))
            rule = Rule("set", self.r.randrange(1, 100))
            if kind == 1:
                of, rule = self._type(index), Rule("keep")
            elif kind >= 3 and sources:
                what: Any = ("whole", "base")[kind - 3]
                of = Num("long")
                rule = Rule(
                    what, self.r.randrange(5), self.r.randrange(1, 4), self.r.choice(sources)
                )
            found.append(Member(name, name, of, of, old=False, rule=rule))
        return found

    def _grouped(self, members: list[Member]) -> list[Member]:
        if not self.chance(20):
            return members
        found = []
        for member in members:
            group = self.r.randrange(2) if not isinstance(member.type, Flexible) else 0
            new_group = self.r.randrange(2) if self.changes(30) and group else group
            found.append(dataclasses.replace(member, group=group, new_group=new_group))
        return found

    # -- variables and functions ------------------------------------------------------------------

    def variables_and_functions(self) -> None:
        """Make what the image has."""
        for index in range(2 if self.flavour.told else self.r.randrange(3)):
            self._function(index)
        if self.flavour.told:  # a pointer to a function finds one that it can lead to
            self.functions = [
                dataclasses.replace(each, signature=i) for i, each in enumerate(self.functions)
            ]
        for name in LIBRARY:
            if self.chance(15):
                self.functions.append(Function(name, name, LIBRARY[name], library=True))
        top = len(self.records)
        roots = [i for i in range(top) if self.records[i].kind == "struct"]
        for i in self.r.sample(roots, min(len(roots), 2)):
            self._variable(Pointer(Use(i, self._bindings(self.planned[i]))))
        for _ in range(self.r.randrange(1, 5)):
            self._variable(self._variable_type(top))
        self._added_variable()
        self.r.shuffle(self.variables)

    def _variable_type(self, top: int) -> Type:
        if self.chance(30):
            return Num(self.r.choice(NUMBERS))
        while True:
            of = self._type(top)
            if not _is_flexible_use(of, self.flexible):
                return of

    def _function(self, index: int) -> None:
        name = f"c{index}"
        places = [(self.r.choice(("global", "static")), self.r.randrange(2)) for _ in range(2)]
        stays = self.chance(70)
        (storage, file), (new_storage, new_file) = places[0], places[0] if stays else places[1]
        new_name = f"{name}r" if self.chance(20) else name
        self.functions.append(
            Function(
                name,
                new_name,
                self.r.randrange(len(SIGNATURES)),
                storage,  # type: ignore[arg-type]
                new_storage,  # type: ignore[arg-type]
                file,
                new_file,
            )
        )

    def _variable(self, of: Type) -> None:
        name = f"v{len(self.variables)}"
        storages = ("global", "global", "static", "static", "local")
        storage, file = self.r.choice(storages), self.r.randrange(2)
        new_storage, new_file, new_name = storage, file, name
        if self.chance(20):
            new_storage, new_file = self.r.choice(storages), self.r.randrange(2)
        if self.chance(20):
            new_name = f"{name}r"
        plain_number = isinstance(of, Num) and of.name not in (*FLOATS, "_Bool")
        first = self.r.randrange(1, 100) if plain_number and self.chance(30) else 0
        what = Variable(
            name,
            new_name,
            of,
            of,
            storage,  # type: ignore[arg-type]
            new_storage,  # type: ignore[arg-type]
            file,
            new_file,
            initial=first,
            new_initial=first + 1 if first else 0,
        )
        self.variables.append(self._changed_variable(what))

    def _changed_variable(  # noqa: PLR0911 - one per kind of change
        self, what: Variable
    ) -> Variable:
        choice = self.r.randrange(20)
        replace = dataclasses.replace
        if choice == 19:
            return replace(what, ignore=True)
        if choice == 18:
            return replace(what, manual="left", new_storage=what.storage, new_file=what.file)
        if choice == 17 and what.new_storage != "local":
            return replace(what, manual="asked")
        if choice == 16:
            return Variable(
                *(what.name, what.name, what.type, what.type, what.storage, what.storage),
                *(what.file, what.file),
                initial=what.initial,
                new_initial=what.new_initial,
                rule=Rule("keep"),
            )
        if choice == 15 and isinstance(what.type, Num) and what.type.name != "_Bool":
            return replace(what, rule=Rule("set", self.r.randrange(100)))
        if choice == 14 and isinstance(what.type, Num) and what.type.name not in FLOATS:
            rule = Rule("affine", self.r.randrange(9), self.r.randrange(1, 4))
            return replace(what, rule=rule, new_type=Num("long"))
        if choice == 13:
            return replace(what, new=False)
        return what

    def _added_variable(self) -> None:
        if not self.chance(30):
            return
        name = f"v{len(self.variables)}"
        rule = None if self.flavour.options.initial else Rule("set", 7)
        number = Num("int")
        self.variables.append(
            Variable(name, name, number, number, old=False, rule=rule, new_initial=5)
        )


def _has_parameter(of: Type | None) -> bool:
    match of:
        case Parameter() | Word():
            return True
        case Pointer(to=to):
            return _has_parameter(to)
        case Array(inner) | Flexible(inner):
            return _has_parameter(inner)
        case Use(bound=bound):
            return any(map(_has_parameter, bound))
        case _:
            return False


def _is_flexible_use(of: Type, flexible: set[int]) -> bool:
    match of:
        case Use(record):
            return record in flexible
        case Array(inner):
            return _is_flexible_use(inner, flexible)
        case _:
            return False


def _with_lengths(members: list[Member]) -> list[Member]:
    """Fill in which member has a length: the one before the pointer, or `n`."""
    found = []
    for index, member in enumerate(members):
        of = member.type
        length = of.length if isinstance(of, Pointer | Flexible) else None
        found.append(member)
        if isinstance(of, Pointer | Flexible) and length is not None and length.of == "member":
            which = 0 if isinstance(of, Flexible) else index - 1
            of = dataclasses.replace(of, length=dataclasses.replace(length, which=which))
            found[-1] = dataclasses.replace(member, type=of, new_type=of)
    return found


def _is_length(member: Member, members: list[Member]) -> bool:
    index = members.index(member)
    for each in members:
        length = each.type.length if isinstance(each.type, Pointer | Flexible) else None
        if length is not None and length.of == "member" and length.which == index:
            return True
    return False


def _tail_last(
    members: list[Member], order: list[int], tail: int
) -> tuple[list[Member], list[int]]:
    """Put the flexible member behind what was added; only its own index changes for others."""
    new = [m for i, m in enumerate(members) if i != tail] + [members[tail]]
    moved = {old: i for i, old in enumerate([i for i in range(len(members)) if i != tail] + [tail])}
    return new, [moved[i] for i in order]


# ---- the heap ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Slot:
    """A pointer that has no value yet. `count` objects are wanted; `ended`: and a zero one."""

    object: int
    way: tuple[Any, ...]
    to: Type
    count: int
    ended: bool
    live: bool


@dataclass(slots=True)
class _Block:
    """An object in the making: values by the way to them."""

    variable: int
    type: Type
    live: bool
    elements: list[Any]
    ended: bool = False


@dataclass(slots=True)
class _Heap:
    """Makes the objects of a case, from the variables on."""

    r: random.Random
    flavour: Flavour
    made: Case
    blocks: list[_Block] = field(default_factory=list)
    slots: list[_Slot] = field(default_factory=list)
    budget: int = 12
    by_type: dict[Type, list[int]] = field(default_factory=dict)
    """Blocks by their type, of the first `sorted`."""
    sorted: int = 0
    norms: dict[Type, Type] = field(default_factory=dict)
    chain: Type | None = None

    def objects(self) -> tuple[Object, ...]:
        """Return the objects: those of the variables first."""
        self.budget = self.r.choice((3, 12, 12, 30))
        if _chance(self.r, 3):
            self.budget = LONG_LIST
        for index, variable in enumerate(self.made.variables):
            if variable.old:
                self._variable_object(index, variable)
        while self.slots:
            at = self.r.randrange(len(self.slots)) if self.budget < LONG_LIST else 0
            self._fill(self.slots.pop(at))
        return tuple(
            Object(
                b.variable,
                b.type,
                _frozen(b.elements[0] if b.variable >= 0 else b.elements),
                b.ended,
                not b.live,
            )
            for b in self.blocks
        )

    def _variable_object(self, index: int, variable: Variable) -> None:
        live = variable.new and not variable.ignore and not variable.rule and not variable.const
        live = live and variable.manual != "left"
        block = _Block(index, variable.type, live, [None])
        self.blocks.append(block)
        block.elements[0] = self._value(variable.type, len(self.blocks) - 1, (0,), live, {})

    def _value(  # noqa: PLR0911 - one per kind of type
        self, of: Type, owner: int, way: tuple[Any, ...], live: bool, known: dict[int, Any]
    ) -> Any:
        found = plain(self.made, of)
        match found:
            case Num(name):
                return self._number(name)
            case EnumUse(index):
                values = [
                    e.value for e in self.made.enums[index].enumerators if e.value is not None
                ]
                return self.r.choice(values)
            case Use():
                return self._record(found, owner, way, live, known.get(_IN_USE))
            case Array(inner, count):
                use = {_IN_USE: known[_IN_USE]} if _IN_USE in known else {}
                return [self._value(inner, owner, (*way, i), live, use) for i in range(count)]
            case Code(signature):
                return self._code(signature)
            case Pointer():
                return self._pointer(found, owner, way, live, known)
            case _:
                return None

    def _number(self, name: str) -> int | float:
        if name == "_Bool":
            return self.r.randrange(2)
        if name in FLOATS:
            return self.r.randrange(-200, 200) / 4
        size, signed = INTEGERS[name]
        if signed and _chance(self.r, 40):
            return -self.r.randrange(1, 100 if size == 1 else 30000)
        if _chance(self.r, 20):
            return self.r.randrange(1 << (size * 8 - 3)) >> 2
        return self.r.randrange(1, 40 if size == 1 else 1000)

    def _code(self, signature: int) -> Value:
        fits = [
            i
            for i, f in enumerate(self.made.functions)
            if f.signature == signature and f.new and not f.accepted
        ]
        return ToCode(self.r.choice(fits)) if fits and _chance(self.r, 75) else None

    def _record(
        self, of: Use, owner: int, way: tuple[Any, ...], live: bool, in_use: int | None = None
    ) -> Any:
        record = self.made.records[of.record]
        if record.kind == "union":
            index = self.r.randrange(len(record.members))
            if record.told and in_use is not None:
                index = in_use
            inner = record.members[index].type
            return {index: self._value(inner, owner, (*way, index), live, {})}
        values: dict[int, Any] = {}
        lengths = self._lengths(record)
        told = self._tags(record)
        for index, member in enumerate(record.members):
            if not member.old:
                continue
            inner = member_type(member, "old", of.bound)
            is_live = live and member.new and member.rule is None and not member.ignore
            if index in lengths:
                values[index] = lengths[index]
            elif member.name == TAG:
                values[index] = told[TAG]
            elif member.bits is not None:
                values[index] = self._bits(member)
            elif isinstance(inner, Flexible):
                count = lengths[inner.length.which]
                values[index] = [
                    self._value(inner.of, owner, (*way, index, i), is_live, {})
                    for i in range(count)
                ]
            else:
                known = values | lengths | ({_IN_USE: told[_IN_USE]} if told else {})
                values[index] = self._value(inner, owner, (*way, index), is_live, known)
        return values

    def _bits(self, member: Member) -> int:
        assert member.bits is not None and isinstance(member.type, Num)
        if INTEGERS[member.type.name][1]:
            half = 1 << (member.bits - 1)
            return self.r.randrange(-half, half)
        return self.r.randrange(1 << member.bits)

    def _tags(self, record: Record) -> dict[Any, int]:
        """Return a struct's tag, and which member of its union that says to be in use."""
        found = [self._union_of(each.type) for each in record.members]
        union = next((each for each in found if each is not None and each.told), None)
        if union is None:
            return {}
        in_use = self.r.randrange(len(union.members))
        besides = self.r.randrange(5) * (TAG_MASK + 1) if union.told == "mask" else 0
        return {_IN_USE: in_use, TAG: in_use + 1 + besides}

    def _union_of(self, of: Type) -> Record | None:
        inner = of.of if isinstance(of, Array) else of
        return self.made.records[inner.record] if isinstance(inner, Use) else None

    def _lengths(self, record: Record) -> dict[int, int]:
        found: dict[int, int] = {}
        for member in record.members:
            length = member.type.length if isinstance(member.type, Pointer | Flexible) else None
            if member.old and length is not None and length.of == "member":
                found[length.which] = self.r.randrange(4)
        return found

    # -- pointers ---------------------------------------------------------------------------------

    def _pointer(
        self, of: Pointer, owner: int, way: tuple[Any, ...], live: bool, known: dict[int, Any]
    ) -> Any:
        if of.how == "text":
            return self._text(live)
        if of.how == "opaque" or of.to is None:
            return self.r.choice((0, 1, 0x1234, 0xDEADBEEF00))
        count = 1
        if of.length is not None:
            base = of.length.which if of.length.of == "number" else known[of.length.which]
            count = base + of.length.plus
        if count:
            ended = of.how == "terminated"
            self.slots.append(_Slot(owner, way, of.to, count, ended, live))
        return None

    def _text(self, live: bool) -> Value:
        choice = self.r.choice((1, 1, 2)) if self.flavour.told else self.r.randrange(3)
        if choice == 1 and self.made.literals:
            return ToText(self.r.randrange(len(self.made.literals)), self.r.randrange(3))
        if choice == 2 and self.flavour.inside and live:
            found = self._inside(Num("char"))
            if found is not None:
                return found
        if choice == 2:
            text = f"text {self.r.randrange(100)}"
            elements: list[Any] = [*text.encode(), 0]
            self.blocks.append(_Block(-1, Num("char"), live, elements))
            return To(len(self.blocks) - 1)
        return None

    def _fill(self, slot: _Slot) -> None:
        value: Value = None
        choice = self.r.randrange(10)
        if self.budget >= LONG_LIST - 30 and self.budget > 30:
            choice = 9
        if 2 <= choice <= 5:
            value = self._known(slot)
        elif choice >= 6:
            is_number = isinstance(plain(self.made, slot.to), Num)
            wanted = choice == 6 or (is_number and choice <= 8)
            value = self._inside(slot.to) if wanted and self._may_be_inside(slot) else None
            value = value or self._new(slot) or self._known(slot)
        if value is None and slot.ended:
            return
        self._put(slot, value)

    def _may_be_inside(self, slot: _Slot) -> bool:
        return self.flavour.inside and slot.live and slot.count == 1 and not slot.ended

    def _put(self, slot: _Slot, value: Value) -> None:
        place: Any = self.blocks[slot.object].elements
        for step in slot.way[:-1]:
            place = place[step]
        place[slot.way[-1]] = value

    def _known(self, slot: _Slot) -> Value:
        to = self._norm(slot.to)
        for block in self.blocks[self.sorted :]:
            self.by_type.setdefault(self._norm(block.type), []).append(self.sorted)
            self.sorted += 1
        fits = [i for i in self.by_type.get(to, ()) if self._fits(self.blocks[i], slot)]
        return To(self.r.choice(fits)) if fits else None

    def _fits(self, block: _Block, slot: _Slot) -> bool:
        if block.ended != slot.ended:
            return False
        if block.live != slot.live:
            return False
        if block.variable >= 0:
            what = self.made.variables[block.variable]
            is_same = what.type == what.new_type and what.new
            return slot.count == 1 and is_same and (self.flavour.inside or not slot.live)
        return len(block.elements) - block.ended == slot.count

    def _norm(self, of: Type) -> Type:
        """Return the type without typedefs."""
        if of not in self.norms:
            self.norms[of] = self._without_typedefs(of)
        return self.norms[of]

    def _without_typedefs(self, of: Type) -> Type:
        found = plain(self.made, of)
        match found:
            case Pointer(to=to) if to is not None:
                return Pointer(self._norm(to), found.how, found.length)
            case Use(record, bound):
                return Use(record, tuple(map(self._norm, bound)))
            case Array(inner, count, new_count):
                return Array(self._norm(inner), count, new_count)
            case _:
                return found

    def _inside(self, of: Type) -> Value:
        """Return a place of the type in what is carried over."""
        to = self._norm(of)
        found = []
        for index, block in enumerate(self.blocks):
            if not block.live and block.variable < 0:
                continue
            if block.variable >= 0 and not self._can_lead_to(block.variable):
                continue
            shape = Object(block.variable, block.type, Row((None,) * len(block.elements)))
            found += [
                To(index, path)
                for kind, path in locations(self.made, shape)
                if self._norm(kind) == to
                and not (block.ended and path[0] == len(block.elements) - 1)
            ]
        return self.r.choice(found) if found else None

    def _can_lead_to(self, variable: int) -> bool:
        what = self.made.variables[variable]
        return what.new and what.type == what.new_type

    def _new(self, slot: _Slot) -> Value:
        count = slot.count + slot.ended
        if self.budget < count:
            return None
        self.budget -= count
        block = _Block(-1, slot.to, slot.live, [None] * count, slot.ended)
        self.blocks.append(block)
        index = len(self.blocks) - 1
        for i in range(slot.count):
            block.elements[i] = self._value(slot.to, index, (i,), slot.live, {})
        if slot.ended:
            self._end(block, index)
        return To(index)

    def _end(self, block: _Block, index: int) -> None:
        """Let no element but the last be zero, and the last nothing else."""
        of = plain(self.made, block.type)
        block.elements[-1] = None
        if isinstance(of, Use):
            record = self.made.records[of.record]
            sure = next(
                i
                for i, m in enumerate(record.members)
                if m.old and isinstance(m.type, Num) and not m.bits
            )
            for element in block.elements[:-1]:
                element[sure] = element[sure] or 1
            return
        # Pointers: each must lead somewhere, so they are filled at once; what cannot be, ends it.
        mine = [s for s in self.slots if s.object == index]
        self.slots = [s for s in self.slots if s.object != index]
        for slot in mine:
            value = self._new(slot) or self._known(slot)
            if value is None:
                del block.elements[slot.way[0] : -1]
                return
            self._put(slot, value)


def _frozen(value: Any) -> Value:
    match value:
        case list():
            return Row(tuple(map(_frozen, value)))
        case dict():
            return In(tuple((index, _frozen(each)) for index, each in sorted(value.items())))
        case _:
            found: Value = value
            return found


# ---- what the build must refuse ------------------------------------------------------------------


def _spoiled(r: random.Random, case: Case, flavour: Flavour) -> Case:
    """Return the case with a rule missing."""
    ways = [_without_member_rule, _without_rename, _with_shorter_array, _with_lost_enumerator]
    ways += [_with_new_variable, _with_lost_function, _with_unexplained]
    for _ in range(1 if _chance(r, 70) else 2):
        case = r.choice(ways)(r, case)
    return case


def _at(things: Sequence[_T], index: int, new: _T) -> tuple[_T, ...]:
    return (*things[:index], new, *things[index + 1 :])


def _some(r: random.Random, things: Sequence[_T]) -> tuple[int, _T] | None:
    if not things:
        return None
    index = r.randrange(len(things))
    return index, things[index]


def _change_member(r: random.Random, case: Case, wanted: Any, change: Any) -> Case:
    fits = [
        (i, j)
        for i, record in enumerate(case.records)
        for j, member in enumerate(record.members)
        if record.kind == "struct" and wanted(member)
    ]
    if not fits:
        return case
    i, j = r.choice(fits)
    record = case.records[i]
    member = change(record.members[j])
    record = dataclasses.replace(record, members=_at(record.members, j, member))
    return dataclasses.replace(case, records=_at(case.records, i, record))


def _without_member_rule(r: random.Random, case: Case) -> Case:
    return _change_member(
        r, case, lambda m: m.rule is not None, lambda m: dataclasses.replace(m, rule=None)
    )


def _without_rename(r: random.Random, case: Case) -> Case:
    choice = r.randrange(3)
    if choice == 0:
        return _change_member(
            r,
            case,
            lambda m: m.old and m.new and m.name != m.new_name and m.rule is None,
            lambda m: dataclasses.replace(m, renamed=False),
        )
    if choice == 1:
        index, record = r.choice(list(enumerate(case.records)))
        record = dataclasses.replace(record, renamed=False)
        return dataclasses.replace(case, records=_at(case.records, index, record))
    index, variable = r.choice(list(enumerate(case.variables)))
    variable = dataclasses.replace(variable, renamed=False)
    return dataclasses.replace(case, variables=_at(case.variables, index, variable))


def _with_shorter_array(r: random.Random, case: Case) -> Case:
    def change(member: Member) -> Member:
        of = dataclasses.replace(member.type, new_count=member.type.count + 1)  # type: ignore
        return dataclasses.replace(member, type=of, new_type=of)

    return _change_member(r, case, lambda m: isinstance(m.type, Array), change)


def _with_lost_enumerator(r: random.Random, case: Case) -> Case:
    found = _some(r, case.enums)
    if found is None or len(found[1].enumerators) < 2:
        return case
    index, enum = found
    at = r.randrange(len(enum.enumerators))
    each = dataclasses.replace(enum.enumerators[at], new_value=None)
    if all(e.new_value is None for i, e in enumerate(enum.enumerators) if i != at):
        return case
    enum = dataclasses.replace(enum, enumerators=_at(enum.enumerators, at, each))
    return dataclasses.replace(case, enums=_at(case.enums, index, enum))


def _with_new_variable(r: random.Random, case: Case) -> Case:
    name = f"v{len(case.variables)}"
    new = Variable(name, name, Num("int"), Num("int"), old=False)
    return dataclasses.replace(case, variables=(*case.variables, new))


def _with_lost_function(r: random.Random, case: Case) -> Case:
    """Lose a function of a signature that no other case has."""
    if any(each.name == "lost" for each in case.functions):
        return case
    of = Code(6)
    name = f"v{len(case.variables)}"
    function = Function("lost", "lost", 6, new=False)
    variable = Variable(name, name, of, of)
    return dataclasses.replace(
        case,
        functions=(*case.functions, function),
        variables=(*case.variables, variable),
    )


def _with_unexplained(r: random.Random, case: Case) -> Case:
    name = f"v{len(case.variables)}"
    of = Pointer(None)
    return dataclasses.replace(case, variables=(*case.variables, Variable(name, name, of, of)))
