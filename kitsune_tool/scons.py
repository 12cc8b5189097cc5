"""The SCons tool: updateable programs, their releases and the store, as targets.

In: a construction environment with C tools, a manifest and sources; out: nodes and the aliases
`update-release` (the release of the last version, put into the store), `test-update` (its
transition, tried under the manifest's test driver), `self-test` (its transformers, run over random
objects) and `release-chain` (the releases of all
versions). The front-end and the generator run as command lines. This is the only module that
imports SCons; site_scons/site_tools/kitsune.py makes it `env.Tool("kitsune")`.

Compiling happens in a clone of the caller's environment with SCons's own `SharedObject` builder and
another command, so that scanners, `compile_commands.json`, CacheDir and every flag work as they do
for any program, and no Builder of the caller is touched.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import SCons
import SCons.Tool
from SCons.Action import Action
from SCons.Builder import Builder
from SCons.Errors import UserError
from SCons.Util import CLVar, flatten

from kitsune_tool import config, files, ingredients, launcher, resources, revisions
from kitsune_tool.errors import EXIT_USAGE, KitsuneError, Location
from kitsune_tool.store import BACK, DESCRIPTION, REPORTS, Store

_Environment = Any
_Node = Any
_Result = TypeVar("_Result")
_OLDEST_SCONS = (4, 8)
_PASSED_ON = ("HOME", "XDG_CACHE_HOME", "TMPDIR")
_C_SUFFIX = ".c"
_LINKED_SUFFIXES = {".o", ".os", ".obj", ".a"}

_DEFAULTS = {
    "KITSUNEMANIFEST": config.MANIFEST_NAME,
    "KITSUNEDIR": "#build/kitsune",
    "KITSUNEPYTHON": [sys.executable],  # a list: its path may have a space
    # -P: a json.py of the project must not hide that of Python
    "KITSUNE": "$( $KITSUNEPYTHON $) -P -m kitsune_tool.cli",
    "KITSUNEFLAGS": CLVar(""),
    "KITSUNECC": "$( $KITSUNEPYTHON $) -P -m kitsune_tool.cc",
    "KITSUNECCFLAGS": CLVar("-fvisibility=hidden"),
    "KITSUNECCCOM": "$KITSUNECC --kitsune-config=$KITSUNECONFIG "
    "--kitsune-source=${SOURCE.srcpath} $SHCC -o $TARGET -c "
    "$SHCFLAGS $SHCCFLAGS $KITSUNECCFLAGS $( $KITSUNEPREFIXMAP $) $_CCCOMCOM $SOURCES",
    "KITSUNECCCOMSTR": "",
    "KITSUNECOM": "$KITSUNE release $KITSUNEFLAGS --manifest=$KITSUNEMANIFESTFILE "
    "--version=$KITSUNEVERSION --output=$TARGET $_KITSUNEPARENTS "
    "--compiler $SHCC $SHCFLAGS $SHCCFLAGS $_CCCOMCOM "
    "--objects $LINKFLAGS $__RPATH $SOURCES $_LIBDIRFLAGS $_LIBFLAGS",
    "KITSUNECOMSTR": "",
    "KITSUNEPUBLISHCOM": "$KITSUNE publish --manifest=$KITSUNEMANIFESTFILE "
    "--version=$KITSUNEVERSION --stamp=$TARGET $SOURCE",
    "KITSUNEPUBLISHCOMSTR": "",
    "KITSUNETESTCOM": "$KITSUNE test-update $KITSUNETESTFLAGS --manifest=$KITSUNEMANIFESTFILE "
    "--version=$KITSUNEVERSION --release=$SOURCE $_KITSUNETESTFROM --output=$KITSUNETESTDIR",
    "KITSUNETESTCOMSTR": "",
    "KITSUNETESTFLAGS": CLVar(""),
    "KITSUNESELFTESTCOM": "$KITSUNE self-test $KITSUNESELFTESTFLAGS "
    "--manifest=$KITSUNEMANIFESTFILE --version=$KITSUNEVERSION --release=$SOURCE "
    "$_KITSUNETESTFROM",
    "KITSUNESELFTESTCOMSTR": "",
    "KITSUNESELFTESTFLAGS": CLVar(""),
}


@dataclass(frozen=True, slots=True)
class DeclaredVersion:
    """A version of the manifest as a SConstruct sees it: its name and its source directory."""

    name: str
    source: _Node

    def __str__(self) -> str:
        return self.name


def exists(env: _Environment) -> bool:
    """Tell SCons that the tool can be used; `generate` explains it where it cannot."""
    return True


def generate(env: _Environment) -> None:
    """Add the tool to an environment; doing it twice changes nothing."""
    _check(env)
    here = env.Dir("#").get_abspath()
    env.SetDefault(**_DEFAULTS, KITSUNEPREFIXMAP=[f"-ffile-prefix-map={here}=."])
    if "_KitsuneLink" not in env["BUILDERS"]:
        env["BUILDERS"]["_KitsuneLink"] = Builder(
            action=Action("$KITSUNECOM", "$KITSUNECOMSTR"),
            emitter=_with_reports,
            target_scanner=SCons.Tool.ProgramScanner,
        )
    env.AddMethod(_guarded(kitsune_program), "KitsuneProgram")
    env.AddMethod(_guarded(kitsune_release), "KitsuneRelease")
    env.AddMethod(_guarded(kitsune_static_library), "KitsuneStaticLibrary")
    env.AddMethod(_guarded(kitsune_versions), "KitsuneVersions")


def kitsune_versions(env: _Environment) -> list[DeclaredVersion]:
    """Return the versions of the manifest, oldest first."""
    manifest = _load(env)[0]
    for version in manifest.versions:
        revisions.provide(version)
    return [
        DeclaredVersion(version.name, env.Dir(str(version.source))) for version in manifest.versions
    ]


def kitsune_program(
    env: _Environment, target: str, source: Any, plain: bool = False, **variables: Any
) -> list[_Node]:
    """Build the program from its current tree, which is the last version of the manifest.

    Returns TARGET.so, which `kitsune run` starts, and with `plain` TARGET, an ordinary executable
    of the same sources. TARGET.so is the release that `update-release` would put into the store if
    its parents are there already; otherwise it can be started, but no running server become it.
    """
    build = _Build.of(env.Clone(**variables), None)
    _check_undeclared(build)
    inputs = build.link_inputs(source)
    release = _declare_release(build, inputs)
    program = env.File(f"{target}.so")
    if all(build.store.has(parent) for parent in build.version.parents):
        env.Command(program, release, Action(_copy, "Copy $SOURCE to $TARGET"))
    else:
        apart = build.link(build.directory.Dir("unchained"), inputs, [])
        _keep_out_of_default(build.env, apart)
        env.Command(program, apart[0], Action(_copy, "Copy $SOURCE to $TARGET"))
    return [program, *(build.plain_program(target, source) if plain else [])]


def kitsune_release(
    env: _Environment, version: DeclaredVersion | str, source: Any, **variables: Any
) -> list[_Node]:
    """Build the release of a version of the manifest from `source`, chained to its parents.

    Returns the shared object in the build directory. `release-chain` puts it into the store, and if
    it is the last version so does `update-release`. Parents that are not in the store yet must be
    declared before.
    """
    build = _Build.of(env.Clone(**variables), str(version))
    _check_undeclared(build)
    return [_declare_release(build, build.link_inputs(source))]


def kitsune_static_library(
    env: _Environment,
    target: str,
    source: Any,
    version: DeclaredVersion | str | None = None,
    **variables: Any,
) -> list[_Node]:
    """Build a static library of the program's own, whose state is migrated with the program's.

    Its node can stand among the sources of `KitsuneProgram` and `KitsuneRelease`, and in `LIBS`.
    """
    build = _Build.of(env.Clone(**variables), None if version is None else str(version))
    library = build.env.StaticLibrary(build.directory.File(target), build.link_inputs(source))
    # Declared here, where paths in the environment mean what they should; built only if asked for.
    library[0].attributes.kitsune_plain = build.plain_library(target, source)
    return list(library)


@dataclass(frozen=True, slots=True)
class _Build:
    """The compilation of one version: `env` is a clone that belongs to it alone.

    `directory` holds everything that is made for the version; `settings` is the front-end's
    configuration there, on which every object depends.
    """

    env: _Environment
    manifest: config.Manifest
    manifest_node: _Node
    version: config.Version
    directory: _Node
    settings: _Node

    @classmethod
    def of(cls, env: _Environment, version_name: str | None) -> _Build:
        manifest, node = _load(env)
        version = manifest.version(version_name) if version_name else manifest.versions[-1]
        revisions.provide(version)
        directory = env.Dir("$KITSUNEDIR").Dir(manifest.program).Dir(version.name)
        settings = directory.File("front-end.json")
        # The tool keeps what it builds once in the user's cache.
        here = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env["ENV"] = here | env["ENV"]
        env.AppendUnique(CPPPATH=[str(resources.include_dir())])
        env.Replace(KITSUNEVERSION=version.name, KITSUNEMANIFESTFILE=node)
        build = cls(env, manifest, node, version, directory, settings)
        if not settings.has_builder():
            env.Command(settings, env.Value(build.settings_text()), Action(_write, "Write $TARGET"))
            _keep_out_of_default(env, [settings])
        return build

    @property
    def store(self) -> Store:
        return Store(self.manifest.store, self.manifest.program)

    @property
    def stamp(self) -> _Node:
        """The file that says that the version is in the store."""
        return self.directory.File("published")

    @property
    def is_last(self) -> bool:
        return self.version is self.manifest.versions[-1]

    def settings_text(self) -> str:
        """Return the front-end's configuration, its root relative to where commands run."""
        root = os.path.relpath(self.version.source, self.env.Dir("#").get_abspath())
        return config.front_end_config(self.manifest, self.version, root)

    def link_inputs(self, source: Any) -> list[_Node]:
        """Return objects for sources; objects and libraries are passed on."""
        env = self.env.Clone(
            SHCCCOM="$KITSUNECCCOM", SHCCCOMSTR="$KITSUNECCCOMSTR", KITSUNECONFIG=self.settings
        )
        forced = _forced_includes(env)
        return [
            node if _is_linked(node) else self.shared_object(env, node, forced)
            for node in _nodes(env, source)
        ]

    def shared_object(self, env: _Environment, source: _Node, forced: list[_Node]) -> _Node:
        (target,) = env.SharedObject(self.object_file("objects", source), source)
        if source.get_suffix() == _C_SUFFIX:
            env.Depends(target, self.settings)
        env.Depends(target, forced)
        if not self.is_last:
            _keep_out_of_default(env, [target])
        return target

    def object_file(self, kind: str, source: _Node) -> _Node:
        """Return where the object of a source goes: its path below the version's root, kept."""
        path = os.path.relpath(source.srcnode().get_abspath(), self.version.source)
        inside = path.replace(os.pardir + os.sep, "up/")
        return self.directory.Dir(kind).File(f"{inside}.o")

    def link(self, directory: _Node, inputs: list[_Node], parents: list[_Node]) -> list[_Node]:
        """Link inputs to a release that can follow `parents`, with its description and reports."""
        options = [f"--parent={parent}" for parent in parents] or ["--unchained"]
        target = directory.File(f"{self.manifest.program}.so")
        is_left = self.version.back is not None and parents
        back = self.version.parents if is_left else ()
        release = self.env._KitsuneLink(target, inputs, _KITSUNEPARENTS=options, _KITSUNEBACK=back)
        self.env.Depends(release, parents)
        plugins = [self.env.File(str(path.resolve())) for path in self.manifest.plugins()]
        self.env.Depends(release, plugins)
        self.env.Depends(
            release, self.env.Value(config.release_config(self.manifest, self.version))
        )
        self.env.Depends(release, [self.env.File(str(p)) for p in resources.generator_files()])
        generated = [directory, *(directory.Dir(BACK).Dir(name) for name in back)]
        self.env.Clean(release, [place.Dir("generated") for place in generated])
        return list(release)

    def plain_program(self, target: str, source: Any) -> list[_Node]:
        """Build an ordinary executable, in which the API does nothing."""
        api = [
            self.env.StaticObject(
                self.directory.File(f"plain/kitsune-{path.stem}.o"),
                self.env.File(str(path)),
                CFLAGS=["-std=gnu11"],
                CCFLAGS=["-O2"],
            )
            for path in launcher.plain_sources()
        ]
        libraries = [_plain_of(library) for library in flatten(self.env.get("LIBS", []))]
        inputs = [*self.plain_inputs(source), *api]
        return list(self.env.Program(target, inputs, LIBS=libraries))

    def plain_library(self, target: str, source: Any) -> _Node:
        """Build the library that a plain executable is linked with."""
        node = self.directory.Dir("plain").File(target)
        if not node.has_builder():
            inputs = self.plain_inputs(source)
            self.env.StaticLibrary(node, inputs)
            _keep_out_of_default(self.env, [node, *inputs])
        return node

    def plain_inputs(self, source: Any) -> list[_Node]:
        return [
            _plain_of(node)
            if _is_linked(node)
            else self.env.StaticObject(self.object_file("plain", node), node)[0]
            for node in _nodes(self.env, source)
        ]


