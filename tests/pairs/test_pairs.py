"""Random pairs of versions with random heaps are updated for real, and are what the oracle says.

A bounded number of each flavour: those that once failed (`fixed/`), and some of a fixed seed, so
that the same cases are tried each time. `./kit pairs` does as many as asked for, of new seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from pairs.__main__ import COMPILERS, read_kept
from pairs.build import Tool
from pairs.cases import Case, from_json, to_json
from pairs.draw import FLAVOURS, Flavour, cases, drawn
from pairs.run import try_group

FIXED = sorted(Path(__file__).parent.glob("fixed/*.json"))
SEED = 1
COUNT = 20


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_pairs(flavour: Flavour) -> None:
    tried = drawn(flavour, COUNT, SEED)
    for path in FIXED:
        case, its_flavour, _ = read_kept(path)
        tried += [case] if its_flavour == flavour else []
    compiler = COMPILERS[FLAVOURS.index(flavour)]
    failures = try_group(tuple(enumerate(tried)), flavour.options, compiler, Tool(jobs=1))
    told = "\n".join(f"case {each.number}: {each.what}" for each in failures)
    again = f"./kit pairs --seed {SEED} --count {COUNT * len(FLAVOURS)} makes it smaller"
    assert not failures, f"{flavour.name}, {compiler}:\n{told}\n{again}"


@settings(max_examples=20, deadline=None, derandomize=True)
@given(cases(FLAVOURS[1]))
def test_a_case_can_be_kept(case: Case) -> None:
    assert from_json(to_json(case)) == case
