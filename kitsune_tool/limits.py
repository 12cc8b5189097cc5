"""Time limits of an update: as a whole, and for each of its phases.

In: options and what a release's manifest said; out: the words of a request. Called by config.py and
control.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

TOTAL, WAIT = "total", "wait"
PHASES = ("snapshot", "load", "start", "transform")
"""Those that can be limited one by one (runtime/src/time_limits.h)."""
NAMES = (TOTAL, WAIT, *PHASES)
LONGEST_MS = 86_400_000

Limits = tuple[tuple[str, int], ...]
"""Names and milliseconds; what is not there has no limit of its own, or the default."""


def parse(text: str) -> tuple[str, int]:
    """Return the phase and the milliseconds of `PHASE=MS`. Raises ValueError."""
    name, _, number = text.partition("=")
    if name not in PHASES or not 1 <= int(number) <= LONGEST_MS:
        raise ValueError
    return name, int(number)


def word(limits: Mapping[str, int]) -> str:
    """Return the word of a request that says these limits."""
    phases = [f"{name}={limits[name]}" for name in PHASES if name in limits]
    return ",".join([str(limits.get(TOTAL, 0)), *phases])


def read(data: object) -> Limits:
    """Return the limits in a release's description. Raises TypeError or ValueError."""
    if not isinstance(data, dict):
        raise TypeError
    return checked((str(name), int(number)) for name, number in data.items())


def checked(limits: Iterable[tuple[str, int]]) -> Limits:
    """Return limits after a look at names and numbers. Raises ValueError."""
    found = tuple(limits)
    if any(name not in NAMES or not 1 <= number <= LONGEST_MS for name, number in found):
        raise ValueError
    return found
