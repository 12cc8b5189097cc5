"""A test driver of a Tor relay: circuits, streams and the control protocol, through and to it.

In: the command that starts the relay, which is the entry of one circuit and the exit of another in
a network of its own. Out: a line per answer, and exit status 0 if all were right. The answers stay
right if the relay becomes its next version at any moment on the way: `kitsune test-update` tries
that. The rest of the network is of the plain build.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tor_network as networks
import tor_releases as releases
from tor_streams import CHUNK_BYTES, Echo, Stream

PATHS = {"entry": ("live", "authority"), "exit": ("authority", "live")}
"""By the relay's place in it: a circuit."""
CHUNKS = 40
"""That each stream brings there and back."""
BUSY_CHUNKS = 10
"""That they bring while other things go on."""
TIMEOUT_S = 60
_CONVERSATION = (
    ("GETINFO version", r"version=0\.4\.9\.11"),
    ("GETCONF Nickname", r"Nickname=live"),
    ("GETCONF RelayBandwidthRate", r"RelayBandwidthRate=0"),
    ("SETCONF RelayBandwidthRate=64MBytes RelayBandwidthBurst=64MBytes", r"OK"),
    ("GETCONF RelayBandwidthRate", r"RelayBandwidthRate=67108864"),
    ("SETCONF Nickname=no.name", r"513 Unacceptable option value.*"),
    ("RESETCONF RelayBandwidthRate RelayBandwidthBurst", r"OK"),
    ("GETCONF RelayBandwidthRate", r"RelayBandwidthRate=0"),
    ("SETEVENTS BW SIGNAL CONF_CHANGED", r"OK"),
    ("SIGNAL RELOAD", r"OK"),
    ("GETINFO net/listeners/or", r'net/listeners/or="127\.0\.0\.1:\d+"'),
    ("GETINFO traffic/read", r"traffic/read=[1-9]\d*"),
    ("NOSUCHCOMMAND", r"510 .*"),
)  # fmt: skip
"""What the relay is asked, and what it answers first."""


def main(arguments: Sequence[str]) -> int:
    """Check the relay that `arguments` start; return 0 if every answer was right."""
    version = releases.VERSION
    programs = networks.Programs(
        releases.tor(version), releases.gencert(version), arguments, others=()
    )
    with (
        tempfile.TemporaryDirectory(prefix="tor-check-") as place,
        networks.network(Path(place), programs) as network,
    ):
        complaints = check(network)
        if complaints:
            print(network.log("live")[-4000:], file=sys.stderr)
    for line in complaints:
        print(f"wrong: {line}", file=sys.stderr)
    return min(len(complaints), 1)


def check(network: networks.Network) -> list[str]:
    """Work with the relay until it ends; return what was wrong."""
    echo = Echo()
    circuits = {place: network.circuit(*path) for place, path in PATHS.items()}
    complaints: list[str] = []
    streams = []
    for place, circuit in circuits.items():
        network.wait_for_streams(circuit, echo.port)
        connection = network.connect(circuit, echo.port)
        streams.append(Stream(f"the stream with the relay as {place}", connection))
        streams[-1].__enter__()
    complaints += _converse(network)
    for stream in streams:
        stream.wait_for(BUSY_CHUNKS)
    for place, path in PATHS.items():
        with network.connect(network.circuit(*path), echo.port) as opened:
            opened.sendall(b"through a new circuit")
            answer = opened.recv(21, networks.socket.MSG_WAITALL)
            print(f"{place} of a new circuit: {answer.decode()}")
    for stream in streams:
        stream.wait_for(max(1, CHUNKS - stream.received))
        stream.finish()
        complaints += stream.complaints
        print(f"{stream.name}: {'wrong' if stream.complaints else CHUNKS * CHUNK_BYTES} bytes")
    kept = network.circuits()
    complaints += [f"circuit {c} is gone" for c in circuits.values() if c not in kept]
    return complaints + _end(network)


def _converse(network: networks.Network) -> list[str]:
    wrong = []
    for words, expected in _CONVERSATION:
        try:
            answer = network.relay_control.ask(words)[0]
        except networks.NetworkFailed as error:
            answer = str(error).partition(": ")[2]
        print(f"{words}: {expected}")
        if re.fullmatch(expected, answer) is None:
            wrong.append(f"the answer to {words} is {answer!r}")
    for event in ("SIGNAL RELOAD", "BW "):  # a second's bandwidth comes when it is over
        network.relay_control.event(lambda line, wanted=event: line.startswith(wanted))
        print(f"event: {event}")
    return wrong


def _end(network: networks.Network) -> list[str]:
    """Have the relay end, as one that is asked by its control port does."""
    network.relay_control.ask("SIGNAL HALT")
    try:
        status = network.processes["live"].wait(TIMEOUT_S)
    except networks.subprocess.TimeoutExpired:
        return ["the relay does not end"]
    print("ended")
    log = network.log("live")
    complaints = re.findall(r".*\[err\].*|.*\bBug\b.*", log)
    return complaints + ([] if status == 0 else [f"the relay ended with status {status}"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
