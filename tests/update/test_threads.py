"""Programs with threads: a thread in each kind of blocking call, updated, rolled back, stuck."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import stamps

from kitsune_tool import launcher, resources

HERE = Path(__file__).parent
KINDS = (
    "read", "recv", "recvmsg", "poll", "select", "epoll_wait", "cond_wait", "sem_wait", "futex",
    "sigwait", "nanosleep", "sleep", "pause", "sendfile",
)  # fmt: skip
WITHOUT_EVENTS = {"nanosleep", "sleep", "pause", "accept", "sendfile"}
PATIENCE_S = 30


@pytest.fixture
def scenario(built: Callable[..., Any]) -> Any:
    return built(HERE / "threads")


def links(scenario: Any, directory: Path) -> Iterator[Path]:
    """Yield release after release, each a child of the one before; version 1 runs first."""
    parent = stamps.build_id(scenario.release("1"))
    for number in itertools.count():
        source = scenario.release("2" if number % 2 == 0 else "3")
        path = stamps.stamped(source, number, parent, directory / f"{number % 4}.so")
        parent = stamps.build_id(path)
        yield path


def await_counts(server: Any, expected: int) -> None:
    """Wait until each thread has seen so many events; more, or changed ids, fail at once."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        lines = server.ask("counts").split(" | ")
        late = []
        for line in lines:
            kind, events, local, *rest = line.split()
            assert not rest, lines
            if kind in WITHOUT_EVENTS:
                continue
            assert int(events) <= expected, lines
            if int(events) < expected or int(local) < expected:
                late.append(line)
        if not late:
            return
        assert time.monotonic() < deadline, lines
        time.sleep(0.01)


