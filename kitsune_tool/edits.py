"""Control-flow edits that the manifest asks for, made in a unit's preprocessed text.

In: scanned C, the edits, and a way to expand macros as the unit would. Out: insertions after which
every line is where it was, and one `EditMatch` per place. Called by frontend.py; `check_matches` is
called for the whole program when a release is made.

Text in an edit is matched token by token, first as written, then with the unit's macros expanded,
as the unit's own text is expanded already. Edits that meet at one place nest, the earlier outside.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location, Note
from kitsune_tool.insert import Insertion
from kitsune_tool.model import EditMatch
from kitsune_tool.scan import External, Scan, scan
from kitsune_tool.statements import Statement, Token, matching, parse_body, tokenize

_ACTIONS = ("update_point", "guard", "insert", "declare", "field")
_SHOWN = 160
_NOT_FUNCTIONS = frozenset((
    "__attribute__", "__attribute", "__asm__", "__asm", "asm", "typeof", "__typeof__", "__typeof",
    "_Alignas", "alignas", "__declspec", "__kt__", "if", "while", "for", "switch", "return", "void",
    "int", "char", "long", "short", "unsigned", "signed", "float", "double", "_Bool", "_Atomic",
))  # fmt: skip
_DECLARING = frozenset((
    "auto", "char", "const", "double", "enum", "extern", "float", "inline", "int", "long",
    "register", "restrict", "short", "signed", "static", "struct", "typedef", "union", "unsigned",
    "void", "volatile", "_Alignas", "_Atomic", "_Bool", "_Complex", "_Noreturn", "_Static_assert",
    "_Thread_local", "__auto_type", "__const", "__extension__", "__inline", "__inline__",
    "__int128", "__label__", "__signed__", "__thread", "__typeof", "__typeof__", "__volatile__",
    "alignas", "bool", "constexpr", "static_assert", "thread_local", "typeof", "typeof_unqual",
))  # fmt: skip
_LOOPS = ("for", "while", "do")
_MADE_OF = {"insert": "statements", "declare": "declarations", "field": "members"}
"""What the C text of an action is made of, for those that have any."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of the manifest, resolved. `index` is its place in the version's list of edits.

    Of the places, those that the action does not have are empty. `count` is the number of places
    in the whole program; `at` is where the manifest says it, known when a release is made.
    """

    index: int
    action: str
    text: str
    function: str = ""
    loop: str = ""
    to: str = ""
    before: str = ""
    after: str = ""
    record: str = ""
    count: int = 1
    at: Location | None = None

    def __str__(self) -> str:
        where = f"in {self.function}" if self.function else f"in {self.record}"
        return f"edit {self.index + 1} ({self.action} '{_one_line(self.text)}' {where})"


@dataclass(frozen=True, slots=True)
class Expansion:
    """What the unit's macros make of pieces of text, and what kitsune.h adds to the unit.

    `declarations` is the preprocessed text of kitsune.h behind all that the unit includes: empty if
    the unit includes it itself.
    """

    pieces: tuple[str, ...]
    declarations: str


Expand = Callable[[Sequence[str]], Expansion]


def unexpanded(pieces: Sequence[str]) -> Expansion:
    """Return the pieces as they are, for text that no compiler is at hand for."""
    return Expansion(tuple(pieces), "")


def read_edits(items: Sequence[Mapping[str, Any]]) -> tuple[Edit, ...]:
    """Read the edits of the front-end's configuration: objects as in the manifest."""
    return tuple(read_edit(index, item) for index, item in enumerate(items))


def read_edit(index: int, item: Mapping[str, Any], at: Location | None = None) -> Edit:
    """Read one edit of the configuration; raises `ValueError` if it is none."""
    fields = dict(item)
    action = next((action for action in _ACTIONS if action in fields), None)
    fields.pop("at", None)  # of an insertion: only `start` is possible
    if action is None or not set(fields) <= {action, *Edit.__slots__}:
        raise ValueError(f"not an edit: {item}")
    text = str(fields.pop(action))
    count = int(fields.pop("count", 1))
    return Edit(index, action, text, count=count, at=at, **{k: str(v) for k, v in fields.items()})


