"""`kitsune update` and `kitsune status` against a socket that answers as a helper would."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import channel, cli, store
from kitsune_tool.errors import KitsuneError

Answer = dict[str, Any]
VERSIONS = {"pid": 1, "program": "kvd", "from": "1.0", "to": "2.0"}


class FakeHelper:
    """Listens at `PID.sock`; answers each request with the given lines and remembers it."""

    def __init__(self, directory: Path, pid: int, answers: list[bytes]) -> None:
        self.requests: list[bytes] = []
        self.answers = answers
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / f"{pid}.sock"))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                request = connection.makefile("rb").readline()
                if not request:
                    return
                self.requests.append(request)
                with contextlib.suppress(ConnectionError):  # the client had read enough
                    connection.sendall(b"".join(self.answers))

    def close(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
        self.thread.join()
        self.listener.close()


Helper = Callable[..., FakeHelper]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory that is looked into."""
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    monkeypatch.setattr(channel, "directories", lambda: [path])
    return path


@pytest.fixture
def helper(directory: Path) -> Iterator[Helper]:
    """Start fake helpers; each answer is a dictionary or the bytes of a line."""
    started: list[tuple[FakeHelper, Path]] = []

    def start(*answers: Answer | bytes, pid: int = os.getpid()) -> FakeHelper:
        lines = [a if isinstance(a, bytes) else json.dumps(a).encode() + b"\n" for a in answers]
        fake = FakeHelper(directory, pid, lines)
        started.append((fake, directory / f"{pid}.sock"))
        return fake

    yield start
    for fake, path in started:
        fake.close(path)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    path = tmp_path / "kvd 2.so"
    path.write_bytes(b"release")
    return path


def done(outcome: str, **others: object) -> Answer:
    return {"event": "done", "outcome": outcome, **VERSIONS, **others}


def status(program: str = "kvd", **others: object) -> Answer:
    answer = done("status", program=program, version="1.0", since=0, state="idle", updates=[])
    return answer | others


UPDATED = done(
    "updated",
    objects=3,
    bytes=72,
    pause_ns=1_500_000,
    snapshot_ns=500_000,
    load_ns=250_000,
    migrate_ns=0,
    not_undone="",
    types=[
        {"type": "struct entry", "moved": 2, "in_place": 0},
        {"type": "struct table", "moved": 0, "in_place": 1},
    ],
)


def update(release: Path, *options: str) -> int:
    return cli.main(["update", str(os.getpid()), str(release), *options])


# -- update --------------------------------------------------------------------------------------


def test_a_request_is_one_line_of_encoded_words(helper: Helper, release: Path) -> None:
    fake = helper(UPDATED)
    assert update(release, "--limit-ms", "500", "--wait-ms", "7000") == 0
    encoded = str(release).replace(" ", "%20")
    assert fake.requests == [f"update {encoded} 500 7000\n".encode()]


def test_limits_are_those_of_the_command_else_of_the_release(helper: Helper, release: Path) -> None:
    fake = helper(UPDATED)
    described = store.Description(
        "kvd", "2.0", "", (), "", (), limits=(("total", 900), ("wait", 800), ("load", 700))
    )
    path = release.parent / store.DESCRIPTION
    path.write_text(json.dumps(described.to_json()), encoding="utf-8")
    assert store.Description.read(path) == described
    assert update(release) == 0
    assert update(release, "--limit", "load=1", "--limit", "transform=2", "--limit-ms", "5") == 0
    path.write_text("{}", encoding="utf-8")
    assert update(release) == 0
    asked = [request.decode().split(" ", 2)[2].strip() for request in fake.requests]
    assert asked == ["900%2Cload%3D700 800", "5%2Cload%3D1%2Ctransform%3D2 800", "0 10000"]


