"""Generated C, printed from views by the templates.

In: a `Plan` (or, for a first release, only the program) and the release's `Identity`. Out: texts by
file name; the `.c` ones are to be compiled into the release, the others lie beside them. Called by
release.py. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kitsune_tool.expectation import CaseView, Expectation
from kitsune_tool.model import Program
from kitsune_tool.planned import Plan
from kitsune_tool.program import layout_digest
from kitsune_tool.templates import environment
from kitsune_tool.viewdata import Views
from kitsune_tool.views import make_views

_LONGEST_NAME = 63
"""Of `program` and `version` in `struct kitsune_identity`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a release is. `parents` are the build-ids (20 bytes each) that it may follow; one that
    leads back to an earlier version `stands_for` the build-id of that version's own release.
    """

    program: str
    version: str
    parents: tuple[bytes, ...] = ()
    stands_for: bytes = b""


def render_first(program: Program, identity: Identity) -> dict[str, str]:
    """Return the generated files of a release that follows no other."""
    return {"version.c": _version(program, identity, None)}


def render_release(plan: Plan, identity: Identity) -> dict[str, str]:
    """Return the generated files of a release that `plan` leads to.

    Raises `KitsuneError` (K112, K132) for what rules' code and lengths get wrong.
    """
    return render_views(plan, make_views(plan), identity)


def render_views(plan: Plan, views: Views, identity: Identity) -> dict[str, str]:
    """Return the generated files of a release, printed from views that were made of its plan."""
    files = {"kitsune_types.h": _print("types.h.j2", views=views)}
    for unit in views.units:
        files[unit.file] = _print("transform.c.j2", unit=unit)
    if views.rules or views.preambles:
        files["rules.c"] = _numbered(_print("rules.c.j2", views=views))
    files["version.c"] = _version(plan.new.program, identity, views)
    return files


def render_self_test(
    expected: Expectation,
    cases: Sequence[CaseView],
    addresses: Mapping[str, int],
    release_address: int,
) -> str:
    """Return the tables of a self-test, for those of its cases that are in a release. The addresses
    are those of its transformers and of `kitsune_release`, as its table of symbols has them.
    """
    return _print(
        "self_test.c.j2",
        e=expected,
        cases=cases,
        offsets={case.function: addresses[case.function] for case in cases},
        release_offset=release_address,
    )


def _version(program: Program, identity: Identity, views: object) -> str:
    # the manifest's names are checked when it is read (K209)
    assert max(len(identity.program.encode()), len(identity.version.encode())) <= _LONGEST_NAME
    digest = layout_digest(program)
    return _print("version.c.j2", identity=identity, views=views, layout_digest=digest)


def _print(template: str, **values: object) -> str:
    return environment().get_template(template, globals={"quoted": _quoted}).render(**values)


def _quoted(text: str) -> str:
    """Return a C string, NULL for an empty text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if text else "NULL"


def _numbered(text: str) -> str:
    """Fill in the lines at which the generated text goes on behind code of the manifest."""
    lines = text.split("\n")
    return "\n".join(
        line.replace("@HERE@", str(number + 1)) for number, line in enumerate(lines, start=1)
    )
