"""State specs in both spellings: what is read, what is refused, and that nothing gets lost."""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsune_tool import cli, rulefile
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.rules import Preamble, RuleFile, RuleSource, parse_rules
from kitsune_tool.xf import code_end, parse_xf, print_xf

PUBLISHED = """\
{
#include <kitsune.h>
static int brace(int c) { return c == '}' || c == "}\\"{"[0]; /* } */ } // }
}

struct event.ev_base -> struct event.ev_base,
  struct a . b -> struct c . d,
  INIT struct q:
{
  XF_ASSIGN($out, $in);
}
_slave_thread_id -> slave.c/_slave_thread_id
INIT slave.c/update_settings: {/* use default initialization*/}

main.c/main#z -> foo#q
typedef t->typedef t : {}
x-y->other.c/y-z union __anonunion_u_57 ->   union __anonunion_u_57: {}
NS@a.c/f#v.2 -> v
'a -> point' -> 'b'
"""


def read(text: str) -> RuleFile:
    return parse_xf(text, "a.xf")


def labels(text: str) -> list[tuple[Any, ...]]:
    return [(rule.kind, *rule.labels) for rule in read(text).rules]


def test_the_grammar() -> None:
    assert labels(PUBLISHED) == [
        (
            "transform",
            "struct event.ev_base -> struct event.ev_base",
            "struct a.b -> struct c.d",
            "INIT struct q",
        ),
        ("rename", "_slave_thread_id -> slave.c/_slave_thread_id"),
        ("init", "slave.c/update_settings"),
        ("rename", "main.c/main#z -> foo#q"),
        ("transform", "typedef t -> typedef t"),
        ("rename", "x-y -> other.c/y-z"),
        ("transform", "union __anonunion_u_57 -> union __anonunion_u_57"),
        ("rename", "NS@a.c/f#v.2 -> v"),
        ("rename", "'a -> point' -> 'b'"),
    ]
    assert parse_rules(read(PUBLISHED).rules).rules[2].kind == "init"


def test_code_is_kept_to_the_byte_and_knows_its_place() -> None:
    file = read(PUBLISHED)
    assert file.preamble is not None
    assert file.preamble.text.endswith("[0]; /* } */ } // }\n")
    assert file.preamble.at == Location("a.xf", 1, 2)
    rule = file.rules[0]
    assert rule.code == "\n  XF_ASSIGN($out, $in);\n"
    assert rule.code_at == Location("a.xf", 9, 2)
    assert rule.places[1] == Location("a.xf", 7, 3)


@pytest.mark.parametrize(
    "code",
    [
        "{ { } }",
        "c = '}'; s = \"{{{\"; t = \"\\\"{\"; u = L'\\'';",
        "/* { */ // {\n",
        "// { \\\n } still a comment\n",
        "n = 1'000'000 + 0x1'f; {'}';}",
        's = "a\\\n}b";',
        "#error don't {\n",
        "$out = $in;\r\n",
        "",
    ],
)
def test_code_ends_at_its_brace(code: str) -> None:
    (rule, _) = read(f"INIT a: {{{code}}}\nb -> c").rules
    assert rule.code == code


def test_comments_stay_with_what_follows() -> None:
    file = read("/* one\n * two */ // three\n#four\na /* five */ -> b\n# six")
    assert file.rules[0].comments == ("one", "two", "three", "four", "five")
    assert file.comments == ("six",)


