"""Going back to the previous version with the state of now, by hand and on probation."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROUNDS = 25
GROWTH_ALLOWED_KB = 2048


@pytest.fixture
def scenario(built: Callable[..., Any]) -> Any:
    return built(HERE / "ways_back")


@pytest.fixture
def server(scenario: Any, start: Callable[..., Any]) -> Any:
    """Start the second version's release, with two items."""
    return with_items(start(scenario.release("2")))


def with_items(server: Any) -> Any:
    server.ask("add 7 seven")
    server.ask("add -8 minus eight")
    return server


def way_back(scenario: Any, version: str, to: str) -> Path:
    path = scenario.directory / "releases/scenario/@back" / version / to / "scenario.so"
    assert isinstance(path, Path)
    return path


def kitsune(server: Any, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator does, in a directory; the word PID is the server's."""
    return subprocess.run(command(server, *words), **run_options(server, place), check=False)


def command(server: Any, *words: str) -> list[str]:
    named = [str(server.pid) if word == "PID" else word for word in words]
    return [sys.executable, "-m", "kitsune_tool.cli", *named]


def run_options(server: Any, place: Path) -> dict[str, Any]:
    environment = {**os.environ, "KITSUNE_RUNTIME_DIR": str(server._directory / "run")}
    return {"cwd": place, "env": environment, "capture_output": True, "text": True, "timeout": 120}


def last(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


def test_a_hundred_times_forth_and_back(scenario: Any, start: Callable[..., Any]) -> None:
    """Two versions up and two down, again and again: each release follows what stands for its
    parent, nothing is lost, nothing is left.
    """
    server = with_items(start(scenario.release("1")))
    ways = [
        (scenario.release("2"), "2"),
        (scenario.release("3"), "3"),
        (way_back(scenario, "3", "2"), "2"),
        (way_back(scenario, "2", "1"), "1"),
    ]
    first_kb = 0
    for number, (release, version) in itertools.product(range(ROUNDS), ways):
        answer = server.update_now(release)
        assert answer.committed, answer.text
        if number in (0, ROUNDS - 1):
            listed = f"-8 -8 minus eight | 7 7 seven | {version} hello count 2"
            assert server.ask("list") == listed
        if number == ROUNDS // 5 and version == "1":
            first_kb = server.resident_kb()
    assert server.resident_kb() - first_kb < GROWTH_ALLOWED_KB
    assert server.ask("printed") == "1 hello count 2 | 102", "what only the first version knows"


def test_rollback_and_forth_again_by_command(scenario: Any, server: Any) -> None:
    place = scenario.directory
    done = kitsune(server, place, "rollback", "PID")
    assert done.returncode == 0, done.stderr
    assert "2 → 1: updated" in done.stdout
    assert server.ask("list") == "-8 -8 minus eight | 7 7 seven | 1 hello count 2"
    status = last(kitsune(server, place, "status", "--json", "PID"))["programs"][0]
    assert status["version_id"] != status["build_id"], "it stands for the first version's release"

    again = kitsune(server, place, "rollback", "--to", "1", "PID")
    assert (again.returncode, "1 is running already" in again.stdout) == (0, True)
    same = kitsune(server, place, "update", "PID", "1")
    assert (same.returncode, "1 is running already" in same.stdout) == (0, True)
    assert kitsune(server, place, "update", "PID", "3").returncode == 10, "3 does not follow 1"
    assert kitsune(server, place, "update", "PID", "2").returncode == 0
    assert kitsune(server, place, "update", "PID", "3").returncode == 0
    assert last(kitsune(server, place, "rollback", "--json", "PID"))["to"] == "2"


def test_no_way_back(scenario: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    server = with_items(start(scenario.release("1")))
    done = kitsune(server, scenario.directory, "rollback", "PID")
    assert done.returncode == 1
    assert "error[K316]: no release leads back from 1 of scenario" in done.stderr
    assert "write 'back: true' at version 1 in the manifest" in done.stderr
    done = kitsune(server, tmp_path, "rollback", "--json", "PID")
    assert (done.returncode, last(done)["code"]) == (1, "K316")
    assert "it is not known in which store" in last(done)["reason"]


def test_ways_back_that_do_not_fit(scenario: Any, server: Any, tmp_path: Path) -> None:
    other = tmp_path / "releases/scenario/@back/2/1"
    shutil.copytree(way_back(scenario, "3", "2").parent, other)
    done = kitsune(server, tmp_path, "rollback", "--json", "--store", "releases", "PID")
    assert (done.returncode, last(done)["code"]) == (1, "K317")
    done = kitsune(server, scenario.directory, "rollback", "--json", "--to", "3", "PID")
    assert (done.returncode, last(done)["code"]) == (1, "K318")
    shutil.rmtree(other)
    shutil.copytree(way_back(scenario, "2", "1").parent, other)
    (other / "scenario.so").chmod(0o644)
    with (other / "scenario.so").open("ab") as release:
        release.write(b"x")
    done = kitsune(server, tmp_path, "rollback", "--json", "--store", "releases", "PID")
    assert (done.returncode, last(done)["code"]) == (1, "K221")
    assert server.ask("count") == "2 hello count 2"


def test_several_ways_back(scenario: Any, server: Any, tmp_path: Path) -> None:
    """With two, the history tells which; a program that was started so has none."""
    store = tmp_path / "releases/scenario/@back/2"
    shutil.copytree(way_back(scenario, "2", "1").parent, store / "1")
    shutil.copytree(way_back(scenario, "2", "1").parent, store / "0")
    text = (store / "0/release.json").read_text().replace('"version": "1"', '"version": "0"', 1)
    (store / "0/release.json").chmod(0o644)
    (store / "0/release.json").write_text(text)
    words = ("rollback", "--json", "--store", "releases")
    done = kitsune(server, tmp_path, *words, "PID")
    assert (done.returncode, last(done)["code"]) == (1, "K318")
    assert "several ways lead back from 2" in last(done)["reason"]
    assert last(kitsune(server, tmp_path, *words, "--to", "1", "PID"))["to"] == "1"
    assert server.update_now(scenario.release("2")).committed
    assert last(kitsune(server, tmp_path, *words, "PID"))["to"] == "1"


def probation(health: str, *words: str, seconds: str = "0.2") -> Sequence[str]:
    return ("update", "--probation", seconds, "--health", health, *words)


def test_a_version_that_passes_its_probation_stays(scenario: Any, server: Any) -> None:
    asked = f'[ "$KITSUNE_PID $KITSUNE_PROGRAM $KITSUNE_VERSION" = "{server.pid} scenario 3" ]'
    done = kitsune(server, scenario.directory, *probation(asked, "PID", "3"))
    assert done.returncode == 0, done.stderr
    assert "3 has passed its probation" in done.stdout
    assert server.ask("count") == "3 hello count 2"


def test_a_version_that_fails_is_left(scenario: Any, server: Any, tmp_path: Path) -> None:
    """At its second run the command fails: by then the new version has got an item."""
    seen = tmp_path / "seen"
    health = f"if [ -e {seen} ]; then echo it is ill; exit 3; fi; touch {seen}"
    done = kitsune(
        server, scenario.directory, *probation(health, "--json", "PID", "3", seconds="60")
    )
    assert done.returncode == 17, done.stderr
    answer = last(done)
    assert (answer["outcome"], answer["code"]) == ("taken-back", "K319")
    assert answer["reason"].startswith("the health command ended with status 3, ")
    assert answer["health_output"] == "it is ill"
    assert (answer["back"]["outcome"], answer["back"]["to"]) == ("updated", "2")
    assert server.ask("list") == "-8 -8 minus eight | 7 7 seven | 2 hello count 2"
    done = kitsune(server, scenario.directory, *probation("echo no; kill -9 $$", "PID", "3"))
    assert done.returncode == 17
    assert "error[K319]: the health command was ended by signal 9" in done.stderr
    assert "\n  no\n" in done.stderr
    assert "3 → 2: updated" in done.stdout


def test_a_health_command_that_hangs_has_failed(scenario: Any, server: Any) -> None:
    health = "echo waiting; sleep 1000"
    done = kitsune(server, scenario.directory, *probation(health, "--json", "PID", "3"))
    assert (done.returncode, last(done)["health_output"]) == (17, "waiting")
    assert "did not end within 0.2 s" in last(done)["reason"]


def test_a_version_that_cannot_be_left_stays(scenario: Any, server: Any, tmp_path: Path) -> None:
    """The way back is gone when it is needed."""
    store = tmp_path / "releases"
    back = store / "scenario/@back/3/2"
    shutil.copytree(way_back(scenario, "3", "2").parent, back)
    health = f"rm {back}/scenario.so; exit 1"
    words = probation(health, "--json", "--store", str(store), "PID", str(scenario.release("3")))
    # not in the store of the release itself, which has one
    done = kitsune(server, tmp_path, *words)
    assert (done.returncode, last(done)["outcome"]) == (18, "unhealthy")
    assert last(done)["back"]["code"] == "K340"
    assert server.ask("count") == "3 hello count 2"


def test_probation_without_a_way_back_is_refused(
    scenario: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    server = with_items(start(scenario.release("1")))
    (tmp_path / "empty").mkdir()
    words = probation("true", "--json", "--store", "empty", "PID", str(scenario.release("2")))
    done = kitsune(server, tmp_path, *words)
    assert (done.returncode, last(done)["code"]) == (1, "K316")
    assert server.ask("count") == "1 hello count 2"
    done = kitsune(server, tmp_path, "update", "--health", "true", "PID", "2")
    assert done.returncode == 2
    assert "--probation and --health go together" in done.stderr


def test_an_interrupted_probation_leaves_the_new_version(
    scenario: Any, server: Any, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    words = probation(f"echo $$ > {fifo}; sleep 1000", "PID", "3", seconds="1000")
    options = run_options(server, scenario.directory)
    client = subprocess.Popen(
        # What starts the tests may have ^C ignored, which is inherited.
        ["env", "--default-signal=INT", *command(server, *words)],
        cwd=options["cwd"],
        env=options["env"],
        stderr=subprocess.PIPE,
    )
    try:
        health = Path("/proc", fifo.read_text().strip())  # the probation has begun
        client.send_signal(signal.SIGINT)
        errors = client.communicate(timeout=60)[1].decode()
    finally:
        client.kill()
    assert client.returncode == 130
    assert "the probation ends here; 3 stays" in errors
    assert not health.exists(), "the health command goes with its client"
    assert server.ask("count") == "3 hello count 2"
