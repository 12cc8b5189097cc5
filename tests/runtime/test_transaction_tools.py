"""The transaction in unusual company: sanitizers, valgrind, dropped privileges, another root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_transaction import check_rollback, check_update
from transaction_harness import EVEN_ID, ODD_ID, Server, build_release, serving

from kitsune_tool import launcher, resources

# Their frames lie on stacks whose shadow a rollback restores: no AddressSanitizer in these.
UNCHECKED = {"snapshot.c", "journal.c", "park.c", "switch.c", "platform.c"}
FLAGS = ["-std=gnu11", "-O1", "-g", "-fvisibility=hidden", "-fPIE", "-fno-stack-protector",
         "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]  # fmt: skip
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The two releases, where every user can read them."""
    directory = tmp_path_factory.mktemp("releases")
    return (
        build_release(directory / "even.so", build_id=EVEN_ID, parent=ODD_ID),
        build_release(directory / "odd.so", "-DODD", build_id=ODD_ID, parent=EVEN_ID),
    )


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A launcher under AddressSanitizer and UndefinedBehaviorSanitizer."""
    directory = tmp_path_factory.mktemp("sanitized")
    objects = []
    for source in launcher.launcher_sources():
        target = directory / f"{source.name}.o"
        address = [] if source.name in UNCHECKED else ["-fsanitize=address"]
        include = f"-I{resources.include_dir()}"
        run("gcc", *FLAGS, *address, include, "-c", str(source), "-o", str(target))
        objects.append(str(target))
    target = directory / "kitsune-launcher"
    link = ["-pie", "-Wl,-z,relro,-z,now", "-Wl,--export-dynamic-symbol=kitsune_launcher_table"]
    run("gcc", "-fsanitize=address,undefined", *objects, "-o", str(target), *link)
    return target


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, timeout=300)


def check_life(server: Server, even: Path, odd: Path) -> None:
    """Updates, a rollback that has memory to restore, and an update after it."""
    check_update(server, odd)
    check_update(server, even)
    server.ask("scenario main write_and_segv")
    check_rollback(server, odd, "K354")
    server.ask("clear")
    check_update(server, odd)
    assert server.end() == 0


def test_sanitizers_find_nothing(
    sanitized: Path,
    releases: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commit and rollback under sanitizers; their complaint would end the process."""
    monkeypatch.setattr(launcher, "launcher_path", lambda compiler: sanitized)
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    with serving(releases[0], tmp_path, environment=environment) as server:
        check_life(server, *releases)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_valgrind_finds_nothing(releases: tuple[Path, Path], tmp_path: Path) -> None:
    """Commits under valgrind; a rollback there restores the stack only, and says so."""
    even, odd = releases
    prefix = ("valgrind", "-q", "--error-exitcode=99")
    with serving(even, tmp_path, prefix=prefix) as server:
        check_update(server, odd)
        server.ask("scenario main exit")
        assert "without a snapshot" in server.update(even)
        server.ask("clear")
        assert server.ask("sum").startswith("odd ")
        assert server.end() == 0


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach, with a log that every user can write."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "log").touch()
        (directory / "log").chmod(0o666)
        yield directory


@needs_root
def test_rollback_after_dropping_privileges(releases: tuple[Path, Path], public: Path) -> None:
    """A process that is nobody's cannot be read from outside: the snapshot writes."""
    odd = Path(shutil.copy(releases[1], public / "odd.so"))
    with serving(releases[0], public, arguments=["drop"]) as server:
        for action in ("write_and_segv", "close", "process", "remap"):
            server.ask(f"scenario migrated {action}")
            check_rollback(server, odd, "K354")


@needs_root
def test_rollback_in_another_root(releases: tuple[Path, Path], tmp_path: Path) -> None:
    """There is no /proc there; the release is one inside that root."""
    jail = tmp_path / "jail"
    jail.mkdir()
    shutil.copy(releases[1], jail / "odd.so")
    log = {"KITSUNE_LOG": "/log"}
    (jail / "log").touch(mode=0o666)
    (jail / "log").chmod(0o666)
    with serving(releases[0], tmp_path, arguments=["chroot", str(jail)], environment=log) as server:
        server.log_path = jail / "log"
        for action in ("write_and_segv", "close", "process"):
            server.ask(f"scenario rule {action}")
            check_rollback(server, Path("/odd.so"), "K354")
        server.ask("clear")
        check_update(server, Path("/odd.so"))