def apply(
    scanned: Scan,
    edits: Sequence[Edit],
    source: str,
    expand: Expand,
    relative: Callable[[str], str],
) -> tuple[list[Insertion], tuple[EditMatch, ...]]:
    """Return what makes the edits in the functions and records that the unit `source` defines.

    `relative` turns a file's name as in the text into one relative to the source root, as `source`
    is. `expand` is called at most once, and only if something is to be done. Raises `KitsuneError`
    if a place in a function that is here is not found, or is found more often than the edit's
    count; `KitsuneErrors` if that holds for several edits.
    """
    text = scanned.text
    possible = [edit for edit in edits if _last_name(edit.function or edit.record) in text]
    targets = list(_targets(scanned, possible, source)) if possible else []
    return _apply(scanned, targets, expand, relative) if targets else ([], ())


def check_matches(
    edits: Sequence[Edit], matches: Iterable[EditMatch], known: Sequence[str]
) -> None:
    """Raise `KitsuneError`s for the edits that match too few or too many places of the program.

    `known` are keys of functions and names of records (`struct s`), for "did you mean".
    """
    found: dict[int, list[EditMatch]] = {edit.index: [] for edit in edits}
    for match in dict.fromkeys(matches):
        found.setdefault(match.edit, []).append(match)
    errors = [
        _wrong_total(edit, found[edit.index], known)
        for edit in edits
        if len(found[edit.index]) != edit.count
    ]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise KitsuneErrors(tuple(errors))


def _wrong_total(edit: Edit, matches: Sequence[EditMatch], known: Sequence[str]) -> KitsuneError:
    if matches:
        notes = tuple(Note(match.at, f"in {match.function}: {match.text}") for match in matches)
        return KitsuneError(
            "K076",
            f"{edit} matches {_times(len(matches))}, not {edit.count}",
            at=edit.at,
            notes=notes,
            hint=f"name one function as file.c/function, or write 'count: {len(matches)}'",
        )
    wanted = edit.function or edit.record
    kind = "function" if edit.function else "definition of"
    return KitsuneError(
        "K075",
        f"{edit} matches nothing: the program has no {kind} '{wanted}'",
        at=edit.at,
        hint=_did_you_mean(wanted, known),
    )


def _did_you_mean(wanted: str, known: Sequence[str]) -> str | None:
    by_name = {_last_name(name): name for name in known}
    near = difflib.get_close_matches(wanted, known, n=3)
    near += [by_name[name] for name in difflib.get_close_matches(_last_name(wanted), by_name, n=3)]
    unique = list(dict.fromkeys(near))
    return f"did you mean {' or '.join(repr(name) for name in unique)}?" if unique else None


# ---- targets: the definitions that edits speak of ------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Target:
    """A definition, and the edits to be made in it."""

    external: External
    edits: tuple[Edit, ...]


def _targets(scanned: Scan, edits: Sequence[Edit], source: str) -> Iterator[_Target]:
    """Yield the external declarations that edits are to be made in, in the order of the text."""
    for external in scanned.externals:
        text = scanned.text[external.start : external.end]
        here = [
            edit
            for edit in edits
            if _last_name(edit.function or edit.record) in text
            and _is_target(scanned, external, edit, source)
        ]
        if here:
            yield _Target(external, tuple(here))


def _is_target(scanned: Scan, external: External, edit: Edit, source: str) -> bool:
    if edit.record:
        return not external.system and _record_braces(scanned.text, external, edit.record) != ()
    if external.body is None:
        return False
    file, _, name = edit.function.rpartition("@")[2].rpartition("/")
    if function_name(scanned.text, external) != name:
        return False
    there = (source, scanned.locate(external.start).file)
    return not file or any(_is_path_suffix(file, path) for path in there)


