"""`kitsune.yaml`: the history of a program and what is said about it from outside its source.

In: the manifest's path; out: a `Manifest`, every part of which knows its line. What a text in it
means (an annotation, a path, a rule's code) is for the stage that uses it; here it is only known
that it is there and of the right form. Called by release.py, scons.py and cli.py.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kitsune_tool import code, files, limits, resources, rulefile
from kitsune_tool.annotate import AnnotationSource
from kitsune_tool.errors import KitsuneError, Location
from kitsune_tool.limits import Limits
from kitsune_tool.rules import Preamble, RuleFile, RuleSource, turned_round
from kitsune_tool.switches import DEFAULT, NAMES, Settings, Switches, UnitSettings
from kitsune_tool.unions import CaseSource, UnionSource
from kitsune_tool.yamlfile import Node, read_yaml

MANIFEST_NAME = "kitsune.yaml"
CHECKOUTS = ".kitsune/sources"
"""Where the sources of revisions are, below the manifest's directory."""
_FORMAT = "1"
_KEYS = (
    "kitsune", "program", "store", "options", "automigrate", "standing", "versions", "test",
    "limits",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,62}")
_SYMBOLS = re.compile(r"[A-Za-z0-9_$*?]+")
_EDIT_PLACES = {
    "update_point": ("function", "loop"),
    "guard": ("function", "to"),
    "insert": ("function", "at", "before", "after"),
    "migrate": ("function", "at", "before", "after"),
    "declare": ("function",),
    "field": ("record",),
}
"""For each action of an edit, the keys that say where."""
_INSERTED = ("insert", "migrate")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_ONE_OF = re.compile(r"\{([^{}]*)\}")
"""In a path: several names at one place."""


@dataclass(frozen=True, slots=True)
class EditSource:
    """An edit as written: its action, its place as (key, text), how many places it must match."""

    action: str
    text: str
    place: tuple[tuple[str, str], ...]
    count: int
    at: Location

    def to_json(self) -> dict[str, Any]:
        """Return the form in which the front-end's configuration holds it: without its line, so
        that text inserted above it in the manifest recompiles nothing.
        """
        return {self.action: self.text, **dict(self.place), "count": self.count}


@dataclass(frozen=True, slots=True)
class Section:
    """What is said of one version, or of all of them (`standing`)."""

    annotations: tuple[AnnotationSource, ...] = ()
    dropped_annotations: tuple[str, ...] = ()
    """Paths whose annotation of an earlier version ends here (`path: null`)."""
    unions: tuple[UnionSource, ...] = ()
    dropped_unions: tuple[str, ...] = ()
    edits: tuple[EditSource, ...] = ()
    rules: tuple[RuleSource, ...] = ()
    preambles: tuple[Preamble, ...] = ()


