"""Whatever goes wrong before the commit, the old version goes on; the message names the cause."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from transaction_harness import EVEN_ID, ODD_ID, OTHER_ID, Server, build_release, serving

SEGV = "K354: SIGSEGV at address 0x10"
SPOIL = "write_and_segv"
PLACES = {
    "constructor": "while it was loaded (in a constructor)",
    "prestart": "in the hook _kitsune_prestart_xform",
    "main": "in the new main",
    "rule": "while state was transformed",
    "migrated": "in the new main",
    "mainupdate": "in the hook _kitsune_mainupdate_xform",
}
FAILURES = {
    "bus": "K354: SIGBUS at address",
    "fpe": "K354: SIGFPE",
    "ill": "K354: SIGILL",
    "abort": "K354: SIGABRT",
    "smash_heap": "K354: SIGABRT",
    "free_and_segv": SEGV,
    "overflow": "K355: stack overflow",
    "loop": "K356: the time limit ran out",
    "loop_blocked": "K356: the time limit ran out",
    "loop_malloc": "K356: the time limit ran out",
    "sleep": "K356: the time limit ran out",
    "exit": "K357: the new version called exit(3)",
    "_exit": "K357: the new version called _exit(3)",
    "quick_exit": "K357: the new version called quick_exit(3)",
    "errx": "K357: a library called exit(3) in the new version",
    "daemon": "K359: the new version called daemon()",
    "memory": "the process was out of memory",
    "close": SEGV,
    "process": SEGV,
    "remap": SEGV,
    "sigpipe": SEGV,
    "exec": "K359: the new version called execv()",
    "execvp": "K359: the new version called execvp()",
    "execve": "K359: the new version called execve()",
    "thread": "K359: the new version called pthread_create()",
    "vfork": SEGV,
    "vfork_exec": SEGV,
    "let_signals_in": SEGV,
    "alarm": "K356: the time limit ran out",
    "timer": "K356: the time limit ran out",
    "timer_thread": "K359: the new version called timer_create() for a timer that starts threads",
}
MAPPINGS_OF_AN_IMAGE = 8
"""The last old images may stay a while longer: stale words in free blocks point into them."""
LOOPS = {"loop", "loop_blocked", "loop_malloc", "sleep", "alarm", "timer"}


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release that runs first."""
    target = tmp_path_factory.mktemp("even") / "even.so"
    return build_release(target, build_id=EVEN_ID, parent=ODD_ID)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release that follows it."""
    target = tmp_path_factory.mktemp("odd") / "odd.so"
    return build_release(target, "-DODD", build_id=ODD_ID, parent=EVEN_ID)


@pytest.fixture
def server(even: Path, tmp_path: Path) -> Iterator[Server]:
    """The first release, running."""
    with serving(even, tmp_path) as running:
        yield running


def check_rollback(server: Server, release: Path, *expected: str) -> str:
    """An update fails, is explained, and leaves everything as it was; the next one succeeds."""
    before = server.ask("sum")
    resources = server.ask("resources").split()[1:]
    line = server.update(release)
    for text in expected:
        assert text in line
    assert server.ask("sum") == before
    assert server.ask("resources").split()[2] == resources[1]
    assert "could not" not in line
    assert "lost" not in line
    return line


def settled(server: Server) -> tuple[int, ...]:
    """Return memory in KiB, mappings and descriptors, once the last old image is unloaded."""
    deadline = time.monotonic() + 20
    last: list[str] = []
    while (now := server.ask("resources").split()) != last and time.monotonic() < deadline:
        last = now
        time.sleep(0.1)
    return tuple(map(int, now))


def check_update(server: Server, release: Path) -> None:
    """An update succeeds: same process, same state, another version."""
    name, pid, checksum, updates = server.ask("sum").split()
    assert " became " in server.update(release)
    now = server.ask("sum").split()
    assert now == ["odd" if name == "even" else "even", pid, checksum, str(int(updates) + 1)]


def test_update_carries_the_state(server: Server, odd: Path) -> None:
    """The plain case: state, process and descriptors are kept, the end is the new version's."""
    before = server.ask("resources").split()[2]
    check_update(server, odd)
    assert server.ask("resources").split()[2] == before
    assert server.ask("wait") == "1", "the snapshot is no child that the program could wait for"
    assert server.end() == 0
    assert server.answer() == "odd ends 1", "atexit runs once, in the new version"


