"""What the program left with libc follows it into the next version, or is the old one's again."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stamps = _module(HERE / "stamps.py")


def test_destructors_and_handlers_of_fork_follow(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    scenario = built(HERE / "registered")
    crash = tmp_path / "crash"
    server = start(scenario.release("1"), CRASH_FILE=str(crash))
    ended = "an old value of 1 | value of 1, c11 of 1"
    forked = (
        "only here of 1, prepare of 1, child of 1 | "
        "only here of 1, prepare of 1, parent of 1, only here of 1"
    )
    assert (server.ask("end"), server.ask("fork")) == (ended, forked)
    keys = server.ask("keys")
    crash.touch()
    for _ in range(3):
        answer = server.update(scenario.release("2"))
        assert answer.code == "K354", answer.text
        assert (server.ask("end"), server.ask("fork")) == (ended, forked)
        assert server.ask("keys") == keys, "keys of a version that failed are free again"
    crash.unlink()
    answer = server.update(scenario.release("2"))
    assert answer.committed, answer.text
    assert "has no namesake in the new version and stays" in answer.last["not_undone"]
    assert server.ask("end") == "an old value of 1 | value of 2, c11 of 2"
    now = "prepare of 2, child of 2, added of 2 | prepare of 2, parent of 2"
    assert server.ask("fork") == now, "each once, also what both versions registered"
    assert server.ask("keys") == keys
    parent = scenario.release("2")
    for number in range(40):
        last = stamps.stamped(
            scenario.release("3"), number, stamps.build_id(parent), tmp_path / f"{number % 2}.so"
        )
        answer = server.update_now(last)
        assert answer.committed, answer.text
        parent = last
    assert server.ask("fork") == now, "what is registered anew each time does not add up"
    assert server.ask("end") == "an old value of 1 | value of 2, c11 of 2"
    assert server.ask("keys") == keys
