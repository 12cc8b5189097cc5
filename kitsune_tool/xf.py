"""State specs in their original spelling, `.xf`: from text to rules as written, and back.

In: the text of a file and its name; out: a `RuleFile`. Called by rulefile.py, which does the same
for YAML. The grammar is that of docs/language.md; what is new in it is comments between the rules
and update points in quotes. Code is not understood here: it ends at its closing brace, and braces
in strings, character constants and comments do not count.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable

from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.paths import parse_path, split_label
from kitsune_tool.rules import Preamble, RuleFile, RuleSource

_KEY = re.compile(r"[$_A-Za-z](?:[$_A-Za-z0-9#/@.]|-(?!>))*")
_POINT = re.compile(r"'[^'\n]+'")
_MEMBERS = re.compile(r"(?:\s*\.\s*[$_A-Za-z][$_A-Za-z0-9]*)*")
_BLANK = re.compile(r"\s+")
_COMMENT = re.compile(r"/\*(?P<block>.*?)\*/|(?://|#)(?P<line>[^\n]*)", re.DOTALL)
_TAG_WORDS = frozenset(["struct", "union", "enum", "typedef"])
_PIECE = re.compile(
    r"//(?:\\\r?\n|[^\n])*|/\*.*?(?:\*/|\Z)"
    r'|"(?:\\\r?\n|\\.|[^"\\\n])*"?'
    r"|(?<![\w$])\.?\d(?:'?[\w.])*"  # a number, whose ' may part its digits
    r"|'(?:\\\r?\n|\\.|[^'\\\n])*'?"
    r"|[{}]",
    re.DOTALL,
)


def parse_xf(text: str, name: str) -> RuleFile:
    """Read the text of a file that messages call `name`. Raises K114 with place and line."""
    return _Reader(text, name).read()


def print_xf(rules: RuleFile) -> str:
    """Return the text of a file. Raises K115 for code whose braces do not match."""
    parts = []
    if rules.preamble is not None:
        parts.append(_comment_lines(rules.preamble.comments) + _braced(rules.preamble.text, None))
    for rule in rules.rules:
        labels = [_label_text(rule, label) for label in rule.labels]
        text = _comment_lines(rule.comments)
        if rule.code is None:
            text += "\n".join(labels)
        else:
            text += ",\n".join(labels) + ": " + _braced(rule.code, rule)
        parts.append(text)
    parts.append(_comment_lines(rules.comments).rstrip("\n"))
    return "\n\n".join(part for part in parts if part) + "\n"


def code_end(text: str, start: int) -> int | None:
    """Return the index of the brace that closes code which begins at `start`, None if none does."""
    depth = 0
    for piece in _PIECE.finditer(text, start):
        if piece.group() == "{":
            depth += 1
        elif piece.group() == "}":
            depth -= 1
            if depth < 0:
                return piece.start()
    return None


class _Reader:
    """A position in the text that goes forward."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.position = 0
        self.comments: list[str] = []
        self.starts = [0] + [match.end() for match in re.finditer("\n", text)]

    def read(self) -> RuleFile:
        self.skip()
        preamble = None
        if self.peek() == "{":
            comments = self.take_comments()
            at = self.place(self.position + 1)
            preamble = Preamble(self.code(), at, comments)
            self.skip()
        rules: list[RuleSource] = []
        while self.position < len(self.text):
            rules.append(self.rule())
            self.skip()
        return RuleFile(preamble, tuple(rules), self.take_comments())

    def rule(self) -> RuleSource:
        at = self.place()
        labels, places = [self.label()], [at]
        end, comments_before = self.position, len(self.comments)
        self.skip()
        while self.peek() == ",":
            self.position += 1
            self.skip()
            places.append(self.place())
            labels.append(self.label())
            self.skip()
        if self.peek() != ":":
            rename = self.rename(labels, places, comments_before)
            self.position = end  # the comments behind it are for what follows
            return rename
        self.position += 1
        self.skip()
        if self.peek() != "{":
            raise self.error("the code of a rule is missing", "write ': { C code }', or ': {}'")
        comments = self.take_comments()
        code_at = self.place(self.position + 1)
        code = self.code()
        inits = [label.startswith("INIT ") for label in labels]
        if all(inits):
            labels = [label.removeprefix("INIT ") for label in labels]
        kind = "init" if all(inits) else "transform"
        return RuleSource(kind, tuple(labels), code, at, code_at, tuple(places), comments)  # type: ignore[arg-type]

    def rename(self, labels: list[str], places: list[Location], before: int) -> RuleSource:
        if len(labels) > 1:
            hint = "write ': { C code }' behind the last of several paths"
            raise self.error("renames stand alone, without a comma", hint)
        if labels[0].startswith("INIT "):
            hint = "write ': { C code }', or ': {}' to keep the initial value"
            raise self.error("the code of an INIT is missing", hint)
        comments = self.take_comments()[:before]
        return RuleSource("rename", tuple(labels), None, places[0], None, tuple(places), comments)

    def label(self) -> str:
        if re.compile(r"INIT(?![$\w#/@.-])").match(self.text, self.position):
            self.position += len("INIT")
            self.skip()
            return "INIT " + self.path()
        old = self.path()
        self.skip()
        if not self.text.startswith("->", self.position):
            raise self.error(f"'->' is expected behind '{old}'", "write 'OLD -> NEW'")
        self.position += 2
        self.skip()
        return f"{old} -> {self.path()}"

    def path(self) -> str:
        point = _POINT.match(self.text, self.position)
        if point is not None:
            self.position = point.end()
            return point.group()
        key = _KEY.match(self.text, self.position)
        if key is None:
            raise self.error(
                f"a path is expected{self.found()}",
                "a path is 'struct s.f', 'union u', 'enum e', 'typedef t' or a variable's key",
            )
        start = self.position
        self.position = key.end()
        text = key.group()
        if text.rpartition("/")[2] in _TAG_WORDS:
            self.skip()
            name = _KEY.match(self.text, self.position)
            if name is None:
                raise self.error(f"a name is expected behind '{text}'{self.found()}")
            text = f"{text} {name.group()}"
            self.position = name.end()
            members = _MEMBERS.match(self.text, self.position)
            assert members is not None
            text += re.sub(r"\s+", "", members.group())
            self.position = members.end()
        try:
            parse_path(text)
        except ValueError as error:
            self.position = start
            raise self.error(str(error)) from error
        return text

    def code(self) -> str:
        """Return what is between the brace here and the one that closes it."""
        end = code_end(self.text, self.position + 1)
        if end is None:
            raise self.error("the brace of this code is never closed", "braces in it must match")
        text = self.text[self.position + 1 : end]
        self.position = end + 1
        return text

    def skip(self) -> None:
        """Pass blanks and comments; the latter are kept for what follows."""
        while True:
            blank = _BLANK.match(self.text, self.position)
            if blank is not None:
                self.position = blank.end()
            comment = _COMMENT.match(self.text, self.position)
            if comment is None:
                if self.text.startswith("/*", self.position):
                    raise self.error("this comment is never closed")
                return
            if self.peek() == "#" and not self.is_first_of_line():
                raise self.error("a '#' begins a comment only at the start of a line")
            self.comments += _lines(comment)
            self.position = comment.end()

    def is_first_of_line(self) -> bool:
        start = self.starts[bisect_right(self.starts, self.position) - 1]
        return not self.text[start : self.position].strip()

    def take_comments(self) -> tuple[str, ...]:
        comments, self.comments = tuple(self.comments), []
        return comments

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def found(self) -> str:
        return f", not '{self.peek()}'" if self.peek() else ", but the file ends"

    def place(self, position: int | None = None) -> Location:
        position = self.position if position is None else position
        line = bisect_right(self.starts, position)
        return Location(self.name, line, position - self.starts[line - 1] + 1)

    def error(self, message: str, hint: str | None = None) -> KitsuneError:
        at = self.place()
        end = self.starts[at.line] if at.line < len(self.starts) else len(self.text)
        line = self.text[self.starts[at.line - 1] : end].rstrip("\r\n")
        return KitsuneError("K114", message, at=at, hint=hint, source_line=line)


