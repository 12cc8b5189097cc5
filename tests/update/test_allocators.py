"""Objects that move and come from an allocator of the program's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "allocator_of_its_own"
DEADLINE_S = 60


def wait_for(server: Any, wanted: str) -> None:
    """Ask until the old objects are back with their allocator, which happens while it serves."""
    deadline = time.monotonic() + DEADLINE_S
    while (seen := server.ask("show")) != wanted:
        assert time.monotonic() < deadline, seen


def test_moved_objects_are_given_back(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    scenario = built(FOLDER)
    fail = tmp_path / "fail"
    server = start(scenario.release("1"), FAIL_FILE=str(fail))
    assert server.ask("add 100") == "100 sum 5050 last 100, 100 blocks of 100"
    fail.write_text("migrated segv\n")
    assert server.update(scenario.release("2")).code == "K354"
    assert server.ask("show") == "100 sum 5050 last 100, 100 blocks of 100"
    fail.write_text("")
    answer = server.update(scenario.release("2"))
    assert answer.committed, answer.text
    assert answer.objects == 100, answer.text
    wait_for(server, "100 sum 5050 last 100, 100 blocks of 100")
    assert server.ask("take") == "99 sum 5049 last 100, 99 blocks of 99"
    assert server.update(scenario.release("3")).committed
    assert server.ask("add 1") == "100 sum 5050 last 100, 100 blocks of 100"
