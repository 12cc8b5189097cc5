"""The command `test-update`: transitions of the manifest, tried; the matrix printed.

In: a manifest's version and what the command line says besides. Out: a table or JSON on standard
output, progress on standard error, and an exit status: 0 if no cell failed. Called by cli.py.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsune_tool import files, launcher
from kitsune_tool.config import Manifest, TransitionTest, Version
from kitsune_tool.errors import EXIT_DONE, EXIT_INPUT_WRONG, KitsuneError, Location
from kitsune_tool.store import DESCRIPTION, Description, Store
from kitsune_tool.trial import Arrival, Cell, Driver, Matrix, Trial

_ALL = sys.maxsize


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be tried; empty values stand for the manifest's, `cells` 0 for all."""

    manifest: Manifest
    version: Version
    release: Path | None
    parents: tuple[Path, ...]
    driver: str | None
    at: tuple[str, ...]
    cells: int | None
    directory: Path
    as_json: bool


def run(request: Request) -> int:
    """Try the update from each parent. Raises K25x for what makes a trial impossible."""
    driver = _driver(request)
    store = Store(request.manifest.store, request.manifest.program)
    release = request.release or store.release(request.version.name)
    parents = request.parents or tuple(map(store.release, request.version.parents))
    if not parents:
        raise KitsuneError(
            "K253",
            f"version {request.version.name} follows no other: there is no update to try",
            at=request.version.at,
            source_line=request.version.line,
        )
    chosen = [_arrival(text) for text in request.at]
    data, is_passed = [], True
    for parent in parents:
        found = _try(request, parent, release, driver, chosen)
        names = (_version(parent), _version(release))
        data.append(_as_data(*names, found))
        is_passed = is_passed and found.is_passed
        if not request.as_json:
            print(_as_text(*names, found))
    if request.as_json:
        print(json.dumps(data, indent=1))
    return EXIT_DONE if is_passed else EXIT_INPUT_WRONG


def _test(request: Request) -> TransitionTest:
    """Return what the manifest says of a test, or what holds if it says nothing."""
    return request.manifest.test or TransitionTest(driver="")


def _driver(request: Request) -> Driver:
    test = _test(request)
    command = request.driver or test.driver
    if not command:
        raise KitsuneError(
            "K254",
            "the manifest names no test driver",
            at=Location(request.manifest.name, 1),
            hint="test:\n  driver: 'COMMAND \"$KITSUNE_SERVER\" ARGUMENTS'\n"
            "or give one with --driver",
        )
    base = request.manifest.path.resolve().parent
    return Driver(command, base, test.compare, test.limit_s, test.tree)


def _try(
    request: Request, parent: Path, release: Path, driver: Driver, chosen: Sequence[Arrival]
) -> Matrix:
    for path in (parent, release):
        if not path.is_file():
            raise KitsuneError(
                "K255",
                f"there is no release {files.shown(path)} to try",
                hint="build it first: scons release-chain, or kitsune release and kitsune publish",
            )
    directory = request.directory.resolve() / f"{_version(parent)}-{_version(release)}"
    launcher.check_machine(release)
    trial = Trial(parent, release, launcher.launcher_path(), driver, directory, _repeat(request))
    most = request.cells if request.cells is not None else _test(request).cells
    return trial.run(chosen, most or _ALL, lambda line: print(f"== {line}", file=sys.stderr))


def _repeat(request: Request) -> str:
    """Return the command that tries the same transition, but for `--at`."""
    words = ["kitsune", "test-update", "--manifest", files.shown(request.manifest.path)]
    words += ["--version", request.version.name]
    if request.release:
        words += ["--release", files.shown(request.release)]
    for parent in request.parents:
        words += ["--from", files.shown(parent)]
    if request.driver:
        words += ["--driver", request.driver]
    return " ".join(map(shlex.quote, words))


def _arrival(text: str) -> Arrival:
    point, _, number = text.rpartition(":")
    if not number.isdigit() or int(number) < 1:
        raise KitsuneError("K252", f"'{text}' is no arrival", hint="write POINT:N, N from 1")
    return Arrival(point, int(number))


def _version(release: Path) -> str:
    return Description.read(release.with_name(DESCRIPTION)).version


def _as_data(old: str, new: str, matrix: Matrix) -> dict[str, Any]:
    return {
        "from": old,
        "to": new,
        "arrivals": dict(matrix.arrivals),
        "cells": [_cell_data(cell) for cell in matrix.cells],
    }


def _cell_data(cell: Cell) -> dict[str, Any]:
    data = {field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}
    data |= {"outcome": cell.outcome, "log": str(cell.log)}
    data |= {"point": cell.arrival.point, "arrival": cell.arrival.number}
    return data


def _as_text(old: str, new: str, matrix: Matrix) -> str:
    counts = dict(matrix.arrivals)
    lines = [
        f"{old} -> {new}",
        f"{'update point':24} {'arrival':>15}  {'driver':11} {'pause':>9}  update",
    ]
    for cell in matrix.cells:
        arrival = f"{cell.arrival.number} of {counts.get(cell.arrival.point, 0)}"
        pause = f"{cell.pause_ns / 1e6:.1f} ms" if cell.pause_ns else ""
        lines.append(
            f"{cell.arrival.point:24} {arrival:>15}  {cell.verdict:11} {pause:>9}  {cell.outcome}"
        )
    failed = [cell for cell in matrix.cells if cell.verdict == "failed"]
    for cell in failed:
        lines += [
            "",
            f"failed at {cell.arrival}: {cell.why}",
            f"  output: {files.shown(cell.log.with_suffix('.out'))} and .log",
            f"  again:  {cell.command}",
        ]
    passed = sum(cell.verdict == "passed" for cell in matrix.cells)
    rest = len(matrix.cells) - passed - len(failed)
    lines += ["", f"{passed} passed, {len(failed)} failed, {rest} not reached"]
    return "\n".join(lines)
