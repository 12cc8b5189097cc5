"""The control socket and its helper process: who may ask what, and what becomes of the channel."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from control_harness import (
    PATIENCE_S,
    Program,
    Releases,
    StartProgram,
    build_id,
    is_alive,
    until,
)

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users: needs root")
needs_setpriv = pytest.mark.skipif(not shutil.which("setpriv"), reason="no setpriv")


def started(start: StartProgram, call: str = "poll", **env: str) -> Program:
    program = start(call, **env)
    line = program.line()
    assert line == f"ready {program.pid}", line
    return program


# -- an update ---------------------------------------------------------------------------------


def test_status_tells_what_runs(start: StartProgram) -> None:
    program = started(start)
    status = program.ask("status")
    assert status["event"] == "done"
    assert status["outcome"] == "status"
    assert (status["program"], status["version"]) == ("kvd", "1.0")
    assert status["build_id"] == build_id(1)
    assert status["pid"] == program.pid
    assert status["state"] == "idle"
    assert status["updates"] == []


def test_an_update_is_told_step_by_step_and_kept_in_the_history(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    channel = program.channel()
    channel.send(f"update {releases.make('2.0', 2, (1,))}\n".encode())
    answers = channel.answers()
    assert [answer["event"] for answer in answers] == ["checked", "requested", "done"]
    done = answers[-1]
    assert done["outcome"] == "updated"
    assert (done["from"], done["to"], done["objects"], done["pause_ns"]) == ("1.0", "2.0", 7, 1000)
    assert program.do("version").startswith("version 2.0")
    status = program.ask("status")
    assert (status["version"], status["build_id"]) == ("2.0", build_id(2))
    (update,) = status["updates"]
    assert (update["from"], update["to"], update["outcome"]) == ("1.0", "2.0", "updated")
    assert update["old_image"] == "unloaded"


def test_the_running_version_is_already_running(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    answer = program.ask(f"update {releases.make('1.0', 1)}")
    assert answer["outcome"] == "already-running"
    assert program.ask("status")["updates"] == []


def test_a_roll_back_is_told_with_its_reason(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    assert program.do("refuse") == "refusing"
    answer = program.ask(f"update {releases.make('2.0', 2, (1,))}")
    assert (answer["outcome"], answer["code"]) == ("rolled-back", "K353")
    assert answer["reason"] == "refused for the test"
    assert answer["not_undone"] == "nothing"
    status = program.ask("status")
    assert status["version"] == "1.0"
    assert status["updates"][0]["code"] == "K353"


def test_the_history_keeps_the_last_32(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    pair = [releases.make("2.0", 2, (1, 3)), releases.make("3.0", 3, (2,))]
    channel = program.channel()
    for i in range(40):
        assert channel.ask(f"update {pair[i % 2]}")["outcome"] == "updated"
    updates = program.ask("status")["updates"]
    assert [update["serial"] for update in updates] == list(range(9, 41))


@pytest.mark.parametrize("left", ["use-up-descriptors", "leave-one-descriptor"])
def test_a_program_without_free_descriptors_refuses_by_itself(
    start: StartProgram, releases: Releases, left: str
) -> None:
    program = started(start)
    assert program.do(left) == "limit 0"
    answer = program.ask(f"update {releases.make('2.0', 2, (1,))}")
    assert (answer["outcome"], answer["code"]) == ("refused", "K366")
    assert answer["reason"] == (
        "the program could not get the release from its helper: Too many open files"
    )
    assert program.do("version").startswith("version 1.0")


# -- releases that are refused before the program hears of them ----------------------------------


def test_wrong_releases_are_refused(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    abi = program.ask("status")["interface"]
    parts = {
        "K344": releases.make("2.0", 10, (1,), program="other"),
        "K345": releases.make("2.0", 11, (5,)),
        "K342": releases.make("2.0", 12, (1,), abi="KITSUNE_ABI - 1"),
        "K343": releases.make("2.0", 13, (1,), abi="KITSUNE_ABI + 1"),
    }
    reasons = {
        "K344": "the release is of program 'other'; 'kvd' is running",
        "K345": "version 2.0 does not follow what is running: it was built against other releases "
        "than this build of version 1.0",
        "K342": f"the release was built for interface {abi - 1}, older than the launcher's {abi}; "
        "build it again with the installed kitsune",
        "K343": f"the release was built for interface {abi + 1}, newer than the launcher's {abi}; "
        "install that kitsune and start the program with its launcher",
    }
    for code, path in parts.items():
        answer = program.ask(f"update {path}")
        assert (answer["outcome"], answer["code"]) == ("rejected", code), answer
        assert answer["reason"] == reasons[code]
    rounds = program.do("version").split()[3]
    assert int(rounds) <= 1, "the program was woken for a release that was refused"
    assert [update["code"] for update in program.ask("status")["updates"]] == list(parts)


def test_damaged_identities_are_no_releases(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    for number, damage in enumerate(
        (
            {"magic": "0"},
            {"size": "12"},
            {"parent_count": 17},
            {"program": ""},
            {"section": "elsewhere"},
            {"build": "-Wl,--build-id=none"},
            {"build": "-Wl,--build-id=md5"},
        ),
        start=20,
    ):
        path = releases.make("2.0", number, (1,), **damage)  # type: ignore[arg-type]
        answer = program.ask(f"update {path}")
        assert (answer["outcome"], answer["code"]) == ("rejected", "K341"), damage


def test_files_that_are_not_safe_are_refused(
    start: StartProgram, releases: Releases, tmp_path: Path
) -> None:
    program = started(start)
    good = releases.make("2.0", 2, (1,))
    writable = tmp_path / "writable.so"
    shutil.copy(good, writable)
    writable.chmod(0o666)
    link = tmp_path / "link.so"
    link.symlink_to(good)
    pipe = tmp_path / "pipe.so"
    os.mkfifo(pipe)
    huge = tmp_path / "huge.so"
    huge.touch(0o644)
    os.truncate(huge, (1 << 30) + 1)
    missing = "the release cannot be opened: No such file or directory"
    reasons = {
        writable: ("K360", "the release can be written by others (mode 0666)"),
        link: ("K360", "the release is a symbolic link; name the file itself"),
        pipe: ("K360", "the release is no regular file"),
        huge: ("K360", "the release is larger than 1073741824 bytes"),
        tmp_path: ("K360", "the release is no regular file"),
        tmp_path / "missing.so": ("K340", missing),
    }
    for path, (code, reason) in reasons.items():
        answer = program.ask(f"update {path}")
        assert answer["outcome"] == "rejected"
        assert (answer["code"], answer["reason"]) == (code, reason), path


@needs_root
def test_a_release_of_a_third_user_is_refused(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    path = releases.make("2.0", 2, (1,))
    os.chown(path, NOBODY, NOBODY)
    answer = program.ask(f"update {path}")
    assert (answer["outcome"], answer["code"]) == ("rejected", "K360")
    assert "belongs to uid 65534" in answer["reason"]


def test_cut_and_mangled_files_never_harm_the_helper(
    start: StartProgram, releases: Releases, tmp_path: Path
) -> None:
    program = started(start)
    helper = program.helper()
    whole = releases.make("2.0", 2, (5,)).read_bytes()  # of another parent: never accepted
    random_source = random.Random(20260101)
    victim = tmp_path / "victim.so"
    channel = program.channel()
    codes = set()
    for i in range(300):
        data = bytearray(whole)
        if i % 3 == 0:
            del data[random_source.randrange(len(data)) :]
        else:
            # The ELF and program headers lie at the start, the section headers at the end.
            area = range(512) if i % 3 == 1 else range(len(data) - 2400, len(data))
            for _ in range(random_source.randrange(1, 12)):
                data[random_source.choice(area)] = random_source.choice([0, 1, 0x7F, 0x80, 0xFF])
        victim.write_bytes(data)
        victim.chmod(0o644)
        answer = channel.ask(f"update {victim}")
        assert answer["outcome"] == "rejected", answer
        codes.add(answer["code"])
    assert codes >= {"K341", "K345"}
    assert program.helper() == helper


def test_the_copy_is_what_counts_not_the_file(
    start: StartProgram, releases: Releases, tmp_path: Path
) -> None:
    """The file is overwritten after the check, before the program reaches its update point."""
    program = started(start)
    release = releases.make("2.0", 2, (1,))
    assert program.do("deaf") == "deaf"
    channel = program.channel()
    channel.send(f"update {release}\n".encode())
    assert channel.answer()["event"] == "checked"
    release.write_bytes(b"garbage")
    assert program.do("hear") == "hearing"
    assert channel.answers()[-1]["outcome"] == "updated"


# -- a program that is not ready -----------------------------------------------------------------


def test_a_program_that_reaches_no_update_point_is_told_so(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start, "read")
    answer = program.ask(f"update {releases.make('2.0', 2, (1,))} 0 300")
    assert (answer["outcome"], answer["code"]) == ("withdrawn", "K361")
    assert "within 300 ms" in answer["reason"]
    assert "sleeping" in answer["reason"]
    assert program.do("version") == "version 1.0 rounds 0"
    assert program.ask("status")["state"] == "idle"


def test_a_second_request_is_busy(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    assert program.do("deaf") == "deaf"
    path = releases.make("2.0", 2, (1,))
    first = program.channel()
    first.send(f"update {path}\n".encode())
    assert first.answer()["event"] == "checked"
    assert program.ask(f"update {path}")["outcome"] == "busy"
    assert program.ask("status")["state"] == "requested"
    assert program.do("hear") == "hearing"
    assert first.answers()[-1]["outcome"] == "updated"


def test_a_client_that_goes_away_withdraws_its_request(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    assert program.do("deaf") == "deaf"
    channel = program.channel()
    channel.send(f"update {releases.make('2.0', 2, (1,))}\n".encode())
    assert channel.answer()["event"] == "checked"
    channel.connection.close()
    until(lambda: program.ask("status")["state"] == "idle", "withdrawn")
    assert program.do("hear") == "hearing"
    assert program.do("version").startswith("version 1.0")
    assert "went away" in program.ask("status")["updates"][0]["reason"]


def test_a_kick_while_others_are_before_it_with_the_helper(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    assert program.do("deaf") == "deaf"
    helper = program.helper()
    channel = program.channel()
    channel.send(f"update {releases.make('2.0', 2, (1,))}\n".encode())
    assert [channel.answer()["event"] for _ in range(2)] == ["checked", "requested"]
    os.kill(helper, signal.SIGSTOP)
    others = full_queue(fetch_name(helper))
    assert program.do("hear") == "hearing"
    until(lambda: is_in_call(program.pid, CONNECT), "the program waits for the helper")
    os.kill(program.pid, signal.SIGURG)
    os.kill(helper, signal.SIGCONT)
    assert channel.answers()[-1]["outcome"] == "updated"
    for each in others:
        each.close()


CONNECT = {"x86_64": 42}.get(os.uname().machine, 203)


def is_in_call(pid: int, number: int) -> bool:
    return Path(f"/proc/{pid}/syscall").read_text().startswith(f"{number} ")


def fetch_name(helper: int) -> str:
    """Return the abstract name at which the helper hands releases out."""
    own = {str(each.readlink()) for each in Path(f"/proc/{helper}/fd").iterdir()}
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    found = [line.split() for line in lines if "@kitsune-" in line]
    return next(words[7][1:] for words in found if f"socket:[{words[6]}]" in own)


def full_queue(name: str) -> list[socket.socket]:
    """Connect until nobody else can without waiting."""
    waiting = []
    with contextlib.suppress(BlockingIOError):
        while True:
            waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            waiting[-1].setblocking(False)
            waiting[-1].connect(b"\0" + name.encode())
    return waiting


def test_the_program_may_withdraw_a_request(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    assert program.do("deaf") == "deaf"
    channel = program.channel()
    channel.send(f"update {releases.make('2.0', 2, (1,))}\n".encode())
    assert channel.answer()["event"] == "checked"
    assert channel.answer()["event"] == "requested"
    assert program.do("withdraw") == "withdrawn 1"
    answer = channel.answers()[-1]
    assert (answer["outcome"], answer["code"]) == ("withdrawn", "K362")


def test_a_request_from_inside(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    assert program.do("inside /nowhere.so").startswith("refused K340")
    wrong = releases.make("2.0", 3, (5,))
    assert program.do(f"inside {wrong}").startswith("refused K345")
    assert program.do(f"inside {releases.make('2.0', 2, (1,))}") == "requested"
    until(lambda: program.do("version").startswith("version 2.0"), "updated")
    history = program.ask("status")["updates"]
    assert [update["outcome"] for update in history] == ["failed", "failed", "updated"]


def test_a_program_that_ends_while_it_is_asked(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    assert program.do("deaf") == "deaf"
    channel = program.channel()
    channel.send(f"update {releases.make('2.0', 2, (1,))}\n".encode())
    assert channel.answer()["event"] == "checked"
    program.tell("quit")
    answer = channel.answers()[-1]
    assert (answer["outcome"], answer["code"]) == ("error", "K363")


# -- requests that are malformed -----------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "status ",
        " status",
        "status  x",
        "status now",
        "restart",
        "update",
        "update relative.so",
        "update /x y",
        "update /x 1 -1",
        "update /x 1 99999999999999999999",
        "status 1 2",
        "update /x 1 2 x",
        "update /x 1 2 0",
        "update /x 1 2 3 4",
        "update /x 1,",
        "update /x 1,load",
        "update /x 1,load=",
        "update /x 1,load=x",
        "update /x 1,sleep=1",
        "update /x ,load=1",
        "update /x 1,load=86400001",
        "update /x 1,load=1,",
        "update-tree /x 1,load 2 parent-first",
        "update-tree /x 1 2",
        "update-tree /x 1 2 sideways",
        "update-tree relative.so 1 2 parent-first",
        "update /x%",
        "update /x%0",
        "update /x%zz",
        "update /x%00",
        "update /x\x01",
        "status\r",
        "update /" + "x" * 5000,
    ],
)
def test_malformed_requests_are_answered(line: str, start: StartProgram) -> None:
    program = started(start)
    answer = program.ask(line)
    assert (answer["outcome"], answer["code"]) == ("error", "K364"), answer
    assert program.ask("status")["state"] == "idle"


def test_a_zero_byte_and_an_oversized_line_are_answered(start: StartProgram) -> None:
    program = started(start)
    channel = program.channel()
    channel.send(b"sta\0tus\nstatus\n")
    assert channel.answer()["code"] == "K364"
    assert channel.answer()["outcome"] == "status"
    channel.send(b"x" * 70000)
    assert channel.answer()["code"] == "K364"
    assert channel.answer() == {}, "the connection ends: nobody can say where the next line starts"


def test_paths_of_any_bytes_come_back_as_json(start: StartProgram) -> None:
    program = started(start)
    path = b'/no \xff\xc3\xa9 "such\\'
    answer = program.ask(f"update {quote(path)}")
    assert answer["code"] == "K340"


def test_random_bytes_never_disturb_the_program(start: StartProgram) -> None:
    program = started(start)
    helper = program.helper()
    random_source = random.Random(4711)
    words = [b"status", b"update", b" ", b"/x", b"%41", b"%", b"\n", b"\0", b"\xff", b"0", b"\n"]
    for _ in range(200):
        channel = program.channel()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            channel.send(b"".join(random_source.choices(words, k=random_source.randrange(60))))
        channel.connection.close()
    assert program.helper() == helper
    assert program.do("version") == "version 1.0 rounds 0"


def test_clients_beyond_the_limit_do_not_block_later_ones(start: StartProgram) -> None:
    program = started(start)
    idle = [
        program.channel() for _ in range(30)
    ]  # more than are served at once, and no more than can queue
    assert idle[0].ask("status")["outcome"] == "status"
    for channel in idle:
        channel.connection.close()
    assert program.ask("status")["outcome"] == "status"


def test_several_clients_are_served_at_once(start: StartProgram) -> None:
    program = started(start)
    channels = [program.channel() for _ in range(8)]
    for channel in channels:
        channel.send(b"stat")
    for channel in reversed(channels):
        channel.send(b"us\n")
        assert channel.answer()["outcome"] == "status"


# -- who may ask ---------------------------------------------------------------------------------


def test_directory_and_socket_are_private(start: StartProgram) -> None:
    program = started(start)
    assert stat.S_IMODE(program.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(program.socket_of().stat().st_mode) & 0o077 == 0


def test_an_open_directory_is_refused(start: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    program = start()
    line = program.line()
    assert line.startswith("failed") and "mode must be 0700" in line
    assert program.do("version").startswith("version 1.0"), "the program runs all the same"


def test_a_link_to_a_directory_is_refused(start: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    line = start().line()
    assert line.startswith("failed") and "cannot be opened" in line


@needs_root
def test_a_directory_of_another_user_is_refused(start: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    os.chown(tmp_path / "run", NOBODY, NOBODY)
    line = start().line()
    assert line.startswith("failed") and "belongs to uid 65534" in line


def test_a_socket_left_by_another_helper_is_replaced(start: StartProgram) -> None:
    program = started(start)
    helper = program.helper()
    os.kill(helper, signal.SIGKILL)
    assert program.socket_of().is_socket()
    until(lambda: other_helper(program, helper), "another helper")


def test_long_directories_are_possible(start: StartProgram, tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 90) / ("e" * 90)
    directory.parent.mkdir()
    started(start, KITSUNE_RUNTIME_DIR=str(directory))
    assert list(directory.glob("*.sock"))


@needs_root
@needs_setpriv
def test_a_second_user_is_refused(start: StartProgram) -> None:
    """Even one who gets past the directory: the socket asks the kernel who it is."""
    program = started(start)
    for path in (program.directory, *program.directory.parents):
        if path.stat().st_uid == 0 and path.is_relative_to("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)
    program.socket_of().chmod(0o666)
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        f"s.connect({str(program.socket_of())!r})\n"
        "print(s.recv(65536).decode())\n"
    )
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    result = subprocess.run(
        [*user, sys.executable, "-I", "-S", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    if "Permission denied" in result.stderr and "can't open" in result.stderr:
        pytest.skip("the other user cannot start Python here")
    assert '"code": "K365"' in result.stdout, result.stderr


@needs_root
@needs_setpriv
def test_root_may_ask_a_users_program(
    start: StartProgram, tmp_path: Path, releases: Releases
) -> None:
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    os.chown(directory, NOBODY, NOBODY)
    for path in tmp_path.parents:
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    program = start("poll", wrapper=user)
    assert program.line().startswith("ready")
    assert program.ask("status")["uid"] == NOBODY
    path = releases.make("2.0", 2, (1,))
    assert program.ask(f"update {path}")["outcome"] == "updated"


# -- the helper ----------------------------------------------------------------------------------


def test_the_program_stays_single_threaded_and_its_descriptors_its_own(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    before = program.number("descriptors")
    assert program.ask(f"update {releases.make('2.0', 2, (1,))}")["outcome"] == "updated"
    assert program.number("threads") == 1
    assert program.number("descriptors") == before == 4  # three, and the program's epoll


def test_the_helper_keeps_nothing_of_the_program(start: StartProgram) -> None:
    program = started(start)
    helper = program.helper()
    targets = [str(link.readlink()) for link in Path(f"/proc/{helper}/fd").iterdir()]
    assert not [t for t in targets if t.startswith("pipe:")], "it would keep the program's pipes"
    assert Path(f"/proc/{helper}/comm").read_text() == "kitsune-helper\n"
    title = Path(f"/proc/{helper}/cmdline").read_bytes().rstrip(b"\0")
    assert title == f"kitsune-helper of {program.pid}".encode()
    assert os.getsid(helper) == helper
    assert Path(f"/proc/{helper}/cwd").readlink() == Path("/")


def test_a_helper_started_late_gives_the_programs_memory_back(start: StartProgram) -> None:
    program = started(start)
    assert program.do("grow 200") == "grown"
    helper = program.helper()
    os.kill(helper, signal.SIGKILL)
    helper = until(lambda: other_helper(program, helper), "another helper")
    assert size_bytes(program.pid) > 200 << 20
    assert size_bytes(helper) < 128 << 20


def size_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")


def other_helper(program: Program, helper: int, path: Path | None = None) -> int:
    with contextlib.suppress(ConnectionError):
        now = program.ask("status", path).get("helper", helper)
        return int(now) if now != helper else 0
    return 0


@pytest.mark.parametrize("call", ["select", "poll", "epoll_wait", "long_poll"])
def test_a_helper_that_is_killed_is_replaced_without_ending_the_wait(
    call: str, start: StartProgram, releases: Releases
) -> None:
    program = started(start, call)
    for _ in range(3):
        helper = program.helper()
        os.kill(helper, signal.SIGKILL)
        until(lambda old=helper: other_helper(program, old), "another helper")  # type: ignore[misc]
    assert program.do("version") == "version 1.0 rounds 0", "the program saw nothing of it"
    assert program.ask(f"update {releases.make('2.0', 2, (1,))}")["outcome"] == "updated"
    assert program.do("wait") == "waited -1 No child processes"


def test_a_request_that_waited_with_a_killed_helper_is_withdrawn(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    assert program.do("deaf") == "deaf"
    helper = program.helper()
    channel = program.channel()
    channel.send(f"update {releases.make('2.0', 2, (1,))}\n".encode())
    assert channel.answer()["event"] == "checked"
    assert channel.answer()["event"] == "requested"
    os.kill(helper, signal.SIGKILL)
    assert channel.answer() == {}
    until(lambda: other_helper(program, helper), "another helper")
    assert program.ask("status")["state"] == "idle"
    assert program.do("hear") == "hearing"
    assert program.do("version").startswith("version 1.0")


def test_helpers_that_always_die_are_given_up(start: StartProgram) -> None:
    program = started(start)
    for _ in range(30):
        with contextlib.suppress(ProcessLookupError, AssertionError, KeyError):
            children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
            if not children:
                break
            os.kill(int(children[0]), signal.SIGKILL)
        program.do("version")
    assert program.do("version").startswith("version 1.0")
    assert program.do("wait") == "waited -1 No child processes"


def test_the_programs_wait_never_sees_the_helper(start: StartProgram) -> None:
    program = started(start)
    assert program.do("wait") == "waited -1 No child processes"
    worker = program.number("worker")
    assert program.do("wait") == "waited 0 "
    os.kill(worker, signal.SIGKILL)
    until(lambda: program.do("wait") == f"waited {worker} ", "the worker's end")
    assert program.do("wait") == "waited -1 No child processes"


def test_the_helper_survives_what_is_meant_for_the_programs_group(start: StartProgram) -> None:
    program = started(start)
    helper = program.helper()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(helper, number)
    assert program.helper() == helper
    assert os.getpgid(helper) != os.getpgid(program.pid)


@pytest.mark.parametrize("how", ["quit", "crash"])
def test_the_helper_ends_with_the_program_and_takes_the_socket_away(
    how: str, start: StartProgram
) -> None:
    program = started(start)
    helper = program.helper()
    program.tell(how)
    program.process.wait(PATIENCE_S)
    until(lambda: not is_alive(helper), "the helper's end")
    assert not program.socket_of().exists()


def test_a_program_that_closes_all_descriptors_is_still_updated(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    assert program.do("closefrom") == "closed"
    assert program.ask(f"update {releases.make('2.0', 2, (1,))}")["outcome"] == "updated"


# -- users and roots -----------------------------------------------------------------------------


@needs_root
def test_a_program_that_drops_privileges_keeps_its_channel(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    release = releases.make("2.0", 2, (1,))
    release.chmod(0o600)  # the program could not read it any more
    assert program.do(f"setuid {NOBODY}") == f"uid {NOBODY}"
    answer = program.ask(f"update {release}")
    assert answer["outcome"] == "updated", answer
    assert program.ask("status")["uid"] == 0


@needs_root
def test_a_helper_that_dies_after_that_comes_back_with_the_programs_rights(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    helper = program.helper()
    assert program.do(f"setuid {NOBODY}") == f"uid {NOBODY}"
    os.kill(helper, signal.SIGKILL)
    path = Path(f"/tmp/kitsune-{NOBODY}/{program.pid}.sock")
    status = until(lambda: path.exists() and program.ask("status", path), "a helper of nobody")
    assert status["uid"] == NOBODY
    program.tell("quit")
    until(lambda: not path.exists(), "the socket's removal")
    path.parent.rmdir()


@needs_root
def test_a_program_that_changes_its_root_keeps_its_channel(
    start: StartProgram, releases: Releases, tmp_path: Path
) -> None:
    program = started(start)
    jail = tmp_path / "jail"
    jail.mkdir()
    assert program.do(f"chroot {jail}") == "chroot 1"
    channel = program.channel()
    answer = channel.ask(f"update {releases.make('2.0', 2, (1,))}")
    # Without /proc the descriptor has no path; what the program says of that is before its answer.
    assert answer["outcome"] == "updated"


# -- daemonising and workers ---------------------------------------------------------------------


def heir_of(program: Program, command: str) -> int:
    program.tell(command)
    word, pid = program.line().split()
    assert word == "daemon"
    return int(pid)


@pytest.mark.parametrize("command", ["fork-daemon 1", "fork-daemon 2", "daemon"])
def test_a_daemon_takes_the_channel_over(
    command: str, start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    first_helper = program.helper()
    assert program.ask(f"update {releases.make('2.0', 2, (1,))}")["outcome"] == "updated"
    heir = heir_of(program, command)
    program.process.wait(PATIENCE_S)
    socket_path = program.socket_of(heir)
    status = program.ask("status", socket_path)
    assert (status["pid"], status["version"]) == (heir, "2.0")
    assert [update["to"] for update in status["updates"]] == ["2.0"]
    until(lambda: not is_alive(first_helper), "the first helper's end")
    assert not program.socket_of().exists()
    release = releases.make("3.0", 3, (2,))
    assert program.ask(f"update {release}", socket_path)["outcome"] == "updated"
    assert program.do("version").startswith("version 3.0")
    program.tell("quit")
    until(lambda: not is_alive(int(status["helper"])), "the second helper's end")
    assert not socket_path.exists()


def test_a_daemon_whose_helper_dies_gets_another(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    path = program.socket_of(heir_of(program, "fork-daemon 2"))
    helper = int(program.ask("status", path)["helper"])
    os.kill(helper, signal.SIGKILL)
    until(lambda: other_helper(program, helper, path), "another helper")
    answer = program.ask(f"update {releases.make('2.0', 2, (1,))}", path)
    assert answer["outcome"] == "updated"
    program.tell("quit")


def test_workers_are_not_woken_and_live_on_with_the_helper(
    start: StartProgram, releases: Releases
) -> None:
    """The socket of a program that ended gets the name of a child that did not."""
    program = started(start)
    worker = program.number("worker")
    assert program.do("version").startswith("version 1.0")  # the parent lives on
    assert program.ask(f"update {releases.make('2.0', 2, (1,))}")["outcome"] == "updated"
    until(lambda: children_of(program) == [(worker, "1.0")], "the child's place")
    status = program.ask("status")
    program.tell("crash")
    program.process.wait(PATIENCE_S)
    orphan = program.ask("status", program.socket_of(worker))
    assert (orphan["pid"], orphan["helper"]) == (worker, status["helper"])
    assert not program.socket_of().exists()
    assert not said_by_others(program), "the worker's wait was ended"
    os.kill(worker, signal.SIGKILL)
    until(lambda: not is_alive(int(status["helper"])), "the helper's end")
    assert not program.socket_of(worker).exists()


def children_of(program: Program) -> list[tuple[int, str]]:
    return [(each["pid"], each["version"]) for each in program.ask("status")["children"]]


def test_a_process_outside_the_tree_is_told_apart(start: StartProgram) -> None:
    program = started(start)
    for line in (f"status {os.getpid()}", f"update /x 0 0 {program.helper()}"):
        answer = program.ask(line)
        assert (answer["outcome"], answer["code"]) == ("error", "K368"), answer


def test_places_of_children_are_used_again(start: StartProgram) -> None:
    """More children than there are places, one after the other; those of the dead are free."""
    program = started(start)
    assert program.do("forks 3000") == "forked"
    worker = program.number("worker")
    until(lambda: children_of(program) == [(worker, "1.0")], "the child's place")
    assert program.ask("status")["left_out"] == 0


def test_children_without_a_place_are_told_of(start: StartProgram, releases: Releases) -> None:
    """Nor is their tree updated: it would not be whole."""
    program = started(start)
    said = program.do("crowd 1030")
    if said.startswith("only"):
        pytest.skip("this machine does not allow 1,030 processes more")
    assert said == "crowded"

    def counts() -> tuple[int, int]:
        status = program.ask("status")
        return len(status["children"]), status["left_out"]

    expected = (1023, 7)
    with contextlib.suppress(AssertionError):
        until(lambda: counts() == expected, "all children")
    assert counts() == expected
    release = releases.make("2.0", 2, (1,))
    answer = program.ask(f"update-tree {release} 0 0 parent-first")
    assert (answer["outcome"], answer["code"], answer["processes"]) == ("refused", "K370", [])
    assert answer["reason"].startswith("7 processes of the tree cannot be updated, one is ")
    assert program.do("disperse") == "dispersed"
    worker = program.number("worker")
    until(lambda: children_of(program) == [(worker, "1.0")], "the child's place")
    assert program.ask("status")["left_out"] == 0


def said_by_others(program: Program) -> bytes:
    assert program.process.stdout is not None
    descriptor = program.process.stdout.fileno()
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 4096)
    return b""


def test_a_child_of_a_bare_clone_leaves_the_channel_alone(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    assert program.do("deaf") == "deaf"
    helper = program.helper()
    channel = program.channel()
    channel.send(f"update {releases.make('2.0', 2, (1,))}\n".encode())
    assert channel.answer()["event"] == "checked"
    assert channel.answer()["event"] == "requested"
    assert program.do("clone-bare") == "clone 0 0"
    assert program.do("hear") == "hearing"
    assert channel.answers()[-1]["outcome"] == "updated"
    assert program.helper() == helper


def test_a_child_drops_a_request_that_waits(start: StartProgram, releases: Releases) -> None:
    program = started(start)
    assert program.do("deaf") == "deaf"
    channel = program.channel()
    channel.send(f"update {releases.make('2.0', 2, (1,))}\n".encode())
    assert channel.answer()["event"] == "checked"
    assert channel.answer()["event"] == "requested"
    assert program.do("pending") == "pending 1"
    assert program.do("child-pending") == "pending 0"
    assert program.do("hear") == "hearing"
    assert channel.answers()[-1]["outcome"] == "updated"


def test_many_short_lived_children_do_not_fill_anything(
    start: StartProgram, releases: Releases
) -> None:
    program = started(start)
    assert program.do("forks 300") == "forked"
    assert program.ask(f"update {releases.make('2.0', 2, (1,))}")["outcome"] == "updated"
    heir = heir_of(program, "fork-daemon 1")
    assert program.ask("status", program.socket_of(heir))["pid"] == heir
    program.tell("quit")
