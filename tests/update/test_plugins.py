"""Plugins that look up symbols of the program: they stay, and belong to the version that runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "plugins"


@pytest.fixture
def server(built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path) -> Any:
    """Start version 1 and load its plugin."""
    server = start(built(FOLDER).release("1"))
    assert server.ask("load " + str(plugin(tmp_path / "one.so"))) == said(1, run=1, label=1)
    return server


def plugin(path: Path, *flags: str) -> Path:
    """Build the plugin, as somebody who knows nothing of Kitsune."""
    source = FOLDER / "shared" / "plugin.c"
    subprocess.run(["gcc", "-O1", "-fPIC", "-shared", source, "-o", path, *flags], check=True)
    return path


def said(version: int, *, run: int, label: int, total: int = 0) -> str:
    return (
        f"run {run} total {total or run} twice {version}02 {version}04 table {version}003 "
        f"scale {version}004 label label of {label} of host {version}"
    )


def test_a_plugin_follows_the_program(
    server: Any, built: Callable[..., Any], tmp_path: Path
) -> None:
    """Also what it calls for the first time only then, and a second plugin, loaded then."""
    assert server.update(built(FOLDER).release("2")).committed
    assert server.ask("run") == said(2, run=2, label=1)
    assert server.ask("later") == "205"
    second = plugin(tmp_path / "two.so", "-Wl,-z,now")
    assert server.ask(f"load {second}") == said(2, run=1, label=2, total=3)
    assert server.update(built(FOLDER).release("7")).committed
    assert server.ask("run") == said(7, run=2, label=2, total=4)
    assert server.ask("later") == "705"


def test_a_plugin_is_as_it_was_after_a_rollback(server: Any, built: Callable[..., Any]) -> None:
    answer = server.update(built(FOLDER).release("4"))
    assert (answer.committed, answer.code) == (False, "K354"), answer.text
    assert server.ask("run") == said(1, run=2, label=1)
    assert server.ask("later") == "105"
    assert server.update(built(FOLDER).release("2")).committed
    assert server.ask("run") == said(2, run=3, label=1)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("3", "one.so uses 'host_twice', which 3 does not export"),
        ("5", "one.so uses 'host_total', which 5 has in another size"),
        ("6", "for which version 6 has nothing"),
    ],
)
def test_what_the_new_version_lacks_is_named(
    server: Any, built: Callable[..., Any], version: str, reason: str
) -> None:
    answer = server.update(built(FOLDER).release(version))
    assert (answer.committed, answer.code) == (False, "K367"), answer.text
    assert reason in answer.reason
    assert server.ask("run") == said(1, run=2, label=1)


def test_without_a_plugin_nothing_is_in_the_way(
    built: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    server = start(built(FOLDER).release("1"))
    assert server.ask("run") == "no plugin"
    assert server.update(built(FOLDER).release("6")).committed
    path = plugin(tmp_path / "six.so")
    assert server.ask(f"load {path}") == said(6, run=1, label=6)