@contextmanager
def load(port: int) -> Iterator[list[str]]:
    """Connect again and again; give the list of what went wrong."""
    ended = threading.Event()
    wrong: list[str] = []
    done = [0]

    def run() -> None:
        while not ended.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
                    client.sendall(b"x")
                    if client.recv(1) != b"x":
                        wrong.append("no answer")
            except OSError as error:
                wrong.append(str(error))
            done[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield wrong
    finally:
        ended.set()
        thread.join()
    assert done[0] > 0


@pytest.mark.parametrize(
    "updates", [20, pytest.param(1000, marks=pytest.mark.slow)], ids=["20", "1000"]
)
def test_threads_in_each_call_are_updated_under_load(
    updates: int, scenario: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    server = start(scenario.release("1"))
    for kind in KINDS:
        server.ask(f"spawn {kind}")
    port = int(server.ask("spawn accept").split(" | ")[0])
    sizes = []
    with load(port) as wrong:
        for number, release in enumerate(itertools.islice(links(scenario, tmp_path), updates)):
            server.ask("poke")
            answer = server.update_now(release)
            assert answer.committed, answer.text
            assert server.ask("version") == ("2" if number % 2 == 0 else "3")
            await_counts(server, number + 1)
            sizes.append(server.resident_kb())
    assert wrong == []
    assert server.ask("stop") == f"{len(KINDS) + 1} of {len(KINDS) + 1}"
    settled = sizes[min(20, updates // 2) :]
    assert max(settled) <= settled[0] + 2048, sizes
    assert server.stop() == 0


# Their frames lie on stacks whose shadow a rollback restores, or that are no stacks to it.
UNCHECKED = {"snapshot.c", "journal.c", "park.c", "switch.c", "platform.c"}


def sanitized(directory: Path) -> Path:
    """Build a launcher under AddressSanitizer and UndefinedBehaviorSanitizer."""
    objects = []
    for source in launcher.launcher_sources():
        target = directory / f"{source.name}.o"
        checks = ["undefined"] if source.name in UNCHECKED else ["undefined", "address"]
        flags = ["-std=gnu11", "-O1", "-g", "-fvisibility=hidden", "-fPIE", "-fno-stack-protector",
                 "-fno-sanitize-recover=undefined", f"-fsanitize={','.join(checks)}",
                 f"-I{resources.include_dir()}"]  # fmt: skip
        command = ["gcc", *flags, "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True, timeout=300)
        objects.append(str(target))
    target = directory / "kitsune-launcher"
    link = ["-pie", "-Wl,-z,relro,-z,now", "-Wl,--export-dynamic-symbol=kitsune_launcher_table"]
    command = ["gcc", "-fsanitize=address,undefined", *objects, "-o", str(target), *link]
    subprocess.run(command, check=True, timeout=300)
    return target


@pytest.mark.slow
def test_threads_under_sanitizers(scenario: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    directory = tmp_path / "sanitized"
    directory.mkdir()
    command = [str(sanitized(directory))]
    server = start(scenario.release("1"), command=command, ASAN_OPTIONS="detect_leaks=0")
    for kind in KINDS:
        server.ask(f"spawn {kind}")
    for number, release in enumerate(itertools.islice(links(scenario, tmp_path), 10)):
        server.ask("poke")
        server.ask("fail crash")
        answer = server.update_now(release)
        assert (answer.committed, answer.code) == (False, "K354"), answer.text
        server.ask("fail nothing")
        answer = server.update_now(release)
        assert answer.committed, answer.text
        await_counts(server, number + 1)
    assert server.ask("stop") == f"{len(KINDS)} of {len(KINDS)}"
    assert "ERROR" not in server.errors()
    assert server.stop() == 0


FAILURES = {
    "crash": ("K354", "SIGSEGV at address 0x10 in the new version's thread 'serve_worker'"),
    "late crash": ("K354", "SIGSEGV at address 0x10 in the new version's thread 'serve_worker'"),
    "overflow": ("K355", "stack overflow in the new version's thread 'serve_worker'"),
    "abort": ("K354", "SIGABRT in the new version's thread 'serve_worker'"),
    "loop": ("K356", "the time limit ran out in the new version's thread 'serve_worker'"),
    "block": ("K356", "the time limit ran out in the new version's thread 'serve_worker'"),
    "exit": ("K357", r"called exit\(3\) in the new version's thread 'serve_worker'"),
    "errx": ("K357", r"a library called exit\(3\) in the new version in the new version's thread"),
    "main crash": ("K354", "SIGSEGV at address 0x10 in the new main"),
    "main loop": ("K356", "the time limit ran out in the new main"),
    "main exit": ("K357", r"called exit\(3\) in the new main"),
    "pthread_exit": ("K357", r"called pthread_exit\(\) in the new version's thread"),
    "return": ("K358", "start function returned before the thread reached its update point"),
    "create": ("K359", r"called pthread_create\(\), which needs a guard"),
}


def test_failures_in_a_thread_are_rolled_back(scenario: Any, start: Callable[..., Any]) -> None:
    server = start(scenario.release("1"))
    for kind in (*KINDS[:4], "read", *KINDS[4:]):
        server.ask(f"spawn {kind}")
    for number, (how, (code, reason)) in enumerate(FAILURES.items()):
        server.ask(f"fail {how}")
        server.ask("poke")
        answer = server.update(scenario.release("2"), "--limit-ms", "1500")
        assert (answer.committed, answer.code) == (False, code), answer.text
        assert re.search(reason, answer.reason), answer.text
        assert server.ask("version") == "1"
        await_counts(server, number + 1)
    server.ask("fail nothing")
    assert server.update(scenario.release("2")).committed
    assert server.ask("version") == "2"
    server.ask("poke")
    await_counts(server, len(FAILURES) + 1)
    total = len(KINDS) + 1
    assert server.ask("stop") == f"{total} of {total}"
    assert server.stop() == 0


def test_a_thread_that_waits_for_a_lock_is_named_with_who_holds_it(
    scenario: Any, start: Callable[..., Any]
) -> None:
    server = start(scenario.release("1"))
    server.ask("spawn read")
    server.ask("hold")
    server.ask("spawn mutex")
    answer = server.update(scenario.release("2"), "--wait-ms", "300")
    assert (answer.committed, answer.code) == (False, "K361"), answer.text
    assert re.search(
        rf"^thread \d+ '.*' did not reach an update point: it waits for the lock at 0x\w+, "
        rf"which thread {server.pid} '.*' holds at its update point, in "
        r"(\w+\+0x\w+ < )*serve_worker\+0x\w+$",
        answer.reason,
    ), answer.reason
    (stuck,) = answer.last["threads"]
    assert places(stuck["stack"])[:2] == [
        ("wait_mutex", line_of("pthread_mutex_lock(&held)", "wait_mutex(void)")),
        ("wait_for", line_of("return wait_mutex();")),
    ]
    assert places(stuck["stack"])[-1][0] == "serve_worker"
    holder = stuck["holder"]
    assert (holder["tid"], holder["point"]) == (server.pid, "serve")
    assert places(holder["stack"])[-1] == ("main", line_of("    serve();"))
    assert server.ask("version") == "1"
    server.ask("poke")
    server.ask("unhold")
    assert server.update(scenario.release("2")).committed
    assert server.ask("counts").startswith("read 1 1")
    assert server.ask("stop") == "2 of 2"


def test_a_thread_that_loops_is_named_with_its_function(
    scenario: Any, start: Callable[..., Any]
) -> None:
    server = start(scenario.release("1"))
    server.ask("spawn read")
    assert server.update(scenario.release("2")).committed
    server.ask("spawn loop")
    answer = server.update(scenario.release("3"), "--wait-ms", "300")
    assert (answer.committed, answer.code) == (False, "K361"), answer.text
    assert re.search(
        r"^thread \d+ '.*' did not reach an update point: it runs in "
        r"(wait_for|serve_worker)\+0x\w+",
        answer.reason,
    ), answer.reason
    (stuck,) = answer.last["threads"]
    source, line = places(stuck["stack"])[0]
    assert source == "wait_for"
    assert line in (line_of(LOOP), line_of(LOOP) + 1)
    server.ask("poke")
    await_counts_of_read(server)
    assert server.ask("stop") == "2 of 2"


LOOP = "for (volatile int forever = 1; forever && !LOAD(stopping)"


def line_of(text: str, after: str = "") -> int:
    """Return the line of the servers' source where `text` stands, behind the one with `after`."""
    lines = (HERE / "common/workers.h").read_text(encoding="ascii").splitlines()
    first = next((n for n, line in enumerate(lines) if after in line), 0)
    return next(n for n, line in enumerate(lines, 1) if n > first and text in line)


def places(stack: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return functions and lines of a stack, what was inlined into them too."""
    every = [each for frame in stack for each in (frame, *frame.get("inlined", []))]
    assert {Path(each["file"]).name for each in every} <= {"workers.h", "serve.h", "kitsune.h"}
    return [(each["source"], each["line"]) for each in every]


def test_a_main_thread_that_loops_is_told_with_its_line(
    scenario: Any, start: Callable[..., Any]
) -> None:
    server = start(scenario.release("1"))
    server.ask("entry loop")
    server.send("wait")
    assert server.line() == "waiting 0"
    answer = server.update(scenario.release("2"), "--wait-ms", "300")
    assert (answer.last["outcome"], answer.code) == ("withdrawn", "K361"), answer.text
    assert re.search(r"; it runs in wait_for\+0x\w+", answer.reason), answer.reason
    (stuck,) = answer.last["threads"]
    assert stuck["tid"] == server.pid
    source, line = places(stuck["stack"])[0]
    assert source == "wait_for"
    assert line in (line_of(LOOP), line_of(LOOP) + 1)
    assert "main" in dict(places(stuck["stack"]))
    os.kill(server.pid, signal.SIGKILL)


def test_a_main_thread_that_waits_for_a_lock_is_told_with_the_holder(
    scenario: Any, start: Callable[..., Any]
) -> None:
    server = start(scenario.release("1"))
    server.ask("spawn keep")
    while server.ask("held") == "0":
        time.sleep(0.01)
    server.send("wait")
    assert server.line() == "waiting 0"
    answer = server.update(scenario.release("2"), "--wait-ms", "300")
    assert (answer.last["outcome"], answer.code) == ("withdrawn", "K361"), answer.text
    (stuck,) = answer.last["threads"]
    holder = stuck["holder"]
    assert f"which thread {holder['tid']} '{holder['name']}' holds, in " in answer.reason
    assert places(stuck["stack"])[0] == (
        "keep_lock",
        line_of("pthread_mutex_lock(&held)", "keep_lock"),
    )
    assert ("keep_lock", line_of("taken = take_byte(worker);", "keep_lock")) in places(
        holder["stack"]
    )
    os.kill(server.pid, signal.SIGKILL)


def test_a_crash_is_told_with_its_line(scenario: Any, start: Callable[..., Any]) -> None:
    server = start(scenario.release("1"))
    server.ask("spawn read")
    server.ask("fail crash")
    answer = server.update(scenario.release("2"))
    assert answer.code == "K354", answer.text
    assert places(answer.last["stack"])[0] == ("fail_now", line_of("*(volatile int *)16 = 1;"))
    assert "serve_worker" in dict(places(answer.last["stack"]))
    server.ask("fail abort")
    answer = server.update(scenario.release("2"))
    assert [frame["source"] for frame in answer.last["stack"]] == [
        "fail_now",
        "serve_until_stopped",
    ]
    server.ask("fail nothing")
    shown = subprocess.run(
        [sys.executable, "-m", "kitsune_tool.cli", "status", "--json", str(server.pid)],
        env=server.environment(), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    (program,) = json.loads(shown.stdout)["programs"]
    assert [image["version"] for image in program["images"]] == ["1"]
    assert server.ask("stop") == "1 of 1"


@pytest.mark.parametrize("state", ["stripped", "another"])
def test_without_debug_information_functions_are_told(
    state: str, scenario: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    """Also if another build lies where the release was: its lines would be wrong ones."""
    release = tmp_path / "release.so"
    shutil.copy(scenario.release("1"), release)
    if state == "stripped":
        subprocess.run(["strip", "--strip-debug", str(release)], check=True, timeout=60)
    server = start(release)
    server.ask("entry loop")
    server.send("wait")
    assert server.line() == "waiting 0"
    if state == "another":
        release.unlink()
        shutil.copy(scenario.release("3"), release)
    answer = server.update(scenario.release("2"), "--wait-ms", "300")
    (stuck,) = answer.last["threads"]
    expected = r"wait_for\+0x\w+" if state == "stripped" else ""
    assert re.fullmatch(expected, stuck["stack"][0]["function"])
    assert stuck["stack"][0]["offset"] > 0
    assert "line" not in stuck["stack"][0]
    os.kill(server.pid, signal.SIGKILL)


def await_counts_of_read(server: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not server.ask("counts").startswith("read 1 1"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_hook_removes_a_thread(scenario: Any, start: Callable[..., Any]) -> None:
    server = start(scenario.release("1"))
    server.ask("spawn read")
    assert server.update(scenario.release("2")).committed
    server.ask("hook remove first")
    assert server.update(scenario.release("3")).committed
    assert thread_count(server) == 1
    assert server.ask("join 0") == "NULL"
    assert server.ask("version") == "3"


@pytest.mark.parametrize("when", ["add now", "add later"])
def test_a_hook_adds_a_thread(when: str, scenario: Any, start: Callable[..., Any]) -> None:
    server = start(scenario.release("1"))
    server.ask("spawn read")
    assert server.update(scenario.release("2")).committed
    server.ask("hook add and fail")
    answer = server.update(scenario.release("3"))
    assert (answer.committed, answer.code) == (False, "K354"), answer.text
    assert thread_count(server) == 2
    server.ask("poke")
    server.ask(f"hook {when}")
    assert server.update(scenario.release("3")).committed
    assert thread_count(server) == 3
    server.ask("poke")
    deadline = time.monotonic() + PATIENCE_S
    while server.ask("counts") != "read 2 2 | poll 1 1":
        assert time.monotonic() < deadline, server.ask("counts")
        time.sleep(0.01)
    assert server.ask("stop") == "2 of 2"


def test_a_hook_sends_threads_to_another_point(scenario: Any, start: Callable[..., Any]) -> None:
    server = start(scenario.release("1"))
    server.ask("spawn poll")
    server.ask("spawn cond_wait")
    assert server.update(scenario.release("2")).committed
    server.ask("hook point")
    assert server.update(scenario.release("3")).committed
    server.ask("poke")
    await_counts(server, 1)
    assert server.ask("stop") == "2 of 2"


def thread_count(server: Any) -> int:
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


def test_a_thread_of_a_library_is_named(scenario: Any, start: Callable[..., Any]) -> None:
    server = start(scenario.release("1"))
    server.ask("spawn read")
    server.ask("library")
    answer = server.update(scenario.release("2"))
    assert (answer.committed, answer.code) == (False, "K349"), answer.text
    assert re.search(r"^thread \d+ '.*' was not made by the program's own code", answer.reason)
    server.ask("poke")
    await_counts(server, 1)
    assert server.ask("stop") == "1 of 1"


@pytest.fixture
def by_api(built: Callable[..., Any]) -> Any:
    return built(HERE / "threads_by_api")


def test_the_calls_of_ktthreads_end_early(by_api: Any, start: Callable[..., Any]) -> None:
    """Also without a handler that could end a call; each thread keeps its local variable."""
    server = start(by_api.release("1"))
    assert server.ask("version") == "1 0"
    answer = server.update(by_api.release("2"))
    assert answer.committed, answer.text
    assert server.ask("version") == "2 1"
    assert server.ask("stop") == "1 2 3 4 2 | 2 1"


def test_a_join_is_ended_by_a_request(by_api: Any, start: Callable[..., Any]) -> None:
    server = start(by_api.release("1"))
    server.send("join")
    assert server.line() == "joining"
    answer = server.update(by_api.release("2"))
    assert answer.committed, answer.text
    assert server.line() == "joining"
    os.kill(server.pid, signal.SIGKILL)


def test_another_thread_asks_for_the_update(by_api: Any, start: Callable[..., Any]) -> None:
    server = start(by_api.release("1"))
    server.ask(f"ask {by_api.release('2')}")
    deadline = time.monotonic() + PATIENCE_S
    while server.ask("version").split()[0] != "2":  # whether or not a thread had to be woken
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert server.ask("stop") == "1 2 3 4 2 | 2 1"


def test_eintr_is_for_programs_that_know_it(by_api: Any, start: Callable[..., Any]) -> None:
    server = start(by_api.release("1"))
    server.ask("bytes")
    answer = server.update(by_api.release("2"), "--wait-ms", "300")
    assert (answer.committed, answer.code) == (False, "K361"), answer.text
    assert "it sits in read(" in answer.reason
    assert "KITSUNE_INTERRUPT=always ends it" in answer.reason
    assert server.ask("stop") == "1 2 3 4 5 1 | 1 1"


def test_eintr_for_a_program_that_is_said_to_know_it(
    by_api: Any, start: Callable[..., Any]
) -> None:
    server = start(by_api.release("1"), KITSUNE_INTERRUPT="always")
    server.ask("bytes")
    answer = server.update(by_api.release("2"))
    assert answer.committed, answer.text
    assert server.ask("stop") == "1 2 3 4 0 2 | 2 1"


def test_a_thread_is_cancelled_after_an_update(scenario: Any, start: Callable[..., Any]) -> None:
    """It stands inside pthread_cleanup_push, in the old version and in the new one."""
    server = start(scenario.release("1"))
    server.ask("spawn read")
    assert server.update(scenario.release("2")).committed
    server.ask("poke")
    await_counts(server, 1)
    server.ask("spawn poll")
    assert server.update(scenario.release("3")).committed
    assert server.ask("cancel 1") == "1 1"
    assert server.ask("cancel 0") == "1 1"
    assert server.ask("version") == "3"


@pytest.mark.parametrize("meanwhile", ["version", "forbid 0", "forbid 1", "urgent"])
def test_a_thread_is_cancelled_in_each_call(
    scenario: Any, start: Callable[..., Any], meanwhile: str
) -> None:
    """All began their calls before libc was to be told; kicks may be forbidden by then."""
    server = start(scenario.release("1"))
    kinds = (*KINDS, *reversed(KINDS))
    for kind in kinds:
        server.ask(f"spawn {kind}")
    server.ask(meanwhile)
    for number in reversed(range(len(kinds))):
        assert server.ask(f"cancel {number}") == "1 1", kinds[number]


def test_threads_and_children_that_come_and_go(
    scenario: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    server = start(scenario.release("1"))
    for kind in ("fork", "fork", "churn", "churn", "poll"):
        server.ask(f"spawn {kind}")
    for release in itertools.islice(links(scenario, tmp_path), 10):
        answer = server.update_now(release)
        assert answer.committed, answer.text
    assert server.ask("counts").startswith("fork 0 0 | fork 0 0")
    assert server.ask("stop") == "5 of 5"
    assert "could not be looked through" not in server.errors()


@pytest.mark.parametrize("threads", [0, 1], ids=["alone", "with a thread"])
def test_the_main_thread_waits_in_each_call(
    threads: int, scenario: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    server = start(scenario.release("1"))
    for kind in KINDS:
        server.ask(f"entry {kind}")
    for _ in range(threads):
        server.ask("spawn poll")
    server.send("wait")
    assert server.line() == "waiting 0"
    for number, release in enumerate(itertools.islice(links(scenario, tmp_path), len(KINDS) + 1)):
        answer = server.update_now(release)
        assert answer.committed, answer.text
        assert server.line() == f"waiting {number + 1}"
    os.kill(server.pid, signal.SIGKILL)