def _is_path_suffix(suffix: str, path: str) -> bool:
    return path == suffix or path.endswith("/" + suffix)


def _last_name(path: str) -> str:
    """Return the identifier at the end of a key or of a record's path."""
    return re.split(r"[/@#\s]", path.strip())[-1]


def function_name(text: str, external: External) -> str:
    """Return the name of the function that `external` defines, "" if it cannot be told."""
    assert external.body is not None
    head = tokenize(text, external.start, external.body[0])
    for index, token in enumerate(head):
        after = next((each.text for each in head[index + 1 :] if each.text != ")"), "")
        is_name = re.match(r"[A-Za-z_$]", token.text) and token.text not in _NOT_FUNCTIONS
        if is_name and after == "(":
            return token.text
    return ""


def _record_braces(text: str, external: External, record: str) -> tuple[int, ...]:
    """Return the offset of `record`'s closing brace, if `external` defines it."""
    kind, _, name = record.partition(" ")
    tokens = tokenize(text, external.start, external.end)
    for index, token in enumerate(tokens):
        if external.body and token.start >= external.body[0]:
            break
        if token.text != "{":
            continue
        end = matching(tokens, index)
        if kind == "typedef":
            is_it = tokens[0].text == "typedef" and _declared_name(tokens[end:]) == name
        else:
            is_it = _tag_before(tokens[:index]) == (kind, name.strip())
        if is_it:
            return (tokens[end - 1].start,)
    return ()


def _declared_name(tokens: Sequence[Token]) -> str:
    names = [t.text for t in tokens if re.match(r"[A-Za-z_$]", t.text)]
    return names[-1] if names else ""


def _tag_before(tokens: Sequence[Token]) -> tuple[str, str]:
    """Return ("struct", tag) if the tokens end with the head of a record's definition."""
    for index in range(len(tokens) - 1, -1, -1):
        text = tokens[index].text
        if text in ("struct", "union"):
            names = [t.text for t in _without_groups(tokens[index + 1 :])]
            plain = [name for name in names if name not in _NOT_FUNCTIONS]
            return (text, plain[0]) if len(plain) == 1 else ("", "")
        if text in (";", "{", "}"):
            break
    return ("", "")


def _without_groups(tokens: Sequence[Token]) -> Iterator[Token]:
    index = 0
    while index < len(tokens):
        if tokens[index].text in ("(", "["):
            index = matching(tokens, index)
        else:
            yield tokens[index]
            index += 1


# ---- making the edits ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an edit is made: `[start, end)` of the text; `wraps` if the edit spans it."""

    start: int
    end: int
    before: str
    after: str
    wraps: bool
    shown: str


def _apply(
    scanned: Scan, targets: Sequence[_Target], expand: Expand, relative: Callable[[str], str]
) -> tuple[list[Insertion], tuple[EditMatch, ...]]:
    edits = list(dict.fromkeys(edit for target in targets for edit in target.edits))
    _check_codes(scanned, targets)
    expansion = expand([piece for edit in edits for piece in _pieces(edit)])
    pieces = iter(expansion.pieces)
    expanded = {edit: tuple(_one_line(next(pieces)) for _ in _pieces(edit)) for edit in edits}
    insertions: list[Insertion] = []
    declared: set[str] = set()
    matches: list[EditMatch] = []
    errors: list[KitsuneError] = []
    for target in targets:
        made: list[_Made] = []
        for edit in target.edits:
            try:
                places = _Definition(scanned, target.external).places(edit, expanded[edit])
                made += [_Made(edit, place) for place in places]
            except KitsuneError as error:
                errors.append(error)
        _check_nesting(scanned, made)
        new = _missing(scanned, target.external, made, expansion.declarations, declared)
        insertions += _declarations(scanned, target.external, new)
        declared |= set(new)
        insertions += _insertions(made)
        matches += [_match(scanned, target.external, each, relative) for each in made]
    if errors:
        raise errors[0] if len(errors) == 1 else KitsuneErrors(tuple(errors))
    return insertions, tuple(matches)


