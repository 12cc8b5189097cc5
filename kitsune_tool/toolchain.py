"""What a compiler's command line asks for, and running the compiler.

In: the arguments as a build gives them to gcc or clang. Out: `Command`, which says whether C is
compiled and from what to what, and command lines for parts of that work. Nothing is looked at but
the arguments and response files. Called by preprocess.py, cc.py and whoever runs the compiler.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, TypeAlias

from kitsune_tool.errors import Location

Action: TypeAlias = Literal["pass", "headers", "preprocess", "compile", "assembly", "link"]
"""`pass`: nothing of ours. `headers`: kitsune.h must be found, no more (-M, -fsyntax-only).
`preprocess` is -E, `compile` -c, `assembly` -S, `link` all the way from C."""

STANDARD_INPUT = "-"

_SEPARATE = frozenset((
    "-o", "-x", "-I", "-D", "-U", "-A", "-L", "-l", "-T", "-u", "-z", "-e", "-h", "-B", "-G", "-b",
    "-V", "-MF", "-MT", "-MQ", "-MJ", "-include", "-imacros", "-isystem", "-iquote", "-idirafter",
    "-iprefix", "-iwithprefix", "-iwithprefixbefore", "-isysroot", "-imultilib", "-imultiarch",
    "-iplugindir", "--sysroot", "--param", "-specs", "--specs", "-aux-info", "-dumpbase",
    "-dumpbase-ext", "-dumpdir", "-wrapper", "-Xlinker", "-Xpreprocessor", "-Xassembler", "-Xclang",
    "-mllvm", "-arch", "-target", "-framework", "-undefined", "-install_name", "-gcc-toolchain",
    "--output", "--include", "--define-macro", "--undefine-macro", "--include-directory",
))  # fmt: skip
"""Options whose value may be the next argument."""

_JOINED = ("-MF", "-MT", "-MQ", "-o", "-x", "-I", "-D", "-U", "-A", "-L", "-l")
"""Options of those whose value may also be joined to them."""

_WORDS_OF_PREPROCESSOR = frozenset((
    "-M", "-MM", "-MD", "-MMD", "-MP", "-MG", "-MF", "-MT", "-MQ", "-MJ", "-H", "-C", "-CC", "-P",
    "-E", "-undef", "-remap", "-trigraphs", "-nostdinc", "-include", "-imacros", "-isystem",
    "-iquote", "-idirafter", "-iprefix", "-iwithprefix", "-iwithprefixbefore", "-isysroot",
    "-imultilib", "-imultiarch", "-Xpreprocessor", "-D", "-U", "-I", "-A", "-fdirectives-only",
    "-fno-directives-only", "-fpch-preprocess", "--include", "--define-macro", "--undefine-macro",
    "--include-directory",
))  # fmt: skip
_STARTS_OF_PREPROCESSOR = (
    "-D", "-U", "-I", "-A", "-Wp,", "-isystem", "-iquote", "-idirafter", "-include", "-imacros",
    "-isysroot", "-MF", "-MT", "-MQ", "-fmacro-prefix-map=",
)  # fmt: skip
"""What only the first step, which runs the preprocessor, may see."""

_PREPROCESSOR_OUTPUT = frozenset((
    "-C", "-CC", "-P", "-fdirectives-only", "-fno-directives-only",
))  # fmt: skip
"""Options that change the form of preprocessed text and mean nothing in a compile."""

_ONLY_ANSWER = re.compile(
    r"-###$|--version$|--help|--target-help$|-dumpmachine$|-dumpversion$|-dumpfullversion$"
    r"|-dumpspecs$|-print-|--print-"
)
_AUXILIARY = re.compile(
    r"-save-temps|--save-temps|-fdump-|-d[a-zA-Z]|-fstack-usage$|-fcallgraph-info|-ftest-coverage$"
    r"|--coverage$|-coverage$|-fprofile-|-fbranch-prob|-fauto-profile|-gsplit-dwarf$|-fopt-info"
    r"|-fdiagnostics-format=.*-file|-fcoverage-"
)
"""Options by which the compiler writes or reads further files, named after its input or output."""

_TARGET = ("-m32", "-m64", "-mx32", "-mbig-endian", "-mlittle-endian")
_STARTS_OF_TARGET = ("--target=", "-mabi=", "--sysroot=", "--gcc-toolchain=", "-specs=", "--specs=")
_SEPARATE_TARGET = ("-target", "--sysroot", "-gcc-toolchain", "-isysroot")

_SAVE_TEMPS = ("-save-temps", "--save-temps")
_PREFIX_MAPS = ("-ffile-prefix-map=", "-fdebug-prefix-map=", "-fmacro-prefix-map=")

_LANGUAGES = {".c": "c", ".i": "cpp-output"}
_SOURCE_SUFFIXES = frozenset((
    ".c", ".i", ".s", ".S", ".sx", ".cc", ".cpp", ".cxx", ".C", ".m", ".f", ".f90", ".d", ".go",
))  # fmt: skip
_OURS = ("c", "cpp-output")
_LAUNCHERS = ("ccache", "sccache", "distcc", "icecc")


@dataclass(frozen=True, slots=True)
class Source:
    """An input of the compiler. `path` is as given; `explicit` if -x gave the language."""

    path: str
    position: int
    """Its index in `Command.arguments`."""
    language: str
    explicit: bool

    @property
    def is_c(self) -> bool:
        """Tell whether the front-end is to see it."""
        return self.language in _OURS

    @property
    def stem(self) -> str:
        """Return the name that outputs get for want of -o."""
        return PurePath(self.path).stem


@dataclass(frozen=True, slots=True)
class Command:
    """A compiler's command line, understood. `compiler` may be several words (`ccache gcc`)."""

    compiler: tuple[str, ...]
    original: tuple[str, ...]
    arguments: tuple[str, ...]
    """`original` with response files expanded."""
    action: Action
    sources: tuple[Source, ...]
    """Inputs, those that go to the linker as they are included."""
    output: str | None

    @property
    def c_sources(self) -> tuple[Source, ...]:
        """Return the inputs that the front-end is to see."""
        return tuple(source for source in self.sources if source.is_c)

    def has(self, *options: str) -> bool:
        """Tell whether one of the options is given."""
        return any(argument in options for argument in self.arguments)

    @property
    def is_verbose(self) -> bool:
        """Tell whether the compiler is asked to show what it does."""
        return self.has("-v", "--verbose")

    @property
    def has_auxiliary_files(self) -> bool:
        """Tell whether files beside the object are written or read (-save-temps, coverage …)."""
        return any(_AUXILIARY.match(argument) for argument in self.arguments)

    @property
    def writes_dependencies(self) -> bool:
        """Tell whether a dependency file is a by-product."""
        return self.has("-MD", "-MMD")

    def output_of(self, source: Source) -> str:
        """Return the object (or, for -S, assembly file) made of `source`."""
        return self.output or source.stem + (".s" if self.action == "assembly" else ".o")


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run of a compiler."""

    status: int
    stdout: bytes
    stderr: bytes


def parse(compiler: Sequence[str], arguments: Sequence[str]) -> Command:
    """Return what the command line asks for."""
    # clang's mark between options and inputs: what we add is an option behind it
    words = tuple(word for word in expanded(arguments) if word != "--")
    sources: list[Source] = []
    output: str | None = None
    language = "none"
    for position, option, value in _walk(words):
        if option == "-x":
            language = value
        elif option in ("-o", "--output"):
            output = value
        elif not option:
            explicit = language != "none"
            by_suffix = _LANGUAGES.get(PurePath(value).suffix, "")
            sources.append(Source(value, position, language if explicit else by_suffix, explicit))
    action = _action(words, sources, output)
    return Command(tuple(compiler), tuple(arguments), words, action, tuple(sources), output)


def _action(arguments: Sequence[str], sources: Sequence[Source], output: str | None) -> Action:
    """Return the action; where one option hides another, as gcc decides it."""
    given = set(arguments)
    if not any(source.is_c for source in sources) or any(map(_ONLY_ANSWER.match, arguments)):
        return "pass"
    if given & {"-M", "-MM", "-fsyntax-only"}:
        return "headers"
    if "-E" in given:
        return "preprocess"
    if given & {"-S", "-c"}:
        if output is not None and len(sources) > 1:
            return "pass"  # an error, which the compiler words
        return "assembly" if "-S" in given else "compile"
    return "link"


def split_compiler(arguments: Sequence[str], default: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Return the compiler's words and how many of `arguments` they are.

    The first argument names the compiler if it is neither an option nor an input of one; with
    `CC=kitsune-cc` it is one of those, and the compiler is `default`.
    """
    if not arguments or not _names_program(arguments[0]):
        return tuple(default), 0
    if PurePath(arguments[0]).name in _LAUNCHERS and len(arguments) > 1:
        return tuple(arguments[:2]), 2
    return (arguments[0],), 1


