"""Build the launcher and the objects of the release side, once for each compiler.

In: a compiler's command; out: paths of files in the user's cache, under a name that is a digest of
all they are made from, so that they are never stale and never rebuilt. Called by release.py, the
SCons tool and cli.py.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kitsune_tool import elf, files, resources, toolchain
from kitsune_tool.errors import KitsuneError, Location

LAUNCHER = "kitsune-launcher"
PLAIN = "libkitsune-plain.a"
_RELEASE_SIDE = ("by_hand.c", "release.c", "wrap.c", "closures.c", "published.c", "stackvars.c")
_PLAIN_SIDE = ("plain.c", "closures.c", "published.c", "stackvars.c")
_SELF_TEST = ("self_test.c",)
_MACHINES = ("x86_64", "aarch64")
"""Of each there are sources of the launcher whose names end in `_MACHINE`."""
_MACHINE_PROBE = """
#if defined(__x86_64__) && defined(__LP64__)
known x86_64
#elif defined(__aarch64__) && defined(__LP64__) && defined(__AARCH64EL__)
known aarch64
#endif
"""
_LIBC_PROBE = """
#include <features.h>
#if defined(__GLIBC__)
known glibc
#else
known other
#endif
"""
_COMMON_FLAGS = ("-std=gnu11", "-O2", "-g", "-fvisibility=hidden", "-Wall", "-Wextra")
_RELEASE_FLAGS = ("-fPIC", "-g0")
"""A release's bytes must not depend on where the tool is installed: no debug information."""
_LAUNCHER_FLAGS = ("-fPIE", "-fno-stack-protector")
_FLAGS_OF_MACHINE = {"x86_64": ("-fcf-protection=branch",), "aarch64": ("-mbranch-protection=bti",)}
"""No stack protector: its failure would abort the program while a rollback runs. No shadow stack:
switching between versions would break it."""
_LAUNCHER_LINK = (
    "-pie",
    "-Wl,-z,relro,-z,now",
    "-Wl,--export-dynamic-symbol=kitsune_launcher_table",
    "-Wl,--export-dynamic-symbol=pthread_cancel",
    "-ldl",
    "-lpthread",
)
_WRAPPED = re.compile(r"^\s*(?:[XVN]\([^,]+,\s*|L\()(\w+),", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Part:
    """Files that are built together: their name in the cache, sources, flags, and what results,
    which is `whole` if something is made of the objects.
    """

    name: str
    sources: tuple[Path, ...]
    flags: tuple[str, ...]
    whole: str | None = None

    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files that result."""
        if self.whole is not None:
            return (self.whole,)
        return tuple(f"{source.stem}.o" for source in self.sources)


def launcher_path(compiler: Sequence[str] = ()) -> Path:
    """Return the launcher's executable, built by this compiler (by default the user's).

    Raises `KitsuneError` if the compiler is missing or refuses.
    """
    command = tuple(compiler) or default_compiler()
    return _built(_launcher_part(command), command)[0]


def check_machine(release: Path) -> None:
    """Raise `KitsuneError` if the user's compiler makes programs for another machine than this."""
    compiler = default_compiler()
    ours, its = _machine(compiler), elf.machine(release)
    if its in _MACHINES and ours in _MACHINES and its != ours:
        raise KitsuneError(
            "K403",
            f"the release is for {its}, but '{' '.join(compiler)}' makes programs for {ours}",
            at=Location(files.shown(release)),
            hint="do this on a machine of its kind; or name a compiler for it in KITSUNE_CC, if\n"
            "programs for it run here (binfmt_misc and an emulator)",
        )


def release_objects(compiler: Sequence[str]) -> list[Path]:
    """Return the objects to link into each release, with `wrap_flags`.

    Raises `KitsuneError` if no launcher could load what it makes.
    """
    _machine(tuple(compiler))
    sources = tuple(_source(name) for name in _RELEASE_SIDE)
    return _built(_Part("release", sources, _RELEASE_FLAGS), tuple(compiler))


def self_test_objects(compiler: Sequence[str]) -> list[Path]:
    """Return the objects to link with the tables of a self-test."""
    sources = tuple(resources.templates_dir() / name for name in _SELF_TEST)
    return _built(_Part("self-test", sources, _RELEASE_FLAGS), tuple(compiler))


def plain_archive(compiler: Sequence[str]) -> Path:
    """Return the archive to link into a plain executable: the API as no-ops."""
    return _built(_Part("plain", plain_sources(), _RELEASE_FLAGS, PLAIN), tuple(compiler))[0]


def plain_sources() -> tuple[Path, ...]:
    """Return the C files of that archive."""
    return tuple(_source(name) for name in _PLAIN_SIDE)


def wrapped_calls() -> tuple[str, ...]:
    """Return the names of the calls that a release makes through the launcher, from calls.h."""
    return tuple(_WRAPPED.findall(_source("calls.h").read_text(encoding="utf-8")))


def wrap_flags() -> list[str]:
    """Return what the link of a release needs so that those calls are caught."""
    return [f"-Wl,--wrap={name}" for name in wrapped_calls()]


def default_compiler() -> tuple[str, ...]:
    """Return the user's compiler: `$KITSUNE_CC`, or gcc."""
    return tuple(os.environ.get("KITSUNE_CC", "").split()) or ("gcc",)


