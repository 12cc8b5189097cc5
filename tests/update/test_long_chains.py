"""Many updates in one process: no growth, no failed request, each soon after it was asked for.

The ordinary suite runs a few links of each chain; `-m slow` runs the numbers that the project
promises, and only there times are looked at.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROMISED_WAIT_MS = 50
GROWTH_ALLOWED_KB = 2048

BACK_AND_FORTH = f"""
kitsune: 1
program: scenario
versions:
  - version: "1"
    source: {ROOT}/examples/kvd/v1
  - version: "2"
    source: {ROOT}/examples/kvd/v2
    rules:
      - rename: "client.c/requests -> statistics.c/commands_processed"
      - rename: "commands.c/statistics -> statistics.c/by_command"
      - rename: "commands.c/statistics_kind -> statistics.c/by_command_kind"
      - init: ["struct entry.created_ms", "struct entry.hits"]
      - init: ["struct client.connected_ms", "struct client.requests"]
  - version: "3"
    source: {ROOT}/examples/kvd/v1
    rules:
      - rename: "statistics.c/commands_processed -> client.c/requests"
      - rename: "statistics.c/by_command -> commands.c/statistics"
      - rename: "statistics.c/by_command_kind -> commands.c/statistics_kind"
"""


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stamps = _module(HERE / "stamps.py")


def links(scenario: Any, directory: Path) -> Iterator[Path]:
    """Yield release after release, each a child of the one before; version 1 runs first."""
    parent = stamps.build_id(scenario.release("1"))
    for number in itertools.count():
        source = scenario.release("2" if number % 2 == 0 else "3")
        path = stamps.stamped(source, number, parent, directory / f"{number % 4}.so")
        parent = stamps.build_id(path)
        yield path


@pytest.fixture
def kvd(built: Callable[..., Any], tmp_path: Path) -> Any:
    folder = tmp_path / "back_and_forth"
    folder.mkdir()
    (folder / "kitsune.yaml").write_text(BACK_AND_FORTH, encoding="utf-8")
    return built(folder)


@pytest.mark.parametrize(
    ("updates", "objects"),
    [(8, 2_000), pytest.param(200, 10_000, marks=pytest.mark.slow)],
    ids=["8", "200"],
)
def test_chained_updates_under_load(
    updates: int, objects: int, kvd: Any, kvd_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = kvd_server(kvd.release("1"))
    traffic = server.traffic
    traffic.load(server.port, objects, lambda done: None)
    sizes = []
    with traffic.Traffic(server.port, objects, clients=2) as clients:
        for release in itertools.islice(links(kvd, tmp_path), updates):
            answer = server.update(release)
            assert answer.committed, answer.text
            assert answer.objects >= objects
            clients.wait_for_requests(1)
            clients.next_phase()
            sizes.append(server.resident_kb())
        total = clients.total()
        assert total.failed == 0, clients.complaints()
    assert traffic.wrong_values(server.port, objects) == 0
    settled = sizes[min(20, updates // 2) :]
    assert max(settled) <= settled[0] + GROWTH_ALLOWED_KB, sizes


@pytest.mark.parametrize(
    "updates", [20, pytest.param(1000, marks=pytest.mark.slow)], ids=["20", "1000"]
)
def test_updates_of_an_idle_server(
    updates: int,
    built: Callable[..., Any],
    start: Callable[..., Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    scenario = built(HERE / "idle")
    server = start(scenario.release("1"))
    server.ask("add 7")
    waits_ms = []
    for number, release in enumerate(itertools.islice(links(scenario, tmp_path), updates)):
        started = time.monotonic()
        answer = server.update_now(release)
        waits_ms.append((time.monotonic() - started) * 1000)
        assert answer.committed, answer.text
        assert server.ask("list") == ("7 0" if number % 2 == 0 else "7")
    if request.node.get_closest_marker("slow"):
        slowest = [round(wait, 1) for wait in sorted(waits_ms)[-5:]]
        print(f"median {statistics.median(waits_ms):.1f} ms, slowest {slowest}")
        assert slowest[-1] <= PROMISED_WAIT_MS


def test_stamped_copies_are_told_apart(kvd: Any, tmp_path: Path) -> None:
    """The helper changes ids only: the test above would prove nothing otherwise."""
    first = next(links(kvd, tmp_path))
    assert stamps.build_id(first) != stamps.build_id(kvd.release("2"))
    assert len(first.read_bytes()) == len(kvd.release("2").read_bytes())
    assert re.search(rb"2", first.read_bytes())
