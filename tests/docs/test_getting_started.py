"""The page's commands, taken from the page and run in an empty directory.

Blocks `file=NAME` are files; blocks `sh` are run in their order in one shell, `sh fails` must fail;
each line of a block `text` is part of what the block before it printed.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting-started.md"
BLOCK = re.compile(r"^```(\S+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code of the page."""

    language: str
    note: str
    text: str


def blocks() -> list[Block]:
    found = BLOCK.finditer(PAGE.read_text())
    return [Block(match[1], match[2] or "", match[3]) for match in found]


def script(place: Path) -> str:
    """Return one shell script of all commands; what block N prints goes to `out-N`."""
    lines = ["set -e", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for number, block in enumerate(blocks()):
        if block.note.startswith("file="):
            (place / block.note.removeprefix("file=")).write_text(block.text)
        elif block.language == "sh":
            body = f"{{\n{block.text}}} >{place}/out-{number} 2>&1"
            lines.append(f"! {body}" if block.note == "fails" else body)
            lines.append(f"echo {number} >{place}/last")
    return "\n".join(lines) + "\n"


def expected() -> list[tuple[int, str]]:
    """Return (number of the command block, line that it must print)."""
    result = []
    before = 0
    for number, block in enumerate(blocks()):
        if block.language == "sh":
            before = number
        elif block.language == "text":
            result += [(before, line) for line in block.text.splitlines()]
    return result


def run(place: Path) -> None:
    # From the outside only what a user has: no package of this environment, a home of its own.
    environment = {
        "PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(place),
        "LC_ALL": "C.UTF-8",
        "KITSUNE": str(source_tree(place)),
        "KITSUNE_RUNTIME_DIR": str(place / "runtime"),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
    }
    (place / "project").mkdir()
    done = subprocess.run(
        ["bash", "-c", script(place / "project")],
        cwd=place / "project",
        env=environment,
        timeout=500,
        check=False,
    )
    last = (place / "project" / "last").read_text() if (place / "project/last").exists() else "-1"
    outputs = sorted((place / "project").glob("out-*"), key=lambda path: int(path.name[4:]))
    assert done.returncode == 0, f"after block {last}: {outputs[-1].read_text()}"


def source_tree(place: Path) -> Path:
    """Copy what an installation is made from: building one must not write into the checkout."""
    copy = place / "kitsune"
    for name in ("kitsune_tool", "runtime", "templates"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.mark.timeout(600)
def test_the_page_leads_from_an_empty_directory_to_a_live_update(tmp_path: Path) -> None:
    run(tmp_path)
    for number, line in expected():
        printed = (tmp_path / "project" / f"out-{number}").read_text()
        assert line in printed, f"block {number} printed:\n{printed}"

    ticks = [int(text) for text in re.findall(r"tick (\d+)", ticker_log(tmp_path))]
    steps = {after - before for before, after in itertools.pairwise(ticks)}
    assert steps == {1, 10}


def ticker_log(place: Path) -> str:
    return (place / "project" / "ticker.log").read_text()
