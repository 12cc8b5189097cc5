"""Which module may import what: the core is pure, and only the SCons tool knows SCons."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kitsune_tool

PACKAGE = Path(kitsune_tool.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))

CORE = {"model", "errors", "program", "annotate", "rules", "paths", "compare", "plan", "pairs",
        "closed", "resolve", "diagnose", "declare", "code", "expressions", "definitions", "unions",
        "allocators", "likely", "nearest", "sample", "switches", "views", "xf",
        "byhand", "identity", "basic",
        "planned", "arithmetic", "unioncases", "moving", "entries",
        "viewdata", "names", "rulecode", "expectation"}  # fmt: skip
IMPURE = {"pycparser", "jinja2", "os", "subprocess", "pathlib", "yaml", "SCons", "tempfile"}
ONLY_IN = {
    "SCons": {"scons"},
    "yaml": {"yamlfile"},
    "jinja2": {"templates"},
    "pycparser": {"parse", "extract", "typegraph", "normalise", "bodies"},
}


def imported(module: str) -> Iterator[str]:
    """Yield the names that a module imports anywhere in it; ours as `kitsune_tool.x`."""
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            if node.module == "kitsune_tool":
                yield from (f"kitsune_tool.{alias.name}" for alias in node.names)


def tops(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(module)}


def ours(module: str) -> set[str]:
    names = {name.split(".")[1] for name in imported(module) if name.startswith("kitsune_tool.")}
    return names & set(MODULES)


@pytest.mark.parametrize("module", sorted(CORE & set(MODULES)))
def test_core_is_pure(module: str) -> None:
    assert not tops(module) & IMPURE
    assert ours(module) <= CORE


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_library_is_known_to_its_stage_only(library: str) -> None:
    assert {module for module in MODULES if library in tops(module)} <= ONLY_IN[library]


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"scons", "__init__"}))
def test_every_module_says_what_goes_in_and_out(module: str) -> None:
    documentation = ast.get_docstring(ast.parse((PACKAGE / f"{module}.py").read_text()))
    assert documentation
