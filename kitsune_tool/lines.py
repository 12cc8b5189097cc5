"""Places in running code → the lines of source that they come from.

In: an answer of a program, whose frames say a release's file, its build-id and an offset in it.
Out: the same with `source`, `file` and `line` where the release has debug information. `addr2line`
(of binutils, which every compiler comes with) reads that. Called by control.py.

The program says which file it is, so nothing is believed: it must have that build-id, and a file
that belongs to somebody else is read with that user's rights.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsune_tool import objects
from kitsune_tool.errors import KitsuneError

Frame = dict[str, Any]
"""One function of a stack, as the program's answer has it."""

_LIMIT_S = 20
_COMMAND = "addr2line"
_LINE = re.compile(r"^(?P<file>.+):(?P<line>\d+)(?: \(discriminator \d+\))?$")
_ADDRESS = re.compile(r"^0x[0-9a-f]+$")


@dataclass(frozen=True, slots=True)
class Line:
    """A function and its place in the source."""

    function: str
    file: str
    line: int


def add_lines(answer: dict[str, Any]) -> None:
    """Add what the releases' debug information says to each frame of an answer.

    A frame gets `source`, `file` and `line`, and, if that code was inlined, `inlined`: what it was
    inlined into, the innermost first. A frame of a release that does not tell stays as it is.
    """
    by_release: dict[tuple[str, str], list[Frame]] = {}
    for frame in _frames(answer):
        key = (str(frame.get("release", "")), str(frame.get("build_id", "")))
        by_release.setdefault(key, []).append(frame)
    for (release, build_id), frames in by_release.items():
        found = _lines_of(Path(release), build_id, [int(frame["offset"]) for frame in frames])
        for frame, lines in zip(frames, found, strict=False):
            _add(frame, lines)


def _frames(answer: dict[str, Any]) -> Iterator[Frame]:
    """Yield every frame, wherever it lies in the answer."""
    yield from answer.get("stack", [])
    for thread in answer.get("threads", []):
        yield from thread.get("stack", [])
        yield from thread.get("holder", {}).get("stack", [])


def _add(frame: Frame, lines: Sequence[Line]) -> None:
    if not lines:
        return
    first, *outer = lines
    frame |= {"source": first.function, "file": first.file, "line": first.line}
    if outer:
        frame["inlined"] = [
            {"source": each.function, "file": each.file, "line": each.line} for each in outer
        ]


def text_of(frame: Frame) -> str:
    """Return a frame as text: `serve at src/pool.c:80`, or `serve+0x40` without such information.

    What it was inlined into follows on lines of its own.
    """
    if not frame.get("file"):
        return str(frame.get("function") or f"{frame.get('offset', 0):#x}")
    every = [frame, *frame.get("inlined", [])]
    return "\n".join(f"{each['source']} at {each['file']}:{each['line']}" for each in every)


def _lines_of(release: Path, build_id: str, offsets: Sequence[int]) -> list[list[Line]]:
    """Return for each offset the functions there, the innermost first; empty where unknown."""
    try:
        status = release.stat()
        if not stat.S_ISREG(status.st_mode) or objects.build_id(release).hex() != build_id:
            return []
        return _parsed(_run(release, status, offsets))
    except (OSError, KitsuneError, subprocess.SubprocessError):
        return []  # the functions are known all the same


def _run(release: Path, status: os.stat_result, offsets: Sequence[int]) -> str:
    arguments = ["-a", "-f", "-i", "-e", os.fspath(release), *(f"{each:#x}" for each in offsets)]
    is_foreign = os.geteuid() == 0 and status.st_uid != 0
    return subprocess.run(
        [_COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=True,
        timeout=_LIMIT_S,
        user=status.st_uid if is_foreign else None,
        group=status.st_gid if is_foreign else None,
        extra_groups=[] if is_foreign else None,
    ).stdout


def _parsed(text: str) -> list[list[Line]]:
    """Read `addr2line -a -f -i`: an address, then pairs of lines: a function, its place."""
    found: list[list[Line]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if _ADDRESS.match(line):
            found.append([])
        elif found and (place := _LINE.match(next(lines, ""))) and place["line"] != "0":
            found[-1].append(Line(line, os.path.normpath(place["file"]), int(place["line"])))
    return found
