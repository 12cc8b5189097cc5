"""Link the objects of a version to a release, with all that leads from its parents to it.

In: a `Request`; out: the release's file and, beside it, `release.json`, the reports, the generated
C in `generated/`, what the release was linked from (ingredients.py), and, if the manifest asks for
them, in `back/` the releases that lead back. Called by cli.py; SCons calls that as a command line.

The objects are linked twice. What the first, discarded, link contains is what the release will
contain: members of archives that nobody needs are not in it, nor is what the linker threw away. Its
records are the units that everything is generated from. The output depends on the inputs
alone: no date, no path of the machine and no line number of the manifest gets into it, so that "the
same release again" can be recognised by its bytes.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kitsune_tool import (
    __version__,
    annotate,
    edits,
    files,
    ingredients,
    launcher,
    locations,
    objects,
    pieces,
    plan,
    program,
    render,
    report,
    reportpage,
    resources,
    revisions,
    rulefile,
    rules,
    seal,
    shared,
    store,
    toolchain,
    views,
)
from kitsune_tool.config import Manifest, Version
from kitsune_tool.errors import KitsuneError, Location, Move, Note, unmoved
from kitsune_tool.linked import Recipe
from kitsune_tool.model import Program, Record, Unit
from kitsune_tool.planned import Plan

DEFAULT_COMPILER = ("gcc", "-O2")
_TRIAL = "#include <kitsune_release.h>\nKITSUNE_DEFINE_RELEASE(0, 0, 0);\n"
_TRIAL_NAME = ".trial"
_RULES = "rules.c"
"""The generated file that has the manifest's code in it."""
_EXPORTED = "kitsune_release"
_MOST_PARENTS = 16
"""Entries of `parents` in `struct kitsune_identity`."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to build. `compiler` is its command with the program's own flags; `inputs` is what would
    follow it in a link: objects, archives and linker flags, in order; relative paths in both start
    at `directory`. `parents` are releases.
    """

    manifest: Manifest
    version: Version
    output: Path
    parents: tuple[Path, ...]
    compiler: tuple[str, ...]
    inputs: tuple[str, ...]
    directory: Path = Path()


@dataclass(frozen=True, slots=True)
class _Back:
    """That a release leads back: from which later version (its manifest's entry has the rules), and
    which release of the earlier one it stands for.
    """

    later: Version
    own: Path


@dataclass(frozen=True, slots=True)
class _Parent:
    """A release that the new one can follow."""

    release: store.ParentRelease
    program: Program


def build(request: Request) -> tuple[str, ...]:
    """Build the release and what lies beside it; return warnings for the user.

    Nothing of an earlier build is touched before everything has succeeded. Raises `KitsuneError`
    for what the compiler, the linker or any stage refuses.
    """
    with tempfile.TemporaryDirectory(prefix="kitsune-") as name:
        work = _Work(request, Path(name))
        try:
            made = [work.made()]
            made += [back.made() for back in _ways_back(work, made[0].linked)]
        except KitsuneError as error:
            raise error.placed(unmoved, work.manifest_line) from error
        shutil.rmtree(request.output.parent / store.BACK, ignore_errors=True)
        for each in reversed(made):
            each.install()
        return tuple(warning for each in made for warning in each.generated.warnings)


def _ways_back(work: _Work, linked: Path) -> Iterator[_Work]:
    """Yield the work of each release that leads back from the one that was linked."""
    request = work.request
    later = request.version
    if later.back is None:
        return
    owns = {objects.read_program(path).version: path for path in reversed(request.parents)}
    for name, own in owns.items():
        version = request.manifest.version(name)
        revisions.provide(version)
        place = work.directory / store.BACK / name
        place.mkdir(parents=True)
        found = _ingredients_of(own, place / "inputs", request)
        back = Request(
            manifest=request.manifest,
            version=version,
            output=request.output.parent / store.BACK / name / request.output.name,
            parents=(linked,),
            compiler=found.compiler,
            inputs=found.inputs,
            directory=found.directory,
        )
        yield _Work(back, place, _Back(later, own))


def _ingredients_of(own: Path, place: Path, request: Request) -> Recipe:
    """Return what a parent was linked from. Raises K314."""
    path = own.parent / ingredients.NAME
    try:
        return ingredients.unpack(path, place, request.directory)
    except ingredients.Unusable as error:
        back = request.version.back
        assert back is not None
        raise KitsuneError(
            "K314",
            f"nothing can lead back to {files.shown(own)}: {error} {files.shown(path)}",
            at=back.at,
            source_line=back.line,
            hint="what a release was linked from lies beside it since it was made: take it from a\n"
            "backup, or leave 'back' out",
        ) from error