def test_windows_line_ends() -> None:
    file = read("# c\r\na -> b,\r\nc -> d: {\r\n x;\r\n}\r\n")
    assert file.rules[0].labels == ("a -> b", "c -> d")
    assert file.rules[0].code == "\r\n x;\r\n"
    assert file.rules[0].places[1] == Location("a.xf", 3, 1)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a -> b: { {}\n", 1, 9, "the brace of this code is never closed"),
        ("{ \n", 1, 1, "the brace of this code is never closed"),
        ("a b", 1, 3, "'->' is expected behind 'a'"),
        ("a ->", 1, 5, "a path is expected, but the file ends"),
        ("a -> b,\n  -> c", 2, 3, "a path is expected, not '-'"),
        ("struct -> b", 1, 8, "a name is expected behind 'struct', not '-'"),
        ("struct a..b -> b", 1, 1, "'' in 'struct a..b' is no name"),
        ("a -> b. -> c", 1, 6, "'b.' is no name of a variable, function or type"),
        ("INIT a", 1, 7, "the code of an INIT is missing"),
        ("a -> b, c -> d\n", 2, 1, "renames stand alone, without a comma"),
        ("a -> b: c", 1, 9, "the code of a rule is missing"),
        ("/* a", 1, 1, "this comment is never closed"),
        ("a -> b # c", 1, 8, "a '#' begins a comment only at the start of a line"),
        ("\n\n  a -> 7", 3, 8, "a path is expected, not '7'"),
        ("a -> b: {} {}", 1, 12, "a path is expected, not '{'"),
    ],
)
def test_mistakes(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(KitsuneError) as caught:
        read(text)
    error = caught.value
    assert (error.code, error.message) == ("K114", message)
    assert error.at == Location("a.xf", line, column)
    assert error.source_line == [*text.split("\n"), ""][line - 1]


def test_init_is_a_name_too() -> None:
    assert labels("INIT_x -> b INIT INIT: {}") == [("rename", "INIT_x -> b"), ("init", "INIT")]


def test_braces_that_xf_cannot_spell() -> None:
    code = "#if A\nif (x) {\n#else\nif (y) {\n#endif\n}\n"
    rule = RuleSource("init", ("a",), code, Location("r.yaml", 3))
    with pytest.raises(KitsuneError, match="K115") as caught:
        print_xf(RuleFile(rules=(rule,)))
    assert "INIT" not in caught.value.message


def test_a_comment_does_not_swallow_the_brace() -> None:
    rule = RuleSource("init", ("a",), "$out = 1; // one", Location("r.yaml", 3))
    assert print_xf(RuleFile(rules=(rule,))) == "INIT a: {$out = 1; // one\n}\n"


# -- both spellings --------------------------------------------------------------------------------


def bare(file: RuleFile) -> RuleFile:
    """Return the file without places."""
    nowhere = Location("")
    rules = (dataclasses.replace(rule, at=nowhere, code_at=None, places=()) for rule in file.rules)
    preamble = file.preamble and dataclasses.replace(file.preamble, at=nowhere)
    return RuleFile(preamble, tuple(rules), file.comments)


def through(directory: Path, name: str, text: str) -> RuleFile:
    path = directory / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return bare(rulefile.load_rules(path))


def test_published_style_both_ways(tmp_path: Path) -> None:
    file = through(tmp_path, "a.xf", PUBLISHED)
    yaml = rulefile.convert(tmp_path / "a.xf", None)
    assert through(tmp_path, "a.yaml", yaml) == file
    again = rulefile.convert(tmp_path / "a.yaml", None)
    assert through(tmp_path, "b.xf", again) == file
    assert rulefile.convert(tmp_path / "b.xf", "yaml") == yaml


def test_yaml_reads_as_if_written_by_hand(tmp_path: Path) -> None:
    (tmp_path / "a.xf").write_text(
        "# why\nstruct a.b -> struct a.c: {\n  $out = $in;\n}\nINIT v: {}"
    )
    assert rulefile.convert(tmp_path / "a.xf", None) == textwrap.dedent(
        """\
        rules:
          # why
          - transform: struct a.b -> struct a.c
            code: |2

                $out = $in;
          - init: v
        """
    )


def test_comments_of_yaml(tmp_path: Path) -> None:
    text = textwrap.dedent(
        """\
        # first
        preamble: |
          # not a comment
          int x;
        # second
        rules:
          # third

          - init: a
            code: |
              # nor this
          # fourth
          - rename: a -> b
          # fifth
        """
    )
    file = through(tmp_path, "r.yaml", text)
    assert file.preamble is not None
    assert file.preamble.comments == ("first",)
    assert [rule.comments for rule in file.rules] == [("second", "third"), ("fourth",)]
    assert file.comments == ("fifth",)


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.xf"
    path.write_bytes(b"INIT a: {\n/* M\xfcller */ }\n")
    assert print_xf(rulefile.load_rules(path)).encode("utf-8", "surrogateescape") == (
        b"INIT a: {\n/* M\xfcller */ }\n"
    )
    with pytest.raises(KitsuneError, match="K116") as caught:
        rulefile.convert(path, "yaml")
    assert caught.value.at is not None
    assert caught.value.at.line == 2


_NAMES = st.from_regex(r"[$_A-Za-z][$_A-Za-z0-9]{0,5}", fullmatch=True).filter(
    lambda name: name not in {"struct", "union", "enum", "typedef", "INIT"}
)
_KEYS = st.one_of(
    _NAMES,
    st.builds("{}.c/{}".format, _NAMES, _NAMES),
    st.builds("{}@{}-x/{}.c/{}#{}.2".format, _NAMES, _NAMES, _NAMES, _NAMES, _NAMES),
    st.builds(
        "{} {}{}".format,
        st.sampled_from(["struct", "union", "enum", "typedef"]),
        _NAMES,
        st.lists(_NAMES, max_size=2).map(lambda names: "".join(f".{name}" for name in names)),
    ),
)
_POINTS = st.from_regex(r"'[a-z>. é\\\"#-]{1,5}'", fullmatch=True)
_ARROWS = st.builds("{} -> {}".format, _KEYS, _KEYS)
_PIECES = st.sampled_from(
    ["x;", "{", "}", "{}", '"}"', "'{'", "/* { */", "// }\n", "\n", "  ", "\t", "\r\n", "1'0", "\\",
     "é", "\u2028", "\x85", "\x01", "\U0001f600", "# c\n", '"', "'", ": ", "- a", "|", "\ufeff"]
)  # fmt: skip


def _closes(code: str) -> bool:
    return code_end(code + "}", 0) == len(code)


_CODES = st.lists(_PIECES, max_size=8).map("".join).filter(_closes)
_COMMENTS = st.lists(st.sampled_from(["a b", "", "# x", "- y: 'z'", "é"]), max_size=2).map(tuple)
_AT = Location("")
_RULES = st.one_of(
    st.builds(
        lambda label, comments: RuleSource("rename", (label,), None, _AT, comments=comments),
        st.one_of(_ARROWS, st.builds("{} -> {}".format, _POINTS, _POINTS)),
        _COMMENTS,
    ),
    st.builds(
        lambda labels, code, comments: RuleSource(
            "init", tuple(labels), code, _AT, None, (), comments
        ),
        st.lists(_KEYS, min_size=1, max_size=3),
        _CODES,
        _COMMENTS,
    ),
    st.builds(
        lambda first, labels, code, comments: RuleSource(
            "transform", (first, *labels), code, _AT, None, (), comments
        ),
        _ARROWS,
        st.lists(st.one_of(_ARROWS, _KEYS.map("INIT {}".format)), max_size=3),
        _CODES,
        _COMMENTS,
    ),
)
_FILES = st.builds(
    RuleFile,
    st.one_of(st.none(), st.builds(Preamble, _CODES, st.just(_AT), _COMMENTS)),
    st.lists(_RULES, min_size=1, max_size=4).map(tuple),
    _COMMENTS,
)


@given(_FILES)
@settings(max_examples=200, deadline=None)
def test_what_is_printed_is_read_again(file: RuleFile) -> None:
    assert bare(read(print_xf(file))) == file


@given(file=_FILES)
@settings(max_examples=150, deadline=None)
def test_what_is_printed_as_yaml_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, file: RuleFile
) -> None:
    place = tmp_path_factory.getbasetemp()
    assert through(place, "rules.yaml", rulefile.print_yaml(file)) == file


@given(st.text(alphabet="aI{}'\"/*#:,->. \n\\$@1", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        file = read(text)
    except KitsuneError as error:
        assert error.code == "K114"
        assert error.at is not None
        assert error.at.line
    else:
        assert bare(read(print_xf(file))) == bare(file)


def test_the_command(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    source, other, back = (tmp_path / name for name in ("a.xf", "a.yaml", "b.xf"))
    source.write_text("a -> b\n\nINIT c: { $out = 1; }\n")
    assert cli.main(["convert", str(source)]) == 0
    printed = capsysbinary.readouterr().out
    assert cli.main(["convert", str(source), "-o", str(other)]) == 0
    assert other.read_bytes() == printed
    assert cli.main(["convert", str(other), "-o", str(back)]) == 0
    assert back.read_text() == source.read_text()
    assert cli.main(["convert", "--to", "yaml", str(other)]) == 0
    assert capsysbinary.readouterr().out == printed
    assert cli.main(["convert", str(tmp_path / "none.xf")]) == 1
    assert b"error[K202]: cannot read" in capsysbinary.readouterr().err