@pytest.mark.parametrize("place", PLACES)
def test_rollback_when_old_state_is_spoilt(server: Server, odd: Path, place: str) -> None:
    """Code of the new version writes the old version's state and then crashes."""
    server.ask(f"scenario {place} {SPOIL}")
    expected = "K354: SIGSEGV at address"
    line = check_rollback(server, odd, expected, PLACES[place])
    assert re.search(r"\(at maybe_act\+0x[0-9a-f]+\)", line), "the function is named"
    server.ask("clear")
    check_update(server, odd)


@pytest.mark.parametrize("action", FAILURES)
@pytest.mark.parametrize("place", ["main", "rule"])
def test_rollback(even: Path, odd: Path, tmp_path: Path, place: str, action: str) -> None:
    """Each way of failing, in the new main and inside the engine."""
    limit = {"KITSUNE_LIMIT_MS": "200"} if action in LOOPS else {}
    with serving(even, tmp_path, environment=limit) as server:
        server.ask(f"scenario {place} {action}")
        line = check_rollback(server, odd, FAILURES[action])
        assert PLACES[place] in line or action == "memory"
        assert server.ask("wait") == "1"
    with serving(even, tmp_path) as server:
        server.ask(f"scenario {place} {action}")
        server.ask("clear")
        check_update(server, odd)


PHASES = {
    "constructor": "load",
    "prestart": "load",
    "main": "start",
    "migrated": "start",
    "rule": "transform",
    "mainupdate": "transform",
}


@pytest.mark.parametrize("place", PLACES)
def test_each_phase_has_a_limit_of_its_own(
    even: Path, odd: Path, tmp_path: Path, place: str
) -> None:
    """The whole has time enough; what overran is named, and how long it was."""
    limit = {"KITSUNE_LIMIT_MS": f"600000,{PHASES[place]}=200"}
    with serving(even, tmp_path, environment=limit) as server:
        server.ask(f"scenario {place} loop")
        line = check_rollback(server, odd, "K356: the time limit of the phase", PLACES[place])
        told = re.search(rf"phase '{PHASES[place]}' ran out.*, after (\d+) ms", line)
        assert told is not None
        assert int(told[1]) >= 200
        server.ask("clear")
        check_update(server, odd)


def test_a_phase_does_not_pay_for_another(even: Path, odd: Path, tmp_path: Path) -> None:
    """What is inside the new main is not its own time; what comes before and after adds up."""
    limit = {"KITSUNE_LIMIT_MS": "600000,load=2000,start=2000"}
    with serving(even, tmp_path, environment=limit) as server:
        server.ask("scenario rule nap")
        check_update(server, odd)
    with serving(even, tmp_path, environment={"KITSUNE_LIMIT_MS": "1000,load=600"}) as server:
        server.ask("scenario migrated loop")
        line = check_rollback(server, odd, "K356: the time limit ran out in the new main, after 1")
        assert re.search(r"\(snapshot \d+, load \d+, start \d+, transform \d+\)", line)


def test_the_snapshot_has_a_limit(even: Path, odd: Path, tmp_path: Path) -> None:
    limit = {"KITSUNE_LIMIT_MS": "600000,snapshot=1"}
    with serving(even, tmp_path, environment=limit) as server:
        assert server.ask("grow") == "grown"
        check_rollback(server, odd, "K356: the time limit of the phase 'snapshot' ran out, a")


def test_update_succeeds_after_rollbacks(server: Server, odd: Path) -> None:
    """No failure leaves anything behind that a later update trips over."""
    for action in ("segv", "smash_heap", "remap", "close", "process", "overflow", "exit"):
        server.ask(f"scenario migrated {action}")
        check_rollback(server, odd)
    server.ask("clear")
    check_update(server, odd)


