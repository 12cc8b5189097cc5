"""Updates that the program itself asks for, thinks better of, and logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def test_requests_from_inside(built: Callable[..., Any], start: Callable[..., Any]) -> None:
    scenario = built(HERE / "requested_from_inside")
    server = start(scenario.release("1"))
    assert server.ask("keep 7") == ""
    assert server.ask("next /nowhere/scenario.so") == "0 0 0"
    assert server.ask(f"clear {scenario.release('2')}") == "0 1 0"
    assert server.ask("version") == "1 7"
    assert server.ask(f"next {scenario.release('2')}") == "0 1 1"
    assert server.ask("version") == "2 7"
    assert server.ask(f"next {scenario.release('2')}") == "0 0 0", "it runs already"
    assert server.ask("log somebody") == ""
    assert "/nowhere/scenario.so was not installed: K340" in server.errors()
    assert "scenario 1 became 2" in server.errors()
    assert "kitsune: somebody says 7\n" in server.errors()
    assert server.stop() == 0
