"""Transformers of variables that a program has itself, known by their generated names.

In: the new version's `World`. Out: for each variable's key the function that gives it its value
(`GLOBAL_XFORM(v)` and its like, kitsune.h). Called by plan.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kitsune_tool.errors import KitsuneError, Note
from kitsune_tool.model import FunctionSymbol, Variable
from kitsune_tool.resolve import World

_PREFIX = "_kitsune_transform_"


def find_transformers(new: World) -> dict[str, FunctionSymbol]:
    """Return the transformers by their variables' keys.

    Raises K104 for one that fits several variables, K138 for a static one, which nobody can call.
    """
    fitting: dict[str, list[Variable]] = {}
    for variable in new.variables.values():
        for name in _names(variable):
            fitting.setdefault(name, []).append(variable)
    found: dict[str, FunctionSymbol] = {}
    for function in new.functions.values():
        variables = fitting.get(function.name, [])
        if not function.defined or not variables:
            continue
        if len(variables) > 1:
            raise KitsuneError(
                "K104",
                f"the transformer '{function.name}' fits several variables:"
                f" {', '.join(variable.key for variable in variables)}",
                at=function.at,
                hint="write more of the file's path: STATIC_XFORM(src_main_c, v)",
            )
        if function.storage == "static":
            raise KitsuneError(
                "K138",
                f"the transformer '{function.name}' is static, so that nothing can call it",
                at=function.at,
                hint="take 'static' away",
                notes=(Note(variables[0].at, f"it is the one of '{variables[0].key}'"),),
            )
        found[variables[0].key] = function
    return found


def _names(variable: Variable) -> Iterator[str]:
    """Yield what the transformer of a variable may be called: with more or less of the path."""
    space, at, rest = variable.key.rpartition("@")
    head = _PREFIX + (f"{_mangled(space)}___ns___" if at else "")
    tail = f"{variable.function}___func___" if variable.function else ""
    file = rest.rpartition("/")[0]
    if not file:
        yield f"{head}{tail}{variable.name}"
    parts = file.split("/") if file else []
    for start in range(len(parts)):
        name = _mangled("/".join(parts[start:]))
        yield f"{head}{name}___file___{tail}{variable.name}"


def _mangled(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", text)
