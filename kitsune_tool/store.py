"""The release store: `STORE/PROGRAM/VERSION/` with the release and what was built beside it; and
`STORE/PROGRAM/@back/VERSION/PARENT/` with a release that leads back.

In: a built release; out: its place in the store, for ever. The store is the source of truth for
parents: what lies there is never written again, and no build tool cleans it. A version is put there
by one rename, so it is there whole or not at all. Called by release.py, scons.py and cli.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsune_tool import files, ingredients, limits
from kitsune_tool.config import Version
from kitsune_tool.errors import KitsuneError, Location, Note
from kitsune_tool.limits import Limits

REPORT_TEXT = "report.txt"
REPORT_JSON = "report.json"
REPORT_PAGE = "report.html"
REPORTS = (REPORT_TEXT, REPORT_JSON, REPORT_PAGE)
DESCRIPTION = "release.json"
BACK = "back"
"""The directory, beside a built release, of those that lead back from it, by version."""
_WAYS_BACK = "@back"
"""That of a store, which no version can be called."""
CURRENT = "current"
"""A link beside the versions, to the one that a restart begins with."""


@dataclass(frozen=True, slots=True)
class ParentRelease:
    """A release that this one can follow: `build_id` is hexadecimal."""

    version: str
    build_id: str


@dataclass(frozen=True, slots=True)
class Description:
    """What `release.json` says. `digest` is the SHA-256 of the release's file, hexadecimal.

    A release that leads back to its version `stands_for` the version's own: its build-id. `limits`
    are those of an update to it, if the request says nothing else.
    """

    program: str
    version: str
    build_id: str
    parents: tuple[ParentRelease, ...]
    digest: str
    toolchain: tuple[tuple[str, str], ...]
    stands_for: str = ""
    limits: Limits = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object that is written; it holds no date and no path."""
        return {
            "kitsune": 1,
            "program": self.program,
            "version": self.version,
            "build_id": self.build_id,
            "parents": [
                {"version": parent.version, "build_id": parent.build_id} for parent in self.parents
            ],
            "digest": self.digest,
            "toolchain": dict(self.toolchain),
            **({"stands_for": self.stands_for} if self.stands_for else {}),
            **({"limits": dict(self.limits)} if self.limits else {}),
        }

    @classmethod
    def read(cls, path: Path) -> Description:
        """Read a `release.json`. Raises K220 if it is missing or not one of ours."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            parents = tuple(ParentRelease(p["version"], p["build_id"]) for p in data["parents"])
            return cls(
                data["program"],
                data["version"],
                data["build_id"],
                parents,
                data["digest"],
                tuple(data["toolchain"].items()),
                data.get("stands_for", ""),
                limits.read(data.get("limits", {})),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise KitsuneError(
                "K220",
                "not the description of a release",
                at=Location(files.shown(path)),
                hint="a release in the store consists of its .so, release.json and three reports;\n"
                "take the directory from a backup",
            ) from error


@dataclass(frozen=True, slots=True)
class Store:
    """The releases of one program. `root` is the store's directory, which need not exist."""

    root: Path
    program: str

    def directory(self, version: str) -> Path:
        """Return where a version is, or will be."""
        return self.root / self.program / version

    def release(self, version: str) -> Path:
        """Return the path of a version's shared object, whether it is there or not."""
        return self.directory(version) / f"{self.program}.so"

    def way_back(self, version: str, to: str) -> Path:
        """Return the path of the release that leads from one version back to another."""
        return self.root / self.program / _WAYS_BACK / version / to / f"{self.program}.so"

    def ways_back(self, version: str) -> tuple[Path, ...]:
        """Return the releases that lead back from a version, by the names of those they lead to."""
        found = (self.root / self.program / _WAYS_BACK / version).glob(f"*/{self.program}.so")
        return tuple(sorted(path for path in found if not path.parent.name.startswith(".")))

    def has(self, version: str) -> bool:
        """Tell whether the version has been released; build tools may make its empty directory."""
        return any(self.directory(version).glob("*"))

    def description(self, version: str) -> Description:
        """Return what is known of a released version, after checking that its file is intact.

        Raises K220 for a description that cannot be read, K221 for a release that was altered.
        """
        return check(self.release(version))

    def publish(self, release: Path, version: Version) -> bool:
        """Put a built release, with the files beside it, into the store; tell whether it is new.

        The same content again does nothing. Raises K222, at the manifest's line of that version, if
        the store has it with other content.
        """
        if self.has(version.name):
            self._check_same(release, version)
            return False
        target = self.directory(version.name)
        staging = self._staged(release, target)
        try:
            staging.rename(target)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            if not self.has(version.name):
                raise
            self._check_same(release, version)  # another build was faster
            return False
        return True

    def publish_way_back(self, release: Path, version: Version) -> bool:
        """Put a release that leads back from `version`, which has been published, into the store;
        tell whether it changes the store.

        Another one may be there: nothing is built against ways back, so a better one replaces it.
        """
        target = self.way_back(version.name, release.parent.name).parent
        built = Description.read(release.parent / DESCRIPTION)
        with contextlib.suppress(KitsuneError):
            if check(target / release.name).digest == built.digest:
                return False
        staging = self._staged(release, target)
        files.replace_directory(staging, target)
        return True

    def _staged(self, release: Path, target: Path) -> Path:
        """Return a directory beside `target` with all that belongs there."""
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            self._copy(release, staging)
            staging.chmod(0o755)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return staging

    def _copy(self, release: Path, directory: Path) -> None:
        copies = {
            release: f"{self.program}.so",
            release.parent / DESCRIPTION: DESCRIPTION,
            **{release.parent / name: name for name in REPORTS},
        }
        if (release.parent / ingredients.NAME).is_file():
            copies[release.parent / ingredients.NAME] = ingredients.NAME
        for source, name in copies.items():
            target = directory / name
            shutil.copyfile(source, target)
            target.chmod(0o444)
            with target.open("rb") as file:
                os.fsync(file.fileno())

    def _check_same(self, release: Path, version: Version) -> None:
        stored = self.description(version.name)
        built = Description.read(release.parent / DESCRIPTION)
        if stored.digest == file_digest(release):
            return
        raise KitsuneError(
            "K222",
            f"version {version.name} of {self.program} has been released with other content",
            at=version.at,
            source_line=version.line,
            hint="a release is never replaced, because a server may be running it: add a new\n"
            f"version to the manifest, or take back what was changed since {version.name}",
            notes=(
                Note(_place(self.release(version.name)), "the release in the store is here"),
                Note(_place(release), f"built now, differing in {_difference(stored, built)}"),
            ),
        )


