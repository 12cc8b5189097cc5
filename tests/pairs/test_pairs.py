"""Random pairs of versions with random heaps are updated for real, and are what the oracle says.

A bounded number of each flavour: those that once failed (`fixed/`), some of a fixed seed, and some
of a new one, which a failure names. `./kit pairs` does as many as asked for.
"""

from __future__ import annotations

import os
import random
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
OF_FIXED_SEED = 12
OF_NEW_SEED = 8


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_pairs(flavour: Flavour) -> None:
    seed = int(os.environ.get("KITSUNE_PAIRS_SEED") or random.SystemRandom().randrange(1 << 32))
    tried = drawn(flavour, OF_FIXED_SEED, SEED) + drawn(flavour, OF_NEW_SEED, seed)
    for path in FIXED:
        case, its_flavour, _ = read_kept(path)
        tried += [case] if its_flavour == flavour else []
    compiler = COMPILERS[FLAVOURS.index(flavour)]
    failures = try_group(tuple(enumerate(tried)), flavour.options, compiler, Tool(jobs=1))
    told = "\n".join(f"case {each.number}: {each.what}" for each in failures)
    again = f"KITSUNE_PAIRS_SEED={seed} repeats it; with ./kit pairs it can be made smaller"
    assert not failures, f"{flavour.name}, {compiler}, seeds {SEED} and {seed}:\n{told}\n{again}"


@settings(max_examples=20, deadline=None)
@given(cases(FLAVOURS[1]))
def test_a_case_can_be_kept(case: Case) -> None:
    assert from_json(to_json(case)) == case
