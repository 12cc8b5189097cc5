"""A plan as flat data for the templates: every decision about the C text is taken here.

In: a `Plan`. Out: `Views`: the types of both versions, functions with their statements, tables.
Called by render.py; the templates print what they are given and decide nothing.

Per pair of types up to three functions are made: `move` writes a new object, `patch` rewrites the
pointers of one that keeps its address, `visit` only reports pointers (for the engine's first pass).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from kitsune_tool import closed, expressions
from kitsune_tool.code import looked_up
from kitsune_tool.compare import type_place
from kitsune_tool.definitions import TypeTable, place_text
from kitsune_tool.errors import Location
from kitsune_tool.model import Enum, Function, FunctionSymbol, Pointer, Scalar, Variable
from kitsune_tool.names import Names
from kitsune_tool.pairs import (
    Case,
    Coded,
    Each,
    Extent,
    Fields,
    LeftAlone,
    MapEnum,
    Pair,
    Point,
    Step,
    Tagged,
    Words,
    parts,
)
from kitsune_tool.planned import Migration, Plan
from kitsune_tool.resolve import Compound, Instance, Member, World
from kitsune_tool.rulecode import RuleCode
from kitsune_tool.viewdata import (
    KEEP_INITIAL,
    ClosureView,
    EnumMapView,
    ExtentView,
    FunctionPairView,
    FunctionView,
    MacroView,
    MigrationView,
    PartView,
    PreambleView,
    Statement,
    TailView,
    TypeView,
    UnitView,
    Views,
)

Mode: TypeAlias = Literal["move", "patch", "visit"]
_INDICES = "ijklmnpqrstuvw"


def make_views(plan: Plan) -> Views:
    """Return the views of a plan. Raises K112 and K132 for what rules and lengths get wrong."""
    return _Maker(plan).run()


@dataclass(frozen=True, slots=True)
class _Place:
    """An old and a new value in generated C: lvalues and addresses. `mode` is what is done there,
    `depth` how many loops are around it, `owner` the struct to which `self` refers.
    """

    mode: Mode
    old: str = "(*in)"
    new: str = "(*out)"
    old_address: str = "in"
    new_address: str = "out"
    depth: int = 0
    owner: Compound | None = None

    def member(self, step: Step) -> _Place:
        """Return the place of a member. One without a name is reached by its offset, and its
        members by their own names.
        """
        if not step.new.name or step.old is None:
            old = f"(const char *){self.old_address} + {step.old.offset if step.old else 0}"
            new = f"(char *){self.new_address} + {step.new.offset}"
            return dataclasses.replace(self, old_address=old, new_address=new)
        return self._at(_dotted(self.old, step.old.name), _dotted(self.new, step.new.name))

    def element(self, index: str) -> _Place:
        """Return the place of an array's element."""
        inner = dataclasses.replace(self, depth=self.depth + 1)
        return inner._at(f"{self.old}[{index}]", f"{self.new}[{index}]")

    def _at(self, old: str, new: str) -> _Place:
        return dataclasses.replace(
            self, old=old, new=new, old_address=f"&{old}", new_address=f"&{new}"
        )


def _dotted(value: str, member: str) -> str:
    return f"{value[2:-1]}->{member}" if value in {"(*in)", "(*out)"} else f"{value}.{member}"


