"""Every way to fail in every kind of program: the whole matrix that `./kit failures` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from failures.build import Built, build
from failures.run import COLUMNS, Column, try_column
from failures.ways import ANYWHERE, WAYS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("failures"))


SLOW = {"child/11"}
"""What the ordinary suite leaves out, to be no longer than it is."""
TRIED = [
    pytest.param(each, id=str(each), marks=[pytest.mark.slow] if str(each) in SLOW else [])
    for each in COLUMNS
]


@pytest.mark.parametrize("column", TRIED)
def test_failures(column: Column, built: Built, tmp_path: Path) -> None:
    cells = try_column(built, column, tmp_path)
    wrong = [f"{cell.way}: {cell.wrong}" for cell in cells if cell.wrong]
    assert not wrong, "\n".join(wrong)
    tried = {cell.way for cell in cells}
    assert {way.name for way in WAYS if column.kind in way.kinds} <= tried


def test_there_are_enough_ways() -> None:
    """At least 60 that can happen in each kind of program, and none twice."""
    names = [way.name for way in WAYS]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
    assert sum(way.kinds == ANYWHERE for way in WAYS) >= 60
