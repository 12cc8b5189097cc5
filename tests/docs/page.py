"""A page's commands, taken from the page and run in an empty directory.

Blocks `file=NAME` are files; blocks `sh` are run in their order in one shell, `sh fails` must fail;
each line of a block `text` is part of what the block before it printed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\S+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code of the page."""

    language: str
    note: str
    text: str


def blocks(page: str) -> list[Block]:
    found = BLOCK.finditer((ROOT / "docs" / page).read_text())
    return [Block(match[1], match[2] or "", match[3]) for match in found]


def script(page: str, place: Path) -> str:
    """Return one shell script of all commands; what block N prints goes to `out-N` beside."""
    lines = ["set -e", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for number, block in enumerate(blocks(page)):
        if block.note.startswith("file="):
            (place / block.note.removeprefix("file=")).write_text(block.text)
        elif block.language == "sh":
            body = f"{{\n{block.text}}} >{place}/out-{number} 2>&1"
            lines.append(f"! {body}" if block.note == "fails" else body)
            lines.append(f"echo {number} >{place}/last")
    return "\n".join(lines) + "\n"


def expected(page: str) -> list[tuple[int, str]]:
    """Return (number of the command block, line that it must print)."""
    result = []
    before = 0
    for number, block in enumerate(blocks(page)):
        if block.language == "sh":
            before = number
        elif block.language == "text":
            result += [(before, line) for line in block.text.splitlines()]
    return result


def run_page(page: str, place: Path, path: str) -> None:
    """Run a page in `place`/project and check what it prints.

    From the outside there is only what a user has: a home of its own, and the programs in `path`.
    """
    environment = {
        "PATH": path,
        "HOME": str(place),
        "LC_ALL": "C.UTF-8",
        "KITSUNE": str(source_tree(place)),
        "KITSUNE_RUNTIME_DIR": str(place / "runtime"),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
    }
    project = place / "project"
    project.mkdir()
    done = subprocess.run(
        ["bash", "-c", script(page, project)],
        cwd=project,
        env=environment,
        timeout=500,
        check=False,
    )
    last = (project / "last").read_text() if (project / "last").exists() else "-1"
    outputs = sorted(project.glob("out-*"), key=lambda path: int(path.name[4:]))
    assert done.returncode == 0, f"after block {last}: {outputs[-1].read_text()}"
    for number, line in expected(page):
        printed = (project / f"out-{number}").read_text()
        assert line in printed, f"block {number} printed:\n{printed}"


def source_tree(place: Path) -> Path:
    """Copy what an installation is made from: building one must not write into the checkout."""
    copy = place / "kitsune"
    for name in ("docs", "kitsune_tool", "runtime", "templates", "examples"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy
