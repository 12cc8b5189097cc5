"""What of a trial needs no process: which arrivals are tried, which lines are legal."""

from __future__ import annotations

import pytest

from kitsune_tool.trial import Arrival, _spread, is_legal

OLD = ("a", "old b", "old c")
NEW = ("a", "new b", "new c")


@pytest.mark.parametrize(
    ("lines", "is_it"),
    [
        (OLD, True),
        (NEW, True),
        (("a", "old b", "new c"), True),
        (("a", "new b", "old c"), False),
        (("a", "old b"), False),
        (("a", "old b", "new c", "more"), False),
        (("a", "old b", "?"), False),
        ((), False),
    ],
)
def test_lines_of_the_old_version_then_of_the_new(lines: tuple[str, ...], is_it: bool) -> None:
    assert is_legal(lines, OLD, NEW) == is_it


def test_versions_that_print_more_or_less() -> None:
    assert is_legal(("a",), ("a",), ("a", "b"))
    assert is_legal(("a", "b"), ("a",), ("a", "b"))
    assert is_legal((), (), ())
    assert not is_legal(("b",), ("a",), ("a", "b"))


@pytest.mark.parametrize(
    ("count", "most", "numbers"),
    [(1, 10, [1]), (3, 10, [1, 2, 3]), (101, 3, [1, 51, 101]), (5, 1, [1]), (4, 0, [1])],
)
def test_arrivals_are_evenly_spread(count: int, most: int, numbers: list[int]) -> None:
    assert _spread("main", count, most) == [Arrival("main", number) for number in numbers]
