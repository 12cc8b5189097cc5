"""Releases that must be signed: what minisign signs is accepted, and nothing else is."""

from __future__ import annotations

import base64
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attack.harness import PATIENCE_S, Fortress, Key, fortress
from kitsune_tool.errors import KitsuneError

KITSUNE = [sys.executable, "-m", "kitsune_tool.cli"]
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners: needs root")

Ledger = tuple[Path, Path]
Keys = tuple[Key, Key]


@pytest.fixture(scope="module")
def guarded(
    ledger: Ledger, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fortress]:
    """A server that accepts what the trusted key has signed."""
    directory = tmp_path_factory.mktemp("guarded")
    first = copied(ledger[0], directory / "first.so")
    keys[0].sign(first)
    with fortress(first, directory, ["--public-key", str(keys[0].public)]) as server:
        yield server


@pytest.fixture
def second(ledger: Ledger, tmp_path: Path) -> Path:
    """The next release, not signed."""
    return copied(ledger[1], tmp_path / "second.so")


def copied(release: Path, target: Path) -> Path:
    shutil.copyfile(release, target)
    target.chmod(0o644)
    return target


def changed(signature: Path, line: int, change: Callable[[str], str]) -> None:
    lines = signature.read_text().splitlines()
    lines[line] = change(lines[line])
    signature.write_text("\n".join(lines) + "\n")


def flipped(text: str, at: int) -> str:
    """Return base64 in which one character is another one."""
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def refused(server: Fortress, release: Path, code: str, reason: str) -> None:
    answer = server.update(release)
    assert (answer["outcome"], answer["code"]) == ("rejected", code), answer
    assert reason in answer["reason"]
    server.unharmed()


def test_what_is_not_signed_is_refused(guarded: Fortress, second: Path) -> None:
    refused(guarded, second, "K383", f"there is no {second}.minisig")


def test_what_another_key_signed_is_refused(guarded: Fortress, second: Path, keys: Keys) -> None:
    keys[1].sign(second)
    identity = keys[1].public.read_text().split()[5].zfill(16)
    refused(guarded, second, "K385", f"signed by key {identity},")


def test_another_key_under_the_trusted_ones_name_is_refused(
    guarded: Fortress, second: Path, keys: Keys
) -> None:
    """The key's number in a signature proves nothing."""
    mine = keys[1].sign(second).read_text().splitlines()
    theirs = keys[0].sign(second).read_text().splitlines()
    number = slice(2, 10)
    forged = bytearray(base64.b64decode(mine[1]))
    forged[number] = base64.b64decode(theirs[1])[number]
    lines = [mine[0], base64.b64encode(forged).decode(), *mine[2:]]
    Path(f"{second}.minisig").write_text("\n".join(lines) + "\n")
    refused(guarded, second, "K384", "not of these bytes")


def test_what_was_changed_after_it_was_signed_is_refused(
    guarded: Fortress, second: Path, keys: Keys
) -> None:
    keys[0].sign(second)
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    refused(guarded, second, "K384", "was changed after it was signed")
    second.write_bytes(data + b"\0")
    refused(guarded, second, "K384", "was changed after it was signed")


def test_the_signature_of_another_release_is_refused(
    guarded: Fortress, second: Path, keys: Keys, ledger: Ledger, tmp_path: Path
) -> None:
    other = copied(ledger[0], tmp_path / "other.so")
    shutil.copyfile(keys[0].sign(other), f"{second}.minisig")
    refused(guarded, second, "K384", "or the signature is of another file")


@pytest.mark.parametrize(
    "damage",
    [
        (2, lambda text: text + "!", "K384", "trusted comment that was not signed"),
        (3, lambda text: flipped(text, 20), "K384", "trusted comment that was not signed"),
        (1, lambda text: flipped(text, 40), "K384", "not of these bytes"),
        (1, lambda text: text[:-4], "K386", "no signature of minisign"),
        (1, lambda text: text + "AAAA", "K386", "no signature of minisign"),
        (0, lambda text: "", "K386", "no signature of minisign"),
        (2, lambda text: "trusted", "K386", "no signature of minisign"),
        (2, lambda text: text + "x" * 2000, "K386", "no signature of minisign"),
        (3, lambda text: text + "\nmore", "K386", "no signature of minisign"),
        (3, lambda text: "", "K386", "no signature of minisign"),
        (0, lambda text: text + "\n" * 5000, "K360", "the signature is larger than"),
    ],
)
def test_a_damaged_signature_is_refused(
    damage: tuple[int, Callable[[str], str], str, str], guarded: Fortress, second: Path, keys: Keys
) -> None:
    line, change, code, reason = damage
    changed(keys[0].sign(second), line, change)
    refused(guarded, second, code, reason)


def test_base64_with_the_highest_bit_set_is_refused(
    guarded: Fortress, second: Path, keys: Keys
) -> None:
    """libsodium reads it as if it were not set."""
    while not (found := re.search(rb"\n[^ \n]*[+/]", (file := keys[0].sign(second)).read_bytes())):
        second.write_bytes(second.read_bytes() + b"\0")
    text = bytearray(file.read_bytes())
    text[found.end() - 1] |= 0x80
    file.write_bytes(text)
    refused(guarded, second, "K386", "no signature of minisign")


