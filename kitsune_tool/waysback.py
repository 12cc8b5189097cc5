"""Which release leads back from the version that a program runs.

In: what runs (its build-ids, as `status` tells them) and the stores to look into. Out: the path of
the release that leads back, or an error that says what to do so that there is one. Called by
control.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kitsune_tool import config, files
from kitsune_tool.errors import KitsuneError
from kitsune_tool.store import BACK, DESCRIPTION, Description, Store, check


@dataclass(frozen=True, slots=True)
class Left:
    """A version that is to be left: `ids` are the build-ids of what runs, hexadecimal."""

    program: str
    version: str
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class WayBack:
    """A release that leads back, and what it says of itself."""

    release: Path
    said: Description

    def leaves(self, left: Left) -> bool:
        """Tell whether it was built to follow this very build."""
        return any(parent.build_id in left.ids for parent in self.said.parents)


def stores(program: str, named: Path | None, release: Path | None = None) -> tuple[Store, ...]:
    """Return where to look: the store that was named, else that of the manifest here or above and,
    if there is a release, that in which it lies.
    """
    if named is not None:
        return (Store(named.absolute(), program),)
    roots = []
    if release is not None and release.parent.parent.name == program:
        roots.append(release.parents[2])
    try:
        manifest = config.load_manifest(config.find_manifest(Path()))
    except KitsuneError:
        manifest = None
    if manifest is not None and manifest.program == program:
        roots.append(manifest.store)
    if not roots:
        raise KitsuneError(
            "K316",
            f"it is not known in which store the releases of {program} are",
            hint=f"run it in the directory of the manifest of {program}, or name the store:\n"
            "--store DIRECTORY, as 'store' in the manifest",
        )
    return tuple(Store(root, program) for root in dict.fromkeys(roots))


def find(places: Sequence[Store], left: Left, to: str | None, came_from: str | None) -> WayBack:
    """Return the way back from a version to the version `to`, or to where it came from.

    Raises K316 if there is none, K317 if those that are there leave other builds, K318 if it is not
    clear which one is meant, K220 or K221 for one that is damaged.
    """
    found = list(_all(places, left.version))
    if not found:
        raise _none(places, left)
    fitting = [way for way in found if way.leaves(left)]
    if not fitting:
        raise KitsuneError(
            "K317",
            f"the way back from {left.version} in the store leaves another build of "
            f"{left.version} than the one that runs",
            hint=f"look into {files.shown(found[0].release.parent)}: the program was started from\n"
            "or updated to a release of another store; name that one with --store",
        )
    wanted = to if to is not None or len(fitting) == 1 else came_from
    chosen = [way for way in fitting if wanted in (None, way.said.version)]
    if len(chosen) != 1:
        names = ", ".join(way.said.version for way in fitting)
        what = f"no way back leads to {wanted}" if wanted else "several ways lead back"
        hint = f"from {left.version} lead back: {names}; name one with --to"
        raise KitsuneError("K318", f"{what} from {left.version}", hint=hint)
    check(chosen[0].release)
    return chosen[0]


def find_for(places: Sequence[Store], release: Path, left: Left, version_id: str) -> WayBack:
    """Return the way back from a release that is not running yet to what runs, which is known by
    the build-id of its version's own release. Raises K316 if there is none.
    """
    beside = sorted((release.parent / BACK).glob(f"*/{release.name}"))
    ways = [*_all(places, left.version), *(WayBack(path, _said(path)) for path in beside)]
    for way in ways:
        if way.leaves(left) and way.said.stands_for == version_id:
            check(way.release)
            return way
    raise _none(places, left)


def _all(places: Iterable[Store], version: str) -> Iterable[WayBack]:
    for place in places:
        for release in place.ways_back(version):
            yield WayBack(release, _said(release))


def _said(release: Path) -> Description:
    return Description.read(release.parent / DESCRIPTION)


def _none(places: Sequence[Store], left: Left) -> KitsuneError:
    looked = ", ".join(files.shown(place.root) for place in places)
    return KitsuneError(
        "K316",
        f"no release leads back from {left.version} of {left.program} in {looked}",
        hint=f"write 'back: true' at version {left.version} in the manifest and build it again:\n"
        "scons update-release, or kitsune release … --publish. The way back is then put beside\n"
        "the release that runs, which stays as it is",
    )