@dataclass(frozen=True, slots=True)
class _Made:
    """An edit and one of its places."""

    edit: Edit
    place: _Place


def _check_codes(scanned: Scan, targets: Sequence[_Target]) -> None:
    """Raise if an edit's text does not stand by itself, at what it would be inserted in."""
    for target in targets:
        for edit in target.edits:
            if edit.action in _MADE_OF:
                _check_code(edit, _line_of(scanned, target.external.start))


def _match(
    scanned: Scan, external: External, made: _Made, relative: Callable[[str], str]
) -> EditMatch:
    name = function_name(scanned.text, external) if external.body else ""
    at = _line_of(scanned, made.place.start)
    at = Location(relative(at.file), at.line)
    return EditMatch(made.edit.index, name, at, made.place.shown)


def _pieces(edit: Edit) -> tuple[str, ...]:
    """Return the texts of an edit that macros may stand in; the order is known to `_Definition`."""
    match edit.action:
        case "update_point":
            return (edit.loop,)
        case "guard":
            return (edit.text, edit.to)
        case "insert":
            return (edit.text, edit.before or edit.after)
        case _:
            return (edit.text,)


def _check_code(edit: Edit, at: Location) -> None:
    """Raise K074 if the C text of an edit does not stand by itself."""
    if re.search(r"^\s*#", edit.text, re.M):
        raise KitsuneError(
            "K074",
            f"{edit}: the inserted text has a preprocessor directive",
            at=at,
            hint="put the directive into a header of the program, or write what it stands for",
        )
    tokens = tokenize(edit.text)
    depth = 0
    for token in tokens:
        depth += (token.text in "([{") - (token.text in ")]}")
        if depth < 0:
            break
    if depth != 0 or not tokens or tokens[-1].text not in (";", "}"):
        raise KitsuneError(
            "K074",
            f"{edit}: the inserted text is not made of whole {_MADE_OF[edit.action]}",
            at=at,
            hint="end it with ';' and close each bracket in it",
        )


def _insertions(made: Sequence[_Made]) -> list[Insertion]:
    """Return the insertions in their order: of those at one offset, ends before beginnings, and of
    beginnings the earlier edit's first, of ends its last.
    """
    keyed: list[tuple[tuple[int, bool, int], str]] = []
    for each in made:
        place, order = each.place, each.edit.index
        if place.before:
            keyed.append(((place.start, True, order), place.before))
        if place.after:
            keyed.append(((place.end, False, -order), place.after))
    return [Insertion(key[0], text) for key, text in sorted(keyed)]


def _check_nesting(scanned: Scan, made: Sequence[_Made]) -> None:
    """Raise if two edits wrap ranges that cross: one must be inside the other."""
    wraps = [each for each in made if each.place.wraps]
    for index, one in enumerate(wraps):
        for other in wraps[index + 1 :]:
            if not _nest(one, other):
                raise KitsuneError(
                    "K073",
                    f"{other.edit} crosses {one.edit}",
                    at=_line_of(scanned, other.place.start),
                    notes=(Note(_line_of(scanned, one.place.start), "the other one begins here"),),
                    hint="let one range contain the other, the outer one first in the manifest",
                )


def _nest(one: _Made, other: _Made) -> bool:
    """Tell whether the ranges are apart, or one in the other with the outer edit first where their
    ends meet.
    """
    a, b = one.place, other.place
    if a.end <= b.start or b.end <= a.start:
        return True
    outer, inner = (one, other) if (a.start, -a.end) <= (b.start, -b.end) else (other, one)
    if inner.place.end > outer.place.end:
        return False
    meets = inner.place.start == outer.place.start or inner.place.end == outer.place.end
    same = (a.start, a.end) == (b.start, b.end)
    return same or not meets or outer.edit.index < inner.edit.index


