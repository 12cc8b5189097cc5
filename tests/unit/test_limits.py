"""The time limits of an update, as they are written and asked for."""

from __future__ import annotations

import re

import pytest

from kitsune_tool import limits, resources


def test_phases_are_those_of_the_runtime() -> None:
    text = (resources.runtime_source_dir() / "time_limits.h").read_text(encoding="utf-8")
    assert tuple(re.findall(r'X\(\w+, "(\w+)"\)', text)) == limits.PHASES


def test_a_word_says_the_whole_and_each_phase() -> None:
    assert limits.word({"wait": 7}) == "0"
    assert limits.word({"transform": 3, "total": 9, "load": 2}) == "9,load=2,transform=3"


@pytest.mark.parametrize("text", ["", "load", "load=", "load=0", "load=x", "total=5", "wait=5",
                                  "load=86400001", "Load=5", "load=-1"])  # fmt: skip
def test_what_is_no_limit_of_a_phase_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        limits.parse(text)
    assert limits.parse("load=5") == ("load", 5)


@pytest.mark.parametrize("data", [[], {"sleep": 5}, {"load": 0}, {"load": "x"}, {"load": None}])
def test_a_description_with_other_limits_is_refused(data: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        limits.read(data)
    assert limits.read({"wait": 5, "load": 6}) == (("wait", 5), ("load", 6))
