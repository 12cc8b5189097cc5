"""Upstream tarballs of Debian's source packages, for the examples and tests on real programs.

In: a package, the beginning of a version, suites. Out: the tarball in the user's cache. Callers:
the SConstructs under examples/, the tests marked `fetch`, and people (`fetch_source.py ngircd 27`).

The work is apt's, with its signatures and checksums, but with a source list, state and cache of our
own: the machine's lists stay untouched and nobody need be root. The mirror is the machine's own.
Only tarballs are asked for: a mirror often lacks the rest of a source package.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUITES = ("bookworm", "trixie", "forky", "sid")
APT_TIMEOUT_S = 600
_SIDE_SUITE = re.compile(r"/|-(security|updates|backports|proposed)")


class SourceUnavailable(Exception):
    """The source cannot be had at the moment; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A Debian archive that the machine is configured for."""

    uri: str
    options: str
    """What stands in brackets in a one-line source: `[signed-by=…]`, or empty."""


def fetch(package: str, version_prefix: str, suites: Sequence[str] = SUITES) -> Path:
    """Return the upstream tarball of `package` whose version begins with `version_prefix`.

    A prefix ends at a component: "27" finds 27-2, not 270. A tarball that is in the cache
    already is returned without asking anybody. Raises `SourceUnavailable`.
    """
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory / ".lock"):
        return _cached(directory, package, version_prefix) or _download(
            directory, package, version_prefix, suites
        )


def unpack(tarball: Path, directory: Path) -> Path:
    """Unpack `tarball` below `directory` and return the root of the source.

    Done already, nothing is done again; a half unpacked tree is never left under the final name.
    """
    root = directory / tarball.name.partition(".orig.tar")[0]
    if not root.exists():
        partial = directory / f".{root.name}.{os.getpid()}"
        partial.mkdir(parents=True)
        with tarfile.open(tarball) as archive:
            # Pythons before 3.11.4 have no filters; what apt has verified is safe without one too.
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            archive.extractall(partial)
        entries = list(partial.iterdir())
        only = entries[0] if len(entries) == 1 and entries[0].is_dir() else partial
        only.rename(root)
        if only is not partial:
            partial.rmdir()
    return root


def cache_directory() -> Path:
    """Return where tarballs are kept: `$XDG_CACHE_HOME/kitsune/sources`."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "kitsune" / "sources"


def machine_mirror(etc_apt: Path = Path("/etc/apt")) -> Mirror:
    """Return the first archive with the component main that the machine's apt is configured for.

    Security, update and backport suites are passed over: they are other archives, or parts of one.
    """
    files = [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]
    for file in files:
        if file.is_file() and file.suffix in (".list", ".sources"):
            text = file.read_text(encoding="utf-8", errors="replace")
            parse = _mirrors_of_stanzas if file.suffix == ".sources" else _mirrors_of_lines
            for mirror in parse(text):
                return mirror
    raise SourceUnavailable(f"no Debian archive with 'main' is configured in {etc_apt}")


def _mirrors_of_lines(text: str) -> Iterator[Mirror]:
    line_form = re.compile(r"deb(?:-src)?\s+(\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)")
    for line in text.splitlines():
        match = line_form.match(line.partition("#")[0].strip())
        if match and "main" in match[4].split() and not _SIDE_SUITE.search(match[3]):
            signed = re.search(r"signed-by=[^\s\]]+", match[1] or "")
            yield Mirror(match[2].rstrip("/"), f"[{signed[0]}]" if signed else "")


def _mirrors_of_stanzas(text: str) -> Iterator[Mirror]:
    without_comments = re.sub(r"^#.*\n", "", text, flags=re.M)
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(\S.*?)\s*$", stanza, re.M))
        suites = fields.get("Suites", "/").split()
        enabled = fields.get("Enabled", "yes").lower() not in ("no", "false", "0")
        if (
            enabled
            and "main" in fields.get("Components", "").split()
            and any(not _SIDE_SUITE.search(suite) for suite in suites)
        ):
            key = fields.get("Signed-By", "")
            for uri in fields.get("URIs", "").split():
                yield Mirror(uri.rstrip("/"), f"[signed-by={key}]" if key else "")