def _missing(
    scanned: Scan, external: External, made: Sequence[_Made], header: str, before: set[str]
) -> list[str]:
    """Return the declarations of kitsune.h that the edits need and the unit has not yet: neither in
    its own text nor `before`, in front of an earlier definition.
    """
    code = " ".join(each.place.before + each.place.after for each in made)
    wanted = set(re.findall(r"\bkitsune_\w+", code))
    missing = [
        name
        for name in sorted(wanted)
        if not re.search(rf"\b{name}\b", scanned.text[: external.start])
    ]
    return [text for text in _declared_by(header, missing) if text not in before]


def _declarations(scanned: Scan, external: External, texts: Sequence[str]) -> Iterator[Insertion]:
    """Yield the declarations on lines of their own before the definition, behind which the user's
    lines are counted as before.
    """
    if texts:
        at = scanned.locate(external.start)
        file = at.file.replace("\\", "\\\\").replace('"', '\\"')
        flag = " 3" if external.system else ""
        back = f'\n# {at.line} "{file}"{flag}\n' + " " * (at.column - 1)
        lines = "\n".join(texts)
        yield Insertion(external.start, f'\n# 1 "<kitsune>" 3\n{lines}{back}')


def _declared_by(header: str, names: Sequence[str]) -> list[str]:
    """Return the declarations in `header` of these names and of what they need, in its order."""
    if not names:
        return []
    scanned = scan(header)
    texts = [_spaced(tokenize(header, each.start, each.end)) for each in scanned.externals]
    chosen: set[int] = set()
    queue, seen = list(names), set(names)
    while queue:
        name = queue.pop()
        for index, text in enumerate(texts):
            if index not in chosen and re.search(rf"\b{name}\b", text):
                chosen.add(index)
                new = set(re.findall(r"\bkitsune_\w+", text)) - seen
                seen |= new
                queue += new
    return [texts[index] for index in sorted(chosen)]


# ---- places in a definition ----------------------------------------------------------------------


