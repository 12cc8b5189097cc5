"""By which names a program's own transformers are found."""

import pytest

from kitsune_tool.byhand import find_transformers
from kitsune_tool.errors import KitsuneError
from kitsune_tool.model import FunctionSymbol, Program, Scalar, Variable
from kitsune_tool.resolve import World


def world(*variables: Variable, functions: dict[str, str]) -> World:
    """Return a program of these variables and of functions, which are global or static."""
    symbols = tuple(
        FunctionSymbol(name, name, kind, None, defined=True, registered=False)  # type: ignore[arg-type]
        for name, kind in functions.items()
    )
    integer = Scalar("int", "signed", 4, 4)
    return World(
        Program(
            "p", "1", types=(integer,), variables=variables, functions=symbols, update_points=()
        )
    )


@pytest.mark.parametrize(
    ("key", "function", "name"),
    [
        ("v", "", "_kitsune_transform_v"),
        ("main.c/v", "", "_kitsune_transform_main_c___file___v"),
        ("src/or/main.c/v", "", "_kitsune_transform_main_c___file___v"),
        ("src/or/main.c/v", "", "_kitsune_transform_or_main_c___file___v"),
        ("src/or/main.c/v", "", "_kitsune_transform_src_or_main_c___file___v"),
        ("f#v", "f", "_kitsune_transform_f___func___v"),
        ("a-b.c/f#v", "f", "_kitsune_transform_a_b_c___file___f___func___v"),
        ("ns@v", "", "_kitsune_transform_ns___ns___v"),
        ("n.s@m.c/v", "", "_kitsune_transform_n_s___ns___m_c___file___v"),
    ],
)
def test_names(key: str, function: str, name: str) -> None:
    storage = "local_static" if function and "/" in key else "global"
    variable = Variable(key, "v", storage, 0, function)  # type: ignore[arg-type]
    found = find_transformers(world(variable, functions={name: "global", "other": "global"}))
    assert {key: function.name for key, function in found.items()} == {key: name}


def test_what_is_none() -> None:
    variable = Variable("main.c/v", "v", "static", 0)
    names = ["v", "_kitsune_transform_v", "_kitsune_transform_in_c___file___v"]
    assert find_transformers(world(variable, functions=dict.fromkeys(names, "global"))) == {}


def test_one_for_two_variables() -> None:
    both = [Variable(f"{place}/main.c/v", "v", "static", 0) for place in "ab"]
    name = "_kitsune_transform_main_c___file___v"
    with pytest.raises(KitsuneError, match=r"K104.*a/main.c/v, b/main.c/v"):
        find_transformers(world(*both, functions={name: "global"}))
    exact = {"_kitsune_transform_a_main_c___file___v": "global"}
    assert list(find_transformers(world(*both, functions=exact))) == ["a/main.c/v"]