@dataclass(frozen=True, slots=True)
class Back:
    """That a version's release can be left again for its parents, and what this needs to know:
    the rules of the step backwards that do not follow from those of the step forwards.
    """

    rules: tuple[RuleSource, ...]
    preambles: tuple[Preamble, ...]
    at: Location
    line: str | None


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision of the git repository that holds the directory `repository`, by its `name`; its
    files belong into `checkout`. `line` is the text of the manifest at `at`.
    """

    repository: Path
    name: str
    checkout: Path
    at: Location
    line: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """A version; `source` is the absolute root of its sources, `parents` are earlier versions.

    `line` is the text of the manifest at `at`, for messages. The sources of a `revision` are there
    when revisions.py has checked them out.
    """

    name: str
    source: Path
    parents: tuple[str, ...]
    section: Section
    at: Location
    line: str | None = None
    revision: Revision | None = None
    back: Back | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for the whole program unless an annotation or a rule says otherwise.

    `switches` (switches.py): what is migrated automatically, noted and registered.
    `widen`: integers that became wider need no rule. `grow`: nor do arrays that became longer.
    `added_variables`: whether a new variable needs a rule, or keeps its initial value (`initial`).
    `seek`: what stays as it is is not visited, addresses of the image in it are looked for.
    `strict`: a rule that matches nothing is an error. `plugins`: the program's own plugins (paths
    relative to the manifest); what they look up in it is visible. `exports`: symbols that further
    plugins look up in it (patterns of a linker's version script).
    """

    switches: Switches = DEFAULT
    widen: bool = False
    grow: bool = False
    added_variables: Literal["rule", "initial"] = "rule"
    seek: bool = False
    strict: bool = False
    exports: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TransitionTest:
    """How a transition is tried (trial.py): the program's own test driver, a shell command.

    `compare`: only its exit status tells, or each of its lines too. At most `cells` arrivals are
    tried at each update point. `limit_s`: seconds that the driver may take. `tree`: the order in
    which all processes of the program are updated together, "" if only the program itself is.
    """

    driver: str
    compare: Literal["status", "lines"] = "status"
    cells: int = 10
    limit_s: int = 60
    tree: Literal["", "parent-first", "children-first"] = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole manifest. `name` is the file as messages call it, `store` an absolute directory."""

    path: Path
    name: str
    program: str
    store: Path
    options: Options
    standing: Section
    versions: tuple[Version, ...]
    test: TransitionTest | None = None
    limits: Limits = ()

    def version(self, name: str) -> Version:
        """Return a version by name. Raises K212 if there is none."""
        for version in self.versions:
            if version.name == name:
                return version
        names = [version.name for version in self.versions]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(names)}"
        raise KitsuneError("K212", f"{self.name} has no version '{name}'", hint=hint)

    def annotations(self, version: Version) -> tuple[AnnotationSource, ...]:
        """Return what holds for a version: the standing ones, those of its line of first parents,
        its own. A later one on the same path replaces an earlier one.
        """
        found: dict[str, AnnotationSource] = {}
        for section in (self.standing, *(each.section for each in self._line(version))):
            for path in section.dropped_annotations:
                found.pop(path, None)
            found |= {annotation.path: annotation for annotation in section.annotations}
        return tuple(found.values())

    def unions(self, version: Version) -> tuple[UnionSource, ...]:
        """Return what tells the members of unions in a version, as `annotations` does."""
        found: dict[str, UnionSource] = {}
        for section in (self.standing, *(each.section for each in self._line(version))):
            for path in section.dropped_unions:
                found.pop(path, None)
            found |= {union.path: union for union in section.unions}
        return tuple(found.values())

    def edits(self, version: Version) -> tuple[EditSource, ...]:
        """Return the edits of a version: the standing ones and its own."""
        return self.standing.edits + version.section.edits

    def plugins(self) -> tuple[Path, ...]:
        """Return the paths of the program's plugins."""
        return tuple(self.path.parent / each for each in self.options.plugins)

    def rules(self, version: Version) -> tuple[RuleSource, ...]:
        """Return the rules of the update to a version; its own come first."""
        standing = (dataclasses.replace(rule, standing=True) for rule in self.standing.rules)
        return (*version.section.rules, *standing)

    def preambles(self, version: Version) -> tuple[Preamble, ...]:
        """Return the C texts in front of the generated code, the standing one first."""
        return self.standing.preambles + version.section.preambles

    def rules_back(self, version: Version) -> tuple[RuleSource, ...]:
        """Return the rules of the way back from a version: those written for it, then the renames
        of the way to it, turned round, then the standing ones.
        """
        assert version.back is not None
        turned = (turned_round(rule) for rule in self.rules(version) if rule.kind == "rename")
        standing = (each for each in self.rules(version) if each.standing and each.kind != "rename")
        return (*version.back.rules, *turned, *standing)

    def preambles_back(self, version: Version) -> tuple[Preamble, ...]:
        """Return the C texts in front of what is generated for the way back from a version."""
        assert version.back is not None
        return self.standing.preambles + version.back.preambles

    def ways_back_to(self, version: Version) -> tuple[Version, ...]:
        """Return the versions that lead back to this one."""
        return tuple(v for v in self.versions if v.back and version.name in v.parents)

    def _line(self, version: Version) -> list[Version]:
        line = [version]
        while line[0].parents:
            line.insert(0, self.version(line[0].parents[0]))
        return line


