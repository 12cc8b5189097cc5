"""A YAML file as nodes that know their place, and readers that say what is wrong where.

In: the text of a file; out: `Node`s. PyYAML's own nodes are used and not its Python values, so that
`version: 1.10` stays the text "1.10" and every error has a line and a column. Called by config.py
and rulefile.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml

from kitsune_tool.errors import KitsuneError, Location

_Word = TypeVar("_Word", bound=str)
_TRUE = {"true", "yes", "on"}
_NAMES = {yaml.ScalarNode: "a text", yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}


@dataclass(frozen=True, slots=True)
class Document:
    """A file: its name as the user wrote it, its lines for messages, and which are comments.

    `comments` are lines of their own, by their number from 0, without mark and blanks.
    """

    name: str
    lines: tuple[str, ...]
    comments: Mapping[int, str] = field(default_factory=dict)

    def location(self, mark: yaml.Mark) -> Location:
        """Return the place of a mark of PyYAML, which counts from 0."""
        return Location(self.name, mark.line + 1, mark.column + 1)

    def source_line(self, at: Location) -> str | None:
        """Return the text of the line at `at`, if the file has it."""
        return self.lines[at.line - 1] if 0 < at.line <= len(self.lines) else None

    def error(self, code: str, message: str, at: Location, hint: str | None = None) -> KitsuneError:
        """Return an error that shows the line."""
        return KitsuneError(code, message, at=at, hint=hint, source_line=self.source_line(at))


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the file. `what` names it in messages: "'store'", "a rule"."""

    document: Document
    node: yaml.Node
    what: str

    @property
    def at(self) -> Location:
        """Return where the value starts."""
        return self.document.location(self.node.start_mark)

    @property
    def is_null(self) -> bool:
        """Tell whether nothing is written here, or `null`."""
        return str(self.node.tag) == "tag:yaml.org,2002:null"

    @property
    def is_mapping(self) -> bool:
        """Tell whether this is a mapping."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_text(self) -> bool:
        """Tell whether this is a scalar with something written in it."""
        return isinstance(self.node, yaml.ScalarNode) and not self.is_null

    @property
    def is_list(self) -> bool:
        """Tell whether this is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    def error(self, code: str, message: str, hint: str | None = None) -> KitsuneError:
        """Return an error at this value."""
        return self.document.error(code, message, self.at, hint)

    def text(self) -> str:
        """Return a scalar as it is written: `1.10` and `"1.10"` are the same."""
        if not isinstance(self.node, yaml.ScalarNode) or self.is_null:
            raise self._wrong("a text")
        return str(self.node.value)

    def number(self) -> int:
        """Return a whole number of at least 0."""
        value = self.node.value if isinstance(self.node, yaml.ScalarNode) else ""
        if not (value.isascii() and value.isdigit()):
            raise self._wrong("a whole number")
        return int(value)

    def flag(self) -> bool:
        """Return a `true` or `false`."""
        if str(self.node.tag) != "tag:yaml.org,2002:bool":
            raise self._wrong("true or false")
        return str(self.node.value).lower() in _TRUE

    def choice(self, words: Sequence[_Word]) -> _Word:
        """Return a text that is one of `words`."""
        value = self.text()
        for word in words:
            if word == value:
                return word
        message = f"{self.what} is '{value}', not one of: {', '.join(words)}"
        raise self.error("K205", message, hint=_nearest(value, list(words)))

    def items(self) -> list[Node]:
        """Return the items of a list; nothing written is an empty list."""
        if self.is_null:
            return []
        if not isinstance(self.node, yaml.SequenceNode):
            raise self._wrong("a list")
        return [Node(self.document, item, f"an item of {self.what}") for item in self.node.value]

    def entries(self) -> Iterator[tuple[Node, Node]]:
        """Yield keys and values of a mapping; a key that occurs twice is an error."""
        if self.is_null:
            return
        if not isinstance(self.node, yaml.MappingNode):
            raise self._wrong("a mapping")
        seen: dict[str, Location] = {}
        for key_node, value_node in self.node.value:
            key = Node(self.document, key_node, "a key")
            name = key.text()
            if name in seen:
                message = f"'{name}' is given twice, first in line {seen[name].line}"
                raise key.error("K207", message)
            seen[name] = key.at
            yield key, Node(self.document, value_node, f"'{name}'")

    def fields(self, known: Iterable[str], required: Iterable[str] = ()) -> dict[str, Node]:
        """Return the values of a mapping whose keys are all of `known`."""
        names = list(known)
        result: dict[str, Node] = {}
        for key, value in self.entries():
            name = key.text()
            if name not in names:
                raise key.error(
                    "K204", f"unknown key '{name}' in {self.what}", hint=_nearest(name, names)
                )
            result[name] = value
        for name in required:
            if name not in result:
                raise self.error("K206", f"{self.what} has no '{name}'")
        return result

    def text_line(self) -> int:
        """Return the line of the first character of `text()`, which for `|` is the next one."""
        block = isinstance(self.node, yaml.ScalarNode) and self.node.style in {"|", ">"}
        return self.at.line + (1 if block else 0)

    def comments_above(self) -> tuple[str, ...]:
        """Return the comments on the lines in front of the one where the value starts."""
        found = list(self._comments(range(self.node.start_mark.line - 1, -1, -1)))
        return tuple(reversed(found))

    def comments_below(self) -> tuple[str, ...]:
        """Return the comments on the lines behind the value."""
        after = max((lines.stop for lines in _text_lines(self.node)), default=0)
        return tuple(self._comments(range(after, len(self.document.lines))))

    def _comments(self, lines: range) -> Iterator[str]:
        for line in lines:
            if line in self.document.comments:
                yield self.document.comments[line]
            elif self.document.lines[line].strip():
                return

    def _wrong(self, wanted: str) -> KitsuneError:
        found = "empty" if self.is_null else _NAMES[type(self.node)]
        if found == "a text":
            found = f"'{self.node.value}'"
        return self.error("K205", f"{self.what} is {found}, not {wanted}")


def read_yaml(path: Path, name: str, what: str) -> Node:
    """Return the top value of a file; `name` is how messages call the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KitsuneError("K202", f"cannot read {name}: {_reason(error)}") from error
    lines = tuple(text.splitlines())
    document = Document(name, lines)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = document.location(mark) if mark else Location(name)
        raise document.error("K203", f"not YAML: {error.problem}", at) from error
    except yaml.YAMLError as error:
        raise KitsuneError("K203", f"not YAML: {error}", at=Location(name)) from error
    if node is None:
        raise KitsuneError("K203", f"{what} is empty", at=Location(name))
    return Node(Document(name, lines, _find_comments(lines, node)), node, what)


def _find_comments(lines: Sequence[str], top: yaml.Node) -> dict[int, str]:
    """Return the lines that are comments: in a text of several lines a `#` is none."""
    found = {
        number: line.strip().removeprefix("#").strip()
        for number, line in enumerate(lines)
        if line.lstrip().startswith("#")
    }
    if found:
        for inside in _text_lines(top):
            for number in inside:
                found.pop(number, None)
    return found


def _text_lines(node: yaml.Node) -> Iterator[range]:
    """Yield for each text of a value the lines, from 0, that it stands on."""
    if isinstance(node, yaml.ScalarNode):
        is_block = node.style in {"|", ">"}
        last = max(node.end_mark.line - (1 if is_block else 0), node.start_mark.line)
        yield range(node.start_mark.line, last + 1)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _text_lines(item)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _text_lines(key)
            yield from _text_lines(value)


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "it is not UTF-8"
