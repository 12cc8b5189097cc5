"""A test driver of dnsmasq: starts it, asks over UDP and TCP, leases, fetches; checks each answer.

In: the command that starts it. Out: a line per answer, and exit status 0 if all were right. They
stay right if dnsmasq becomes its next version at any moment on the way: `kitsune test-update` tries
that. It runs in a network namespace of its own, as scenario.py does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import clients
import scenario
import upstream
from clients import Question
from scenario import known

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import scenarios

_TIMEOUT_S = 30
_INSIDE = "--inside"
_CACHED = tuple(
    known(name, kind)
    for name, kind in (
        ("host1.up.example", "A"),
        ("host1.up.example", "AAAA"),
        ("only4-1.up.example", "AAAA"),
        ("nothing1.up.example", "A"),
        ("1.100.51.198.in-addr.arpa", "PTR"),
        ("alias1.up.example", "A"),
        (f"host1{scenario.LONG}.up.example", "A"),
        (f"host1{scenario.LONGER}.up.example", "A"),
        ("long.up.example", "TXT"),
    )
)


def main(arguments: Sequence[str]) -> int:
    """Check the server that `arguments` start; return 0 if every answer was right."""
    if arguments[:1] != [_INSIDE]:
        inside = [*scenario.namespace(), sys.executable, __file__, _INSIDE, *arguments]
        return subprocess.run(inside, check=False).returncode
    scenarios.bring_loopback_up()
    with (
        tempfile.TemporaryDirectory(prefix="dnsmasq-") as place,
        upstream.Upstream() as above,
        _server(arguments[1:], Path(place)),
    ):
        return min(sum(not is_right for is_right in _session(above, Path(place))), 1)


def _session(above: upstream.Upstream, place: Path) -> Iterator[bool]:
    """Go through all that is asked; yield whether each answer is right."""
    transfer = clients.Transfer(place / "boot.img")
    transfer.fetch(3)
    yield from map(_is_answered, _CACHED)
    yield from map(_is_answered, scenario.LOCAL)
    connection = clients.OverTcp()  # whoever serves it has the cache of now
    yield _told("over TCP", connection.is_answered(scenario.LOCAL[0]))
    above.mode = upstream.Mode.HOLD
    pending = clients.Pending(known("host2.up.example", "A"))
    yield _told("forwarded", above.wait_for_held(1, _TIMEOUT_S))
    yield _told("cached, over TCP", connection.is_answered(_CACHED[0]))
    above.mode = upstream.Mode.ANSWER
    above.release()
    yield _told("answered at last", pending.is_answered())
    relay = clients.Relay()
    address = relay.lease(1, "laptop")
    yield _told("renewed", relay.renew(1, address) == address)
    yield _is_answered(Question("laptop.lan.example", "A", (address,)))
    relay.close()
    before = dict(above.asked)
    yield from map(_is_answered, _CACHED)
    asked = [name for name, count in above.asked.items() if count != before.get(name)]
    yield _told(f"asked again: {asked}", not asked)
    yield _told("still over TCP", connection.is_answered(_CACHED[-1]))
    connection.close()
    another = clients.OverTcp()
    yield _told("over TCP afresh", another.is_answered(_CACHED[-1]))
    another.close()
    yield _told("fetched", transfer.finish())


def _is_answered(question: Question) -> bool:
    response = clients.ask(question)
    is_right = response is not None and question.is_answered_by(response)
    return _told(f"{question.name} {question.kind}", is_right)


def _told(what: str, is_right: bool) -> bool:
    print(f"{what}: {'as it should be' if is_right else 'WRONG'}", flush=True)
    return is_right


@contextlib.contextmanager
def _server(command: Sequence[str], place: Path) -> Iterator[None]:
    """Run the server in the foreground."""
    (place / "run").mkdir(mode=0o700)
    os.environ["KITSUNE_RUNTIME_DIR"] = str(place / "run")
    config = scenario.configure(place)
    server = subprocess.Popen([*command, "--keep-in-foreground", "-C", str(config)])
    try:
        scenarios.wait_for_port(53)
        yield
        server.terminate()
        if status := server.wait(_TIMEOUT_S):
            sys.exit(f"dnsmasq ended with status {status}")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
