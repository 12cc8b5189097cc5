"""mosquitto's own tests of its broker, on plain builds and on releases that are updated meanwhile.

In: the sources that `scons` has unpacked, with `test/broker`. Each test starts one or more brokers
by a path and speaks MQTT with them, packet by packet. Here that path leads first to the plain
program, and then to a release, which is updated before a packet is sent or waited for: 2.0.21 to
itself and back, and 2.0.11 to 2.0.21 and so on, as far as both versions pass a test. What comes of
it must be the same. Exit status: 0 it is, 1 it is not, 3 it cannot be done here at the moment.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shlex
import shutil
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

OLD, NEW = VERSIONS = ("2.0.11", "2.0.21")
SAME = f"{NEW}+same"
CERTIFICATES = HERE / "build/certificates"
NOT_RUN = {
    r"plugin \S+\.so": "plugins are not built, and not carried over",
    r"\./c/\S+\.test": "its client is made with libmosquitto, which is not built",
    r"import psutil": "it needs psutil",
    r'"subpub/expired"': "it wants a message in the second in which it was sent",
}
"""What stands in tests that are not run, and why they are not."""
SEQUENCES = "msg_sequence_test"
"""Plays what clients must not do, from files; 2.0.21 has come to refuse most of it, not 2.0.11."""
_OF_TIME = re.compile("expiry|delay|keepalive")
"""Tests in which seconds count: updates take one of them at most, on a machine that is busy."""
BY_CHANCE = {"01-connect-max-connections": 3}
"""How often a test is tried if it fails. This one ends ten connections and begins another at once;
a broker that was busy then may hear of the new one first: also a plain one, but seldom."""
_LISTED = re.compile(r"^\s*\((\d), '\./(\S+)\.py'\)", re.MULTILINE)


def main(arguments: Sequence[str]) -> int:
    """Build, run the tests four times and compare; return the exit status."""
    parser = argparse.ArgumentParser(description="mosquitto's own tests, with updates meanwhile")
    parser.add_argument("tests", nargs="*", help="names as in test/broker/NAME.py; default: all")
    parser.add_argument("--jobs", type=int, default=4, help="tests at once")
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    options = scenarios.arguments_of(parser, arguments)
    if not Path("/usr/include/openssl/ssl.h").exists() or shutil.which("openssl") is None:
        print("mosquitto: OpenSSL is missing (libssl-dev, openssl)", file=sys.stderr)
        return scenarios.NOT_HERE
    status = 0 if options.built else build(options.cflags)
    if status != 0:
        return status
    ports = ports_of_tests()
    left_out = {name: why for name in ports if (why := why_not(name))}
    tests = options.tests or [name for name in ports if name not in left_out]
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as directory:
        place = Path(directory)

        def run(title: str, suite: Suite, names: Sequence[str]) -> dict[str, suites.Ran]:
            print(f"== {title}", flush=True)
            return suites.run_all(names, options.jobs, suite.run)

        suite = Suite(place / "plain", ports, plain_build(NEW))
        plain = run(f"{NEW}, plain", suite, tests)
        suite = Suite(place / "plain-old", ports, plain_build(OLD))
        old = run(f"{OLD}, plain", suite, [name for name in tests if name != SEQUENCES])
        there, back = scenarios.release(HERE, SAME), way_back(SAME, NEW)
        suite = Suite(place / "same", ports, started(NEW), then=(there, back))
        same = run(f"{NEW} to itself and back", suite, tests)
        agreed = [name for name, ran in old.items() if ran.same(plain[name])]
        new = scenarios.release(HERE, NEW)
        suite = Suite(place / "next", ports, started(OLD), first=(new,), then=(there, back))
        both = run(f"{OLD} to {NEW}, and to itself and back", suite, agreed)
    differ = {name: f"{OLD} and {NEW} differ in it" for name in tests if name not in agreed}
    whys: dict[str, list[str]] = {}
    for name, why in left_out.items():
        whys.setdefault(why, []).append(name)
    told = {f"{names[0]} ({len(names)} tests)": why for why, names in whys.items()}
    suites.figures(plain, same, told).write(options.figures)
    print(f"\n{NEW} to itself and back")
    status = suites.tell(plain, same, {} if options.tests else left_out)
    print(f"\n{OLD} to {NEW}, and to itself and back")
    return suites.tell({name: plain[name] for name in agreed}, both, differ) or status


def build(cflags: str) -> int:
    """Build the releases, and the plain program as upstream does; return the exit status."""
    status = scenarios.build_chain(HERE, VERSIONS, cflags)
    if status != 0:
        return status
    for version in VERSIONS:
        root = plain_build(version)[0].parents[1]
        shutil.copytree(source(version), root, dirs_exist_ok=True)
        make = ["make", "-s", "-j2", "-C", "src", "mosquitto", "WITH_CJSON=no"]
        subprocess.run([*make, f"CFLAGS={cflags}"], cwd=root, check=True, stderr=subprocess.DEVNULL)
    # Those in the tarball are of another time, and not all of them whole.
    shutil.copytree(source(NEW) / "test/ssl", CERTIFICATES, dirs_exist_ok=True)
    subprocess.run(["sh", "gen.sh"], cwd=CERTIFICATES, check=True, capture_output=True)
    return 0


def source(version: str) -> Path:
    """Return the source of a version."""
    return HERE / f"build/source/mosquitto_{version}"


def plain_build(version: str) -> tuple[Path]:
    """Return what starts the plain build of a version."""
    return (HERE / f"build/plain/{version}/src/mosquitto",)


def started(version: str) -> tuple[Path, str, Path]:
    """Return what starts a release."""
    return (launcher.launcher_path(), "--", scenarios.release(HERE, version))


def way_back(version: str, to: str) -> Path:
    """Return the release by which one version goes back to another."""
    release = scenarios.release(HERE, to)
    return release.parents[1] / "@back" / version / to / release.name


def ports_of_tests() -> dict[str, int]:
    """Return how many ports each of the tests wants, as upstream lists them."""
    listed = (source(NEW) / "test/broker/test.py").read_text(encoding="utf-8")
    return {SEQUENCES: 1} | {name: int(ports) for ports, name in _LISTED.findall(listed)}


def why_not(name: str) -> str:
    """Return why a test is not run, if it is not."""
    text = (source(NEW) / f"test/broker/{name}.py").read_text(encoding="utf-8")
    return next((why for has, why in NOT_RUN.items() if re.search(has, text)), "")


@dataclasses.dataclass(frozen=True, slots=True)
class Suite:
    """The tests beside a broker, as they want it, and what the broker is updated to."""

    place: Path
    ports: dict[str, int]
    command: Sequence[Path | str]
    first: Sequence[Path] = ()
    then: Sequence[Path] = ()

    def __post_init__(self) -> None:
        starter = self.place / "src/mosquitto"
        starter.parent.mkdir(parents=True)
        command = shlex.join(map(str, self.command))
        starter.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="ascii")
        starter.chmod(0o755)
        shutil.copytree(source(NEW) / "test", self.place / "test")
        shutil.copytree(CERTIFICATES, self.place / "test/ssl", dirs_exist_ok=True)
        # A broker that root starts becomes another user, who reads keys and writes a database.
        subprocess.run(["chmod", "-R", "a+rwX", self.place, self.place.parent], check=True)

    def run(self, name: str) -> suites.Ran:
        """Run a test, with the updates before its packets."""
        return suites.up_to(
            BY_CHANCE.get(name, 1), lambda left: self._run(name, self.place / f"{name}.{left}")
        )

    def _run(self, name: str, runtime: Path) -> suites.Ran:
        outcomes = runtime.with_name(f"{runtime.name}.json")
        runtime.mkdir(mode=0o700)
        command = ["env", f"KITSUNE_RUNTIME_DIR={runtime}", sys.executable]
        command += [str(HERE / "amid_updates.py"), f"--outcomes={outcomes}"]
        for option, releases in (("--first", self.first), ("--then", self.then)):
            command += [f"{option}={release}" for release in releases]
        command += ["--seconds=1"] if _OF_TIME.search(name) else []
        command += [f"{name}.py", *(str(scenarios.free_port()) for _ in range(self.ports[name]))]
        ran = suites.run(command, self.place / "test/broker", suites.log(HERE, name, self.place))
        ran = dataclasses.replace(ran, passed=int(ran.status == 0))  # each is a point of its own
        if not self.then:
            return ran
        updates = suites.Updates(runtime, self.then)
        for line in outcomes.read_text(encoding="utf-8").splitlines() if outcomes.exists() else ():
            found = json.loads(line)
            updates.outcomes += Counter(found["outcomes"])
            updates.reasons += found["reasons"]
        return dataclasses.replace(ran, updates=updates)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
