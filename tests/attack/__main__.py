"""`./kit attack`: all attacks on a running server, with how many tries each had, as a table."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from attack import drivers
from attack.arena import arena
from attack.attacks import ATTACKS
from attack.harness import Key, build_ledger

_FORGED = "the identity, with its checksum"


def main() -> int:
    """Attack, print, and fail if anything was accepted or harmed."""
    parser = argparse.ArgumentParser(prog="kit attack", description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000, metavar="N")
    parser.add_argument("--scale", type=int, default=400, metavar="N", help="tries on the server")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="kitsune-attack-") as name:
        _attack(Path(name), options)
    return 0


def _attack(directory: Path, options: argparse.Namespace) -> None:
    ledger = build_ledger(directory / "ledger")
    keys = Key.made(directory, "trusted"), Key.made(directory, "other")
    print("\nthe launcher's checks, under AddressSanitizer and UBSan")
    parts = drivers.build_parts(directory / "parts")
    driver = drivers.build(parts, "mutate.c")
    found = drivers.mutate(driver, *ledger, options.mutations, options.seed)
    for kind, codes in found.items():
        _row(f"release: {kind}", codes)
    driver = drivers.build(parts, "mutate_signature.c")
    keys[0].sign(ledger[0])
    of_first = ledger[0], keys[0].public
    _row("signatures", drivers.mutate_signature(driver, *of_first, options.mutations, options.seed))
    driver = drivers.build(parts, "fuzz_requests.c")
    _row("requests", drivers.fuzz_requests(driver, *ledger, options.mutations, options.seed))
    print("\na server under load; after each attack the same process, state, threads and clients")
    (directory / "arena").mkdir()
    with arena(ledger, keys, directory / "arena", options.scale) as place:
        for name, attack in ATTACKS.items():
            codes = attack(place)
            place.open_.unharmed()
            place.guarded.unharmed()
            _row(name, codes)
    print(
        f"\naccepted: 0 (K0: '{_FORGED}' is what the release's owner could do; the signatures say"
    )
    print("what they said, with other comments that are not trusted, or other ends of lines)")


def _row(name: str, codes: Counter[str]) -> None:
    told = ", ".join(f"{code} {times}" for code, times in sorted(codes.items()))
    print(f"  {name:<44} {codes.total():>6}  {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
