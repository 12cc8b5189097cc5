"""Two servers to attack: one that takes every release that fits, one that wants signatures."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from attack.attacks import Arena
from attack.harness import Key, fortress


@contextlib.contextmanager
def arena(
    ledger: tuple[Path, Path], keys: tuple[Key, Key], directory: Path, scale: int
) -> Iterator[Arena]:
    """Run both servers; after the block they must be as they were."""
    first, second = ledger
    signed = directory / "first.so"
    shutil.copyfile(first, signed)
    keys[0].sign(signed)
    place = directory / "place"
    place.mkdir()
    listed = directory / "revoked"
    listed.write_text("serial 1\n")
    keys[0].sign(listed)
    options = ["--public-key", str(keys[0].public), "--revocations", str(listed)]
    with (
        fortress(first, directory / "open") as open_,
        fortress(signed, directory / "guarded", options) as guarded,
    ):
        yield Arena(open_, guarded, first, second, keys, place, listed, scale)
        open_.unharmed()
        guarded.unharmed()
