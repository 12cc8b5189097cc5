"""The `$` words in rules' code."""

import pytest

from kitsune_tool.code import Use, expand, type_uses, uses, xform_uses


def words(code: str) -> list[tuple[str, ...]]:
    return [(use.word, *use.arguments) for use in uses(code)]


def test_words_and_arguments() -> None:
    assert words("$out = $in.a; x = ($newtype(struct s<int, long> *))f($base);") == [
        ("out",),
        ("in",),
        ("newtype", "struct s<int, long> *"),
        ("base",),
    ]


def test_strings_and_comments_are_left_alone() -> None:
    assert words("s = \"$in\"; c = '$'; /* $out */ // $base\n$in;") == [("in",)]


def test_expansion_keeps_lines() -> None:
    code = "$out = 1;\n/* $in */\n$out++;"
    text = expand(code, lambda use: "(*local_out)")
    assert text == "(*local_out) = 1;\n/* $in */\n(*local_out)++;"


def test_transformers_that_are_asked_for() -> None:
    code = "XF_INVOKE(XF_PTR($xform(struct a, struct b)), &x, &y);"
    assert xform_uses(code) == [("$xform(struct a, struct b)", "struct a", "struct b")]


def test_types_that_are_named() -> None:
    code = "$oldtype(struct a) *x; struct _kitsune_new_rename_b *y; _kitsune_old_rename_c z;"
    assert type_uses(code) == [("old", "struct a"), ("new", "struct b"), ("old", "c")]


@pytest.mark.parametrize("code", ["$xform", "$oldtype(struct a", "$xform(a)"])
def test_unfinished(code: str) -> None:
    with pytest.raises(ValueError, match=r"'\$(xform|oldtype)'"):
        xform_uses(code)


def test_places() -> None:
    (use,) = uses("a + $in;")
    assert use == Use("in", (), 4, 7)
