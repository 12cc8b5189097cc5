"""What a manifest says, and what of it a build depends on."""

import json
import re
import textwrap
from pathlib import Path

import pytest

from kitsune_tool import config, switches
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.switches import Settings, Switches

FULL = """\
kitsune: 1
program: kvd
automigrate: false
options:
  widen: true
  added_variables: initial
  exports: [plugin_*]
standing:
  annotations:
    struct   dict: generic(@k, @v)
    struct dict.n: ignore
  edits:
    - update_point: main
      function: main
      loop: 1
  rules:
    - rename: "a -> b"
versions:
  - version: 1.0
    source: v1
  - version: 1.10
    source: v2
    annotations:
      struct dict.n: ~
      event_base: opaque
    edits:
      - guard: "daemon(0, 0)"
        function: main
        count: 2
    preamble: |
      #include "x.h"
    rules:
      - transform:
          - "a -> b"
          - "c -> d"
        code: |
          $out = $in;
      - init: e
  - version: 1.11
    parents: ["1.0"]
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Manifest:
    monkeypatch.chdir(tmp_path)
    return load(tmp_path, FULL)


def load(place: Path, text: str) -> config.Manifest:
    path = place / "kitsune.yaml"
    path.write_text(textwrap.dedent(text))
    return config.load_manifest(path)


def test_names_stay_as_written(manifest: config.Manifest) -> None:
    assert [version.name for version in manifest.versions] == ["1.0", "1.10", "1.11"]


def test_paths_are_relative_to_the_manifest(manifest: config.Manifest, tmp_path: Path) -> None:
    assert manifest.versions[0].source == tmp_path / "v1"
    assert manifest.versions[2].source == tmp_path
    assert manifest.store == tmp_path / "releases"


def test_parents_default_to_the_version_before(manifest: config.Manifest) -> None:
    assert [version.parents for version in manifest.versions] == [(), ("1.0",), ("1.0",)]


def test_options(manifest: config.Manifest) -> None:
    assert manifest.options == config.Options(
        switches=Switches(Settings(automigrate=False)),
        widen=True,
        added_variables="initial",
        exports=("plugin_*",),
    )


def test_limits(tmp_path: Path) -> None:
    """They reach the release's description, so builds look at them."""
    text = "kitsune: 1\nprogram: p\nlimits: {wait: 20, load: 30}\nversions: [version: a]\n"
    path = tmp_path / "kitsune.yaml"
    path.write_text(text, encoding="utf-8")
    manifest = config.load_manifest(path)
    assert manifest.limits == (("wait", 20), ("load", 30))
    before = config.release_config(manifest, manifest.versions[0])
    path.write_text(text.replace("30", "31"), encoding="utf-8")
    manifest = config.load_manifest(path)
    assert config.release_config(manifest, manifest.versions[0]) != before


UNITS = """\
kitsune: 1
program: p
options:
  note_locals: true
  units:
    net/*.c: {automigrate: false}
    src/net/old.c: {automigrate: true, register_variables: false, note_locals: false}
versions:
  - version: "1"
    annotations:
      main: notelocals
      main.c/helper: notelocals manual
      counter: manual
"""


def test_switches_hold_for_all_units_or_for_some(tmp_path: Path) -> None:
    (tmp_path / "kitsune.yaml").write_text(UNITS)
    manifest = config.load_manifest(tmp_path / "kitsune.yaml")
    found = manifest.options.switches
    names = ("main.c", "src/net/io.c", "src/net/old.c", "planet/io.c")
    assert found.of("main.c") == Settings(note_locals=True)
    assert found.of("src/net/io.c") == Settings(automigrate=False, note_locals=True)
    assert found.of("src/net/old.c") == Settings(register_variables=False)
    assert not found.of("src/net/old.c").is_auto
    assert found.of("planet/io.c") == Settings(note_locals=True)
    given = json.loads(config.front_end_config(manifest, manifest.versions[0]))
    read = switches.from_json(given["switches"])
    assert [read.of(name) for name in names] == [found.of(name) for name in names]
    assert given["notelocals"] == ["main", "main.c/helper"]