class _Definition:
    """A function's body or a record's members, in which places are looked for."""

    def __init__(self, scanned: Scan, external: External) -> None:
        self._scanned = scanned
        self._text = scanned.text
        self._external = external
        start, end = external.body or (external.start, external.end)
        self._tokens = tokenize(self._text, start, end)
        self._body = parse_body(self._tokens) if external.body else None

    def places(self, edit: Edit, expanded: tuple[str, ...]) -> list[_Place]:
        """Return the places of `edit`, of which there are between one and `edit.count`."""
        if edit.action == "field":
            return [self._field(edit, expanded[0])]
        if edit.action == "declare":
            return [self._above(expanded[0])]
        if edit.action == "insert" and not edit.before and not edit.after:
            return [self._start(expanded[0])]
        if edit.action == "update_point":
            places = [self._loop_head(loop, edit) for loop in self._loops(edit, expanded[0])]
        elif edit.action == "guard":
            places = self._guards(edit, expanded)
        else:
            places = self._beside(edit, expanded)
        if len(places) > edit.count:
            raise self._too_many(edit, places)
        return places

    # -- loops

    def _loops(self, edit: Edit, expanded: str) -> list[Statement]:
        loops = [each for each in self._statements() if self._is_loop(each)]
        if edit.loop.isdigit() or not edit.loop:
            number = int(edit.loop or 1)
            found = loops[number - 1 : number] if number else []
        else:
            found = []
            for wanted in (edit.loop, expanded):
                pattern = [token.text for token in tokenize(wanted)]
                found = found or [each for each in loops if self._has(self._head(each), pattern)]
        if not found:
            raise self._no_loop(edit, loops)
        return found

    def _is_loop(self, statement: Statement) -> bool:
        """Tell whether it is a loop to a reader: `do … while (0)`, mostly a macro's, is none."""
        head = [token.text for token in self._head(statement)]
        return statement.kind in _LOOPS and head != ["while", "(", "0", ")"]

    def _loop_head(self, loop: Statement, edit: Edit) -> _Place:
        call = f"kitsune_update({json.dumps(edit.text)});"
        body = loop.inner[0] if loop.kind == "do" else loop.inner[-1]
        if body.kind == "block":
            start = self._tokens[body.first].end
            return _Place(start, start, f" {call}", "", False, call)
        start, end = self._offsets(body.first, body.end)
        return _Place(start, end, f"{{ {call} ", " }", True, call)

    def _no_loop(self, edit: Edit, loops: Sequence[Statement]) -> KitsuneError:
        wanted = f"loop {edit.loop or 1}" if edit.loop.isdigit() or not edit.loop else edit.loop
        notes = [
            Note(self._at(loop), f"loop {number}: {self._show(self._head(loop))}")
            for number, loop in enumerate(loops, 1)
        ]
        has = f"{len(loops)} loop{'s' * (len(loops) != 1)}"
        return KitsuneError(
            "K070",
            f"{edit} matches nothing: '{self._name}' has {has}, not '{wanted}'",
            at=self._line(self._external.start),
            notes=tuple(notes),
            hint="name one of these by its number or its head" if loops else None,
        )

    # -- statements

    def _guards(self, edit: Edit, expanded: tuple[str, ...]) -> list[_Place]:
        first = self._holding(edit, edit.text, expanded[0])
        if not edit.to:
            return [self._guard(edit, path[-1], path[-1], path[:-1]) for path in first]
        last = self._holding(edit, edit.to, expanded[1])
        return [self._guard_range(edit, path, last) for path in first]

    def _guard_range(
        self, edit: Edit, first: list[Statement], ends: list[list[Statement]]
    ) -> _Place:
        """Guard from a statement through the next of `ends` that is in the same block."""
        block, listed = _listed(first)
        for path in ends:
            other_block, other = _listed(path)
            if other_block is block and other.first >= listed.first:
                return self._guard(edit, first[-1], other, [block])
        raise self._bad_range(
            edit, first[-1], f"'{edit.to}' is not behind it in the same block", ends
        )

    def _guard(
        self, edit: Edit, first: Statement, last: Statement, parents: Sequence[Statement]
    ) -> _Place:
        inside = [first]
        if last is not first:
            inside += [
                each
                for each in parents[-1].inner
                if each.first >= first.end and each.end <= last.end
            ]
            labels = [each for each in inside[1:] if each.kind == "label"]
            if labels:
                raise self._bad_range(edit, first, "the range has a label inside", [labels])
        for each in inside:
            if each.kind == "simple" and is_declaration(self._tokens[each.first : each.end]):
                raise self._guarded_declaration(edit, each)
        start, end = self._offsets(first.first, last.end)
        shown = self._show(self._tokens[first.first : last.end])
        return _Place(start, end, "{ if (!kitsune_is_updating()) { ", " } }", True, shown)

    def _guarded_declaration(self, edit: Edit, statement: Statement) -> KitsuneError:
        shown = self._show(self._tokens[statement.first : statement.end])
        return KitsuneError(
            "K072",
            f"{edit} would hide a declaration from what follows: '{shown}'",
            at=self._at(statement),
            hint="guard only the statements behind it; or let the declared variable keep its\n"
            "initialiser and insert a statement before it ('insert: … before: …') for the case\n"
            "that kitsune_is_updating() holds",
        )

    def _bad_range(
        self, edit: Edit, first: Statement, why: str, paths: Sequence[Sequence[Statement]]
    ) -> KitsuneError:
        notes = [
            Note(self._at(path[-1]), self._show(self._tokens[path[-1].first : path[-1].end]))
            for path in paths
        ]
        return KitsuneError(
            "K073",
            f"{edit}: {why}",
            at=self._at(first),
            notes=tuple(notes),
            hint="a guarded range begins and ends in the same block, with no label between",
        )

    def _beside(self, edit: Edit, expanded: tuple[str, ...]) -> list[_Place]:
        code = expanded[0]
        paths = self._holding(edit, edit.before or edit.after, expanded[1])
        return [self._beside_one(edit, code, path) for path in paths]

    def _beside_one(self, edit: Edit, code: str, path: list[Statement]) -> _Place:
        statement = path[-1]
        start, end = self._offsets(statement.first, statement.end)
        if edit.after and self._tokens[statement.first].text in _JUMPS:
            raise self._unreachable(edit, statement)
        alone = _listed(path)[0].kind != "block"
        before, after = ("{ ", " }") if alone else ("", "")
        if edit.before:
            return _Place(start, end, f"{before}{code} ", after, alone, code)
        return _Place(start, end, before, f" {code}{after}", alone, code)

    def _unreachable(self, edit: Edit, statement: Statement) -> KitsuneError:
        shown = self._show(self._tokens[statement.first : statement.end])
        return KitsuneError(
            "K073",
            f"{edit}: what stands behind '{shown}' is never reached",
            at=self._at(statement),
            hint="write 'before:'",
        )

    def _holding(self, edit: Edit, text: str, expanded: str) -> list[list[Statement]]:
        """Return the statements that hold `text`, each as the path to it from the body."""
        for wanted in (text, expanded):
            pattern = [token.text for token in tokenize(wanted)]
            paths = self._paths(pattern)
            if paths:
                return paths
        raise self._no_statement(edit, text, expanded)

    def _paths(self, pattern: Sequence[str]) -> list[list[Statement]]:
        assert self._body is not None
        paths: dict[int, list[Statement]] = {}
        for index in self._occurrences(self._tokens, pattern):
            path = _path(self._body, index, index + len(pattern))
            if path[-1].kind not in ("block", "label"):
                paths.setdefault(id(path[-1]), path)
        return list(paths.values())

    def _no_statement(self, edit: Edit, text: str, expanded: str) -> KitsuneError:
        firsts = {name for name in (_first_name(text), _first_name(expanded)) if name}
        statements = [each for each in self._statements() if each.kind not in ("block", "label")]
        near = [each for each in statements if {t.text for t in self._head(each)} & firsts]
        hint = "what is shown here has macros expanded: copy a part of it" if near else None
        if not near:
            known = {token.text for token in self._tokens}
            close = [c for name in sorted(firsts) for c in difflib.get_close_matches(name, known)]
            hint = f"did you mean {' or '.join(map(repr, close))}?" if close else None
        meant = _one_line(expanded)
        also = f", nor '{meant}', which it expands to" if _differ(text, expanded) else ""
        return KitsuneError(
            "K071",
            f"{edit} matches nothing: no statement of '{self._name}' holds '{text}'{also}",
            at=self._line(self._external.start),
            notes=tuple(Note(self._at(each), self._show(self._head(each))) for each in near[:8]),
            hint=hint,
        )

    # -- the rest

    def _start(self, code: str) -> _Place:
        assert self._external.body is not None
        offset = self._external.body[0] + 1
        return _Place(offset, offset, f" {code}", "", False, code)

    def _above(self, code: str) -> _Place:
        start = self._external.start
        return _Place(start, start, f"{code} ", "", False, code)

    def _field(self, edit: Edit, code: str) -> _Place:
        (brace,) = _record_braces(self._text, self._external, edit.record)
        offset = self._before_flexible(brace)
        return _Place(offset, offset, f" {code} ", "", False, code)

    def _before_flexible(self, brace: int) -> int:
        """Return where a last member goes: a flexible array must stay behind it."""
        ends = [i for i, token in enumerate(self._tokens) if token.start < brace]
        last = ends[-1]
        if [t.text for t in self._tokens[last - 2 : last + 1]] != ["[", "]", ";"]:
            return brace
        depth, index = 0, last - 1
        while depth or self._tokens[index].text not in (";", "{", "}"):
            depth += (self._tokens[index].text in ")]}") - (self._tokens[index].text in "([{")
            index -= 1
        return self._tokens[index].end

    def _too_many(self, edit: Edit, places: Sequence[_Place]) -> KitsuneError:
        notes = []
        for place in places:
            end = max(place.end, place.start + 1)
            tokens = [t for t in self._tokens if t.end > place.start and t.start < end]
            notes.append(Note(self._line(place.start), self._show(tokens) or place.shown))
        return KitsuneError(
            "K076",
            f"{edit} matches {_times(len(places))} in '{self._name}', not {edit.count}",
            at=self._line(self._external.start),
            notes=tuple(notes),
            hint=f"write more of the statement, or 'count: {len(places)}'",
        )

    @property
    def _name(self) -> str:
        return function_name(self._text, self._external)

    def _statements(self) -> list[Statement]:
        assert self._body is not None
        return sorted(self._body.walk(), key=lambda each: each.first)

    def _head(self, statement: Statement) -> Sequence[Token]:
        return self._tokens[slice(*statement.head)]

    @staticmethod
    def _occurrences(tokens: Sequence[Token], pattern: Sequence[str]) -> Iterator[int]:
        width = len(pattern)
        for index in range(len(tokens) - width + 1 if pattern else 0):
            if all(tokens[index + i].text == pattern[i] for i in range(width)):
                yield index

    def _has(self, tokens: Sequence[Token], pattern: Sequence[str]) -> bool:
        return any(True for _ in self._occurrences(tokens, pattern))

    def _offsets(self, first: int, end: int) -> tuple[int, int]:
        return self._tokens[first].start, self._tokens[end - 1].end

    def _at(self, statement: Statement) -> Location:
        return self._line(self._tokens[statement.first].start)

    def _line(self, offset: int) -> Location:
        return _line_of(self._scanned, offset)

    def _show(self, tokens: Sequence[Token]) -> str:
        """Return the tokens as one line, spaced as in the text."""
        text = _spaced(tokens)
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