def find_manifest(start: Path) -> Path:
    """Return the manifest of the directory `start` or of the nearest one above it.

    Raises K202 if there is none.
    """
    for directory in (start, *start.resolve().parents):
        if (directory / MANIFEST_NAME).is_file():
            return directory / MANIFEST_NAME
    raise KitsuneError(
        "K202",
        f"no {MANIFEST_NAME} here or in a directory above",
        hint="docs/getting-started.md shows a first one",
    )


def load_manifest(path: Path) -> Manifest:
    """Read a manifest. Raises `KitsuneError` K202 to K213 with the line that is wrong."""
    name = files.shown(path)
    top = read_yaml(path, name, "the manifest")
    fields = top.fields(_KEYS, required=("kitsune", "program", "versions"))
    if fields["kitsune"].text() != _FORMAT:
        found = fields["kitsune"].text()
        message = f"the manifest's format is {found}; this tool knows {_FORMAT}"
        raise fields["kitsune"].error("K208", message, hint="install a newer kitsune-live-update")
    base = path.resolve().parent
    store = fields["store"].text() if "store" in fields else "releases"
    return Manifest(
        path=path,
        name=name,
        program=_name(fields["program"]),
        store=Path(os.path.normpath(base / store)),
        options=_options(fields),
        standing=_section(fields["standing"], base) if "standing" in fields else Section(),
        versions=_versions(fields["versions"], base),
        test=_test(fields["test"]) if "test" in fields else None,
        limits=_limits(fields["limits"]) if "limits" in fields else (),
    )


def front_end_config(manifest: Manifest, version: Version, root: str | None = None) -> str:
    """Return the text of the front-end's configuration for a version.

    It has all that compiling a unit depends on and nothing else: what only a release depends on
    (rules, but for the static functions that they call; annotations, lines of the manifest that no
    edit stands in) does not change it. `root` replaces the absolute source root, for builds that
    want no absolute path in their signatures.
    """
    data = {
        "program": manifest.program,
        "root": str(version.source) if root is None else root,
        "edits": [edit.to_json() for edit in manifest.edits(version)],
        "functions": _looked_up(manifest, version),
        "switches": manifest.options.switches.to_json(),
        "notelocals": _noted_functions(manifest, version),
        "tool": resources.front_end_digest(),
    }
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def _looked_up(manifest: Manifest, version: Version) -> list[str]:
    """Return the keys of static functions that a version's rules call: its units register them."""
    rules, preambles = manifest.rules(version), manifest.preambles(version)
    for later in manifest.ways_back_to(version):
        rules += manifest.rules_back(later)
        preambles += manifest.preambles_back(later)
    texts = [*(rule.code or "" for rule in rules), *(preamble.text for preamble in preambles)]
    return sorted({key for text in texts for key in code.looked_up(text) if "/" in key})


def _noted_functions(manifest: Manifest, version: Version) -> list[str]:
    """Return the functions that an annotation of the manifest notes the locals of."""
    annotations = manifest.annotations(version)
    return sorted(a.path for a in annotations if "notelocals" in a.text.split())


def release_config(manifest: Manifest, version: Version) -> str:
    """Return a text that changes if and only if the manifest asks for another release of a version.

    For build tools, as a dependency: it holds no line numbers and nothing of other versions.
    """
    data = {
        "program": manifest.program,
        "version": version.name,
        "parents": version.parents,
        "options": dataclasses.asdict(manifest.options),
        "annotations": [(each.path, each.text) for each in manifest.annotations(version)],
        "unions": [
            (each.path, each.by, [(case.label, case.what) for case in each.cases])
            for each in manifest.unions(version)
        ],
        "edits": [edit.to_json() for edit in manifest.edits(version)],
        "rules": [(rule.kind, rule.labels, rule.code) for rule in manifest.rules(version)],
        "preambles": [preamble.text for preamble in manifest.preambles(version)],
        "limits": manifest.limits,
    }
    if version.back is not None:
        data["back"] = {
            "rules": [(r.kind, r.labels, r.code) for r in manifest.rules_back(version)],
            "preambles": [preamble.text for preamble in manifest.preambles_back(version)],
        }
    return json.dumps(data, sort_keys=True)