def test_progress_and_outcome_are_shown(
    helper: Helper, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    helper({"event": "checked", **VERSIONS}, {"event": "requested", **VERSIONS}, UPDATED)
    assert update(release) == 0
    out, err = capsys.readouterr()
    assert out == (
        "kvd (1): 1.0 → 2.0: updated\n"
        "  3 objects (72 bytes) transformed; "
        "pause 1.5 ms (snapshot 0.5 ms, loading 0.2 ms, migration 0.0 ms)\n"
        "    struct entry: 2 moved\n"
        "    struct table: 1 rewritten in place\n"
    )
    assert err == ("kvd (1): the release is right for it\nkvd (1): waiting for its update point\n")


def test_json_prints_each_answer_as_it_is(
    helper: Helper, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [{"event": "checked", **VERSIONS}, UPDATED]
    helper(*answers)
    assert update(release, "--json") == 0
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == answers
    assert err == ""


@pytest.mark.parametrize(
    ("outcome", "code", "exit_status"),
    [
        ("already-running", None, 0),
        ("rejected", "K345", 10),
        ("rolled-back", "K354", 11),
        ("refused", "K352", 16),
        ("withdrawn", "K361", 12),
        ("error", "K365", 13),
        ("busy", "K350", 14),
        ("error", "K363", 15),
        ("error", "K364", 70),
        ("something new", "K999", 70),
    ],
)
def test_each_outcome_has_its_exit_status(
    outcome: str, code: str | None, exit_status: int, helper: Helper, release: Path
) -> None:
    helper(done(outcome, code=code, reason="because"))
    assert update(release) == exit_status


def test_a_failure_names_release_code_reason_and_what_runs_on(
    helper: Helper, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    helper(done("rolled-back", code="K354", reason="SIGSEGV in main", not_undone="wrote a file"))
    assert update(release) == 11
    assert capsys.readouterr().err == (
        "kvd (1): the update was undone; version 1.0 runs on\n"
        f"{release}: error[K354]: SIGSEGV in main\n"
        "  not undone: wrote a file\n"
    )


def test_a_release_that_is_not_there(
    helper: Helper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update(tmp_path / "missing.so") == 1
    assert capsys.readouterr().err == (
        f"kitsune: error[K304]: there is no release '{tmp_path / 'missing.so'}'\n"
        "hint: name a release's file, or a version that the store of the manifest here has\n"
    )


def test_a_release_by_its_version_in_the_store(
    helper: Helper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "kitsune.yaml").write_text(
        'kitsune: 1\nprogram: kvd\nversions:\n  - version: "2.0"\n    source: v1\n'
    )
    stored = tmp_path / "releases" / "kvd" / "2.0" / "kvd.so"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"release")
    monkeypatch.chdir(tmp_path / "v1")
    fake = helper(UPDATED)
    assert update(Path("2.0")) == 0
    assert fake.requests == [f"update {stored} 0 10000\n".encode()]


@pytest.mark.parametrize("number", ["0", "-1", "x", "86400001"])
def test_wrong_times_are_usage_errors(number: str, release: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        update(release, "--wait-ms", number)
    assert ended.value.code == 2


def test_errors_are_json_if_that_is_asked_for(
    directory: Path, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["update", "nothing", str(release), "--json"]) == 13
    answer = json.loads(capsys.readouterr().out)
    assert (answer["event"], answer["outcome"], answer["code"]) == ("done", "error", "K300")


# -- gdb -----------------------------------------------------------------------------------------


def test_gdb_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["gdb", "1"]) == 1
    assert capsys.readouterr().err == (
        "kitsune: error[K320]: gdb cannot be started: No such file or directory\n"
        "hint: install it: apt install gdb\n"
    )


# -- status --------------------------------------------------------------------------------------


def test_status_shows_the_history(helper: Helper, capsys: pytest.CaptureFixture[str]) -> None:
    past = {"serial": 1, "at": 0, "from": "0.9", "to": "1.0"}
    image = {"pause_ns": 2_000_000, "objects": 5, "old_image": "unloaded"}
    failed = {"serial": 2, "at": 0, "from": "1.0", "to": "", "outcome": "failed"}
    helper(
        status(
            updates=[
                {**past, "outcome": "updated", **image},
                {**failed, "code": "K340", "reason": "no file"},
            ]
        )
    )
    assert cli.main(["status", str(os.getpid())]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("kvd (1): version 1.0 since ")
    assert first.endswith(", idle")
    assert second.endswith("0.9 → 1.0: updated, 5 objects, pause 2.0 ms, old image unloaded")
    assert third.endswith("1.0 → ?: failed [K340]: no file")


def test_status_of_all_as_json(helper: Helper, capsys: pytest.CaptureFixture[str]) -> None:
    helper(status())
    assert cli.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"programs": [status()]}


def test_status_of_nothing(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out == "no program is under control\n"


# -- finding programs ----------------------------------------------------------------------------


def error_of(who: str) -> KitsuneError:
    with pytest.raises(KitsuneError) as caught:
        channel.find(who)
    return caught.value


def ended_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_program_is_found_by_its_name(helper: Helper) -> None:
    helper(status())
    assert channel.find("kvd").pid == os.getpid()


def test_an_unknown_name_shows_what_runs(helper: Helper) -> None:
    helper(status())
    error = error_of("kvdd")
    assert (error.code, error.message) == ("K300", "no program 'kvdd' is running")
    assert error.hint == "running are: kvd"


def test_a_name_of_several_programs_lists_them(helper: Helper) -> None:
    helper(status(), pid=os.getpid())
    helper(status(), pid=os.getppid())
    error = error_of("kvd")
    assert (error.code, error.message) == ("K301", "several programs 'kvd' are running")
    pids = ", ".join(str(pid) for pid in sorted((os.getpid(), os.getppid())))
    assert error.hint == f"name one by its process id: {pids}"


def test_a_process_that_does_not_exist(directory: Path) -> None:
    pid = ended_pid()
    assert (error_of(str(pid)).code, error_of(str(pid)).message) == (
        "K300",
        f"there is no process {pid}",
    )


def test_a_process_without_a_channel(directory: Path) -> None:
    error = error_of(str(os.getpid()))
    assert error.code == "K302"
    assert error.message == f"process {os.getpid()} has no control socket that you may use"


def test_a_stale_socket_is_removed(directory: Path) -> None:
    pid = ended_pid()
    path = directory / f"{pid}.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(KitsuneError) as caught:
        channel.ask(channel.find(str(pid)), ["status"], 1.0)
    assert caught.value.code == "K300"
    assert caught.value.message == f"process {pid} is not under control any more"
    assert not path.exists()


def test_a_socket_of_a_living_process_is_left_alone(directory: Path) -> None:
    path = directory / f"{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(KitsuneError):
        channel.ask(channel.find(str(os.getpid())), ["status"], 1.0)
    assert path.exists()


@pytest.mark.parametrize("name", ["x.sock", "1.socket", "²3.sock", "-1.sock"])
def test_other_names_in_the_directory_are_passed_over(name: str, directory: Path) -> None:
    (directory / name).touch()
    assert channel.find_all() == []


# -- answers that cannot be trusted --------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([b"not json\n"], "the program's answer is not understood"),
        ([b"[1]\n"], "the program's answer is not understood"),
        ([b"x" * (channel.LONGEST_ANSWER + 65537)], "the program's answer is too long"),
        ([], "the channel of process {pid} ended before its last answer"),
        ([b'{"event": "checked"}\n'], "the channel of process {pid} ended before its last answer"),
    ],
)
def test_broken_answers(answers: list[bytes], message: str, helper: Helper) -> None:
    helper(*answers)
    with pytest.raises(KitsuneError) as caught:
        channel.ask(channel.find(str(os.getpid())), ["status"], 5.0)
    assert caught.value.code == "K303"
    assert caught.value.message == message.format(pid=os.getpid())


def test_a_helper_that_says_nothing(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(directory / f"{os.getpid()}.sock"))
        silent.listen()
        with pytest.raises(KitsuneError) as caught:
            channel.ask(channel.find(str(os.getpid())), ["status"], 0.05)
    assert caught.value.code == "K303"
    assert "did not answer within" in caught.value.message


def test_open_directories_and_links_are_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "open"
    named.mkdir()
    named.chmod(0o755)
    monkeypatch.setenv("KITSUNE_RUNTIME_DIR", str(named))
    assert named not in channel.directories()
    named.chmod(0o700)
    assert named in channel.directories()
    link = tmp_path / "link"
    link.symlink_to(named)
    monkeypatch.setenv("KITSUNE_RUNTIME_DIR", str(link))
    assert link not in channel.directories()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory away: needs root")
def test_a_socket_that_another_user_holds_is_not_asked(helper: Helper, directory: Path) -> None:
    helper(status())
    os.chown(directory, 65534, 65534)
    # We, root, hold the socket: that is always right. The other way round it is not.
    assert channel.ask(channel.find(str(os.getpid())), ["status"], 5.0)["program"] == "kvd"


def test_a_peer_that_is_not_the_directorys_owner(
    helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(status())
    monkeypatch.setattr(channel, "_PEER", WrongPeer())
    with pytest.raises(KitsuneError) as caught:
        channel.ask(channel.find(str(os.getpid())), ["status"], 5.0)
    assert caught.value.code == "K302"
    assert "is held by uid 12345" in caught.value.message


class WrongPeer:
    """Stands for what the kernel would say of a stranger's socket."""

    size = 12

    def unpack(self, data: bytes) -> tuple[int, int, int]:
        return (1, 12345, 12345)


# -- run -----------------------------------------------------------------------------------------


def test_run_becomes_the_launcher(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr("kitsune_tool.launcher.launcher_path", lambda: Path("/cache/launcher"))
    monkeypatch.setattr(os, "execv", lambda path, words: called.append((str(path), words)))
    cli.main(["run", str(release), "--port", "7", "--", "x"])
    words = ["/cache/launcher", "--", str(release), "--port", "7", "--", "x"]
    assert called == [("/cache/launcher", words)]


def test_a_launcher_that_cannot_be_started(
    release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kitsune_tool.launcher.launcher_path", lambda: Path("/nowhere/launcher"))
    assert cli.main(["run", str(release)]) == 1
    assert capsys.readouterr().err.startswith(
        "kitsune: error[K305]: the launcher cannot be started: "
        "No such file or directory: /nowhere/launcher\n"
    )