def test_annotations_hold_from_their_version_on_along_first_parents(
    manifest: config.Manifest,
) -> None:
    def texts(name: str) -> dict[str, str]:
        return {each.path: each.text for each in manifest.annotations(manifest.version(name))}

    standing = {"struct dict": "generic(@k, @v)", "struct dict.n": "ignore"}
    assert texts("1.0") == standing
    assert texts("1.10") == {"struct dict": "generic(@k, @v)", "event_base": "opaque"}
    assert texts("1.11") == standing


def test_an_annotation_knows_its_place(manifest: config.Manifest) -> None:
    first = manifest.standing.annotations[0]
    assert (first.path, first.at) == ("struct dict", Location("kitsune.yaml", 10, 5))


def test_edits_are_the_standing_ones_and_the_version_s_own(manifest: config.Manifest) -> None:
    edits = manifest.edits(manifest.version("1.10"))
    assert [edit.to_json() for edit in edits] == [
        {"update_point": "main", "function": "main", "loop": "1", "count": 1},
        {"guard": "daemon(0, 0)", "function": "main", "count": 2},
    ]
    assert [edit.at.line for edit in edits] == [13, 27]


def test_lists_of_names_stand_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of annotations, of edits' functions, and of local variables."""
    monkeypatch.chdir(tmp_path)
    text = FULL.replace("struct dict.n: ignore", "struct {dict, list}.{n,  m}: ignore")
    text = text.replace(
        """      loop: 1
""",
        """      loop: 1
    - declare: int kt;
      function: [one, b.c/two]
    - {migrate: [left, fd], function: three, before: while (1)}
    - {migrate: fd, function: four, at: start}
""",
    ).replace("struct dict.n: ~", "struct {dict, list}.m: ~")
    manifest = load(tmp_path, text)
    annotations = [each.path for each in manifest.standing.annotations]
    assert annotations == [
        "struct dict",
        "struct dict.n",
        "struct dict.m",
        "struct list.n",
        "struct list.m",
    ]
    left = manifest.annotations(manifest.version("1.10"))
    assert [each.path for each in left] == [
        "struct dict",
        "struct dict.n",
        "struct list.n",
        "event_base",
    ]
    moved = "if (kitsune_is_updating()) { MIGRATE_LOCAL(left); MIGRATE_LOCAL(fd); }"
    assert [each.to_json() for each in manifest.edits(manifest.version("1.0"))][1:] == [
        {"declare": "int kt;", "function": "one", "count": 1},
        {"declare": "int kt;", "function": "b.c/two", "count": 1},
        {"insert": moved, "function": "three", "before": "while (1)", "count": 1},
        {
            "insert": "if (kitsune_is_updating()) { MIGRATE_LOCAL(fd); }",
            "function": "four",
            "at": "start",
            "count": 1,
        },
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("struct dict.n: ignore", "struct dict.{n, }: ignore", "K206.*'{n, }' names nothing"),
        ("function: main\n      loop", "function: []\n      loop", "K206.*'function' is empty"),
        ("update_point: main", "migrate: [a, b.c]", "K205.*'b.c', not a local variable"),
        ("update_point: main", "migrate: fd", "K206.*'migrate' needs exactly one place"),
    ],
)
def test_lists_that_are_none(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = FULL.replace(old, new, 1)
    if "[a, b.c]" in new:
        text = text.replace("loop: 1", "at: start", 1)
    elif "migrate" in new:
        text = text.replace("      loop: 1\n", "", 1)
    with pytest.raises(KitsuneError) as raised:
        load(tmp_path, text)
    assert re.search(message, raised.value.report())


def test_rules_of_the_version_come_first(manifest: config.Manifest) -> None:
    rules = manifest.rules(manifest.version("1.10"))
    assert [(rule.kind, rule.labels) for rule in rules] == [
        ("transform", ("a -> b", "c -> d")),
        ("init", ("e",)),
        ("rename", ("a -> b",)),
    ]


def test_code_is_placed_at_its_first_character(manifest: config.Manifest) -> None:
    transform, init, _ = manifest.rules(manifest.version("1.10"))
    line = FULL.splitlines().index("          $out = $in;") + 1
    assert transform.code == "$out = $in;\n"
    assert transform.code_at == Location("kitsune.yaml", line)
    assert init.code == ""


def test_preambles_say_where_they_stand(manifest: config.Manifest) -> None:
    (preamble,) = manifest.preambles(manifest.version("1.10"))
    assert preamble.text == '#include "x.h"\n'
    assert FULL.splitlines()[preamble.at.line - 1].strip() == '#include "x.h"'


def test_front_end_depends_on_edits_and_on_nothing_else_of_the_manifest(tmp_path: Path) -> None:
    base = config.front_end_config(*last(load(tmp_path, FULL)))
    moved = "# a comment\n" + FULL
    other_rule = FULL.replace('rename: "a -> b"', 'rename: "a -> z"')
    other_edit = FULL.replace("loop: 1", "loop: 2")
    assert config.front_end_config(*last(load(tmp_path, moved))) == base
    assert config.front_end_config(*last(load(tmp_path, other_rule))) == base
    assert config.front_end_config(*last(load(tmp_path, other_edit))) != base


def test_front_end_config_is_json_with_a_root(tmp_path: Path) -> None:
    manifest = load(tmp_path, FULL)
    data = json.loads(config.front_end_config(manifest, manifest.versions[0]))
    assert data["root"] == str(tmp_path / "v1")
    assert data["program"] == "kvd"


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("kitsune: 1\n", "# a comment\nkitsune: 1\n", False),
        ("    source: v1", "    source: elsewhere", False),
        ("$out = $in;", "$out = $in + 1;", False),
        ('rename: "a -> b"', 'rename: "a -> z"', True),
        ("widen: true", "widen: false", True),
        ("widen: true", "widen: true\n  seek: true", True),
        ("generic(@k, @v)", "generic(@k)", True),
        ("loop: 1", "loop: 2", True),
        ('parents: ["1.0"]', 'parents: ["1.10"]', True),
    ],
)
def test_release_depends_on_what_concerns_its_version(
    tmp_path: Path, old: str, new: str, changes: bool
) -> None:
    assert old in FULL
    base = config.release_config(*last(load(tmp_path, FULL)))
    changed = config.release_config(*last(load(tmp_path, FULL.replace(old, new))))
    assert (changed != base) == changes


