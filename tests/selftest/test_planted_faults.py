"""Mistakes planted in generated transformers, each of which the self-test must find.

One program has a type for each of them. Its second release is linked twice: as it is generated,
where nothing must be found, and with the mistakes in its generated C.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import config, release, render, resources
from kitsune_tool.planned import Plan
from kitsune_tool.viewdata import Views

MANIFEST = """
kitsune: 1
program: sample
options: {widen: true}
versions:
  - version: "1"
    source: v1
  - version: "2"
    source: v2
    rules:
      - init: [struct swapped.extra, struct dropped.extra, struct counted.extra,
               struct bits.extra, struct named.extra, struct linked.extra, struct item.extra,
               struct tail.extra, struct tagged.extra]
      - rename: "struct renamed.old_name -> struct renamed.new_name"
    unions:
      union value:
        by: self.kind
        cases: {KIND_NUMBER: number, KIND_ITEM: item}
"""
TYPES = """
#include <kitsune.h>

enum color {{ {colors} }};
struct item {{ int value; {extra} }};
struct swapped {{ int a; int b; {extra} }};
struct dropped {{ {extra} long kept; int lost; char text[5]; }};
struct counted {{ {extra} int count; struct item * E_PTRARRAY(self.count) items; }};
struct widened {{ {narrow} level; }};
struct bits {{ unsigned low : 9; int high : 7; unsigned : 3; unsigned last : 2; {extra} }};
struct named {{ {extra} char name[12]; enum color colors[3]; double weight; }};
struct linked {{ {extra} struct item *first; void (*call)(void); char *name; }};
struct holder {{ int number; struct item *item; }};
struct tail {{ {extra} int count; int values[E_ARRAY(self.count)]; }};
struct renamed {{ int first; int {name}; int {other}; }};
enum kind {{ KIND_NUMBER, KIND_ITEM = 4 }};
union value {{ long number; struct item *item; }};
struct tagged {{ {extra} enum kind kind; union value value; }};

struct swapped *swapped;
struct dropped *dropped;
struct counted *counted;
struct widened *widened;
struct bits *bits;
struct named *named;
struct linked *linked;
struct holder *holder;
struct tail *tail;
struct renamed *renamed;
struct tagged *tagged;
static struct item first_item, *in_place = &first_item;

static void a_callback(void) {{}}

int main(void)
{{
    static struct linked a_linked = {{.call = a_callback, .first = &first_item}};
    linked = &a_linked;
    in_place = &first_item;
    kitsune_do_automigrate();
    kitsune_update("main");
    return in_place == 0;
}}
"""
OLD = {
    "colors": "RED, GREEN, BLUE",
    "extra": "",
    "narrow": "signed char",
    "name": "old_name",
    "other": "same",
}
NEW = {
    "colors": "BLUE = 7, GREEN, RED",
    "extra": "int extra;",
    "narrow": "int",
    "name": "same",
    "other": "new_name",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`text` of the generated C, what is written instead, and the members that are wrong then."""

    what: str
    text: str
    instead: str
    type: str
    members: tuple[str, ...]


FAULTS = (
    Fault(
        "two members swapped",
        "out->a = in->a;\n    out->b = in->b;",
        "out->a = in->b;\n    out->b = in->a;",
        "struct swapped",
        ("a", "b"),
    ),
    Fault("a member dropped", "    out->lost = in->lost;\n", "", "struct dropped", ("lost",)),
    Fault(
        "an array copied short",
        "memcpy(&out->text, &in->text, 5)",
        "memcpy(&out->text, &in->text, 4)",
        "struct dropped",
        ("text[]",),
    ),
    Fault(
        "a wrong length",
        "out->items = kitsune__launcher->objects(xf, in->items, (uint64_t)(in->count)",
        "out->items = kitsune__launcher->objects(xf, in->items, (uint64_t)(in->count) + 1",
        "struct counted",
        ("items",),
    ),
    Fault(
        "the sign lost",
        "out->level = in->level",
        "out->level = (unsigned char)in->level",
        "struct widened",
        ("level",),
    ),
    Fault(
        "a bit-field truncated",
        "out->low = in->low",
        "out->low = in->low & 255",
        "struct bits",
        ("low",),
    ),
    Fault(
        "a bit-field's sign lost",
        "out->high = in->high",
        "out->high = in->high & 63",
        "struct bits",
        ("high",),
    ),
    Fault(
        "enumerators that moved kept as numbers",
        "out->colors[i] = _kitsune_map_color(xf, in->colors[i])",
        "memcpy(&out->colors[i], &in->colors[i], 4)",
        "struct named",
        ("colors[]",),
    ),
    Fault(
        "a floating point number cut",
        "out->weight = in->weight",
        "out->weight = (long long)in->weight",
        "struct named",
        ("weight",),
    ),
    Fault(
        "an object not moved",
        "out->first = kitsune__launcher->object(xf, in->first, &_kitsune_type_item)",
        "out->first = (void *)in->first",
        "struct linked",
        ("first",),
    ),
    Fault(
        "a function of the old image",
        "out->call = (__typeof__(out->call))kitsune__launcher->function("
        "xf, (const void *)in->call)",
        "out->call = (void *)in->call",
        "struct linked",
        ("call",),
    ),
    Fault(
        "a text taken for an object",
        "out->name = kitsune__launcher->plain(xf, in->name, 0)",
        "out->name = kitsune__launcher->plain(xf, in->name, 3)",
        "struct linked",
        ("name",),
    ),
    Fault(
        "a pointer in place left",
        "kitsune__launcher->store(xf, &out->item, kitsune__launcher->object("
        "xf, in->item, &_kitsune_type_item));",
        "(void)out;",
        "struct holder",
        ("item",),
    ),
    Fault(
        "a flexible member cut short",
        "memcpy(&out->values, &in->values, (uint64_t)(in->count) * 4)",
        "memcpy(&out->values, &in->values, (uint64_t)(in->count) * 3)",
        "struct tail",
        ("values[]",),
    ),
    Fault(
        "a rename not followed",
        "out->new_name = in->old_name",
        "out->new_name = in->same",
        "struct renamed",
        ("new_name",),
    ),
    Fault(
        "an object in a union not moved",
        "out->value.item = kitsune__launcher->object(xf, in->value.item, &_kitsune_type_item)",
        "out->value.item = (void *)in->value.item",
        "struct tagged",
        ("value.item",),
    ),
)


