"""vsftpd is updated with all its sessions, whatever each is doing: to itself, to a field more.

Fetches and builds 3.0.5 and variants of it with SCons, and starts it in namespaces of its own,
where it has two users. Clients of ftplib and curl are connected, half way through a login, idle in
some directory, between two commands that belong together, half way through a line, in transfer in
each direction, at full speed, stalled, and in text mode; others come and go all the time. Then the
whole tree of processes is updated, and each client goes on. At last it is tried with sessions that
cannot be updated: they go on in the old version. Exit status: 0 done, 1 something was lost, 3 it
cannot be done here at the moment (no source, not root, no namespaces).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import ftp_clients
import ftp_world
from ftp_world import FILTERED, ISOLATED, TOGETHER

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import scenarios  # noqa: E402 - it lies beside the examples
from scenarios import KITSUNE, NOT_HERE, Figures, ask, release  # noqa: E402

BASE, SAME, FIELD = "3.0.5", "3.0.5+same", "3.0.5+field"
TIMEOUT_S = 60
TRIES = 20
TREE = ("--tree", "--order", "children-first", "--wait-ms", "3000")
"""How the whole of it is updated, and goes back."""


@dataclass(slots=True)
class Result:
    """What an update did, as the server and its clients tell."""

    versions: str
    answer: dict[str, Any]
    lost: list[str]
    tries: int = 1
    held: int = 0


def main(arguments: Sequence[str]) -> int:
    """Build, then run the scenario in namespaces of its own; return the exit status."""
    parser = argparse.ArgumentParser(description="vsftpd is updated with all its sessions")
    parser.add_argument("--megabytes", type=int, default=16, help="size of the files")
    parser.add_argument("--rounds", type=int, default=25, help="there and back again, at the end")
    parser.add_argument("--idle", type=int, default=6, help="idle sessions during the rounds")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = scenarios.arguments_of(parser, arguments)
    if options.inside:
        return serve(options)
    namespace = ["unshare", "--net", "--mount"]
    if shutil.which("curl") is None:
        print("vsftpd: one of its clients is curl, which is not there", file=sys.stderr)
        return NOT_HERE
    if os.geteuid() != 0:
        print("vsftpd: only root can start it", file=sys.stderr)
        return NOT_HERE
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
        print("vsftpd: this machine gives no namespaces (unshare --net --mount)", file=sys.stderr)
        return NOT_HERE
    status = scenarios.build_chain(HERE, [BASE], options.cflags)
    if status != 0:
        return status
    inside = [sys.executable, "-W", "ignore", __file__, "--inside", *arguments]
    return subprocess.run([*namespace, *inside], check=False).returncode


# ---- the server ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs, and what is asked of it by `kitsune`."""

    pid: int
    world: ftp_clients.World

    def update(self, version: str, *options: str) -> dict[str, Any]:
        """Ask the whole tree to become a version."""
        return scenarios.update(self.pid, release(HERE, version), *TREE, *options)

    def update_alone(self, version: str) -> dict[str, Any]:
        """Ask the listener alone to become a version."""
        return scenarios.update(self.pid, release(HERE, version))

    def back(self) -> dict[str, Any]:
        """Ask the whole tree to become the version before."""
        return scenarios.go_back(self.pid, HERE, *TREE)

    def status(self) -> dict[str, Any]:
        """Return what is told of the listener, and below it of all that it forked."""
        (program,) = ask("status", str(self.pid))["programs"]
        found: dict[str, Any] = program
        return found

    def pids(self) -> list[int]:
        """Return all processes."""
        return [self.pid, *(each["pid"] for each in self.status()["children"])]

    def broker(self) -> int:
        """Return the process of a session that has privileges.

        The other one must not be stopped by anybody: at SIGCHLD vsftpd waits for its end.
        """
        children = self.status()["children"]
        return int(next(each["pid"] for each in children if each["parent"] == self.pid))

    def versions(self) -> set[str]:
        """Return what runs in the tree."""
        program = self.status()
        return {program["version"], *(each["version"] for each in program["children"])}

    def own_kb(self) -> int:
        """Return the memory that the listener has for itself."""
        return int(self.status()["memory"]["own_kb"])


def total_kb(pids: Sequence[int], of: Callable[[int], int]) -> int:
    """Return how much memory processes have together; some may have ended."""
    found = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found += of(pid)
    return found


