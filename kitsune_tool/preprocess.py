"""A source's preprocessed text, as the user's compiler makes it.

In: a compile command and one of its sources. Out: `Preprocessed`, bytes read as latin-1, so that an
offset is a byte; the dependency file is written on the way, as the plain command would. Called by
cc.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kitsune_tool import toolchain
from kitsune_tool.resources import include_dir
from kitsune_tool.toolchain import Command, Done, Source

if TYPE_CHECKING:
    from kitsune_tool.edits import Expansion

_FALLTHROUGH = re.compile(r"-W(no-)?(?:(implicit-fallthrough)(?:=(\d))?|extra)$|-W$|-w$")
_FALLS_THROUGH = re.compile(rb"fall(?:s|ing)?[ \t-]*thr(?:ough|u)", re.I)
_ANY_COMMENT_LEVEL, _DEFAULT_LEVEL, _ATTRIBUTE_LEVEL = 1, 3, 5
_USER_FILE = re.compile(r'^# \d+ "([^"\n<]+)"(?: 1)?$', re.M)
_PIECE = "__kitsune_piece__"


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """The text of a source, the preprocessor's exit status and what it complained of."""

    text: str
    status: int
    complaints: bytes


def preprocess(command: Command, source: Source, given: bytes | None) -> Preprocessed:
    """Preprocess `source`; `given` is its text if it comes from standard input.

    Comments that silence a warning of the compile are kept in the text.
    """
    if source.language == "cpp-output":
        return Preprocessed(_contents(source, given).decode("latin-1"), 0, b"")
    level = fallthrough_level(command)
    keep = level == _ANY_COMMENT_LEVEL or (
        level < _ATTRIBUTE_LEVEL and _FALLS_THROUGH.search(_contents(source, given)) is not None
    )
    done = _run(command, source, given, keep)
    text = done.stdout.decode("latin-1")
    if not keep and level < _ATTRIBUTE_LEVEL and _headers_fall_through(text):
        done = _run(command, source, given, True)
        text = done.stdout.decode("latin-1")
    return Preprocessed(text, done.status, done.stderr)


def include_options() -> list[str]:
    """Return the options that let a source find kitsune.h, behind all directories of the user."""
    return [f"-I{include_dir()}"]


def fallthrough_level(command: Command) -> int:
    """Return the level at which -Wimplicit-fallthrough is on; 5 means that no comment matters.

    As in gcc: -Wextra turns level 3 on unless the warning itself is named anywhere.
    """
    extra = named = None
    for argument in command.arguments:
        match = _FALLTHROUGH.match(argument)
        if argument == "-w":
            return _ATTRIBUTE_LEVEL
        if match and match[2]:
            named = _ATTRIBUTE_LEVEL if match[1] else int(match[3] or _DEFAULT_LEVEL)
        elif match:
            extra = _ATTRIBUTE_LEVEL if match[1] else _DEFAULT_LEVEL
    level = named if named is not None else extra
    return _ATTRIBUTE_LEVEL if level in (None, 0) else int(level or 0)


def expand(
    command: Command, source: Source, given: bytes | None, pieces: Sequence[str]
) -> Expansion:
    """Return `pieces` with macros expanded as behind the last line of the source, and what
    kitsune.h declares there.
    """
    from kitsune_tool.edits import Expansion

    if source.language == "cpp-output":
        return Expansion(tuple(pieces), "")
    line = f'#line 1 "{_quoted(source.path)}"'  # for __FILE__, in keys of variables
    behind = ["#include <kitsune.h>", *(f"{_PIECE}\n{line}\n{piece}" for piece in pieces), _PIECE]
    text = "\n".join([_included(source, given), _PIECE, *behind, ""])
    options = toolchain.without_dependencies(toolchain.preprocessing_options(command))
    own = ["-w", "-D__KT__", *include_options()]
    arguments = [*command.compiler, *options, *own, "-E", "-x", "c", "-"]
    done = toolchain.run(arguments, stdin=text.encode("latin-1"), capture_stdout=True)
    parts = re.split(rf"^{_PIECE}$", done.stdout.decode("latin-1"), flags=re.M)
    if len(parts) != len(pieces) + 3:
        raise RuntimeError(f"cannot expand edits: {done.stderr.decode(errors='replace')}")
    expanded = (re.sub(r"^#.*$", "", part, flags=re.M).strip() for part in parts[2:-1])
    return Expansion(tuple(expanded), parts[1])


def _included(source: Source, given: bytes | None) -> str:
    if given is not None:
        return given.decode("latin-1")
    return f'#include "{Path(source.path).absolute()}"'


def _quoted(path: str) -> str:
    return path.replace("\\", "\\\\").replace('"', '\\"')


def _run(command: Command, source: Source, given: bytes | None, keep_comments: bool) -> Done:
    arguments = [
        *command.compiler,
        *toolchain.preprocessing_options(command),
        *toolchain.colour_options(command),
        *toolchain.dependency_options(command, source),
        "-D__KT__",
        *include_options(),
        "-E",
        *(["-C"] if keep_comments else []),
        *(["-x", source.language] if source.explicit else []),
        source.path,
    ]
    return toolchain.run(arguments, stdin=given, capture_stdout=True)


def _contents(source: Source, given: bytes | None) -> bytes:
    if given is not None:
        return given
    try:
        return Path(source.path).read_bytes()
    except OSError:
        return b""  # the compiler says what is wrong with it


def _headers_fall_through(text: str) -> bool:
    """Tell whether a header of the user has a comment that may silence the warning."""
    return any(_FALLS_THROUGH.search(contents) for contents in _user_headers(text))


def _user_headers(text: str) -> Iterator[bytes]:
    for name in dict.fromkeys(_USER_FILE.findall(text)):
        path = Path(name)
        if path.is_file():
            yield path.read_bytes()
