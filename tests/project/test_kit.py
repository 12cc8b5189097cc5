"""The script at the root says what is missing on a machine, and by which package to get it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "dirname", "sed", "cat", "cksum", "head", "echo")

OLD_PYTHON = '#!/bin/sh\ncase "$*" in *version_info*) exit 1;; esac\n'
PYTHON_WITHOUT_VENV = (
    '#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; *version_info\\[*) echo 3.12;; esac\n'
)
COMPILER = "#!/bin/sh\ncat >/dev/null\n"
COMPILER_WITHOUT_HEADERS = "#!/bin/sh\ncat >/dev/null\nexit 1\n"
ANYTHING = "#!/bin/sh\n"


@pytest.fixture
def kit(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs a copy of the script where only the given commands exist."""

    def run(arguments: str = "test", **commands: str) -> subprocess.CompletedProcess[str]:
        checkout, bin_dir = tmp_path / "checkout", tmp_path / "bin"
        checkout.mkdir()
        bin_dir.mkdir()
        shutil.copy(ROOT / "kit", checkout / "kit")
        (checkout / "pyproject.toml").touch()
        for name in TOOLS:
            (bin_dir / name).symlink_to(str(shutil.which(name)))
        for name, text in commands.items():
            (bin_dir / name).write_text(text)
            (bin_dir / name).chmod(0o755)
        return subprocess.run(
            [checkout / "kit", *arguments.split()],
            env={"PATH": str(bin_dir)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("commands", "what", "package"),
    [
        ({}, "the C compiler gcc is missing", "gcc libc6-dev"),
        (
            {"gcc": COMPILER_WITHOUT_HEADERS},
            "the C library's headers are missing",
            "libc6-dev",
        ),
        ({"gcc": COMPILER}, "git is missing", "git"),
        (
            {"gcc": COMPILER, "git": ANYTHING},
            "no Python of version 3.11 or later",
            "python3 python3-venv  (or python3.11 python3.11-venv)",
        ),
        (
            {"gcc": COMPILER, "git": ANYTHING, "python3": OLD_PYTHON},
            "no Python of version 3.11 or later",
            "python3 python3-venv  (or python3.11 python3.11-venv)",
        ),
        (
            {"gcc": COMPILER, "git": ANYTHING, "python3": PYTHON_WITHOUT_VENV},
            "the venv module of Python 3.12 is missing",
            "python3.12-venv",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_package(
    kit: Callable[..., subprocess.CompletedProcess[str]],
    commands: dict[str, str],
    what: str,
    package: str,
) -> None:
    done = kit(**commands)
    assert done.stderr == (
        f"kit: {what}\nkit: on Debian or Ubuntu install it with:  apt-get install {package}\n"
    )
    assert done.returncode == 1


def test_help_tells_the_commands(kit: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = kit("help")
    assert done.returncode == 0
    assert "./kit demo" in done.stdout
    assert "./kit test" in done.stdout


def test_an_unknown_command_is_wrong_usage(
    kit: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = kit("nonsense")
    assert done.returncode == 2
    assert "./kit test" in done.stderr
