"""Numbers of two versions: which hold the same bits, and which take all values of others.

In: two arithmetic types. Out: whether one can stand for the other. Called by plan.py.
"""

from __future__ import annotations

from kitsune_tool.model import UNKNOWN_TYPE, Enum, Scalar


def is_unknown(node: Scalar | Enum) -> bool:
    """Tell whether a type was not understood: its bits may be those of a pointer."""
    return isinstance(node, Scalar) and node.name == UNKNOWN_TYPE


def is_same_representation(one: Scalar | Enum, other: Scalar | Enum) -> bool:
    """Tell whether the bits of the one mean the same as the other."""
    if one.size != other.size:
        return False
    if isinstance(one, Scalar) and isinstance(other, Scalar):
        return one.kind == other.kind and (one.kind != "other" or one.name == other.name)
    number = one if isinstance(one, Scalar) else other
    return isinstance(number, Scalar) and number.kind in {"signed", "unsigned"}


_WIDENING = {
    ("signed", "signed"),
    ("unsigned", "unsigned"),
    ("unsigned", "signed"),
    ("float", "float"),
}


def holds(one: Scalar | Enum, old_width: int, other: Scalar | Enum, new_width: int) -> bool:
    """Tell whether all values of so many bits of the one type are values of the other."""
    if not isinstance(one, Scalar) or not isinstance(other, Scalar):
        return False
    if one.kind == other.kind:
        return old_width <= new_width
    if one.kind == "bool":
        return other.kind == "unsigned" or (other.kind == "signed" and new_width > 1)
    return (one.kind, other.kind) == ("unsigned", "signed") and old_width < new_width


def is_widening(one: Scalar | Enum, other: Scalar | Enum) -> bool:
    """Tell whether the other type has room for all values of the one, and more."""
    if not isinstance(one, Scalar) or not isinstance(other, Scalar):
        return False
    before, after = _arithmetic_kind(one), _arithmetic_kind(other)
    if before == "bool":
        return after in {"signed", "unsigned"}
    return (before, after) in _WIDENING and one.size < other.size


def _arithmetic_kind(scalar: Scalar) -> str:
    """Return the kind of a number; `__int128` is one of C's only by its name."""
    if scalar.kind == "other" and scalar.name.endswith("__int128"):
        return "unsigned" if scalar.name.startswith("unsigned") else "signed"
    return scalar.kind
