"""Every row of `docs/language.md` has a test; `-s` prints the table of both."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import language_page as page


def test_no_row_twice() -> None:
    rows = page.rows()
    assert len(rows) > 150
    assert sorted({row for row in rows if rows.count(row) > 1}) == []


def test_coverage_names_rows_of_the_page() -> None:
    named = set(page.covered()) | page.uncovered()
    assert sorted(named - set(page.rows())) == []


def test_coverage_names_tests_that_exist() -> None:
    names = {name for tests in page.covered().values() for name in tests}
    assert sorted(name for name in names if not page.is_test(name)) == []


def test_every_row_has_a_test() -> None:
    covered = page.covered()
    for heading, row in page.rows():
        print(f"{heading}: {row}\n    {', '.join(covered.get((heading, row), ['NONE']))}")
    without = {row for row in page.rows() if not covered.get(row)}
    assert sorted(without - page.uncovered()) == []
    assert sorted(page.uncovered() - without) == [], "has a test now: take it out of `uncovered`"
