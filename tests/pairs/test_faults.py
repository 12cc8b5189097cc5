"""Random cases find the mistakes that faults.py plants, or they would find no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairs.faults import FAULTS, Fault, found, planted


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "_"))
def test_planted_fault_is_found(fault: Fault, tmp_path: Path) -> None:
    tried, failures = found(fault, tmp_path)
    print(f"{fault.name}: found by case {tried}")
    assert failures, f"{tried} cases did not find it"


def test_there_is_something_wrong_in_each(tmp_path: Path) -> None:
    for number, fault in enumerate(FAULTS):
        root = planted(fault, tmp_path / str(number)).root
        assert fault.wrong in (root / fault.file).read_text()