def _check_undeclared(build: _Build) -> None:
    if build.stamp.has_builder():
        raise KitsuneError(
            "K240",
            f"version {build.version.name} of {build.manifest.program} is declared twice",
            at=_caller(),
            hint="KitsuneProgram declares the last version; use KitsuneRelease for earlier ones",
        )


def _caller() -> Location:
    """Return the line of the SConscript that called us."""
    frame = sys._getframe()
    ours = (__file__, os.sep + "SCons" + os.sep)
    while frame.f_back and any(part in frame.f_code.co_filename for part in ours):
        frame = frame.f_back
    return Location(files.shown(Path(frame.f_code.co_filename)), frame.f_lineno)


def _declare_release(build: _Build, inputs: list[_Node]) -> _Node:
    """Declare a version's release, its way into the store, and the aliases; return the release."""
    env, store, version = build.env, build.store, build.version
    stamp = build.stamp
    release = _chained(build, inputs)
    stored = env.File(str(store.release(version.name)))
    targets = [stamp] if store.has(version.name) else [stamp, stored]
    env.Command(targets, release[0], Action("$KITSUNEPUBLISHCOM", "$KITSUNEPUBLISHCOMSTR"))
    env.Depends(targets, release)
    env.NoClean(stored)
    env.Precious(targets)
    env.NoCache(targets)
    env.Clean(stamp, build.directory)
    env.Alias("release-chain", stamp)
    if build.is_last:
        env.Alias("update-release", stamp)
        _declare_tests(build, release[0])
    _keep_out_of_default(env, [*release, stamp, stored])
    return release[0]