class _Maker:
    """Collects what is needed while it is needed; one per plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.old = TypeTable(plan.old, "old")
        self.new = TypeTable(plan.new, "new")
        self.names = Names(plan, self.new)
        self.rules = RuleCode(plan, self.old, self.new, self.names)
        self.units: dict[str, UnitView] = {}
        self.enums: dict[tuple[int, int], EnumMapView] = {}
        self.macros: dict[str, MacroView] = {}
        self.by_hand: dict[str, FunctionSymbol] = {}
        self.types: dict[Any, str] = {}
        self.functions: set[tuple[str, Any]] = set()
        self.misplaced = self._find_misplaced()
        self.pointed = {
            self.names.shape(p): p for p in plan.pairs if p.pointed and self._is_object(p)
        }
        self.pointed_types = {
            self.names.types_of(p): p
            for p in self.pointed.values()
            if isinstance(p.op, Words | Tagged)
        }

    def run(self) -> Views:
        migrations = tuple(self._migration(each) for each in self.plan.migrations)
        closures = tuple(self._closures())
        self._need_basic()
        return Views(
            old=self.old.definitions(),
            new=self.new.definitions(),
            units=tuple(self.units.values()),
            enums=tuple(self.enums.values()),
            rules=tuple(self.rules.made.values()),
            closures=closures,
            preambles=tuple(
                PreambleView(p.at.file, p.at.line, p.text) for p in self.plan.rules.preambles
            ),
            macros=tuple(self.macros.values()),
            migrations=migrations,
            by_hand=tuple(self.by_hand),
            symbols=tuple(self._symbols()),
            functions=tuple(self._function_pairs()),
            update_points=self.plan.update_point_renames,
            old_layout_digest=self.plan.old_layout_digest,
            flags=self._flags(),
            idents=self.names.made(self.plan.pairs),
        )

    def _need_basic(self) -> None:
        """Have the sizes checked that no compiler has told."""
        for pair in self.plan.pairs:
            for table, instance in ((self.old, pair.old), (self.new, pair.new)):
                if not instance.stars and table.world.is_basic(instance.type):
                    table.need(instance.type)

    def _flags(self) -> str:
        flags = ["KITSUNE_PLAN_DISCOVER"] if self.plan.discover else []
        flags += ["KITSUNE_PLAN_NOTHING_MOVES"] if self.plan.nothing_moves else []
        flags += ["KITSUNE_PLAN_SEEK"] if self.plan.seek else []
        return " | ".join(flags) or "0"

    # -- names ------------------------------------------------------------------------------------

    def unit(self, pair: Pair) -> UnitView:
        """Return the file for what belongs to a pair: that of the variable that leads to it."""
        return self._unit(self.plan.new.variables.get(pair.where.root))

    def _unit(self, variable: Variable | None) -> UnitView:
        source = "rules"
        if variable is not None:
            head = variable.key.rpartition("@")[2].rpartition("/")[0]
            source = head or (place_text(variable.at).partition(":")[0] or "globals")
        name = re.sub(r"\W+", "_", source.removesuffix(".c")).strip("_")
        file = f"transform_{name}.c"
        return self.units.setdefault(file, UnitView(file, source))

    # -- what a pointer does ----------------------------------------------------------------------

    def _is_object(self, pair: Pair) -> bool:
        """Whether the engine must know objects of this pair: they change, or lie in what moves."""
        if isinstance(pair.op, LeftAlone):
            return False
        return pair.moved or pair.visited or pair.into_moved

    def _reports(self, pair: Pair) -> bool:
        """Whether a value itself holds a pointer to an object that the engine must know."""
        if isinstance(pair.op, Point):
            return pair.op.target is not None and self._is_object(pair.op.target)
        return any(map(self._reports, parts(pair.op)))

    def pointer(  # noqa: PLR0911 - one case per style
        self, point: Point, place: str, owner: Compound | None
    ) -> str:
        """Return the expression of the new pointer; `place` is the old one."""
        engine = "kitsune__launcher->"
        target = point.target
        if point.style == "function":
            return f"{engine}function(xf, (const void *){place})"
        if point.style == "word":
            return f"{engine}word(xf, {place})"
        count = self.length(point.length, point, owner) if point.style == "array" else ""
        if point.text or target is None:
            return f"{engine}plain(xf, {place}, {count or '0'})"
        if self._is_object(target):
            of = f"&_kitsune_type_{self.type(target)}"
            match point.style:
                case "array":
                    return f"{engine}objects(xf, {place}, {count}, {of})"
                case "terminated":
                    return f"{engine}objects_terminated(xf, {place}, {of})"
                case _:
                    return f"{engine}object(xf, {place}, {of})"
        size = max(self.plan.old.size(target.old), 1)
        text = f"{count} * {size}" if count else str(size)
        return f"{engine}plain(xf, {place}, {text})"

    def length(self, text: str, at: Point | Each | Extent, owner: Compound | None) -> str:
        """Return a length in generated C."""
        return f"(uint64_t)({self.expression(text, 'length', at.at, owner)})"

    def expression(
        self, text: str, what: str, at: Location | None, owner: Compound | None, value: str = ""
    ) -> str:
        """Return an expression of an annotation in generated C; its macros are noted."""
        macros: set[str] | None = set() if self.plan.rules.preambles else None
        scope = expressions.Scope(
            self.plan.old, owner, self.old, what, value, bare=what != "length", macros=macros
        )
        translated = expressions.translate(text, scope, at)
        place = at or Location("kitsune.yaml", 1)
        for name in sorted(macros or ()):
            self.macros.setdefault(name, MacroView(name, place.file, place.line))
        return translated

    def _find_misplaced(self) -> set[object]:
        """Return the shapes of values that a packed struct holds at a place not fit for them."""
        found: set[int] = set()
        queue = [part for pair in self.plan.pairs for part in self._ill_placed(pair)]
        shapes = set()
        while queue:
            pair = queue.pop()
            if pair.number not in found:
                found.add(pair.number)
                shapes.add(self.names.shape(pair))
                queue += parts(pair.op)
        return shapes

    def _ill_placed(self, pair: Pair) -> Iterable[Pair]:
        steps = pair.op.steps if isinstance(pair.op, Fields) else ()
        for step in steps:
            if step.pair is None:
                continue
            sides = [(self.plan.new, pair.new, step.pair.new, step.new)]
            if step.old is not None:
                sides.append((self.plan.old, pair.old, step.pair.old, step.old))
            for world, around, of, member in sides:
                align = world.align(of)
                if member.offset % align or world.align(around) < align:
                    yield step.pair
                    break

    # -- functions --------------------------------------------------------------------------------

    def function(self, mode: Mode, pair: Pair) -> str:
        """Return the name of a pair's function, which is made at its first use."""
        name = f"_kitsune_{mode}_{self.names.ident(pair)}"
        key = (mode, self.names.shape(pair))
        if key not in self.functions:
            self.functions.add(key)
            body = tuple(self.whole(pair, mode))
            view = self._function(name, pair, body, _REASONS[mode])
            if mode == "move" and pair.moved:
                view = dataclasses.replace(view, extent=self._extent(pair))
            self.unit(pair).functions.append(view)
        return name

    def _function(
        self, name: str, pair: Pair, body: tuple[Statement, ...], reason: str
    ) -> FunctionView:
        pointer_to = TypeTable.pointer_to
        if self.names.shape(pair) in self.misplaced:
            pointer_to = TypeTable.unaligned_pointer_to
        return FunctionView(
            name,
            f"{self.plan.new.spell(pair.new)}: {reason}",
            pointer_to(self.old, pair.old, "in", const=True),
            pointer_to(self.new, pair.new, "out"),
            body,
            _names_used(body),
        )

    def whole(self, pair: Pair, mode: Mode) -> Iterable[Statement]:
        """Yield the statements for a whole value, `*in` and `*out`."""
        if not isinstance(pair.op, Fields):
            yield from self.value(pair, _Place(mode))
            return
        owner = self.plan.old.resolve(pair.old)
        assert isinstance(owner, Compound)
        if mode == "move" and not pair.moved:
            yield Statement("copy", "out", "in", "sizeof *out", comment="same layout")
        for step in pair.op.steps:
            yield from self.step(pair, step, _Place(mode, owner=owner))
        if mode == "move" and pair.moved:
            for gone in pair.op.dropped:
                if gone.name:
                    yield Statement("remark", comment=f"'{gone.name}' is dropped")

    def step(self, pair: Pair, step: Step, whole: _Place) -> Iterable[Statement]:
        """Yield the statements for one member of a struct."""
        is_move = whole.mode == "move"
        if step.rule is not None:
            if is_move:
                yield self.ruled(pair, step, whole)
            return
        if step.pair is None:
            if is_move and step.new.name:
                yield _kept(step)
            return
        is_copied = is_move and not pair.moved and not closed.has_pointers(step.pair)
        if is_copied and not (isinstance(step.pair.op, Each) and step.pair.op.flexible):
            return
        yield from self._member(step, whole)

    def _member(self, step: Step, around: _Place) -> Iterable[Statement]:
        """Yield the statements for a member whose value is carried over."""
        assert step.pair is not None
        if around.mode == "move" and step.new.field.bits is not None:
            yield self._bits(step, step.pair, around)
            return
        yield from self.value(step.pair, around.member(step))

    def _bits(self, step: Step, pair: Pair, around: _Place) -> Statement:
        """Return the statement for a bit-field, which has no address."""
        old, new = (
            _dotted(around.old, _old_name(step)),
            _dotted(around.new, step.new.name),
        )
        if isinstance(pair.op, MapEnum | LeftAlone):
            return self.plain_value(pair, _Place(around.mode, old, new))
        if not isinstance(pair.op, Coded):
            return Statement("assign", new, self._as_new(step.new.instance, old))
        name = self.rules.name(pair.op.rule, None, pair.old, pair.new, (pair.old, pair.new))
        declared = (self.old.spell(pair.old, "value_in"), self.new.spell(pair.new, "value_out"))
        return Statement(
            "through",
            body=(
                Statement("assign", declared[0], old),
                Statement("assign", declared[1], "0"),
                Statement("call", "xf, NULL, &value_in, &value_out", name),
                Statement("assign", new, "value_out"),
            ),
        )

    def value(self, pair: Pair, place: _Place) -> Iterable[Statement]:
        """Yield the statements for one value."""
        op, mode = pair.op, place.mode
        if mode == "patch" and not closed.has_pointers(pair):
            return
        if mode == "visit" and not self._reports(pair):
            return
        match op:
            case Point():
                yield from self.point(op, place)
            case Each():
                yield from self.each(op, place)
            case Fields():
                yield from self.nested(pair, place)
            case Words():
                yield from self.union(op, place)
            case Tagged():
                yield from self.tagged(pair, op, place)
            case _ if mode == "move":
                yield self.plain_value(pair, place)

    def plain_value(self, pair: Pair, place: _Place) -> Statement:
        """Return the statement for a value without pointers that is no struct or array."""
        match pair.op:
            case MapEnum(cases=cases):
                name = self.enum_map(pair, cases)
                return Statement("assign", place.new, f"{name}(xf, {place.old})")
            case Coded(rule=rule):
                rule_name = self.rules.name(rule, None, pair.old, pair.new, (pair.old, pair.new))
                return Statement(
                    "call", f"xf, NULL, {_loose(place.old_address)}, {place.new_address}", rule_name
                )
            case LeftAlone(reason=reason):
                return Statement("remark", comment=f"keeps its initial value: {reason}")
            case _:
                return self.copied(pair, place)

    def copied(self, pair: Pair, place: _Place) -> Statement:
        """Return the statement that copies a value: an assignment where C allows it."""
        pointers = self._is_pointer(self.plan.old, pair.old)
        node = None if pair.new.stars else self.plan.new.node(pair.new)
        if place.new and self.new.bytes_of(pair.new.type) is None:
            if isinstance(node, Scalar | Enum) and not pointers:
                return Statement("assign", place.new, self._as_new(pair.new, place.old))
            if isinstance(node, Pointer) and pointers and not self._is_callable(node):
                return Statement("assign", place.new, f"(void *){place.old}")
        size = str(self.plan.new.size(pair.new))
        return Statement("copy", place.new_address, place.old_address, size)

    def _as_new(self, new: Instance, value: str) -> str:
        """Return `value` as the new type: an enum of the one version is none of the other."""
        is_enum = isinstance(self.plan.new.node(new), Enum)
        return f"({self.new.spell(new)}){value}" if is_enum else value

    def _is_callable(self, node: Pointer) -> bool:
        return isinstance(self.plan.new.node(Instance(node.to)), Function)

    def _is_pointer(self, world: World, instance: Instance) -> bool:
        return bool(instance.stars) or isinstance(world.node(instance), Pointer)

    def point(self, point: Point, place: _Place) -> Iterable[Statement]:
        value = self.pointer(point, place.old, place.owner)
        match place.mode:
            case "move":
                if point.style == "function":
                    value = f"(__typeof__({place.new})){value}"
                yield Statement("assign", place.new, value)
            case "patch":
                yield Statement("store", place.new_address, value)
            case "visit":
                yield Statement("look", "", value)

    def each(self, each: Each, place: _Place) -> Iterable[Statement]:
        if each.flexible and not each.length:
            return
        count = str(min(each.count, each.old_count))
        if each.length:
            count = self.length(each.length, each, place.owner)
        if not each.of.moved and not closed.has_pointers(each.of):
            if place.mode == "move":
                size = self.plan.new.size(each.of.new)
                text = f"{count} * {size}" if size != 1 else count
                yield Statement("copy", place.new_address, place.old_address, text)
            return
        index = _INDICES[place.depth]
        body = tuple(self.value(each.of, place.element(index)))
        if body:
            yield Statement("loop", index, count, body=body)

    def nested(self, pair: Pair, place: _Place) -> Iterable[Statement]:
        mode = place.mode
        if mode == "move" and not pair.moved and not closed.has_pointers(pair):
            size = str(self.plan.new.size(pair.new))
            yield Statement("copy", place.new_address, place.old_address, size)
            return
        name = self.function(mode, pair)
        second = {"move": f", {place.new_address}", "patch": f", {place.new_address}", "visit": ""}
        yield Statement("call", f"xf, {place.old_address}{second[mode]}", name)

    def union(self, op: Words, place: _Place) -> Iterable[Statement]:
        mode = place.mode
        if mode == "move":
            yield Statement("copy", place.new_address, place.old_address, str(op.size))
        if mode != "visit":
            how = "function" if op.functions else "word"
            for offset in op.offsets:
                inner = (
                    f"{address} + {offset}" if offset else address
                    for address in (
                        f"(const char *)({place.old_address})",
                        f"(char *)({place.new_address})",
                    )
                )
                old, new = inner
                yield Statement(
                    "words", new, old, f"{how}_{mode}", comment="which member is not known"
                )

    def tagged(self, pair: Pair, op: Tagged, place: _Place) -> Iterable[Statement]:
        """Yield the statements for a union, or pointer, of which a tag tells what it is."""
        if place.mode == "move" and not pair.moved:
            yield Statement("copy", place.new_address, place.old_address, str(op.old_size))
        bodies = [self.case(case, pair, op, place) for case in op.cases]
        if not any(bodies):
            return
        if len(op.cases) == 1 and op.has_default:
            yield from bodies[0]
            return
        whens = [
            Statement("when", value=self._condition(op, case, place), body=body,
                      comment=case.text)
            for case, body in zip(op.cases, bodies, strict=True)
        ]  # fmt: skip
        if not op.has_default:
            whens.append(Statement("when", body=(self._unknown(pair, op),)))
        tag = self._expression(op.by, "tag", op, place) if op.by else ""
        yield Statement("choose", value=tag, body=tuple(whens))

    def _expression(self, text: str, what: str, op: Tagged, place: _Place) -> str:
        return self.expression(text, what, op.at, place.owner, place.old)

    def _condition(self, op: Tagged, case: Case, place: _Place) -> str:
        what = "label" if op.by else "condition"
        texts = [self._expression(each, what, op, place) for each in case.labels]
        return " || ".join(f"tag == {_number(text)}" if op.by else text for text in texts)

    def _unknown(self, pair: Pair, op: Tagged) -> Statement:
        name = type_place(self.plan.new, pair.new) or pair.where.new_place
        if op.by:
            text = f"the tag of '{name}' is %lld, for which there is no case"
            return Statement("unknown", ", tag", text)
        return Statement("unknown", "", f"no case of '{name}' is true")

    def case(self, case: Case, pair: Pair, op: Tagged, place: _Place) -> tuple[Statement, ...]:
        """Return the statements for one case of a tagged union."""
        is_move = place.mode == "move"
        if case.refused:
            return (self._unknown(pair, op),)
        if case.value is not None:
            return tuple(self.value(case.value, place))
        if not case.steps:
            size = min(op.old_size, op.new_size)
            copied = Statement("copy", place.new_address, place.old_address, str(size))
            return (copied,) if is_move and pair.moved else ()
        body: list[Statement] = []
        for step in case.steps:
            if step.rule is not None:
                body += [self.ruled(pair, step, place)] if is_move else []
            elif step.pair is None:
                body += [_kept(step)] if is_move else []
            elif not is_move or pair.moved or closed.has_pointers(step.pair):
                body += self._member(step, place)
        return tuple(body)

    # -- enums ------------------------------------------------------------------------------------

    def enum_map(self, pair: Pair, cases: tuple[tuple[str, int, int], ...]) -> str:
        """Return the name of the function that maps an enum's values."""
        key = (self.plan.old.stripped(pair.old), self.plan.new.stripped(pair.new))
        if key not in self.enums:
            self.enums[key] = EnumMapView(
                f"_kitsune_map_{self.names.ident(pair)}",
                self.old.spell(pair.old),
                self.new.spell(pair.new),
                self.plan.new.spell(pair.new),
                tuple({case[1]: case for case in cases}.values()),
            )
        return self.enums[key].name

    # -- rules ------------------------------------------------------------------------------------

    def ruled(self, pair: Pair, step: Step, around: _Place) -> Statement:
        """Return the call of a member's rule; `around` is the struct or union that has it."""
        assert step.rule is not None
        old = self._source(pair, step)
        source = old.instance if old else pair.old
        types = (pair.old, pair.new)
        name = self.rules.name(step.rule, pair.old, source, step.new.instance, types)
        out = _dotted(around.new, step.new.name)
        path = ".".join(step.source)
        base = _loose(around.old_address)
        is_bits = step.new.field.bits is not None or (old and old.field.bits is not None)
        if is_bits:
            return self._ruled_bits(step, old, around, out, name)
        address = base
        if old is not None:
            address = f"(void *)&{_dotted(around.old, path or old.name)}"
        return Statement("call", f"xf, {base}, {address}, &{out}", name)

    def _ruled_bits(
        self, step: Step, old: Member | None, around: _Place, out: str, name: str
    ) -> Statement:
        """Return the call of a rule by way of variables, since a bit-field has no address."""
        declared = self.new.spell(step.new.instance, "value_out")
        base = _loose(around.old_address)
        body: tuple[Statement, ...] = (Statement("assign", declared, "0"),)
        if old is not None:
            declared = self.old.spell(old.instance, "value_in")
            path = ".".join(step.source) or old.name
            body = (Statement("assign", declared, _dotted(around.old, path)), *body)
        source = "&value_in" if old is not None else base
        call = Statement("call", f"xf, {base}, {source}, &value_out", name)
        return Statement("through", body=(*body, call, Statement("assign", out, "value_out")))

    def _source(self, pair: Pair, step: Step) -> Member | None:
        """Return the old member that `$in` is; None if it is the whole old struct."""
        view = self.plan.old.resolve(pair.old)
        names = step.source
        if step.rule is not None and step.rule.rule.kind == "init":
            names = (step.new.name,)
        found: Member | None = None
        for name in names:
            if not isinstance(view, Compound):
                return None
            members = self.plan.old.members(view)
            found = next((m for m in members if m.name == name), None)
            if found is None:
                return None
            view = self.plan.old.resolve(found.instance)
        return found

    def _closures(self) -> Iterable[ClosureView]:
        made: set[str] = set()
        for pair in self.plan.closures.values():
            ident = self.names.ident(pair) if pair is not None else ""
            if pair is not None and ident not in made:
                made.add(ident)
                yield ClosureView(
                    f"_kitsune_closure_{ident}",
                    f"{self.plan.old.spell(pair.old)} -> {self.plan.new.spell(pair.new)}",
                    self.type(pair),
                    self.function("move", pair),
                    "KITSUNE__DEEP" if pair.moved else "KITSUNE__SHALLOW",
                    self.plan.old.size(pair.old),
                    self.plan.new.size(pair.new),
                )

    # -- types ------------------------------------------------------------------------------------

    def type(self, pair: Pair) -> str:
        """Return the ident of a pair's `struct kitsune_type`, which is made at its first use."""
        key = self.names.shape(pair)
        if key not in self.types:
            self.types[key] = self.names.ident(pair)
            self._make_type(self.pointed.get(key, pair))
        return self.types[key]

    def _make_type(self, pair: Pair) -> None:
        transform = ""
        if self.names.shape(pair) in self.pointed:
            mode: Mode = "move" if pair.moved else "patch"
            if pair.moved or (pair.visited and closed.has_pointers(pair)):
                transform = self.function(mode, pair)
        visit = ""
        is_part = isinstance(pair.op, Tagged) and (
            self._needs_owner(pair.op) or self._is_inline(pair)
        )
        if self.plan.discover and not is_part and any(True for _ in self.whole(pair, "visit")):
            visit = self.function("visit", pair)
        table = tuple(self._parts(pair))
        extent = self._extent(pair)
        self.unit(pair).types.append(
            TypeView(
                self.names.ident(pair),
                self.plan.new.spell(pair.new),
                _type_reason(pair),
                extent.old_head if extent else str(self.plan.old.size(pair.old)),
                extent.new_head if extent else str(self.plan.new.size(pair.new)),
                self.plan.new.align(pair.new),
                "KITSUNE_MOVE" if pair.moved else "KITSUNE_IN_PLACE",
                transform,
                visit,
                table,
                pair.embedded or pair.into_moved,
                isinstance(pair.op, Fields) and pair.op.pooled,
                self._tail(pair),
                extent,
                pair.allocator,
            )
        )

    def _is_inline(self, pair: Pair) -> bool:
        """Whether generated code has no name for a type: it stands within another one's."""
        return self.new.is_inline(self.plan.new.stripped(pair.new))

    def _needs_owner(self, op: Tagged) -> bool:
        """Whether a union can only be looked at as a member, so that it is no object of its own."""
        texts = [text for text, _ in expressions.texts_of(op)]
        return any(expressions.needs_owner(self.plan.old, text) for text in texts)

    def _part_type(self, pair: Pair) -> str:
        """Return the type of a part: where a pointer may lead to it, or something in it moves."""
        found = self.pointed.get(self.names.shape(pair)) or self.pointed_types.get(
            self.names.types_of(pair)
        )
        if found is not None and found.moved == pair.moved:
            return self.type(found)
        if isinstance(pair.op, Fields) and (pair.moved or pair.visited):
            return self.type(pair)
        return self.type(pair) if isinstance(pair.op, Tagged) and pair.moved else ""

    def _parts(self, pair: Pair) -> Iterable[PartView]:
        if not pair.moved and not self._has_moved_parts(pair):
            return
        if isinstance(pair.op, Each):
            yield self._element_part(pair.op, "0", "0", "elements")
        elif isinstance(pair.op, Tagged):
            for step in (step for case in pair.op.cases for step in case.steps):
                if step.pair is not None and step.old is not None and step.old.field.bits is None:
                    yield self._member_part(pair, step, step.old)
        elif isinstance(pair.op, Fields):
            found = [(self._part_source(pair, step), step) for step in pair.op.steps]
            placed = [(old, step) for old, step in found if old is not None]
            for old, step in sorted(placed, key=lambda each: each[0].offset):
                if step.new.field.bits is None and old.field.bits is None:
                    yield self._member_part(pair, step, old)
            extent = self._extent(pair)
            if extent is not None and self._counted(pair) is None:
                heads = (extent.old_head, extent.new_head)
                yield PartView(*heads, "1", "1", 0, "", "what is behind the type")

    def _has_moved_parts(self, pair: Pair) -> bool:
        return any(part.moved or self._has_moved_parts(part) for part in parts(pair.op))

    def _part_source(self, pair: Pair, step: Step) -> Member | None:
        """Return the old member to which a pointer is one to the new member afterwards."""
        if step.pair is not None:
            return step.old
        if step.rule is not None and len(step.source) == 1:
            return self._source(pair, step)
        return None

    def _member_part(self, pair: Pair, step: Step, source: Member) -> PartView:
        old, new = str(source.offset), str(step.new.offset)
        if step.new.name and not self._is_inline(pair):
            old = f"offsetof({self.old.spell(pair.old)}, {source.name})"
            new = f"offsetof({self.new.spell(pair.new)}, {step.new.name})"
        if step.pair is not None and isinstance(step.pair.op, Each):
            return self._element_part(step.pair.op, old, new, step.new.name)
        sizes = (self.plan.old.size(source.instance), self.plan.new.size(step.new.instance))
        kind = self._part_type(step.pair) if step.pair is not None else ""
        return PartView(old, new, str(sizes[0]), str(sizes[1]), 1, kind, step.new.name)

    def _element_part(self, each: Each, old: str, new: str, comment: str) -> PartView:
        """Return the part of an array; arrays of arrays are one array of their elements."""
        of, count = each.of, min(each.count, each.old_count)
        while isinstance(of.op, Each) and not of.op.flexible:
            count *= min(of.op.count, of.op.old_count)
            of = of.op.of
        sizes = (self.plan.old.size(of.old), self.plan.new.size(of.new))
        return PartView(old, new, str(sizes[0]), str(sizes[1]), count, self._part_type(of), comment)

    def _extent(self, pair: Pair) -> ExtentView | None:
        if not isinstance(pair.op, Fields) or pair.op.extent is None:
            return None
        owner = self.plan.old.resolve(pair.old)
        assert isinstance(owner, Compound)
        *_, old_last = self.plan.old.members(owner)
        counted, new_head = self._counted(pair), str(pair.op.steps[-1].new.offset)
        return ExtentView(
            f"_kitsune_old_extent_{self.names.ident(pair)}",
            f"_kitsune_new_extent_{self.names.ident(pair)}",
            self.old.pointer_to(pair.old, "in", const=True),
            self.length(pair.op.extent.length, pair.op.extent, owner),
            str(old_last.offset),
            new_head,
            f"sizeof({self.new.spell(pair.new)}) - {new_head}"
            if counted is None
            else f"{self.length(counted.length, counted, owner)}"
            f" * {self.plan.new.size(counted.of.new)}",
            self.old.spell(pair.old),
        )

    @staticmethod
    def _counted(pair: Pair) -> Each | None:
        """Return the array at the end of a struct that has none of a length of its own."""
        if not isinstance(pair.op, Fields) or not pair.op.steps:
            return None
        last = pair.op.steps[-1]
        if last.pair is None or last.old is None or not isinstance(last.pair.op, Each):
            return None
        return last.pair.op if last.pair.op.flexible and last.pair.op.length else None

    def _tail(self, pair: Pair) -> TailView | None:
        if not isinstance(pair.op, Fields) or not pair.op.steps or pair.op.extent is not None:
            return None
        last, each = pair.op.steps[-1], self._counted(pair)
        if each is None or last.old is None:
            return None
        owner = self.plan.old.resolve(pair.old)
        assert isinstance(owner, Compound)
        old_type = self.old.spell(pair.old)
        return TailView(
            f"_kitsune_old_tail_{self.names.ident(pair)}",
            f"_kitsune_new_tail_{self.names.ident(pair)}",
            self.old.pointer_to(pair.old, "in", const=True),
            self.length(each.length, each, owner),
            f"offsetof({old_type}, {last.old.name})",
            f"sizeof({old_type})",
            str(self.plan.old.size(each.of.old)),
            str(self.plan.new.size(each.of.new)),
        )

    # -- variables --------------------------------------------------------------------------------

    def _migration(self, migration: Migration) -> MigrationView:
        new, old, pair = migration.new, migration.old, migration.pair
        if new is None:
            assert old is not None
            comment = f"{old.key}: dropped, nothing of the new version asks for it"
            return MigrationView(comment, "", old.key, "", "", "0")
        flags = ["KITSUNE_MIGRATION_AUTO"] if migration.auto else []
        flags += ["KITSUNE_MIGRATION_ADDRESS"] if migration.address else []
        flags += ["KITSUNE_MIGRATION_LATE"] if migration.late else []
        return MigrationView(
            f"{new.key} ({place_text(new.at)}): {describe(migration)}",
            new.key,
            old.key if old is not None else "",
            f"_kitsune_type_{self.type(pair)}" if pair is not None and old is not None else "",
            self._migrate(migration),
            " | ".join(flags) or "0",
        )

    def _migrate(self, migration: Migration) -> str:
        """Return the name of the function that migrates a variable, "" if bytes are copied."""
        new, old, pair = migration.new, migration.old, migration.pair
        assert new is not None
        if migration.address:
            return ""
        if migration.by_hand is not None:
            return self._by_hand(new, migration.by_hand)
        if migration.rule is None and pair is not None:
            if not pair.moved and not closed.has_pointers(pair):
                return ""
        elif migration.rule is None:
            return KEEP_INITIAL
        name = self.names.unique("_kitsune_migrate_" + re.sub(r"\W+", "_", new.key))
        body, instances = self._migrate_body(migration, new, old)
        old_instance, new_instance = instances
        function = FunctionView(
            name,
            describe(migration),
            self.old.pointer_to(old_instance, "in", const=True) if old_instance else "",
            self.new.pointer_to(new_instance, "out"),
            body,
            _names_used(body),
        )
        self._unit(new).migrations.append(function)
        return name

    def _by_hand(self, new: Variable, function: FunctionSymbol) -> str:
        """Return the name of the function that calls the program's own transformer."""
        name = self.names.unique("_kitsune_migrate_" + re.sub(r"\W+", "_", new.key))
        comment = f"by the program's own {function.name} ({place_text(function.at)})"
        made = FunctionView(name, comment, "", "", (), frozenset(), f"{function.name}(new)")
        self._unit(new).migrations.append(made)
        self.by_hand[function.name] = function
        return name

    def _migrate_body(
        self, migration: Migration, new: Variable, old: Variable | None
    ) -> tuple[tuple[Statement, ...], tuple[Instance | None, Instance]]:
        new_instance = self.plan.new.variable_instance(new)
        old_instance = self.plan.old.variable_instance(old) if old is not None else None
        if migration.rule is not None:
            around = (old_instance, new_instance)
            name = self.rules.name(migration.rule, None, old_instance, new_instance, around)
            source = "(void *)in" if old is not None else "NULL"
            body = (Statement("call", f"xf, {source}, {source}, out", name),)
            return body, (old_instance, new_instance)
        pair = migration.pair
        assert pair is not None
        if isinstance(pair.op, Fields):
            name = self.function("move", pair)
            return (Statement("call", "xf, in, out", name),), (pair.old, pair.new)
        return tuple(self.whole(pair, "move")), (pair.old, pair.new)

    # -- functions --------------------------------------------------------------------------------

    def _symbols(self) -> Iterable[tuple[str, str]]:
        """Yield the global functions that are looked up by key and not registered by their unit:
        transformers by hand, and what rules' code names.
        """
        texts = [rule.code or "" for rule in self.plan.rules.rules]
        texts += [preamble.text for preamble in self.plan.rules.preambles]
        keys = {key for text in texts for key in looked_up(text)}
        keys |= {function.key for function in self.by_hand.values()}
        for key in sorted(keys):
            function = self.plan.new.functions.get(key)
            if function and function.defined and not function.registered:
                yield from [(key, function.name)] if function.storage == "global" else []

    def _function_pairs(self) -> Iterable[FunctionPairView]:
        for change in self.plan.functions:
            new = change.new
            direct = new is not None and new.storage == "global"
            symbol = new.name if new is not None and direct else ""
            yield FunctionPairView(
                change.old.key,
                new.key if new is not None else "",
                symbol,
                f"_kitsune_new_function_{symbol}" if symbol else "",
                f"{change.old.key}: {change.reason}",
            )


