"""memcached's own tests, run on its plain build and on a release that is updated meanwhile.

In: the source that `scons` has unpacked, with its tests `t/*.t` and `testapp`. They start
`memcached-debug` in the directory in which they are run, often several, each with options of its
own. Here that is the plain program first, and then a release, compiled in the same way, which is
updated to the same version and back, several times a second, as long as it lives; AmidUpdates.pm
has a test wait for that now and then. What comes of a test must be the same. Exit status: 0 it is,
1 it is not, 3 it cannot be done here at the moment.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
import suites  # noqa: E402

from kitsune_tool import launcher  # noqa: E402

UPSTREAM = "1.6.45"
VERSION, SAME = f"{UPSTREAM}+debug", f"{UPSTREAM}+debug+same"
SOURCE = HERE / f"build/source/memcached_{UPSTREAM}"
CONFIGURED = HERE / f"build/configured/{UPSTREAM}"
DEBUG = "-DMEMCACHED_DEBUG"
"""The tests want a build with which they can move the time, and in which assertions are checked."""
BETWEEN_S = 0.1
"""From an update to the next."""
TESTAPP = "testapp"
NOT_RUN = {
    "proxy": "the proxy is not built",
    "ssl": "TLS is not built",
    "sasl": "SASL is not built",
    "line-lengths": "it starts no server",
    "whitespace": "it starts no server",
    "extstore": "extstore's threads have no update point: each update would be given up",
}
"""Parts of tests' names, and why the tests are not run."""
TIMED = {"binary", "expirations", "touch"}
"""Their items live for a second or two: if they waited for updates, they would be too late."""
BY_CHANCE = {"binary": 3, "expirations": 3, "slabs_reassign": 3}
"""How often a test is tried if it fails. Two let an item live for one second, and the clock may
tick between two of their requests; one asks for a page to be moved right behind another, and is
told "BUSY" if that was not done yet: on a plain server, too, but seldom if that does not stand."""


def main(arguments: Sequence[str]) -> int:
    """Build, run the tests twice and compare; return the exit status."""
    parser = argparse.ArgumentParser(description="memcached's own tests, with updates meanwhile")
    parser.add_argument("tests", nargs="*", help="names as in t/NAME.t; default: all")
    parser.add_argument("--jobs", type=int, default=4, help="tests at once")
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    options = scenarios.arguments_of(parser, arguments)
    if shutil.which("perl") is None or not Path("/usr/include/event.h").exists():
        print("memcached: perl or libevent's headers are missing (libevent-dev)", file=sys.stderr)
        return scenarios.NOT_HERE
    status = 0 if options.built else build(options.cflags)
    if status != 0:
        return status
    there = [TESTAPP, *sorted(path.stem for path in (SOURCE / "t").glob("*.t"))]
    left_out = {name: why for name in there if (why := why_not(name))}
    tests = options.tests or [name for name in there if name not in left_out]
    with tempfile.TemporaryDirectory(prefix="mc-") as place:
        print("== on the plain build", flush=True)
        command = [str(CONFIGURED / "memcached-debug")]
        plain = suites.run_all(tests, options.jobs, Suite(Path(place) / "plain", command).plain)
        print("== with updates", flush=True)
        command = [str(launcher.launcher_path()), "--", str(scenarios.release(HERE, VERSION))]
        suite = Suite(Path(place) / "updated", command)
        updated = suites.run_all(tests, options.jobs, suite.updated)
    groups = {
        f"{part} ({sum(part in name for name in left_out)})": NOT_RUN[part] for part in NOT_RUN
    }
    suites.figures(plain, updated, groups).write(options.figures)
    return suites.tell(plain, updated, {} if options.tests else left_out)


def build(cflags: str) -> int:
    """Build the releases and the plain program, alike; return the exit status."""
    status = scenarios.build_chain(HERE, [VERSION], f"{cflags} {DEBUG}")
    if status == 0:
        flags = [f"CFLAGS={cflags} -pthread", f"memcached_debug_CFLAGS={DEBUG}"]
        make = ["make", "-s", "-j2", "memcached-debug", "timedrun", "testapp", *flags]
        subprocess.run(make, cwd=CONFIGURED, check=True, stdout=subprocess.DEVNULL)
    return status


def why_not(name: str) -> str:
    """Return why a test is not run, if it is not."""
    return next((why for part, why in NOT_RUN.items() if part in name), "")


class Suite:
    """A directory as the tests want it, with a program in the place of memcached."""

    def __init__(self, place: Path, command: Sequence[str]) -> None:
        self._place = place
        place.mkdir()
        starter = place / "memcached-debug"
        starter.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="ascii")
        starter.chmod(0o755)
        for target in (SOURCE / "t", CONFIGURED / "timedrun", CONFIGURED / TESTAPP):
            (place / target.name).symlink_to(target)

    def plain(self, name: str) -> suites.Ran:
        """Run a test."""
        return suites.run(
            self._command(name, "perl"), self._place, suites.log(HERE, name, self._place)
        )

    def updated(self, name: str) -> suites.Ran:
        """Run a test, and update its servers meanwhile."""
        return suites.up_to(
            BY_CHANCE.get(name, 1),
            lambda left: self._amid_updates(name, self._place / f"{name}.{left}"),
        )

    def _amid_updates(self, name: str, runtime: Path) -> suites.Ran:
        runtime.mkdir(mode=0o700)
        release = scenarios.release(HERE, VERSION)
        back = release.parents[1] / "@back" / SAME / VERSION / release.name
        there = scenarios.release(HERE, SAME)
        perl = ("perl", *(() if name in TIMED else (f"-I{HERE}", "-MAmidUpdates")))
        command = ["env", f"KITSUNE_RUNTIME_DIR={runtime}", *self._command(name, *perl)]
        with suites.Updates(runtime, [there, back], BETWEEN_S) as updates:
            ran = suites.run(command, self._place, suites.log(HERE, name, self._place))
        return dataclasses.replace(ran, updates=updates)

    def _command(self, name: str, *perl: str) -> list[str]:
        return [f"./{name}"] if name == TESTAPP else [*perl, f"t/{name}.t"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
