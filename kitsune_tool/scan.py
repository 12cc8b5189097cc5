"""Cut a preprocessed text into its external declarations, as offsets.

In: preprocessed C (bytes read as latin-1, so that an offset is a byte). Out: a `Scan`, with one
`External` per declaration or function definition and the way back from an offset to the user's file
and line. No tokens are made: most of a unit is prototypes of system headers that nobody looks at.
frontend.py and edits.py call it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kitsune_tool.errors import Location

_STRING = r'"(?:[^"\\\n]|\\.)*+"'
_CHAR = r"'(?:[^'\\\n]|\\.)*+'"
_NOISE = r"#[^\n]*+|/\*(?s:.*?)\*/|//[^\n]*+"
_NUMBER = r"(?<![\w.])\.?[0-9](?:[eEpP][+-]|'?[\w.])*+"
"""A digit separator of C23 looks like the start of a character constant."""

_OUTSIDE = re.compile(f"[;{{}}]|{_STRING}|{_CHAR}|{_NOISE}")
_INSIDE = re.compile(f"[{{}}]|{_STRING}|{_CHAR}|{_NOISE}")
_OUTSIDE_NUMBERS = re.compile(f"[;{{}}]|{_STRING}|{_NUMBER}|{_CHAR}|{_NOISE}")
_INSIDE_NUMBERS = re.compile(f"[{{}}]|{_STRING}|{_NUMBER}|{_CHAR}|{_NOISE}")
_SEPARATED = re.compile(r"[0-9][0-9a-fA-F]*'[0-9a-fA-F]")

_BLANK = re.compile(rf"(?:\s++|{_NOISE})*+")
_QUOTED = re.compile(f"{_STRING}|{_CHAR}|{_NOISE}")
_GROUP = re.compile(r"\([^(){}\[\]]*+\)|\{[^(){}\[\]]*+\}|\[[^(){}\[\]]*+\]")
_ATTRIBUTE_END = re.compile(
    r"(?:\b(?:__attribute__|__attribute|__kt__|__asm__|__asm|asm|_Alignas|alignas)\s*\x01|\x02)\s*\Z"
)
_TAG_END = re.compile(r"\b(?:struct|union|enum)(?:\s+[\w$]+)?\s*\Z|\benum\b[^()]*:[^()]*\Z")
_ATTRIBUTED_TAG = re.compile(
    r"\b(?:struct|union|enum)(?:\s*(?:\b(?:__attribute__|__attribute|__kt__|_Alignas|alignas)"
    r"\s*\x01|\x02))+(?:\s*[\w$]+)?\s*\Z"
)
_OLD_STYLE = re.compile(
    r"\x01(?:\s*(?:__attribute__|__attribute|__kt__)\s*\x01)*\s*"
    r"(?!(?:__attribute__|__attribute|__kt__|__asm__|__asm|asm)\b)[A-Za-z_$]"
)
_MARKS = re.compile(r"(?:\s*__kt__\s*\x01)*+\s*")

_MARKER = re.compile(r'\n# (\d+) "((?:[^"\\\n]|\\.)*+)"((?: \d)*+)')
_FIRST_MARKER = re.compile(r'# (\d+) "((?:[^"\\\n]|\\.)*+)"((?: \d)*+)')
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")


@dataclass(frozen=True, slots=True)
class External:
    """An external declaration: `text[start:end]`, its `;` or closing brace included.

    `body` of a function definition is the place of its `{` and the place just past its `}`.
    `system` says that it stands in a system header; a declaration that only begins with what a
    macro of one expands to (`bool x;`) does not.
    """

    start: int
    end: int
    body: tuple[int, int] | None
    system: bool


@dataclass(frozen=True, slots=True)
class _Marker:
    offset: int  # of the first character of the line that it speaks of
    line: int
    file: str
    system: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """A preprocessed text and its external declarations, in order and without overlap."""

    text: str
    externals: tuple[External, ...]
    markers: tuple[_Marker, ...]
    marker_offsets: tuple[int, ...]

    def locate(self, offset: int) -> Location:
        """Return the place in the user's file that stands behind `offset`."""
        marker = self._marker(offset)
        start = marker.offset if marker else 0
        line = (marker.line if marker else 1) + self.text.count("\n", start, offset)
        line_start = max(self.text.rfind("\n", 0, offset) + 1, 0)
        return Location(marker.file if marker else "", line, offset - line_start + 1)

    def in_system(self, offset: int) -> bool:
        """Tell whether `offset` lies in a system header."""
        marker = self._marker(offset)
        return marker is not None and marker.system

    def _marker(self, offset: int) -> _Marker | None:
        index = bisect_right(self.marker_offsets, offset) - 1
        return self.markers[index] if index >= 0 else None


def scan(text: str) -> Scan:
    """Find the external declarations of `text`; what is left open at its end is left out."""
    markers = _markers(text)
    offsets = tuple(marker.offset for marker in markers)
    bare = Scan(text, (), markers, offsets)
    spans = _glue(text, _spans(text))
    externals = tuple(
        External(start, end, body, bare.in_system(start) and bare.in_system(end - 1))
        for start, end, body in spans
    )
    return Scan(text, externals, markers, offsets)