def _options(fields: dict[str, Node]) -> Options:
    options = fields.get("options")
    flag_names = ("widen", "grow", "seek", "strict")
    known = (*NAMES, *flag_names, "units", "added_variables", "exports", "plugins")
    inner = options.fields(known) if options else {}
    if "automigrate" in fields:
        inner = {"automigrate": fields["automigrate"], **inner}
    defaults = Options()
    flags = {
        key: inner[key].flag() if key in inner else getattr(defaults, key) for key in flag_names
    }
    everywhere = {key: inner[key].flag() for key in NAMES if key in inner}
    units = inner["units"].entries() if "units" in inner else []
    added = inner.get("added_variables")
    words: tuple[Literal["rule", "initial"], ...] = ("rule", "initial")
    exports = inner["exports"].items() if "exports" in inner else []
    plugins = inner["plugins"].items() if "plugins" in inner else []
    return Options(
        switches=Switches(Settings(**everywhere), tuple(_unit(key, each) for key, each in units)),
        added_variables=added.choice(words) if added else defaults.added_variables,
        exports=tuple(_exported(item) for item in exports),
        plugins=tuple(item.text() for item in plugins),
        **flags,
    )


def _unit(key: Node, node: Node) -> UnitSettings:
    fields = node.fields(NAMES)
    return UnitSettings(key.text(), tuple((name, each.flag()) for name, each in fields.items()))


def _test(node: Node) -> TransitionTest:
    known = ("driver", "compare", "cells", "limit_s", "tree")
    fields = node.fields(known, required=("driver",))
    defaults = TransitionTest("")
    words: tuple[Literal["status", "lines"], ...] = ("status", "lines")
    orders: tuple[Literal["parent-first", "children-first"], ...]
    orders = ("parent-first", "children-first")
    return TransitionTest(
        driver=fields["driver"].text(),
        compare=fields["compare"].choice(words) if "compare" in fields else defaults.compare,
        cells=fields["cells"].number() if "cells" in fields else defaults.cells,
        limit_s=fields["limit_s"].number() if "limit_s" in fields else defaults.limit_s,
        tree=fields["tree"].choice(orders) if "tree" in fields else defaults.tree,
    )


def _limits(node: Node) -> Limits:
    found = []
    for name, each in node.fields(limits.NAMES).items():
        if not 1 <= each.number() <= limits.LONGEST_MS:
            message = f"{each.what} is '{each.number()}', not a number of milliseconds up to a day"
            raise each.error("K205", message, hint="leave it out for the default")
        found.append((name, each.number()))
    return tuple(found)


def _exported(item: Node) -> str:
    if _SYMBOLS.fullmatch(item.text()) is None:
        message = f"'{item.text()}' is no name of a symbol"
        raise item.error("K213", message, hint="write names in C, or patterns of them with * and ?")
    return item.text()


def _versions(node: Node, base: Path) -> tuple[Version, ...]:
    versions: list[Version] = []
    for item in node.items():
        versions.append(_version(item, base, versions))
    if not versions:
        raise node.error("K206", "the manifest has no version")
    return tuple(versions)


_SECTION_KEYS = ("annotations", "unions", "edits", "rules", "preamble")


def _version(item: Node, base: Path, earlier: list[Version]) -> Version:
    item = Node(item.document, item.node, "a version")
    known = ("version", "source", "parents", "back", *_SECTION_KEYS)
    fields = item.fields(known, required=("version",))
    name = _name(fields["version"])
    for other in earlier:
        if other.name == name:
            message = f"version '{name}' is given twice, first in line {other.at.line}"
            raise fields["version"].error("K210", message)
    parents = _parents(fields.get("parents"), earlier)
    source, revision = _source(fields.get("source"), base, name)
    at = fields["version"].at
    line = item.document.source_line(at)
    back = _back(fields["back"], base, parents) if "back" in fields else None
    return Version(name, source, parents, _section_of(fields, base), at, line, revision, back)