def _lines(comment: re.Match[str]) -> list[str]:
    """Return the lines of a comment, without its marks and the stars in front of them."""
    if comment["line"] is not None:
        return [comment["line"].strip()]
    lines = [line.strip().removeprefix("*").strip() for line in comment["block"].split("\n")]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _comment_lines(comments: Iterable[str]) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in comments)


def _label_text(rule: RuleSource, label: str) -> str:
    text = plain_label(label)
    return f"INIT {text}" if rule.kind == "init" else text


def plain_label(label: str) -> str:
    """Return a label in its shortest form, which is also that of `parse_xf`."""
    both = split_label(label)
    return " -> ".join(map(_plain_path, both)) if both else _plain_path(label)


def _plain_path(text: str) -> str:
    """Return a path without blanks that mean nothing; an update point is left alone."""
    text = text.strip()
    return text if text.startswith("'") else re.sub(r"\s*\.\s*", ".", " ".join(text.split()))


def _braced(code: str, rule: RuleSource | None) -> str:
    if code_end(code + "}", 0) != len(code):
        # A last line that a comment or a backslash would join with the brace.
        code += "\n"
    if code_end(code + "}", 0) != len(code):
        what = f"the code of rule '{rule.labels[0]}'" if rule else "the preamble"
        raise KitsuneError(
            "K115",
            f"{what} has braces that do not match, which .xf cannot spell",
            at=rule.code_at if rule else None,
            hint="close each brace in the same branch of #if, or keep the rule in YAML",
        )
    return "{" + code + "}"
