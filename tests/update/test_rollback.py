"""What else can happen to a release than to fail (for that there is tests/failures)."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "rollback_when"
ITEMS = 1000


def fill(server: Any) -> str:
    """Give the server state and return its checksum."""
    server.ask(f"add {ITEMS}")
    return str(server.ask("sum"))


def test_release_that_runs_already_changes_nothing(
    built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    scenario = built(FOLDER)
    server = start(scenario.release("1"))
    before = fill(server)
    answer = server.update(scenario.release("1"))
    assert '"outcome": "already-running"' in answer.text
    assert server.ask("sum") == before


def test_rollback_when_the_new_state_finds_no_memory(
    built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """There is none for a second copy of a big state; a smaller one then finds it."""
    scenario = built(FOLDER)
    server = start(scenario.release("1"))
    server.ask("add 500000")
    before = fill(server)
    size = int(Path(f"/proc/{server.pid}/statm").read_text(encoding="ascii").split()[0]) * 4096
    resource.prlimit(server.pid, resource.RLIMIT_AS, (size + (8 << 20), -1))
    answer = server.update(scenario.release("2"))
    assert (answer.committed, answer.code) == (False, "K351"), answer.text
    assert "memory" in answer.reason
    assert server.ask("version") == "1"
    assert server.ask("sum") == before
    resource.prlimit(server.pid, resource.RLIMIT_AS, (-1, -1))
    assert server.update(scenario.release("2")).committed


def test_file_that_is_overwritten_after_the_update_does_no_harm(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    scenario = built(FOLDER)
    copy = tmp_path / "release.so"
    shutil.copyfile(scenario.release("2"), copy)
    server = start(scenario.release("1"))
    fill(server)
    assert server.update(copy).committed
    copy.write_bytes(bytes(copy.stat().st_size))
    assert server.ask("version").startswith("2 | ")
