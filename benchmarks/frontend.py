"""CPU time of the front-end for each unit of real programs, against `gcc -O2 -c` of the same unit.

In: units captured from real builds. Out: per program and mode the median and the quartiles of the
ratios, unit by unit. Modes: `process` is what a build pays today, one `kitsune-cc gcc -O2 -c` for
each unit with nothing cached, and contains both steps of the compiler; `library` is the stages
alone, from preprocessed text to the text to compile, in a process that has its imports done.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import capture
from capture import CapturedUnit
from fetch_source import SourceUnavailable

from kitsune_tool import frontend, preprocess

PROGRAMS = {"ngircd-27": 1, "redis-7.0.15": 4}
"""Every n-th unit of each program is measured."""
_LOOK_ALIKE = (sys.executable, "-m", "kitsune_tool.cc")


@dataclass(frozen=True, slots=True)
class Times:
    """CPU seconds for one unit."""

    unit: str
    gcc_s: float
    process_s: float
    library_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """The ratios of one program in one mode: median, and the quartiles around it."""

    program: str
    mode: str
    units: int
    lower: float
    median: float
    upper: float


def measure() -> tuple[list[Row], list[str]]:
    """Return the rows, and a line for each program whose source cannot be had."""
    rows: list[Row] = []
    missing: list[str] = []
    for program, step in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as directory:
            try:
                captured = capture.capture(program, Path(directory))
            except SourceUnavailable as error:
                missing.append(f"{program}: {error}")
                continue
            target = Path(directory) / "unit.o"
            times = [_time(unit, captured.root, target) for unit in captured.units[::step]]
        rows.append(_row(program, "process", [t.process_s / t.gcc_s for t in times]))
        rows.append(_row(program, "library", [t.library_s / t.gcc_s for t in times]))
    return rows, missing


def _row(program: str, mode: str, ratios: Sequence[float]) -> Row:
    lower, median, upper = statistics.quantiles(ratios, n=4)
    return Row(program, mode, len(ratios), lower, median, upper)


def _time(unit: CapturedUnit, root: Path, target: Path) -> Times:
    command = unit.command
    options = [*_without_goal(command.arguments), "-O2", "-c", "-o", str(target)]
    with _inside(unit.directory):
        gcc_s = _children_cpu([*command.compiler, *options])
        process_s = _children_cpu([*_LOOK_ALIKE, *command.compiler, *options])
        text = preprocess.preprocess(command, unit.source, None).text
        started = time.process_time()
        frontend.process(text, unit.source.path, frontend.FrontendConfig(str(root)))
        library_s = time.process_time() - started
    return Times(str(unit), gcc_s, process_s, library_s)


def _without_goal(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments without what is asked for and where it goes, and without dependencies."""
    words = iter(arguments)
    for word in words:
        if word in ("-o", "-MF", "-MT", "-MQ"):
            next(words, None)
        elif word not in ("-c", "-MD", "-MMD", "-MP") and not word.startswith("-O"):
            yield word


@contextlib.contextmanager
def _inside(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


def _children_cpu(command: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