@contextlib.contextmanager
def server(directory: Path, settings: dict[str, str] = ISOLATED) -> Iterator[Server]:
    """Run the base version."""
    (directory / "run").mkdir(mode=0o700, exist_ok=True)
    os.environ["KITSUNE_RUNTIME_DIR"] = str(directory / "run")
    os.environ["KITSUNE_LOG"] = str(directory / "updates")
    config = ftp_world.configure(directory, settings)
    command = [*KITSUNE, "run", str(release(HERE, BASE)), str(config)]
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        ftp_clients.wait_for_port(TIMEOUT_S)
        yield Server(running.pid, ftp_clients.World(directory))
    finally:
        running.terminate()
        running.wait(TIMEOUT_S)


# ---- updates -------------------------------------------------------------------------------------


def repeat(request: Callable[[], dict[str, Any]], wanted: str) -> tuple[dict[str, Any], int]:
    """Ask until it is done, as an operator does whose update met a login under way."""
    for tries in range(1, TRIES + 1):
        answer = request()
        if answer["outcome"] == wanted:
            return answer, tries
        if answer["outcome"] != "withdrawn":
            break
    raise SystemExit(f"not {wanted}, but: {json.dumps(answer)}")


def update_amid(server: Server, version: str, figures: Figures, how: str = "") -> Result:
    """Update the whole tree with sessions in every state, and let each of them go on."""
    what = f"{BASE} to {version}{how and ', '}{how}"
    print(f"== {what}", flush=True)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(kind(server.world)) for kind in ftp_clients.KINDS]
        traffic = stack.enter_context(ftp_clients.Traffic(server.world))
        traffic.wait_for(10, TIMEOUT_S)
        pids = begin(server, figures)
        answer, tries = repeat(lambda: server.update(version), "updated")
        end(pids, figures, what, answer)
        traffic.wait_for(10, TIMEOUT_S)
        result = Result(what, answer, [], tries, len(sessions))
        for session in sessions:
            if complaint := session.finish(version == FIELD):
                result.lost.append(f"{type(session).__name__}: {complaint}")
        if server.versions() != {version}:
            result.lost.append(f"versions that run: {server.versions()}")
        back, _ = repeat(server.back, "updated")
        traffic.wait_for(10, TIMEOUT_S)
        traffic.stop()
        result.lost += traffic.complaints
        note_traffic(figures, traffic)
        print(f"   and back: {back['outcome']}; meanwhile {traffic.served} sessions of others")
    return result


def begin(server: Server, figures: Figures) -> list[int]:
    """Note what memory there is before an update; return whose."""
    pids = server.pids()
    for pid in pids:
        with contextlib.suppress(OSError):
            scenarios.forget_peak(pid)
    figures.memory_before_kb = figures.memory_before_kb or total_kb(pids, scenarios.resident_kb)
    return pids


def pauses_ms(answer: dict[str, Any]) -> list[float]:
    """Return how long each process of a tree has stood still that was updated."""
    return [each["pause_ns"] / 1e6 for each in answer["processes"] if "pause_ns" in each]


def end(pids: list[int], figures: Figures, versions: str, answer: dict[str, Any]) -> None:
    """Note what the update of a tree did, and what memory it needed."""
    figures.pauses_ms += pauses_ms(answer)
    figures.objects[versions] = sum(each.get("objects", 0) for each in answer["processes"])
    figures.memory_peak_kb = max(figures.memory_peak_kb, total_kb(pids, scenarios.peak_kb))
    figures.memory_after_kb = total_kb(pids, scenarios.resident_kb)


def note_traffic(figures: Figures, traffic: ftp_clients.Traffic) -> None:
    """Note the sessions of others that came and went beside updates."""
    figures.requests += traffic.served
    figures.failed += len(traffic.complaints)


def leave_out(directory: Path) -> Result:
    """Try a server whose sessions cannot be updated: the tree is refused, the listener is not."""
    what = "sessions whose system calls are filtered"
    print(f"== {what}", flush=True)
    with contextlib.ExitStack() as stack:
        apart = stack.enter_context(server(directory, FILTERED))
        kinds = (ftp_clients.Connected, ftp_clients.Idle, ftp_clients.Download)
        sessions = [stack.enter_context(kind(apart.world)) for kind in kinds]
        answer = apart.update(FIELD)
        result = Result(what, answer, [], 1, len(sessions))
        if answer.get("code") != "K371":
            result.lost.append(f"the update of the tree ended as {answer['outcome']}")
        alone = apart.update_alone(FIELD)
        if alone["outcome"] != "updated":
            result.lost.append(f"the update of the listener ended as {json.dumps(alone)}")
        newcomer = stack.enter_context(ftp_clients.Idle(apart.world))
        for session in (*sessions, newcomer):
            if complaint := session.finish(session is newcomer):
                result.lost.append(f"{type(session).__name__}: {complaint}")
    return result


