"""The `$` words in rules' code."""

import pytest

from kitsune_tool.code import ClosureUse, Use, closure_uses, expand, type_uses, uses


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


def test_closures_without_end() -> None:
    with pytest.raises(ValueError, match="deep"):
        closure_uses(f"$xform(a, b, {'XF_PTR(' * 5000}$gen(t){')' * 5000})")


def test_what_looks_like_a_quote_or_a_comment_is_none() -> None:
    assert words("1'000 + $in + 0x1'f; c = '$'; $out;") == [("in",), ("out",)]
    assert words("x1'a'; $in;") == [("in",)]
    assert words('// $in \\\n $in\n$out; "\\\n$in"') == [("out",)]


def test_expansion_keeps_lines() -> None:
    code = "$out = 1;\n/* $in */\n$out++;"
    text = expand(code, lambda use: "(*local_out)")
    assert text == "(*local_out) = 1;\n/* $in */\n(*local_out)++;"


def test_closures_that_are_asked_for() -> None:
    code = "XF_INVOKE(XF_PTR($xform(struct a, struct b)), &x, &y); f($gen(t), $gen(@u));"
    assert closure_uses(code) == [
        ClosureUse("$xform(structa,structb)", "struct a", "struct b"),
        ClosureUse("$gen(t)", "@t", "@t"),
        ClosureUse("$gen(@u)", "@u", "@u"),
    ]


@pytest.mark.parametrize(
    ("closures", "old", "new"),
    [
        ("XF_PTR($xform(struct a, struct b))", "struct a *", "struct b *"),
        ("XF_RAW(sizeof(long)), $gen(v)", "[opaque], @v", "[opaque], @v"),
        ("(XF_PTR(XF_PTR($xform(a, b, $gen(x)))))", "a<@x> * *", "b<@x> * *"),
        ("XF_PTR(XF_RAW(3)), XF_NTSTR()", "[opaque], char *", "[opaque], char *"),
    ],
)
def test_closures_for_type_parameters(closures: str, old: str, new: str) -> None:
    (use,) = closure_uses(f"$xform(struct d, struct e, {closures})")
    assert (use.old, use.new) == (f"struct d<{old}>", f"struct e<{new}>")


@pytest.mark.parametrize(
    "closure", ["c", "XF_FPTR()", "XF_ARRAY(2, 4, 4, $gen(t))", "$in", "$gen()"]
)
def test_closures_that_only_run_time_knows(closure: str) -> None:
    with pytest.raises(ValueError, match=r"closure|\$gen"):
        closure_uses(f"$xform(struct d, struct e, {closure})")


def test_types_that_are_named() -> None:
    code = "$oldtype(struct a) *x; struct _kitsune_new_rename_b *y; _kitsune_old_rename_c z;"
    found = [(version, name) for version, name, _ in type_uses(code)]
    assert found == [("old", "struct a"), ("new", "struct b"), ("old", "c")]


@pytest.mark.parametrize("code", ["$xform", "$oldtype(struct a", "$xform(a)"])
def test_unfinished(code: str) -> None:
    with pytest.raises(ValueError, match=r"'\$(xform|oldtype)'"):
        closure_uses(code)


def test_places() -> None:
    (use,) = uses("a + $in;")
    assert use == Use("in", (), 4, 7)