def target_options(options: Sequence[str]) -> tuple[str, ...]:
    """Return those of a compiler's options that say for which machine and libc it works."""
    found: list[str] = []
    for option, following in zip(options, (*options[1:], ""), strict=False):
        if option in _SEPARATE_TARGET:
            found += (option, following)
        elif option in _TARGET or option.startswith(_STARTS_OF_TARGET):
            found.append(option)
    return tuple(found)


def _names_program(argument: str) -> bool:
    if argument.startswith(("-", "@")):
        return False
    if re.search(
        r"\.(c|i|s|S|h|o|a|so|lo|la|obj|cc|cpp|cxx|C|sx|m|f|ld|map)(\.[0-9.]+)?$", argument
    ):
        return False
    if os.sep in argument:
        return Path(argument).is_file() and os.access(argument, os.X_OK)
    return any(
        os.access(Path(directory or ".", argument), os.X_OK)
        for directory in os.environ.get("PATH", os.defpath).split(os.pathsep)
    )


def _walk(arguments: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Yield (index, option, its value); the option is empty for an input.

    Options without a known separate or joined value come whole, with an empty value.
    """
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        width = 1
        if argument == STANDARD_INPUT or not argument.startswith("-"):
            yield index, "", argument
        elif argument in _SEPARATE and index + 1 < len(arguments):
            width = 2
            yield index, argument, arguments[index + 1]
        else:
            yield index, *_split_joined(argument)
        index += width


def _split_joined(argument: str) -> tuple[str, str]:
    for option in _JOINED:
        if argument.startswith(option) and argument != option:
            return option, argument[len(option) :]
    for option in ("--output=", "--sysroot="):
        if argument.startswith(option):
            return option[:-1], argument[len(option) :]
    return argument, ""


def _width(option: str, argument: str) -> int:
    """Return how many arguments an option that `_walk` yields is made of."""
    return 2 if option and option == argument and option in _SEPARATE else 1


def expanded(arguments: Iterable[str], depth: int = 0) -> Iterator[str]:
    """Yield the arguments of a command, `@file` replaced by the words in it if there is one."""
    for argument in arguments:
        path = argument[1:]
        if argument.startswith("@") and depth < 20 and Path(path).is_file():
            text = Path(path).read_bytes().decode("latin-1")
            words = (
                word.encode("latin-1").decode(errors="surrogateescape") for word in _words(text)
            )
            yield from expanded(words, depth + 1)
        else:
            yield argument


_WORD = re.compile(
    r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*+(?:"|\Z)|'(?:[^'\\]|\\.)*+(?:'|\Z))++""", re.S
)
_WORD_PART = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*+)"?|'((?:[^'\\]|\\.)*+)'?|([^\s"'\\]+)""", re.S)