@pytest.mark.parametrize("action", ["flags", "watches", "epoll", "unmap"])
def test_rollback_of_what_the_kernel_keeps(server: Server, odd: Path, action: str) -> None:
    """Status flags, what an epoll watches, mapped files: part of the old version's state."""
    server.ask("use kernel")
    before = server.ask("kernel")
    assert {"61:19:1001", "63:80000019:1002"} <= set(before.split())
    server.ask(f"scenario main {action}")
    check_rollback(server, odd, SEGV)
    assert server.ask("kernel") == before


def test_timers_are_the_old_ones_after_a_rollback(server: Server, odd: Path) -> None:
    """And the new one's after a commit, where what it deleted is gone."""
    server.ask("use timers")
    before = server.ask("timers")
    assert before == "late/7 0/0 late/7 0/0 0 1"
    for _ in range(2):
        server.ask("scenario main retime")
        check_rollback(server, odd, SEGV)
        assert server.ask("timers") == before
    server.ask("scenario main retime_well")
    check_update(server, odd)
    assert server.ask("timers") == "soon/9 none 0/0 soon/9 0 0"


def test_shared_mapping_that_is_lost_keeps_its_contents(server: Server, odd: Path) -> None:
    """It cannot be shared again, which the log says."""
    server.ask("use kernel")
    before = server.ask("kernel")
    server.ask("scenario main unmap_shared")
    line = server.update(odd)
    assert "a shared mapping that the new version removed is lost" in line
    assert server.ask("kernel") == before


def test_rollback_on_a_kernel_without_newer_calls(even: Path, odd: Path, tmp_path: Path) -> None:
    """What is lost is read, and what is new is closed, by others."""
    program, source = tmp_path / "old_kernel", Path(__file__).parents[1] / "update/old_kernel.c"
    subprocess.run(["gcc", str(source), "-o", str(program)], check=True, timeout=60)
    missing = ("process_vm_readv", "close_range", "kcmp", "pagemap_scan")
    with serving(even, tmp_path, prefix=[str(program), *missing, "--"]) as server:
        server.ask("use kernel")
        before = server.ask("kernel")
        for action in ("watches", "unmap", "unmap_shared", "close"):
            server.ask(f"scenario main {action}")
            assert "SIGSEGV" in server.update(odd), action
            assert server.ask("kernel") == before, action
        server.ask("clear")
        check_update(server, odd)
        assert server.end() == 0


def test_descriptors_that_the_new_version_takes_stay_its_own(server: Server, odd: Path) -> None:
    """The launcher closes nothing by a number that may no longer mean what it opened."""
    before = int(server.ask("resources").split()[2])
    server.ask("scenario main take_descriptors")
    check_update(server, odd)
    assert int(server.ask("resources").split()[2]) == before + 20


def test_rollback_when_a_rule_fails(server: Server, odd: Path) -> None:
    """A rule gives up by the engine's own way."""
    server.ask("scenario rule fail")
    check_rollback(server, odd, "K353: the list cannot be had")


def test_rollback_when_main_returns(server: Server, odd: Path) -> None:
    """The new main returns before its update point."""
    server.ask("scenario main return")
    check_rollback(server, odd, "K358: the new version's main returned 5")


def test_children_are_told(server: Server, odd: Path) -> None:
    """A process that the new version started is not taken back, and the answer says so."""
    server.ask("scenario main fork")
    check_rollback(server, odd, SEGV, "the new version started a process, which goes on")


def test_signals_wait_for_the_outcome(even: Path, odd: Path, tmp_path: Path) -> None:
    """A signal that arrives in a transaction is delivered after it, to old or new handler."""
    with serving(even, tmp_path, environment={"KITSUNE_LIMIT_MS": "1500"}) as server:
        server.ask("scenario main sleep")
        assert server.ask(f"update {odd}") == "asked"
        wait_until_sleeping(server.process.pid)
        server.process.send_signal(signal.SIGUSR1)
        assert server.ask("signals") == "1"
        assert "K356" in server.log()
        server.process.send_signal(signal.SIGUSR1)
        while server.ask("signals") != "2":
            time.sleep(0.01)
        server.ask("clear")
        check_update(server, odd)
        server.process.send_signal(signal.SIGUSR1)
        while server.ask("signals") != "3":
            time.sleep(0.01)


