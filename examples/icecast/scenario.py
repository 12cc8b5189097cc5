"""Icecast is updated while it streams: to itself and back, with its sources and listeners.

Fetches and builds 2.4.4 with SCons and starts it. Two sources stream numbered blocks, as MPEG and
as Ogg; many listen and check every byte, others come and go, read its pages, have sent half a
request or read half a file. Exit status: 0 done, 1 something was lost, 3 it cannot be done here
at the moment (no source, no headers).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import radio_clients as clients

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
from scenarios import NOT_HERE, Figures, Result, release  # noqa: E402

SOURCE = HERE / "build/source/icecast2_2.4.4"
BASE = "2.4.4"
SAME = f"{BASE}+same"
TIMEOUT_S = 120
HEADERS = {
    "libxml/parser.h": "libxml2-dev",
    "libxslt/xslt.h": "libxslt1-dev",
    "vorbis/codec.h": "libvorbis-dev",
    "ogg/ogg.h": "libogg-dev",
    "curl/curl.h": "libcurl4-openssl-dev",
    "openssl/ssl.h": "libssl-dev",
}
CONFIGURATION = """
<icecast>
  <limits><clients>2000</clients><sources>10</sources><burst-size>4096</burst-size>
    <header-timeout>3600</header-timeout></limits>
  <authentication>
    <source-password>{password}</source-password>
    <admin-user>admin</admin-user><admin-password>{password}</admin-password>
  </authentication>
  <hostname>127.0.0.1</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <fileserve>1</fileserve>
  <paths>
    <logdir>{directory}/log</logdir><webroot>{directory}/web</webroot><adminroot>{directory}/admin</adminroot>
  </paths>
  <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>3</loglevel></logging>
  <security><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>
</icecast>
"""


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
    with tempfile.TemporaryDirectory(prefix="icecast-") as place:
        os.environ["KITSUNE_RUNTIME_DIR"] = f"{place}/run"
        with server(Path(place)) as (pid, port):
            return serve(pid, port, Path(place), options)


def missing_packages() -> list[str]:
    """Return the Debian packages of those headers that the compiler does not find."""
    missing = []
    for header, package in HEADERS.items():
        flags = ["-I/usr/include/libxml2", "-E", "-include", header, "-x", "c", "/dev/null"]
        if subprocess.run(["gcc", *flags], capture_output=True, check=False).returncode != 0:
            missing.append(package)
    return missing if shutil.which("pkg-config") else [*missing, "pkg-config"]


@contextlib.contextmanager
def server(directory: Path) -> Iterator[tuple[int, int]]:
    """Run the first version; yield its process id and port."""
    directory.chmod(0o755)
    (directory / "run").mkdir(mode=0o700)
    (directory / "log").mkdir()
    (directory / "log").chmod(0o777)
    for part in ("web", "admin"):
        shutil.copytree(SOURCE / part, directory / part)
    (directory / "web/large.bin").write_bytes(os.urandom(4 << 20))
    port = scenarios.free_port()
    configuration = CONFIGURATION.format(password=clients.PASSWORD, port=port, directory=directory)
    if os.geteuid() != 0:
        configuration = re.sub(r"<security>.*</security>", "", configuration)
    (directory / "icecast.xml").write_text(configuration, encoding="utf-8")
    command = [*scenarios.KITSUNE, "run", str(release(HERE, BASE))]
    with (directory / "output").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, "-c", str(directory / "icecast.xml")], stdout=output, stderr=output
        )
    try:
        scenarios.wait_for_port(port)
        yield process.pid, port
    except BaseException:
        for log in (directory / "output", *(directory / "log").iterdir()):
            print(f"-- {log}\n{log.read_text(encoding='utf-8')[-3000:]}", file=sys.stderr)
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)


def serve(pid: int, port: int, directory: Path, options: argparse.Namespace) -> int:
    """Update the server again and again amid all that it does; return the exit status."""
    print(f"== two streams, {options.listeners} listeners to each", flush=True)
    results: list[Result] = []
    figures = Figures(f"{2 * options.listeners} listeners")
    with clients.Radio(port, options.listeners, options.rate) as radio:
        radio.wait_for(20)
        world = World(pid, port, directory, radio, figures)
        results.append(world.update(BASE, SAME))
        if options.again:
            results.append(world.go_back_and_forth(options.again))
        radio.wait_for(20)
        complaints = list(radio.complaints)
    scenarios.print_results(results)
    print(f"\nblocks: {radio.blocks()} received by {len(radio.listeners)} listeners, none missing")
    scenarios.print_requests("requests", radio.requests, complaints)
    print(scenarios.manifest_of(HERE))
    figures.requests, figures.failed = radio.requests, len(complaints)
    figures.write(options.figures)
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
        print(f"== {old} to {new}", flush=True)
        result = Result(f"{old} to {new}")
        with self._around(result):
            memory = self.figures.begin(self.pid)
            result.answer = self._request("update", new)
            if result.answer["outcome"] != "updated":
                raise SystemExit(f"the update failed: {result.answer}")
        self.figures.end(self.pid, result)
        result.checks["memory"] = f"{memory} kB before, {scenarios.resident_kb(self.pid)} kB after"
        return result

    def go_back_and_forth(self, times: int) -> Result:
        """Update to the same version and back, again and again."""
        print(f"== {BASE} to itself and back, {times} updates", flush=True)
        result = Result(f"{BASE} to itself and back, {times} updates")
        pauses, memory = [], []
        with self._around(result):
            for number in range(times):
                answer = self._request("update", SAME) if number % 2 else self._request("rollback")
                if answer["outcome"] != "updated":
                    raise SystemExit(f"update {number} failed: {answer}")
                result.answer = answer
                pauses.append(answer["pause_ns"] / 1e6)
                memory.append(scenarios.resident_kb(self.pid))
                self.radio.wait_for(1)
        result.checks["pause"] = scenarios.pauses(pauses)
        early = memory[min(9, len(memory) - 1)]
        result.checks["memory"] = f"{early} kB after the first ten, {memory[-1]} kB at the end"
        if scenarios.grows(memory):
            result.lost.append(f"memory grows: {memory}")
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

    def _request(self, what: str, version: str = "", *options: str) -> dict[str, Any]:
        """Ask the server to become a version, or to go back; return what became of that."""
        version_release = [str(release(HERE, version))] if version else []
        store = ["--store", str(HERE / "build/releases")] if what == "rollback" else []
        return scenarios.ask(what, *options, *store, str(self.pid), *version_release)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
