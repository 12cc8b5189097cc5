"""The launcher's build: its cache, its exported symbols, its messages, its start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from transaction_harness import COMPILER, EVEN_ID, ODD_ID, build_release

from kitsune_tool import launcher
from kitsune_tool.errors import KitsuneError

EXPORTED = {"kitsune_launcher_table", "pthread_cancel"}
NOT_OURS = {
    *("environ", "__environ", "_environ", "_IO_stdin_used", "_r_debug"),
    *("optarg", "optind", "opterr", "optopt", "stderr", "stdout", "stdin"),
}


def test_release_exports_one_symbol(tmp_path: Path) -> None:
    """The release side adds nothing to what a release exports but its one structure."""
    release = build_release(tmp_path / "a.so", build_id=EVEN_ID, parent=ODD_ID)
    assert defined_symbols(release) == {"kitsune_release"}


def test_launcher_exports_two_symbols() -> None:
    """Beside what libc has copied into executables, it exports its table and a call of libc's."""
    assert defined_symbols(launcher.launcher_path(COMPILER)) - NOT_OURS == EXPORTED


def defined_symbols(path: Path) -> set[str]:
    """Return the names that the dynamic linker can find in the file."""
    done = subprocess.run(
        ["nm", "-D", "--defined-only", str(path)], capture_output=True, text=True, check=True
    )
    return {line.split()[-1].partition("@")[0] for line in done.stdout.splitlines()}


def test_built_once() -> None:
    """A second request finds the first one's file, untouched."""
    path = launcher.launcher_path(COMPILER)
    before = path.stat().st_mtime_ns
    assert launcher.launcher_path(COMPILER) == path
    assert path.stat().st_mtime_ns == before


def test_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the compiler and what to do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(KitsuneError) as caught:
        launcher.launcher_path(("no-such-compiler",))
    assert caught.value.code == "K380"
    assert caught.value.message == (
        "the compiler 'no-such-compiler' cannot be run: No such file or directory"
    )


def test_refusing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler complains of is shown, and nothing is left in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(KitsuneError) as caught:
        launcher.plain_archive(("gcc", "-DNULL=", "-include", "no-such-header.h"))
    assert caught.value.code == "K381"
    assert caught.value.message == "the compiler refuses the runtime's own sources"
    assert "no-such-header.h" in caught.value.report()
    assert list((tmp_path / "kitsune").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ([], 2, "usage: "),
        (["/nonexistent.so"], 127, "error[K340]: /nonexistent.so: No such file or directory"),
        (["/dev/null"], 127, "error[K348]: "),
    ],
)
def test_start_refused(arguments: list[str], status: int, text: str) -> None:
    """A release that cannot be started ends in 127, with the reason."""
    done = subprocess.run(
        [str(launcher.launcher_path(COMPILER)), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status
    assert text in done.stderr
