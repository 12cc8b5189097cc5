"""Make a unit's model of its text.

In: a `Scan`. Out: an `Extracted`: the `model.Unit` (sizes and offsets still unknown) and what
insert.py and layout.py need to write the tables: where statics of functions are declared, what can
be named at the end of the unit, where annotations stand. frontend.py calls it.

Selected is what the user's own types, the variables with static storage, the annotated functions
and those whose address is taken reach. A declaration that is not understood costs only itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from kitsune_tool import bodies, frames, noted
from kitsune_tool.casts import FoundCast, find_casts
from kitsune_tool.declare import strip
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.frames import Frame, FrameFinder, LocalVariable, NotedFunction
from kitsune_tool.index import FunctionInfo, Index, VariableInfo, live
from kitsune_tool.model import (
    OWN_HEADERS,
    UNKNOWN,
    Annotations,
    Array,
    Cast,
    Enum,
    FunctionSymbol,
    Pointer,
    Record,
    Type,
    Typedef,
    TypeIndex,
    Unit,
    UpdatePoint,
    Variable,
    children,
    with_children,
)
from kitsune_tool.normalise import MARKER, Misunderstood, Normalised, normalise, tokens, unquote
from kitsune_tool.paths import matches_key
from kitsune_tool.scan import External, Scan
from kitsune_tool.typegraph import DeclaredType, Scope, TypeGraph

_NAMESPACE = "KT_NAMESPACE"
_MARKER = re.compile(rf'\b{MARKER}\s*\(\s*\w+\s*,\s*(?:"(?:[^"\\]|\\.)*+"\s*)++\)')


@dataclass(frozen=True, slots=True)
class LocalStatic:
    """A function's static: `variable` is its place in `Unit.variables`, `end` the offset just
    behind its declaration's `;`. Of a thread-local one `label` is where its name for the assembler
    goes, by which code outside of the function at `function` finds it; -1 if that is not possible.
    """

    variable: int
    end: int
    label: int = -1
    function: int = -1


@dataclass(frozen=True, slots=True)
class NotedLocal:
    """A parameter or local that a frame holds: `variable` is its place in `Unit.variables`, `at`
    the offset where it is noted, `frame` its frame's place in `Extracted.frames`.
    """

    variable: int
    at: int
    frame: int
    slot: int
    is_variable_length: bool
    """Its size may be known only when the program runs."""


@dataclass(frozen=True, slots=True)
class NotedFrame:
    """A frame: it is declared at `start` and holds `count` variables; `outer` is the frame around
    it, None for that of the whole function. `braces` is where it needs a closing brace, or -1.
    """

    start: int
    count: int
    outer: int | None
    braces: int = -1


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of the unit outside of its source.

    `notes_all`: the locals of all functions are noted, else those of `noted` (keys, or ends of
    keys). `registers`: every static is known, else those that the source annotates or names by
    hand. `looked_up` are keys of static functions that are registered whoever takes their address.
    `lto`: the linker optimises the unit, so it must not refer to names of the assembler.
    """

    notes_all: bool = False
    noted: tuple[str, ...] = ()
    registers: bool = True
    looked_up: tuple[str, ...] = ()
    lto: bool = False

    def notes(self, key: str) -> bool:
        """Tell whether the locals of the function of this key are noted."""
        return self.notes_all or any(matches_key(each, key) for each in self.noted)


NOTHING = Said()


@dataclass(frozen=True, slots=True)
class Extracted:
    """A unit and the places in its text."""

    unit: Unit
    locals: tuple[LocalStatic, ...]
    noted: tuple[NotedLocal, ...]
    frames: tuple[NotedFrame, ...]
    first_noted: int
    """Where the definition of the first function with a frame begins."""
    unsized: frozenset[int]
    """Variables (by place) whose type stays incomplete to the unit's end: `int x[];`."""
    weak: frozenset[str]
    """Registered functions whose code is elsewhere and may be nowhere."""
    widths: dict[tuple[TypeIndex, int], str]
    blanks: tuple[tuple[int, int], ...]
    errors: tuple[KitsuneError, ...]
    """What the user must mend, all of it."""
    skipped: tuple[tuple[Location, str], ...]
    """Declarations that were not understood, and why."""


