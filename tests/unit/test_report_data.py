"""report.json is what docs/report.md says that it is: no key more, none less."""

import re
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import assumed, reportpage
from kitsune_tool.errors import Location
from kitsune_tool.model import EditMatch, Program, UpdatePoint
from kitsune_tool.report import EditText, first_report

DOCUMENT = (Path(__file__).parents[2] / "docs/report.md").read_text(encoding="utf-8")


def documented() -> set[str]:
    """Return the keys of the table of the data."""
    table = DOCUMENT.partition("## The data")[2]
    rows = re.findall(r"^\| ((?:`\w+`,? ?)+) \|", table, re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def first() -> dict[str, Any]:
    point = UpdatePoint('"<main>"', "main", Location("a.c", 3, 1))
    edit = EditMatch(0, "main", Location("a.c", 7), "kitsune_do_automigrate();")
    program = Program("p", "1", (), (), (), (point,), (edit,))
    return first_report(program, (EditText("insert", "kitsune_do_automigrate();"),))


def test_the_keys_are_those_of_the_document() -> None:
    assert set(first()) == documented()


def test_every_word_of_carried_is_explained() -> None:
    explained = set(re.findall(r"^\| `([\w-]+)` \| ", DOCUMENT, re.MULTILINE))
    assert set(reportpage.CARRIED) <= explained


def test_every_kind_of_assumption_is_explained() -> None:
    source = Path(assumed.__file__).read_text(encoding="utf-8")
    kinds = set(re.findall(r'_assumed\("(\w+)"', source))
    table = DOCUMENT.partition("### What is assumed")[2].partition("## The data")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == kinds


def test_an_edit_is_told_with_its_line() -> None:
    text = reportpage.as_text(first())
    assert "a.c:7 in main: insert: kitsune_do_automigrate();" in text
    assert "a.c:7" in reportpage.as_page(first())


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain größe 中", "plain größe 中"),
        ("a\u202eb", "a\\u202eb"),
        ("\x1b[31m", "\\u001b[31m"),
        ("\ufeff", "\\ufeff"),
        ("two\nlines\tand", "two\nlines\tand"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_is_not_seen_is_spelled_out(text: str, seen: str) -> None:
    assert reportpage.visible(text) == seen


def test_a_page_is_text_that_can_be_written() -> None:
    data = first() | {"program": "</title><b>\u202e\udcff"}
    page = reportpage.as_page(data)
    assert "</title><b>" not in page
    assert page.encode("utf-8")
