"""Paths and bindings as text."""

import pytest

from kitsune_tool.paths import (
    Binding,
    Path,
    key_splits,
    matches_key,
    parse_binding,
    parse_bindings,
    parse_path,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("struct item.next", Path("struct", "item", ("next",))),
        ("union  u . a . b", Path("union", "u", ("a", "b"))),
        ("typedef t", Path("typedef", "t")),
        ("sub-dir/x.c/struct s.a.b", Path("struct", "s", ("a", "b"), "sub-dir/x.c")),
        ("enum e.RED", Path("enum", "e", ("RED",))),
        ("struct __anonstruct_head_7.x", Path("struct", "head", ("x",))),
        ("src/or/main.c/f#v.2", Path("key", "src/or/main.c/f#v.2")),
        ("ns@a-b.c/v", Path("key", "ns@a-b.c/v")),
    ],
)
def test_paths(text: str, path: Path) -> None:
    assert parse_path(text) == path


def test_a_path_is_printed_as_it_is_read() -> None:
    for text in ("struct s.a.b", "a/b.c/enum e.X", "typedef t", "a.c/f#v"):
        assert str(parse_path(text)) == text


@pytest.mark.parametrize("text", ["", "struct 7", "struct s.", "a b", "9x", "struct s.f-g"])
def test_no_paths(text: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        parse_path(text)


def test_a_key_may_be_cut_behind_the_last_slash_only() -> None:
    cuts = key_splits(parse_path("a.c/v.f.g"))
    assert [(c.name, c.fields) for c in cuts] == [
        ("a.c/v.f.g", ()),
        ("a.c/v.f", ("g",)),
        ("a.c/v", ("f", "g")),
    ]


def test_an_ordinal_is_no_member() -> None:
    assert [c.name for c in key_splits(parse_path("a.c/f#v.2"))] == ["a.c/f#v.2"]


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("main.c/x", "src/or/main.c/x", True),
        ("main.c/x", "src/domain.c/x", False),
        ("x", "x", True),
        ("x", "main.c/x", False),
        ("ns@main.c/x", "ns@src/main.c/x", True),
        ("main.c/x", "ns@src/main.c/x", False),
    ],
)
def test_a_key_matches_by_its_end_at_a_component(pattern: str, key: str, matches: bool) -> None:
    assert matches_key(pattern, key) is matches


@pytest.mark.parametrize(
    ("text", "binding"),
    [
        ("@t", Binding("parameter", "@t")),
        ("@t **", Binding("parameter", "@t", (), 2)),
        ("[opaque]", Binding("opaque")),
        ("struct s*", Binding("record", "struct s", (), 1)),
        ("union u", Binding("record", "union u")),
        ("enum e", Binding("enum", "enum e")),
        ("typedef t", Binding("named", "t")),
        ("redisClient", Binding("named", "redisClient")),
        ("long unsigned", Binding("named", "unsigned long")),
        ("unsigned", Binding("named", "unsigned int")),
        ("long int long", Binding("named", "long long")),
        ("const char *", Binding("named", "char", (), 1)),
        ("long double", Binding("named", "long double")),
        (
            "list<redisClient*, int>",
            Binding(
                "named", "list", (Binding("named", "redisClient", (), 1), Binding("named", "int"))
            ),
        ),
    ],
)
def test_bindings(text: str, binding: Binding) -> None:
    assert parse_binding(text) == binding


@pytest.mark.parametrize("text", ["", "list<int", "a b", "struct", "int,", "+", "<int>"])
def test_no_bindings(text: str) -> None:
    with pytest.raises(ValueError):
        parse_bindings(text)


def test_several_are_not_one() -> None:
    with pytest.raises(ValueError, match="is not one type"):
        parse_binding("int, long")
