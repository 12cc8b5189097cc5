"""The control sockets of running programs: find them, ask, and read the answers.

In: a process id or a program's name; out: its channel, and what its helper process answers. The
protocol is that of runtime/src/helper.c: a request is one line of percent-encoded words, an answer
is JSON lines of which the last has `"event": "done"`. Called by control.py.

Nothing that is found is trusted: a socket counts only if the kernel says that its peer is the owner
of the directory it lies in, and answers are bounded.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from kitsune_tool.errors import KitsuneError

Answer = dict[str, Any]
"""One JSON object that a helper sent."""

CONNECT_LIMIT_S = 5.0
LONGEST_ANSWER = 1 << 20
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid
_HINT = "'kitsune status' lists the programs that you may ask; another user's need root"


@dataclass(frozen=True, slots=True)
class Channel:
    """A process and its control socket, `PID.sock` in a directory that belongs to its user.

    A forked child has none of its own: `child` names it to the socket of the process `pid`.
    """

    directory: Path
    pid: int
    child: int = 0

    @property
    def name(self) -> str:
        """The socket's name in its directory."""
        return f"{self.pid}.sock"


def find(who: str) -> Channel:
    """Return the channel of a process id or program name; KitsuneError if there is not exactly one.

    A name is what the program's manifest calls it. Raises K300 if nothing is found, K301 if several
    are, K302 if the process is there but has no channel that this user may use.
    """
    return _of_pid(int(who)) if who.isascii() and who.isdigit() else _of_name(who)


def find_all() -> list[tuple[Channel, Answer]]:
    """Return each channel that this user may use, with its answer to `status`, by process id."""
    found = []
    for channel in sorted(_channels(), key=lambda channel: channel.pid):
        with contextlib.suppress(KitsuneError):
            found.append((channel, ask(channel, ["status"], CONNECT_LIMIT_S)))
    return found


def ask(
    channel: Channel,
    words: Sequence[str | bytes],
    limit_s: float,
    progress: Callable[[Answer], None] = lambda answer: None,
) -> Answer:
    """Send one request and return its last answer; each one before it goes to `progress`.

    Raises K300 if nobody listens (any more), K302 if the peer is not whom it should be or does not
    want to hear us, K303 if the answer ends early, takes longer than `limit_s` or cannot be read.
    """
    line = b" ".join(quote_from_bytes(os.fsencode(word), safe=b"/.-_~").encode() for word in words)
    with _connected(channel) as connection:
        connection.settimeout(limit_s)
        try:
            with contextlib.suppress(BrokenPipeError):  # refused before it was heard: it says why
                connection.sendall(line + b"\n")
            for answer in _answers(connection):
                if answer.get("event") == "done":
                    return answer
                progress(answer)
        except TimeoutError:
            raise _broken(channel, f"did not answer within {limit_s:.0f} s") from None
        except OSError as error:
            raise _broken(channel, f"broke the connection off ({error.strerror})") from None
    raise _broken(channel, "ended before its last answer")


def directories() -> list[Path]:
    """Return the directories where this user's channels may lie; root looks at everybody's."""
    found = []
    own = os.geteuid()
    if named := os.environ.get("KITSUNE_RUNTIME_DIR"):
        found.append(Path(named))
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(session) / "kitsune")
    found += [Path("/run/kitsune"), Path(f"/run/user/{own}/kitsune"), Path(f"/tmp/kitsune-{own}")]
    if own == 0:
        found += sorted(Path("/run/user").glob("*/kitsune"))
        found += sorted(Path("/tmp").glob("kitsune-*"))
    return list(dict.fromkeys(p for p in found if p.is_absolute() and _is_usable(p)))


def _is_usable(directory: Path) -> bool:
    try:
        status = directory.lstat()
    except OSError:
        return False
    is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return is_private and (os.geteuid() == 0 or status.st_uid == os.geteuid())


def _channels() -> Iterator[Channel]:
    for directory in directories():
        with contextlib.suppress(OSError):
            for path in directory.iterdir():
                if path.suffix == ".sock" and path.stem.isascii() and path.stem.isdigit():
                    yield Channel(directory, int(path.stem))


