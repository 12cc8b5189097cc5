"""Which of the things that are gone may be a new one under its former name, and how likely that is.

In: a `Comparison`; a thing of the new version that the old one had not, or the other way round.
Out: `Guess`es, best first. Called by plan.py for its diagnoses, which offer them; nothing is ever
renamed because of a guess. docs/diagnostics.md tells users what a likelihood is made of.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from kitsune_tool.compare import Comparison, type_place
from kitsune_tool.errors import Location
from kitsune_tool.model import (
    Array,
    Enum,
    Function,
    FunctionSymbol,
    Pointer,
    Record,
    Scalar,
    Type,
    TypeIndex,
    UpdatePoint,
    Variable,
    children,
)
from kitsune_tool.resolve import Instance, Member, World

_TYPE, _NAME, _USES, _POSITION = 0.40, 0.30, 0.15, 0.15
_LEAST = 0.45
_MOST_GUESSES = 3
_SAME_KIND = 0.6
_MAX_DEPTH = 4
_SHORTEST_CUT = 3
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, slots=True)
class Guess:
    """A place of the other version, and the likelihood (0 to 1) that it is the same thing."""

    place: str
    likelihood: float


@dataclass(frozen=True, slots=True)
class _Clues:
    """What two things have in common, each from 0 to 1."""

    type: float
    name: float
    uses: float
    position: float

    @property
    def likelihood(self) -> float:
        total = _TYPE * self.type + _NAME * self.name
        return total + _USES * self.uses + _POSITION * self.position


@dataclass(frozen=True, slots=True)
class Likely:
    """The guesses for one step from version to version."""

    comparison: Comparison

    @property
    def _old(self) -> World:
        return self.comparison.old

    @property
    def _new(self) -> World:
        return self.comparison.new

    def members(
        self, head: str, olds: Sequence[Member], news: Sequence[Member], new: Member
    ) -> tuple[Guess, ...]:
        """Return which of the members `olds` may be `new`; `head` is the old record's place."""
        known = {m.name for m in news}
        taken = self.comparison.removed
        names = [m.name for m in olds], [m.name for m in news]
        return _best(
            (
                f"{head}.{old.name}",
                _Clues(
                    self.type_likeness(old.instance, new.instance),
                    name_likeness(old.name, new.name),
                    float(old.offset == new.offset),
                    _position(*names, old.name, new.name),
                ),
            )
            for old in olds
            if old.name and old.name not in known and f"{head}.{old.name}" not in taken
        )

    def variables(self, new: Variable) -> tuple[Guess, ...]:
        """Return which variables of the old version may be `new`."""
        gone = [
            old
            for old in self._old.program.variables
            if old.key not in self._new.variables
            and old.key not in self.comparison.removed
            and (old.const, old.thread_local, old.is_local)
            == (new.const, new.thread_local, new.is_local)
        ]
        instance = self._new.variable_instance(new)
        orders = _in_order(self._old.program.variables), _in_order(self._new.program.variables)
        return _best(
            (
                old.key,
                _Clues(
                    self.type_likeness(self._old.variable_instance(old), instance),
                    name_likeness(old.name, new.name),
                    self._file_likeness(old.at, new.at),
                    _position(*orders, old.name, new.name),
                ),
            )
            for old in gone
        )

    def functions(self, old: FunctionSymbol) -> tuple[Guess, ...]:
        """Return which functions of the new version may be what `old` was."""
        news = [f for f in self._new.functions.values() if f.key not in self._old.functions]
        orders = _in_order(self._old.functions.values()), _in_order(self._new.functions.values())
        return _best(
            (
                new.key,
                _Clues(
                    self._function_likeness(old, new),
                    name_likeness(old.name, new.name),
                    self._file_likeness(old.at, new.at),
                    _position(*orders, old.name, new.name),
                ),
            )
            for new in news
        )

    def enumerators(self, place: str, old: Enum, new: Enum, name: str) -> tuple[Guess, ...]:
        """Return which enumerators of `new`, whose place is `place`, may be what `name` was."""
        names = [each for each, _ in old.enumerators], [each for each, _ in new.enumerators]
        value = dict(old.enumerators)[name]
        return _best(
            (
                f"{place}.{each}",
                _Clues(1.0, name_likeness(name, each), float(value == number),
                       _position(*names, name, each)),
            )
            for each, number in new.enumerators
            if each not in names[0] and f"{place}.{each}" not in self.comparison.renames
        )  # fmt: skip

    def update_points(self, old: UpdatePoint) -> tuple[Guess, ...]:
        """Return which update points of the new version may be what `old` was."""
        before, after = self._old.program.update_points, self._new.program.update_points
        names = [p.name or "" for p in before], [p.name or "" for p in after]
        return _best(
            (
                new.name or "",
                _Clues(
                    float(old.function == new.function),
                    name_likeness(old.name or "", new.name or ""),
                    self._file_likeness(old.at, new.at),
                    _position(*names, old.name or "", new.name or ""),
                ),
            )
            for new in after
            if new.name and new.name not in names[0]
        )

    def types(self, old: Instance, new: Instance) -> tuple[Guess, ...]:
        """Return the old type of another name, if it may be what `new` was."""
        before, after = type_place(self._old, old), type_place(self._new, new)
        if before is None or after is None or before in self.comparison.removed:
            return ()
        if _is_known(self._new, before) or _is_known(self._old, after):
            return ()
        one, other = self._old.node(old), self._new.node(new)
        clues = _Clues(
            self._shape_likeness(one, other),
            name_likeness(_bare(before), _bare(after)),
            _share(_uses(self._old, before), _uses(self._new, after)),
            self._file_likeness(self._old.place(old), self._new.place(new)),
        )
        return _best([(before, clues)])

    # -- clues ------------------------------------------------------------------------------------

    def type_likeness(  # noqa: PLR0911 - one case per kind of type
        self, old: Instance, new: Instance, depth: int = 0
    ) -> float:
        """Return 1 for equal types after the rules' renames, less for some likeness."""
        if old.stars or new.stars:
            return float(self._old.spell(old) == self._new.spell(new))
        one, other = self._old.node(old), self._new.node(new)
        if depth > _MAX_DEPTH:
            return 1.0
        match one, other:
            case Scalar(), Scalar():
                return _scalar_likeness(one, other)
            case Pointer(to=to), Pointer(to=target):
                inner = self.type_likeness(Instance(to), Instance(target), depth + 1)
                return 1.0 if inner == 1.0 else _SAME_KIND
            case Array(of=of, length=length), Array(of=element, length=new_length):
                inner = self.type_likeness(Instance(of), Instance(element), depth + 1)
                return 1.0 if inner == 1.0 and length == new_length else _SAME_KIND * inner
            case (Record(), Record()) | (Enum(), Enum()):
                return float(self._is_namesake(old, new))
            case Function(), Function():
                return float(self._old.spell(old) == self._new.spell(new))
            case _:
                return 0.0

    def _is_namesake(self, old: Instance, new: Instance) -> bool:
        before, after = type_place(self._old, old), type_place(self._new, new)
        return after is not None and before == self.comparison.old_name(after)

    def _function_likeness(self, old: FunctionSymbol, new: FunctionSymbol) -> float:
        if old.type is None or new.type is None:
            return 0.0
        return self.type_likeness(Instance(old.type), Instance(new.type))

    def _file_likeness(self, old: Location | None, new: Location | None) -> float:
        """Return 1 for one file, else the share of the old file's things that moved to the new."""
        if old is None or new is None:
            return 0.0
        if old.file == new.file:
            return 1.0
        before, after = _names_in(self._old, old.file), _names_in(self._new, new.file)
        return len(before & after) / len(before) if before else 0.0

    def _shape_likeness(self, one: Type, other: Type) -> float:
        """Return the share of members or enumerators that two types have in common."""
        match one, other:
            case Record(kind=kind), Record(kind=new_kind) if kind == new_kind:
                return _share(self._members(self._old, one), self._members(self._new, other))
            case Enum(enumerators=enumerators), Enum(enumerators=others):
                return _share(set(enumerators), set(others))
            case _:
                return 0.0

    def _members(self, world: World, record: Record) -> set[tuple[str, str]]:
        own = re.compile(rf"\b{re.escape(record.tag or record.typedef_name)}\b")
        spelled = ((f.name, world.spell(Instance(f.type))) for f in record.fields)
        return {(name, own.sub("self", text)) for name, text in spelled}


