"""Icecast's scenario, with fewer updates, and an update at some moments of its test driver.

Skipped where it cannot be run.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest


@pytest.mark.fetch
@pytest.mark.slow
def test_icecast_becomes_itself_and_variants(
    output_of: Callable[..., str],
    moved: Callable[[str], set[str]],
    matrix_of: Callable[..., str],
) -> None:
    out = output_of("icecast", "--cflags=-O1", "--listeners=100", "--again=12")
    assert re.search(r"requests: [1-9]\d* sent, 0 failed\n", out), out
    parts = re.split(r"\n\n", out)[1:11]
    same, same_back, *failed, field, field_back, same_often, field_often = parts
    assert same.startswith("2.4.4 to 2.4.4+same: "), out
    assert same_back.startswith("2.4.4+same back to 2.4.4: "), out
    assert not moved(same) | moved(same_back) | moved(same_often), out
    assert [update.partition(": ")[0] for update in failed] == [
        "2.4.4 to 2.4.4+wrong, undone (K353)",
        "2.4.4 to 2.4.4+crash, undone (K354)",
        "2.4.4 to 2.4.4+stuck, undone (K356)",
        "2.4.4 to 2.4.4+same, given up (K361)",
    ]
    assert re.search(r"reason: thread \d+ .* url_add_listener", failed[-1]), out
    changed = {"struct _client_tag", "struct connection_tag", "struct source_tag"}
    for update in (field, field_back, field_often):
        assert moved(update) >= changed | {"struct _refbuf_tag"}, out
    assert "listeners of /stream.mp3 with the new field set: 102\n" in field, out
    matrix_of("icecast", "2.4.4+field", "--cells=4")