_JUMPS = ("return", "break", "continue", "goto")


def _listed(path: Sequence[Statement]) -> tuple[Statement, Statement]:
    """Return the parent that lists the statement at the end of `path`, and it with its labels."""
    index = len(path) - 1
    while index > 1 and path[index - 1].kind == "label":
        index -= 1
    return path[index - 1], path[index]


def _path(root: Statement, first: int, end: int) -> list[Statement]:
    """Return the statements from `root` down to the innermost that holds the tokens."""
    path = [root]
    while True:
        inside = [each for each in path[-1].inner if each.first <= first and end <= each.end]
        if not inside:
            return path
        path.append(inside[0])


def is_declaration(tokens: Sequence[Token]) -> bool:
    """Tell whether a simple statement declares something.

    Names of types are not known here: `a * b;` and `a b;` count as declarations.
    """
    texts = [token.text for token in tokens]
    if texts[0] in _DECLARING:
        return True
    if not re.match(r"[A-Za-z_$]", texts[0]) or texts[0] in _JUMPS:
        return False
    index = 1
    while index < len(texts) and texts[index] in ("*", "const", "volatile", "restrict"):
        index += 1
    following = texts[index] if index < len(texts) else ""
    return re.match(r"[A-Za-z_$]", following) is not None


def _first_name(text: str) -> str:
    names = (token.text for token in tokenize(text) if re.match(r"[A-Za-z_$]", token.text))
    return next(names, "")


def _line_of(scanned: Scan, offset: int) -> Location:
    """Return the place as file and line; columns of preprocessed text mean nothing to a reader."""
    return replace(scanned.locate(offset), column=0)


def _differ(text: str, expanded: str) -> bool:
    return [t.text for t in tokenize(text)] != [t.text for t in tokenize(expanded)]


def _one_line(text: str) -> str:
    """Return C text without line ends and comments, its tokens as they are."""
    return _spaced(tokenize(text))


def _spaced(tokens: Sequence[Token]) -> str:
    parts: list[str] = []
    for index, token in enumerate(tokens):
        apart = index > 0 and token.start > tokens[index - 1].end
        parts.append(" " * apart + token.text)
    return "".join(parts)


def _times(count: int) -> str:
    return "one place" if count == 1 else f"{count} places"