def extract(
    scan: Scan, source: str, locate: Callable[[int], Location], said: Said = NOTHING
) -> Extracted:
    """Make the model of a unit.

    `source` is its file and `locate` gives places, both relative to the version's source root.
    """
    return _Extraction(scan, source, locate, said).run()


class _Extraction:
    def __init__(
        self, scan: Scan, source: str, locate: Callable[[int], Location], said: Said
    ) -> None:
        self.said = said
        self.noted: list[NotedLocal] = []
        self.frames: list[NotedFrame] = []
        self.first_noted = -1
        self.scan = scan
        self.text = scan.text
        self.source = source
        self.locate = locate
        self.index = Index(scan)
        self.graph = TypeGraph(self.index, locate)
        wanted = frozenset(key.rpartition("/")[2] for key in said.looked_up)
        self.live = live(self.index, wanted)
        self.namespace = self._namespace()
        self.variables: list[Variable] = []
        self.unsized: set[int] = set()
        self.locals: list[LocalStatic] = []
        self.named_by_hand = frozenset[str]()
        self.begins = -1
        """Where the definition of the function begins that is being looked into."""
        self.update_points: list[UpdatePoint] = []
        self.requests: list[str | None] = []
        self.casts: dict[tuple[str, str, str], FoundCast] = {}
        """By their types and function."""

    def run(self) -> Extracted:
        for entry in self.index.roots:
            if not self.locate(entry.external.start).file.startswith(OWN_HEADERS):
                self.graph.declare(entry)
        if not self.said.registers:
            self.named_by_hand = self._named_by_hand()
        for info in self.index.variables.values():
            if info.is_defined:
                self._variable(info)
        self._bodies()
        functions, weak = self._functions()
        self.graph.settle()
        kept = _kept(self.graph.types, self.variables, functions)
        unit = Unit(
            source=self.source,
            types=tuple(_moved(self.graph.types[at], kept) for at in kept),
            variables=tuple(dataclasses.replace(v, type=kept[v.type]) for v in self.variables),
            functions=tuple(
                f if f.type is None else dataclasses.replace(f, type=kept[f.type])
                for f in functions
            ),
            update_points=tuple(self.update_points),
            namespace=self.namespace,
            requests=self._requested(),
            casts=tuple(self._casts()),
        )
        return Extracted(
            unit,
            tuple(self.locals),
            tuple(self.noted),
            tuple(self.frames),
            self.first_noted,
            frozenset(self.unsized),
            weak,
            {(kept[r], part): w for (r, part), w in self.graph.widths.items() if r in kept},
            annotation_spans(self.text),
            tuple(self.graph.errors),
            tuple((self.locate(t.offset), str(t)) for _, t in self.index.troubles),
        )

    # -- keys ---------------------------------------------------------------------------------

    def _namespace(self) -> str:
        info = self.index.variables.get(_NAMESPACE)
        for _, declared in info.uses if info else ():
            if declared.initializer:
                parts = list(tokens(self.text, *declared.initializer))
                if all(part.kind == "string" for part in parts):
                    return "".join(unquote(part.text) for part in parts)
        return ""

    def _key(self, name: str, *, is_static: bool, function: str = "") -> str:
        prefix = f"{self.namespace}@" if self.namespace else ""
        if function:
            file = f"{self.source}/" if is_static else ""
            return f"{prefix}{file}{function}#{name}"
        return f"{prefix}{self.source}/{name}" if is_static else f"{prefix}{name}"

    # -- variables of the file ----------------------------------------------------------------

    def _variable(self, info: VariableInfo) -> None:
        declared = [d for d in self._declarations(info) if not self.graph.is_function(d.type)]
        if not declared:
            if info.uses and not any(entry.trouble for entry, _ in info.uses):
                return  # declared by a typedef of a function's type
            declared = [self._not_understood(info)]
        best = next((d for d in declared if not self._is_open_array(d.type)), declared[0])
        if self._is_open_array(best.type):
            best = self._close_array(info, best)
        annotations = tuple(dict.fromkeys(a for d in declared for a in d.annotations))
        key = self._key(info.name, is_static=info.is_static)
        if info.is_static and not self._is_registered(key, annotations):
            return
        self.variables.append(
            Variable(
                key=key,
                name=info.name,
                storage="static" if info.is_static else "global",
                type=best.type,
                thread_local=info.is_thread_local,
                const=best.const,
                annotations=annotations,
                at=self.locate(self._definition_offset(info)),
            )
        )

    def _is_registered(self, key: str, annotations: Annotations) -> bool:
        """Tell whether a static is known: each one is, or the source names it."""
        if self.said.registers or any(a.kind == "auto_migrate" for a in annotations):
            return True
        return key.rpartition("/")[2] in self.named_by_hand

    def _named_by_hand(self) -> frozenset[str]:
        """Return the statics that macros register or migrate, as the end of their keys."""
        found: set[str | None] = set()
        for function in self._defined():
            external = function.definition.external if function.definition else None
            if external is None or external.body is None:
                continue
            calls = bodies.hand_calls(self.text, *external.body, bodies.NOTE_BY_PARTS)
            found |= {call.key(function.name) for call in calls}
            found |= set(bodies.migrated(self.text, *external.body))
        return frozenset(key.rpartition("/")[2] for key in found if key is not None and "/" in key)

    def _declarations(self, info: VariableInfo) -> list[DeclaredType]:
        """Convert all declarations of a variable, its definitions first."""
        uses = sorted(info.uses, key=lambda use: use[1].initializer is None)
        found = []
        for entry, _ in uses:
            try:
                normalised = self.index.normalised(entry)
                declared = self.graph.declare(entry) if not entry.parsed else []
                declared = declared or self.graph.convert(normalised, self.graph.file)
            except Misunderstood as trouble:
                entry.trouble = trouble
                continue
            found += [d for d in declared if d.name == info.name and not d.is_typedef]
        return found

    def _not_understood(self, info: VariableInfo) -> DeclaredType:
        return DeclaredType(info.name, self.graph.unknown(), (), False, 0, False)

    def _is_open_array(self, index: TypeIndex) -> bool:
        node = self.graph.types[index]
        return isinstance(node, Array) and node.length is None

    def _close_array(self, info: VariableInfo, declared: DeclaredType) -> DeclaredType:
        """`int x[] = {…}`: the compiler tells the length; `int x[];` has one element."""
        node = self.graph.types[declared.type]
        assert isinstance(node, Array)
        length = UNKNOWN
        if not any(use.initializer for _, use in info.uses):
            self.unsized.add(len(self.variables))
            length = 1
        return self._with_array(declared, Array(node.of, length, node.annotations))

    def _with_array(self, declared: DeclaredType, array: Array) -> DeclaredType:
        self.graph.types.append(array)
        return DeclaredType(
            declared.name,
            len(self.graph.types) - 1,
            declared.annotations,
            declared.const,
            declared.offset,
            False,
        )

    def _definition_offset(self, info: VariableInfo) -> int:
        for _, declared in info.uses:
            if declared.initializer:
                return declared.offset
        for entry, declared in info.uses:
            if entry.normalised and "extern" not in entry.normalised.storage:
                return declared.offset
        return info.uses[0][1].offset

    # -- bodies -------------------------------------------------------------------------------

    def _bodies(self) -> None:
        seen: dict[tuple[str, str], int] = {}
        for function in self._defined():
            external = function.definition.external if function.definition else None
            if external is None or external.body is None:
                continue
            self.begins = external.start
            for call in bodies.update_points(self.text, *external.body):
                at = self.locate(call.offset)
                self.update_points.append(UpdatePoint(call.name, function.name, at))
            self.requests += bodies.migrated(self.text, *external.body)
            if not function.is_emitted_here:
                continue
            if not function.system:
                self._look_for_casts(function.name, external.start, external.body)
            if self._is_noted(function, external.body):
                self._add_noted(self._noted(function, external), external, seen)
            elif bodies.has_statics(self.text, *external.body):
                for local in self._statics(function.name, external.body):
                    self._add_local(local, seen)

    def _look_for_casts(self, function: str, start: int, body: tuple[int, int]) -> None:
        for cast in find_casts(self.text, start, body, self.index.is_typedef):
            self.casts.setdefault((cast.target, cast.source, function), cast)

    def _casts(self) -> Iterator[Cast]:
        """Yield the casts that may hide a pointer to a struct of the program's own."""
        for (target, source, function), cast in self.casts.items():
            from_own = self._is_own(source)
            hides = from_own and target != "void *"
            if cast.makes_number:
                hides = from_own or not source
            if target != source and (hides or self._is_own(target)):
                yield Cast(target, source, function, self.locate(cast.offset))

    def _is_own(self, text: str) -> bool:
        """Tell whether a type is a pointer to a struct or union that no system header defines."""
        name = text.rstrip(" *")
        if name.startswith(("struct ", "union ")):
            tag = self.index.tags.get(name)
            return name != text and not (tag and tag.external.system)
        entry, at = self.index.typedefs.get(name), self.graph.file.typedefs.get(name)
        if entry is None or entry.external.system or at is None:
            return False
        node = self.graph.types[strip(self.graph.types, at)]
        if name == text and isinstance(node, Pointer):
            return isinstance(self.graph.types[strip(self.graph.types, node.to)], Record)
        return name != text and isinstance(node, Record)

    def _is_noted(self, function: FunctionInfo, body: tuple[int, int]) -> bool:
        if function.system:
            return False
        heads = [self._head(entry.external) for entry in function.entries]
        if not all(map(frames.can_hold, heads)):
            return False
        return (
            any(map(frames.is_annotated, heads))
            or noted.is_noted_by_hand(self.text, *body)
            or self.said.notes(self._key(function.name, is_static=function.is_static))
        )

    def _head(self, external: External) -> str:
        end = external.body[0] if external.body else external.end
        return self.text[external.start : end]

    def _noted(self, function: FunctionInfo, external: External) -> NotedFunction:
        assert external.body is not None
        definition = function.definition
        head = Normalised()
        signature: DeclaredType | None = None
        if definition is not None:
            with contextlib.suppress(Misunderstood):
                head = self.index.normalised(definition)
                found = self.graph.convert(head, self.graph.file)
                signature = next((d for d in found if d.name == function.name), None)
        finder = FrameFinder(function.name, self.text, self.graph, self._declaration_at)
        return finder.find(head, signature, external.body)

    def _declaration_at(
        self, scope: Scope, start: int, end: int
    ) -> tuple[Normalised, list[DeclaredType]] | None:
        return self._local_declaration(scope, bodies.Event("type", start, end))

    def _add_noted(
        self, function: NotedFunction, external: External, seen: dict[tuple[str, str], int]
    ) -> None:
        places = self._add_frames(function.frames)
        if places and self.first_noted < 0:
            self.first_noted = external.start
        slots = dict.fromkeys(places, 0)
        keys: dict[int, str] = {}
        for variable in function.variables:
            variable.declared = self._closed(variable.declared)
            keys[id(variable)] = self._add_local(variable, seen)
            if variable.frame >= 0:
                place = places[variable.frame]
                is_open = self._has_open_array(variable.declared.type)
                slot = slots[variable.frame]
                slots[variable.frame] += 1
                self.noted.append(
                    NotedLocal(len(self.variables) - 1, variable.end, place, slot, is_open)
                )
        for note in function.hand:
            if isinstance(note.meaning, str):
                self.graph.errors.append(self._not_noted(function.name, note))
            elif note.migrates:
                self.requests.append(keys[id(note.meaning)])

    def _add_frames(self, found: list[Frame]) -> dict[int, int]:
        """Take the frames that hold something, and the function's own; return their places."""
        places: dict[int, int] = {}
        if not any(frame.count for frame in found):
            return places
        for number, frame in enumerate(found):
            if not frame.count and number:
                continue
            parent = frame.parent
            while parent not in places and parent >= 0:
                parent = found[parent].parent
            outer = places[parent] if number else None
            places[number] = len(self.frames)
            self.frames.append(NotedFrame(frame.start, frame.count, outer, frame.braces))
        return places

    def _not_noted(self, function: str, note: frames.HandNote) -> KitsuneError:
        return KitsuneError(
            "K055",
            f"'{note.name}' is no local of '{function}' that can be noted: {note.meaning}",
            at=self.locate(note.offset),
            hint="name a parameter or a variable that is declared in a block before this,"
            "\nwithout 'register' and without 'static'",
        )

    def _closed(self, declared: DeclaredType) -> DeclaredType:
        """Return what `T x[] = {…}` declares: the compiler tells the length."""
        if not self._is_open_array(declared.type):
            return declared
        node = self.graph.types[declared.type]
        assert isinstance(node, Array)
        return self._with_array(declared, Array(node.of, UNKNOWN, node.annotations))

    def _has_open_array(self, at: TypeIndex) -> bool:
        """Tell whether the length of an array in a declaration is left to the compiler."""
        seen: set[TypeIndex] = set()
        while at not in seen:
            seen.add(at)
            node = self.graph.types[at]
            if isinstance(node, Array) and node.length == UNKNOWN:
                return True
            if not isinstance(node, Array | Pointer | Typedef):
                return False
            at = children(node)[0]
        return False

    def _requested(self) -> tuple[str | None, ...]:
        """Return the keys that `MIGRATE_*` asks for.

        A macro names a static by `__FILE__`, which is the unit's source as the compiler was told;
        the unit's own key is meant then.
        """
        own = {v.key.rpartition("/")[2]: v.key for v in self.variables if "/" in v.key}
        found = (
            own.get(key.rpartition("/")[2], key) if key is not None and "/" in key else key
            for key in self.requests
        )
        return tuple(dict.fromkeys(found))

    def _defined(self) -> list[FunctionInfo]:
        """Return the functions whose code is in this unit, in the text's order."""
        found = [f for f in self.index.functions.values() if f.definition and f.name in self.live]
        return sorted(found, key=lambda f: f.definition.external.start if f.definition else 0)

    def _statics(self, function: str, body: tuple[int, int]) -> list[LocalVariable]:
        scope = Scope(self.graph.file, function)
        found: list[LocalVariable] = []
        for event in bodies.events(self.text, *body):
            if event.kind == "open":
                scope = Scope(scope, function)
            elif event.kind == "close":
                scope = scope.parent or scope
            elif event.kind == "static":
                found += self._static(function, scope, event)
            else:
                self._local_declaration(scope, event)
        return found

    def _local_declaration(
        self, scope: Scope, event: bodies.Event
    ) -> tuple[Normalised, list[DeclaredType]] | None:
        def is_typedef(name: str) -> bool:
            return self.graph.is_typedef(name, scope)

        try:
            normalised = normalise(self.text, event.start, event.end, is_typedef)
        except Misunderstood as trouble:
            self._note(event, trouble)
            return None
        try:
            return normalised, self.graph.convert(normalised, scope)
        except Misunderstood as trouble:
            self._note(event, trouble)
            return normalised, []

    def _note(self, event: bodies.Event, trouble: Misunderstood) -> None:
        external = External(event.start, event.end, None, False)
        self.index.note(external, trouble)

    def _static(self, function: str, scope: Scope, event: bodies.Event) -> list[LocalVariable]:
        result = self._local_declaration(scope, event)
        if result is None:
            return []
        normalised, declared = result
        types = {d.name: d for d in declared}
        found = []
        for name in normalised.declared:
            if name.is_function:
                continue
            declaration = types.get(name.name) or DeclaredType(
                name.name, self.graph.unknown(), (), False, name.offset, False
            )
            declaration = self._closed(declaration)
            found.append(frames.static_variable(function, declaration, event.end, name, normalised))
        return found

    def _add_local(self, local: LocalVariable, seen: dict[tuple[str, str], int]) -> str:
        """Add a function's variable to the unit; return its key."""
        name = local.declared.name
        is_static = local.frame < 0
        counted = (local.function if is_static else f"{local.function}#", name)
        count = seen[counted] = seen.get(counted, 0) + 1
        spelled = name if count == 1 else f"{name}.{count}"
        key = self._key(spelled, is_static=is_static, function=local.function)
        if is_static and not self._is_registered(key, local.declared.annotations):
            return key
        if is_static:
            label = -1 if self.said.lto or not local.is_thread_local else local.label
            self.locals.append(LocalStatic(len(self.variables), local.end, label, self.begins))
        self.variables.append(
            Variable(
                key=key,
                name=name,
                storage=_storage(local),
                type=local.declared.type,
                function=local.function,
                thread_local=local.is_thread_local,
                const=local.declared.const,
                annotations=local.declared.annotations,
                at=self.locate(local.offset),
            )
        )
        return key

    # -- functions ----------------------------------------------------------------------------

    def _functions(self) -> tuple[tuple[FunctionSymbol, ...], frozenset[str]]:
        taken = self._taken()
        symbols = []
        weak = set()
        for name, info in self.index.functions.items():
            is_here = info.is_emitted_here and name in self.live
            is_defined = is_here and not info.system
            registered = name in taken and (is_here or not info.is_static)
            registered = registered or (is_defined and self._is_looked_up(info))
            if not is_defined and not registered:
                continue
            if registered and not is_here:
                weak.add(name)
            symbols.append(self._function(info, registered, is_here))
        return tuple(symbols), frozenset(weak)

    def _is_looked_up(self, info: FunctionInfo) -> bool:
        if not info.is_static or not self.said.looked_up:
            return False
        key = self._key(info.name, is_static=True)
        return any(matches_key(pattern, key) for pattern in self.said.looked_up)

    def _function(self, info: FunctionInfo, registered: bool, defined: bool) -> FunctionSymbol:
        declared: list[DeclaredType] = []
        for entry in info.entries:
            wanted = registered and entry is info.entries[0]
            wanted = wanted or (entry is info.definition and self._may_allocate(info))
            if self.index.is_marked(entry) or wanted:
                declared += [d for d in self._prototype(info, entry) if d.name == info.name]
        annotations = dict.fromkeys(a for d in declared for a in d.annotations)
        return FunctionSymbol(
            key=self._key(info.name, is_static=info.is_static),
            name=info.name,
            storage="static" if info.is_static else "global",
            type=declared[0].type if declared else None,
            defined=defined,
            registered=registered,
            annotations=tuple(annotations),
            at=self.locate(info.offset),
        )

    def _may_allocate(self, info: FunctionInfo) -> bool:
        """Tell whether a function could be one of those that `E_CUSTOM`, or the manifest, names: it
        has one parameter, and that or the result is a pointer. Only of these the type is recorded.
        """
        external = info.definition.external if info.definition else None
        if external is None or external.body is None or info.is_static or info.system:
            return False
        head = self.text[external.start : external.body[0]]
        return "*" in head and _ONE_PARAMETER.search(head) is not None

    def _prototype(self, info: FunctionInfo, entry: object) -> list[DeclaredType]:
        for each in info.entries:
            if each is entry:
                try:
                    return self.graph.convert(self.index.normalised(each), self.graph.file)
                except Misunderstood as trouble:
                    self.index.note(each.external, trouble)
        return []

    def _taken(self) -> set[str]:
        """Return the functions of the program whose address the unit's emitted code takes."""
        functions = {f.name for f in self.index.functions.values() if not f.system}
        taken: set[str] = set()
        for function in self._defined():
            external = function.definition.external if function.definition else None
            if external and external.body and not external.system:
                start, end = external.body
                found = bodies.addresses(self.text, start, end, functions, external.start)
                taken.update(token.text for token in found)
        for info in self.index.variables.values():
            for _, declared in info.uses:
                if info.is_defined and declared.initializer:
                    found = bodies.addresses(self.text, *declared.initializer, functions)
                    taken.update(token.text for token in found)
        return taken

    # -- annotations --------------------------------------------------------------------------


