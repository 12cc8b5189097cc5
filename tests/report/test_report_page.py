"""The page of a report, in a real browser: what the user's programs are called must not matter."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pages
import pytest
from headless import Browser
from releases import MakeReport, sh

from kitsune_tool import reportpage

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "</code></td><script>document.title='taken'</script><img src=x onerror=\\\"y\\\">\\u202e&amp;"
)
LONG = "an_identifier_without_end_" * 12

OLD = f"""
#include <kitsune.h>
enum colour {{ RED, GREEN, BLUE = 7 }};
struct item {{ int count; struct item *next; enum colour colour; void *opaque_thing; }};
struct größe {{ int breite; }};
struct {LONG} {{ int member; char text[3]; }};
struct kept {{ int a; struct item *to; }};
struct gone {{ int a; }};
struct item *first;
struct größe größe;
struct {LONG} long_one;
struct kept kept = {{ 1, 0 }};
struct gone gone;
static int limit = 3;
uintptr_t cookie;
static int twice(int n) {{ return 2 * n; }}
int (*callback)(int) = twice;
int length(char *text) {{ return ((struct item *)text)->count; }}
int main(void) {{ kitsune_update("{HOSTILE}"); return limit; }}
"""
NEW = f"""
#include <kitsune.h>
enum colour {{ RED, GREEN = 8, BLUE = 7 }};
struct item {{
    long count; struct item *next; long fresh; enum colour colour; void *opaque_thing;
}};
struct größe {{ long breite; }};
struct {LONG} {{ char text[3]; int member; }};
struct kept {{ int a; struct item *to; }};
struct item *first;
struct größe größe;
struct {LONG} long_one;
struct kept kept = {{ 1, 0 }};
static int limit_now = 4;
uintptr_t cookie;
static int two_times(int n) {{ return 2 * n; }}
int (*callback)(int) = two_times;
int length(char *text) {{ return ((struct item *)text)->count; }}
int main(void) {{ for (;;) kitsune_update("{HOSTILE}"); return limit_now; }}
"""
MANIFEST = """
kitsune: 1
program: p
options: {widen: true, added_variables: initial}
standing:
  annotations:
    struct item.opaque_thing: opaque
versions:
  - version: "1"
    source: v1
  - version: "2"
    source: v2
    edits:
      - insert: "if (!main) { (void)\\"</pre><script>alert(1)</script>\\"; }"
        function: main
        at: start
    rules:
      - rename: "main.c/twice -> main.c/two_times"
      - init: "struct item.fresh"
        code: "$out = 1; /* </pre><script>alert(2)</script> */"
      - init: "struct nothing"
