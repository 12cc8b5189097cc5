"""Instructions that a server executes between two moments, counted by callgrind.

In: the command that starts it. Out: a count, of the server and what it has forked. The server and
its client take turns, so that counts repeat (all but for what threads do that meet).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 300
FILES, OWN_FILES = 1024, 12
"""A server may open so many files, but for those that valgrind takes; it cannot change that."""
_STAYS_ROOT = ("setpriv", "--bounding-set=-setuid,-setgid")
_SEEMS_NOT_ROOT = ("unshare", "--user", "--map-user=1", "--map-group=1")


@dataclass(frozen=True, slots=True)
class Counted:
    """A server that runs under callgrind."""

    process: subprocess.Popen[str]
    counts: Path
    """What callgrind's files begin with; it adds the process id, and a number for each dump."""

    def zero(self) -> None:
        """Begin to count."""
        for pid in self._pids():
            _control("--zero", pid)

    def total(self) -> int:
        """Return the number of instructions since `zero`."""
        pids = self._pids()
        for pid in pids:
            _control("--dump", pid)
        return sum(self._dumped(pid) for pid in pids)

    def _pids(self) -> list[int]:
        return list(_tree(self.process.pid))

    def _dumped(self, pid: int) -> int:
        newest = max(
            self.counts.parent.glob(f"{self.counts.name}.{pid}.*"),
            key=lambda path: int(path.suffix[1:].partition("-")[0]),
        )
        text = newest.read_text()
        total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
        if total is None:
            raise SystemExit(f"callgrind has no count for process {pid}")
        return int(total[1])


@contextlib.contextmanager
def counting(
    command: Sequence[str],
    cwd: Path | None = None,
    *,
    keeps_user: bool = False,
    refuses_root: bool = False,
) -> Iterator[Counted]:
    """Run a server under callgrind; it is ended when its client is done with it.

    One that root starts and that becomes another user would no longer hear when it is to count; if
    it can do without that, it `keeps_user`. One that `refuses_root` is shown another user's id.
    """
    with tempfile.TemporaryDirectory() as directory:
        counts = Path(directory) / "counts"
        under: list[str] = []
        if os.geteuid() == 0:
            under += _STAYS_ROOT if keeps_user else _SEEMS_NOT_ROOT if refuses_root else ()
        under += ["prlimit", f"--nofile={FILES}:{FILES}", "valgrind", "--tool=callgrind"]
        under += [f"--callgrind-out-file={counts}.%p", *command]
        process = subprocess.Popen(
            under, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        with process:
            try:
                yield Counted(process, counts)
            finally:
                process.terminate()
            process.wait(TIMEOUT_S)


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and all that it has forked."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        children = ""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            children = (thread / "children").read_text()
        for child in children.split():
            yield from _tree(int(child))


def _control(command: str, pid: int) -> None:
    subprocess.run(
        ["callgrind_control", command, str(pid)],
        check=True,
        timeout=TIMEOUT_S,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
