"""Each folder here with an `expect.yaml` is a scenario: a server becomes its next version.

`expect.yaml` is a list of steps: `send` a command (and `see` its answer, lines joined by ` | `), or
`update` to a version; then `objects` is how many must be transformed, `types` of which types, and
`code` and `reason` (a regular expression) say why it must be rolled back; `report` has texts that
must be in the report of the version; `self_test` runs the transformers that lead to a version over
random objects, of which `members` must be compared. The server starts as the first version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/expect.yaml"))
OTHERWISE = {
    "clang": (
        "field_added",
        "pointers_into_the_image",
        "types_of_every_kind",
        "manual_migration",
    ),
    "gcc -flto": ("pointers_into_the_image",),
    "gcc -flto -O3 -march=native -fno-common": ("types_of_every_kind",),
    "clang -flto=thin -fuse-ld=lld": ("pointers_into_the_image",),
    "clang -O0 -fcommon": ("types_of_every_kind",),
    "gcc --coverage": ("field_added",),
    "gcc -fsanitize=undefined": ("types_of_every_kind",),
    "gcc -pg": ("field_added",),
    "aarch64-linux-gnu-gcc": (
        "callbacks",
        "types_of_every_kind",
        "literals",
        "rollback_when_a_closure_fails",
    ),
    "clang --target=aarch64-linux-gnu": ("pointers_into_the_image",),
}
"""Scenarios that are built in other ways as well, generated code and all."""
ON_AARCH64 = OTHERWISE["aarch64-linux-gnu-gcc"]
CASES = [
    *(pytest.param(folder, "gcc", id=folder.name) for folder in FOLDERS),
    *(
        pytest.param(Path(__file__).parent / name, how, id=f"{name} by {how}")
        for how, names in OTHERWISE.items()
        for name in names
    ),
    *(
        pytest.param(
            folder, "aarch64-linux-gnu-gcc", id=f"{folder.name} for aarch64", marks=pytest.mark.slow
        )
        for folder in FOLDERS
        if folder.name not in ON_AARCH64
    ),
]


@pytest.mark.parametrize(("folder", "compiler"), CASES)
def test_scenario(
    folder: Path, compiler: str, built: Callable[..., Any], start: Callable[..., Any]
) -> None:
    needed = [compiler.split(maxsplit=1)[0], *(["ld.lld"] if "=lld" in compiler else [])]
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    scenario = built(folder, compiler)
    steps = yaml.safe_load((folder / "expect.yaml").read_text(encoding="utf-8"))
    server = start(scenario.release("1"), compiler)
    for step in steps:
        if "self_test" in step and "aarch64" in compiler:
            check_self_test_is_refused(scenario, step)
        elif "self_test" in step:
            check_self_test(scenario, step, compiler)
        elif "send" in step:
            assert server.ask(step["send"]) == str(step.get("see", "")), step
        else:
            check_update(step, server.update(scenario.release(str(step["update"]))))
            for text in step.get("report", ()):
                assert text in scenario.report(str(step["update"]))
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


def check_self_test_is_refused(scenario: Any, step: dict[str, Any]) -> None:
    """It would run a program of another machine here."""
    words = [sys.executable, "-m", "kitsune_tool.cli", "self-test", "--version"]
    done = subprocess.run(
        [*words, str(step["self_test"])],
        cwd=scenario.directory,
        env={**os.environ, "KITSUNE_CC": "gcc"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error[K403]: the release is for aarch64" in done.stderr


def check_self_test(scenario: Any, step: dict[str, Any], compiler: str) -> None:
    """Run the self-test of a version: all must pass that link-time optimisation has left."""
    words = [sys.executable, "-m", "kitsune_tool.cli", "self-test", "--json", "--seed", "1"]
    done = subprocess.run(
        [*words, "--version", str(step["self_test"])],
        cwd=scenario.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)[0]["transformers"]
    gone = {"not run"} if "-flto" in compiler else set()
    assert {each["outcome"] for each in found} - gone == {"passed"}, done.stdout
    assert sum(len(each["compared"]) for each in found) == step["members"], done.stdout
