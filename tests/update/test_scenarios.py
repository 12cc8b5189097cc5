"""Each folder here with an `expect.yaml` is a scenario: a server becomes its next version.

`expect.yaml` is a list of steps: `send` a command (and `see` its answer, lines joined by ` | `), or
`update` to a version; then `objects` is how many must be transformed, `types` of which types, and
`code` and `reason` (a regular expression) say why it must be rolled back. The server starts as the
first version.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/expect.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_scenario(folder: Path, built: Callable[..., Any], start: Callable[..., Any]) -> None:
    scenario = built(folder)
    steps = yaml.safe_load((folder / "expect.yaml").read_text(encoding="utf-8"))
    server = start(scenario.release("1"))
    for step in steps:
        if "send" in step:
            assert server.ask(step["send"]) == str(step.get("see", "")), step
        else:
            check_update(step, server.update(scenario.release(str(step["update"]))))
    assert server.is_running()
    assert server.stop() == 0


def check_update(step: dict[str, Any], answer: Any) -> None:
    """Compare what became of an update with what the step says."""
    assert answer.committed == ("code" not in step), answer.text
    if "code" in step:
        assert answer.code == step["code"], answer.text
        assert re.search(step["reason"], answer.reason), answer.text
    if "objects" in step:
        assert answer.objects == step["objects"], answer.text
        assert sum(answer.types.values()) == step["objects"], answer.text
    if "types" in step:
        assert answer.types == step["types"], answer.text
