"""What keeps an old version mapped is told; calls into it are dealt with as the operator wishes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitsune_tool import channel

HERE = Path(__file__).parent
WAIT_S = 60


@pytest.fixture
def updated(built: Callable[..., Any], start: Callable[..., Any]) -> Callable[..., Any]:
    """Return what starts the first version under a policy and makes it the second."""

    def go(policy: str, *before: str) -> Any:
        scenario = built(HERE / "old_code")
        server = start(scenario.release("1"), KITSUNE_OLD_CODE=policy)
        for line in ("set", *before):
            server.ask(line)
        answer = server.update_now(scenario.release("2"))
        assert answer.committed, answer.text
        held(server)
        return server

    return go


def held(server: Any) -> dict[str, Any]:
    """Wait for the scan, which is made in the background; return what is told of the old image."""
    who = channel.Channel(server._directory / "run", server.pid)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        server.ask("wait")  # its update points do a slice each
        status = channel.ask(who, ["status"], WAIT_S)
        found = [image for image in status["images"] if "words" in image]
        if found:
            assert isinstance(found[0], dict)
            places = [word["in"] for image in found for word in image["first"]]
            assert "kitsune-launcher" not in places, "the launcher itself keeps nothing"
            return found[0]
    raise AssertionError(f"no scan has ended: {status}\n{server.errors()}")


def test_status_tells_what_keeps_an_old_image(updated: Callable[..., Any]) -> None:
    image = held(updated("keep"))
    assert (image["version"], image["words"], image["code"]) == ("1", 4, "runs")
    told = {(word["in"].partition(" at ")[0], word["to"]) for word in image["first"]}
    literal = next(to for place, to in told if place == "'main.c/text'")
    assert literal.startswith("byte ")
    assert told == {
        ("'main.c/known'", "'main.c/number_of'"),
        ("'main.c/lost'", "'main.c/only_in_the_first'"),
        ("'main.c/text'", literal),
        ("byte 0 of a heap block of 24 bytes", "'main.c/number_of'"),
    }


def test_old_code_is_kept(updated: Callable[..., Any]) -> None:
    server = updated("keep")
    assert [server.ask(word) for word in ("known", "box", "lost")] == ["101", "101", "110"]
    assert server.ask("text") == "a literal of the first version"


def test_calls_are_redirected(updated: Callable[..., Any]) -> None:
    server = updated("redirect")
    assert held(server)["code"] == "redirected"
    assert [server.ask(word) for word in ("known", "box", "known")] == ["102", "102", "102"]
    assert server.ask("text") == "a literal of the first version"
    assert held(server)["calls"] == 3
    said = "K378: a call of 'main.c/number_of' of version 1, which ran before, was led to"
    assert server.errors().count(said) == 1, "told once, counted each time"
    assert server.ask("lost") == "110", "what has no successor runs as it did"
    assert "K379: code of version 1, which ran before, runs again" in server.errors()
    assert held(server)["code"] == "runs"
    assert server.ask("known") == "101"


def test_calls_are_refused(updated: Callable[..., Any]) -> None:
    """The program's handler sees the fault as if the code were gone."""
    server = updated("refuse", "handle")
    assert server.ask("known") == "fault"
    assert server.ask("lost") == "fault"
    assert server.ask("text") == "a literal of the first version"
    assert server.ask("fault") == "faults 3"
    assert held(server)["calls"] == 2
    assert "K377: a call of 'main.c/only_in_the_first' of version 1" in server.errors()


@pytest.mark.parametrize(("policy", "segv"), [("keep", 1), ("redirect", 0)])
def test_a_mask_holds_none_of_the_runtimes_signals(
    updated: Callable[..., Any], policy: str, segv: int
) -> None:
    """SIGURG never, and SIGSEGV only if calls into old code are nobody's concern."""
    server = updated(policy)
    assert server.ask("set-mask one") == "0 0 1", "the program's own alone"
    assert server.ask("unblock") == "0 0 0"
    assert server.ask("block") == f"0 {segv} 1"
    assert server.ask("set-mask one") == "0 0 1"
    assert server.ask("set-mask all") == f"0 {segv} 1"
    assert server.ask("known") == ("101" if segv else "102"), "a redirected call is a fault"


@pytest.mark.parametrize("is_set_before", [True, False])
def test_the_program_has_its_own_faults(updated: Callable[..., Any], is_set_before: bool) -> None:
    server = updated("redirect", *(["handle"] if is_set_before else []))
    if not is_set_before:
        assert server.ask("handle") == "1 | 1", "it sees what it said itself, and nothing of ours"
    assert server.ask("fault") == "faults 1"
    assert server.ask("known") == "102"
    assert server.ask("fault") == "faults 2"


@pytest.mark.parametrize("fault", ["fault", "raise"])
def test_a_fault_that_nobody_handles_ends_the_program(
    updated: Callable[..., Any], fault: str
) -> None:
    server = updated("redirect")
    assert server.ask("known") == "102"
    server.send(fault)
    assert server._process.wait(WAIT_S) == -11


def test_further_updates_and_the_handler_that_was_set(
    updated: Callable[..., Any], built: Callable[..., Any]
) -> None:
    """Back and forth: each time the old code leads to what runs; an update that fails changes
    nothing.
    """
    scenario = built(HERE / "old_code")
    server = updated("redirect", "handle")
    back = scenario.directory / "releases/scenario/@back/2/1/scenario.so"
    assert not server.update_now(HERE / "old_code/kitsune.yaml").committed
    assert server.ask("known") == "102"
    assert server.update_now(back).committed
    for _ in range(3):
        held(server)
        assert server.ask("known") == "101"
        assert server.ask("lost") == "110"
        assert server.update_now(scenario.release("2")).committed
        held(server)
        assert server.ask("known") == "102"
        assert server.ask("fault").startswith("faults ")
        assert server.update_now(back).committed


def test_a_policy_that_is_none(built: Callable[..., Any], start: Callable[..., Any]) -> None:
    server = start(built(HERE / "old_code").release("1"), KITSUNE_OLD_CODE="perhaps")
    server.ask("set")
    assert "K376: KITSUNE_OLD_CODE is 'perhaps'" in server.errors()