def _back(node: Node, base: Path, parents: tuple[str, ...]) -> Back | None:
    """Return what `back:` says: `true`, `false` or the section of the way back."""
    if node.is_mapping:
        node = Node(node.document, node.node, "a way back")
        section = _section_of(node.fields(("rules", "preamble")), base)
    elif node.flag():
        section = Section()
    else:
        return None
    if not parents:
        hint = "a first version leads back to nothing: leave 'back' out"
        raise node.error("K313", "'back' of a version without parents", hint=hint)
    line = node.document.source_line(node.at)
    return Back(section.rules, section.preambles, node.at, line)


def _source(node: Node | None, base: Path, version: str) -> tuple[Path, Revision | None]:
    """Return the root of a version's sources, and the revision that they come from if they do."""
    if node is None:
        return base, None
    if not node.is_mapping:
        return base / node.text(), None
    fields = node.fields(("git", "path"), required=("git",))
    checkout = base / CHECKOUTS / version
    inside = fields["path"].text() if "path" in fields else ""
    source = Path(os.path.normpath(checkout / _below_repository(base) / inside))
    if not source.is_relative_to(checkout):
        raise fields["path"].error("K205", f"'{inside}' is outside of the repository")
    name = fields["git"]
    line = node.document.source_line(name.at)
    return source, Revision(base, name.text(), checkout, name.at, line)


def _below_repository(base: Path) -> Path:
    """Return the path of a directory below the top of its git repository."""
    top = next((each for each in (base, *base.parents) if (each / ".git").exists()), base)
    return base.relative_to(top)


def _parents(node: Node | None, earlier: list[Version]) -> tuple[str, ...]:
    names = [version.name for version in earlier]
    if node is None:
        return tuple(names[-1:])
    for item in node.items():
        if item.text() not in names:
            hint = f"earlier ones are: {', '.join(names)}" if names else "it is the first version"
            raise item.error("K211", f"parent '{item.text()}' is no earlier version", hint=hint)
    return tuple(item.text() for item in node.items())


def _section(node: Node, base: Path) -> Section:
    return _section_of(node.fields(_SECTION_KEYS), base)


def _section_of(fields: dict[str, Node], base: Path) -> Section:
    annotations, dropped = _annotations(fields.get("annotations"))
    unions = list(fields["unions"].entries()) if "unions" in fields else []
    edits = fields["edits"].items() if "edits" in fields else []
    own = [rulefile.preamble_of(fields["preamble"])] if "preamble" in fields else []
    rules = _rules(fields["rules"], base) if "rules" in fields else []
    included = [each.preamble for each in rules if each.preamble is not None]
    return Section(
        annotations=annotations,
        dropped_annotations=dropped,
        unions=tuple(_union(key, value) for key, value in unions if not value.is_null),
        dropped_unions=tuple(_squeezed(key) for key, value in unions if value.is_null),
        edits=tuple(edit for item in edits for edit in _edits(item)),
        rules=tuple(rule for each in rules for rule in each.rules),
        preambles=(*own, *included),
    )


def _rules(node: Node, base: Path) -> list[RuleFile]:
    """Return what `rules:` says: a list of rules, among which files may be, or one file's name."""
    if node.is_text and "->" not in node.text():
        return [_rule_file(node, base)]
    return [
        _rule_file(item.fields(("file",))["file"], base)
        if item.is_mapping and [key.text() for key, _ in item.entries()] == ["file"]
        else RuleFile(rules=(rulefile.rule_of(item),))
        for item in node.items()
    ]


def _rule_file(name: Node, base: Path) -> RuleFile:
    path = base / name.text()
    if path.suffix not in rulefile.SPELLINGS:
        message = f"'{name.text()}' is neither a .xf nor a .yaml file"
        raise name.error("K116", message, hint=rulefile.SUFFIX_HINT)
    if not path.is_file():
        message = f"there is no file of rules '{name.text()}'"
        raise name.error("K214", message, hint="its path starts at the manifest's directory")
    return rulefile.load_rules(path)