def wait_until_sleeping(pid: int) -> None:
    """Wait until the process is in nanosleep, that is, in the new version's sleep()."""
    while not Path(f"/proc/{pid}/wchan").read_text().startswith("hrtimer"):
        if "nanosleep" in Path(f"/proc/{pid}/stack").read_text():
            return
        time.sleep(0.005)


def test_rounding_mode_survives(even: Path, odd: Path, tmp_path: Path) -> None:
    """Floating-point control words belong to the thread: a rollback keeps them."""
    with serving(even, tmp_path, arguments=["round-up"]) as server:
        server.ask("scenario main fpe")
        check_rollback(server, odd, "K354: SIGFPE")


@pytest.mark.parametrize(
    ("flags", "parent", "code"),
    [
        (["-DPROGRAM='\"another\"'"], EVEN_ID, "K344"),
        ([], OTHER_ID, "K345"),
        (["-DPARENT_DIGEST=99"], EVEN_ID, "K346"),
        (["-DPLAN=NULL"], EVEN_ID, "K347"),
        (["-DABI=(KITSUNE_ABI - 1)"], EVEN_ID, "K342"),
        (["-DABI=(KITSUNE_ABI + 1)"], EVEN_ID, "K343"),
    ],
)
def test_wrong_releases_are_refused(
    server: Server, tmp_path: Path, flags: list[str], parent: str, code: str
) -> None:
    """A release that does not follow what runs is refused, and says why by a code of its own."""
    flags = [flag.replace("'", "") for flag in flags]
    release = build_release(tmp_path / "wrong.so", "-DODD", *flags, build_id=ODD_ID, parent=parent)
    check_rollback(server, release, code)


def test_release_that_lacks_a_library(server: Server, tmp_path: Path) -> None:
    """The dynamic linker's message is handed on."""
    library = tmp_path / "libgone.so"
    build_release(library, "-DODD", build_id=OTHER_ID, parent=EVEN_ID)
    release = build_release(
        tmp_path / "needs.so",
        *("-DODD", "-Wl,--no-as-needed", f"-L{tmp_path}", "-l:libgone.so"),
        build_id=ODD_ID,
        parent=EVEN_ID,
    )
    library.unlink()
    check_rollback(server, release, "K348", "libgone.so")


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_chain_of_commits_does_not_grow(server: Server, even: Path, odd: Path, count: int) -> None:
    """Updates in a chain: memory, mappings and descriptors stay what they were after a few."""
    for release in (odd, even) * 10:
        check_update(server, release)
    resident, mappings, descriptors = settled(server)
    for index in range(count):
        check_update(server, even if index % 2 else odd)
    now = settled(server)
    assert now[0] <= resident + 1024
    assert now[1] <= mappings + 2 * MAPPINGS_OF_AN_IMAGE
    assert now[2] == descriptors


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_chain_of_rollbacks_does_not_grow(server: Server, odd: Path, count: int) -> None:
    """Rollbacks in a chain."""
    server.ask(f"scenario migrated {SPOIL}")
    for _ in range(10):
        check_rollback(server, odd)
    resident, mappings, descriptors = settled(server)
    for _ in range(count):
        check_rollback(server, odd, "K354")
    now = settled(server)
    assert now[0] <= resident + 512
    assert now[1] <= mappings + 2
    assert now[2] == descriptors
    server.ask("clear")
    check_update(server, odd)


def test_handler_without_namesake(server: Server, even: Path, odd: Path) -> None:
    """A handler that the next version does not have stays where it is, and the log says so."""
    check_update(server, odd)
    line = server.update(even)
    assert " became even" in line
    assert "the handler of signal 12 has no namesake in the new version" in line
    server.process.send_signal(signal.SIGUSR2)
    assert server.ask("sum").startswith("even "), "the old handler is still there to be called"
