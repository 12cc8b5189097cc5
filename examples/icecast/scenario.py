"""Icecast is updated while it streams: to itself, to a field more, with sources and listeners.

Fetches and builds 2.4.4 and variants of it with SCons and starts it. Two sources stream numbered
blocks, as MPEG and as Ogg, a third stream is relayed, and who hears that is asked of an
authenticator; many listen, some by TLS, and check every byte, others come and go, read its pages,
are told of each change of its statistics, have sent half a request or read half a file. Exit
status: 0 done, 1 something was lost, 3 it cannot be done here at the moment (no source, no
headers).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import radio_clients as clients
import radio_server

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
from scenarios import NOT_HERE, Figures, Result, expected, release  # noqa: E402

BASE = "2.4.4"
SAME, FIELD, STUCK = f"{BASE}+same", f"{BASE}+field", f"{BASE}+stuck"
BROKEN = {f"{BASE}+wrong": "K353", f"{BASE}+crash": "K354", STUCK: "K356"}
LIMITS = {STUCK: ("--limit-ms=3000",)}
"""For the release that hangs; others have the default."""
WAIT = "--wait-ms=60000"
"""Where nothing else is asked for: the manifest's is for a machine that has time."""
HEADERS = {
    "libxml/parser.h": "libxml2-dev",
    "libxslt/xslt.h": "libxslt1-dev",
    "vorbis/codec.h": "libvorbis-dev",
    "ogg/ogg.h": "libogg-dev",
    "curl/curl.h": "libcurl4-openssl-dev",
    "openssl/ssl.h": "libssl-dev",
}


def main(arguments: Sequence[str]) -> int:
    """Build, run the scenario; return the exit status."""
    parser = argparse.ArgumentParser(description="Icecast is updated while it streams")
    parser.add_argument("--listeners", type=int, default=100, help="to each of the streams")
    parser.add_argument("--rate", type=int, default=16000, help="bytes per second of a stream")
    parser.add_argument("--again", type=int, default=50, help="updates to itself, and back")
    options = scenarios.arguments_of(parser, arguments)
    if missing := missing_packages():
        print(f"icecast: headers are missing ({', '.join(missing)})", file=sys.stderr)
        return NOT_HERE
    status = scenarios.build_chain(HERE, (BASE,), options.cflags)
    if status != 0:
        return status
    command = [*scenarios.KITSUNE, "run", str(release(HERE, BASE))]
    with tempfile.TemporaryDirectory(prefix="icecast-") as place:
        os.environ["KITSUNE_RUNTIME_DIR"] = f"{place}/run"
        with (
            clients.Radio(options.listeners, options.rate) as radio,
            radio_server.started(command, Path(place), radio.serve_others()) as (pid, *ports),
        ):
            print(f"== three streams, {options.listeners} listeners to each", flush=True)
            radio.begin(*ports)
            figures = Figures(f"{len(radio.listeners)} listeners")
            return serve(World(pid, ports[0], Path(place), radio, figures), options)


def missing_packages() -> list[str]:
    """Return the Debian packages of those headers that the compiler does not find."""
    missing = []
    for header, package in HEADERS.items():
        flags = ["-I/usr/include/libxml2", "-E", "-include", header, "-x", "c", "/dev/null"]
        if subprocess.run(["gcc", *flags], capture_output=True, check=False).returncode != 0:
            missing.append(package)
    return [*missing, *(tool for tool in ("pkg-config", "openssl") if not shutil.which(tool))]


def serve(world: World, options: argparse.Namespace) -> int:
    """Update the server again and again amid all that it does; return the exit status."""
    radio = world.radio
    radio.wait_for(20)
    results = [world.update(BASE, SAME), world.go_back(SAME)]
    results += [world.refuse(version, code) for version, code in BROKEN.items()]
    results.append(world.wait_in_vain())
    results += [world.update(BASE, FIELD), world.go_back(FIELD)]
    for variant in (SAME, FIELD):
        if options.again:
            results.append(world.go_there_and_back(variant, options.again))
    results.append(world.reread_configuration())
    complaints = list(radio.complaints)
    scenarios.print_results(results)
    print(f"\nblocks: {radio.blocks()} received by {len(radio.listeners)} listeners, none missing")
    print("asked of others: " + ", ".join(f"{n} {path}" for path, n in sorted(radio.asked.items())))
    print(f"changes of statistics told: {radio.events}, titles heard: {radio.titles}")
    scenarios.print_requests("requests", radio.requests, complaints)
    print(scenarios.manifest_of(HERE))
    world.figures.requests, world.figures.failed = radio.requests, len(complaints)
    world.figures.write(options.figures)
    return 1 if complaints or any(result.lost for result in results) else 0


