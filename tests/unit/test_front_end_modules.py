"""The digest that stands for the front-end in build signatures covers all of it."""

import ast
from pathlib import Path

import kitsune_tool
from kitsune_tool import resources

PACKAGE = Path(kitsune_tool.__file__).parent


def imports(module: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [alias.name for alias in node.names]
            is_package = node.module == "kitsune_tool"
            found |= set(names) if is_package else {node.module.removeprefix("kitsune_tool.")}
    return {name for name in found if (PACKAGE / f"{name}.py").is_file()}


ONLY_LINK = {"link", "launcher"}
"""What cc imports for the link of a program; no object depends on it."""


def test_front_end_modules_are_what_cc_imports() -> None:
    reached: set[str] = set()
    queue = ["cc"]
    while queue:
        module = queue.pop()
        if module not in reached | ONLY_LINK:
            reached.add(module)
            queue += imports(module)
    assert sorted(resources.FRONT_END_MODULES) == sorted(reached)
