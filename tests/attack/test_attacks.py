"""The attack suite: none loads anything, none disturbs the server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attack import drivers
from attack.arena import arena
from attack.attacks import ATTACKS, Arena, patched, refused
from attack.harness import HERE, Key, fortress, run

SCALE = 40
Ledger = tuple[Path, Path]
Keys = tuple[Key, Key]


@pytest.fixture(scope="module")
def attacked(
    ledger: Ledger, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    with arena(ledger, keys, tmp_path_factory.mktemp("arena"), SCALE) as place:
        yield place


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_harms_nothing(name: str, attacked: Arena) -> None:
    ATTACKS[name](attacked)
    attacked.open_.unharmed()
    attacked.guarded.unharmed()


def test_a_release_that_was_superseded_is_not_taken_again(
    ledger: Ledger, keys: Keys, tmp_path: Path
) -> None:
    """Its signature is as good as ever, but it does not follow what runs now."""
    first, second = (shutil.copyfile(each, tmp_path / each.parent.name) for each in ledger)
    for release in (first, second):
        keys[0].sign(release)
    with fortress(first, tmp_path, ["--public-key", str(keys[0].public)]) as server:
        assert server.update(second)["outcome"] == "updated"
        assert refused(server, first, "K345") == "K345"
        assert server.update(second)["outcome"] == "already-running"
        server.unharmed("2")


def test_a_release_that_was_stripped_is_sealed_anew(attacked: Arena, tmp_path: Path) -> None:
    release = Path(shutil.copyfile(attacked.second, tmp_path / "second.so"))
    run("strip", "--strip-debug", release)
    refused(attacked.open_, release, "K341")
    run(sys.executable, "-m", "kitsune_tool.cli", "seal", release)
    with fortress(attacked.first, tmp_path) as server:
        assert server.update(release)["outcome"] == "updated"
        server.unharmed("2")


def test_what_was_checked_is_what_is_loaded(attacked: Arena, tmp_path: Path) -> None:
    """The code that runs is that of the release, though the file is another one by then."""
    release = tmp_path / "second.so"
    shutil.copyfile(attacked.second, release)
    code = attacked.second.read_bytes()
    with fortress(attacked.first, tmp_path) as server:
        assert server.update(release)["outcome"] == "updated"
        release.write_bytes(patched(release, "parents", b"\x77" * 20))
        server.unharmed("2")
        lines = Path(f"/proc/{server.pid}/maps").read_text().splitlines()
        (line,) = [each for each in lines if " r-xp " in each and "memfd:kitsune-release" in each]
        start, end = (int(text, 16) for text in line.split()[0].split("-"))
        offset = int(line.split()[2], 16)
        with Path(f"/proc/{server.pid}/mem").open("rb") as memory:
            memory.seek(start)
            loaded = memory.read(end - start)
        assert loaded.rstrip(b"\0") and code[offset:].startswith(loaded.rstrip(b"\0"))


def test_the_launchers_own_code_under_sanitizers(
    ledger: Ledger, keys: Keys, tmp_path: Path
) -> None:
    """One test, so that the code is compiled once."""
    parts = drivers.build_parts(tmp_path / "parts")
    mutations = drivers.mutate(drivers.build(parts, "mutate.c"), *ledger, 800, 1)
    assert len(mutations) == 8
    assert {code for codes in mutations.values() for code in codes} >= {"K341", "K345"}

    file = Path(shutil.copyfile(ledger[0], tmp_path / "first.so"))
    keys[0].sign(file)
    driver = drivers.build(parts, "mutate_signature.c")
    signatures = drivers.mutate_signature(driver, file, keys[0].public, 3000, 1)
    assert signatures.keys() == {"K0", "K384", "K385", "K386"}

    requests = drivers.fuzz_requests(drivers.build(parts, "fuzz_requests.c"), *ledger, 600, 1)
    assert requests.keys() >= {"K364", "K340", "K360", "status", "updated", "refused", "K362"}


@pytest.mark.slow
def test_10000_mutations_and_all_attacks() -> None:
    done = subprocess.run(
        [HERE.parents[1] / "kit", "attack", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted: 0" in done.stdout
