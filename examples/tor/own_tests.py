"""Tor's own tests that start a server, against a plain tor and with updates at moments of them.

Those tests of `make check` that have a running tor do something are run once with upstream's
program, then by `kitsune test-update`: with a release, and again for each of some arrivals at its
update points, with an update made there. Exit status: 0 each passes as with the plain one, 1 it
does not, 3 it cannot be done here at the moment (no source).
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
import tor_releases as releases  # noqa: E402

TESTS = ("test_rebind.sh", "test_include.sh")
"""Below src/test: they set options and ask for them by the control port, and see listeners go."""
LEFT_OUT = {
    "test, test-slow, test-memwipe, test_workqueue*, test-timers, test_switch_id.sh, test_bt.sh,"
    " test_ntor.sh, test_hs_ntor.sh, unittest_part*.sh, fuzz_static_testcases.sh": "they run"
    " programs made of Tor's units, not tor",
    "test_cmdline.sh, test_parseconf.sh, test_keygen.sh, test_key_expiration.sh,"
    " test_zero_length_keys.sh, run_check_subsystem_order.sh": "tor ends before its main loop",
    "test_practracker.sh, checkSpaceTest.sh": "they look at the source",
    "test-network.sh": "it needs chutney, which is not in the tarball",
}
SAME = f"{releases.VERSION}+same"
CELLS = 10
TEST_TIMEOUT_S = 300
ALL_TIMEOUT_S = 3600


def main(arguments: Sequence[str]) -> int:
    """Build, run each test plain and updated; return the exit status."""
    parser = argparse.ArgumentParser(description="Tor's own tests on a relay that is updated")
    parser.add_argument("--built", action="store_true", help="what was built before is there")
    parser.add_argument("--cells", type=int, default=CELLS, help="updates of each test, at most")
    options = scenarios.arguments_of(parser, arguments)
    status = 0 if options.built else int(releases.build(options.cflags))
    if status != 0:
        return status
    for names, reason in LEFT_OUT.items():
        print(f"left out: {names}: {reason}")
    figures = scenarios.OwnTests(len(TESTS), 0, 0, 0, LEFT_OUT)
    for test in TESTS:
        _compare(test, options.cells, figures)
    figures.write(options.figures)
    return 0 if figures.same == figures.tests else 1


def _compare(test: str, cells: int, figures: scenarios.OwnTests) -> None:
    """Run a test both ways, print what came of it and add it to the figures."""
    plain = _plain(test)
    if plain is not None:
        print(f"{test}: fails with a plain tor already:\n{plain}")
        return
    figures.passed += 1
    found = _updated(test, cells)
    verdicts = Counter(cell["verdict"] for cell in found)
    print(
        f"{test}: passes with a plain tor; with an update in the middle {verdicts['passed']} times "
        f"of {verdicts['passed'] + verdicts['failed']}, {verdicts['not reached']} not reached",
        flush=True,
    )
    for cell in found:
        if cell["verdict"] == "failed":
            print(f"  LOST: {cell['point']}:{cell['arrival']}: {cell['why']} ({cell['log']})")
    figures.updates += verdicts["passed"]
    figures.same += int(verdicts["passed"] > 0 and not verdicts["failed"])


def _driver(test: str, tor: str) -> str:
    """Return the command that runs a test with a tor, which is a word for the shell."""
    where = releases.source(releases.VERSION)
    settings = f"abs_top_srcdir={shlex.quote(str(where))} PYTHON={shlex.quote(sys.executable)}"
    return f"{settings} sh {shlex.quote(str(where / 'src/test' / test))} {tor}"


def _plain(test: str) -> str | None:
    """Run a test with upstream's program; return what it complains of if it fails."""
    done = subprocess.run(
        ["/bin/sh", "-c", _driver(test, shlex.quote(str(releases.tor(releases.VERSION))))],
        capture_output=True,
        text=True,
        check=False,
        timeout=TEST_TIMEOUT_S,
    )
    return None if done.returncode == 0 else done.stdout[-2000:] + done.stderr[-4000:]


def _updated(test: str, cells: int) -> list[dict[str, Any]]:
    """Run a test once for each update in the middle of it; return what came of each."""
    words = ["test-update", "--version", SAME, "--cells", str(cells), "--json"]
    words += ["--driver", _driver(test, '"$KITSUNE_SERVER"')]
    words += ["-o", str(HERE / "build/own-tests" / test)]
    done = subprocess.run(
        [*scenarios.KITSUNE, *words],
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=ALL_TIMEOUT_S,
    )
    if not done.stdout:
        raise SystemExit(f"{test} cannot be tried")
    return [cell for matrix in json.loads(done.stdout) for cell in matrix["cells"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