@dataclass(frozen=True, slots=True)
class _Made:
    """A release that was built, in a directory that vanishes, and where it belongs."""

    work: _Work
    linked: Path
    parents: tuple[_Parent, ...]
    generated: _Generated

    def install(self) -> None:
        """Put the release and what belongs to it where it was asked for, the release last."""
        self.work.install(self)


def plan_again(manifest: Manifest, version: Version, parent: Path, built: Path) -> Plan:
    """Return the plan that led from a parent to a release, from what both carry.

    It is that of the release as long as the manifest's rules are those that it was built with.
    """
    request = Request(manifest, version, built, (parent,), DEFAULT_COMPILER, ())
    work = _Work(request, Path())
    return work.plan(objects.read_program(built), work.parents()[0])


@dataclass(frozen=True, slots=True)
class _Generated:
    """What the generator made: C files by name, reports, warnings."""

    sources: dict[str, str]
    report: report.Data
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Work:
    """One build, in a directory of its own that vanishes with it."""

    request: Request
    directory: Path
    back: _Back | None = None

    def made(self) -> _Made:
        """Make the release."""
        try:
            parents = self.parents()
            new = self.program()
            generated = self.generate(new, parents)
            return _Made(self, self.link(new, generated.sources), parents, generated)
        except KitsuneError as error:
            raise (error.noted(self._on_the_way_back()) if self.back else error) from error

    def _on_the_way_back(self) -> Note:
        assert self.back is not None
        later = self.back.later
        assert later.back is not None
        return Note(
            later.back.at,
            f"it is on the way back from {later.name} to {self.request.version.name}, whose rules "
            f"stand under 'back' of {later.name}",
            later.back.line,
        )

    def manifest_line(self, at: Location) -> str | None:
        """Return a line of the manifest or of a file of rules, None for a place elsewhere."""
        manifest = self.request.manifest
        if at.file == manifest.name:
            return files.line(manifest.path, at.line)
        return _any_line(at) if Path(at.file).suffix in rulefile.SPELLINGS else None

    @property
    def _compiler(self) -> tuple[str, ...]:
        words = self.request.compiler
        name, width = toolchain.split_compiler(words, DEFAULT_COMPILER[:1])
        return (*name, *toolchain.target_options(words[width:]))

    def program(self) -> Program:
        """Return what the objects contain, with the manifest's annotations and edits checked."""
        try:
            return self._program()
        except KitsuneError as error:
            raise error.placed(self._opener(self.request.version.source), _any_line) from error

    def _program(self) -> Program:
        manifest, version = self.request.manifest, self.request.version
        merged = program.merge(self._units(), manifest.program, version.name)
        wanted = [
            edits.read_edit(index, source.to_json(), source.at)
            for index, source in enumerate(manifest.edits(version))
        ]
        edits.check_matches(wanted, merged.edits, _editable(merged))
        return annotate.annotate(merged, manifest.annotations(version), manifest.unions(version))

    def parents(self) -> tuple[_Parent, ...]:
        """Return what the parents contain, which must be laid out alike if there are several."""
        found = tuple(_read_parent(path, self.request.version) for path in self.request.parents)
        if len(found) > _MOST_PARENTS:
            message = f"{len(found)} parents are too many: at most {_MOST_PARENTS} are possible"
            version = self.request.version
            raise KitsuneError("K225", message, at=version.at, source_line=version.line)
        for other in found[1:]:
            if program.layout_digest(other.program) != program.layout_digest(found[0].program):
                names = f"{found[0].release.version} and {other.release.version}"
                raise KitsuneError(
                    "K226",
                    f"parents {names} lay out their state differently",
                    at=self.request.version.at,
                    source_line=self.request.version.line,
                    hint="one release can only follow versions whose variables and types are the\n"
                    "same; make a version for each of them",
                )
        return found

    def generate(self, new: Program, parents: tuple[_Parent, ...]) -> _Generated:
        """Plan the step from the parents, which are alike, and print it as C."""
        manifest, version = self.request.manifest, self.request.version
        ids = tuple(bytes.fromhex(parent.release.build_id) for parent in parents)
        stands_for = bytes.fromhex(self._stands_for())
        identity = render.Identity(manifest.program, version.name, ids, stands_for)
        if not parents:
            return _Generated(
                render.render_first(new, identity),
                report.first_report(new, self._edit_texts()),
                (),
            )
        decided = self.plan(new, parents[0])
        made = views.make_views(decided)
        sources = render.render_views(decided, made, identity)
        return _Generated(
            sources,
            report.report(decided, pieces.take_apart(sources, made), self._edit_texts()),
            tuple(
                f"{rule.at}: warning: rule '{rule.label}' matches nothing: {why}"
                for rule, why in decided.unused_rules
            ),
        )

    def plan(self, new: Program, parent: _Parent) -> Plan:
        """Decide all about the step from a parent, by the manifest's rules."""
        return plan.make_plan(
            self._openable(self._annotated(parent)),
            self._openable(self._explained(new)),
            self._rules(),
            _plan_options(self.request.manifest),
            self._source_line,
        )

    def _rules(self) -> rules.RuleSet:
        manifest, version = self.request.manifest, self.request.version
        if self.back is None:
            return rules.parse_rules(manifest.rules(version), manifest.preambles(version))
        later = self.back.later
        return rules.parse_rules(manifest.rules_back(later), manifest.preambles_back(later))

    def _stands_for(self) -> str:
        return objects.build_id(self.back.own).hex() if self.back else ""

    def _explained(self, new: Program) -> Program:
        """Return the program as the plan sees it: what was only said when a later version followed
        it explains it on the way back, too.
        """
        if self.back is None:
            return new
        manifest, later = self.request.manifest, self.back.later
        said = manifest.annotations(later), manifest.unions(later)
        return annotate.annotate(new, *said, lenient=True, weaker=True)

    def _annotated(self, parent: _Parent) -> Program:
        """Return the parent's program with what the manifest says of it now.

        What is said of that version counts most, then what was known when it was released. What
        holds from the new version on is in that version's words (its names, its lengths), so it
        only fills the gaps.
        """
        manifest, known = self.request.manifest, parent.program
        if any(each.name == known.version for each in manifest.versions):
            before = manifest.version(known.version)
            its_own = manifest.annotations(before), manifest.unions(before)
            known = annotate.annotate(known, *its_own, lenient=True)
        version = self.request.version
        later = manifest.annotations(version), manifest.unions(version)
        return annotate.annotate(known, *later, lenient=True, weaker=True)

    def _openable(self, known: Program) -> Program:
        """Return the program with its places as paths from here, if its sources are known."""
        sources = {version.name: version.source for version in self.request.manifest.versions}
        root = sources.get(known.version)
        if root is None:
            return known

        return locations.moved(known, self._opener(root))

    def _opener(self, root: Path) -> Move:
        """Return what makes a path from here of a place that counts from a source root."""

        def move(at: Location) -> Location:
            if at.file == self.request.manifest.name or not (root / at.file).is_file():
                return at
            return Location(files.shown(root / at.file), at.line, at.column)

        return move

    def _source_line(self, side: str, at: Location) -> str | None:
        """Return the text of a line, for messages; of an old version if its sources are apart."""
        later = self.back.later if self.back else self.request.version
        sources = [self.request.manifest.version(name).source for name in later.parents]
        earlier = "new" if self.back else "old"
        if side == earlier and later.source in sources:
            return None
        return _any_line(at)

    def link(self, new: Program, sources: dict[str, str]) -> Path:
        """Return the linked release, in the work directory."""
        record = objects.program_assembly(self._unplaced(new))
        linked = self._link(new.name, {**sources, "program.s": record})
        seal.seal(linked)
        self._check_exports(linked, self._openable(new))
        self._check_program(new)
        return linked

    def _check_program(self, new: Program) -> None:
        """Refuse a way back to another program than that of the version's own release."""
        if self.back is None:
            return
        own = self.back.own
        if program.layout_digest(new) != program.layout_digest(objects.read_program(own)):
            back = self.back.later.back
            assert back is not None
            raise KitsuneError(
                "K315",
                f"{files.shown(own.parent / ingredients.NAME)} is of another program than "
                f"{files.shown(own)}",
                at=back.at,
                source_line=back.line,
                hint="it is what that release was linked from: take it from a backup",
            )

    def install(self, made: _Made) -> None:
        """Put the release and what belongs to it where it was asked for, the release last."""
        request, linked, generated = self.request, made.linked, made.generated
        description = store.Description(
            program=request.manifest.program,
            version=request.version.name,
            build_id=objects.build_id(linked).hex(),
            parents=tuple(parent.release for parent in made.parents),
            digest=store.file_digest(linked),
            toolchain=self._toolchain(),
            stands_for=self._stands_for(),
            limits=request.manifest.limits,
        )
        place = request.output.parent
        shutil.rmtree(place / "generated", ignore_errors=True)
        for name, text in generated.sources.items():
            data = text.encode("utf-8", "surrogateescape")
            files.write_if_changed(place / "generated" / name, data)
        self._install_reports(place, report.identified(generated.report, description.to_json()))
        text = json.dumps(description.to_json(), indent=2) + "\n"
        files.write_if_changed(place / store.DESCRIPTION, text)
        if self.back is None:
            files.write_if_changed(place / ingredients.NAME, self._ingredients())
        files.write_if_changed(request.output, linked.read_bytes())

    def _ingredients(self) -> bytes:
        request = self.request
        recipe = Recipe(request.directory, request.compiler, request.inputs)
        return ingredients.pack(recipe, self._answer("-print-prog-name=ar").strip())

    def _install_reports(self, place: Path, data: report.Data) -> None:
        text = json.dumps(data, indent=1) + "\n"
        files.write_if_changed(place / store.REPORT_JSON, text)
        files.write_if_changed(place / store.REPORT_TEXT, reportpage.as_text(data))
        files.write_if_changed(place / store.REPORT_PAGE, reportpage.as_page(data))

    def _edit_texts(self) -> tuple[report.EditText, ...]:
        edits = self.request.manifest.edits(self.request.version)
        return tuple(report.EditText(edit.action, edit.text) for edit in edits)

    def _check_libraries(self) -> None:
        """Refuse a shared library of the program's own: an update would go past it."""
        own = shared.own_libraries(self.request.inputs, self.request.directory)
        for path in own.values():
            version = self.request.version
            raise KitsuneError(
                "K264",
                f"{files.shown(path)} is a shared library of the program's own: its code and state "
                "would stay those of the first version",
                at=version.at,
                source_line=version.line,
                hint="link its objects, or an archive of them, into the release; --program does\n"
                "so itself if kitsune-cc has linked the library from objects",
            )

    def _units(self) -> tuple[Unit, ...]:
        self._check_libraries()
        units = objects.read_units(self._link(_TRIAL_NAME, {"trial.c": _TRIAL}))
        if not units:
            raise KitsuneError(
                "K229",
                "no object was compiled by 'kitsune cc'",
                at=self.request.version.at,
                hint="build with CC='kitsune-cc gcc', or with the SCons tool",
            )
        return units

    def _compile(self, name: str) -> Path:
        """Compile a generated file with the program's own flags.

        Without debug information: it would hold lines of the manifest, and a release would be
        another one when a comment is added above a rule. `-iquote` lets a rule's preamble include
        the headers of the new version. The program's warnings are for the user's code: what is ours
        need not satisfy `-Werror=cast-qual`.
        """
        target = self.directory / f"{name}.o"
        command = (
            *self.request.compiler,
            f"-iquote{self.request.version.source}",
            f"-I{resources.include_dir()}",
            f"-ffile-prefix-map={self.directory}=.",
            *(
                "-fPIC",
                "-fvisibility=hidden",
                "-g0",
                "-Wno-error" if name == _RULES else "-w",
                "-c",
            ),
            *("-o", str(target), str(self.directory / name)),
        )
        self._run(command, "K230", "the compiler refuses what was generated from the rules")
        return target

    def _link(self, name: str, sources: dict[str, str]) -> Path:
        """Link the inputs, the release's side of the runtime and generated `sources`."""
        for source, text in sources.items():
            path = self.directory / source
            path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
        made = [self._compile(source) for source in sources if not source.endswith(".h")]
        exported = self.directory / "exported"
        exported.write_text(self._version_script(name))
        output = self.directory / f"{name}.so"
        command = (
            *(*self._compiler, "-shared", "-o", str(output)),
            *map(str, made),  # first: what they refer to is what archives must supply
            *self.request.inputs,
            *map(str, launcher.release_objects(self._compiler)),
            *launcher.wrap_flags(),
            f"-Wl,--version-script={exported}",
            "-Wl,-Bsymbolic,-z,now,-z,defs,--build-id=sha1",
        )
        self._run(command, "K228", "the objects do not link to a shared object")
        return output

    def _run(self, command: Sequence[str], code: str, message: str) -> None:
        done = toolchain.run(command, cwd=str(self.request.directory))
        complaints = done.stderr.decode(errors="replace").strip()
        if done.status != 0:
            hint = _remedy(complaints)
            at = toolchain.first_error(complaints) or self.request.version.at
            raise KitsuneError(code, message, at=at, hint=hint, said=complaints)
        if complaints:
            print(complaints, file=sys.stderr)

    def _version_script(self, name: str) -> str:
        exports = (_EXPORTED, *self.request.manifest.options.exports)
        if name != _TRIAL_NAME:
            there = shared.defined(self.directory / f"{_TRIAL_NAME}.so", ".symtab")
            exports += tuple(sorted(there & self._wanted().keys()))
        return "{ global: " + " ".join(f"{name};" for name in exports) + " local: *; };\n"

    def _wanted(self) -> dict[str, str]:
        """Return what the program's plugins look up, and one that does so for each."""
        found: dict[str, str] = {}
        for plugin in self.request.manifest.plugins():
            if not plugin.is_file():
                raise KitsuneError(
                    "K263",
                    f"there is no plugin {files.shown(plugin)}",
                    at=self.request.version.at,
                    source_line=self.request.version.line,
                    hint="build the plugins first; 'plugins' in the manifest names their files",
                )
            found |= dict.fromkeys(shared.wanted(plugin), files.shown(plugin))
        return found

    def _check_exports(self, linked: Path, new: Program) -> None:
        """Refuse a release in which plugins would not find what they look up."""
        visible = shared.defined(linked)
        places = {
            **{each.name: each.at for each in new.functions if each.defined},
            **{each.name: each.at for each in new.variables if each.storage == "global"},
        }
        named = dict.fromkeys(self.request.manifest.options.exports, "'exports' names it")
        used = {name: f"{plugin} looks it up" for name, plugin in self._wanted().items()}
        for name, why in sorted((used | named).items()):
            if name in places and name not in visible:
                raise KitsuneError(
                    "K262",
                    f"'{name}' is hidden, but {why}",
                    at=places[name],
                    hint='declare it __attribute__((visibility("default"))), or compile its unit\n'
                    "without -fvisibility=hidden (SCons: KITSUNECCFLAGS='')",
                )

    def _unplaced(self, new: Program) -> Program:
        """Return the program without lines of the manifest, which may change when nothing does."""
        manifest = self.request.manifest.name
        return locations.moved(new, lambda at: Location(manifest) if at.file == manifest else at)

    def _toolchain(self) -> tuple[tuple[str, str], ...]:
        linker = self._answer("-print-prog-name=ld").strip()
        linker_version = toolchain.run((linker, "--version"), capture_stdout=True).stdout.decode()
        return (
            ("compiler", _first_line(self._answer("--version"))),
            ("target", self._answer("-dumpmachine").strip()),
            ("linker", _first_line(linker_version)),
            ("kitsune", __version__),
        )

    def _answer(self, question: str) -> str:
        return toolchain.run((*self._compiler, question), capture_stdout=True).stdout.decode()