def _words(text: str) -> Iterator[str]:
    """Split a response file as libiberty's `buildargv` does: a backslash quotes everywhere."""
    for word in _WORD.findall(text):
        parts = []
        for escaped, double, single, plain in _WORD_PART.findall(word):
            parts.append(escaped or plain or re.sub(r"\\(.)", r"\1", double or single, flags=re.S))
        yield "".join(parts)


def _without(
    command: Command, words: Iterable[str] = (), starts: tuple[str, ...] = ()
) -> list[str]:
    """Return the options of a command without its inputs, -x, -o and those named here."""
    dropped = {"-x", "-o", "--output", "", *words}
    result: list[str] = []
    for index, option, value in _walk(command.arguments):
        argument = command.arguments[index]
        if option in dropped or argument in dropped or (starts and argument.startswith(starts)):
            continue
        result += [argument, value] if _width(option, argument) == 2 else [argument]
    return result


_STEP_WORDS = ("-c", "-S", "-E", "-v", "--verbose")


def options(command: Command) -> Iterator[tuple[str, list[str]]]:
    """Yield each option or input of a command with the arguments that it is made of."""
    for index, option, value in _walk(command.arguments):
        argument = command.arguments[index]
        yield option, [argument, value] if _width(option, argument) == 2 else [argument]


_DEPENDENCY_WORDS = ("-MD", "-MMD", "-MP", "-MG", "-MF", "-MT", "-MQ", "-MJ", "-M", "-MM")


def unit_options(command: Command) -> list[str]:
    """Return the options that say how code of the program is compiled, and nothing of outputs."""
    dropped = (*_STEP_WORDS, *_DEPENDENCY_WORDS, *_PREPROCESSOR_OUTPUT, "-pipe")
    return [
        argument
        for argument in _without(command, dropped, ("-Wp,-M", *_SAVE_TEMPS, *_PREFIX_MAPS))
        if not _AUXILIARY.match(argument)
    ]


_PIC = re.compile(r"-f(no-)?(pic|PIC|pie|PIE)$")


