"""Every code of an error has its page, a case that shows the exact message, and a place in it."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from kitsune_tool import explain

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "diagnostics.md"
OUTCOME = re.compile(r"^ *X\(\w+, *(\d{3}),", re.MULTILINE)
CODE = re.compile(r"\bK\d{3}\b")
HEAD = re.compile(r"^(?P<place>.*?): error\[(?P<code>K\d{3})\]: ", re.MULTILINE)
FILE_AND_LINE = re.compile(r"[^\s:]+:\d+(:\d+)?")
EXAMPLE = re.compile(r"^```\n(.*?\n)```\n\n", re.MULTILINE | re.DOTALL)
PAGES = explain.read_pages()

NO_LINE = {
    "K050": "about the command line of kitsune-cc, or its environment",
    "K051": "about the command line of kitsune-cc, or its environment",
    "K052": "about the command line of kitsune-cc",
    "K053": "names the file; it is generated, and read as a whole",
    "K060": "names the file; it cannot be read",
    "K061": "names the file; it is binary",
    "K062": "names the file; it is binary",
    "K063": "names the file; it is binary",
    "K064": "names the file; it is binary",
    "K201": "about the tool's own files",
    "K202": "there is no manifest that a line could be in",
    "K203": "an empty manifest has no line; all else that is no YAML has one",
    "K212": "about the command line",
    "K220": "names the file; it is generated, and read as a whole",
    "K221": "names the file; it is binary",
    "K224": "about the command line",
    "K232": "names the file; it is binary",
    "K241": "about the command line",
    "K250": "names the log of a command",
    "K251": "names the log of a command",
    "K252": "about the command line",
    "K255": "names the file; it is not there",
    "K256": "names the file; it is binary",
    "K257": "about the command line",
    "K260": "names the file; it is binary",
    "K261": "names the file; it is binary",
    "K299": "a bug of Kitsune, shown with its own traceback",
    "K300": "about a process",
    "K302": "about a process",
    "K304": "about the command line",
    "K309": "names the file; it is binary",
    "K380": "about a program of the machine",
    "K381": "about a program of the machine",
    "K401": "about a program of the machine",
    "K402": "about a program of the machine",
    "K403": "names the file; it is binary",
}
"""Codes that may be told without file and line, each with the reason."""

LIVE = re.compile(r"K3|K404")
"""What happens to running programs is shown by the tests that update them."""


def codes(paths: "list[Path]") -> set[str]:
    return {code for path in paths for code in CODE.findall(path.read_text(errors="replace"))}


def raised() -> set[str]:
    runtime = ROOT / "runtime" / "src"
    outcomes = OUTCOME.findall((runtime / "outcome.h").read_text())
    files = [*(ROOT / "kitsune_tool").glob("*.py"), *runtime.glob("*.[chS]")]
    return codes(files) | {f"K{number}" for number in outcomes}


def cases() -> list[tuple[str, str]]:
    """Return code and place of the error that each case is for, the first that it tells."""
    return [(head["code"], head["place"]) for head in map(HEAD.search, expected()) if head]


def expected() -> list[str]:
    failing = (ROOT / "tests/failing").glob("*/expected.txt")
    diagnoses = (ROOT / "tests/golden/diagnoses").glob("*/expected.txt")
    return [path.read_text() for path in sorted([*failing, *diagnoses])]


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    """A new code gets a section `### Knnn: …` in docs/diagnostics.md."""
    assert raised() == set(PAGES)


def test_no_code_has_two_pages() -> None:
    headings = re.findall(r"^### (K\d{3}):", DOCUMENT.read_text(), re.MULTILINE)
    assert {code: count for code, count in Counter(headings).items() if count > 1} == {}


def test_pages_stand_in_the_order_of_their_codes() -> None:
    assert list(PAGES) == sorted(PAGES)


@pytest.mark.parametrize("code", PAGES)
def test_every_page_says_what_to_do(code: str) -> None:
    assert "**What to do:** " in PAGES[code].body


def test_every_code_has_a_case() -> None:
    """A new code gets a folder in tests/failing or tests/golden/diagnoses."""
    lacking = {code for code in raised() - {code for code, _ in cases()} if not LIVE.match(code)}
    assert lacking == set()


def test_every_code_of_running_programs_is_shown_by_a_test() -> None:
    suffixes = {".py", ".txt", ".yaml", ".c"}
    tests = [
        path
        for path in (ROOT / "tests").rglob("*")
        if path.suffix in suffixes and path.name != Path(__file__).name
    ]
    assert raised() - codes(tests) == set()


def test_every_message_has_file_and_line() -> None:
    told = cases()
    lacking = {code for code, place in told if not FILE_AND_LINE.fullmatch(place)}
    assert lacking - set(NO_LINE) == set()
    assert set(NO_LINE) - lacking == set(), "they have a line: take them from the list"


def test_every_page_has_its_example_from_a_case() -> None:
    """KITSUNE_WRITE_GOLDEN=1 writes the examples of all pages that have none, or an old one."""
    texts: dict[str, list[str]] = {}
    for text in expected():
        head = HEAD.search(text)
        if head:
            texts.setdefault(head["code"], []).append(text.replace("⟨any⟩", "…"))
    wrong = {code for code, known in texts.items() if example(PAGES[code].body) not in known}
    if wrong and os.environ.get("KITSUNE_WRITE_GOLDEN"):
        document = DOCUMENT.read_text()
        for code in wrong:
            document = with_example(document, code, min(texts[code], key=len))
        DOCUMENT.write_text(document)
        wrong = set()
    assert wrong == set(), "KITSUNE_WRITE_GOLDEN=1 pytest tests/unit/test_diagnostics.py mends it"


def example(body: str) -> str:
    found = EXAMPLE.search(body + "\n\n")
    return found[1] if found else ""


def with_example(document: str, code: str, text: str) -> str:
    start = document.index(f"### {code}: ")
    start = document.index("\n\n", start) + 2
    end = document.index("**What to do:**", start)
    body = EXAMPLE.sub("", document[start:end])
    return f"{document[:start]}{body}```\n{text}```\n\n{document[end:]}"


def test_explain_prints_a_page() -> None:
    page = explain.explain("k120")
    assert page.startswith("K120: A value's type changed\n\n")
    assert "\n    main.c:1:" in page and "error[K120]" in page
    assert "What to do: " in page and "```" not in page and "**" not in page
