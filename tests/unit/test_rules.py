"""Rules from the manifest's text."""

import pytest

from kitsune_tool.errors import KitsuneErrors, Location
from kitsune_tool.paths import Path
from kitsune_tool.rules import RuleSource, parse_rules

HERE = Location("kitsune.yaml", 4)


def test_labels_share_the_code() -> None:
    source = RuleSource("transform", ("struct a.x -> struct b.y", "v->w"), "$out = $in;", HERE)
    one, other = parse_rules([source]).rules
    assert (one.old, one.new) == (Path("struct", "a", ("x",)), Path("struct", "b", ("y",)))
    assert (other.old, other.new) == (Path("key", "v"), Path("key", "w"))
    assert one.code == other.code == "$out = $in;"
    assert one.number == other.number == 0


def test_a_rename_has_no_code() -> None:
    (rule,) = parse_rules([RuleSource("rename", ("a -> b",), None, HERE)]).rules
    assert rule.code is None


@pytest.mark.parametrize("code", [None, "", "  /* nothing */ // at all\n"])
def test_an_init_without_code_keeps_the_initial_value(code: str | None) -> None:
    (rule,) = parse_rules([RuleSource("init", ("struct s.f",), code, HERE)]).rules
    assert rule.old is None
    assert rule.is_empty


def test_all_mistakes_are_told() -> None:
    sources = [
        RuleSource("rename", ("struct a",), None, HERE),
        RuleSource("init", ("a -> b",), "", HERE),
        RuleSource("transform", ("struct -> b",), "", HERE),
    ]
    with pytest.raises(KitsuneErrors) as caught:
        parse_rules(sources)
    assert [(e.code, e.message) for e in caught.value.errors] == [
        ("K110", "rule cannot be read: 'struct a' has no '->': write 'OLD -> NEW'"),
        ("K110", "rule cannot be read: 'a -> b': an init names one path, not 'old -> new'"),
        ("K110", "rule cannot be read: 'struct' is no name of a variable, function or type"),
    ]
