"""The shipped server becomes itself: no object is copied, its data are not even visited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

ROOT = Path(__file__).parents[2]
KEYS = 1000
MANIFEST = f"""\
kitsune: 1
program: scenario
versions:
  - version: "1"
    source: {ROOT}/examples/kvd/v3
  - version: "2"
    source: {ROOT}/examples/kvd/v3
"""


def test_an_update_to_itself_copies_nothing(
    built: Callable[..., Any], kvd_server: Callable[[Path], Any], tmp_path: Path
) -> None:
    folder = tmp_path / "same"
    folder.mkdir()
    (folder / "kitsune.yaml").write_text(MANIFEST, encoding="utf-8")
    scenario = built(folder)
    server = kvd_server(scenario.release("1"))
    server.traffic.load(server.port, KEYS, lambda _: None)
    with redis.Redis(port=server.port, protocol=2) as client:
        digest = client.execute_command("DEBUG", "DIGEST")
        answer = server.update(scenario.release("2"))
        assert answer.committed, answer.text
        assert client.execute_command("DEBUG", "DIGEST") == digest
    last = json.loads([line for line in answer.text.splitlines() if line.startswith("{")][-1])
    assert [kind for kind in last["types"] if kind["moved"]] == []
    # Clients and timers hold callbacks of the image; entries hold nothing that an update changes.
    assert 0 < last["objects"] < KEYS / 10, last["types"]
    assert "struct entry" not in {kind["type"] for kind in last["types"]}
