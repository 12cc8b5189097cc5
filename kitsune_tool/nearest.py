"""A word that names nothing, and what comes near it.

In: the word and all that it could have been. Out: the end of a message. Called by the stages that
look up what a user wrote.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean '…'?`, or nothing if nothing comes near."""
    close = difflib.get_close_matches(word, list(dict.fromkeys(known)), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