_REASONS = {
    "move": "written into a new object",
    "patch": "keeps its address, its pointers are rewritten",
    "visit": "reports its pointers",
}


def describe(migration: Migration) -> str:
    """Return in a few words how a variable is carried over."""
    pair = migration.pair
    if migration.rule is not None:
        rule = migration.rule.rule
        return f"by rule '{rule.label}' ({place_text(rule.at)})"
    if migration.by_hand is not None:
        return f"by the program's own {migration.by_hand.name}"
    if migration.address or pair is None:
        return migration.reason or "keeps its initial value"
    if pair.moved:
        return "transformed"
    if closed.has_pointers(pair):
        return "copied, its pointers redirected"
    return "copied"


def _type_reason(pair: Pair) -> str:
    if pair.moved:
        return "changed: objects get new blocks"
    if pair.visited:
        return "holds pointers that change: rewritten in place"
    return "stays as it is"


def _number(label: str) -> str:
    """Return a label as a number: it may be the address of something."""
    return label if re.fullmatch(r"-?\d+|\w+", label) else f"(long long)({label})"


def _kept(step: Step) -> Statement:
    return Statement("remark", comment=f"'{step.new.name}': {step.reason}")


def _old_name(step: Step) -> str:
    return step.old.name if step.old is not None else step.new.name


def _loose(address: str) -> str:
    return f"(void *){address}"


def _names_used(body: tuple[Statement, ...]) -> frozenset[str]:
    text = " ".join(_texts(body))
    return frozenset(re.findall(r"\b(?:in|out|xf)\b", text))


def _texts(body: Iterable[Statement]) -> Iterable[str]:
    for statement in body:
        yield f"{statement.target} {statement.value} {statement.size}"
        if statement.kind in {"store", "words"}:
            yield "xf"
        yield from _texts(statement.body)
