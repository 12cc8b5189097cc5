"""The compiler look-alike: `kitsune-cc [OPTIONS] gcc ARGS…`, or `CC=kitsune-cc`.

In: a compiler's command line. Out: what the compiler would have made, where C is compiled with the
unit's tables inside. Everything else (probes, -E, assembler, links) is the compiler's own doing.
Called by build systems, by `kitsune cc` and, over its library functions, by nobody.

What fails is run again as the plain command, so that its messages are those that the user knows:
with macros' names and columns, and all of them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitsune_tool import toolchain
from kitsune_tool.errors import EXIT_BUG, EXIT_INPUT_WRONG, KitsuneError, Location
from kitsune_tool.toolchain import Command, Done, Source

if TYPE_CHECKING:
    from kitsune_tool.edits import Edit
    from kitsune_tool.frontend import FrontendConfig

_CONFIG_OPTION = "--kitsune-config="
_SOURCE_OPTION = "--kitsune-source="
_OWN_NAMES = ("kitsune-cc", "cc.py")


@dataclass(frozen=True, slots=True)
class Options:
    """What is said to us and not to the compiler.

    `config` is the front-end's configuration file. `source` is the path under which the unit is
    known, where the compiler is given a copy of it in another place.
    """

    config: str | None
    source: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except KitsuneError as error:
        print(error.report(), file=sys.stderr)
        return EXIT_INPUT_WRONG
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:
        import traceback

        print(f"kitsune-cc: internal error: please report it\n{traceback.format_exc()}", end="",
              file=sys.stderr)  # fmt: skip
        return EXIT_BUG


def _main(words: list[str]) -> int:
    options, words = _own_options(words)
    compiler, width = toolchain.split_compiler(words, _default_compiler())
    if Path(compiler[0]).name in _OWN_NAMES:
        raise KitsuneError(
            "K050",
            f"the real compiler is '{compiler[0]}', which is kitsune-cc again",
            hint="set KITSUNE_CC to the compiler itself, such as gcc",
        )
    arguments = words[width:]
    if options.config is not None:
        arguments = toolchain.relocatable(arguments)
    command = toolchain.parse(compiler, arguments)
    match command.action:
        case "pass":
            return _pass(command)
        case "headers":
            return _replace([*compiler, *command.original, *_include_options()])
        case "preprocess":
            return _preprocess(command, options)
        case _:
            return _compile(command, options)


def _default_compiler() -> list[str]:
    named = os.environ.get("KITSUNE_CC", "")
    if not named:
        return ["gcc"]
    import shlex

    return shlex.split(named) or ["gcc"]


def _own_options(words: list[str]) -> tuple[Options, list[str]]:
    """Take our options out of a command line, wherever the build puts them."""
    found = {"config": os.environ.get("KITSUNE_CONFIG") or None, "source": None}
    ours = (_CONFIG_OPTION, _SOURCE_OPTION)
    if any(word.startswith("@") for word in words):
        inner = list(toolchain.expanded(words))
        words = inner if any(word.startswith(ours) for word in inner) else words
    for word in words:
        if word.startswith(ours):
            name, _, value = word.removeprefix("--kitsune-").partition("=")
            found[name] = value
    return Options(**found), [word for word in words if not word.startswith(ours)]


def _pass(command: Command) -> int:
    """Let the compiler do what is its own; a program that it links gets a note of how."""
    if toolchain.is_link(command):
        from kitsune_tool import link

        status = link.link(command)
        if status is not None:
            return status
    return _replace([*command.compiler, *command.original])


def _replace(command: list[str]) -> int:
    """Become the compiler: nothing of ours can then differ from it."""
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise _no_compiler(command[0], error) from error


def _no_compiler(name: str, error: OSError) -> KitsuneError:
    return KitsuneError(
        "K051",
        f"cannot run the compiler '{name}': {error.strerror}",
        hint="name it in KITSUNE_CC, or in front of its arguments: kitsune-cc gcc -c …",
    )


def _include_options() -> list[str]:
    from kitsune_tool.preprocess import include_options

    return include_options()


# ---- -E ------------------------------------------------------------------------------------------


def _preprocess(command: Command, options: Options) -> int:
    """Run -E for the user, or for a compiler cache that will ask for the object next.

    A cache takes this text for all that the object depends on. So it has the annotations in it and
    ends with two line markers: of the configuration, which the cache then looks at as it does at
    headers, and of one for the version of the tool.
    """
    if os.environ.get("CCACHE_DISABLE") is None:  # which ccache sets for its children
        return _replace([*command.compiler, *command.original, *_include_options()])
    arguments = [*command.compiler, *command.arguments, "-D__KT__", *_include_options()]
    done = _run(arguments)
    sys.stderr.buffer.write(done.stderr)
    if done.status == 0:
        marker = f'\n# 1 "<kitsune {_state(options)}>"\n'
        if options.config:
            quoted = options.config.replace("\\", "\\\\").replace('"', '\\"')
            marker = f'\n# 1 "{quoted}"{marker}'
        _append(command.output, marker.encode(errors="surrogateescape"))
    return done.status


def _append(output: str | None, text: bytes) -> None:
    if output is None or output == toolchain.STANDARD_INPUT:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    else:
        with Path(output).open("ab") as file:
            file.write(text)


def _state(options: Options) -> str:
    """Return a digest of all that an object depends on besides its text and command line."""
    import hashlib

    from kitsune_tool.resources import front_end_digest

    config = Path(options.config).read_bytes() if options.config else b""
    return front_end_digest() + hashlib.sha256(config).hexdigest()[:16]


# ---- compiling -----------------------------------------------------------------------------------


def _compile(command: Command, options: Options) -> int:
    if options.source is not None and len(command.c_sources) > 1:
        raise KitsuneError(
            "K052",
            f"{_SOURCE_OPTION}… names one source, and there are several",
            hint="compile one source per command",
        )
    given = None
    if any(source.path == toolchain.STANDARD_INPUT for source in command.c_sources):
        given = sys.stdin.buffer.read()
    if command.is_verbose:
        _show_plain(command, given)
    if command.action == "link":
        return _compile_and_link(command, options, given)
    statuses = [
        _compile_unit(_Unit(command, options, source, command.output_of(source), given))
        if source.is_c
        else _compile_other(command, source)
        for source in command.sources
    ]
    return next((status for status in statuses if status), 0)


def _show_plain(command: Command, given: bytes | None) -> None:
    """Run the plain command first: what -v prints of it is read by programs such as CMake."""
    done = _run([*command.compiler, *command.arguments, *_include_options()], given)
    sys.stderr.buffer.write(done.stderr)
    sys.stderr.flush()


def _compile_other(command: Command, source: Source) -> int:
    """Compile an input of another language that stands beside C, such as assembler."""
    output = ["-o", command.output] if command.output else []
    done = _run([*command.compiler, *toolchain.single(command, source), *output])
    sys.stderr.buffer.write(done.stderr)
    return done.status


def _compile_and_link(command: Command, options: Options, given: bytes | None) -> int:
    import tempfile

    from kitsune_tool import link

    with tempfile.TemporaryDirectory(prefix="kitsune-cc-") as directory:
        objects = {}
        for number, source in enumerate(command.c_sources):
            target = f"{directory}/{number}-{Path(source.path).stem}.o"
            status = _compile_unit(_Unit(command, options, source, target, given))
            if status:
                return status
            objects[source.position] = target
        shared = command.has("-shared", "-r", "-nostdlib")
        ours = [] if shared else map(str, link.plain(command))
        done = _run([*command.compiler, *toolchain.linking(command, objects), *ours])
        sys.stderr.buffer.write(done.stderr)
        return done.status


@dataclass(frozen=True, slots=True)
class _Unit:
    """One source to be compiled to `target`; `given` is its text if it comes from stdin."""

    command: Command
    options: Options
    source: Source
    target: str
    given: bytes | None


def _compile_unit(unit: _Unit) -> int:
    from kitsune_tool.preprocess import preprocess

    try:
        text = preprocess(unit.command, unit.source, unit.given)
    except FileNotFoundError as error:
        raise _no_compiler(unit.command.compiler[0], error) from error
    if text.status:
        return _fail_as_plain(unit, text.complaints)
    try:
        return _compile_text(unit, text.text, text.complaints)
    except BaseException:
        _remove(unit.target)
        raise


def _remove(target: str) -> None:
    """Remove an object that is not to be trusted; what is no file, such as /dev/null, stays."""
    path = Path(target)
    if path.is_file():
        path.unlink()


def _compile_text(unit: _Unit, text: str, complaints: bytes) -> int:
    from kitsune_tool import frontend, recipe

    made = frontend.process(text, _known_as(unit), _front_end_config(unit))
    noted = made.text + recipe.command_assembly(made.unit.digest, unit.command)
    if toolchain.keeps_texts(unit.command) and toolchain.is_clang(unit.command.compiler):
        return _compile_kept(unit, noted, complaints)
    done = _run(_final_command(unit), noted.encode("latin-1"))
    if done.status and made.unit.edits:
        return _fail_compiling(unit, complaints + done.stderr, True)
    if done.status:
        done = _without_warnings(unit, noted, complaints + done.stderr)
        complaints = b""
    if done.status:
        return done.status
    kept = toolchain.kept_text(unit.command, unit.source)
    if kept:
        Path(kept).write_bytes(noted.encode("latin-1"))
    _add_dependency(unit)
    sys.stderr.buffer.write(_told_once(complaints, done.stderr))
    return 0


def _compile_kept(unit: _Unit, text: str, complaints: bytes) -> int:
    """Compile with clang's -save-temps: every other file gets its name from that of the text.

    (clang makes no file of bitcode on the way from preprocessed text.)
    """
    kept = toolchain.kept_text_of_clang(unit.command, unit.source)
    Path(kept).write_bytes(text.encode("latin-1"))
    done = _run([*_final_command(unit)[:-1], kept])
    if done.status:
        return _fail_compiling(unit, complaints + done.stderr, False)
    _add_dependency(unit)
    sys.stderr.buffer.write(_told_once(complaints, done.stderr))
    return 0


def _without_warnings(unit: _Unit, text: str, complaints: bytes) -> Done:
    """Compile what does not compile with the tables once more: a warning about them may be an error
    (`-Weverything -Werror`), and then the source's own warnings, which the plain command has, are
    all that is shown.
    """
    plain = _run_plain(unit)
    if plain.status:
        return Done(_failed(plain), b"", b"")
    done = _run([*_final_command(unit), "-w"], text.encode("latin-1"))
    if done.status:
        return Done(_fail_compiling(unit, complaints, False), b"", b"")
    return plain


def _told_once(preprocessing: bytes, compiling: bytes) -> bytes:
    """Return what both steps said, without what the driver says of its options in each of them."""
    said = compiling.splitlines(keepends=True)
    first = preprocessing.splitlines(keepends=True)
    return (
        b"".join([line for line in first if line not in said or b": warning: " not in line])
        + compiling
    )


def _add_dependency(unit: _Unit) -> None:
    """Make the object depend on our configuration: an edit in it compiles the unit anew."""
    file = toolchain.dependency_file(unit.command, unit.source)
    if file is None or unit.options.config is None:
        return
    path = Path(file)
    rule = path.read_bytes().decode("latin-1")
    added = unit.options.config.encode(errors="surrogateescape").decode("latin-1")
    path.write_bytes(toolchain.with_dependency(rule, added).encode("latin-1"))


def _known_as(unit: _Unit) -> str:
    if unit.options.source is not None:
        return unit.options.source
    return "<stdin>" if unit.given is not None else unit.source.path


def _front_end_config(unit: _Unit) -> FrontendConfig:
    """Return what the front-end is told: from the configuration file, or defaults."""
    import functools

    from kitsune_tool import switches
    from kitsune_tool.frontend import FrontendConfig
    from kitsune_tool.preprocess import expand

    given = _read_config(unit.options.config)
    try:
        edits = _edits(given)
        root = str(given.get("root", "."))
        looked_up = tuple(map(str, given.get("functions", ())))
        said = switches.from_json(given.get("switches", {}))
        noted = tuple(map(str, given.get("notelocals", [])))
    except (TypeError, ValueError, AttributeError) as error:
        raise _bad_config(unit.options.config, str(error)) from error
    return FrontendConfig(
        root=root,
        edits=edits,
        looked_up=looked_up,
        compiler=Path(unit.command.compiler[-1]).name,
        switches=said,
        notelocals=noted,
        lto=any(map(_is_lto, unit.command.arguments)),
        expand=functools.partial(expand, unit.command, unit.source, unit.given),
    )


def _edits(given: dict[str, Any]) -> tuple[Edit, ...]:
    if given.get("edits", []) == []:
        return ()
    from kitsune_tool.edits import read_edits

    return read_edits(given["edits"])


def _read_config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    import json

    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad_config(path, error.strerror or "") from error
    except ValueError as error:
        raise _bad_config(path, str(error)) from error
    if not isinstance(value, dict):
        raise _bad_config(path, "not an object of JSON")
    return value


def _bad_config(path: str | None, why: str) -> KitsuneError:
    return KitsuneError(
        "K053",
        f"cannot use it as the front-end's configuration: {why}",
        at=Location(path) if path else None,
        hint="make it with 'kitsune config -o FILE'",
    )


def _final_command(unit: _Unit) -> list[str]:
    """Return the command that compiles the text on its standard input."""
    command = unit.command
    step = "-S" if command.action == "assembly" else "-c"
    names = []
    if command.has_auxiliary_files:
        names = toolchain.auxiliary_options(command, unit.source)
    # an object of link-time optimisation alone would hold the record where only the linker sees it
    # (clang has none such: there, the link of a release makes it readable)
    is_lto = any(map(_is_lto, command.arguments))
    fat = ["-ffat-lto-objects"] if is_lto and not toolchain.is_clang(command.compiler) else []
    return [
        *command.compiler,
        *toolchain.compiling_options(command),
        *toolchain.colour_options(command),
        *fat,
        *names,
        *("-x", "cpp-output", step, "-o", unit.target, "-"),
    ]


def _is_lto(argument: str) -> bool:
    return argument == "-flto" or argument.startswith("-flto=")


# ---- failing as the plain command does -----------------------------------------------------------


def _fail_as_plain(unit: _Unit, complaints: bytes) -> int:
    """The source cannot be preprocessed: let the plain command say all that is wrong with it."""
    done = _run_plain(unit)
    sys.stderr.buffer.write(done.stderr if done.status else complaints)
    return done.status or EXIT_INPUT_WRONG


def _fail_compiling(unit: _Unit, complaints: bytes, has_edits: bool) -> int:
    """The text that we made does not compile: if the source does neither, its errors are shown."""
    done = _run_plain(unit)
    if done.status:
        return _failed(done)
    _remove(unit.target)
    sys.stderr.buffer.write(complaints)
    if has_edits:
        raise KitsuneError(
            "K054",
            f"{unit.source.path} does not compile with the manifest's edits made in it",
            at=_line_of_error(complaints),
            hint="the compiler's messages above are about the inserted text, or about what it\n"
            "does to the statements around it",
        )
    sys.stderr.flush()
    raise RuntimeError(f"{unit.source.path} compiles, but not with the inserted tables")


def _failed(plain: Done) -> int:
    """Show what the plain command says, and return its status."""
    sys.stderr.buffer.write(plain.stderr)
    return plain.status


def _line_of_error(complaints: bytes) -> Location | None:
    """Return the line of the first error; the column counts what was inserted, too."""
    at = toolchain.first_error(complaints.decode(errors="replace"))
    return Location(at.file, at.line) if at is not None else None


def _run_plain(unit: _Unit) -> Done:
    command = unit.command
    step = {"assembly": ["-S"], "compile": ["-c"], "link": ["-c"]}[command.action]
    arguments = toolchain.single(command, unit.source)
    options = [*_include_options(), *toolchain.colour_options(command)]
    if not any(option in arguments for option in step):
        arguments = [*step, *arguments]
    return _run([*command.compiler, *options, *arguments, "-o", unit.target], unit.given)


def _run(command: Sequence[str], given: bytes | None = None) -> Done:
    try:
        return toolchain.run(command, stdin=given)
    except FileNotFoundError as error:
        raise _no_compiler(command[0], error) from error


if __name__ == "__main__":
    sys.exit(main())
