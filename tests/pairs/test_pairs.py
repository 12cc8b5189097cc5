"""Random pairs of versions with random heaps are updated for real, and are what the oracle says.

A bounded number of each flavour: those that once failed (`fixed/`), and some of a fixed seed, so
that the same cases are tried each time. `./kit pairs` does as many as asked for, of new seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from pairs.__main__ import COMPILERS, read_kept
from pairs.build import Compiler, Tool
from pairs.cases import Case, from_json, to_json
from pairs.draw import FLAVOURS, Flavour, cases, drawn
from pairs.run import try_group

FIXED = sorted(Path(__file__).parent.glob("fixed/*.json"))
SEED = 1
COUNT = 20


def _kept() -> dict[tuple[str, str], tuple[Flavour, Compiler, list[Case]]]:
    found: dict[tuple[str, str], tuple[Flavour, Compiler, list[Case]]] = {}
    for path in FIXED:
        case, flavour, compiler = read_kept(path)
        found.setdefault((flavour.name, str(compiler)), (flavour, compiler, []))[2].append(case)
    return found


KEPT = _kept()


def _compiler(flavour: Flavour) -> Compiler:
    return COMPILERS[FLAVOURS.index(flavour) % len(COMPILERS)]


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_pairs(flavour: Flavour) -> None:
    compiler = _compiler(flavour)
    tried = drawn(flavour, COUNT, SEED)
    _, _, fixed = KEPT.get((flavour.name, str(compiler)), (flavour, compiler, []))
    again = f"./kit pairs --seed {SEED} --count {COUNT * len(FLAVOURS)} makes it smaller"
    _check(tried + fixed, flavour, compiler, again)


@pytest.mark.parametrize(
    "name",
    [name for name, (f, c, _) in KEPT.items() if _compiler(f) != c],
    ids=" ".join,
)
def test_fixed(name: tuple[str, str]) -> None:
    """Those that failed with a compiler with which the others of their flavour are not tried."""
    flavour, compiler, fixed = KEPT[name]
    _check(fixed, flavour, compiler, "./kit pairs --case makes it smaller")


def _check(cases: list[Case], flavour: Flavour, compiler: Compiler, again: str) -> None:
    failures = try_group(tuple(enumerate(cases)), flavour.options, compiler, Tool(jobs=1))
    told = "\n".join(f"case {each.number}: {each.what}" for each in failures)
    assert not failures, f"{flavour.name}, {compiler}:\n{told}\n{again}"


@settings(max_examples=20, deadline=None, derandomize=True)
@given(cases(FLAVOURS[1]))
def test_a_case_can_be_kept(case: Case) -> None:
    assert from_json(to_json(case)) == case