def _of_pid(pid: int) -> Channel:
    inside = Path(f"/proc/{pid}/root")  # a program that changed its root, then started a new helper
    for directory in directories():
        for place in (directory, inside / directory.relative_to("/")):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK((place / f"{pid}.sock").lstat().st_mode) and _is_usable(place):
                    return Channel(place, pid)
    if not Path(f"/proc/{pid}").is_dir():
        raise KitsuneError("K300", f"there is no process {pid}", hint=_HINT)
    for channel, status in find_all():
        if any(child.get("pid") == pid for child in status.get("children", [])):
            return Channel(channel.directory, channel.pid, pid)
    raise KitsuneError(
        "K302",
        f"process {pid} has no control socket that you may use",
        hint=f"only programs started by 'kitsune run' have one; {_HINT}",
    )


def _of_name(name: str) -> Channel:
    every = find_all()
    found = [channel for channel, status in every if status.get("program") == name]
    if len(found) == 1:
        return found[0]
    if not found:
        names = sorted({str(status.get("program")) for _, status in every})
        raise KitsuneError(
            "K300",
            f"no program '{name}' is running",
            hint=f"running are: {', '.join(names)}" if names else _HINT,
        )
    pids = ", ".join(str(channel.pid) for channel in found)
    raise KitsuneError(
        "K301", f"several programs '{name}' are running", hint=f"name one by its process id: {pids}"
    )


@contextlib.contextmanager
def _connected(channel: Channel) -> Iterator[socket.socket]:
    """Connect through the directory's descriptor: its path may be long, and may be exchanged."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        try:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            directory = os.open(channel.directory, flags)
            stack.callback(os.close, directory)
            # Not settimeout(): a full queue would be an error at once instead of being waited for.
            limit = struct.pack("@ll", int(CONNECT_LIMIT_S), 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            connection.connect(f"/proc/self/fd/{directory}/{channel.name}")
        except (FileNotFoundError, ConnectionRefusedError):
            _remove_stale(channel)
            raise KitsuneError(
                "K300", f"process {channel.pid} is not under control any more", hint=_HINT
            ) from None
        except OSError as error:
            raise KitsuneError(
                "K302",
                f"the control socket of process {channel.pid} cannot be used: {error.strerror}",
                hint=_HINT,
            ) from None
        _check_peer(channel, connection, os.fstat(directory).st_uid)
        yield connection


def _check_peer(channel: Channel, connection: socket.socket, owner: int) -> None:
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(peer)
    if uid not in (owner, 0):
        raise KitsuneError(
            "K302",
            f"the control socket of process {channel.pid} is held by uid {uid}, "
            f"but its directory belongs to uid {owner}",
            hint=f"somebody put it there: look into {channel.directory}",
        )


def _remove_stale(channel: Channel) -> None:
    """Remove the socket of a process that is gone (killed together with its helper)."""
    if not Path(f"/proc/{channel.pid}").is_dir():
        with contextlib.suppress(OSError):
            (channel.directory / channel.name).unlink()


def _answers(connection: socket.socket) -> Iterator[Answer]:
    """Yield what is received, line by line, until the connection ends."""
    rest = b""
    while len(rest) <= LONGEST_ANSWER:
        while b"\n" in rest:
            line, _, rest = rest.partition(b"\n")
            yield _parsed(line)
        got = connection.recv(65536)
        if not got:
            return
        rest += got
    raise KitsuneError("K303", "the program's answer is too long", hint=_REPORT)


def _parsed(line: bytes) -> Answer:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise KitsuneError("K303", "the program's answer is not understood", hint=_REPORT)
    return answer


_REPORT = (
    "'kitsune' and the launcher that the program was started with may be of different versions"
)


def _broken(channel: Channel, what: str) -> KitsuneError:
    return KitsuneError(
        "K303",
        f"the channel of process {channel.pid} {what}",
        hint="'kitsune status' tells what became of the program",
    )
