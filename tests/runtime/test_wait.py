"""Wrapped blocking calls: ended by a request, never by chance, and otherwise as libc's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from control_harness import (
    INCLUDES,
    SOURCES,
    Channel,
    Releases,
    StartProgram,
    run,
    until,
)

CALLS = [
    "select",
    "pselect",
    "poll",
    "ppoll",
    "epoll_wait",
    "epoll_pwait",
    "long_select",
    "long_poll",
]

SYS_POLL = 7  # on x86-64, as the program itself


def update_many_times(channel: Channel, releases: list[str], times: int) -> list[int]:
    """Update back and forth; return how long each took, in ns, from the request to its end."""
    durations = []
    for i in range(times):
        answer = channel.ask(f"update {releases[i % 2]}")
        assert answer["outcome"] == "updated", answer
        durations.append(answer["request_ns"])
    return durations


@pytest.mark.parametrize("call", CALLS)
def test_each_of_1000_requests_ends_the_call(
    call: str, start: StartProgram, releases: Releases
) -> None:
    program = start(call)
    pair = [str(releases.make("2.0", 2, (1, 3))), str(releases.make("3.0", 3, (2,)))]
    assert program.line().startswith("ready")
    durations = update_many_times(program.channel(), pair, 1000)
    # A lost wake-up is mended by the next kick only: the first ones come after 0.2, 0.6, 1.4 ms…
    # The bound is far above what a busy machine needs and far below the limit of a request.
    assert max(durations) < 5e9
    rounds = int(program.do("version").split()[3])
    assert rounds >= 1000
    assert program.process.poll() is None, "the server met EINTR"


def test_a_program_that_blocks_all_signals_during_the_call_is_woken(
    start: StartProgram, releases: Releases
) -> None:
    program = start("ppoll")
    assert program.line().startswith("ready")
    assert program.ask(f"update {releases.make('2.0', 2, (1,))}")["outcome"] == "updated"


def test_a_signal_of_the_program_is_still_an_error_of_the_call(start: StartProgram) -> None:
    program = start("poll")
    assert program.line().startswith("ready")
    assert program.do("handle-urgent") == "handling"
    system_call = Path(f"/proc/{program.pid}/syscall")
    until(lambda: system_call.read_text().startswith(f"{SYS_POLL} "), "poll")
    os.kill(program.pid, signal.SIGURG)  # one that comes before the call ends nothing
    assert program.line() == "wait failed: Interrupted system call"


def test_a_program_that_handles_sigurg_gets_its_own_and_no_kick(
    start: StartProgram, releases: Releases
) -> None:
    program = start("poll")
    assert program.line().startswith("ready")
    assert program.do("handle-urgent") == "handling"
    assert program.ask(f"update {releases.make('2.0', 2, (1,))}")["outcome"] == "updated"
    assert program.do("signals") == "signals 0"


def test_time_limits_and_errors_are_those_of_libc(start: StartProgram) -> None:
    program = start("poll")
    assert program.line().startswith("ready")
    assert program.do("show-wait 0") == "result 0 errno 0 left 0 revents 77"
    assert program.do("show-wait 1") == "result 0 errno 0 left 20000 revents 0"
    # The kernel counts the time down also for a call that fails, so libc's select shows that too.
    wrong = program.do("show-wait 2")
    assert re.fullmatch(r"result -1 errno 22 left (20000|19\d\d\d) revents 77", wrong)


@pytest.mark.parametrize("call", ["select", "poll", "epoll_wait"])
def test_idle_work_is_done_before_blocking_and_ends(call: str, start: StartProgram) -> None:
    program = start(call)
    assert program.line().startswith("ready")
    assert program.do("idle-work 50") == "working"
    until(lambda: program.do("slices") == "slices 0", "all slices")


def test_input_goes_before_idle_work(start: StartProgram) -> None:
    program = start("select")
    assert program.line().startswith("ready")
    assert program.do("idle-work 1000000") == "working"
    assert program.do("slices") != "slices 0"
    assert program.do("version").startswith("version 1.0")


@pytest.fixture(scope="module")
def wait_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("steps") / "wait_steps"
    source = Path(__file__).parent / "wait_steps.c"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", *INCLUDES]
    run("gcc", *flags, str(source), *map(str, SOURCES), "-o", str(target))
    return target


@pytest.mark.parametrize("what", ["kick", "cancel", "handler"])
@pytest.mark.parametrize(("block", "least_places"), [("quick", 6), ("long", 14)])
def test_a_signal_at_each_instruction_ends_the_call(
    wait_steps: Path, block: str, least_places: int, what: str
) -> None:
    """A request's kick, a cancellation, and one while a signal handler has interrupted the call."""
    result = subprocess.run(
        [wait_steps, block, what], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stdout
    places = int(result.stdout.split()[0])
    # The entry, the loading of arguments, the test, the branch, the call.
    assert places >= least_places
    assert result.stdout.endswith("asleep: 0\n")
