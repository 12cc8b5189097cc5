"""The attacks on a running server, through what an attacker can reach: files, the control socket.

In: an `Arena`. Out: how many tries there were, by the code with which each was refused. An attack
checks itself that each try was refused, and that the server under load is as it was. Called by the
tests and by `./kit attack`, which tries more.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from attack.harness import Fortress, Key, identity_of, reseal
from kitsune_tool import objects

NOBODY = 65534
REFUSED = ("rejected", "refused", "rolled-back")
Codes = Counter[str]


@dataclass(frozen=True, slots=True)
class Arena:
    """What attacks need. `open_` takes what fits; `guarded` only what `keys[0]` has signed and is
    not revoked.
    """

    open_: Fortress
    guarded: Fortress
    first: Path
    second: Path
    keys: tuple[Key, Key]
    place: Path
    listed: Path
    """The list of revoked releases of `guarded`."""
    scale: int
    """How many tries where there can be any number."""

    def file(self, name: str, data: bytes | None = None) -> Path:
        """Return a file with these bytes, by default those of the next release."""
        path = self.place / name
        path.unlink(missing_ok=True)
        path.write_bytes(self.second.read_bytes() if data is None else data)
        path.chmod(0o644)
        return path

    def random(self) -> random.Random:
        """Return a source of random numbers, the same at each call."""
        return random.Random(20260131)


def refused(server: Fortress, path: Path | str, *codes: str) -> str:
    """Ask for an update that must be refused with one of the codes; return which it was."""
    answer = server.update(path)
    assert answer["outcome"] in REFUSED, answer
    assert answer["code"] in codes, answer
    return str(answer["code"])


# -- files ---------------------------------------------------------------------------------------


def planted_files(arena: Arena) -> Codes:
    """Files that are no plain file of ours, or that others can write."""
    codes = Codes()
    for path in _planted(arena):
        codes[refused(arena.open_, path, "K360", "K340", "K341")] += 1
    return codes


def _planted(arena: Arena) -> Iterator[Path]:
    for mode in (0o666, 0o646, 0o602):
        path = arena.file(f"mode-{mode:o}.so")
        path.chmod(mode)
        yield path
    yield from _special_files(arena)
    huge = arena.file("huge.so", b"")
    os.truncate(huge, (1 << 40))
    yield huge
    huge.unlink()
    sparse = arena.file("sparse.so", b"\x7fELF")
    os.truncate(sparse, 64 << 20)
    yield sparse
    sparse.unlink()
    yield arena.file("empty.so", b"")
    if os.geteuid() == 0:
        yield from _files_of_others(arena)


def _special_files(arena: Arena) -> Iterator[Path]:
    link = arena.place / "link.so"
    link.unlink(missing_ok=True)
    link.symlink_to(arena.second)
    yield link
    fifo = arena.place / "fifo.so"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    yield fifo
    directory = arena.place / "directory.so"
    directory.mkdir(exist_ok=True)
    yield directory
    with socket.socket(socket.AF_UNIX) as listener:
        path = arena.place / "socket.so"
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        yield path
    yield from map(Path, ("/dev/zero", "/dev/tty", "/proc/self/mem", "/proc/self/exe"))
    yield Path("/dev/stdin/release.so")


_ACCESS_LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, who)
    for tag, permissions, who in (
        *((1, 6, 0xFFFFFFFF), (2, 6, NOBODY)),  # its owner; another user, who may write
        *((4, 4, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)),  # group, mask, others
    )
)


def _files_of_others(arena: Arena) -> Iterator[Path]:
    listed = arena.file("access-list.so")
    with contextlib.suppress(OSError):  # a file system without access lists
        os.setxattr(listed, "system.posix_acl_access", _ACCESS_LIST)
        yield listed
    theirs = arena.file("theirs.so")
    os.chown(theirs, NOBODY, NOBODY)
    yield theirs
    with tempfile.TemporaryDirectory(prefix="kitsune-shared-") as name:
        Path(name).chmod(0o1777)
        planted = Path(name) / "planted.so"
        _as_nobody(f"open({str(planted)!r}, 'wb').write(given)", arena.second)
        assert planted.stat().st_uid == NOBODY
        yield planted
    grouped = arena.file("grouped.so")
    os.chown(grouped, 0, NOBODY)
    grouped.chmod(0o664)
    yield grouped


def swapped_files(arena: Arena) -> Codes:
    """A release that is exchanged, renamed over and written in place while it is checked."""
    return _swapped(arena, arena.open_, ("K341", "K345")) + _swapped(
        arena, arena.guarded, ("K384", "K345")
    )


def _swapped(arena: Arena, server: Fortress, codes: tuple[str, ...]) -> Codes:
    """Alternate between what is whole, of another parent, and what is damaged, of the right one."""
    whole = patched(arena.second, "parents", b"\x55" * 20)
    damaged = bytearray(arena.second.read_bytes())
    damaged[len(damaged) // 4] ^= 1  # in each half, so that no mixture of both is whole
    damaged[-1] ^= 1
    path = arena.file("swapped.so", whole)
    signature = arena.keys[0].sign(path).read_bytes()
    stop = threading.Event()
    thread = threading.Thread(target=_swap, args=(path, whole, bytes(damaged), signature, stop))
    thread.start()
    found = Codes()
    try:
        for _ in range(max(30, arena.scale // 4)):
            found[refused(server, path, *codes)] += 1
    finally:
        stop.set()
        thread.join()
    return found


def _swap(path: Path, one: bytes, other: bytes, signature: bytes, stop: threading.Event) -> None:
    fresh = path.with_suffix(".fresh")
    while not stop.is_set():
        for data in (one, other):
            fresh.write_bytes(data)
            fresh.chmod(0o644)
            fresh.rename(path)
            with path.open("r+b") as file:  # in place, half of it first
                for turn in (other, one):
                    file.seek(0)
                    file.write(turn[: len(turn) // 2])
                    file.flush()
                    file.write(turn[len(turn) // 2 :])
                    file.flush()
        stop.wait(0.0005)


# -- releases ------------------------------------------------------------------------------------


def damaged_releases(arena: Arena) -> Codes:
    """Releases that are cut off or have some bits changed."""
    whole, draw, codes = arena.second.read_bytes(), arena.random(), Codes()
    for number in range(arena.scale):
        data = bytearray(whole)
        if number % 2:
            del data[draw.randrange(len(data)) :]
        else:
            for _ in range(draw.choice((1, 1, 2, 20))):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        codes[refused(arena.open_, arena.file("damaged.so", bytes(data)), "K341", "K345")] += 1
    return codes


def damaged_signed_releases(arena: Arena) -> Codes:
    """The same with a signature of what they were."""
    whole, draw, codes = arena.second.read_bytes(), arena.random(), Codes()
    arena.keys[0].sign(arena.file("signed.so"))
    for number in range(arena.scale // 2):
        data = bytearray(whole)
        if number % 2:
            del data[draw.randrange(len(data)) :]
        else:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path = arena.file("signed.so", bytes(data))
        codes[refused(arena.guarded, path, "K384", "K341")] += 1
    return codes


def unfit_releases(arena: Arena) -> Codes:
    """Whole releases, but for another machine, interface, program, parent or types."""
    codes = Codes()
    for code, data in _unfit(arena):
        codes[refused(arena.open_, arena.file("unfit.so", data), code)] += 1
    return codes


_FIELDS = {"magic": 0, "abi": 8, "size": 12, "program": 16, "parent_count": 144, "parents": 152}
_FIELDS["stands_for"] = _FIELDS["parents"] + 16 * 20


def patched(release: Path, field: str, value: bytes) -> bytes:
    """Return a release with another value in its identity, and the checksum that it has then."""
    data = bytearray(release.read_bytes())
    at = identity_of(data) + _FIELDS[field]
    data[at : at + len(value)] = value
    return reseal(bytes(data))


def _unfit(arena: Arena) -> Iterator[tuple[str, bytes]]:
    second = arena.second
    (abi,) = struct.unpack_from("<I", data := second.read_bytes(), identity_of(data) + 8)
    for at, value in ((18, b"\xb7\0"), (4, b"\1"), (5, b"\2"), (16, b"\2\0"), (0, b"\0")):
        yield "K341", reseal(data[:at] + value + data[at + len(value) :])
    yield "K342", patched(second, "abi", struct.pack("<I", abi - 1))
    yield "K343", patched(second, "abi", struct.pack("<I", abi + 1))
    yield "K344", patched(second, "program", b"registry")
    yield "K345", patched(second, "parents", b"\x55" * 20)
    yield "K345", patched(second, "parent_count", b"\0")
    yield "K341", patched(second, "parent_count", b"\x11")
    yield "K341", patched(second, "magic", b"\0")
    yield "K341", data.replace(objects.IDENTITY_SECTION.encode(), b"kitsune_identitz")
    yield "K346", _of_other_types(arena)


def _of_other_types(arena: Arena) -> bytes:
    """Return the release as if it had been built against other types of the running version."""
    built = arena.second.parents[3] / arena.second.parent.name  # before it came into the store
    generated = (built / "generated" / "version.c").read_text()
    digest = int(generated.partition(".old_layout_digest = ")[2].partition("ull")[0], 16)
    data, bytes_ = arena.second.read_bytes(), struct.pack("<Q", digest)
    assert data.count(bytes_) == 1
    return reseal(data.replace(bytes_, struct.pack("<Q", digest ^ 1)))


def unsigned_releases(arena: Arena) -> Codes:
    """Releases without a signature, by another key, with that of another file, with half of one."""
    codes = Codes()
    path = arena.file("unsigned.so")
    signature = Path(f"{path}.minisig")
    signature.unlink(missing_ok=True)
    codes[refused(arena.guarded, path, "K383")] += 1
    arena.keys[1].sign(path)
    codes[refused(arena.guarded, path, "K385")] += 1
    other = arena.keys[0].sign(arena.file("other.so", arena.first.read_bytes()))
    shutil.copyfile(other, signature)
    codes[refused(arena.guarded, path, "K384")] += 1
    text, draw = arena.keys[0].sign(path).read_text(), arena.random()
    for _ in range(max(10, arena.scale // 10)):
        signature.write_text(text[: draw.randrange(len(text) - 1)])
        codes[refused(arena.guarded, path, "K386")] += 1
    return codes


def replayed_releases(arena: Arena) -> Codes:
    """Releases of the past, with their own good signatures, and the one that runs, again."""
    codes = Codes()
    for name, data in (("old.so", arena.first.read_bytes()), ("old2.so", arena.first.read_bytes())):
        path = arena.file(name, data)
        arena.keys[0].sign(path)
        for server in (arena.open_, arena.guarded):
            answer = server.update(path)
            assert answer["outcome"] == "already-running", answer
            codes[answer["outcome"]] += 1
    stranger = arena.file("stranger.so", patched(arena.second, "parents", b"\x66" * 20))
    arena.keys[0].sign(stranger)
    for server in (arena.open_, arena.guarded):
        codes[refused(server, stranger, "K345")] += 1
    return codes


def revoked_releases(arena: Arena) -> Codes:
    """A release that was taken back; then with an older list, an altered one, and none."""
    codes, serial = Codes(), time.time_ns()
    release, revoked = arena.file("revoked.so"), objects.build_id(arena.second).hex()
    arena.keys[0].sign(release)
    for text, code in (
        (f"serial {serial}\n{revoked}\n", "K387"),
        (f"serial {serial - 1}\n", "K388"),
        (f"serial {serial}\n{revoked[1:]}\n", "K388"),
    ):
        arena.listed.write_text(text)
        arena.keys[0].sign(arena.listed)
        codes[refused(arena.guarded, release, code)] += 1
    arena.listed.write_text(f"serial {serial + 1}\n")  # with the signature of the last one
    codes[refused(arena.guarded, release, "K388")] += 1
    arena.listed.unlink()
    codes[refused(arena.guarded, release, "K388")] += 1
    arena.listed.write_text(f"serial {serial + 1}\n")
    arena.keys[0].sign(arena.listed)
    return codes


# -- the control socket --------------------------------------------------------------------------


def malformed_requests(arena: Arena) -> Codes:
    """Requests that are no requests, too long, in pieces, or whose answers nobody reads."""
    codes = Codes()
    for line in _malformed(arena):
        with arena.open_.connect() as connection:
            connection.sendall(line + b"\n")
            answer = connection.makefile("rb").readline()
        assert b'"code": "K364"' in answer, (line[:80], answer)
        codes["K364"] += 1
    for attack in (_too_long, _in_pieces, _unread, _broken_off, _crowd):
        attack(arena)
        codes["answered"] += 1
    return codes


def _malformed(arena: Arena) -> Iterator[bytes]:
    yield from (b"", b" ", b"\xff\xfe", b"status status", b"update", b"update x", b"update /x%00")
    yield from (b"update /x -1", b"update /x 1 1 1 1", b"update /" + b"y" * 5000, b"sta\0tus")
    draw = arena.random()
    for _ in range(arena.scale // 4):
        line = draw.randbytes(draw.randrange(1, 200)).replace(b"\n", b"")
        yield b"!" + line


def _too_long(arena: Arena) -> None:
    with arena.open_.connect() as connection:
        connection.sendall(b"x" * 66000)
        file = connection.makefile("rb")
        assert b'"code": "K364"' in file.readline()
        assert _rest(file.read) == b"", "nobody can say where the next request begins"


def _rest(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except ConnectionResetError:
        return b""


def _in_pieces(arena: Arena) -> None:
    with arena.open_.connect() as connection:
        for byte in f"update {quote(str(arena.place / 'missing.so'))} 5 5\nstatus\n".encode():
            connection.sendall(bytes([byte]))
        file = connection.makefile("rb")
        assert b'"code": "K340"' in file.readline()
        assert b'"outcome": "status"' in file.readline()


def _unread(arena: Arena) -> None:
    """Answers that nobody reads cost the connection, and nobody else anything."""
    with arena.open_.connect() as connection:
        connection.setblocking(False)
        try:
            for _ in range(20000):
                connection.send(b"status\n")
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        arena.open_.unharmed()


def _broken_off(arena: Arena) -> None:
    for text in (b"", b"sta", b"update /nowhere.so", b"status\n", b"x" * 60000):
        for how in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            with arena.open_.connect() as connection:
                connection.sendall(text)
                connection.shutdown(how)


def _crowd(arena: Arena) -> None:
    """More connections than there are places, all of them silent and then gone."""
    crowd = [arena.open_.connect() for _ in range(16)]
    for connection in crowd:
        connection.close()
    arena.open_.unharmed()


def other_users(arena: Arena) -> Codes:
    """Another user of the machine on the control socket, and on that of the descriptors."""
    if os.geteuid() != 0:
        return Codes()
    server, codes = arena.open_, Codes()
    said = _as_nobody(_CONNECT.format(path=str(server.runtime / server.channel.name)))
    assert said == "PermissionError\n", said
    codes["no way"] += 1
    server.runtime.chmod(0o711)
    (server.runtime / server.channel.name).chmod(0o666)
    opened = [path for path in arena.place.parents if path.stat().st_uid == 0]
    modes = [path.stat().st_mode for path in opened]
    try:
        for path, mode in zip(opened, modes, strict=True):
            path.chmod(mode | 0o011)
        said = _as_nobody(_CONNECT.format(path=str(server.runtime / server.channel.name)))
    finally:
        for path, mode in zip(opened, modes, strict=True):
            path.chmod(mode)
        server.runtime.chmod(0o700)
    assert said.count('"code": "K365"') == 1 and said.count("{") == 1 and "Error" not in said, said
    codes["K365"] += 1
    said = _as_nobody(_FETCH.format(count=max(20, arena.scale // 4)))
    assert said.startswith("asked ") and said.endswith(" got 0\n"), said
    codes["no descriptor"] += int(said.split()[1])
    return codes


_CONNECT = """
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(7)  # less than what a silent client is given: it must be sent away at once
try:
    connection.connect({path!r})
    try:
        connection.sendall(b"update /nowhere.so\\nupdate /nowhere.so\\n")
    except BrokenPipeError:
        pass  # it was sent away before it had asked
    while got := connection.recv(65536):
        print(got.decode())