def relocatable(words: Sequence[str]) -> list[str]:
    """Return a command's arguments so that what they compile can be linked to a shared object."""
    chosen = [word for word in words if _PIC.match(word)]
    return [*words, *([] if chosen and chosen[-1] in ("-fpic", "-fPIC") else ["-fPIC"])]


def is_link(command: Command) -> bool:
    """Tell whether a program or shared library is linked, from at least one object or archive."""
    if command.action != "pass" or any(map(_ONLY_ANSWER.match, command.arguments)):
        return False
    if command.has("-c", "-S", "-E", "-M", "-MM", "-fsyntax-only", "-r", "-nostdlib"):
        return False
    suffixes = [PurePath(source.path).suffix for source in command.sources]
    return any(suffix in (".o", ".a", ".obj") for suffix in suffixes) and not any(
        source.language or not suffix or suffix in _SOURCE_SUFFIXES
        for source, suffix in zip(command.sources, suffixes, strict=True)
    )


def preprocessing_options(command: Command) -> list[str]:
    """Return the options under which a source of `command` is preprocessed, dependency options
    included, without -E itself.
    """
    dumps = tuple(f"-d{letter}" for letter in "MDINU")
    return _without(
        command,
        (*_STEP_WORDS, *_PREPROCESSOR_OUTPUT, *dumps, "-dumpbase", "-dumpbase-ext", "-dumpdir"),
        _SAVE_TEMPS,
    )


def without_dependencies(options: Sequence[str]) -> list[str]:
    """Return preprocessing options without those that write a dependency file."""
    result = []
    for index, option, value in _walk(options):
        argument = options[index]
        if option in _DEPENDENCY_WORDS:
            continue
        if re.match(r"-Wp,-MM?D", argument):
            continue
        result += [argument, value] if _width(option, argument) == 2 else [argument]
    return result


def compiling_options(command: Command) -> list[str]:
    """Return the options under which preprocessed text is compiled, without -c or -S."""
    return _without(
        command,
        (*_STEP_WORDS, *_WORDS_OF_PREPROCESSOR, *(f"-d{letter}" for letter in "MDINU")),
        _STARTS_OF_PREPROCESSOR,
    )


def single(command: Command, source: Source) -> list[str]:
    """Return the arguments of the plain command for this one source, without an output."""
    kept = _without(command)
    return [*kept, *_language_option(source), source.path]


def _language_option(source: Source) -> list[str]:
    return ["-x", source.language] if source.explicit else []


def linking(command: Command, objects: dict[int, str]) -> list[str]:
    """Return the arguments that link, with the sources at these positions replaced by objects.

    Inputs keep their order; an input of another language keeps its -x.
    """
    result: list[str] = []
    sources = {source.position: source for source in command.sources}
    for index, option, value in _walk(command.arguments):
        argument = command.arguments[index]
        if option == "-x":
            continue
        if index in objects:
            result.append(objects[index])
        elif index in sources and sources[index].explicit:
            result += ["-x", sources[index].language, value, "-x", "none"]
        else:
            result += [argument, value] if _width(option, argument) == 2 else [argument]
    return result


def dependency_options(command: Command, source: Source) -> list[str]:
    """Return the options that make -E write the dependency file which the plain command writes.

    gcc derives the names of file and target from the output unless they are given; with -E there is
    none, so that they must be said.
    """
    if not command.writes_dependencies:
        return _target_for_wp(command, source)
    options = {option for _, option, _ in _walk(command.arguments)}
    file, target = _dependency_names(command, source)
    result = [] if "-MF" in options else ["-MF", file]
    return result if options & {"-MT", "-MQ"} else [*result, "-MQ", target]


def _target_for_wp(command: Command, source: Source) -> list[str]:
    """Return the target that clang, unlike gcc, takes from -o for `-Wp,-MD,FILE`."""
    named = [argument for argument in command.arguments if _WP_FILE.match(argument)]
    if not named or ",-M" in named[0][len("-Wp,-M") :] or not is_clang(command.compiler):
        return []
    return ["-MQ", command.output_of(source)]


def _dependency_names(command: Command, source: Source) -> tuple[str, str]:
    if command.action == "link":
        told = _told_by_compiler(command, source)
        file = re.findall(r"-MM?D (\S+)", told)
        target = re.findall(r"-MQ (\S+)", told)
        if file:
            return file[0], target[0] if target else source.stem + ".o"
    output = command.output_of(source)
    if command.action == "assembly" and command.output is None:
        return source.stem + ".d", source.stem + ".o"
    return str(PurePath(output).with_suffix(".d")), output


_WP_FILE = re.compile(r"-Wp,-MM?D,([^,]+)")


