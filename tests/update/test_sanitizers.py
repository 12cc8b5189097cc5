"""Programs with threads, compiled for a sanitizer: updated and rolled back under load.

The launcher is the ordinary one, with the sanitizer's library loaded before it.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_threads as threads

from kitsune_tool import launcher

HERE = Path(__file__).parent


LIBRARIES = {"address": "libasan.so", "thread": "libtsan.so"}
MISTAKES = {
    "address": ("overflow", "ERROR: AddressSanitizer: heap-buffer-overflow"),
    "thread": ("race", "WARNING: ThreadSanitizer: data race"),
}
FAILURES = ("crash", "overflow", "abort", "exit", "loop", "main crash", "main loop")
"""What a new version does before its commit; each is rolled back."""


def command_for(sanitizer: str) -> list[str]:
    """Return what starts the launcher with the sanitizer's library; skip where there is none."""
    name = LIBRARIES[sanitizer]
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()
    if not Path(found).is_absolute() or shutil.which("setarch") is None:
        pytest.skip(f"gcc has no {name} here, or there is no setarch")
    # Older versions of ThreadSanitizer do not know all places where a kernel maps things.
    return ["setarch", "-R", "env", f"LD_PRELOAD={found}", str(launcher.launcher_path())]


@pytest.fixture
def sanitized(built: Callable[..., Any], start: Callable[..., Any]) -> Callable[..., Any]:
    """Return what gives the scenario's releases and a server, compiled for a sanitizer."""

    def get(sanitizer: str) -> tuple[Any, Any]:
        command = command_for(sanitizer)
        scenario = built(HERE / "threads", f"gcc -fsanitize={sanitizer}")
        server = start(
            scenario.release("1"),
            command=command,
            ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=0",
            TSAN_OPTIONS="report_thread_leaks=0:halt_on_error=0",
        )
        return scenario, server

    return get


def errors_of(server: Any) -> str:
    """Return what the sanitizer has to say; the launcher's own lines are left out."""
    lines = server.errors().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("kitsune: "))


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", LIBRARIES)
def test_threads_are_updated_under_load(
    sanitizer: str, sanitized: Callable[..., Any], tmp_path: Path
) -> None:
    scenario, server = sanitized(sanitizer)
    for kind in threads.KINDS:
        server.ask(f"spawn {kind}")
    port = int(server.ask("spawn accept").split(" | ")[0])
    with threads.load(port) as wrong:
        for number, release in enumerate(itertools.islice(threads.links(scenario, tmp_path), 50)):
            server.ask("poke")
            answer = server.update_now(release)
            assert answer.committed, answer.text + errors_of(server)
            threads.await_counts(server, number + 1)
    assert wrong == []
    assert server.ask("stop") == f"{len(threads.KINDS) + 1} of {len(threads.KINDS) + 1}"
    assert errors_of(server) == ""


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", LIBRARIES)
def test_threads_are_rolled_back_and_updated(sanitizer: str, sanitized: Callable[..., Any]) -> None:
    """Afterwards the sanitizer still sees what it would see in the program as started."""
    scenario, server = sanitized(sanitizer)
    for kind in threads.KINDS:
        server.ask(f"spawn {kind}")
    for number, failure in enumerate(FAILURES):
        server.ask(f"fail {failure}")
        server.ask("poke")
        answer = server.update(scenario.release("2"), "--limit-ms", "3000")
        assert not answer.committed, answer.text
        assert answer.last["outcome"] == "rolled-back", answer.text + errors_of(server)
        threads.await_counts(server, number + 1)
    server.ask("fail nothing")
    assert server.update(scenario.release("2")).committed
    server.ask("poke")
    threads.await_counts(server, len(FAILURES) + 1)
    assert errors_of(server) == ""
    mistake, report = MISTAKES[sanitizer]
    server.send(f"mistake {mistake}")
    if sanitizer == "thread":
        assert server.line() == "."
    else:
        server.wait()
    assert re.search(report, errors_of(server))