def test_a_signature_in_the_old_form_is_refused(
    guarded: Fortress, second: Path, keys: Keys
) -> None:
    keys[0].sign(second, "-l")
    refused(guarded, second, "K386", "old form; sign without -l")


def test_a_signature_that_is_no_plain_file_is_refused(
    guarded: Fortress, second: Path, keys: Keys, tmp_path: Path
) -> None:
    signature = keys[0].sign(second)
    signature.rename(tmp_path / "elsewhere")
    signature.symlink_to(tmp_path / "elsewhere")
    refused(guarded, second, "K360", "the signature is a symbolic link")
    signature.unlink()
    os.mkfifo(signature)
    refused(guarded, second, "K360", "the signature is no regular file")
    signature.unlink()
    signature.mkdir()
    refused(guarded, second, "K360", "the signature is no regular file")


@needs_root
def test_a_signature_of_a_third_user_is_refused(
    guarded: Fortress, second: Path, keys: Keys
) -> None:
    os.chown(keys[0].sign(second), NOBODY, NOBODY)
    refused(guarded, second, "K360", "the signature belongs to uid 65534")


def test_a_request_from_inside_must_be_signed_too(
    guarded: Fortress, second: Path, keys: Keys
) -> None:
    for key in (None, keys[1]):
        if key:
            key.sign(second)
        with guarded.line() as line:
            assert line.ask(f"inside {second}") == "asked"
            guarded.unharmed()
        assert guarded.status()["updates"][-1]["code"] == ("K385" if key else "K383")


def test_the_keys_are_those_of_the_start(
    ledger: Ledger, keys: Keys, second: Path, tmp_path: Path
) -> None:
    """Neither another file in the key's place nor another helper changes them; either will do."""
    first = copied(ledger[0], tmp_path / "first.so")
    keys[1].sign(first)
    public = tmp_path / "key.pub"
    shutil.copyfile(keys[0].public, public)
    options = ["--public-key", str(public)]
    with fortress(first, tmp_path, options, KITSUNE_PUBLIC_KEY=str(keys[1].public)) as server:
        shutil.copyfile(keys[1].public, public)
        os.kill(server.helper, signal.SIGKILL)
        server.helper = until_another(server)
        refused(server, second, "K383", "is not signed")
        keys[0].sign(second)
        assert server.update(second)["outcome"] == "updated"
        server.unharmed("2")
        assert server.update(second)["outcome"] == "already-running"


def until_another(server: Fortress) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if (helper := int(server.status()["helper"])) != server.helper:
                return helper
        except KitsuneError:
            pass
        time.sleep(0.01)
    raise AssertionError("no other helper")


# -- the start -----------------------------------------------------------------------------------


def start(release: Path, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KITSUNE, "run", *map(str, options), str(release), "/nowhere/sock"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={**os.environ, **variables},
    )


def test_the_first_release_must_be_signed_too(second: Path, keys: Keys) -> None:
    run = functools.partial(start, second, "--public-key", keys[0].public)
    done = run()
    assert (done.returncode, done.stdout) == (127, "")
    assert f"kitsune: {second}: error[K383]: the release is not signed: " in done.stderr
    keys[1].sign(second)
    assert "error[K385]" in run().stderr
    keys[0].sign(second)
    assert run().returncode == 1, "the program itself ran, and cannot make its socket"
    second.write_bytes(second.read_bytes() + b"\0")
    assert "error[K384]" in run().stderr


def test_a_public_key_that_is_none_is_refused(second: Path, keys: Keys, tmp_path: Path) -> None:
    """A program must not run without the check that was asked for."""
    writable = tmp_path / "writable.pub"
    shutil.copyfile(keys[0].public, writable)
    writable.chmod(0o666)
    long = tmp_path / "long.pub"
    long.write_text(keys[0].public.read_text() + "x")
    reasons = {
        tmp_path / "missing.pub": "the public key cannot be opened: No such file or directory",
        writable: "the public key can be written by others (mode 0666)",
        keys[0].secret: "not a public key of minisign (the .pub file of minisign -G)",
        second: "the public key is larger than 4095 bytes",
        long: "not a public key of minisign (the .pub file of minisign -G)",
    }
    for path, reason in reasons.items():
        for done in (
            start(second, "--public-key", path),
            start(second, KITSUNE_PUBLIC_KEY=str(path)),
        ):
            assert (done.returncode, done.stdout) == (127, "")
            assert done.stderr == f"kitsune: {path}: error[K306]: {reason}\n"
    done = start(second, *(9 * ["--public-key", keys[0].public]))
    assert "error[K306]: more than 8 public keys" in done.stderr


def test_without_libsodium_no_program_starts_that_asks_for_signatures(
    second: Path, keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "libsodium.so.23").write_text("no library")
    (tmp_path / "libsodium.so.26").write_text("no library")
    path = {"LD_LIBRARY_PATH": str(tmp_path)}
    done = start(second, "--public-key", keys[0].public, **path)
    assert done.returncode == 127
    assert "error[K307]: signatures are checked by libsodium" in done.stderr
    assert "apt install libsodium23" in done.stderr
    assert start(second, **path).returncode == 1, "without a key it is not needed"
