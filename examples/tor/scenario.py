"""A Tor relay is updated while circuits and streams go through it, to itself as often as one likes.

Fetches and builds Tor, starts a network on the loopback device (an authority, another relay, a
client, all of the plain build) with the relay that is updated as first, middle and last hop of
circuits with streams in transfer, and updates it: to the same version and back, to releases that
crash or never become ready. Exit status: 0 done, 1 something was lost, 3 the source cannot be had
at the moment.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
import tor_network as networks  # noqa: E402
import tor_releases as releases  # noqa: E402
from scenarios import Result, unexpected  # noqa: E402
from tor_streams import CHUNK_BYTES, Echo, Stream  # noqa: E402

OLD, SAME = releases.VERSION, f"{releases.VERSION}+same"
BROKEN, STUCK = f"{releases.VERSION}+broken", f"{releases.VERSION}+stuck"
FIELD = releases.WITH_FIELD
HISTORIES = 6
"""Of bandwidth: read and written, of IPv6, of directories."""
PATHS = {
    "first": ("live", "authority", "other"),
    "middle": ("authority", "live", "other"),
    "last": ("other", "authority", "live"),
}
"""By the relay's place in it: a circuit. Its last hop connects to the server."""
IMAGES_KB = 8192
"""Of old versions that may still be there for a while."""
CHUNKS = 100
"""Of 4 KiB, that the streams of a circuit must bring there and back before and after an update."""
CHUNKS_OF_ROUND = 20
"""The same for each round of many updates."""


def main(arguments: Sequence[str]) -> int:
    """Build, then run the scenario; return the exit status."""
    parser = argparse.ArgumentParser(description="a Tor relay is updated while it relays")
    parser.add_argument("--rounds", type=int, default=25, help="there and back, two updates each")
    parser.add_argument("--streams", type=int, default=2, help="through each circuit")
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    options = scenarios.arguments_of(parser, arguments)
    status = 0 if options.built else int(releases.build(options.cflags))
    if status != 0:
        return status
    figures = scenarios.Figures(f"{len(PATHS)} circuits, {len(PATHS) * options.streams} streams")
    with tempfile.TemporaryDirectory(prefix="tor-") as place:
        os.environ["KITSUNE_RUNTIME_DIR"] = f"{place}/run"
        Path(place, "run").mkdir(mode=0o700)
        command = [*scenarios.KITSUNE, "run", str(releases.released(OLD))]
        programs = networks.Programs(releases.tor(OLD), releases.gencert(OLD), command)
        print("== a network", flush=True)
        with networks.network(Path(place), programs) as network:
            world = World(network, options.streams, figures)
            results = [
                world.update(),
                world.undo(BROKEN, "K354"),
                world.undo(STUCK, "K356", "--limit-ms", "2000"),
                world.go_round(options.rounds),
                world.transform(),
            ]
            if any(result.lost for result in results):
                print(network.log("live")[-4000:], file=sys.stderr)
    scenarios.print_results(results)
    print(scenarios.manifest_of(HERE))
    figures.write(options.figures)
    return 1 if any(result.lost for result in results) else 0