def check(release: Path) -> Description:
    """Return the description beside a release, after checking that it is of this file.

    Raises K220 for a description that cannot be read, K221 for a release that was altered.
    """
    description = Description.read(release.parent / DESCRIPTION)
    if not release.is_file() or file_digest(release) != description.digest:
        raise KitsuneError(
            "K221",
            f"release {description.version} of {description.program} is not what was built",
            at=Location(files.shown(release)),
            hint="take it from a backup: only what a server runs can be its parent",
        )
    return description


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(path: Path) -> Location:
    return Location(files.shown(path))


def _difference(stored: Description, built: Description) -> str:
    if stored.toolchain != built.toolchain:
        before, now = dict(stored.toolchain), dict(built.toolchain)
        changed = sorted(key for key in before.keys() | now if before.get(key) != now.get(key))
        return "the toolchain: " + "; ".join(
            f"{key} was '{before.get(key, '')}', is '{now.get(key, '')}'" for key in changed
        )
    if stored.parents != built.parents:
        names = [", ".join(p.version for p in d.parents) or "none" for d in (stored, built)]
        if names[0] != names[1]:
            return f"its parents: {names[0]} then, {names[1]} now"
        return f"its parent: another build of {names[0]}"
    return "code, data or types"


def set_current(release: Path) -> Path:
    """Make a release the one that the link `current` of its store leads to; return the link.

    The link is replaced by one rename: there is one at any time. Raises K321 if the release does
    not lie in a store, K322 if the link cannot be made.
    """
    check_is_stored(release)
    link = release.parents[1] / CURRENT
    staging = link.with_name(f".{CURRENT}.{os.getpid()}")
    try:
        staging.symlink_to(release.parent.name)
        staging.replace(link)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise KitsuneError(
            "K322",
            f"the link to the version that a restart begins with cannot be made: {error.strerror}",
            at=Location(files.shown(link)),
            hint="the update itself is done: make the link, or restarts begin with another version",
        ) from error
    return link


def check_is_stored(release: Path) -> None:
    """Raise K321 if a release does not lie in a store: STORE/PROGRAM/VERSION/PROGRAM.so."""
    program, version = release.parents[1].name, release.parents[0].name
    if release.name == f"{program}.so" and (release.parent / DESCRIPTION).is_file():
        description = Description.read(release.parent / DESCRIPTION)
        if (description.program, description.version) == (program, version):
            return
    raise KitsuneError(
        "K321",
        "the release does not lie in a store, which alone has a current version",
        at=Location(files.shown(release)),
        hint="update to STORE/PROGRAM/VERSION/PROGRAM.so, or without --set-current",
    )