def closing_brace(text: str, opening: int) -> int:
    """Return the offset just past the brace that closes the one at `opening`, or the text's end."""
    pattern = _INSIDE_NUMBERS if _SEPARATED.search(text) else _INSIDE
    return _closing(pattern, text, opening)


_Span = tuple[int, int, tuple[int, int] | None]


def _markers(text: str) -> tuple[_Marker, ...]:
    found = [m] if (m := _FIRST_MARKER.match(text)) else []
    found += _MARKER.finditer(text)
    names: dict[str, str] = {}
    own = {name for name, flags in _entered(found) if "3" not in flags}
    markers = []
    for match in found:
        line, name, flags = match.groups()
        if name not in names:
            names[name] = _ESCAPE.sub(_unescape, name)
        after = text.find("\n", match.end())
        offset = after + 1 if after >= 0 else len(text)
        markers.append(_Marker(offset, int(line), names[name], "3" in flags and name not in own))
    return tuple(markers)


def _entered(markers: Sequence[re.Match[str]]) -> Iterator[tuple[str, str]]:
    """Yield each file with the flags by which the text enters it.

    Later markers in a user's file have the flags of a system header around what comes from a
    macro of one (`LIST_HEAD`); what the user writes with it is the user's all the same.
    """
    for number, match in enumerate(markers):
        _, name, flags = match.groups()
        if number == 0 or "1" in flags:
            yield name, flags


def _unescape(match: re.Match[str]) -> str:
    escaped = match.group(1)
    return chr(int(escaped, 8)) if len(escaped) == 3 else escaped


def _spans(text: str) -> list[_Span]:
    """Cut at each `;` and behind each function body; parts of old-style definitions apart."""
    separated = _SEPARATED.search(text) is not None
    outside = (_OUTSIDE_NUMBERS if separated else _OUTSIDE).search
    inside = _INSIDE_NUMBERS if separated else _INSIDE
    spans: list[_Span] = []
    start = position = 0
    while match := outside(text, position):
        position = match.end()
        character = text[match.start()]
        body = None
        if character == "{":
            position = _closing(inside, text, match.start())
            if not _is_body(text, start, match.start()):
                continue
            body = (match.start(), position)
        elif character != ";":
            continue
        first = _first(text, start)
        if first < position - 1 or body:
            spans.append((first, position, body))
        start = position
    return spans


def _first(text: str, start: int) -> int:
    match = _BLANK.match(text, start)
    return match.end() if match else start


def _closing(pattern: re.Pattern[str], text: str, opening: int) -> int:
    depth = 0
    for match in pattern.finditer(text, opening):
        character = text[match.start()]
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return match.end()
    return len(text)


def _is_body(text: str, start: int, brace: int) -> bool:
    """Tell whether the brace opens a function's body: what stands before it ends a declarator."""
    last = text[brace - 1]
    if last == "=" or (last == " " and text[brace - 2] == "="):
        return False
    head = _collapse(text[start:brace])
    if "=" in head or "\x03" in head:
        return False
    if _TAG_END.search(head) or _ATTRIBUTED_TAG.search(head):
        return False
    while match := _ATTRIBUTE_END.search(head):
        head = head[: match.start()]
    # `int (*f(void))[3] {` ends with an array's brackets.
    return not head.strip() or head.rstrip().endswith(("\x01", "\x02", "\x04"))


def _collapse(head: str) -> str:
    """Return `head` with each top-level group as one character, and an open one as `\\x03`."""
    head = _QUOTED.sub(lambda m: " " if m.group()[0] in "#/" else "0", head)
    count = 1
    while count:
        head, count = _GROUP.subn(_mark, head)
    return re.sub(r"[(\[{]", "\x03", head)


def _mark(match: re.Match[str]) -> str:
    group = match.group()
    if group[0] == "(":
        return "\x01"
    if group[0] == "[":
        return "\x02" if group[1:-1].strip() == "\x04" else "\x04"
    return "\x05"


def _glue(text: str, spans: list[_Span]) -> list[_Span]:
    """Join an old-style definition (`int f(a) int a; {…}`) that was cut at its parameters."""
    result: list[_Span] = []
    for start, end, body in spans:
        if body is None or not _is_marks(text[start : body[0]]):
            result.append((start, end, body))
            continue
        first = len(result) - 1
        while first >= 0 and not _is_old_style(text, result[first]):
            first -= 1
        if first < 0:
            continue
        joined = (result[first][0], end, body)
        del result[first:]
        result.append(joined)
    return result


def _is_marks(head: str) -> bool:
    """Tell whether nothing but annotations stands in front of a body."""
    return not head or _MARKS.fullmatch(_collapse(head)) is not None


def _is_old_style(text: str, span: _Span) -> bool:
    start, end, body = span
    return body is None and _OLD_STYLE.search(_collapse(text[start:end])) is not None
