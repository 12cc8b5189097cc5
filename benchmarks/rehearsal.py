"""How well a rehearsal foretells: the pause and the memory of the update that follows it.

In: the shipped example, with a million keys unless told otherwise. Out: for each update of each
run, what was foretold and what then was, side by side, and the ratio of the pauses. On a machine
that others use, the time spent waiting for a processor differs from one minute to the next: the
ratio is shown without it as well. Run by itself (`./kit python benchmarks/rehearsal.py`) or by
`./kit bench`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis

from kitsune_tool import channel, launcher

ROOT = Path(__file__).resolve().parents[1]
RELEASES = ROOT / "build/kvd/releases/kvd"
VERSIONS = ("1.0", "2.0", "3.0")
KEYS = 1_000_000
RUNS = 3
HEADING = (
    f"{'update':10} {'foretold':>12} {'then':>12} {'ratio':>7} {'of that waiting':>23} "
    f"{'without':>8} {'memory foretold':>16} {'grown':>16}"
)
_LIMIT_S = 600.0
_PIPELINE = 5000


@dataclass(frozen=True, slots=True)
class Forecast:
    """An update, foretold and done. Times in ns."""

    update: str
    foretold_ns: int
    real_ns: int
    foretold_waited_ns: int
    real_waited_ns: int
    memory_bytes: int
    growth_bytes: int
    real_growth_bytes: int

    @property
    def ratio(self) -> float:
        """What was foretold for each that was."""
        return self.foretold_ns / self.real_ns

    @property
    def ratio_without_waiting(self) -> float:
        """The same of the time that both had a processor."""
        foretold_ns = self.foretold_ns - self.foretold_waited_ns
        return foretold_ns / max(1, self.real_ns - self.real_waited_ns)


def measure(keys: int = KEYS, runs: int = RUNS) -> Iterator[Forecast]:
    """Build the example, and foretell and update fresh servers of so many keys."""
    command = [sys.executable, "-m", "SCons", "-C", str(ROOT), "-Q", "-s", "-j2", "release-chain"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for _ in range(runs):
        with _server(keys) as server:
            for before, after in itertools.pairwise(VERSIONS):
                yield _forecast(server, f"{before}→{after}", _release(after))


def row(forecast: Forecast) -> str:
    """Return a line of the table."""
    grown = f"{_mib(forecast.growth_bytes)} / {_mib(forecast.real_growth_bytes)}"
    waited = f"{_ms(forecast.foretold_waited_ns)} / {_ms(forecast.real_waited_ns)}"
    return (
        f"{forecast.update:10} {_ms(forecast.foretold_ns):>12} {_ms(forecast.real_ns):>12} "
        f"{forecast.ratio:>6.2f}x {waited:>23} {forecast.ratio_without_waiting:>7.2f}x "
        f"{_mib(forecast.memory_bytes):>16} {grown:>16}"
    )


def _release(version: str) -> Path:
    return RELEASES / version / "kvd.so"


@contextlib.contextmanager
def _server(keys: int) -> Iterator[channel.Channel]:
    with tempfile.TemporaryDirectory() as directory:
        command = [str(launcher.launcher_path()), str(_release(VERSIONS[0])), "--port", "0"]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "KITSUNE_RUNTIME_DIR": directory},
        ) as process:
            assert process.stdout is not None
            try:
                ready = re.search(r"ready on port (\d+)", process.stdout.readline())
                if ready is None:
                    raise SystemExit("the example does not start")
                _load(int(ready[1]), keys)
                yield channel.Channel(Path(directory), process.pid)
            finally:
                process.terminate()


def _load(port: int, keys: int) -> None:
    with redis.Redis(port=port, protocol=2) as client:
        for first in range(0, keys, _PIPELINE):
            pipe = client.pipeline(transaction=False)
            for number in range(first, min(first + _PIPELINE, keys)):
                pipe.set(f"key:{number}", f"value-{number:08}")
            pipe.execute()


def _forecast(server: channel.Channel, update: str, release: Path) -> Forecast:
    _await_rest(server)
    foretold = _ask(server, "rehearse", release, "rehearsed")
    waited_ns, memory = _waited_ns(server.pid), _anonymous_bytes(server.pid)
    real = _ask(server, "update", release, "updated")
    return Forecast(
        update,
        foretold["pause_ns"],
        real["pause_ns"],
        foretold["waited_ns"],
        _waited_ns(server.pid) - waited_ns,
        foretold["memory_bytes"],
        foretold["growth_bytes"],
        max(0, _anonymous_bytes(server.pid) - memory),
    )


def _await_rest(server: channel.Channel) -> None:
    """Wait until the update before has freed what it left behind: an operator is not faster."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        updates = channel.ask(server, ["status"], _LIMIT_S)["updates"]
        if not updates or updates[-1]["old_image"]:
            return
        time.sleep(0.1)


def _ask(server: channel.Channel, verb: str, release: Path, expected: str) -> dict[str, Any]:
    answer = channel.ask(server, [verb, os.fspath(release), "0", "10000"], _LIMIT_S)
    if answer["outcome"] != expected:
        raise SystemExit(f"{verb}: {answer}")
    return answer


def _waited_ns(pid: int) -> int:
    """Return how long the process was ready to run, but had no processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1])


def _anonymous_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return 1024 * int(text.partition("RssAnon:")[2].split()[0])


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.1f} ms"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="how well a rehearsal foretells an update")
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    print(HEADING)
    found = []
    for forecast in measure(options.keys, options.runs):
        found.append(forecast)
        print(row(forecast), flush=True)
    if options.json:
        options.json.write_text(
            json.dumps([asdict(each) | {"ratio": each.ratio} for each in found], indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