def last(manifest: config.Manifest) -> tuple[config.Manifest, config.Version]:
    return manifest, manifest.versions[-1]


def test_the_nearest_manifest_above_is_found(tmp_path: Path) -> None:
    (tmp_path / "kitsune.yaml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert config.find_manifest(below) == tmp_path / "kitsune.yaml"


@pytest.mark.parametrize(
    "text", ["- a\n", "a\n", "kitsune: [\n", "kitsune: &a [*a]\n", "\t\n", "a: \x01"]
)
def test_no_text_is_a_bug_of_ours(tmp_path: Path, text: str) -> None:
    with pytest.raises(KitsuneError):
        load(tmp_path, text)


RULES_IN_FILES = """\
kitsune: 1
program: kvd
standing:
  rules: all.xf
versions:
  - version: "1"
  - version: "2"
    preamble: int own;
    rules:
      - file: two.yaml
      - init: v
      - file: two.xf
"""


def test_rules_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all.xf").write_text("{ int all; }\nstruct a -> struct b\n")
    (tmp_path / "two.xf").write_text("x -> y, INIT z: { $out = 1; }")
    (tmp_path / "two.yaml").write_text("preamble: int two;\nrules: [{rename: p -> q}]\n")
    manifest = load(tmp_path, RULES_IN_FILES)
    version = manifest.version("2")
    rules = manifest.rules(version)
    assert [rule.labels for rule in rules] == [
        ("p -> q",),
        ("v",),
        ("x -> y", "INIT z"),
        ("struct a -> struct b",),
    ]
    assert [rule.standing for rule in rules] == [False, False, False, True]
    assert rules[2].at == Location("two.xf", 1, 1)
    assert rules[2].places[1] == Location("two.xf", 1, 9)
    assert [each.text for each in manifest.preambles(version)] == [
        " int all; ",
        "int own;",
        "int two;",
    ]


def test_a_release_depends_on_what_the_files_say(tmp_path: Path) -> None:
    (tmp_path / "all.xf").write_text("a -> b")
    text = RULES_IN_FILES.partition("versions")[0] + 'versions:\n  - version: "1"\n'
    before = release_config(load(tmp_path, text))
    (tmp_path / "all.xf").write_text("# a comment\n\na -> b\n")
    assert release_config(load(tmp_path, text)) == before
    (tmp_path / "all.xf").write_text("a -> c")
    assert release_config(load(tmp_path, text)) != before


def release_config(manifest: config.Manifest) -> str:
    return config.release_config(manifest, manifest.versions[-1])