"""


def test_hostile_names_are_only_text(browser: Browser, make_report: MakeReport) -> None:
    page = make_report({"main.c": OLD}, {"main.c": NEW}, MANIFEST)
    data = pages.check(browser, page, "hostile")
    assert browser.run("return document.title") == "p 2: what the update does"
    text = browser.run("return document.body.innerText")
    assert "<script>document.title='taken'</script>" in text
    assert "\\u202e" in text and "\u202e" not in text
    assert "alert(1)" in text and "alert(2)" in text
    told = {each["name"]: each for each in data["types"]}
    changes = {name: each["change"] for name, each in told.items()}
    assert changes == {
        "struct item": "changed", "struct größe": "changed", f"struct {LONG}": "changed",
        "struct kept": "same", "enum colour": "changed", "struct gone": "gone",
    }  # fmt: skip
    assert [row["change"] for row in told["struct item"]["members"]] == [
        "retyped", "", "added", "moved", "moved",
    ]  # fmt: skip
    assert told["enum colour"]["how"] == "enumerators mapped by name"
    carried = {each["name"]: each["carried"] for each in data["variables"]}
    assert carried == {
        "first": "redirected", "größe": "transformed", "long_one": "transformed",
        "kept": "redirected",
        "main.c/limit_now": "initial", "cookie": "copied", "callback": "redirected",
        "gone": "dropped", "main.c/limit": "dropped",
    }  # fmt: skip
    assert {(each["kind"], each["what"]) for each in data["assumed"]} >= {
        ("opaque", "struct item.opaque_thing"),
        ("integer", "cookie"),
        ("cast", "struct item"),
    }
    assert data["likely_renames"][0]["was"] == "main.c/limit"
    assert data["unchanged_types"] == []
    assert {each["name"]: each["change"] for each in data["functions"]} == {
        "main.c/twice": "renamed"
    }
    assert [each["change"] for each in data["update_points"]] == ["kept"]


def test_generated_code_is_one_click_away(browser: Browser, make_report: MakeReport) -> None:
    page = make_report({"main.c": OLD}, {"main.c": NEW}, MANIFEST)
    browser.open(page)
    entry = f"document.getElementById({json.dumps(reportpage.anchor('t', 'struct item'))})"
    assert not browser.run(f"return {entry}.querySelector('pre').checkVisibility()")
    browser.run(f"{entry}.querySelector('details.code summary').click()")
    code = browser.run(f"return {entry}.querySelector('details.code').innerText")
    assert "_kitsune_move_item" in code and "out->count = in->count;" in code
    name, _, line = browser.run(f"return {entry}.querySelector('.file').innerText").partition(":")
    generated = (page.parent / "generated" / name).read_text(encoding="utf-8").splitlines()
    shown = browser.run(f"return {entry}.querySelector('pre').textContent").splitlines()
    assert generated[int(line) - 1 :][: len(shown)] == shown


def test_on_paper_folded_parts_are_open(browser: Browser, make_report: MakeReport) -> None:
    page = make_report({"main.c": OLD}, {"main.c": NEW}, MANIFEST)
    browser.open(page)
    browser.prefer(media="print")
    row = f"document.getElementById({json.dumps(reportpage.anchor('v', 'cookie'))})"
    assert browser.run(f"return {row}.checkVisibility({{contentVisibilityAuto: true}})")
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.look("paper")
    printed = base64.b64decode(browser.command("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF")


def test_a_huge_program_is_folded(browser: Browser, tmp_path: Path) -> None:
    """Thousands of things that stay as they are take no room, and can be unfolded."""
    both = {"place": "a.c:1", "old_place": "a.c:1", "old": "int v", "new": "int v"}
    variables = [
        {"name": f"v{n}", "carried": "copied", "how": "copied", **both} for n in range(4000)
    ]
    data = empty_report() | {
        "variables": variables,
        "unchanged_types": [f"struct s{n}" for n in range(5000)],
        "functions": [
            {"name": f"f{n}", "change": "added", "place": "a.c:1", "new": f"f{n}(…)"}
            for n in range(3000)
        ],
        "assumed": [
            {"kind": "opaque", "what": f"struct s{n}.p", "place": "a.c:1", "text": "kept"}
            for n in range(2000)
        ],
    }
    page = tmp_path / "report.html"
    page.write_text(reportpage.as_page(data), encoding="utf-8")
    (tmp_path / "report.json").write_text(json.dumps(data))
    browser.open(page)
    assert browser.run("return document.documentElement.scrollHeight") < 4000
    assert pages.squeezed("struct s4999") in pages.squeezed(
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true);"
                    "return document.body.innerText")
    )  # fmt: skip


def empty_report() -> dict[str, Any]:
    lists = ("variables", "types", "unchanged_types", "functions", "update_points", "rules",
             "assumed", "likely_renames", "edits", "generated")  # fmt: skip
    head = {"kitsune_report": 1, "program": "p", "version": "2", "follows": "1", "identity": {}}
    return {**head, "objects_move": False, **{name: [] for name in lists}}


def test_a_first_release_has_a_page(browser: Browser, make_report: MakeReport) -> None:
    page = make_report({"main.c": OLD}, {"main.c": NEW}, MANIFEST).parents[1] / "r1/report.html"
    data = pages.check(browser, page, "first")
    assert data["follows"] is None and data["edits"] == []


@pytest.fixture(scope="module")
def kvd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the shipped example's store, just built."""
    place = tmp_path_factory.mktemp("kvd")
    for name in ("kitsune.yaml", "SConstruct"):
        shutil.copy(ROOT / name, place)
    for name in ("site_scons", "examples/kvd"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    sh(place, "scons -Q -s release-chain")
    return place / "build/kvd/releases/kvd"


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_the_shipped_example_s_page(browser: Browser, kvd: Path, version: str) -> None:
    data = pages.check(browser, kvd / version / "report.html", f"kvd-{version}")
    changed = {each["name"] for each in data["types"] if each["change"] != "same"}
    wanted = {
        "2.0": {"struct client", "struct entry"},
        "3.0": {"struct table", "struct entry"},
    }
    assert changed, version
    assert wanted[version] <= changed, changed
    assert data["identity"]["build_id"] and data["identity"]["digest"]
