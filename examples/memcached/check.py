"""A test driver of memcached: starts it, and works through requests in its three protocols.

In: the command that starts the server. Out: a line per answer, and exit status 0 if all were right.
They stay right if the server becomes its next version at any moment on the way: `kitsune
test-update` tries that. Some requests are sent in two pieces, with others between them, and one
answer is read late; what is stored early is asked for at the end: value, flags, expiry, CAS.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import memcached_clients as clients
from memcached_clients import Connection, packed

_TIMEOUT_S = 30
_SETTLED_S = 2
"""For an update at the last arrival: a server that is told to end first ends as the old version."""
_LARGE = b"0123456789abcdef" * 8000
_NAMES = ("text", "meta", "binary", "half.text", "half.meta", "half.binary", "late")


def main(arguments: Sequence[str]) -> int:
    """Check the server that `arguments` start; return 0 if every answer was right."""
    with _server(arguments) as port, contextlib.ExitStack() as ends:
        check = Check(port)
        users = {name: Connection(port) for name in _NAMES}
        for each in users.values():
            ends.callback(each.close)
        _begin_halves(check, users)
        tokens = _store(check, users)
        _change(check, users)
        _end_halves(check, users)
        _ask_again(check, users, tokens)
        time.sleep(_SETTLED_S)
        users["text"].send(b"shutdown\r\n")  # a signal could come in the middle of an update
        return min(check.failed, 1)


class Check:
    """Compares answers with what they must be, and brings the server past its update point."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.failed = 0

    def is_(self, what: str, seen: object, wanted: object) -> None:
        """Print an answer; count it if it is not the right one."""
        knock = Connection(self._port)  # has the main thread come to its update point
        knock.ask(b"mn\r\n")
        knock.close()
        print(f"{what}: {seen!r:.80}")
        if seen != wanted:
            self.failed += 1
            print(f"    should be {wanted!r:.80}")

    def asked(self, user: Connection, request: bytes, wanted: bytes) -> None:
        """Send a request, and compare as many bytes as are to come."""
        user.send(request)
        self.is_(repr(request[:40]), user.exactly(len(wanted)), wanted)


def _begin_halves(check: Check, users: dict[str, Connection]) -> None:
    """Send the first pieces of commands, cut in a line, a value, a head of a packet."""
    check.asked(users["late"], b"set large 1 0 %d\r\n%b\r\n" % (len(_LARGE), _LARGE), b"STORED\r\n")
    users["late"].send(b"get large\r\n" * 40)  # far more than fits into its socket
    check.asked(users["half.text"], b"version\r\nset half.te", b"VERSION ")
    users["half.text"].line()
    check.asked(users["half.meta"], b"mn\r\nms half.meta 4000 F7 c\r\n" + b"m" * 1500, b"MN\r\n")
    users["half.binary"].send(_half_packet()[:15])


def _half_packet() -> bytes:
    request: bytes = packed(1, b"half.binary", struct.pack("!II", 8, 0), b"b" * 3000, 77)
    return request


def _end_halves(check: Check, users: dict[str, Connection]) -> None:
    check.asked(users["half.text"], b"xt 6 0 3000\r\n%b\r\n" % (b"t" * 3000), b"STORED\r\n")
    users["half.meta"].send(b"m" * 2500 + b"\r\n")
    check.is_("meta, half sent", users["half.meta"].line()[:4], b"HD c")
    users["half.binary"].send(_half_packet()[15:])
    check.is_("binary, half sent", clients.packet(users["half.binary"])[:8], _head(1, 0))


def _head(code: int, status: int, extras: int = 0) -> bytes:
    return struct.pack("!BBHBBH", 0x81, code, 0, extras, 0, status)


def _store(check: Check, users: dict[str, Connection]) -> dict[bytes, int]:
    """Store items that stay; return their CAS."""
    text, meta, binary = users["text"], users["meta"], users["binary"]
    check.asked(text, b"set plain 0 0 5\r\nhello\r\n", b"STORED\r\n")
    check.asked(text, b"set flags 4294967295 0 0\r\n\r\n", b"STORED\r\n")
    check.asked(text, b"add expires 3 500 2\r\nok\r\n", b"STORED\r\n")
    check.asked(meta, b"ms meta 3 F9 T600\r\nabc\r\n", b"HD\r\n")
    binary.send(packed(1, b"binary", struct.pack("!II", 11, 700), b"bin", 5))
    check.is_("binary set", clients.packet(binary)[:8], _head(1, 0))
    keys = (b"plain", b"flags", b"expires", b"meta", b"binary")
    return {key: int(meta.ask(b"mg %b c\r\n" % key)[4:]) for key in keys}