@dataclass(frozen=True, slots=True)
class World:
    """A server that is updated, and what is around it."""

    pid: int
    port: int
    directory: Path
    radio: clients.Radio
    figures: Figures

    def update(self, old: str, new: str) -> Result:
        """Update the server, and look whether all goes on."""
        result = self._changed(f"{old} to {new}", lambda: self._update(new))
        if new == FIELD:
            for stream in ("/stream.mp3", "/stream.ogg"):
                there, updated = clients.updated_listeners(self.port, stream)
                result.checks[f"listeners of {stream} with the new field set"] = str(updated)
                if not 0 < updated <= there:
                    result.lost.append(f"{updated} of {there} listeners have the new field")
        return result

    def go_back(self, new: str) -> Result:
        """Go back to the version before."""
        return self._changed(f"{new} back to {BASE}", self._go_back)

    def refuse(self, version: str, code: str) -> Result:
        """Try a release that fails on its way; the server must go on."""
        print(f"== {BASE} to {version}", flush=True)
        result = Result(f"{BASE} to {version}, undone ({code})")
        with self._around(result):
            result.answer = expected(self._update(version), "rolled-back", code)
        result.checks["reason"] = scenarios.reason(result.answer)
        return result

    def wait_in_vain(self) -> Result:
        """Ask while a thread waits for another server, which does not answer in time."""
        print(f"== {BASE} to {SAME}, with a thread that does not come", flush=True)
        result = Result(f"{BASE} to {SAME}, given up (K361)")
        with self._around(result):
            with self.radio.silent_authenticator():
                answer = scenarios.update(self.pid, release(HERE, SAME))
            result.answer = expected(answer, "refused", "K361")
        result.checks["reason"] = scenarios.reason(result.answer)
        return result

    def go_there_and_back(self, variant: str, times: int) -> Result:
        """Update to a variant and back, again and again."""
        what = f"{BASE} to {variant} and back, {times} updates"
        print(f"== {what}", flush=True)
        result = Result(what)
        pauses, memory = [], []
        with self._around(result):
            for number in range(times):
                answer = expected(self._go_back() if number % 2 else self._update(variant))
                result.answer = answer
                pauses.append(answer["pause_ns"] / 1e6)
                memory.append(scenarios.resident_kb(self.pid))
                self.radio.wait_for(1)
        self.figures.end_many(result, pauses, memory)
        return result

    def reread_configuration(self) -> Result:
        """Send the signal for it, whose handler is the last version's by now."""
        result = Result("the configuration is read again")
        with self._around(result):
            os.kill(self.pid, signal.SIGHUP)
            radio_server.wait_for_log(self.directory, "re-reading config", 2)
        return result

    def _changed(self, what: str, request: Callable[[], dict[str, Any]]) -> Result:
        print(f"== {what}", flush=True)
        result = Result(what)
        with self._around(result):
            memory = self.figures.begin(self.pid)
            result.answer = expected(request())
        self.figures.end(self.pid, result)
        result.checks["memory"] = f"{memory} kB before, {scenarios.resident_kb(self.pid)} kB after"
        return result

    @contextlib.contextmanager
    def _around(self, result: Result) -> Iterator[None]:
        """Begin things before an update, and look afterwards what became of them."""
        half_sent = [clients.HalfSent(self.port) for _ in range(3)]
        large = self.directory / "web/large.bin"
        half_read = [clients.HalfRead(self.port, large) for _ in range(3)]
        self.radio.longest_silence_ms()
        yield
        self.radio.wait_for(40)
        result.check("requests half sent before", sum(each.finish() for each in half_sent), 3)
        result.check("files half read before", sum(each.finish() for each in half_read), 3)
        result.checks["longest silence of a stream"] = f"{self.radio.longest_silence_ms():.0f} ms"
        result.lost += self.radio.complaints[:5]

    def _update(self, version: str) -> dict[str, Any]:
        limits = LIMITS.get(version, ())
        return scenarios.update(self.pid, release(HERE, version), WAIT, *limits)

    def _go_back(self) -> dict[str, Any]:
        return scenarios.go_back(self.pid, HERE, WAIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