@dataclass(frozen=True, slots=True)
class Program:
    """Where the sample's objects, manifest and first release are."""

    directory: Path

    def release(self, version: str, name: str) -> Path:
        """Return a release's path."""
        return self.directory / name / version / "sample.so"

    def link(self, version: str, name: str) -> None:
        """Link a version's release."""
        manifest = config.load_manifest(self.directory / "kitsune.yaml")
        parents = (self.release("1", "right"),) if version == "2" else ()
        release.build(
            release.Request(
                manifest,
                manifest.version(version),
                self.release(version, name),
                parents,
                ("gcc", "-O1"),
                (str(self.directory / f"v{version}.o"),),
            )
        )

    def test(self, name: str, *options: str) -> tuple[int, dict[str, Any]]:
        """Run the self-test; return its exit status and what it says."""
        words = [sys.executable, "-m", "kitsune_tool.cli", "self-test", "--json", "--seed", "1"]
        words += ["--release", str(self.release("2", name))]
        words += ["--from", str(self.release("1", "right")), *options]
        done = subprocess.run(
            words, cwd=self.directory, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)[0]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    directory = tmp_path_factory.mktemp("sample")
    (directory / "kitsune.yaml").write_text(MANIFEST)
    for version, texts in (("1", OLD), ("2", NEW)):
        folder = directory / f"v{version}"
        folder.mkdir()
        (folder / "main.c").write_text(TYPES.format(**texts))
        command = [sys.executable, "-m", "kitsune_tool.cc", "gcc", "-w", "-O1", "-fPIC", "-c"]
        command += [f"-I{resources.include_dir()}", "main.c", "-o", f"../v{version}.o"]
        subprocess.run(command, cwd=folder, check=True, timeout=120)
    made = Program(directory)
    made.link("1", "right")
    made.link("2", "right")
    return made


@pytest.fixture(scope="module")
def found(program: Program) -> dict[str, Any]:
    """Return what is found by type once all faults are in the second release's generated C."""
    rendered = render.render_views

    def planted(plan: Plan, views: Views, identity: render.Identity) -> dict[str, str]:
        return {name: _planted(text) for name, text in rendered(plan, views, identity).items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "render_views", planted)
        program.link("2", "wrong")
    status, results = program.test("wrong")
    assert status == 1
    return _by_type(results)


def _planted(text: str) -> str:
    if "_kitsune_move_swapped(" not in text or "Transformers" not in text:
        return text
    for fault in FAULTS:
        assert text.count(fault.text) == 1, (fault.what, text)
        text = text.replace(fault.text, fault.instead)
    return text


def _by_type(results: Mapping[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in results["transformers"]}


def test_nothing_is_found_where_nothing_is_wrong(program: Program) -> None:
    status, results = program.test("right")
    found = _by_type(results)
    assert status == 0, json.dumps(results, indent=1)
    assert {each["outcome"] for each in found.values()} == {"passed"}
    for fault in FAULTS:
        assert set(fault.members) <= {*found[fault.type]["compared"]}, fault
    assert "extra" in found["struct item"]["compared"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.what))
def test_a_planted_fault_is_found(fault: Fault, found: Mapping[str, Any]) -> None:
    wrong = {each["member"] for each in found[fault.type]["complaints"]}
    planted = {member for each in FAULTS if each.type == fault.type for member in each.members}
    assert set(fault.members) <= wrong <= planted, json.dumps(found[fault.type], indent=1)


def test_types_without_a_fault_pass(found: Mapping[str, Any]) -> None:
    faulty = {fault.type for fault in FAULTS}
    whole = {name for name, each in found.items() if each["outcome"] == "passed"}
    assert whole and not whole & faulty
