"""ngIRCd's own tests, on a plain build and on releases that are updated meanwhile.

In: the sources that `scons` has unpacked, with `src/testsuite`: scripts for expect that speak IRC
through telnet with two servers that are linked. Here those are the plain 27 first, and then the
release of it, which becomes 28, 27 again, the 27 in which every client and every connection has a
field more, 27 again, and so on: before each line that a script sends. What comes of it must be the
same. Exit status: 0 it is, 1 it is not, 3 it cannot be done here at the moment.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
import suites  # noqa: E402

from kitsune_tool import launcher  # noqa: E402

VERSION, NEXT, FIELDS = "27", "28", "27+fields"
SOURCE = HERE / f"build/source/ngircd_{VERSION}"
PLAIN = HERE / f"build/plain/{VERSION}"
NOT_RUN = {"connect-ssl-cert1-test, connect-ssl-cert2-test": "TLS is not built"}
PORTS = ("6789", "6790")
"""Of the two servers, as upstream's files have them."""
BETWEEN_S = 0.02
"""From an update to the next."""
_LISTED = re.compile(r"^TESTS = ((?:.*\\\n)*.*)", re.MULTILINE)
_SERVER = re.compile(r"(start|stop)-server(\d)")
_ENDING_S = 60


def main(arguments: Sequence[str]) -> int:
    """Build, run the tests twice and compare; return the exit status."""
    parser = argparse.ArgumentParser(description="ngIRCd's own tests, with updates meanwhile")
    parser.add_argument("tests", nargs="*", help="names as in src/testsuite/NAME.e; default: all")
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    options = scenarios.arguments_of(parser, arguments)
    if missing := [tool for tool in ("expect", "telnet") if shutil.which(tool) is None]:
        print(f"ngircd: {', '.join(missing)} is missing", file=sys.stderr)
        return scenarios.NOT_HERE
    status = 0 if options.built else build(options.cflags)
    if status != 0:
        return status
    tests = [
        name
        for name in listed()
        if not options.tests or name in options.tests or _SERVER.match(name)
    ]
    with tempfile.TemporaryDirectory(prefix="ngircd-") as place:
        Path(place).chmod(0o755)  # a server that root starts becomes `nobody`
        print("== on the plain build", flush=True)
        with Suite(Path(place) / "plain", [str(PLAIN / "src/ngircd/ngircd")]) as suite:
            plain = suites.run_all(tests, 1, suite.run)
        print("== with updates", flush=True)
        command = [str(launcher.launcher_path()), "--", str(scenarios.release(HERE, VERSION))]
        with Suite(Path(place) / "updated", command, cycle()) as suite:
            updated = suites.run_all(tests, 1, suite.run)
    left_out = {} if options.tests else NOT_RUN
    suites.figures(plain, updated, left_out).write(options.figures)
    return suites.tell(plain, updated, left_out)


def build(cflags: str) -> int:
    """Build the releases, and the plain program as upstream does; return the exit status."""
    status = scenarios.build_chain(HERE, (VERSION, NEXT), cflags)
    if status == 0:
        shutil.copytree(SOURCE, PLAIN, dirs_exist_ok=True)
        for command in (
            ["./configure", "--quiet", "--without-zlib", f"CFLAGS={cflags}"],
            ["make", "-s", "-j2"],
        ):
            subprocess.run(command, cwd=PLAIN, check=True, stdout=subprocess.DEVNULL)
    return status


def cycle() -> list[Path]:
    """Return what the first version becomes in turn: others, and itself again."""
    releases = []
    for version in (NEXT, FIELDS):
        there = scenarios.release(HERE, version)
        releases += [there, there.parents[1] / "@back" / version / VERSION / there.name]
    return releases


def listed() -> list[str]:
    """Return upstream's list of tests, in its order; some begin or end a server."""
    makefile = (SOURCE / "src/testsuite/Makefile.am").read_text(encoding="utf-8")
    tests = _LISTED.search(makefile)
    if tests is None:
        raise SystemExit("ngircd: there is no list of tests in Makefile.am")
    return tests[1].replace("\\\n", " ").split()


class Suite(contextlib.ExitStack):
    """A copy of the tests with ports of its own, and the servers that they begin."""

    def __init__(self, place: Path, command: Sequence[str], becomes: Sequence[Path] = ()) -> None:
        super().__init__()
        self._place, self._command = place / "testsuite", command
        self._kept = HERE / "build/own_tests" / place.name
        self._kept.mkdir(parents=True, exist_ok=True)
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = ["env"]
        self._updates: suites.Updates | None = None
        shutil.copytree(SOURCE / "src/testsuite", self._place)
        for file in (*self._place.glob("*.e"), *self._place.glob("*.conf")):
            text = file.read_text(encoding="utf-8")
            file.write_text(
                re.sub("|".join(PORTS), lambda port: self._ports[port[0]], text), encoding="utf-8"
            )
        if becomes:
            runtime = place / "run"
            runtime.mkdir(mode=0o700)
            self._environment.append(f"KITSUNE_RUNTIME_DIR={runtime}")
            self._updates = self.enter_context(suites.Updates(runtime, becomes, BETWEEN_S))
        self.callback(self._end_all)

    def run(self, name: str) -> suites.Ran:
        """Run a test, or begin or end a server."""
        if told := _SERVER.fullmatch(name):
            return self._begin(told[2]) if told[1] == "start" else self._end(told[2])
        if name.endswith(".sh"):
            command = ["sh", name]
        else:
            command = ["expect", "-c", f"source {{{HERE / 'amid_updates.tcl'}}}", f"{name}.e"]
        before = Counter() if self._updates is None else Counter(self._updates.outcomes)
        told_before = 0 if self._updates is None else len(self._updates.reasons)
        ran = suites.run([*self._environment, *command], self._place, self._kept / f"{name}.log")
        if self._updates is None:
            return ran
        seen = dataclasses.replace(
            self._updates,
            outcomes=Counter(self._updates.outcomes) - before,
            reasons=self._updates.reasons[told_before:],
        )
        return dataclasses.replace(ran, updates=seen)

    def _begin(self, number: str) -> suites.Ran:
        motd = "This is an ngIRCd Test Server\n"
        (self._place / f"ngircd-test{number}.motd").write_text(motd, encoding="ascii")
        command = [*self._environment, *self._command, "-n", "-f", f"ngircd-test{number}.conf"]
        with (self._kept / f"server{number}.log").open("wb") as log:
            self._servers[number] = subprocess.Popen(
                command, cwd=self._place, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        scenarios.wait_for_port(int(self._ports[PORTS[int(number) - 1]]))
        return suites.Ran(0, 1, ())

    def _end(self, number: str) -> suites.Ran:
        server = self._servers.pop(number)
        server.send_signal(signal.SIGTERM)
        return suites.Ran(server.wait(_ENDING_S), 1, ())

    def _end_all(self) -> None:
        for server in self._servers.values():
            server.kill()
            server.wait()


def _free_ports(count: int) -> list[str]:
    ports: set[str] = set()
    while len(ports) < count:
        ports.add(str(scenarios.free_port()))
    return sorted(ports)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
