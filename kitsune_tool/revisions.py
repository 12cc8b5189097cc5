"""The sources of versions that are revisions of a git repository, checked out beside the manifest.

In: a `Version` whose source is a revision. Out: its files in `.kitsune/sources/VERSION`, whole and
as they are in the revision. Called by cli.py and scons.py before they use a version's sources; a
version whose sources lie in a directory is left alone.
"""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kitsune_tool import files
from kitsune_tool.config import Revision, Version
from kitsune_tool.errors import KitsuneError

_STAMP = "revision"
_INDEX = "index"


def provide(version: Version) -> None:
    """Have a version's sources checked out; does nothing if they are.

    Raises K270 for a revision that the repository does not have, and K271 for one that is not what
    the files are: the checkout was changed, or the working tree has what its own revision lacks.
    """
    if version.revision is not None:
        _Checkout(version.revision, version).provide()


class _Checkout:
    """One version's checkout. Its index lies beside the files, so that changes are seen cheaply."""

    def __init__(self, revision: Revision, version: Version) -> None:
        self._revision = revision
        self._version = version
        self._place = revision.checkout

    def provide(self) -> None:
        commit = self._commit()
        self._check_working_tree(commit)
        if not self._has(commit):
            self._check_out(commit)
        if not self._version.source.is_dir():
            shown = os.path.relpath(self._version.source, self._place)
            raise self._error("K270", f"revision '{self._revision.name}' has no directory {shown}")

    def _commit(self) -> str:
        if self._git("rev-parse", "--git-dir") is None:
            raise self._error(
                "K270",
                f"{files.shown(self._revision.repository)} is in no git repository",
                "name the directory of the version's sources: source: DIRECTORY",
            )
        name = self._revision.name
        if name.startswith("-"):
            raise self._error("K270", f"'{name}' is no name of a revision")
        commit = self._git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        )
        if commit is None:
            raise self._error(
                "K270", f"there is no revision '{name}' in the repository", self._near()
            )
        return commit.split()[-1]

    def _near(self) -> str:
        listed = self._git("for-each-ref", "--format=%(refname:short)") or ""
        near = difflib.get_close_matches(self._revision.name, listed.splitlines(), n=1)
        return (
            f"did you mean '{near[0]}'?" if near else "a shallow clone lacks it: git fetch --tags"
        )

    def _check_working_tree(self, commit: str) -> None:
        """Refuse a branch that is being worked on, as long as what is worked on is not in it."""
        name = self._revision.name
        branch = (self._git("symbolic-ref", "--quiet", "--short", "HEAD") or "").strip()
        if name not in ("HEAD", "@", branch, f"heads/{branch}", f"refs/heads/{branch}"):
            return
        changed = self._git("status", "--porcelain", "--untracked-files=no", "--", ".") or ""
        if changed:
            first = changed.splitlines()[0][3:]
            raise self._error(
                "K271",
                f"'{name}' is what is being worked on, and {first} has changes that are not in it",
                "commit them; or leave 'source' out, then the files are taken as they are",
            )

    def _has(self, commit: str) -> bool:
        try:
            known = (self._place.parent / f"{self._place.name}.{_STAMP}").read_text().split()
        except OSError:
            return False
        if known != [commit] or not self._place.is_dir():
            return False
        changed = self._git_there("diff-files", "--name-only")
        others = self._git_there("ls-files", "--others")
        found = [*(changed or "").splitlines(), *(others or "").splitlines()]
        if changed is None or found:
            raise self._error(
                "K271",
                f"{files.shown(self._place / (found[0] if found else '.'))} is not as it is in "
                f"revision '{self._revision.name}'",
                f"remove {files.shown(self._place)}: it is checked out again, without that change",
            )
        return True

    def _check_out(self, commit: str) -> None:
        """Fill the directory by one rename; the stamp is written last."""
        parent = self._place.parent
        parent.mkdir(parents=True, exist_ok=True)
        files.write_if_changed(parent.parent / ".gitignore", "*\n")
        stamp = parent / f"{self._place.name}.{_STAMP}"
        stamp.unlink(missing_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{self._place.name}.", dir=parent))
        try:
            index = staging / _INDEX
            self._must("read-tree", commit, index=index)
            self._must("checkout-index", "--all", f"--prefix={staging}/tree/", index=index)
            (staging / "tree").mkdir(exist_ok=True)
            shutil.rmtree(self._place, ignore_errors=True)
            (staging / "tree").rename(self._place)
            index.rename(self._index)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self._git_there("update-index", "--refresh", "-q")
        stamp.write_text(f"{commit}\n")

    @property
    def _index(self) -> Path:
        return self._place.parent / f"{self._place.name}.{_INDEX}"

    def _must(self, *words: str, index: Path) -> None:
        done = self._run(words, {"GIT_INDEX_FILE": str(index)})
        if done.returncode != 0:
            message = (
                f"revision '{self._revision.name}' cannot be checked out\n{done.stderr.strip()}"
            )
            raise self._error("K270", message)

    def _git(self, *words: str) -> str | None:
        """Return what git prints in the manifest's directory, None if it fails."""
        done = self._run(words, {})
        return done.stdout if done.returncode == 0 else None

    def _git_there(self, *words: str) -> str | None:
        """The same for the files of the checkout."""
        there = {"GIT_INDEX_FILE": str(self._index), "GIT_WORK_TREE": str(self._place)}
        done = self._run(words, there, cwd=self._place)
        return done.stdout if done.returncode == 0 else None

    def _run(
        self, words: Sequence[str], variables: dict[str, str], cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        if cwd is not None:
            variables = variables | {"GIT_DIR": self._git_dir()}
        try:
            return subprocess.run(
                ["git", *words],
                cwd=cwd or self._revision.repository,
                env=inherited | variables | {"LC_ALL": "C.UTF-8", "GIT_OPTIONAL_LOCKS": "0"},
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise self._error("K270", "git is not installed", "install the package git") from error

    def _git_dir(self) -> str:
        return (self._git("rev-parse", "--absolute-git-dir") or "").strip()

    def _error(self, code: str, message: str, hint: str | None = None) -> KitsuneError:
        at, line = self._revision.at, self._revision.line
        return KitsuneError(code, message, at=at, source_line=line, hint=hint)
