"""Every code of an error is documented once, and some test shows its message."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUTCOME = re.compile(r"^ *X\(\w+, *(\d{3}),", re.MULTILINE)
CODE = re.compile(r"\bK\d{3}\b")


def codes(paths: "list[Path]") -> set[str]:
    return {code for path in paths for code in CODE.findall(path.read_text(errors="replace"))}


def raised() -> set[str]:
    runtime = ROOT / "runtime" / "src"
    outcomes = OUTCOME.findall((runtime / "outcome.h").read_text())
    files = [*(ROOT / "kitsune_tool").glob("*.py"), *runtime.glob("*.[chS]")]
    return codes(files) | {f"K{number}" for number in outcomes}


def documented() -> Counter[str]:
    text = (ROOT / "docs" / "diagnostics.md").read_text()
    return Counter(re.findall(r"^\| (K\d{3}) \|", text, re.MULTILINE))


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    assert raised() == set(documented())


def test_no_code_is_documented_twice() -> None:
    assert {code: count for code, count in documented().items() if count > 1} == {}


def test_every_code_is_shown_by_a_test() -> None:
    suffixes = {".py", ".txt", ".yaml", ".c"}
    tests = [
        path
        for path in (ROOT / "tests").rglob("*")
        if path.suffix in suffixes and path.name != Path(__file__).name
    ]
    assert raised() - codes(tests) == set()