def _change(check: Check, users: dict[str, Connection]) -> None:
    """Change other items, by what each protocol has for it."""
    text, meta, binary = users["text"], users["meta"], users["binary"]
    for turn in range(3):
        check.asked(text, b"set n 0 0 2\r\n40\r\nincr n 2\r\n", b"STORED\r\n42\r\n")
        check.asked(text, b"decr n 50\r\n", b"0\r\n")
        check.asked(text, b"set q 1 0 1 noreply\r\nq\r\nappend q 0 0 1\r\n+\r\n", b"STORED\r\n")
        check.asked(text, b"get n q none\r\n", b"VALUE n 0 2\r\n0 \r\nVALUE q 1 2\r\nq+\r\nEND\r\n")
        check.asked(text, b"touch q 100\r\ndelete q\r\n", b"TOUCHED\r\nDELETED\r\n")
        check.asked(meta, b"ma m N0 J7 v\r\nma m D5 v\r\n", b"VA 1\r\n7\r\nVA 2\r\n12\r\n")
        check.asked(meta, b"ms s 2 q\r\nab\r\nmg s v k q\r\nmn\r\n", b"VA 2 ks\r\nab\r\nMN\r\n")
        check.asked(meta, b"md m q\r\nmg m v\r\n", b"EN\r\n")
        meta.send(b"ms c 1 c\r\n%d\r\n" % turn)
        token = int(meta.line()[4:])
        check.asked(text, b"cas c 0 0 1 %d\r\nx\r\n" % (token + 100_000), b"EXISTS\r\n")
        check.asked(text, b"cas c 0 0 1 %d\r\nx\r\n" % token, b"STORED\r\n")
        check.asked(text, b"cas c 0 0 1 %d\r\ny\r\n" % token, b"EXISTS\r\n")
        quiet = packed(0x0D, b"none", b"", b"", 1) + packed(0x0D, b"c", b"", b"", 2)
        binary.send(quiet + packed(0x0A, b"", b"", b"", 3))  # only what is there is answered
        check.is_("binary getkq", clients.packet(binary)[16:], b"\0\0\0\0cx")
        check.is_("binary noop", clients.packet(binary)[:8], _head(0x0A, 0))
        binary.send(_with_cas(packed(1, b"c", struct.pack("!II", 0, 0), b"z", 4), token))
        check.is_("binary set, old CAS", clients.packet(binary)[:8], _head(1, 2))
        check.is_("metadump", _keys(text) >= {b"plain", b"flags", b"expires", b"c"}, True)


def _with_cas(packet: bytes, cas: int) -> bytes:
    return packet[:16] + struct.pack("!Q", cas) + packet[24:]


def _keys(user: Connection) -> set[bytes]:
    """Return the keys of all items, as the crawler finds them."""
    while (dump := user.ask(b"lru_crawler metadump all\r\n")).startswith(b"BUSY"):
        time.sleep(0.01)  # it crawls by itself at times
    while not dump.endswith(b"END"):
        dump += b"\n" + user.line()
    return {line[4:].split()[0] for line in dump.splitlines() if line.startswith(b"key=")}


def _ask_again(check: Check, users: dict[str, Connection], tokens: dict[bytes, int]) -> None:
    """Ask for what was stored first."""
    for key, token in tokens.items():
        check.is_(f"CAS of {key!r}", int(users["text"].ask(b"mg %b c\r\n" % key)[4:]), token)
    check.asked(users["meta"], b"get plain flags\r\n", b"VALUE plain 0 5\r\nhello\r\nVALUE flags ")
    check.is_("flags", users["meta"].line(), b"4294967295 0")
    check.is_("the rest", users["meta"].exactly(7), b"\r\nEND\r\n")
    for key, flags, lives_s in ((b"expires", 3, 500), (b"meta", 9, 600), (b"binary", 11, 700)):
        seen = [int(word[1:]) for word in users["text"].ask(b"mg %b f t\r\n" % key).split()[1:]]
        check.is_(f"flags of {key!r}", seen[0], flags)
        check.is_(f"{key!r} lives on", lives_s - 60 < seen[1] <= lives_s, True)
    halves = ((b"text", 6, b"t" * 3000), (b"meta", 7, b"m" * 4000), (b"binary", 8, b"b" * 3000))
    for key, flags, value in halves:
        wanted = b"VALUE half.%b %d %d\r\n%b\r\nEND\r\n" % (key, flags, len(value), value)
        check.asked(users["text"], b"get half.%b\r\n" % key, wanted)
    wanted = b"VALUE large 1 %d\r\n%b\r\nEND\r\n" % (len(_LARGE), _LARGE)
    right = sum(users["late"].exactly(len(wanted)) == wanted for _ in range(40))
    check.is_("answers that were read late", right, 40)


@contextlib.contextmanager
def _server(command: Sequence[str]) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="memcached-") as directory:
        ports = Path(directory) / "ports"
        Path(directory).chmod(0o755)
        words = ["-l", "127.0.0.1", "-p", "-1", "-t", "2", "-A", "-o", "idle_timeout=3600"]
        words += ["-u", "root"] if os.geteuid() == 0 else []
        environment = os.environ | {"MEMCACHED_PORT_FILENAME": str(ports)}
        server = subprocess.Popen([*command, *words], env=environment)
        try:
            yield _port(server, ports)
        finally:
            try:
                server.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()


def _port(server: subprocess.Popen[bytes], ports: Path) -> int:
    deadline = time.monotonic() + _TIMEOUT_S
    while not ports.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit("the server did not start")
        time.sleep(0.01)
    found = re.search(r"TCP INET: (\d+)", ports.read_text(encoding="ascii"))
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