def _cached(directory: Path, package: str, prefix: str) -> Path | None:
    found = [
        path
        for path in sorted(directory.glob(f"{package}_*.orig.tar.*"))
        if not path.name.endswith((".asc", ".sig")) and _matches(_upstream(path), prefix)
    ]
    return found[-1] if found else None


def _upstream(tarball: Path) -> str:
    return tarball.name.partition("_")[2].partition(".orig.tar")[0]


def _matches(version: str, prefix: str) -> bool:
    """Whether the Debian version begins with `prefix`, at the end of a component of it."""
    without_epoch = version.partition(":")[2] or version
    return re.match(re.escape(prefix) + r"(?![0-9A-Za-z~])", without_epoch) is not None


def _download(directory: Path, package: str, prefix: str, suites: Sequence[str]) -> Path:
    wanted = f"{package} {prefix}"
    apt = _Apt(directory.parent / "apt", machine_mirror(), suites)
    apt.run(wanted, "apt-get", "update", "--error-on=any")
    shown = apt.run(wanted, "apt-cache", "showsrc", "--only-source", package)
    versions = list(dict.fromkeys(re.findall(r"^Version: (\S+)", shown, re.M)))
    matching = [version for version in versions if _matches(version, prefix)]
    if not matching:
        there = ", ".join(versions) or "no version at all"
        raise SourceUnavailable(f"{wanted}: {', '.join(suites)} have {there}")
    source = f"{package}={matching[0]}"
    apt.run(wanted, "apt-get", "source", "--download-only", "--tar-only", source, cwd=directory)
    tarball = _cached(directory, package, prefix)
    if tarball is None:
        raise SourceUnavailable(f"{wanted}: apt brought no upstream tarball for {source}")
    return tarball


class _Apt:
    """apt with directories of its own below `home`."""

    def __init__(self, home: Path, mirror: Mirror, suites: Sequence[str]) -> None:
        for each in ("lists/partial", "state", "cache/archives/partial"):
            (home / each).mkdir(parents=True, exist_ok=True)
        (home / "status").touch()
        lines = [f"deb-src {mirror.options} {mirror.uri} {suite} main\n" for suite in suites]
        (home / "sources.list").write_text("".join(lines), encoding="utf-8")
        settings = {
            "Dir::Etc::SourceList": home / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::Etc::PreferencesParts": "-",
            "Dir::State": home / "state",
            "Dir::State::Lists": home / "lists",
            "Dir::State::status": home / "status",
            "Dir::Cache": home / "cache",
            "Acquire::Languages": "none",
            # root's apt otherwise downloads as a user that cannot enter a home directory
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        }
        self._options = [f"-o{key}={value}" for key, value in settings.items() if value]

    def run(self, wanted: str, program: str, *arguments: str, cwd: Path | None = None) -> str:
        """Return what `program` prints; its last complaint is the reason if it fails."""
        try:
            done = subprocess.run(
                [program, "-q", *self._options, *arguments],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=APT_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            raise SourceUnavailable(f"{wanted}: this machine has no {program}") from None
        except subprocess.TimeoutExpired:
            raise SourceUnavailable(f"{wanted}: {program} took over {APT_TIMEOUT_S} s") from None
        if done.returncode != 0:
            complaints = [line for line in done.stderr.splitlines() if line.strip()] or ["failed"]
            raise SourceUnavailable(f"{wanted}: {program} {arguments[0]}: {'; '.join(complaints)}")
        return done.stdout


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep a second process from downloading at the same time; apt itself would fail, not wait."""
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str]) -> int:
    """Print the path of the tarball of the named package and version."""
    if len(arguments) < 2:
        print("usage: fetch_source.py PACKAGE VERSION [SUITE…]", file=sys.stderr)
        return 2
    try:
        print(fetch(arguments[0], arguments[1], tuple(arguments[2:]) or SUITES))
    except SourceUnavailable as error:
        print(f"fetch_source: cannot be had: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
