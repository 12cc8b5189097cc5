"""gdb on a program that was updated, during an update, and on its core file."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
KITSUNE = [sys.executable, "-m", "kitsune_tool.cli"]
PAGE = (HERE.parents[1] / "docs/debugging.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb")


@pytest.fixture
def server(built: Callable[..., Any], start: Callable[..., Any]) -> Any:
    """Return a server that became version 2, with a thread; `scenario` are its releases."""
    scenario = built(HERE / "threads")
    server = start(scenario.release("1"))
    server.ask("spawn read")
    assert server.update(scenario.release("2")).committed
    server.scenario = scenario
    return server


def gdb(server: Any, what: str, *commands: str) -> str:
    for command in commands:
        name = " ".join(command.split()[:2])
        assert not name.startswith("kitsune ") or f"(gdb) {name}" in PAGE
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        [*KITSUNE, "gdb", what, "-nx", "-batch", *words],
        env=server.environment(), capture_output=True, text=True, check=True, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_an_updated_program_and_its_core_file(server: Any, tmp_path: Path) -> None:
    core = tmp_path / "core"
    shown = gdb(server, str(server.pid), "kitsune versions", f"generate-core-file {core}")
    release = server.scenario.release("2")
    assert re.search(rf"^2  runs  at 0x\w+  {release}  build-id [0-9a-f]{{40}}$", shown, re.M), (
        shown
    )
    assert server.ask("version") == "2"
    assert server.ask("stop") == "1 of 1"
    shown = gdb(
        server, str(core), "kitsune versions", "thread apply all backtrace", "kitsune suspended"
    )
    assert re.search(rf"^2  runs  at 0x\w+  {release}  build-id ", shown, re.M), shown
    assert re.search(r"main \(\) at .*workers.h:\d+", shown), shown
    assert re.search(r"serve_worker \(.*\) at .*workers.h:\d+", shown), shown
    assert "no update is under way: no stack is suspended" in shown


def test_stacks_that_an_update_suspends(server: Any) -> None:
    server.ask("fail main loop")
    release = server.scenario.release("3")
    with subprocess.Popen(
        [*KITSUNE, "update", "--limit-ms", "600000", str(server.pid), str(release)],
        env=server.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as update:
        assert update.stderr is not None
        for line in update.stderr:
            if "waiting for its update point" in line:
                break
        shown = ""
        while "fail_now" not in shown:
            shown = gdb(
                server, str(server.pid), "kitsune versions", "backtrace", "kitsune suspended"
            )
        os.kill(server.pid, signal.SIGKILL)
        update.communicate()
    assert re.search(rf"^3  starts  at 0x\w+  {release}  ", shown, re.M), shown
    new, old = shown.split("main thread:\n")
    main, worker = old.split("at 'worker':\n")
    assert re.search(r"fail_now \(how=.*loop.*\) at .*\n.*main \(\) at ", new), shown
    assert re.search(
        r'kitsune_update \(name=.* "serve"\)(.*\n)+#\d+ +(0x\w+ in )?main \(\) at ', main
    )
    assert re.search(r"kitsune_update \(name=.*worker.*\)(.*\n)+.*serve_worker \(", worker)