except ConnectionResetError:
    pass
except OSError as error:
    print(type(error).__name__)
"""

_FETCH = """
names = [line.split()[-1] for line in open("/proc/net/unix") if "@kitsune-" in line]
asked = got = 0
for name in names * {count}:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(10)
    try:
        connection.connect("\\0" + name[1:])
        _, fds, _, _ = socket.recv_fds(connection, 100, 4)
        got += len(fds)
        asked += 1
    except OSError:
        pass
    connection.close()
print("asked", asked, "got", got)
"""


def _as_nobody(script: str, given: Path = Path("/dev/null")) -> str:
    """Run Python as another user, who need not be able to start it; return what it printed."""
    before = f"import socket; given = open({str(given)!r}, 'rb').read()\n"
    become = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{before}{become}{script}"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ATTACKS: dict[str, Callable[[Arena], Codes]] = {
    "planted files": planted_files,
    "files swapped while they are checked": swapped_files,
    "releases cut off or with bits changed": damaged_releases,
    "the same, signed before": damaged_signed_releases,
    "releases that do not fit": unfit_releases,
    "unsigned, other key, other signature": unsigned_releases,
    "replay": replayed_releases,
    "revoked releases": revoked_releases,
    "malformed requests": malformed_requests,
    "other users": other_users,
}
