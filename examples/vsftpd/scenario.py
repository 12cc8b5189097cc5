"""vsftpd is updated with all its sessions, whatever each is doing: to itself, to a field more.

Fetches and builds 3.0.5 and variants of it with SCons, and starts it in namespaces of its own,
where it has two users. Clients of ftplib and curl are connected, half way through a login, idle in
some directory, between two commands that belong together, half way through a line, in transfer in
each direction, at full speed, stalled, and in text mode; others come and go all the time. Then the
whole tree of processes is updated, and each client goes on. Exit status: 0 done, 1 something was
lost, 3 it cannot be done here at the moment (no source, not root, no namespaces).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ftp_clients
from ftp_clients import USER

HERE = Path(__file__).resolve().parent
STORE = HERE / "build/releases/vsftpd"
NOT_HERE = 3
BASE, SAME, FIELD = "3.0.5", "3.0.5+same", "3.0.5+field"
KITSUNE = [sys.executable, "-m", "kitsune_tool.cli"]
TIMEOUT_S = 60
TRIES = 20
WAIT = ("--wait-ms", "3000")
PASSWD = """
ftp:x:4001:4001::{directory}/ftp:/bin/sh
{user}:x:4002:4002::{directory}/home:/bin/sh
"""
CONFIGURATION = """
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=YES
write_enable=YES
anon_upload_enable=YES
ascii_download_enable=YES
chroot_local_user=YES
allow_writeable_chroot=YES
secure_chroot_dir={directory}/empty
setproctitle_enable=YES
xferlog_enable=YES
vsftpd_log_file={directory}/log
max_per_ip=200
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
"""


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
    parser.add_argument("--cflags", default="-O2 -g", help="vsftpd is compiled with")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
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
    shutil.rmtree(STORE, ignore_errors=True)  # nobody runs what an earlier scenario released
    build = [sys.executable, "-m", "SCons", "-C", str(HERE), "-Q", "-s", "-j2", "release-chain"]
    print("== fetching and building vsftpd 3.0.5", flush=True)
    status = subprocess.run([*build, f"CFLAGS={options.cflags}"], check=False).returncode
    if status != 0:
        return status if status == NOT_HERE else 1
    inside = [sys.executable, "-W", "ignore", __file__, "--inside", *arguments]
    return subprocess.run([*namespace, *inside], check=False).returncode


# ---- the server ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs, and what is asked of it by `kitsune`."""

    pid: int
    world: ftp_clients.World

    def ask(self, *words: str) -> dict[str, Any]:
        """Run a command of kitsune; return the last line of its answer."""
        command = [*KITSUNE, *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        try:
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise SystemExit(f"no answer to {words}:\n{done.stdout}{done.stderr}") from None
        return answer

    def update(self, version: str, *options: str) -> dict[str, Any]:
        """Ask the whole tree to become a version."""
        words = ("update", "--tree", "--order", "children-first", *WAIT, *options)
        return self.ask(*words, str(self.pid), str(STORE / version / "vsftpd.so"))

    def back(self) -> dict[str, Any]:
        """Ask the whole tree to become the version before."""
        words = ("rollback", "--tree", "--order", "children-first", *WAIT)
        return self.ask(*words, "--store", str(STORE.parent), str(self.pid))

    def broker(self) -> int:
        """Return the process of a session that has privileges.

        The other one must not be stopped by anybody: at SIGCHLD vsftpd waits for its end.
        """
        (program,) = self.ask("status", str(self.pid))["programs"]
        return int(next(p["pid"] for p in program["children"] if p["parent"] == self.pid))

    def versions(self) -> set[str]:
        """Return what runs in the tree."""
        (program,) = self.ask("status", str(self.pid))["programs"]
        return {program["version"], *(each["version"] for each in program["children"])}

    def own_kb(self) -> int:
        """Return the memory that the listener has for itself."""
        (program,) = self.ask("status", str(self.pid))["programs"]
        return int(program["memory"]["own_kb"])


def prepare(directory: Path, megabytes: int) -> None:
    """Make the users, in this namespace, and their files."""
    directory.chmod(0o755)
    for name, owner in (("ftp", 0), ("ftp/incoming", 4001), ("home", 4002), ("empty", 0)):
        (directory / name).mkdir()
        os.chown(directory / name, owner, owner)
    contents = ftp_clients.contents(megabytes << 20)
    for place in ("ftp", "home"):
        (directory / place / "big").write_bytes(contents)
        (directory / place / "text").write_bytes(ftp_clients.TEXT)
        (directory / place / "sub").mkdir()
        os.chown(directory / place / "sub", 4002, 4002)
    (directory / "home/old name").write_text("renamed", encoding="ascii")
    secret = encrypted(ftp_clients.PASSWORD)
    additions = {
        "passwd": PASSWD.format(directory=directory, user=USER),
        "shadow": f"{USER}:{secret}:19000:0:99999:7:::\n",
        "group": f"ftp:x:4001:\n{USER}:x:4002:\n",
    }
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for name, lines in additions.items():
        copy = directory / name
        copy.write_text(Path("/etc", name).read_text(encoding="utf-8") + lines, encoding="utf-8")
        subprocess.run(["mount", "--bind", copy, f"/etc/{name}"], check=True)


def encrypted(password: str) -> str:
    """Return a password as it stands in /etc/shadow; Python has no module for that any more."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    result: bytes = library.crypt(password.encode(), b"$6$saltsalt$")
    return result.decode()


def bring_loopback_up() -> None:
    """Set the one interface of a new network namespace up."""
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS


@contextlib.contextmanager
def server(directory: Path) -> Iterator[Server]:
    """Run the base version."""
    (directory / "run").mkdir(mode=0o700)
    os.environ["KITSUNE_RUNTIME_DIR"] = str(directory / "run")
    os.environ["KITSUNE_LOG"] = str(directory / "updates")
    config = directory / "vsftpd.conf"
    text = CONFIGURATION.format(directory=directory, port=ftp_clients.PORT)
    config.write_text(text, encoding="ascii")
    command = [*KITSUNE, "run", str(STORE / BASE / "vsftpd.so"), str(config)]
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


def update_amid(server: Server, version: str) -> Result:
    """Update the whole tree with sessions in every state, and let each of them go on."""
    print(f"== {BASE} to {version}", flush=True)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(kind(server.world)) for kind in ftp_clients.KINDS]
        traffic = stack.enter_context(ftp_clients.Traffic(server.world))
        traffic.wait_for(10, TIMEOUT_S)
        answer, tries = repeat(lambda: server.update(version), "updated")
        traffic.wait_for(10, TIMEOUT_S)
        result = Result(f"{BASE} to {version}", answer, [], tries, len(sessions))
        for session in sessions:
            if complaint := session.finish(version == FIELD):
                result.lost.append(f"{type(session).__name__}: {complaint}")
        if server.versions() != {version}:
            result.lost.append(f"versions that run: {server.versions()}")
        back, _ = repeat(server.back, "updated")
        traffic.wait_for(10, TIMEOUT_S)
        traffic.stop()
        result.lost += traffic.complaints
        print(f"   and back: {back['outcome']}; meanwhile {traffic.served} sessions of others")
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


def go_back_and_forth(server: Server, rounds: int, idle: int) -> tuple[list[str], list[str]]:
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
                pauses += [p["pause_ns"] for p in answer["processes"] if "pause_ns" in p]
            memory.append(server.own_kb())
        traffic.stop()
        lost += traffic.complaints
        for session in (*sessions, slow):
            if complaint := session.finish(False):
                lost.append(f"{type(session).__name__}: {complaint}")
    pauses.sort()
    seen = [
        f"{2 * rounds} updates of the tree in {tries} tries, {traffic.served} sessions of others",
        f"memory of the listener: {memory[0]} kB after the first, {memory[len(memory) // 2]} kB "
        f"half way, {memory[-1]} kB at the end",
        f"pause of a process: {pauses[len(pauses) // 2] / 1e6:.0f} ms median, "
        f"{pauses[-1] / 1e6:.0f} ms worst",
    ]
    return seen, lost


def serve(options: argparse.Namespace) -> int:
    """Run the server and update it; return the exit status."""
    bring_loopback_up()
    with tempfile.TemporaryDirectory(prefix="vsftpd-") as place:
        directory = Path(place)
        prepare(directory, options.megabytes)
        with server(directory) as running:
            results = [update_amid(running, version) for version in (SAME, FIELD)]
            results += [
                refuse(running, "a rule that is wrong for some", "3.0.5+wrong"),
                refuse(running, "a rule that crashes in the middle", "3.0.5+crash"),
                refuse(running, "a rule that never ends", "3.0.5+stuck", "--limit-ms", "2000"),
                refuse(running, "a process that is stopped", SAME, "--wait-ms", "1500"),
            ]
            seen, lost = go_back_and_forth(running, options.rounds, options.idle)
    print_results(results)
    for line in seen:
        print(line)
    for line in lost:
        print(f"  LOST: {line}")
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
