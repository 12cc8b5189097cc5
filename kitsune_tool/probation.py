"""The probation of a new version: a command says for a while whether the program is well.

In: a shell command, for how long it is asked, what runs. Out: how it failed first, or None if it
never did. Called by control.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

_PAUSE_S = 1.0
_MOST_OUTPUT = 4096


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version did not pass. `output` is what the command said at last; `after_s` counts from
    the start of the probation.
    """

    why: str
    output: str
    after_s: float


def watch(command: str, limit_s: float, variables: Mapping[str, str]) -> Failure | None:
    """Run the command at once and then every second until the time is over; return on its first
    failure. One run may take as long as the whole probation.

    If this is interrupted, the command's process group is ended.
    """
    start = time.monotonic()
    while True:
        failure = _run(command, limit_s, variables)
        passed_s = time.monotonic() - start
        if failure is not None:
            return Failure(*failure, passed_s)
        if passed_s >= limit_s:
            return None
        time.sleep(min(_PAUSE_S, limit_s - passed_s))


def _run(command: str, limit_s: float, variables: Mapping[str, str]) -> tuple[str, str] | None:
    """Return why one run of the command failed, and its output."""
    with tempfile.TemporaryFile() as output, _interrupts_put_off() as put_off:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            start_new_session=True,
        )
        try:
            put_off()
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"did not end within {limit_s:g} s", _end(process, output)
        except BaseException:
            _end(process, output)
            raise
        if status == 0:
            return None
        how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
        return how, _tail(output)


@contextlib.contextmanager
def _interrupts_put_off() -> Iterator[Callable[[], None]]:
    """Put off interrupts until what is given is called: one that comes while a process is being
    started would leave it alone.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))

    def no_longer() -> None:
        signal.signal(signal.SIGINT, before)
        if came:
            raise KeyboardInterrupt

    try:
        yield no_longer
    finally:
        signal.signal(signal.SIGINT, before)


def _end(process: subprocess.Popen[bytes], output: IO[bytes]) -> str:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return _tail(output)


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _MOST_OUTPUT))
    return output.read().decode(errors="replace").strip()