def _annotations(node: Node | None) -> tuple[tuple[AnnotationSource, ...], tuple[str, ...]]:
    entries = list(node.entries()) if node else []
    each = [(path, key, value) for key, value in entries for path in _paths(key)]
    return (
        tuple(
            AnnotationSource(path=path, text=value.text(), at=key.at)
            for path, key, value in each
            if not value.is_null
        ),
        tuple(path for path, _, value in each if value.is_null),
    )


def _paths(key: Node) -> list[str]:
    """Return the paths that `struct s.{a, b}` stands for."""
    paths = [_squeezed(key)]
    while group := _ONE_OF.search(paths[0]):
        names = [name.strip() for name in group[1].split(",")]
        if not all(names):
            hint = "write {NAME, NAME}, as in struct s.{a, b}"
            raise key.error("K206", f"'{{{group[1]}}}' names nothing", hint=hint)
        paths = [_ONE_OF.sub(name, path, count=1) for path in paths for name in names]
    return paths


def _union(key: Node, value: Node) -> UnionSource:
    path = _squeezed(key)
    item = Node(value.document, value.node, f"union '{path}'")
    fields = item.fields(("by", "cases", "default"), required=("cases",))
    entries = [(label.text(), what, label.at) for label, what in fields["cases"].entries()]
    if "default" in fields:
        entries.append(("", fields["default"], fields["default"].at))
    if not entries:
        hint = "write cases: {VALUE: member, ...}"
        raise item.error("K206", f"union '{path}' has no case", hint=hint)
    cases = (
        CaseSource(label, None if what.is_null else what.text(), at) for label, what, at in entries
    )
    return UnionSource(path, fields["by"].text() if "by" in fields else "", tuple(cases), key.at)


def _edits(item: Node) -> Iterator[EditSource]:
    """Yield the edit of an item, once for each function that it names."""
    action = rulefile.action(item, tuple(_EDIT_PLACES), "an edit")
    places = _EDIT_PLACES[action]
    item = Node(item.document, item.node, f"an edit '{action}'")
    fields = item.fields((action, *places, "count"), required=(action, places[0]))
    if action in _INSERTED and sum(key in fields for key in ("at", "before", "after")) != 1:
        hint = "write at: start, before: TEXT or after: TEXT"
        raise item.error("K206", f"an edit '{action}' needs exactly one place", hint=hint)
    if "at" in fields:
        fields["at"].choice(("start",))
    target = fields[places[0]]
    place = tuple((key, fields[key].text()) for key in places[1:] if key in fields)
    count = fields["count"].number() if "count" in fields else 1
    if action == "migrate":
        action, text = "insert", _migration(fields[action])
    else:
        text = fields[action].text()
    for name in _texts(target):
        yield EditSource(action, text, ((places[0], name), *place), count, item.at)


def _migration(node: Node) -> str:
    """Return the statement that migrates local variables, if the function runs in an update."""
    for name in _texts(node):
        if _IDENTIFIER.fullmatch(name) is None:
            hint = "write names, as in [first, second]"
            raise node.error("K205", f"{node.what} is '{name}', not a local variable", hint=hint)
    calls = " ".join(f"MIGRATE_LOCAL({name});" for name in _texts(node))
    return f"if (kitsune_is_updating()) {{ {calls} }}"


def _texts(node: Node) -> list[str]:
    """Return what is a list of texts, or one of them."""
    if not node.is_list:
        return [node.text()]
    if not node.items():
        raise node.error("K206", f"{node.what} is empty")
    return [item.text() for item in node.items()]


def _name(node: Node) -> str:
    name = node.text()
    if _NAME.fullmatch(name) is None:
        message = f"{node.what} is '{name}', which cannot be the name of a file"
        hint = "use letters, digits and . _ + ~ -, at most 63 of them, a letter or digit first"
        raise node.error("K209", message, hint=hint)
    return name


def _squeezed(key: Node) -> str:
    return " ".join(key.text().split())
