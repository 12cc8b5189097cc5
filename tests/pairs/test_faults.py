"""Random cases find the mistakes that faults.py plants, or they would find no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairs.faults import FAULTS, Fault, found, planted


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
