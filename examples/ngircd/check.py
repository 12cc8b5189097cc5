"""A test driver of ngIRCd: two clients talk through it; each line that they must get is awaited.

In: the command that starts the server. Out: a line per step, and exit status 0 if all came. What
comes is the same if the server becomes its next version at any moment on the way: `kitsune
test-update` tries that. It speaks IRC itself: a client library would send no half of a line.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import scenarios

_TIMEOUT_S = 60
_CONFIGURATION = """
[Global]
Name = irc.example.net
Info = updated while it runs
Listen = 127.0.0.1
Ports = {port}
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
[Operator]
Name = root
Password = secret
[Channel]
Name = #lobby
Topic = waiting for the next version
Modes = +tn
"""


@dataclass(frozen=True, slots=True)
class _Step:
    """What a client sends, and what then comes to whom: regular expressions, in this order."""

    who: str
    sends: str
    comes: tuple[tuple[str, str], ...]


def _step(who: str, sends: str, **comes: str) -> _Step:
    return _Step(who, sends, tuple(comes.items()))


_END = "\r\n"
_SESSION = (
    _step("alice", "NICK alice\r\nUSER al"),
    _step("bob", "NICK bob\r\nUSER bob 0 * :the bob\r\n", bob=r" (376|422) bob "),
    _step("alice", "ice 0 * :the alice\r\n", alice=r" (376|422) alice "),
    _step("alice", "JOIN #lab\r\n", alice=r"^:alice!\S+ JOIN :?#lab$"),
    _step("alice", "TOPIC #lab :under our feet\r\n", alice=r" TOPIC #lab :under our feet$"),
    _step("alice", "MODE #lab +kl secret 9\r\n", alice=r" MODE #lab \+kl secret 9$"),
    _step("bob", "JOIN #lab\r\n", bob=r" 475 bob #lab "),
    _step("bob", "JOIN #lab secret\r\n", bob=r" 332 bob #lab :under our feet$"),
    _step("alice", "", alice=r"^:bob!\S+ JOIN :?#lab$"),
    _step("bob", "PING :half\r\nPRIVMSG #lab :half of ", bob=r" PONG \S+ :half$"),
    _step("alice", "PRIVMSG #lab :whole\r\n", bob=r"^:alice!\S+ PRIVMSG #lab :whole$"),
    _step("bob", "a line\r\n", alice=r"^:bob!\S+ PRIVMSG #lab :half of a line$"),
    _step("alice", "PRIVMSG bob :psst\r\n", bob=r"^:alice!\S+ PRIVMSG bob :psst$"),
    _step("alice", "MODE #lab +v bob\r\n", bob=r" MODE #lab \+v bob$"),
    _step("bob", "NAMES #lab\r\n", bob=r" 353 bob . #lab :(\+bob @alice|@alice \+bob)$"),
    _step("bob", "AWAY :out\r\n", bob=r" 306 bob "),
    _step("alice", "PRIVMSG bob :there?\r\n", alice=r" 301 alice bob :out$"),
    _step("bob", "NICK rob\r\n", alice=r"^:bob!\S+ NICK :?rob$", bob=r" PRIVMSG bob :there\?$"),
    _step("alice", "WHOIS rob\r\n", alice=r" 311 alice rob ~?bob \S+ \* :the bob$"),
    _step("alice", "", alice=r" 318 alice rob "),
    _step("bob", "LIST\r\n", bob=r" 322 rob #lab 2 :under our feet$"),
    _step("bob", "JOIN #lobby\r\n", bob=r" 332 rob #lobby :waiting for the next version$"),
    _step("bob", "TOPIC #lobby :mine\r\n", bob=r" 482 rob #lobby "),
    _step("bob", "QUIT :bye\r\n", bob=r"^ERROR :", alice=r"^:rob!\S+ QUIT :.*bye"),
    _step("alice", "NAMES #lab\r\n", alice=r" 353 alice . #lab :@alice$"),
    _step("alice", "OPER root secret\r\n", alice=r" 381 alice "),
)


class _Client:
    """A connection, and the lines that come over it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)
        self._lines = self._socket.makefile(encoding="utf-8", newline=_END)

    def send(self, text: str) -> None:
        """Send some bytes, lines or not."""
        self._socket.sendall(text.encode())

    def gets(self, pattern: str) -> bool:
        """Tell whether a line comes that matches; those before it are dropped."""
        with contextlib.suppress(OSError):
            for line in self._lines:
                if re.search(pattern, line.rstrip(_END)):
                    return True
        return False


def main(arguments: Sequence[str]) -> int:
    """Check the server that `arguments` start; return 0 if every line came."""
    with _server(arguments) as port:
        clients = {name: _Client(port) for name in ("alice", "bob")}
        for step in _SESSION:
            clients[step.who].send(step.sends)
            for who, pattern in step.comes:
                if not clients[who].gets(pattern):
                    print(f"{step.who}: {step.sends!r}: {who} does not get {pattern!r}")
                    return 1
            print(f"{step.who}: {step.sends!r}: as it should be", flush=True)
        clients["alice"].send("DIE\r\n")  # a signal could come in the middle of an update
    return 0


@contextlib.contextmanager
def _server(command: Sequence[str]) -> Iterator[int]:
    """Run the server in the foreground; it ends itself."""
    with tempfile.TemporaryDirectory(prefix="ngircd-") as place:
        port = scenarios.free_port()
        config = Path(place) / "ngircd.conf"
        config.write_text(_CONFIGURATION.format(port=port), encoding="utf-8")
        server = subprocess.Popen([*command, "-n", "-f", str(config)])
        try:
            scenarios.wait_for_port(port)
            yield port
            if status := server.wait(_TIMEOUT_S):
                sys.exit(f"ngIRCd ended with status {status}")
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
