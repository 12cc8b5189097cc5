"""The command `kitsune`: what its words ask for, and what its exit status says.

In: a command line; out: an exit status of errors.py. Everything is done by the stages it calls;
this module knows their options only, and imports a stage when its command is asked for, so that
`kitsune status` does not wait for the generator.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitsune_tool import __version__
from kitsune_tool.errors import EXIT_BUG, EXIT_DONE, EXIT_INPUT_WRONG, EXIT_USAGE, KitsuneError

if TYPE_CHECKING:
    from kitsune_tool.config import Manifest, Version
    from kitsune_tool.release import Request

    _Parsers = argparse._SubParsersAction[argparse.ArgumentParser]

_INTERRUPTED = 130
_SEEDS = 1 << 32
_MANIFEST_HELP = "default: kitsune.yaml here or above"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["cc"]:
            return _compile(words[1:])
        return _run(words)
    except KitsuneError as error:
        print(error.report(), file=sys.stderr)
        return EXIT_INPUT_WRONG
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except Exception:
        return _report_bug()


def _run(words: list[str]) -> int:
    own, lists = _split_release(words) if words[:1] == ["release"] else (words, {})
    parser = _parser()
    options = parser.parse_args(own)
    if lists:
        vars(options).update(lists)
    command: Callable[[argparse.Namespace], int] = options.run
    return command(options)


def _report_bug() -> int:
    trace = traceback.format_exc()
    print(
        "kitsune: error[K299]: this is a bug of kitsune, not of your input\n"
        f"hint: please report it with these lines and the command ({_identity()}):\n\n{trace}",
        file=sys.stderr,
    )
    return EXIT_BUG


def _identity() -> str:
    return f"kitsune {__version__}, Python {platform.python_version()}, {platform.machine()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kitsune", description="Live updates for C programs.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=_identity())
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    parsers.add_parser(
        "cc", help="compile C as COMPILER would, and note what is in it", add_help=False
    )
    _add_config(parsers)
    _add_source(parsers)
    _add_flags(parsers)
    _add_release(parsers)
    _add_publish(parsers)
    _add_seal(parsers)
    _add_inspect(parsers)
    _add_report(parsers)
    _add_convert(parsers)
    _add_explain(parsers)
    _add_test_update(parsers)
    _add_self_test(parsers)
    _add_control(parsers)
    return parser


def _add_manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=Path, metavar="FILE", help=_MANIFEST_HELP)
    parser.add_argument(
        "--version", metavar="V", help="a version of the manifest; default: its last one"
    )


def _add_config(parsers: _Parsers) -> None:
    parser = parsers.add_parser("config", help="write the configuration that 'kitsune cc' reads")
    _add_manifest(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: print it")
    parser.set_defaults(run=_config)


def _add_source(parsers: _Parsers) -> None:
    parser = parsers.add_parser("source", help="print where the sources of a version are")
    _add_manifest(parser)
    parser.set_defaults(run=_source)


def _add_flags(parsers: _Parsers) -> None:
    parser = parsers.add_parser(
        "flags",
        help="print what a compiler needs for a program that calls Kitsune",
        description="Print the options by which a compiler other than 'kitsune cc' finds "
        "kitsune.h, and the archive of calls that do nothing for the link of a plain executable.",
    )
    parser.add_argument("--cflags", action="store_true", help="only the compiler's options")
    parser.add_argument("--libs", action="store_true", help="only what is linked")
    parser.set_defaults(run=_flags)


def _add_release(parsers: _Parsers) -> None:
    parser = parsers.add_parser(
        "release",
        help="link objects to a release",
        usage="kitsune release [OPTIONS] [--compiler CC FLAGS...]\n"
        "                       (--program PROGRAM | --objects OBJECTS... FLAGS...)",
        description="Link objects made by 'kitsune cc' to a release, with all that leads from its "
        "parents to it: those from which PROGRAM was linked by 'kitsune cc', or those that stand "
        "after --objects with what else would follow the compiler's name in a link. After "
        "--compiler stands the compiler with the program's own flags; by default it is gcc -O2, "
        "or what compiled PROGRAM.",
    )
    _add_manifest(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: release/NAME.so beside PROGRAM"
    )
    parser.add_argument("--program", type=Path, metavar="PROGRAM")
    parser.add_argument(
        "--publish", action="store_true", help="put the release into the store when it is made"
    )
    chain = parser.add_mutually_exclusive_group()
    chain.add_argument(
        "--parent",
        type=Path,
        action="append",
        metavar="RELEASE",
        help="a release that this one can follow; default: the manifest's parents, from the store",
    )
    chain.add_argument("--unchained", action="store_true", help="a release without parents")
    parser.set_defaults(run=_release, compiler=None, objects=None)


def _add_publish(parsers: _Parsers) -> None:
    parser = parsers.add_parser("publish", help="put a release into the store, for ever")
    _add_manifest(parser)
    parser.add_argument("--stamp", type=Path, metavar="FILE", help="a file to write when done")
    parser.add_argument("release", type=Path, metavar="RELEASE")
    parser.set_defaults(run=_publish)


def _add_seal(parsers: _Parsers) -> None:
    parser = parsers.add_parser(
        "seal", help="write a release's checksum anew, after something has changed it on purpose"
    )
    parser.add_argument("release", type=Path, metavar="FILE")
    parser.set_defaults(run=_seal)


def _add_inspect(parsers: _Parsers) -> None:
    parser = parsers.add_parser("inspect", help="print what an object or a release says of itself")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.set_defaults(run=_inspect)


def _add_report(parsers: _Parsers) -> None:
    parser = parsers.add_parser("report", help="print what changes with a release")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help=_MANIFEST_HELP)
    parser.add_argument(
        "--format", choices=("text", "json", "html"), default="text", help="default: %(default)s"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: print it")
    parser.add_argument(
        "release", metavar="RELEASE", help="a file, or a version in the manifest's store"
    )
    parser.set_defaults(run=_report)


def _add_convert(parsers: _Parsers) -> None:
    parser = parsers.add_parser(
        "convert", help="print a file of rules in its other spelling: .xf as YAML, YAML as .xf"
    )
    parser.add_argument("--to", choices=("xf", "yaml"), help="default: the other one")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: print it")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.set_defaults(run=_convert)


def _add_explain(parsers: _Parsers) -> None:
    parser = parsers.add_parser("explain", help="tell what the code of an error means")
    parser.add_argument("code", nargs="?", metavar="CODE", help="as in K120; default: list all")
    parser.set_defaults(run=_explain)


def _add_test_update(parsers: _Parsers) -> None:
    parser = parsers.add_parser(
        "test-update",
        help="try a release's update at each update point, under the program's own tests",
        description="Run the manifest's test driver once for each update point that it leads to, "
        "and each arrival there (or some, evenly spread), with the update made at that moment.",
    )
    _add_manifest(parser)
    _add_transition(parser)
    parser.add_argument("--driver", metavar="COMMAND", help="default: the manifest's")
    parser.add_argument(
        "--at", action="append", metavar="POINT:N", help="only the N-th arrival at this point"
    )
    parser.add_argument("--cells", type=int, metavar="N", help="arrivals at each point; 0: all")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="for logs; default: build/test-update"
    )
    parser.add_argument("--json", action="store_true", help="print the matrix as JSON")
    parser.set_defaults(run=_test_update)


def _add_self_test(parsers: _Parsers) -> None:
    parser = parsers.add_parser(
        "self-test",
        help="run a release's transformers over random old objects, and compare",
        description="Fill objects of the old version's types with random values, have the "
        "release's own transformers make new ones of them, and compare each member with what the "
        "types and names of both versions say that it must be.",
    )
    _add_manifest(parser)
    _add_transition(parser)
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="only this type ('struct s') or variable",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="default: a new one, printed")
    parser.add_argument(
        "--rounds", type=int, default=50, metavar="N", help="objects of each type; default: 50"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=_self_test)


def _add_transition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--release",
        type=Path,
        metavar="RELEASE",
        help="to try; default: the version's, in the store",
    )
    parser.add_argument(
        "--from",
        dest="parents",
        type=Path,
        action="append",
        metavar="RELEASE",
        help="a release that runs before; default: each parent, in the store",
    )


def _add_control(parsers: _Parsers) -> None:
    from kitsune_tool import control

    control.add_parsers(parsers)


def _compile(words: list[str]) -> int:
    from kitsune_tool import cc

    return cc.main(words)


def _manifest(options: argparse.Namespace) -> tuple[Manifest, Version]:
    from kitsune_tool import config, revisions

    path = options.manifest or config.find_manifest(Path())
    manifest = config.load_manifest(path)
    version = manifest.version(options.version) if options.version else manifest.versions[-1]
    revisions.provide(version)
    return manifest, version


def _config(options: argparse.Namespace) -> int:
    from kitsune_tool import config, files

    text = config.front_end_config(*_manifest(options))
    if options.output is None:
        print(text, end="")
    else:
        files.write_if_changed(options.output, text)
    return EXIT_DONE


def _release(options: argparse.Namespace) -> int:
    from kitsune_tool import release

    wrong = _wrong_release_options(options)
    if wrong:
        print(f"kitsune release: {wrong}", file=sys.stderr)
        return EXIT_USAGE
    request = _release_request(options)
    for warning in release.build(request):
        print(warning, file=sys.stderr)
    if options.publish:
        _put_into_store(request.manifest, request.version, request.output)
    return EXIT_DONE


def _source(options: argparse.Namespace) -> int:
    from kitsune_tool import files

    print(files.shown(_manifest(options)[1].source))
    return EXIT_DONE


def _flags(options: argparse.Namespace) -> int:
    from kitsune_tool import launcher, resources

    words = []
    if options.cflags or not options.libs:
        words.append(f"-I{resources.include_dir()}")
    if options.libs or not options.cflags:
        words.append(str(launcher.plain_archive(launcher.default_compiler())))
    print(shlex.join(words))
    return EXIT_DONE


def _wrong_release_options(options: argparse.Namespace) -> str | None:
    if options.program is not None:
        return "--program and --objects exclude each other" if options.objects else None
    if not options.objects:
        return "--program, or --objects with at least one object, is missing"
    return None if options.output else "--output is missing"


def _release_request(options: argparse.Namespace) -> Request:
    from kitsune_tool import linked, release
    from kitsune_tool.store import Store

    manifest, version = _manifest(options)
    store = Store(manifest.store, manifest.program)
    parents = options.parent or [store.release(parent) for parent in version.parents]
    if options.program is None:
        found = linked.Recipe(Path(), release.DEFAULT_COMPILER, tuple(options.objects))
    else:
        found = linked.read(options.program)
    output = options.output or options.program.parent / "release" / f"{manifest.program}.so"
    return release.Request(
        manifest=manifest,
        version=version,
        output=output,
        parents=() if options.unchained else tuple(parents),
        compiler=tuple(options.compiler or found.compiler),
        inputs=found.inputs,
        directory=found.directory,
    )


def _publish(options: argparse.Namespace) -> int:
    from kitsune_tool import files
    from kitsune_tool.store import file_digest

    stored = _put_into_store(*_manifest(options), options.release)
    if options.stamp is not None:
        files.write_if_changed(options.stamp, f"{file_digest(stored)}\n")
    return EXIT_DONE


def _put_into_store(manifest: Manifest, version: Version, built: Path) -> Path:
    """Publish a release, say so, and return where it is now."""
    from kitsune_tool import files, launcher
    from kitsune_tool.store import BACK, Store

    launcher.launcher_path()  # built now, so that the release's first start does not wait for it
    store = Store(manifest.store, manifest.program)
    is_new = store.publish(built, version)
    path = store.release(version.name)
    state = "released as" if is_new else "already released as"
    print(f"{manifest.program} {version.name} {state} {files.shown(path)}")
    for back in sorted((built.parent / BACK).glob(f"*/{manifest.program}.so")):
        to = back.parent.name
        is_new = store.publish_way_back(back, version)
        state = "released as" if is_new else "already released as"
        place = files.shown(store.way_back(version.name, to))
        print(f"{manifest.program} {version.name} back to {to} {state} {place}")
    return path


def _seal(options: argparse.Namespace) -> int:
    from kitsune_tool import seal

    seal.seal(options.release)
    return EXIT_DONE


def _inspect(options: argparse.Namespace) -> int:
    from kitsune_tool import inspection

    if options.json:
        print(json.dumps(inspection.as_data(options.file)))
    else:
        print(inspection.as_text(options.file))
    return EXIT_DONE


def _report(options: argparse.Namespace) -> int:
    from kitsune_tool import files, reportpage

    data = _read_report(options)
    match options.format:
        case "json":
            text = json.dumps(data, indent=1) + "\n"
        case "html":
            text = reportpage.as_page(data)
        case _:
            text = reportpage.as_text(data)
    if options.output is None:
        print(text, end="")
    else:
        files.write_if_changed(options.output, text)
    return EXIT_DONE


def _read_report(options: argparse.Namespace) -> dict[str, Any]:
    """Return the report beside a release. Raises K224."""
    from kitsune_tool.report import FORMAT
    from kitsune_tool.store import REPORT_JSON, Store

    path = Path(options.release)
    if not path.exists() and os.sep not in options.release:
        with contextlib.suppress(KitsuneError):
            manifest, _ = _manifest(argparse.Namespace(manifest=options.manifest, version=None))
            path = Store(manifest.store, manifest.program).release(options.release)
    try:
        data = json.loads((path.parent / REPORT_JSON).read_text(encoding="utf-8"))
        if data["kitsune_report"] == FORMAT:
            return dict(data)
        why = f"has a report of format {data['kitsune_report']}, not {FORMAT}"
    except OSError:
        why = "has no report beside it"
    except (ValueError, KeyError, TypeError):
        why = "has a report beside it that this Kitsune cannot read"
    raise KitsuneError(
        "K224",
        f"{options.release} {why}",
        hint="reports lie where the release was built, and in the store",
    )


def _convert(options: argparse.Namespace) -> int:
    from kitsune_tool import files, rulefile

    text = rulefile.convert(options.file, options.to).encode("utf-8", "surrogateescape")
    if options.output is None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    else:
        files.write_if_changed(options.output, text)
    return EXIT_DONE


def _explain(options: argparse.Namespace) -> int:
    from kitsune_tool import explain

    print(explain.listing() if options.code is None else explain.explain(options.code), end="")
    return EXIT_DONE


def _test_update(options: argparse.Namespace) -> int:
    from kitsune_tool import matrix

    manifest, version = _manifest(options)
    return matrix.run(
        matrix.Request(
            manifest=manifest,
            version=version,
            release=options.release,
            parents=tuple(options.parents or ()),
            driver=options.driver,
            at=tuple(options.at or ()),
            cells=options.cells,
            directory=options.output or Path("build/test-update"),
            as_json=options.json,
        )
    )


def _self_test(options: argparse.Namespace) -> int:
    from kitsune_tool import selftest

    if options.rounds < 1:
        print("kitsune self-test: --rounds must be at least 1", file=sys.stderr)
        return EXIT_USAGE
    manifest, version = _manifest(options)
    return selftest.run(
        selftest.Request(
            manifest=manifest,
            version=version,
            release=options.release,
            parents=tuple(options.parents or ()),
            only=tuple(options.only or ()),
            seed=secrets.randbelow(_SEEDS) if options.seed is None else options.seed % _SEEDS,
            rounds=options.rounds,
            as_json=options.json,
        )
    )


def _split_release(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Take the two lists of compiler arguments, which argparse cannot tell from ours, apart."""
    lists: dict[str, list[str]] = {}
    own: list[str] = []
    current = own
    for word in words:
        if word in {"--compiler", "--objects"} and word[2:] not in lists:
            current = lists.setdefault(word[2:], [])
        else:
            current.append(word)
    return own, lists


if __name__ == "__main__":
    sys.exit(main())