class World:
    """A network whose relay is updated, and what goes through it meanwhile."""

    def __init__(self, network: networks.Network, streams: int, figures: scenarios.Figures) -> None:
        self._network = network
        self._pid = network.pids["live"]
        self._streams = streams
        self._figures = figures
        self._echo = Echo()
        self._circuits = {place: network.circuit(*path) for place, path in PATHS.items()}
        for circuit in self._circuits.values():
            network.wait_for_streams(circuit, self._echo.port)

    @contextlib.contextmanager
    def _traffic(self, result: Result) -> Iterator[list[Stream]]:
        """Have streams in transfer; what they lost is the result's."""
        with contextlib.ExitStack() as stack:
            streams = []
            for place, circuit in self._circuits.items():
                for number in range(self._streams):
                    connection = self._network.connect(circuit, self._echo.port)
                    name = f"stream {number} with the relay as {place} hop"
                    streams.append(stack.enter_context(Stream(name, connection, self._streams - 1)))
            self._go_on(streams)
            yield streams
            self._go_on(streams)
        complaints = [line for stream in streams for line in stream.complaints]
        result.lost += complaints
        chunks = sum(stream.received for stream in streams)
        longest_ms = max(stream.longest_s for stream in streams) * 1000
        result.checks["streams"] = (
            f"{len(streams)}, {chunks * CHUNK_BYTES // 1024} KiB there and back, "
            f"{len(complaints)} failed; longest wait {longest_ms:.0f} ms"
        )
        self._figures.requests += chunks
        self._figures.failed += len(complaints)

    def _go_on(self, streams: Sequence[Stream], chunks: int = CHUNKS) -> None:
        for stream in streams:
            stream.wait_for(1 + chunks // self._streams)

    def update(self) -> Result:
        """Become the same version amid all that goes on, and back."""
        print(f"== {OLD} to itself", flush=True)
        result = Result(f"{OLD} to {SAME}")
        before = self._figures.begin(self._pid)
        with self._traffic(result) as streams:
            self._request(result, SAME)
            self._go_on(streams)
            result.answer = self._back(result)
        self._figures.end(self._pid, result)
        after = self._figures.memory_after_kb
        result.checks["memory"] = f"{before} kB before, {after} kB after"
        self._check(result)
        return result

    def _request(self, result: Result, version: str, *more: str) -> None:
        result.answer = scenarios.update(self._pid, releases.released(version), *more)
        _expect(result, "updated")

    def _back(self, result: Result) -> dict[str, Any]:
        answer = scenarios.go_back(self._pid, releases.HERE)
        went = Result("", answer)
        _expect(went, "updated")
        result.lost += went.lost
        return answer

    def undo(self, version: str, code: str, *more: str) -> Result:
        """Try a release that fails; the relay must go on."""
        print(f"== {version}, which fails", flush=True)
        result = Result(f"{OLD} to {version}, undone")
        with self._traffic(result) as streams:
            result.answer = scenarios.update(self._pid, releases.released(version), *more)
            _expect(result, "rolled-back", code)
            self._go_on(streams)
        result.checks["reason"] = scenarios.reason(result.answer)
        self._check(result)
        return result

    def transform(self) -> Result:
        """Become a version in which some objects have a field more."""
        print(f"== {OLD} to {FIELD}", flush=True)
        result = Result(f"{OLD} to {FIELD}")
        with self._traffic(result):
            self._figures.begin(self._pid)
            self._request(result, FIELD)
        self._figures.end(self._pid, result)
        moved = sum(each["moved"] for each in result.answer.get("types", ()))
        result.check("histories that got a field", moved, HISTORIES)
        self._check(result)
        return result

    def go_round(self, rounds: int) -> Result:
        """Update to the same version and back, as often as is said."""
        print(f"== to itself and back, {rounds} times", flush=True)
        result = Result(f"{OLD} to itself and back, {rounds} times")
        pauses = []
        memory = [self._memory_kb()]
        with self._traffic(result) as streams:
            for _ in range(rounds):
                self._request(result, SAME)
                pauses.append(result.answer.get("pause_ns", 0) / 1e6)
                result.answer = self._back(result)
                pauses.append(result.answer.get("pause_ns", 0) / 1e6)
                if result.lost:
                    break
                self._go_on(streams, CHUNKS_OF_ROUND)
                memory.append(self._memory_kb())
        self._figures.add_pauses(result, pauses)
        self._figures.memory_after_kb = memory[-1][0]
        grown, plain = map(_grown, zip(*memory, strict=True))
        result.checks["memory"] = (
            f"{grown} kB more in the later half than in the earlier, of a plain relay {plain} kB"
        )
        if grown > plain + IMAGES_KB:
            result.lost.append("memory grows")
        self._check(result)
        return result

    def _memory_kb(self) -> tuple[int, int]:
        """Return what the relay has, and the other one, through which the same goes."""
        return scenarios.resident_kb(self._pid), scenarios.resident_kb(self._network.pids["other"])

    def _check(self, result: Result) -> None:
        """Look whether the circuits are there, and whether new ones can be built."""
        there = self._network.circuits()
        kept = sum(circuit in there for circuit in self._circuits.values())
        result.check("circuits that stayed", kept, len(self._circuits))
        built = 0
        for path in PATHS.values():
            with self._network.connect(self._network.circuit(*path), self._echo.port) as stream:
                stream.sendall(b"new")
                built += stream.recv(3, networks.socket.MSG_WAITALL) == b"new"
        result.check("new circuits", built, len(PATHS))
        complaints = re.findall(r".*\[(?:err|warn)\].*", self._network.log("live"))
        bugs = [line for line in complaints if "Bug" in line or "[err]" in line]
        result.check("bugs that it logged", len(bugs), 0)
        result.lost += bugs


def _grown(memory_kb: Sequence[int]) -> int:
    """Return how much more there was at least in the later half; old versions come and go."""
    half = len(memory_kb) // 2
    return min(memory_kb[half:]) - min(memory_kb[: max(half, 1)])


def _expect(result: Result, outcome: str, code: str = "") -> None:
    """Note another outcome, or another code, as a loss: the streams are still to be looked at."""
    if wrong := unexpected(result.answer, outcome, code):
        result.lost.append(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
