"""The rows of `docs/language.md` and the tests that cover them, for test_language_page.py.

In: the page and `coverage.yaml`. Out: `rows`, in the page's order, and `covered`, each row's tests.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import yaml

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "language.md"
COVERAGE = Path(__file__).with_name("coverage.yaml")

Row = tuple[str, str]
"""A heading of the page and a row's first cell, as written."""


def rows() -> list[Row]:
    """Return the rows of all tables of the page."""
    heading, found, head_seen = "", [], False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        if not line.startswith("|"):
            head_seen = False
        elif not head_seen:
            head_seen = True
        elif not re.fullmatch(r"\|[-|]+\|", line):
            found.append((heading, line.split(" | ")[0].removeprefix("| ")))
    return found


def covered() -> dict[Row, list[str]]:
    """Return the tests of each row that `coverage.yaml` names."""
    said = yaml.safe_load(COVERAGE.read_text(encoding="utf-8"))
    return {
        (heading, row): tests or []
        for heading, entries in said["covered"].items()
        for row, tests in entries.items()
    }


def uncovered() -> set[Row]:
    """Return the rows that `coverage.yaml` admits to have no test."""
    said = yaml.safe_load(COVERAGE.read_text(encoding="utf-8")).get("uncovered") or {}
    return {(heading, row) for heading, entries in said.items() for row in entries or ()}


@cache
def _functions(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


def is_test(name: str) -> bool:
    """Tell whether `name` is a case's folder, a file of tests or `FILE::FUNCTION`."""
    path, _, function = name.partition("::")
    place = TESTS / path
    if place.is_dir():
        cases = ("expect.yaml", "case.yaml", "expected.txt")
        return not function and any((place / each).exists() for each in cases)
    if not place.is_file() or not place.name.startswith("test_"):
        return False
    return not function or function in _functions(place)
