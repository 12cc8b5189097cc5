"""Random cases find the mistakes that faults.py plants, or they would find no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairs.draw import FLAVOURS, drawn
from pairs.faults import FAULTS, Fault, found, planted, shown
from pairs.oracle import refusals
from pairs.run import Failure, codes


def _name(fault: Fault) -> str:
    return fault.name.replace(" ", "_")


def _check(fault: Fault, directory: Path) -> None:
    tried, failure = found(fault, directory)
    assert failure is not None, f"none of {tried} cases found it"
    print(f"{fault.name} ({fault.file}): {fault.flavour} case {failure.number}: {failure.what}")


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.quick], ids=_name)
def test_quick_fault_is_found(fault: Fault, tmp_path: Path) -> None:
    _check(fault, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [f for f in FAULTS if not f.quick], ids=_name)
def test_planted_fault_is_found(fault: Fault, tmp_path: Path) -> None:
    _check(fault, tmp_path)


def test_there_is_something_wrong_in_each(tmp_path: Path) -> None:
    for number, fault in enumerate(FAULTS):
        root = planted(fault, tmp_path / str(number)).root
        assert fault.wrong in (root / fault.file).read_text()


def test_what_fails_for_another_reason_finds_no_fault() -> None:
    wrong = FLAVOURS[-1]
    cases = [case for case in drawn(wrong, 16, 1) if refusals(case, wrong.options)]
    group = tuple(enumerate(cases[:4]))

    def failures(what: str, count: int) -> list[Failure]:
        return [Failure(number, case, what) for number, case in group[:count]]

    missing = failures("the build must say ['K121'], says []\n", 4)
    assert shown(missing[:1], group, wrong) == missing[:1]
    assert not shown(missing, group, wrong)  # the tool itself ended
    for what in ("compile: k0_", "build: refused", "update: K353 k0_"):
        assert not shown(failures(what, 1), group, wrong)
    heap = failures("v1: is 1, must be 2", 4)
    assert shown(heap, group, wrong) == heap


def test_a_build_that_says_nothing_has_no_codes() -> None:
    assert not codes("")
    both = "a.h:1:2: error[K121]: 'k3_a'\n  text\nb.h:1:2: error[K122]: 'k4_b'\n"
    assert codes(both) == {3: {"K121"}, 4: {"K122"}}