def _declare_tests(build: _Build, release: _Node) -> None:
    """Declare `test-update` and `self-test`, for a release before it is put into the store."""
    env, store = build.env, build.store
    parents = [store.release(name) for name in build.version.parents]
    for name, words in (("test-update", "KITSUNETEST"), ("self-test", "KITSUNESELFTEST")):
        test = env.Alias(
            name,
            release,
            Action(f"${words}COM", f"${words}COMSTR"),
            _KITSUNETESTFROM=[f"--from={parent}" for parent in parents],
            KITSUNETESTDIR=build.directory.Dir(name),
        )
        env.AlwaysBuild(test)


def _chained(build: _Build, inputs: list[_Node]) -> list[_Node]:
    parents = {
        name: build.env.File(str(build.store.release(name))) for name in build.version.parents
    }
    for name, node in parents.items():
        if not build.store.has(name) and not node.has_builder():
            return _refusal(build, _missing_parent(build, name))
    return build.link(build.directory, inputs, list(parents.values()))


def _missing_parent(build: _Build, parent: str) -> KitsuneError:
    program, version = build.manifest.program, build.version
    return KitsuneError(
        "K223",
        f"release {parent} of {program}, the parent of {version.name}, is not in the store",
        at=version.at,
        source_line=version.line,
        hint=f"restore {files.shown(build.store.directory(parent))},\n"
        f"or declare KitsuneRelease('{parent}', ...) before {version.name} and build release-chain,"
        "\nor write 'parents: []' if no server runs an earlier version",
    )


