"""Places and remedies of errors, and what the compiler says of them."""

import pytest

from kitsune_tool.errors import KitsuneError, KitsuneErrors, Location, Note, Remedy
from kitsune_tool.toolchain import first_error

ERROR = KitsuneError(
    "K120",
    "wrong",
    at=Location("a.c", 3, 5),
    notes=(Note(Location("b.c", 1, 1), "other", "kept"), Note(None, "no place")),
    remedies=(
        Remedy("rules", '- init: "a"\n  code: "$out = 0;"'),
        Remedy("options", "grow: true", "to let all grow"),
    ),
)


def test_an_error_is_placed_with_its_notes() -> None:
    placed = ERROR.placed(
        lambda at: Location(f"src/{at.file}", at.line, at.column), lambda at: f"line of {at.file}"
    )
    assert placed.report() == (
        "src/a.c:3:5: error[K120]: wrong\n"
        "    line of src/a.c\n"
        "        ^\n"
        "src/b.c:1:1: note: other\n"
        "    kept\n"
        "    ^\n"
        "kitsune: note: no place\n"
        "hint: under 'rules':\n"
        '        - init: "a"\n'
        '          code: "$out = 0;"\n'
        "      or, to let all grow, under 'options':\n"
        "        grow: true"
    )
    several = KitsuneErrors((ERROR, ERROR)).placed(lambda at: at, lambda at: None)
    assert several.report() == f"{ERROR.report()}\n\n{ERROR.report()}"


def test_what_another_program_said_stands_behind_the_line() -> None:
    error = KitsuneError(
        "K228", "no link", at=Location("k.yaml", 1), source_line="x", said="ld: bad\n", hint="why"
    )
    assert error.report() == "k.yaml:1: error[K228]: no link\n    x\nld: bad\nhint: why"


@pytest.mark.parametrize(
    ("complaints", "place"),
    [
        ("a.c: In function 'f':\na.c:4:8: warning: w\na.c:5:1: error: e\n", Location("a.c", 5, 1)),
        ("\x1b[01m\x1b[Ka.c:7:2:\x1b[m\x1b[K \x1b[31merror: \x1b[m\x1b[K", Location("a.c", 7, 2)),
        ("a.c:3:10: fatal error: x.h: No such file", Location("a.c", 3, 10)),
        ("/usr/bin/ld: m.o: in function `main':\n/p/m.c:9: undefined reference to `f'",
         Location("/p/m.c", 9)),
        ("collect2: error: ld returned 1 exit status", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_first_error_of_a_compiler(complaints: str, place: Location | None) -> None:
    assert first_error(complaints) == place