def _any_line(at: Location) -> str | None:
    return files.line(Path(at.file), at.line)


def _read_parent(path: Path, version: Version) -> _Parent:
    """Read a parent of `version`; one from a store must be what was put there."""
    if (path.parent / store.DESCRIPTION).is_file():
        store.check(path)
    if not path.is_file():
        raise KitsuneError(
            "K231",
            f"there is no release {files.shown(path)}, the parent of {version.name}",
            at=version.at,
            hint="publish the parent first, name another one with --parent, or use --unchained",
        )
    parent = objects.read_program(path)
    release = store.ParentRelease(parent.version, objects.build_id(path).hex())
    return _Parent(release, parent)


def _plan_options(manifest: Manifest) -> plan.Options:
    options = manifest.options
    return plan.Options(
        switches=options.switches,
        added_variables=options.added_variables,
        widen=options.widen,
        grow=options.grow,
        seek=options.seek,
        strict=options.strict,
    )


def _editable(merged: Program) -> list[str]:
    """Return what edits may name, for "did you mean"."""
    records = (node for node in merged.types if isinstance(node, Record) and node.tag)
    functions = (function.key for function in merged.functions if function.defined)
    return [*functions, *(f"{record.kind} {record.tag}" for record in records)]


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _remedy(complaints: str) -> str | None:
    if "recompile with -fPIC" in complaints:
        return "compile with -fPIC -fvisibility=hidden; the SCons tool does so itself"
    if "undefined reference" in complaints:
        return "name the objects and libraries that define it after --objects"
    return None