def _refusal(build: _Build, error: KitsuneError) -> list[_Node]:
    """Return a release that cannot be built, and says why when somebody asks for it."""

    def refuse(target: list[_Node], source: list[_Node], env: _Environment) -> int:
        print(error.report(), file=sys.stderr)
        return 1

    target = build.directory.File(f"{build.manifest.program}.so")
    nodes = build.env.Command(target, [], Action(refuse, None, varlist=["KITSUNEVERSION"]))
    build.env.AlwaysBuild(nodes)
    return list(nodes)


def _keep_out_of_default(env: _Environment, nodes: list[_Node]) -> None:
    """Keep `scons` without a target from releasing anything and from compiling all of history.

    `scons -c` cleans it all the same.
    """
    if not env.GetOption("clean"):
        for node in nodes:
            env.Ignore(node.dir, node)


def _with_reports(
    target: list[_Node], source: list[_Node], env: _Environment
) -> tuple[list[_Node], list[_Node]]:
    place = target[0].dir
    beside = [place.File(name) for name in (DESCRIPTION, *REPORTS, ingredients.NAME)]
    for version in env["_KITSUNEBACK"]:
        back = place.Dir(BACK).Dir(version)
        beside += [back.File(name) for name in (target[0].name, DESCRIPTION, *REPORTS)]
    return target + beside, source