def cache_dir() -> Path:
    """Return the directory of the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "kitsune"


def _source(name: str) -> Path:
    return resources.runtime_source_dir() / name


def launcher_sources(compiler: Sequence[str] = ()) -> tuple[Path, ...]:
    """Return the launcher's own C and assembly, of the runtime's sources."""
    return _launcher_part(tuple(compiler) or default_compiler()).sources


def _launcher_part(compiler: tuple[str, ...]) -> _Part:
    machine = _machine(compiler)
    other = {*_RELEASE_SIDE, *_PLAIN_SIDE}
    others = tuple(f"_{each}" for each in _MACHINES if each != machine)
    found = sorted(
        path
        for path in resources.runtime_source_dir().iterdir()
        if path.suffix in {".c", ".S"} and path.name not in other and not path.stem.endswith(others)
    )
    flags = [*_LAUNCHER_FLAGS, *_FLAGS_OF_MACHINE.get(machine, ())]
    return _Part("launcher", tuple(found), tuple(flags), LAUNCHER)


@functools.cache
def _machine(compiler: tuple[str, ...]) -> str:
    """Return for which machine this compiler makes programs; KitsuneError if for none of ours."""
    _identity(compiler)
    command = " ".join(compiler)
    machine = _preprocessed(compiler, _MACHINE_PROBE)
    if machine == "":
        raise KitsuneError(
            "K401",
            f"'{command}' makes programs for a machine that the runtime does not know",
            hint="it knows x86-64 and little-endian AArch64, both with 64-bit pointers; name a\n"
            "compiler for one of them, e.g. KITSUNE_CC=aarch64-linux-gnu-gcc",
        )
    if _preprocessed(compiler, _LIBC_PROBE) == "other":
        raise KitsuneError(
            "K402",
            f"'{command}' makes programs for a libc that is not glibc",
            hint="build the program, and its releases, against glibc",
        )
    return machine


def _preprocessed(compiler: tuple[str, ...], probe: str) -> str:
    """Return what the preprocessor says is known; `?` if it fails, which a compile will tell."""
    command = (*compiler, "-E", "-P", "-x", "c", "-")
    asked = toolchain.run(command, stdin=probe.encode(), capture_stdout=True)
    found = re.findall(r"^known (\w+)$", asked.stdout.decode(errors="replace"), re.MULTILINE)
    return "?" if asked.status != 0 else "".join(found)


def _built(part: _Part, compiler: tuple[str, ...]) -> list[Path]:
    """Return the part's files, building them if the cache does not have them."""
    directory = cache_dir() / f"{part.name}-{_digest(part, compiler)}"
    if not directory.is_dir():
        _build(part, compiler, directory)
    return [directory / name for name in part.outputs()]


def _digest(part: _Part, compiler: tuple[str, ...]) -> str:
    digest = hashlib.sha256(_identity(compiler))
    digest.update(repr((compiler, _COMMON_FLAGS, part.flags, _LAUNCHER_LINK)).encode())
    headers = [
        *resources.runtime_source_dir().glob("*.h"),
        *resources.include_dir().glob("*.h"),
        *resources.templates_dir().glob("*.h"),
    ]
    for path in (*part.sources, *sorted(headers)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


@functools.cache
def _identity(compiler: tuple[str, ...]) -> bytes:
    """Return what the compiler says of itself: an upgrade of it builds anew."""
    try:
        return toolchain.run((*compiler, "--version"), capture_stdout=True).stdout
    except OSError as error:
        raise KitsuneError(
            "K380",
            f"the compiler '{compiler[0]}' cannot be run: {error.strerror}",
            hint="install it (Debian, Ubuntu: apt install gcc), or name another in KITSUNE_CC",
        ) from error


def _build(part: _Part, compiler: tuple[str, ...], directory: Path) -> None:
    with _staging(directory) as staging:
        objects = [_compile(part, compiler, source, staging) for source in part.sources]
        if part.whole is None:
            return
        target = str(staging / part.whole)
        if part.whole == LAUNCHER:
            _run((*compiler, "-o", target, *map(str, objects), *_LAUNCHER_LINK))
        else:
            archiver = toolchain.run((*compiler, "-print-prog-name=ar"), capture_stdout=True)
            _run((archiver.stdout.decode().strip(), "rcD", target, *map(str, objects)))
        for path in objects:
            path.unlink()


@contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    """Give a new directory that becomes `directory` by one rename.

    Whoever comes second, when two build at once, finds it there: both are equal, one is dropped.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield staging
        staging.chmod(0o755)
        try:
            staging.rename(directory)
        except OSError:
            if not directory.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _compile(part: _Part, compiler: tuple[str, ...], source: Path, directory: Path) -> Path:
    target = directory / f"{source.stem}.o"
    if target.exists():
        target = directory / f"{source.stem}.S.o"
    _run(
        (
            *compiler,
            *_COMMON_FLAGS,
            *part.flags,
            f"-I{resources.include_dir()}",
            *("-c", "-o", str(target), str(source)),
        )
    )
    return target


def _run(command: Sequence[str]) -> None:
    done = toolchain.run(command)
    if done.status != 0:
        complaints = done.stderr.decode(errors="replace").strip()
        raise KitsuneError(
            "K381",
            "the compiler refuses the runtime's own sources",
            said=complaints,
            hint="Kitsune's runtime needs gcc or clang for Linux on x86-64 or AArch64, with glibc",
        )