def refuse(server: Server, what: str, version: str, *options: str) -> Result:
    """Try an update that must not come about: everybody goes on in the old version."""
    print(f"== {what}", flush=True)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(kind(server.world)) for kind in ftp_clients.KINDS]
        stopped = None
        if version == SAME:
            stopped = server.broker()
            os.kill(stopped, signal.SIGSTOP)
        answer = server.update(version, *options)
        if stopped:
            os.kill(stopped, signal.SIGCONT)
        result = Result(what, answer, [], 1, len(sessions))
        if answer["outcome"] in ("updated", "error"):
            result.lost.append(f"the update ended as {answer['outcome']}")
        if server.versions() != {BASE}:
            result.lost.append(f"versions that run: {server.versions()}")
        for session in sessions:
            if complaint := session.finish(False):
                result.lost.append(f"{type(session).__name__}: {complaint}")
    return result


def go_back_and_forth(
    server: Server, rounds: int, idle: int, figures: Figures
) -> tuple[list[str], list[str]]:
    """Update there and back many times, under load; return what was seen, and what was lost."""
    print(f"== {rounds} times there and back", flush=True)
    lost: list[str] = []
    memory, pauses, tries = [], [], 0
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(ftp_clients.Idle(server.world)) for _ in range(idle)]
        slow = stack.enter_context(ftp_clients.Download(server.world))
        traffic = stack.enter_context(ftp_clients.Traffic(server.world))
        for _ in range(rounds):
            for request in (lambda: server.update(FIELD), server.back):
                answer, tried = repeat(request, "updated")
                tries += tried
                pauses += pauses_ms(answer)
            memory.append(server.own_kb())
        traffic.stop()
        lost += traffic.complaints
        note_traffic(figures, traffic)
        for session in (*sessions, slow):
            if complaint := session.finish(False):
                lost.append(f"{type(session).__name__}: {complaint}")
    figures.pauses_ms += pauses
    if scenarios.grows(memory):
        lost.append(f"the listener's memory grows: {memory} kB")
    seen = [
        f"{2 * rounds} updates of the tree in {tries} tries, {traffic.served} sessions of others",
        f"memory of the listener: {memory[0]} kB after the first, {memory[len(memory) // 2]} kB "
        f"half way, {memory[-1]} kB at the end",
        f"pause of a process: {median(pauses):.0f} ms median, {max(pauses):.0f} ms worst",
    ]
    return seen, lost


def serve(options: argparse.Namespace) -> int:
    """Run the server and update it; return the exit status."""
    scenarios.bring_loopback_up()
    heap = f"{len(ftp_clients.KINDS)} sessions in every state, {options.idle} idle ones"
    figures = Figures(heap)
    with tempfile.TemporaryDirectory(prefix="vsftpd-") as place:
        directory = Path(place)
        ftp_world.prepare(directory, options.megabytes)
        with server(directory, TOGETHER) as running:
            results = [update_amid(running, FIELD, figures, "in one namespace")]
        with server(directory) as running:
            results += [update_amid(running, version, figures) for version in (SAME, FIELD)]
            results += [
                refuse(running, "a rule that is wrong for some", "3.0.5+wrong"),
                refuse(running, "a rule that crashes in the middle", "3.0.5+crash"),
                refuse(running, "a rule that never ends", "3.0.5+stuck", "--limit-ms", "2000"),
                refuse(running, "a process that is stopped", SAME, "--wait-ms", "1500"),
            ]
            seen, lost = go_back_and_forth(running, options.rounds, options.idle, figures)
        results.append(leave_out(directory))
    print_results(results)
    for line in seen:
        print(line)
    for line in lost:
        print(f"  LOST: {line}")
    print(scenarios.manifest_of(HERE))
    figures.write(options.figures)
    return 1 if lost or any(result.lost for result in results) else 0


def print_results(results: Sequence[Result]) -> None:
    """Print what happened."""
    for result in results:
        processes = result.answer.get("processes", [])
        pauses = [p["pause_ns"] / 1e6 for p in processes if "pause_ns" in p]
        code = result.answer.get("code")
        print(f"\n{result.versions}: {result.answer['outcome']}{f' ({code})' if code else ''}")
        if code:
            print(f"  because: {result.answer['reason'].splitlines()[0][:160]}")
        print(f"  {len(processes)} processes, asked {result.tries} times")
        if pauses:
            print(f"  pause of a process: {min(pauses):.0f} to {max(pauses):.0f} ms")
        print(f"  {result.held - len(result.lost)} of {result.held} sessions went on")
        for line in result.lost:
            print(f"  LOST: {line}")
    print()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