def _check(env: _Environment) -> None:
    if tuple(int(part) for part in SCons.__version__.split(".")[:2]) < _OLDEST_SCONS:
        raise UserError(
            f"kitsune: SCons {SCons.__version__} is too old; install the package scons >= "
            + ".".join(map(str, _OLDEST_SCONS))
        )
    if "CC" not in env or "SharedObject" not in env["BUILDERS"]:
        raise UserError(
            "kitsune: no C compiler in this environment; load the C tools first, as in "
            "Environment(tools=['default', 'kitsune'])"
        )
    for module in ("pycparser", "jinja2", "yaml"):
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"kitsune: the Python package {module} is missing for {sys.executable}; install "
                "kitsune-live-update into the environment that runs SCons"
            )


def _guarded(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """End SCons with our words for a user's mistake.

    Its own `UserError` would add the line of this module, as if the mistake were there.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> _Result:
        try:
            return function(*arguments, **named)
        except KitsuneError as error:
            print(error.report(), file=sys.stderr)
            raise SystemExit(EXIT_USAGE) from error

    return call


def _load(env: _Environment) -> tuple[config.Manifest, _Node]:
    node = _manifest_node(env)
    return config.load_manifest(Path(node.get_abspath())), node


def _manifest_node(env: _Environment) -> _Node:
    """Return the manifest: beside the SConscript, or, under its usual name, in the nearest
    directory above that has it; a SConscript of a part of the program need not name it.
    """
    node = env.File("$KITSUNEMANIFEST").srcnode()
    top = Path(env.Dir("#").srcnode().get_abspath())
    path = Path(node.get_abspath())
    if path.is_file() or env.subst("$KITSUNEMANIFEST") != config.MANIFEST_NAME:
        return node
    above = (folder / path.name for folder in path.parents if folder.is_relative_to(top))
    return next((env.File(str(each)) for each in above if each.is_file()), node)


def _nodes(env: _Environment, source: Any) -> list[_Node]:
    return list(env.arg2nodes(flatten([source]), env.fs.File))


def _is_linked(node: _Node) -> bool:
    return node.get_suffix() in _LINKED_SUFFIXES


def _plain_of(library: Any) -> Any:
    plain = getattr(getattr(library, "attributes", None), "kitsune_plain", None)
    return plain or library


def _forced_includes(env: _Environment) -> list[_Node]:
    """Return the headers named by `-include` and `-imacros`, which SCons does not look for."""
    flags = shlex.split(env.subst("$SHCFLAGS $SHCCFLAGS $CPPFLAGS"))
    names = [name for flag, name in itertools.pairwise(flags) if flag in {"-include", "-imacros"}]
    directories = ["#", *flatten(env.get("CPPPATH", []))]
    found = (env.FindFile(name, directories) for name in names)
    return [node for node in found if node is not None]


def _write(target: list[_Node], source: list[_Node], env: _Environment) -> None:
    Path(target[0].get_path()).write_text(source[0].get_text_contents(), encoding="utf-8")


def _copy(target: list[_Node], source: list[_Node], env: _Environment) -> None:
    """Copy by rename, so that a server that was started from the old file keeps it."""
    path = Path(target[0].get_path())
    temporary = path.with_name(f".{path.name}.new")
    shutil.copyfile(source[0].get_path(), temporary)
    temporary.replace(path)
