"""Releases that were taken back: the list that names them, and lists that cannot be trusted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from attack.attacks import patched, refused
from attack.harness import Fortress, Key, fortress
from attack.test_signatures import start
from kitsune_tool import objects

Ledger = tuple[Path, Path]
Keys = tuple[Key, Key]
OTHER = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def place(ledger: Ledger, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both releases lie, signed."""
    directory = tmp_path_factory.mktemp("revocations")
    for release, name in zip(ledger, ("first.so", "second.so"), strict=True):
        shutil.copyfile(release, directory / name)
        keys[0].sign(directory / name)
    return directory


@pytest.fixture(scope="module")
def server(place: Path, keys: Keys) -> Iterator[Fortress]:
    """A server that asks for signatures and looks into the list."""
    listed(place, 1, key=keys[0])
    options = ["--public-key", str(keys[0].public), "--revocations", str(place / "revoked")]
    with fortress(place / "first.so", place / "server", options) as running:
        yield running


def listed(place: Path, serial: int, *lines: str, key: Key | None = None) -> Path:
    """Write the list of revoked releases, and sign it."""
    path = place / "revoked"
    path.unlink(missing_ok=True)
    path.write_text("\n".join(["# of the ledger", f"serial {serial}", "", *lines]) + "\n")
    if key:
        key.sign(path)
    return path


def build_id(place: Path, name: str = "second.so") -> str:
    return objects.build_id(place / name).hex()


def reason_of(server: Fortress, release: Path, code: str) -> str:
    refused(server, release, code)
    server.unharmed()
    return str(server.status()["updates"][-1]["reason"])


def test_a_revoked_release_is_refused(server: Fortress, place: Path, keys: Keys) -> None:
    path = listed(place, 2, OTHER, f"{build_id(place)} 2: loses coins", key=keys[0])
    reason = reason_of(server, place / "second.so", "K387")
    assert reason == f"the release is revoked: line 5 of {path}"
    with server.line() as line:
        assert line.ask(f"inside {place / 'second.so'}") == "asked"
    server.unharmed()
    assert server.status()["updates"][-1]["code"] == "K387"


def test_an_older_list_is_refused(server: Fortress, place: Path, keys: Keys) -> None:
    """One from before the revocation has a good signature, too."""
    listed(place, 50, build_id(place), key=keys[0])
    refused(server, place / "second.so", "K387")
    listed(place, 49, key=keys[0])
    reason = reason_of(server, place / "second.so", "K388")
    assert reason.endswith("is older than it was: its serial number is 49, and was 50")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no line 'serial N'"),
        (f"{OTHER}\n", "line 1 of"),
        ("serial 0\n", "line 1 of"),
        ("serial 99999999999999999999999\n", "line 1 of"),
        ("serial 60 61\n", "line 1 of"),
        ("serial 60\nserial 61\n", "line 2 of"),
        (f"serial 60\n{OTHER}0\n", "line 2 of"),
        (f"serial 60\n{OTHER[:-1]}\n", "line 2 of"),
        (f"serial 60\n{OTHER[:-1]}", "line 2 of"),
        (f"serial 60\n\n{OTHER.upper()}\n", "line 3 of"),
        (f"serial 60\n{OTHER}\0\n", "is no text"),
        ("serial 60\n" + "#" * (1 << 20), "is larger than"),
    ],
)
def test_a_list_that_is_not_understood_revokes_all(
    text: str, reason: str, server: Fortress, place: Path, keys: Keys
) -> None:
    path = listed(place, 1)
    path.write_text(text)
    keys[0].sign(path)
    assert reason in reason_of(server, place / "second.so", "K388")


def test_a_list_that_cannot_be_trusted_revokes_all(
    server: Fortress, place: Path, keys: Keys
) -> None:
    second = place / "second.so"
    path = listed(place, 70, key=keys[0])
    path.write_text(path.read_text() + "#\n")
    assert "not of these bytes" in reason_of(server, second, "K388")
    listed(place, 70, key=keys[1])
    assert "is signed by key" in reason_of(server, second, "K388")
    Path(f"{path}.minisig").unlink()
    assert "the list of revoked releases is not signed" in reason_of(server, second, "K388")
    listed(place, 70, key=keys[0]).chmod(0o666)
    assert "can be written by others" in reason_of(server, second, "K388")
    path.rename(place / "elsewhere")
    path.symlink_to(place / "elsewhere")
    assert "is a symbolic link" in reason_of(server, second, "K388")
    path.unlink()
    assert "cannot be opened" in reason_of(server, second, "K388")


def test_what_is_not_revoked_is_taken(place: Path, tmp_path: Path) -> None:
    """Without a key the list need not be signed; its owner and mode count."""
    path = listed(tmp_path, 3, OTHER)
    with fortress(place / "first.so", tmp_path, KITSUNE_REVOCATIONS=str(path)) as running:
        assert running.update(place / "second.so")["outcome"] == "updated"
        running.unharmed("2")


def test_what_leads_back_to_a_revoked_release_is_revoked(place: Path, tmp_path: Path) -> None:
    path = listed(tmp_path, 3, OTHER)
    back = tmp_path / "back.so"
    back.write_bytes(patched(place / "second.so", "stands_for", bytes.fromhex(OTHER)))
    with fortress(place / "first.so", tmp_path, KITSUNE_REVOCATIONS=str(path)) as running:
        refused(running, back, "K387")
        running.unharmed()


def test_a_revoked_release_is_not_started(place: Path, keys: Keys, tmp_path: Path) -> None:
    path = listed(tmp_path, 3, build_id(place))
    done = start(place / "second.so", "--revocations", path)
    assert done.returncode == 127
    assert done.stderr == (
        f"kitsune: {place / 'second.so'}: error[K387]: the release is revoked: line 4 of {path}\n"
    )
    done = start(place / "second.so", "--revocations", path, "--public-key", keys[0].public)
    assert "error[K388]: the list of revoked releases is not signed" in done.stderr
    done = start(place / "second.so", "--revocations", tmp_path / "missing")
    reason = "the list of revoked releases cannot be opened: No such file or directory"
    assert done.stderr == f"kitsune: {tmp_path / 'missing'}: error[K388]: {reason}\n"
    assert done.returncode == 127
    assert start(place / "first.so", "--revocations", os.path.relpath(path)).returncode == 1