def name_likeness(one: str, other: str) -> float:
    """Return how much two names have in common, by letters in order or by words."""
    if one == other:
        return 1.0
    words = _shared_words(_words(one), _words(other))
    letters = difflib.SequenceMatcher(None, one.lower(), other.lower(), autojunk=False).ratio()
    return max(words, letters if letters > _SAME_KIND else letters / 2)


def _best(rated: Iterable[tuple[str, _Clues]]) -> tuple[Guess, ...]:
    guesses = {place: Guess(place, round(clues.likelihood, 2)) for place, clues in rated}
    likely = [guess for guess in guesses.values() if guess.likelihood >= _LEAST]
    return tuple(sorted(likely, key=lambda g: (-g.likelihood, g.place))[:_MOST_GUESSES])


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _shared_words(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share of words in common; a word may be cut short (`conn`, `connection`)."""
    rest = list(other)
    for word in one:
        found = next((each for each in rest if _is_cut_of(word, each)), None)
        if found is not None:
            rest.remove(found)
    common = len(other) - len(rest)
    return common / max(len(one) + len(other) - common, 1)


def _is_cut_of(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return short == long or (len(short) >= _SHORTEST_CUT and long.startswith(short))


def _share(one: Set[object], other: Set[object]) -> float:
    return len(one & other) / len(one | other) if one or other else 0.0


def _scalar_likeness(one: Scalar, other: Scalar) -> float:
    if one.name == other.name:
        return 1.0
    numbers = {"bool", "signed", "unsigned", "float", "complex"}
    return _SAME_KIND if {one.kind, other.kind} <= numbers else 0.0


def _position(olds: Sequence[str], news: Sequence[str], old: str, new: str) -> float:
    """Return which part of the neighbours that both versions know is the same: 0, 0.5 or 1."""
    common = set(olds) & set(news)
    before = _neighbours(olds, old, common)
    after = _neighbours(news, new, common)
    return sum(one == other for one, other in zip(before, after, strict=True)) / 2


def _neighbours(names: Sequence[str], name: str, common: set[str]) -> tuple[str | None, str | None]:
    index = names.index(name)
    earlier = (each for each in reversed(names[:index]) if each in common)
    later = (each for each in names[index + 1 :] if each in common)
    return next(earlier, None), next(later, None)


def _in_order(things: Iterable[Variable | FunctionSymbol]) -> list[str]:
    placed = sorted(things, key=lambda thing: (thing.at or Location(""), thing.key))
    return [thing.name for thing in placed]


def _names_in(world: World, file: str) -> set[str]:
    variables = {v.name for v in world.program.variables if v.at and v.at.file == file}
    return variables | {f.name for f in world.functions.values() if f.at and f.at.file == file}


def _uses(world: World, place: str) -> set[object]:
    """Return the members, variables and functions in whose types a type is."""
    indices = range(len(world.types))
    wanted = {index for index in indices if type_place(world, Instance(index)) == place}
    return set(_users(world, wanted))


def _users(world: World, wanted: set[TypeIndex]) -> Iterable[str]:
    for index, node in enumerate(world.types):
        if isinstance(node, Record) and index not in wanted:
            head = type_place(world, Instance(index)) or ""
            for field in node.fields:
                if _leads(world, field.type, wanted):
                    yield f"{head}.{field.name}"
    for variable in world.program.variables:
        if _leads(world, variable.type, wanted):
            yield variable.name
    for function in world.program.functions:
        if any(_leads(world, index, wanted) for index in _signature(world, function)):
            yield f"{function.name}()"


def _signature(world: World, function: FunctionSymbol) -> tuple[TypeIndex, ...]:
    node = world.types[function.type] if function.type is not None else None
    return children(node) if isinstance(node, Function) else ()


def _leads(world: World, index: TypeIndex, wanted: set[TypeIndex]) -> bool:
    """Tell whether a type is one of `wanted`, behind typedefs, pointers and arrays."""
    while True:
        index = world.stripped(Instance(index))
        if index in wanted:
            return True
        node = world.types[index]
        if isinstance(node, Pointer):
            index = node.to
        elif isinstance(node, Array):
            index = node.of
        else:
            return False


def _is_known(world: World, place: str) -> bool:
    kind, _, name = place.partition(" ")
    return any(
        getattr(world.types[index], "complete", True)
        for index in world.find_all(name if kind == "typedef" else place)
    )


def _bare(place: str) -> str:
    return place.rpartition(" ")[2]