_ONE_PARAMETER = re.compile(r"\w\s*\(\s*(?!void\s*\))[^(),]+\)\s*\Z")


def _storage(local: LocalVariable) -> Literal["local_static", "local", "parameter"]:
    if local.frame < 0:
        return "local_static"
    return "parameter" if local.is_parameter else "local"


def annotation_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return the place of each annotation, for blanking it out."""
    if text.find(MARKER) < 0:
        return ()
    return tuple(match.span() for match in _MARKER.finditer(text))


def _kept(
    types: list[Type], variables: list[Variable], functions: tuple[FunctionSymbol, ...]
) -> dict[TypeIndex, TypeIndex]:
    """Return the new index of each type that something named reaches, in the old order."""
    named = (Typedef, Record, Enum)
    pending = [at for at, node in enumerate(types) if isinstance(node, named) and not node.scope]
    pending += [variable.type for variable in variables]
    pending += [function.type for function in functions if function.type is not None]
    seen = set()
    while pending:
        at = pending.pop()
        if at not in seen:
            seen.add(at)
            pending += children(types[at])
    return {old: new for new, old in enumerate(sorted(seen))}


def _moved(node: Type, kept: dict[TypeIndex, TypeIndex]) -> Type:
    below = children(node)
    return with_children(node, tuple(kept[at] for at in below)) if below else node
