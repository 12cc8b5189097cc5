"""What the templates print (data): statements, functions, tables of generated C.

Made by views.py and rulecode.py, printed by render.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kitsune_tool.allocators import Allocator
from kitsune_tool.definitions import Definitions

KEEP_INITIAL = "_kitsune_keep_initial"
"""The function of a variable that keeps its initial value."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of generated C.

    `assign`: `target = value`; `copy`: `size` bytes from `value` to `target`; `call`: `value` with
    arguments `target`; `store`: `value` to address `target`; `look`: `value` for its effect;
    `loop`: `body` for `target` below `value`; `through`: `body` in a block; `words`: a pointer
    within a union, by the helper `size`; `choose`: the first `when` of `body` that is true, where
    `value`, if not empty, is what they call `tag`; `when`: `body` if `value`, empty for any;
    `unknown`: the update ends, as `value` (a format) and `target` (its argument) say; `remark`:
    only the comment.
    """

    kind: Literal[
        "assign", "copy", "call", "store", "look", "loop", "through", "words", "choose", "when",
        "unknown", "remark",
    ]  # fmt: skip
    target: str = ""
    value: str = ""
    size: str = ""
    body: tuple[Statement, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ExtentView:
    """How many bytes an object has that may be shorter or longer than its type.

    It has all that stands before its last member: the `head`. `length` and `new_least`, what a new
    object has behind the head at least, are over `in`.
    """

    old_name: str
    new_name: str
    old_pointer: str
    length: str
    old_head: str
    new_head: str
    new_least: str
    old_type: str


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function over one old and one new value; `uses` are the names its body needs.

    `extent`: where the old object ends early, the body reads zeroes.
    """

    name: str
    comment: str
    in_declaration: str
    out_declaration: str
    body: tuple[Statement, ...]
    uses: frozenset[str]
    result: str = "1"
    """What the function of a variable returns: whether a value was migrated."""
    extent: ExtentView | None = None


@dataclass(frozen=True, slots=True)
class PartView:
    """An entry of a `struct kitsune_part` table, as C expressions."""

    old_offset: str
    new_offset: str
    old_size: str
    new_size: str
    count: int
    type: str
    comment: str


@dataclass(frozen=True, slots=True)
class TailView:
    """The functions that tell how long a flexible member is."""

    old_name: str
    new_name: str
    old_pointer: str
    length: str
    old_offset: str
    old_size: str
    old_element: str
    new_element: str


@dataclass(frozen=True, slots=True)
class TypeView:
    """A `struct kitsune_type`. `transform` and `visit` are empty for NULL."""

    ident: str
    user_name: str
    comment: str
    old_size: str
    new_size: str
    new_align: int
    how: Literal["KITSUNE_IN_PLACE", "KITSUNE_MOVE"]
    transform: str
    visit: str
    parts: tuple[PartView, ...]
    embedded: bool
    pooled: bool
    tail: TailView | None
    extent: ExtentView | None
    allocator: Allocator | None


@dataclass(frozen=True, slots=True)
class EnumMapView:
    """A function that maps the values of an enum."""

    name: str
    old: str
    new: str
    user_name: str
    cases: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class MigrationView:
    """An entry of the table of variables; empty texts are NULL."""

    comment: str
    new_key: str
    old_key: str
    type: str
    migrate: str
    flags: str


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule's function. `lines` are its code, the first one at `line` of `file`."""

    name: str
    label: str
    at: str
    base: str
    input: str
    output: str
    file: str
    line: int
    code: str


@dataclass(frozen=True, slots=True)
class ClosureView:
    """The closure that a `$xform` or `$gen` in a rule's code becomes; `text` names the types."""

    name: str
    text: str
    type: str
    move: str
    depth: Literal["KITSUNE__DEEP", "KITSUNE__SHALLOW"]
    old_size: int
    new_size: int


@dataclass(frozen=True, slots=True)
class MacroView:
    """A macro of the preamble that an expression names; `file` and `line` are the expression's."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class PreambleView:
    """C text of the manifest in front of the rules."""

    file: str
    line: int
    text: str


@dataclass(slots=True)
class UnitView:
    """What goes into one generated file: it belongs to the variables of one unit."""

    file: str
    source: str
    functions: list[FunctionView] = field(default_factory=list)
    migrations: list[FunctionView] = field(default_factory=list)
    types: list[TypeView] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FunctionPairView:
    """An entry of the table of functions; `symbol` is the new one's name, empty for none."""

    old_key: str
    new_key: str
    symbol: str
    ident: str
    comment: str


@dataclass(frozen=True, slots=True)
class Views:
    """All that is generated for one step from version to version."""

    old: Definitions
    new: Definitions
    units: tuple[UnitView, ...]
    enums: tuple[EnumMapView, ...]
    rules: tuple[RuleView, ...]
    closures: tuple[ClosureView, ...]
    preambles: tuple[PreambleView, ...]
    macros: tuple[MacroView, ...]
    migrations: tuple[MigrationView, ...]
    by_hand: tuple[str, ...]
    """The program's own transformers."""
    symbols: tuple[tuple[str, str], ...]
    """Keys and names of functions that must be found by key, though no address is taken."""
    functions: tuple[FunctionPairView, ...]
    update_points: tuple[tuple[str, str], ...]
    old_layout_digest: int
    flags: str
    idents: Mapping[int, str] = field(default_factory=dict)
    """What is in the names of what is generated for a pair, by its number."""
