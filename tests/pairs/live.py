"""A running program of a group: heaps are made in it, it is updated, its memory is read.

The heap is made by the program itself (program/heap.c) from a file of bytes and links. Memory is
read through /proc, as it is at that moment; under a sanitizer the program also reads all of it
itself, so that what was freed is noticed.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairs.build import Built
from pairs.cases import Case, To, ToCode, ToText
from pairs.memory import Layout, Meta, read_meta

ANSWER_TIMEOUT_S = 120


class Ended(Exception):
    """The program ended, or does not answer."""


class Live:
    """A process that runs the first release."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._files = 0
        directory = built.directory
        environment = built.tool.environment(directory)
        self._fails = directory / "fails"
        environment["PAIRS_FAIL"] = str(self._fails)
        if built.compiler.asan:
            environment["LD_PRELOAD"] = _sanitizer(built.compiler.command)
        self._errors = (directory / "program.err").open("wb+")
        self._process = subprocess.Popen(
            [*_launcher(built), "--", str(built.release(1))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        self._rest = b""
        self.memory: int | None = None

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        if self.memory is not None:
            os.close(self.memory)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(ANSWER_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def errors(self) -> str:
        """Return what it has written to its standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def meta(self, tables: Any) -> Meta:
        """Return what the running version says of its layouts and addresses."""
        return read_meta(self._with_file("meta", b""), tables)

    def make(self, heaps: Sequence[tuple[Case, Layout]]) -> list[list[int]]:
        """Make the objects of cases; return their addresses."""
        orders: list[bytes] = []
        links: list[tuple[int, int, int, int]] = []
        starts = []
        for case, layout in heaps:
            starts.append(len(orders))
            _order(case, layout, orders, links)
        data = struct.pack("<2Q", len(orders), len(links))
        data += b"".join(orders) + b"".join(struct.pack("<4Q", *link) for link in links)
        answer = self._with_file("make", data)
        addresses = list(struct.unpack(f"<{len(orders)}Q", answer))
        return [
            addresses[start : start + len(case.objects)]
            for start, (case, _) in zip(starts, heaps, strict=True)
        ]

    def touch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Let the program read memory."""
        self._with_file("touch", b"".join(struct.pack("<2Q", *each) for each in ranges))

    def free(self, blocks: Sequence[int]) -> None:
        """Let the program free blocks."""
        self._with_file("free", b"".join(struct.pack("<2Q", each, 0) for each in blocks))

    def fail(self, how: str) -> dict[str, Any]:
        """Ask for an update that a rule stops, `how` as its letters say; return the answer."""
        self._fails.write_text(how)
        try:
            return self.update()
        finally:
            self._fails.unlink()

    def update(self) -> dict[str, Any]:
        """Ask for the update to the second release; return the answer."""
        command = [
            *(sys.executable, "-m", "kitsune_tool.cli", "update", "--json", "--limit-ms=120000"),
            *("--wait-ms=60000", str(self._process.pid), str(self._built.release(2))),
        ]
        done = subprocess.run(
            command,
            cwd=self._built.directory,
            env=self._built.tool.environment(self._built.directory),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        try:
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise Ended(f"no answer: {done.stdout}{done.stderr}{self.errors()}") from None
        return found

    def read(self, address: int, size: int) -> bytes | None:
        """Return memory of the process, None where there is none."""
        if self.memory is None:
            self.memory = os.open(f"/proc/{self._process.pid}/mem", os.O_RDONLY)
        try:
            data = os.pread(self.memory, size, address)
        except (OSError, OverflowError):
            return None
        return data if len(data) == size else None

    def _with_file(self, word: str, data: bytes) -> bytes:
        """Send a command with a file, which the program may read, and return what it then has."""
        self._files += 1
        path = self._built.directory / f"exchange{self._files}"
        path.write_bytes(data)
        answer = self._ask(f"{word} {path}")
        if answer != "done":
            raise Ended(f"'{word}' says '{answer}'")
        found = path.read_bytes()
        path.unlink()
        return found

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Ended(self.errors()) from None
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        lines = []
        while (got := self._line(deadline)) != ".":
            lines.append(got)
        return " ".join(lines)

    def _line(self, deadline: float) -> str:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            ready = select.select([output], [], [], max(0, deadline - time.monotonic()))[0]
            got = os.read(output, 65536) if ready else b""
            if not got:
                raise Ended(f"{'ended' if ready else 'does not answer'}: {self.errors()}")
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


def _order(
    case: Case, layout: Layout, orders: list[bytes], links: list[tuple[int, int, int, int]]
) -> None:
    """Append what makes a case's objects. Literals and functions are objects of no size."""
    start = len(orders)
    extra: dict[Any, int] = {}
    mine: list[bytes] = []
    for index, thing in enumerate(case.objects):
        image = layout.image(thing)
        address = 0
        if thing.variable >= 0:
            address = layout.meta.places["variable", layout.number, thing.variable]
        header = struct.pack("<3Q", address, len(image.data), layout.align(thing.type))
        mine.append(header + bytes(image.data))
        for at, value in image.links:
            match value:
                case To(target, path):
                    way = layout.way_in(case.objects[target], path)
                    links.append((start + index, at, start + target, way))
                case ToText(literal, offset):
                    number = extra.setdefault(("literal", literal), len(extra))
                    links.append((start + index, at, start + len(case.objects) + number, offset))
                case ToCode(function):
                    number = extra.setdefault(("function", function), len(extra))
                    links.append((start + index, at, start + len(case.objects) + number, 0))
    for kind, which in extra:
        address = layout.meta.places[kind, layout.number, which]
        mine.append(struct.pack("<3Q", address, 0, 1))
    orders += mine


_LAUNCHERS: dict[tuple[Path, Path | None], str] = {}


def _launcher(built: Built) -> list[str]:
    """Return the path of the launcher, built by the tool that the group was built with."""
    key = (built.tool.root, built.tool.cache)
    if key not in _LAUNCHERS:
        code = "from kitsune_tool import launcher; print(launcher.launcher_path())"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=built.directory,  # not where another copy of the tool may be
            env=built.tool.environment(built.directory),
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        _LAUNCHERS[key] = done.stdout.strip()
    return [_LAUNCHERS[key]]


def _sanitizer(compiler: str) -> str:
    """Return the path of a compiler's shared AddressSanitizer."""
    name = "libasan.so" if "gcc" in compiler else "libclang_rt.asan-x86_64.so"
    done = subprocess.run(
        [compiler, f"-print-file-name={name}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return str(Path(done.stdout.strip()).resolve())


__all__ = ["Ended", "Live"]
