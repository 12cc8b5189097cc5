"""The places that a program's parts know, changed all at once.

In: a `Program` and what to make of each place; out: the `Program` with other places. In a record,
places are relative to the version's source root, so that they mean the same on every machine; in a
message they are paths that the user can open. Called by release.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from kitsune_tool.errors import Location, Move
from kitsune_tool.model import Program


def moved(program: Program, move: Move) -> Program:
    """Return the program with `move` applied to each place in it."""
    result = _moved(program, move)
    assert isinstance(result, Program)
    return result


def _moved(value: Any, move: Move) -> Any:
    if isinstance(value, Location):
        return move(value)
    if isinstance(value, tuple):
        return tuple(_moved(item, move) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return type(value)(**{name: _moved(getattr(value, name), move) for name in names})
    return value
