"""How likely a rename is: what its parts promise. The diagnoses' cases show what is offered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsune_tool.compare import compare
from kitsune_tool.errors import Location
from kitsune_tool.likely import Likely, name_likeness
from kitsune_tool.model import Pointer, Program, Scalar, Type, Variable
from kitsune_tool.resolve import World
from kitsune_tool.rules import RuleSet

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,11}", fullmatch=True)
TYPES: tuple[Type, ...] = (
    Scalar("int", "signed", 4, 4),
    Scalar("long", "signed", 8, 8),
    Pointer(0),
)


@given(NAMES, NAMES)
def test_a_likeness_is_between_no_and_yes(one: str, other: str) -> None:
    assert 0.0 <= name_likeness(one, other) <= 1.0
    assert name_likeness(one, one) == 1.0


@pytest.mark.parametrize(
    ("one", "other"), [("max_size", "sizeMax"), ("hits", "hit_count"), ("conn", "connection")]
)
def test_names_of_the_same_words_are_alike(one: str, other: str) -> None:
    assert name_likeness(one, other) >= 0.5


@pytest.mark.parametrize(("one", "other"), [("total", "limit"), ("a", "b"), ("next", "size")])
def test_names_of_other_words_are_not(one: str, other: str) -> None:
    assert name_likeness(one, other) < 0.3


def variable(name: str, kind: int, line: int, file: str = "a.c") -> Variable:
    return Variable(name, name, "global", kind, at=Location(file, line, 1))


def likely(olds: list[Variable], news: list[Variable]) -> Likely:
    programs = [Program("p", v, TYPES, tuple(vs), (), ()) for v, vs in (("1", olds), ("2", news))]
    return Likely(compare(World(programs[0]), World(programs[1]), RuleSet()))


def test_a_lone_pair_of_another_name_and_type_is_not_offered() -> None:
    new = variable("limit", 2, 1)
    assert likely([variable("hits", 0, 1)], [new]).variables(new) == ()


def test_what_is_still_there_is_not_offered() -> None:
    new = variable("hit_count", 0, 2)
    hits = variable("hits", 0, 1)
    assert likely([hits], [hits, new]).variables(new) == ()


def test_the_best_comes_first_and_three_at_most() -> None:
    olds = [
        variable(name, 1, n) for n, name in enumerate(("hits_a", "hits_b", "hits_c", "hits"), 1)
    ]
    new = variable("hits_now", 1, 4)
    guesses = likely(olds, [new]).variables(new)
    assert len(guesses) == 3
    assert [g.likelihood for g in guesses] == sorted((g.likelihood for g in guesses), reverse=True)


def test_what_moves_with_its_file_is_likelier_than_what_moves_alone() -> None:
    olds = [variable(name, 0, n, "old.c") for n, name in enumerate(("one", "two", "three"), 1)]
    together = [variable(name, 0, n, "new.c") for n, name in enumerate(("one", "two", "third"), 1)]
    alone = [*olds[:2], variable("third", 0, 1, "new.c")]
    new = together[2]
    with_others = likely(olds, together).variables(new)[0]
    assert with_others.likelihood > likely(olds, alone).variables(alone[2])[0].likelihood