def dependency_file(command: Command, source: Source) -> str | None:
    """Return the name of the dependency file that is a by-product, None if there is none."""
    for argument in command.arguments:
        found = _WP_FILE.match(argument)
        if found:
            return found[1]
    if not command.writes_dependencies:
        return None
    named = [value for _, option, value in _walk(command.arguments) if option == "-MF"]
    return named[-1] if named else _dependency_names(command, source)[0]


def with_dependency(rule: str, path: str) -> str:
    """Return the text of a dependency file with one more file among its first rule's."""
    name = re.sub(r"([ #])", r"\\\1", path).replace("$", "$$")
    end = re.search(r"(?<!\\)\n", rule)
    if end is None:
        return rule
    phony = f"\n{name}:\n" if rule.endswith(":\n") else ""  # -MP
    return f"{rule[: end.start()]} \\\n {name}{rule[end.start() :]}{phony}"


def auxiliary_options(command: Command, source: Source) -> list[str]:
    """Return the options by which gcc names files beside the object as in the plain command."""
    told = _told_by_compiler(command, source)
    result: list[str] = []
    for option in ("-dumpdir", "-dumpbase", "-dumpbase-ext"):
        found = re.findall(rf'{option} (".*?"|\S+)', told)
        if found:
            result += [option, found[0].strip('"')]
    return result


def kept_text(command: Command, source: Source) -> str | None:
    """Return where -save-temps keeps the preprocessed text of `source`, None if it is not given."""
    if not keeps_texts(command):
        return None
    options = auxiliary_options(command, source)
    named = dict(zip(options[::2], options[1::2], strict=True))
    base = named.get("-dumpbase", PurePath(source.path).name)
    return named.get("-dumpdir", "") + base.removesuffix(named.get("-dumpbase-ext", ".c")) + ".i"


def kept_text_of_clang(command: Command, source: Source) -> str:
    """Return the same for clang, which names its other files after this one."""
    shown = run([*command.compiler, "-###", *command.arguments]).stderr.decode()
    made = re.findall(r'"-E" .*"-o" "([^"]*)"', shown)
    index = [each.position for each in command.c_sources].index(source.position)
    return made[index] if index < len(made) else source.stem + ".i"


def keeps_texts(command: Command) -> bool:
    """Tell whether -save-temps is given."""
    return any(argument.startswith(_SAVE_TEMPS) for argument in command.arguments)


def _told_by_compiler(command: Command, source: Source) -> str:
    """Return the command line by which the driver would compile `source`, as -### prints it."""
    shown = run(
        [*command.compiler, "-###", *command.arguments], capture_stdout=True
    ).stderr.decode()
    lines = [
        line
        for line in shown.splitlines()
        if re.match(r"\s\S*\b(cc1|clang)\b", line) and " -E " not in line
    ]
    index = [each.position for each in command.c_sources].index(source.position)
    return lines[index] if index < len(lines) else ""


def is_clang(compiler: Sequence[str]) -> bool:
    """Tell whether a compiler is clang, under whatever name."""
    done = run([*compiler, "--version"], capture_stdout=True)
    return b"clang" in done.stdout


def run(
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    capture_stdout: bool = False,
    cwd: str | None = None,
) -> Done:
    """Run a compiler to its end; its complaints are kept, its output only if asked for.

    Without `stdin` it reads ours. A signal that kills it gives the status that a shell gives.
    """
    process = subprocess.run(
        arguments,
        input=stdin,
        stdout=subprocess.PIPE if capture_stdout else None,
        stderr=subprocess.PIPE,
        cwd=cwd,
        check=False,
    )
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Done(status, process.stdout or b"", process.stderr)


_COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")
_ERROR = re.compile(
    r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+)(?::(?P<column>\d+))?: "
    r"(?:(?:fatal )?error: |undefined reference)",
    re.MULTILINE,
)


def first_error(complaints: str) -> Location | None:
    """Return the place of the first error that a compiler or linker tells, if it tells one."""
    found = _ERROR.search(_COLOUR.sub("", complaints))
    if found is None:
        return None
    return Location(found["file"], int(found["line"]), int(found["column"] or 0))


def colour_options(command: Command) -> list[str]:
    """Return what keeps diagnostics coloured although we, not the terminal, read them first."""
    chosen = any("diagnostics-color" in argument for argument in command.arguments)
    colourful = os.environ.get("TERM", "dumb") != "dumb" and os.environ.get("GCC_COLORS") != ""
    return (
        ["-fdiagnostics-color=always"] if not chosen and colourful and sys.stderr.isatty() else []
    )
