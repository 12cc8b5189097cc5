"""The shipped example, live: three versions of a server under load, back and forth, and two broken
releases.

Builds the chain of releases with SCons, starts the first, loads 100,000 keys, lets clients work
while the server becomes its second version, goes back to the first, becomes its second and third,
is asked to become releases that crash and exit, and goes back and forth once more. Prints what
happened; the exit status is 0 if nobody noticed anything. Run by `./kit demo`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import traffic

ROOT = Path(__file__).resolve().parents[2]
NEWEST = "3.0"
BROKEN = (
    ("3.1-crashes", "a rule wipes the keys and then follows a wild pointer"),
    ("3.1-exits", "the new main ends the process"),
)
READY_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table at the end: an update, or an attempt."""

    versions: str
    outcome: str
    objects: str
    server_pause_ns: int
    seen: traffic.Phase


def main(arguments: Sequence[str]) -> int:
    """Run the demo; return 0 if no request failed and every key is there."""
    parser = argparse.ArgumentParser(description="a live server becomes its next releases")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0, help="of traffic around each update")
    parser.add_argument("--store", type=Path, default=ROOT / "build/kvd/releases/kvd")
    options = parser.parse_args(arguments)
    _say("building the chain of releases from nothing: scons release-chain")
    shutil.rmtree(options.store, ignore_errors=True)  # nobody runs what an earlier demo released
    _build(ROOT)
    _build(ROOT / "examples/kvd/broken")
    with _server(options.store / "1.0" / "kvd.so") as (pid, port):
        _say(f"kvd 1.0 runs as process {pid} on port {port}")
        _load(port, options.keys)
        with traffic.Traffic(port, options.keys, options.clients) as clients:
            _say(f"{options.clients} clients are busy; every answer is checked")
            rows = [
                _update(pid, "2.0", options, clients),
                _go_back(pid, "1.0", options, clients),
                _update(pid, "2.0", options, clients),
                _update(pid, NEWEST, options, clients),
                *(_attempt(pid, *each, options, clients) for each in BROKEN),
                _go_back(pid, "2.0", options, clients),
                _update(pid, NEWEST, options, clients),
            ]
            total = clients.total()
        wrong = _verify(port, options.keys, pid)
    _print_table(rows)
    print(f"\nrequests sent: {total.sent}, failed: {total.failed}; keys wrong or lost: {wrong}")
    for complaint in clients.complaints():
        print(f"  {complaint}")
    return 1 if total.failed or wrong else 0


def _say(text: str) -> None:
    print(f"== {text}", flush=True)


def _build(directory: Path) -> None:
    command = [sys.executable, "-m", "SCons", "-C", str(directory), "-Q", "-s", "-j2"]
    if subprocess.run([*command, "release-chain"], check=False).returncode != 0:
        raise SystemExit(f"the releases of {directory} cannot be built")


@contextlib.contextmanager
def _server(release: Path) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "kitsune_tool.cli", "run", str(release), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        ready = re.search(r"ready on port (\d+)", line)
        if ready is None:
            raise SystemExit(f"kvd did not start: {line!r}")
        port = int(ready[1])
        with redis.Redis(port=port, protocol=2) as client:
            pid = int(client.info()["process_id"])
        yield pid, port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        process.stdout.close()


def _load(port: int, keys: int) -> None:
    def progress(done: int) -> None:
        print(f"\r   {done:,} of {keys:,} keys loaded", end="", flush=True)

    traffic.load(port, keys, progress)
    print()


def _ask(words: Sequence[str]) -> dict[str, Any]:
    """Return the answer to a request, of which only its form is known to be right."""
    command = [sys.executable, "-m", "kitsune_tool.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise SystemExit(f"no answer to the request:\n{done.stdout}{done.stderr}") from None
    assert isinstance(answer, dict)
    return answer


def _under_load(
    words: Sequence[str], options: argparse.Namespace, clients: traffic.Traffic
) -> tuple[dict[str, Any], traffic.Phase]:
    time.sleep(options.seconds / 2)
    phase = clients.next_phase()
    answer = _ask(words)
    time.sleep(options.seconds / 2)
    clients.wait_for_requests(100)
    clients.next_phase()
    return answer, clients.seen(phase)


def _update(pid: int, version: str, options: argparse.Namespace, clients: traffic.Traffic) -> Row:
    _say(f"update to {version}")
    words = ["update", "--json", str(pid), str(options.store / version / "kvd.so")]
    return _row("updated", version, *_under_load(words, options, clients))


def _go_back(pid: int, version: str, options: argparse.Namespace, clients: traffic.Traffic) -> Row:
    _say(f"back to {version}, with the keys of now")
    words = ["rollback", "--json", f"--store={options.store.parent}", str(pid)]
    return _row("gone back", version, *_under_load(words, options, clients))


def _row(outcome: str, version: str, answer: dict[str, Any], seen: traffic.Phase) -> Row:
    if answer["outcome"] != "updated" or answer["to"] != version:
        raise SystemExit(f"no version {version}: {answer.get('reason')}")
    row = Row(version, outcome, f"{answer['objects']:,}", answer["pause_ns"], seen)
    _say(f"runs {version}: {row.objects} objects transformed, {row.server_pause_ns / 1e6:.1f} ms")
    _say(", ".join(f"{t['moved'] + t['in_place']:,} {t['type']}" for t in answer["types"]))
    return row


def _attempt(
    pid: int, version: str, what: str, options: argparse.Namespace, clients: traffic.Traffic
) -> Row:
    _say(f"a broken release, in which {what}")
    words = ["update", "--json", str(pid), str(options.store / version / "kvd.so")]
    answer, seen = _under_load(words, options, clients)
    if answer["outcome"] == "updated":
        raise SystemExit(f"the broken release {version} was taken")
    _say(f"refused: {answer['reason']}")
    return Row(version, f"rolled back ({answer['code']})", "", answer["pause_ns"], seen)


def _verify(port: int, keys: int, pid: int) -> int:
    """Return how many keys are wrong; a restarted server or another version is an error."""
    with redis.Redis(port=port, protocol=2) as client:
        info = client.info()
    if info["process_id"] != pid or str(info["kvd_version"]) != NEWEST:
        raise SystemExit(f"what answers now is not the server that was started: {info}")
    _say(f"still process {pid}; looking at all {keys:,} keys")
    return traffic.wrong_values(port, keys)


def _print_table(rows: Sequence[Row]) -> None:
    form = "{:<14} {:<20} {:>10} {:>14} {:>16} {:>10} {:>8}"
    head = ("release", "outcome", "objects", "server pause", "longest wait", "requests", "failed")
    print("\n" + form.format(*head))
    for row in rows:
        pauses = [f"{ns / 1e6:.1f} ms" for ns in (row.server_pause_ns, row.seen.longest_wait_ns)]
        values = (row.versions, row.outcome, row.objects, *pauses, row.seen.sent, row.seen.failed)
        print(form.format(*values))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
